//! `http`, `tcp`, `command` and `units` as configured.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::transient::{Ran, Run, run};
use super::{Sight, Sighting};
use crate::config::settings::{Check, Probe};
use crate::effects::probe;
use crate::effects::systemd::{Systemd, UNIT};
use crate::model::text::escaped;

/// What `--probe` gets: one try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// What is looked at.
    pub probe: Probe,
    /// The limit.
    pub timeout: Duration,
}

/// Makes one try of an `http` or `tcp` check; `Ok` and `Err` are what to print.
///
/// # Errors
/// It is not as it has to be.
pub fn try_once(one: &Try) -> Result<String, String> {
    match &one.probe {
        Probe::Tcp { address } => {
            probe::tcp(address, one.timeout).map_err(|error| format!("`{address}`: {error}"))
        }
        Probe::Http { url, expected_status, body_contains } => {
            let (status, body) =
                probe::http(url, one.timeout).map_err(|error| format!("`{url}`: {error}"))?;
            judge_page(url, (status, &body), expected_status, body_contains.as_deref())
        }
        Probe::Command { .. } | Probe::Units { .. } | Probe::Unknown { .. } => {
            Err("this kind is not tried like this".to_owned())
        }
    }
}

fn judge_page(
    url: &str,
    (status, body): (u16, &str),
    expected: &[(u16, u16)],
    contains: Option<&str>,
) -> Result<String, String> {
    if !expected.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
        return Err(format!("`{url}` answered {status}"));
    }
    match contains {
        Some(text) if !body.contains(text) => {
            Err(format!("`{url}` answered {status} without `{}`", escaped(text, 100)))
        }
        Some(_) | None => Ok(format!("answered {status}")),
    }
}

/// A configured check.
pub struct Configured {
    systemd: Systemd,
    name: String,
    check: Check,
    /// Our own program, which makes the tries.
    prober: String,
}

impl Configured {
    /// Prepares a check.
    pub fn new(name: &str, check: &Check, prober: &Path) -> Configured {
        Configured {
            systemd: Systemd::new(),
            name: name.to_owned(),
            check: check.clone(),
            prober: prober.to_string_lossy().into_owned(),
        }
    }

    /// Makes one try.
    pub fn look_once(&mut self) -> Sighting {
        match self.check.probe.clone() {
            Probe::Command { command } => self.run(&command),
            Probe::Units { units } => self.units(&units),
            Probe::Unknown { name } => Sighting::red(format!(
                "this release has no checks of kind `{}`",
                escaped(&name, 40)
            )),
            probe @ (Probe::Http { .. } | Probe::Tcp { .. }) => {
                let one = Try { probe, timeout: self.check.timeout };
                match serde_json::to_string(&one) {
                    Ok(json) => self.run(&[self.prober.clone(), "--probe".to_owned(), json]),
                    Err(error) => Sighting::red(error.to_string()),
                }
            }
        }
    }

    fn run(&mut self, command: &[String]) -> Sighting {
        let wanted = Run {
            check: &self.name,
            command,
            user: self.check.user.as_deref(),
            limit: self.check.timeout,
        };
        match run(&mut self.systemd, &wanted) {
            Ok(ran) => judge(&ran, self.check.timeout),
            Err(error) => Sighting::red(escaped(&format!("{error:#}"), 500)),
        }
    }

    fn units(&mut self, units: &[String]) -> Sighting {
        let mut wrong = Vec::new();
        for unit in units {
            match self.systemd.property::<String>(unit, UNIT, "ActiveState") {
                Ok(state) if state == "active" || state == "reloading" => {}
                Ok(state) => wrong.push(format!("`{unit}` is {}", escaped(&state, 40))),
                Err(error) => wrong.push(escaped(&format!("{error:#}"), 300)),
            }
        }
        match wrong.is_empty() {
            true => Sighting::green("active"),
            false => Sighting::red(wrong.join(", ")),
        }
    }
}

fn judge(ran: &Ran, limit: Duration) -> Sighting {
    let cause = match ran.result.as_str() {
        "success" => return Sighting::green(ran.output.clone()),
        "timeout" => format!("took longer than {} s", limit.as_secs_f64()),
        "exit-code" => format!("exit status {}", ran.status),
        other => escaped(other, 40),
    };
    // A try of ours says it all in one line; a command's status is worth a word.
    Sighting::red(match ran.output.is_empty() {
        true => cause,
        false if ran.result == "exit-code" && ran.status == 1 => ran.output.clone(),
        false => format!("{cause}: {}", ran.output),
    })
}

impl Sight for Configured {
    fn look(&mut self) -> Vec<Sighting> {
        vec![self.look_once()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(result: &str, status: i32, output: &str) -> Ran {
        Ran { result: result.to_owned(), status, output: output.to_owned() }
    }

    #[track_caller]
    fn check(ran: &Ran, good: bool, message: &str) {
        let sighting = judge(ran, Duration::from_secs(10));
        assert_eq!((sighting.good, sighting.message.as_str()), (good, message));
    }

    #[test]
    fn how_a_unit_ended_becomes_one_line() {
        check(&ran("success", 0, "answered 200"), true, "answered 200");
        check(&ran("exit-code", 1, "answered 503"), false, "answered 503");
        check(&ran("exit-code", 1, ""), false, "exit status 1");
        check(&ran("exit-code", 3, "no"), false, "exit status 3: no");
        check(&ran("timeout", 0, ""), false, "took longer than 10 s");
        check(&ran("signal", 9, ""), false, "signal");
    }

    #[test]
    fn a_page_has_to_have_the_status_and_the_text() {
        let ok = [(200, 299)];
        let judge = |status, body, contains| judge_page("http://h/", (status, body), &ok, contains);
        assert_eq!(judge(204, "", None), Ok("answered 204".to_owned()));
        assert_eq!(judge(302, "", None), Err("`http://h/` answered 302".to_owned()));
        assert!(judge(200, "ready", Some("ready")).is_ok());
        assert_eq!(
            judge(200, "no", Some("ready")),
            Err("`http://h/` answered 200 without `ready`".to_owned())
        );
    }

    #[test]
    fn a_try_passes_through_an_argument() {
        let one = Try {
            probe: Probe::Tcp { address: "[::1]:22".to_owned() },
            timeout: Duration::from_millis(1500),
        };
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Try>(&json).unwrap(), one);
    }
}
