//! What a finished operation means for its deployment: PURE.

use crate::agent::rollout::{Deployment, Done, End, Retry, Stage, Step, verify};
use crate::model::failure::{Failure, Reason};

/// Turns the end of a long operation into the step to record.
///
/// An impossible pair of stage and result leaves the deployment alone.
pub fn advance(deployment: &Deployment, result: Result<Done, Failure>) -> Step {
    let id = deployment.id;
    match (&deployment.stage, result) {
        (
            Stage::Fetching
            | Stage::Resolving { .. }
            | Stage::Realising { .. }
            | Stage::Held { .. },
            Err(failure),
        ) => {
            // Another machine's closure does not become ours by waiting.
            let retry = if failure.reason == Reason::WRONG_HOST { Retry::No } else { Retry::Yes };
            Step::End(id, End::failed(failure, retry))
        }
        (Stage::Fetching, Ok(Done::Fetched { lineage, .. })) => {
            Step::Advance(id, Stage::Verifying { lineage })
        }
        (Stage::Held { toplevel, .. }, Ok(Done::Fetched { lineage, .. })) => {
            let (toplevel, base) = (toplevel.clone(), lineage.base.clone());
            match deployment.commit.as_ref().map(|commit| verify::verdict(commit, &lineage)) {
                Some(Err(failure)) => Step::End(id, End::failed(failure, Retry::No)),
                Some(Ok(())) | None => Step::Advance(id, Stage::Held { toplevel, base }),
            }
        }
        (Stage::Resolving { base }, Ok(Done::Resolved(closure))) => {
            Step::Advance(id, Stage::Realising { closure, base: base.clone() })
        }
        (Stage::Realising { closure, base }, Ok(Done::Realised)) => {
            let (toplevel, base) = (closure.toplevel.clone(), base.clone());
            Step::Advance(id, Stage::Held { toplevel, base })
        }
        (
            Stage::Fetching
            | Stage::Verifying { .. }
            | Stage::Resolving { .. }
            | Stage::Realising { .. }
            | Stage::Held { .. }
            | Stage::Requested { .. }
            | Stage::OnTrial { .. }
            | Stage::Ended { .. },
            _,
        ) => Step::Rest,
    }
}
