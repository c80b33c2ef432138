//! Another configuration while the agent runs: it ends itself, and systemd starts it with that one.
//!
//! Not with one that the next run would refuse: that would end with 78, and nobody starts it then.

use crate::agent::daemon::Agent;
use crate::agent::history::Entry;
use crate::agent::host::{Configured, Host};
use crate::agent::rollout::record;
use crate::model::event::EventKind;

impl<H: Host> Agent<H> {
    /// Looks at the configuration, with each poll and no oftener.
    pub(super) fn look_at_configuration(&mut self) {
        let configured = self.host.configuration();
        if configured == self.configured {
            return;
        }
        self.configured = configured;
        if let Some(sentence) = self.refused_configuration() {
            let at = self.host.now().text();
            let said = record::said_of_all(EventKind::ConfigurationRefused, &at, sentence);
            self.write(vec![Entry::Event(said)]);
        }
    }

    /// Tells whether this run makes room for one with another configuration: not while it is at
    /// work, a trial is on, or somebody waits for an answer.
    pub(super) fn is_outlived(&self) -> bool {
        self.configured == Configured::Replaced
            && self.work.is_none()
            && self.worked.is_none()
            && self.run_now.is_empty()
            && self.reanchoring.is_none()
            && !self.see().on_trial()
    }

    /// Says what is wrong with the configuration that lies there now.
    pub(super) fn refused_configuration(&self) -> Option<String> {
        match &self.configured {
            Configured::Refused(failure) => {
                let message = &failure.message;
                Some(format!("the new configuration is not used, the one before it is: {message}"))
            }
            Configured::Same | Configured::Replaced => None,
        }
    }
}
