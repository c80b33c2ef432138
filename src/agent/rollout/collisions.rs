//! What a person's word means while something is going on: PURE. The table of the design.

use crate::agent::policy::{Policy, gates};
use crate::agent::rollout::{Deployment, End, Seen, Stage, Step};
use crate::control::ask::Refusal;
use crate::model::deployment::{DeploymentId, Kind, Outcome, Phase};
use crate::model::failure::Reason;

/// What `abort` leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abort {
    /// The activator has not seen it: it ends here.
    Here(DeploymentId, End),
    /// The activator is told, and ends it as its phase allows.
    Tell(DeploymentId),
    /// It is on its way back already.
    Nothing(DeploymentId),
}

/// Decides about `abort` of the deployment that is meant, or of the one in front.
///
/// # Errors
/// There is none, or it is being kept.
pub fn abort(seen: &Seen, id: Option<DeploymentId>) -> Result<Abort, Refusal> {
    let deployment = meant(seen, id)?;
    let id = deployment.id;
    match &deployment.stage {
        Stage::Fetching
        | Stage::Verifying { .. }
        | Stage::Resolving { .. }
        | Stage::Realising { .. }
        | Stage::Held { .. } => {
            let message = "a person ended it before its trial";
            Ok(Abort::Here(id, End::new(Outcome::Aborted, Reason::BY_OPERATOR, message)))
        }
        Stage::Requested { .. } => Ok(Abort::Tell(id)),
        Stage::OnTrial { phase, .. } => match phase {
            Phase::Keeping => Err(Refusal::NotPossible {
                message: format!("deployment {id} is being kept already"),
                hint: "`autodeployctl rollback` goes back once it is kept".to_owned(),
            }),
            Phase::Reverting | Phase::Rebooting => Ok(Abort::Nothing(id)),
            Phase::Idle
            | Phase::Fetching
            | Phase::Verifying
            | Phase::Resolving
            | Phase::Realising
            | Phase::Held
            | Phase::Requested
            | Phase::Baseline
            | Phase::Switching
            | Phase::Watching
            | Phase::Arming
            | Phase::Armed => Ok(Abort::Tell(id)),
        },
        Stage::Ended { .. } => Err(nothing_in_flight()),
    }
}

/// A newer commit takes the place of one that waits for its boot, once nothing holds it back any
/// more: one that does not build, or waits for something else, takes nothing away. What a person
/// went back to stays.
pub fn supersede_armed(seen: &Seen, policy: &Policy) -> Option<Step> {
    let [armed, newer] = seen.live.as_slice() else { return None };
    let Stage::Held { toplevel, .. } = &newer.stage else { return None };
    let may = seen.is_armed()
        && (armed.kind, newer.kind) == (Kind::Follow, Kind::Follow)
        && seen.superseding != Some(armed.id)
        && seen.nix_tried
        && gates::closed(newer, toplevel, seen, policy).is_empty();
    may.then_some(Step::Supersede(armed.id))
}

/// Decides about `confirm`: returns the deployment whose trial is told.
///
/// # Errors
/// No trial is on.
pub fn confirm(seen: &Seen, id: Option<DeploymentId>) -> Result<DeploymentId, Refusal> {
    let deployment = meant(seen, id)?;
    match &deployment.stage {
        Stage::Requested { .. } | Stage::OnTrial { .. } => Ok(deployment.id),
        Stage::Fetching
        | Stage::Verifying { .. }
        | Stage::Resolving { .. }
        | Stage::Realising { .. }
        | Stage::Held { .. }
        | Stage::Ended { .. } => Err(Refusal::NotPossible {
            message: format!("deployment {} is not on trial", deployment.id),
            hint: "`autodeployctl status` shows what it waits for".to_owned(),
        }),
    }
}

fn meant(seen: &Seen, id: Option<DeploymentId>) -> Result<&Deployment, Refusal> {
    let Some(id) = id else { return seen.live.first().ok_or_else(nothing_in_flight) };
    seen.live.iter().find(|deployment| deployment.id == id).ok_or_else(|| Refusal::NotPossible {
        message: format!("deployment {id} is not in flight"),
        hint: "`autodeployctl history` shows how it ended".to_owned(),
    })
}

fn nothing_in_flight() -> Refusal {
    Refusal::NotPossible {
        message: "no deployment is in flight".to_owned(),
        hint: "`autodeployctl rollback` goes back from what was kept".to_owned(),
    }
}

/// What has to end before a rollback can begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MakeRoom {
    /// The trial that is on: told to abort.
    pub abort: Option<DeploymentId>,
    /// What is only being got ready: the branch is followed again afterwards.
    pub superseded: Vec<DeploymentId>,
}

/// Decides what a rollback to a generation ends first.
///
/// # Errors
/// The trial that is on is being kept.
pub fn make_room(seen: &Seen) -> Result<MakeRoom, Refusal> {
    let mut room = MakeRoom::default();
    for deployment in &seen.live {
        match abort(seen, Some(deployment.id))? {
            Abort::Here(id, _) => room.superseded.push(id),
            Abort::Tell(id) => room.abort = Some(id),
            Abort::Nothing(_) => {}
        }
    }
    Ok(room)
}
