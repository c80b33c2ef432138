//! systemd's manager over D-Bus.
//!
//! While systemd executes itself anew, or the bus is reloaded, calls fail that would work a moment
//! later. What only looks is therefore asked again for a while; what changes something is the
//! caller's to repeat.

use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use zbus::{Connection, DynamicType, OwnedObjectPath, OwnedVariant, Variant, block_on};

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PATH: &str = "/org/freedesktop/systemd1";

/// The properties that every unit has.
pub const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The properties that a service has.
pub const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// The limit on one call.
const CALL: Duration = Duration::from_secs(5);
/// For how long a failing look is repeated.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// A connection to the system bus. Each thread makes its own.
pub struct Systemd {
    connection: Option<Connection>,
}

/// A loaded unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The full name.
    pub name: String,
    /// `active`, `failed`, `activating`, …
    pub active: String,
    /// The state of its own type, for example `auto-restart`.
    pub sub: String,
}

/// A property for a transient unit.
pub type Property = (&'static str, Variant<'static>);

type Listed =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

impl From<Listed> for Unit {
    fn from(listed: Listed) -> Unit {
        Unit { name: listed.0, active: listed.3, sub: listed.4 }
    }
}

impl Systemd {
    /// Makes a handle that connects when it is first used, and again when the bus was lost.
    pub fn new() -> Systemd {
        Systemd { connection: None }
    }

    /// Returns the state of the whole: `running`, `degraded`, `starting`, `stopping`, …
    ///
    /// Not repeated: on the way down nobody may answer any more.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn state(&mut self) -> Result<String> {
        self.property_of(PATH, MANAGER, "SystemState")
    }

    /// Lists every loaded unit.
    ///
    /// # Errors
    /// Nobody answered for a while.
    pub fn units(&mut self) -> Result<Vec<Unit>> {
        let listed: Vec<Listed> = repeated(|| self.call(MANAGER, "ListUnits", &()))?;
        Ok(listed.into_iter().map(Unit::from).collect())
    }

    /// Returns one unit, if it is loaded. By a pattern: asked for by its name, one that is gone
    /// makes systemd look for its file, and complain.
    ///
    /// # Errors
    /// Nobody answered for a while.
    pub fn loaded(&mut self, name: &str) -> Result<Option<Unit>> {
        let wanted: (&[&str], &[&str]) = (&[], &[name]);
        let listed: Vec<Listed> = repeated(|| self.call(MANAGER, "ListUnitsByPatterns", &wanted))?;
        Ok(listed.into_iter().map(Unit::from).find(|unit| unit.name == name))
    }

    /// Reads a property of a unit; one that is not loaded has its defaults.
    ///
    /// # Errors
    /// Nobody answered for a while, or it is of another type.
    pub fn property<T>(&mut self, unit: &str, interface: &str, name: &str) -> Result<T>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: std::error::Error + Send + Sync + 'static,
    {
        let path = format!("{PATH}/unit/{}", escaped(unit));
        repeated(|| self.property_of(&path, interface, name))
            .with_context(|| format!("could not read `{name}` of `{unit}`"))
    }

    fn property_of<T>(&mut self, path: &str, interface: &str, name: &str) -> Result<T>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: std::error::Error + Send + Sync + 'static,
    {
        let properties = "org.freedesktop.DBus.Properties";
        let value: OwnedVariant = self.call_at(path, (properties, "Get"), &(interface, name))?;
        Ok(T::try_from(value)?)
    }

    /// Starts a transient unit; does not wait for it.
    ///
    /// # Errors
    /// It was not started, for example because one of that name is there.
    pub fn start_transient(&mut self, name: &str, properties: &[Property]) -> Result<()> {
        let none: &[(&str, &[Property])] = &[];
        let _: OwnedObjectPath = self
            .call(MANAGER, "StartTransientUnit", &(name, "fail", properties, none))
            .with_context(|| format!("could not start `{name}`"))?;
        Ok(())
    }

    /// Restarts a unit without waiting for it.
    ///
    /// # Errors
    /// The job was not queued.
    pub fn restart(&mut self, unit: &str) -> Result<()> {
        let _: OwnedObjectPath = repeated(|| self.call(MANAGER, "RestartUnit", &(unit, "replace")))
            .with_context(|| format!("could not restart `{unit}`"))?;
        Ok(())
    }

    /// Lets go of a transient unit that was started with `AddRef`.
    pub fn let_go(&mut self, unit: &str) {
        let _: Result<()> = self.call(MANAGER, "UnrefUnit", &(unit,));
    }

    /// Ends every process of a unit at once.
    pub fn kill(&mut self, unit: &str) {
        let _: Result<()> = self.call(MANAGER, "KillUnit", &(unit, "all", 9_i32));
    }

    /// Asks for an orderly reboot.
    ///
    /// # Errors
    /// Nobody took it.
    pub fn reboot(&mut self) -> Result<()> {
        let _: OwnedObjectPath = self
            .call(MANAGER, "StartUnit", &("reboot.target", "replace-irreversibly"))
            .context("could not ask for a reboot")?;
        Ok(())
    }

    fn call<B, R>(&mut self, interface: &str, method: &str, body: &B) -> Result<R>
    where
        B: serde::Serialize + DynamicType,
        R: serde::de::DeserializeOwned + zbus::wire::Type,
    {
        self.call_at(PATH, (interface, method), body)
    }

    fn call_at<B, R>(&mut self, path: &str, called: (&str, &str), body: &B) -> Result<R>
    where
        B: serde::Serialize + DynamicType,
        R: serde::de::DeserializeOwned + zbus::wire::Type,
    {
        let (interface, method) = called;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => block_on(zbus::connection::Builder::system().method_timeout(CALL).build())
                .context("could not reach the system bus")?,
        };
        let answer =
            block_on(connection.call_method(Some(NAME), path, Some(interface), method, body));
        // A refusal comes over a bus that works; after anything else the bus is made anew.
        if matches!(&answer, Ok(_) | Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_))) {
            self.connection = Some(connection);
        }
        Ok(answer.with_context(|| format!("systemd: {method}"))?.body().deserialize()?)
    }
}

