//! The activator's service on the simulated host: it takes requests, as `activator::service` does,
//! with the product's own grant, and leaves the trial to the trial process.

use crate::activator::conduct::event_of;
use crate::activator::host::Host;
use crate::activator::rebuilt;
use crate::activator::record::{self, Record, Trial};
use crate::activator::report;
use crate::activator::request::{Closure, Facts, grant, is_repeat};
use crate::activator::trial::phase::Phase;
use crate::activator::trial::unrecorded;
use crate::effects::journal::About;
use crate::handover::request::Request;
use crate::model::event::EventKind;
use crate::simulation::place::Place;
use crate::simulation::root::Root;

impl Root<'_> {
    /// One round of `autodeploy-activate.service`, as `activator::service` does it; true if the
    /// trial process is to be started.
    pub fn serve(&mut self) -> bool {
        let request = self.machine().request.take();
        let mut record = self.load();
        if record.unfinished().is_some() {
            self.refuse(request.as_ref(), &record);
            self.show(&record);
            return true;
        }
        self.remember_mark(&mut record);
        match request {
            Some(request) if is_repeat(&request, &record) => self.show(&record),
            Some(request) => return self.begin(&mut record, request),
            None => {
                self.machine().roots.clear();
                self.show(&record);
            }
        }
        false
    }

    /// Takes the agent's mark into the record, in no time; true if there was one, and no trial is on.
    pub fn note_mark(&mut self) -> bool {
        let mut record = self.load();
        let told = record.unfinished().is_none() && self.remember_mark(&mut record);
        if told {
            self.show(&record);
        }
        told
    }

    fn remember_mark(&mut self, record: &mut Record) -> bool {
        let told = self.machine().mark.take();
        let Some(mark) = told else { return false };
        record.mark = Some(mark);
        let now = self.world.now();
        let mut machine = self.machine();
        if !machine.state_is_refused(true, now) {
            machine.record = serde_json::to_vec(record).ok();
        }
        true
    }

    /// While a trial is on, a request is only taken away.
    pub fn refuse(&mut self, request: Option<&Request>, record: &Record) {
        if let Some(request) = request {
            let kind = match is_repeat(request, record) {
                true => EventKind::RequestRepeated,
                false => EventKind::RequestRefused,
            };
            self.tell(kind, About::default(), "a trial is on");
        }
    }

    /// Reads the record; what cannot be read is set aside and said.
    pub fn load(&mut self) -> Record {
        let bytes = self.machine().record.clone();
        let unreadable = match bytes.as_deref().map(record::parse) {
            None => return Record::default(),
            Some(Ok(record)) => return record,
            Some(Err(unreadable)) => unreadable.0,
        };
        let at = self.world.wall();
        let mut machine = self.machine();
        machine.aside += 1;
        machine.trial_place = None;
        let message = format!("the activator's record was unreadable: {unreadable}");
        let report = machine.report.as_deref().cloned();
        machine.aside_blindly |= report.is_none();
        let path = "/nix/var/nix/profiles/system".into();
        let old = machine.generation();
        let standing = rebuilt::Standing {
            running: Some(machine.running.clone()),
            profile: Some(record::Profile::system(path, old)),
            boot_id: format!("boot-{}", machine.boots),
            at,
        };
        let rebuilt = report.map(|report| rebuilt::record(report, standing, &machine.settings));
        let record = Record { warnings: vec![message], ..rebuilt.unwrap_or_default() };
        if record.unfinished().is_none() {
            // What went wrong in that trial is over with it.
            machine.ailing = machine.ailing.take().filter(|it| it.place == Place::Ended);
        }
        if !machine.state_is_refused(true, self.world.now()) {
            machine.record = serde_json::to_vec(&record).ok();
        }
        machine.chain.push("aside".to_owned());
        record
    }

    fn show(&mut self, record: &Record) {
        let profile = Some(self.machine().default_of_profile());
        let default = report::boot_default(record, self.machine().loader.now.clone(), profile);
        let loader = report::Loader { default: Some(default), never_once: None };
        let report = report::of(record, &loader);
        self.machine().report = Some(std::rc::Rc::new(report));
    }

    fn begin(&mut self, record: &mut Record, request: Request) -> bool {
        let granted = grant(&request, &self.facts(&request), record);
        if granted.is_ok() && request.unblocked_by.is_some() {
            record.clear(&request.toplevel);
            self.machine().laws.unblocked(&request.toplevel);
        }
        let (boot_id, at) = (self.boot_id(), self.wall());
        let mut trial = Trial::new(request, boot_id.clone(), at.clone());
        if let Err(end) = &granted {
            trial.enter(Phase::Ended(end.clone()), &boot_id, &at);
        }
        record.trial = Some(trial);
        if let Err(error) = self.save(record) {
            let policy = record.trial.as_ref().map(|trial| record.policy(trial)).unwrap();
            let ended = unrecorded(&Phase::Baseline, &format!("{error:#}"), &policy).unwrap();
            if let Some(trial) = record.trial.as_mut() {
                trial.enter(ended, &boot_id, &at);
            }
            self.show(record);
            self.tell(EventKind::TrialFailed, About::default(), "could not write the record");
            return false;
        }
        self.show(record);
        match granted {
            Ok(()) => {
                self.tell(EventKind::RequestTaken, About::default(), "took a request");
                true
            }
            Err(end) => {
                self.tell(event_of(end.outcome), About::default(), &end.failure.message);
                false
            }
        }
    }

    fn facts(&self, request: &Request) -> Facts {
        let machine = self.machine();
        Facts {
            boot_id: format!("boot-{}", machine.boots),
            running: Some(machine.running.clone()),
            host: "box".to_owned(),
            hostname: Some("box".to_owned()),
            closure: Closure {
                is_there: machine.store.contains(&request.toplevel),
                lacks: None,
                host: Ok("box".to_owned()),
                hostname: Some("box".to_owned()),
            },
        }
    }
}
