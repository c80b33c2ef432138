//! Questions to the agent over its control socket, without a program for each: cases wait by asking
//! some hundred times, and a program costs ten times what the answer does.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Host;

/// Who asks: it has to live inside, because the agent wants to know who asks it.
const ASKER: &str = include_str!("asking.py");

const SOCKET: &str = "/run/autodeploy/control";

/// The asker becomes a child of the machine's own PID 1. `nsenter` would stop with everything else
/// when the machine goes down, and hold that up.
const BEGIN: &str = r#"exec 3<&0; python3 -c "$0" "$1" <&3 &"#;

/// Who asks, while the machine has power.
#[derive(Debug, Default)]
pub struct Asking(Mutex<Option<Line>>);

#[derive(Debug)]
struct Line {
    /// Whose child asks: another boot takes another.
    leader: Option<i32>,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Host {
    /// Calls a method of `org.autodeploy.Control` as root, and gives what it returns.
    ///
    /// # Errors
    /// Fails when the machine has no power, the agent does not answer, or it answers with an error.
    pub fn ask(&self, method: &str, parameters: &Value) -> Result<Value> {
        let mut asking = self.asking.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = match asking.take().filter(|line| line.leader == self.leader) {
            Some(line) => line,
            None => self.begin_to_ask()?,
        };
        let method = format!("org.autodeploy.Control.{method}");
        // A line that broke is not used again.
        let answer = line.ask(&json!({ "method": method, "parameters": parameters }))?;
        *asking = Some(line);
        match answer.get("error") {
            Some(error) => bail!("{method}: {error} {}", answer["parameters"]),
            None => Ok(answer["parameters"].clone()),
        }
    }

    fn begin_to_ask(&self) -> Result<Line> {
        let mut command = self.command();
        command.args(["/bin/sh", "-c", BEGIN, ASKER, SOCKET]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut begun = command.spawn().context("could not enter the machine")?;
        let pipes = begun.stdin.take().zip(begun.stdout.take());
        begun.wait()?;
        let (questions, answers) = pipes.context("no pipes")?;
        Ok(Line { leader: self.leader, questions, answers: BufReader::new(answers) })
    }
}

impl Line {
    fn ask(&mut self, question: &Value) -> Result<Value> {
        let mut answer = String::new();
        writeln!(self.questions, "{question}").context("nobody asks any more")?;
        self.answers.read_line(&mut answer)?;
        serde_json::from_str(&answer).with_context(|| format!("no answer: {answer}"))
    }
}