impl Default for Systemd {
    fn default() -> Systemd {
        Systemd::new()
    }
}

fn repeated<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match look() {
            Err(_) if Instant::now() < until => sleep(PAUSE),
            ended => return ended,
        }
    }
}

/// Escapes a unit name for an object path, as `sd_bus_path_encode` does.
fn escaped(unit: &str) -> String {
    let mut path = String::new();
    for (index, byte) in unit.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => path.push(char::from(byte)),
            b'0'..=b'9' if index > 0 => path.push(char::from(byte)),
            _ => path.push_str(&format!("_{byte:02x}")),
        }
    }
    path
}

/// Makes the `ExecStart` of one command.
pub fn exec(command: &[String]) -> Variant<'static> {
    let program = command.first().cloned().unwrap_or_default();
    Variant::new(vec![(program, command.to_vec(), false)])
}

/// Makes a list of texts.
pub fn texts(texts: &[&str]) -> Variant<'static> {
    Variant::new(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
}

/// Makes a set of exit codes; signals are the other half of what such a set may hold.
pub fn exit_codes(codes: &[i32]) -> Variant<'static> {
    Variant::new((codes.to_vec(), Vec::<i32>::new()))
}

/// Makes a time span.
pub fn span(span: Duration) -> Variant<'static> {
    Variant::new(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

/// Makes a descriptor that the unit gets.
pub fn descriptor(descriptor: OwnedFd) -> Variant<'static> {
    Variant::new(zbus::Fd::from(descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_name_becomes_an_object_path() {
        assert_eq!(escaped("autodeploy.service"), "autodeploy_2eservice");
        assert_eq!(escaped("1a@b-c.mount"), "_31a_40b_2dc_2emount");
    }
}
