//! Whole runs with fake tools.

mod autopkgtest;
mod basics;
mod blhc;
mod debdiff;
mod incus;
mod lintian;
mod piuparts;
mod signing;
mod simplesystemimagebuild;
#[path = "../support/mod.rs"]
mod support;
mod world;
