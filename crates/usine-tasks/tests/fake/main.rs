//! Whole runs with fake tools.

mod autopkgtest;
mod basics;
mod blhc;
mod incus;
#[path = "../support/mod.rs"]
mod support;
mod world;
