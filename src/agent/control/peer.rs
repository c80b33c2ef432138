//! Who is at the other end, and what they may do.

use std::sync::Arc;
use std::time::Duration;

use zlink::connection::socket::FetchPeerCredentials;

use crate::agent::control::line::Line;
use crate::control::ask::Refusal;
use crate::effects::users;

/// The user database may ask a server that does not answer.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// A process that connected, as the kernel knew it at that moment (`SO_PEERCRED`,
/// `SO_PEERGROUPS`). What it has become since then does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its groups, the primary one included.
    pub gids: Vec<u32>,
}

impl Peer {
    /// Asks the kernel; `None` if it does not say, and then nobody is served.
    pub async fn of(line: &Line) -> Option<Peer> {
        let credentials = line.fetch_peer_credentials().await.ok()?;
        let mut gids = vec![credentials.unix_primary_group_id().as_raw()];
        gids.extend(credentials.unix_supplementary_group_ids().iter().map(|gid| gid.as_raw()));
        Some(Peer { uid: credentials.unix_user_id().as_raw(), gids })
    }
}

/// Who may act, besides root.
#[derive(Debug)]
pub struct Rights {
    /// `control.group`
    pub group: String,
}

impl Rights {
    /// Tells whether this peer may act. Everybody may look.
    ///
    /// # Errors
    /// It may not; the refusal names the group.
    pub async fn may_act(self: Arc<Self>, peer: &Peer) -> Result<(), Refusal> {
        // Looked up each time: the group may have been made after the agent started.
        let gid = match peer.uid {
            0 => None,
            _ => self.gid().await,
        };
        match allowed(peer, gid) {
            true => Ok(()),
            false => Err(refusal(peer.uid, &self.group)),
        }
    }

    async fn gid(self: &Arc<Self>) -> Option<u32> {
        let rights = Arc::clone(self);
        let lookup = tokio::task::spawn_blocking(move || users::group_id(&rights.group));
        tokio::time::timeout(LOOKUP_LIMIT, lookup).await.ok()?.ok()?.ok()?
    }
}

fn allowed(peer: &Peer, group: Option<u32>) -> bool {
    peer.uid == 0 || group.is_some_and(|gid| peer.gids.contains(&gid))
}

fn refusal(uid: u32, group: &str) -> Refusal {
    Refusal::NotAllowed {
        message: format!("user {uid} may look but not act: that takes root or the group `{group}`"),
        hint: format!("use `sudo`, or join the group `{group}` (`control.group`) and log in again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uid: u32, gids: &[u32], group: Option<u32>, expected: bool) {
        assert_eq!(allowed(&Peer { uid, gids: gids.to_vec() }, group), expected);
    }

    #[test]
    fn root_and_members_act() {
        check(0, &[0], Some(1), true);
        check(0, &[0], None, true);
        check(1000, &[100, 1], Some(1), true);
        check(1000, &[1], Some(1), true);
    }

    #[test]
    fn nobody_else_acts() {
        check(1000, &[100], Some(1), false);
        check(1000, &[100], None, false);
        check(1000, &[], None, false);
        // Being in root's group is not being root.
        check(1000, &[0], Some(1), false);
    }

    #[test]
    fn a_refusal_names_the_group() {
        assert_eq!(
            refusal(1000, "wheel").words(),
            (
                "user 1000 may look but not act: that takes root or the group `wheel`",
                "use `sudo`, or join the group `wheel` (`control.group`) and log in again"
            )
        );
    }
}
