//! Whole runs with fake tools.

mod autopkgtest;
mod basics;
mod blhc;
mod signing;
#[path = "../support/mod.rs"]
mod support;
mod world;
