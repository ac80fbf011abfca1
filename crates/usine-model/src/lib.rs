//! The vocabulary and the pure rules of usine.
//!
//! Nothing here reads a clock, rolls dice, opens a file or waits: time and random values come in as arguments, so every
//! rule can be tried at any hour. The rooms above (database, server, worker) do the I/O and ask this one what is right.

pub mod artifact;
pub mod clock;
pub mod entropy;
pub mod event;
pub mod expiry;
pub mod fair_share;
pub mod lookup;
pub mod matching;
pub mod names;
pub mod old_worker;
pub mod output_data;
pub mod permission;
pub mod policy;
pub mod tags;
pub mod token;
pub mod work_request;
pub mod worker;
