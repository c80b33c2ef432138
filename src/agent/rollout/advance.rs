//! What a finished operation means for its deployment: PURE.

use crate::agent::rollout::verify::{Anchor, Named};
use crate::agent::rollout::{Deployment, Done, End, Retry, Stage, Step, verify};
use crate::model::failure::{Failure, Reason};

/// Turns the end of a long operation into the step to record; `anchor` is what a commit has to
/// descend from by now.
///
/// An impossible pair of stage and result leaves the deployment alone.
pub fn advance(
    deployment: &Deployment,
    result: Result<Done, Failure>,
    anchor: Option<&Anchor>,
) -> Step {
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
            let (toplevel, under) = (toplevel.clone(), lineage.under());
            if anchor.map(|anchor| &anchor.commit) != under.base.as_ref() {
                // What it was compared with is not what counts any more: it is looked at again.
                return Step::Rest;
            }
            let named = anchor.map_or(Named::Mark, |anchor| anchor.named);
            let verdict = |commit| verify::verdict(commit, &lineage, named);
            match deployment.commit.as_ref().map(verdict) {
                Some(Err(failure)) => Step::End(id, End::refused(failure, under)),
                Some(Ok(())) | None => Step::Advance(id, Stage::Held { toplevel, under }),
            }
        }
        (Stage::Resolving { under }, Ok(Done::Resolved(closure))) => {
            Step::Advance(id, Stage::Realising { closure, under: under.clone() })
        }
        (Stage::Realising { closure, under }, Ok(Done::Realised)) => {
            let (toplevel, under) = (closure.toplevel.clone(), under.clone());
            Step::Advance(id, Stage::Held { toplevel, under })
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
