//! Whole runs with fake tools.

mod autopkgtest;
mod basics;
mod blhc;
mod debdiff;
mod lintian;
#[path = "../support/mod.rs"]
mod support;
mod world;
