//! The real tools, as an ordinary user, in environments that the real mmdebstrap made. Needs root, a mirror and some tools;
//! says what is missing.

mod autopkgtest;
mod blhc;
mod bootstrap;
mod debdiff;
mod fetch;
mod house;
mod lintian;
mod makesourcepackageupload;
mod mergeuploads;
mod piuparts;
mod signing;
mod simplesystemimagebuild;
mod source;
#[path = "../support/mod.rs"]
mod support;
