//! Boots real hosts for the tests of autodeploy.
//!
//! In reading order: `run` (programs with a time limit), `place` (where things lie, what is left of
//! others), `base` (the tree below every host), `cgroup`, `disk`, `network` (what a machine is made of),
//! `host` (a machine with power), `infra` (the repository it follows), `package` (autodeploy itself),
//! `shim` (other releases of it), `forge` (who serves the repository), `world` (all of them together),
//! `stock` (what a store has at once), `requests` (to the activator, by hand), `wait` (levels with a
//! deadline), `observer` and `interruptions` (random kills and power cuts, and who looks at what they
//! leave).

pub mod base;
pub mod cgroup;
pub mod disk;
pub mod follow;
pub mod forge;
pub mod host;
pub mod infra;
pub mod interruptions;
pub mod measure;
pub mod network;
pub mod observer;
pub mod package;
pub mod place;
pub mod requests;
pub mod run;
pub mod shim;
pub mod stock;
pub mod wait;
pub mod world;
