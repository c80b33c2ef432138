//! The whole machine in memory: the real agent and the real activator, side by side, on a simulated
//! host that fails, hangs, forgets, loses its power and has other people's hands in it.
//!
//! Only for tests. What decides is the code of the product: `conduct` with `decide`, `advance` and
//! `recover`, the agent's whole loop with its database, the freezing of a judgement, the grant of a
//! request, the verdict about a lifeline. What is simulated is what they see and do.
//!
//! | file | what |
//! |---|---|
//! | [`place`], [`fault`] | where something can go wrong, and what |
//! | [`seed`] | random numbers that come again |
//! | [`machine`] | disk, memory, clocks, remote, and what a power cut leaves |
//! | [`root`], [`agent`] | the two seams: what the activator and the agent see and do |
//! | [`service`] | who takes the requests |
//! | [`world`] | who runs when: systemd, time, boots |
//! | [`laws`] | what has to be true after every single step, and at the end |
//! | [`story`] | one line about what happened |
//! | [`random`] | pushes, faults and hands from a seed: the simulation |
//! | [`matrix`] | every place with every fault, with and without a reboot: the kill matrix |

mod agent;
mod fault;
mod laws;
mod machine;
mod matrix;
mod place;
mod random;
mod root;
mod seed;
mod service;
mod story;
mod world;
