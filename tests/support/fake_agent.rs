//! The real control server before a fake loop, which a test answers for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use autodeploy::agent::control::serve;
use autodeploy::agent::inbox::{Asked, Inbox};
use autodeploy::control::ask::{Ask, Refusal, Told};
use autodeploy::control::deployment::Details;
use autodeploy::control::status::{RebootNeeded, Remote, Running, Status, Summary};
use autodeploy::effects::socket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A group that nobody is in.
pub const GROUP: &str = "no-such-group";

/// A commit.
pub const COMMIT: &str = "c0ffee12c0ffee12c0ffee12c0ffee12c0ffee12";

/// A server on a socket, until it is stopped or dropped.
pub struct FakeAgent {
    /// Where it listens.
    pub socket: PathBuf,
    /// What it says of itself.
    pub status: watch::Sender<Status>,
    /// What it was asked, and by whom.
    pub asked: Arc<Mutex<Vec<(u32, Ask)>>>,
    tasks: Vec<JoinHandle<()>>,
}

/// How the fake loop answers; `None` never does.
pub type Answer = Box<dyn FnMut(&Ask) -> Option<Result<Told, Refusal>> + Send>;

impl FakeAgent {
    /// Listens in `directory`, where anybody may look.
    pub fn start(directory: &Path, status: Status, mut answer: Answer) -> FakeAgent {
        let socket = directory.join("control");
        let listener = socket::bind(&socket).unwrap();
        let (asks, mut inbox) = mpsc::channel::<Asked>(8);
        let (status, statuses) = watch::channel(status);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            let inbox = Inbox { asks, status: statuses };
            serve(listener, inbox, GROUP.to_owned()).await.unwrap();
        });
        let fake_loop = tokio::spawn(async move {
            let mut never = Vec::new();
            while let Some(asked) = inbox.recv().await {
                noted.lock().unwrap().push((asked.uid, asked.ask.clone()));
                match answer(&asked.ask) {
                    Some(told) => drop(asked.reply.send(told)),
                    None => never.push(asked.reply),
                }
            }
        });
        FakeAgent { socket, status, asked, tasks: vec![server, fake_loop] }
    }

    /// Ends as a process does: every connection closes, the socket is gone.
    pub async fn stop(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            let _ = task.await;
        }
        std::fs::remove_file(&self.socket).unwrap();
    }

    /// Waits until something was asked.
    pub async fn was_asked(&self, is_it: impl Fn(&Ask) -> bool) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while !self.asked.lock().unwrap().iter().any(|(_, ask)| is_it(ask)) {
            assert!(tokio::time::Instant::now() < deadline, "nobody asked");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A directory that every user may enter.
pub fn open_directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// An answer to an order.
pub fn done(deployment: Option<i64>, message: &str) -> Option<Result<Told, Refusal>> {
    Some(Ok(Told::Done { deployment, message: message.to_owned() }))
}

/// A machine with nothing to do.
pub fn idle() -> Status {
    let running = Running {
        toplevel: "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-web1".to_owned(),
        commit: Some(COMMIT.to_owned()),
        generation: Some(42),
    };
    Status {
        host: "web1".to_owned(),
        phase: "idle".to_owned(),
        running,
        boot_default: None,
        remote: Remote {
            url: "file:///srv/infra".to_owned(),
            branch: "main".to_owned(),
            tip: Some(COMMIT.to_owned()),
            last_success_at: None,
            last_error: None,
            stale: false,
            stale_reasons: vec![],
            mark: None,
        },
        deployment: None,
        checks: vec![],
        blocked: vec![],
        gates: vec![],
        reboot_needed: RebootNeeded::default(),
        drift: None,
        staged: None,
        only_built_in_checks: false,
        warnings: vec![],
    }
}

/// A machine with deployment `id` in a phase.
pub fn in_phase(id: i64, phase: &str) -> Status {
    Status { phase: phase.to_owned(), deployment: Some(summary(id, None)), ..idle() }
}

/// A deployment, with an outcome or in flight.
pub fn summary(id: i64, outcome: Option<&str>) -> Summary {
    Summary {
        id,
        commit: Some(COMMIT.to_owned()),
        toplevel: None,
        outcome: outcome.map(str::to_owned),
        reason: outcome.map(|_| "by-test".to_owned()),
        message: outcome.map(|_| "so it ended".to_owned()).unwrap_or_default(),
        started_at: "2025-11-21T11:00:00Z".to_owned(),
        finished_at: outcome.map(|_| "2025-11-21T11:01:00Z".to_owned()),
        subject: None,
        hint: None,
    }
}

/// The same with all that is known.
pub fn details(id: i64, phase: &str, outcome: Option<&str>) -> Details {
    Details {
        summary: summary(id, outcome),
        kind: "follow".to_owned(),
        phase: phase.to_owned(),
        hint: None,
        old_toplevel: None,
        generation: None,
        stays_until: None,
        attempts: 1,
        events: vec![],
        checks: vec![],
        evidence: vec![],
    }
}
