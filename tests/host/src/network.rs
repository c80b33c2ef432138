//! Two network namespaces joined by a cable: one of the machine, one of the forge.
//!
//! Addresses are the same in every test, because nothing leads out of the two.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::run::{self, run};

/// The machine's address.
pub const HOST_ADDRESS: &str = "10.77.0.2";
/// The forge's address, and the machine's default route.
pub const FORGE_ADDRESS: &str = "10.77.0.1";

/// The namespaces of one test.
#[derive(Debug)]
pub struct Network {
    pub host: String,
    pub forge: String,
    /// The control group of the name server; its namespace is the forge's.
    pub names: String,
}

impl Network {
    /// Makes both namespaces; the forge's end is configured, the machine configures its own.
    ///
    /// # Errors
    /// Fails when `ip` does; what was made is removed with the place of the same name.
    pub fn make(name: &str) -> Result<Network> {
        let network = Network {
            host: name.to_string(),
            forge: format!("{name}-forge"),
            names: format!("{name}-names"),
        };
        let (host, forge) = (&network.host, &network.forge);
        run::shell(&format!(
            "PATH=$PATH:/usr/sbin:/sbin
             ip netns add {host}
             ip netns add {forge}
             ip -n {forge} link add eth0 type veth peer name eth0 netns {host}
             ip -n {forge} link set lo up
             ip -n {forge} address add {FORGE_ADDRESS}/24 dev eth0
             ip -n {forge} link set eth0 up"
        ))
        .context("could not make the network")?;
        Ok(network)
    }

    /// Changes the cable between the two.
    ///
    /// # Errors
    /// Fails when `ip` does.
    pub fn plug(&self, cable: Cable) -> Result<()> {
        let lines = match cable {
            Cable::In => "link set eth0 up\nroute flush type blackhole",
            Cable::Out => "link set eth0 down",
            Cable::Swallows => &format!("route replace blackhole {HOST_ADDRESS}/32"),
        };
        for line in lines.lines() {
            run::shell(&format!("PATH=$PATH:/usr/sbin:/sbin; ip -n {} {line}", self.forge))?;
        }
        Ok(())
    }
}

/// The cable between machine and forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cable {
    In,
    /// Pulled out: the machine sees that there is no carrier.
    Out,
    /// Everything looks well, but no answer ever comes.
    Swallows,
}

/// Removes the namespaces of a name; those that are not there are fine.
pub fn remove(name: &str) {
    for namespace in [name.to_string(), format!("{name}-forge")] {
        if std::path::Path::new("/run/netns").join(&namespace).exists() {
            let mut ip = Command::new("/bin/sh");
            ip.args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; ip netns del {namespace}")]);
            let _ = run(&mut ip, Duration::from_secs(10));
        }
    }
}
