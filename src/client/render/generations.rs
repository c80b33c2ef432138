//! `autodeployctl generations`: the system profile, with what autodeploy knows of each.

use serde::Serialize;

use crate::client::render::time::Moment;
use crate::client::render::{table, words};
use crate::control::status::Summary;

/// A generation of the system profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// Its number.
    pub generation: u64,
    /// What it leads to.
    pub toplevel: String,
    /// When the link was made; RFC 3339, UTC.
    pub created_at: String,
    /// The profile points to it: a reboot starts it, where the boot loader agrees.
    pub current: bool,
    /// It was activated last.
    pub running: bool,
    /// The machine was booted with it.
    pub booted: bool,
    /// The commit that brought it, where autodeploy did.
    pub commit: Option<String>,
    /// The newest deployment of it.
    pub deployment: Option<i64>,
    /// How that ended.
    pub outcome: Option<String>,
}

/// Adds what the history knows: the newest deployment of the same closure, a kept one before any
/// other.
pub fn explain(generations: &mut [Generation], history: &[Summary]) {
    for generation in generations {
        let same = |one: &&Summary| one.toplevel.as_deref() == Some(&generation.toplevel);
        let kept = |one: &&Summary| one.outcome.as_deref() == Some("kept");
        let of_it = || history.iter().filter(same);
        if let Some(deployment) = of_it().find(kept).or_else(|| of_it().next()) {
            generation.commit = deployment.commit.clone();
            generation.deployment = Some(deployment.id);
            generation.outcome = deployment.outcome.clone();
        }
    }
}

/// Returns a table, newest first.
pub fn of(generations: &[Generation], moment: &Moment) -> String {
    let headings = ["GENERATION", "CREATED", "COMMIT", "DEPLOYMENT", "OUTCOME", "NOW", "CLOSURE"];
    let row = |one: &Generation| {
        [
            one.generation.to_string(),
            moment.minute(&one.created_at),
            one.commit.as_deref().map(words::commit).unwrap_or_default(),
            one.deployment.map(|id| id.to_string()).unwrap_or_default(),
            one.outcome.as_deref().map(words::line).unwrap_or_default(),
            now(one),
            words::closure(&one.toplevel),
        ]
    };
    table::headed(headings, generations.iter().map(row).collect())
}

fn now(generation: &Generation) -> String {
    let marks = [
        (generation.running, "running"),
        (generation.current, "default"),
        (generation.booted, "booted"),
    ];
    let marks = marks.into_iter().filter_map(|(is, mark)| is.then_some(mark));
    marks.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;

    fn generation(number: u64, toplevel: &str) -> Generation {
        Generation {
            generation: number,
            toplevel: toplevel.to_owned(),
            created_at: "2025-11-21T09:00:00Z".to_owned(),
            current: false,
            running: false,
            booted: false,
            commit: None,
            deployment: None,
            outcome: None,
        }
    }

    #[test]
    fn a_generation_is_told_by_its_deployment() {
        let mut known = [
            Generation { current: true, running: true, ..generation(42, fixtures::CLOSURE) },
            Generation { booted: true, ..generation(41, fixtures::OLD) },
        ];
        explain(&mut known, &[fixtures::summary()]);
        assert_eq!(
            of(&known, &fixtures::moment()),
            "\
GENERATION  CREATED           COMMIT    DEPLOYMENT  OUTCOME  NOW               CLOSURE
42          2025-11-21 10:00  c0ffee12  7           kept     running, default  nixos-system-web1-25.11
41          2025-11-21 10:00                                 booted            nixos-system-web1-25.05
"
        );
    }

    #[test]
    fn a_kept_deployment_explains_it_better_than_a_newer_one() {
        let mut known = [generation(42, fixtures::CLOSURE)];
        let history = [fixtures::reverted().summary, fixtures::summary()];
        explain(&mut known, &history);
        assert_eq!((known[0].deployment, known[0].outcome.as_deref()), (Some(7), Some("kept")));
        explain(&mut known, &history[..1]);
        assert_eq!((known[0].deployment, known[0].outcome.as_deref()), (Some(8), Some("reverted")));
    }
}
