//! The control socket: many clients at once, none of which can hinder another, or the loop.
//!
//! Each client is served by a task of its own ([`conversation`]) over a bounded transport
//! ([`line`]). zlink's own `Server` is not used: it serves everybody from one task, where a call
//! that waits (the poll of `run-now`), or a client that does not read, would stop all others; and
//! it hangs up on wrong parameters instead of naming them.

pub(crate) mod conversation;
pub(crate) mod line;
pub(crate) mod methods;
pub(crate) mod peer;

use std::collections::BTreeMap;
use std::os::unix::net;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::agent::control::line::Line;
use crate::agent::control::methods::Control;
use crate::agent::control::peer::{Peer, Rights};
use crate::agent::inbox::Inbox;

/// How many connections one user may have. One more is closed unread.
const CLIENTS_PER_USER: usize = 16;

/// How many connections all users but root may have together.
const CLIENTS: usize = 64;

/// The pause after accepting failed, which is when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves the control socket until the task is dropped.
///
/// `listener` is bound and does not block ([`crate::effects::socket::bind`]); members of `group`
/// may act, besides root.
///
/// # Errors
/// There is no runtime to listen on.
pub async fn serve(listener: net::UnixListener, inbox: Inbox, group: String) -> Result<()> {
    let listener =
        UnixListener::from_std(listener).context("could not listen on the control socket")?;
    let rights = Arc::new(Rights { group });
    let guests = Guests::default();
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some((line, peer, seat)) = guests.admit(stream).await {
                        let control = Control::new(inbox.clone(), peer, rights.clone());
                        clients.spawn(async move {
                            conversation::hold(line, control).await;
                            drop(seat);
                        });
                    }
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

/// Who is connected, by user.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<BTreeMap<u32, usize>>>);

impl Guests {
    /// Lets a client in, unless its credentials cannot be read or there are too many.
    async fn admit(&self, stream: UnixStream) -> Option<(Line, Peer, Seat)> {
        let line = Line::new(stream);
        let peer = Peer::of(&line).await?;
        let seat = self.seat(peer.uid)?;
        Some((line, peer, seat))
    }

    fn seat(&self, uid: u32) -> Option<Seat> {
        let mut seats = self.0.lock().ok()?;
        let others: usize = seats.iter().filter(|(user, _)| **user != 0).map(|(_, n)| n).sum();
        let own = seats.entry(uid).or_default();
        if *own >= CLIENTS_PER_USER || (uid != 0 && others >= CLIENTS) {
            return None;
        }
        *own += 1;
        Some(Seat { guests: self.clone(), uid })
    }
}

/// A place that is free again when this is dropped.
struct Seat {
    guests: Guests,
    uid: u32,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Ok(mut seats) = self.guests.0.lock()
            && let Some(own) = seats.get_mut(&self.uid)
        {
            *own -= 1;
            if *own == 0 {
                seats.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_the_seats() {
        let guests = Guests::default();
        let greedy: Vec<_> = (0..100).filter_map(|_| guests.seat(1000)).collect();
        assert_eq!(greedy.len(), CLIENTS_PER_USER);
        assert!(guests.seat(1001).is_some());
    }

    #[test]
    fn all_users_together_leave_room_for_root() {
        let guests = Guests::default();
        let crowd: Vec<_> = (1..1000).filter_map(|uid| guests.seat(uid)).collect();
        assert_eq!(crowd.len(), CLIENTS);
        assert!(guests.seat(0).is_some());
    }

    #[test]
    fn a_seat_that_is_left_is_free() {
        let guests = Guests::default();
        for _ in 0..100 {
            assert!(guests.seat(1000).is_some());
        }
        assert!(guests.0.lock().unwrap().is_empty());
    }
}
