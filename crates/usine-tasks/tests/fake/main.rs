//! Whole runs with fake tools.

mod autopkgtest;
mod basics;
mod blhc;
#[path = "../support/mod.rs"]
mod support;
mod world;
