//! The files between agent and activator: each side reads what the other wrote, and the agent may
//! be in somebody else's hands.

use std::fmt::Debug;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{cut_at, shown};
use crate::activator::checks::lifeline::{Run, Wanted, judge};
use crate::activator::judgement::Remote;
use crate::activator::request;
use crate::handover::answer::Answer;
use crate::handover::lifeline::Lifeline;
use crate::handover::report::Report;

/// Laws: what is read is written and read the same; what is no request is named in a line that can
/// be shown; what a lifeline lacks is, too.
pub fn handover(bytes: &[u8]) {
    match request::parse(bytes) {
        Ok(request) => reads_back(&request),
        Err(failure) => {
            shown(&failure.message, cut_at(400));
            assert!(failure.hint.is_some());
        }
    }
    if let Some(answer) = read::<Answer>(bytes) {
        reads_back(&answer);
    }
    if let Some(report) = read::<Report>(bytes) {
        reads_back(&report);
    }
    if let Some(lifeline) = read::<Lifeline>(bytes) {
        reads_back(&lifeline);
        judged(&lifeline);
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let written = serde_json::to_vec(value).unwrap();
    assert_eq!(serde_json::from_slice::<T>(&written).unwrap(), *value);
}

/// A lifeline of another run or boot is never green, whatever is in it.
fn judged(lifeline: &Lifeline) {
    let remote = Remote {
        url: "https://forge.example/infra".to_owned(),
        branch: "main".to_owned(),
        unchanged: false,
        asked: true,
    };
    let wanted = Wanted {
        remote,
        commit: Some("a".repeat(40).parse().unwrap()),
        boot_id: lifeline.boot_id.clone(),
        after: Duration::from_secs(1),
    };
    let run = |id: &str| Run { invocation_id: id.to_owned(), began: Duration::from_secs(2) };
    if let Err(lacks) = judge(&wanted, &run(&lifeline.invocation_id), Some(lifeline)) {
        shown(&lacks, cut_at(400));
    }
    let other = format!("{}x", lifeline.invocation_id);
    assert!(judge(&wanted, &run(&other), Some(lifeline)).is_err());
    let rebooted = Wanted { boot_id: format!("{}x", lifeline.boot_id), ..wanted };
    assert!(judge(&rebooted, &run(&lifeline.invocation_id), Some(lifeline)).is_err());
}
