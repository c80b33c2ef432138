//! What a person sees while they wait: a line that changes on a terminal, lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::client::output;

/// How often the line on a terminal moves.
const TICK: Duration = Duration::from_millis(120);

/// Where progress goes: always to standard error, so that standard output is the answer alone.
pub enum Progress {
    /// Nowhere: the answer is for a program.
    None,
    /// A line each.
    Lines,
    /// One line that is written over.
    Line(ProgressBar),
}

impl Progress {
    /// Chooses by who is there to see it.
    pub fn new(json: bool) -> Progress {
        match (json, output::is_watched()) {
            (true, _) => Progress::None,
            (false, false) => Progress::Lines,
            (false, true) => Progress::Line(line()),
        }
    }

    /// Says what is going on now. A repeat is not said again.
    pub fn say(&self, text: &str) {
        match self {
            Progress::None => {}
            Progress::Lines => output::complain(text),
            Progress::Line(bar) => bar.set_message(text.to_owned()),
        }
    }

    /// Takes the line away: the answer follows.
    pub fn finish(&self) {
        match self {
            Progress::None | Progress::Lines => {}
            Progress::Line(bar) => bar.finish_and_clear(),
        }
    }
}

fn line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}
