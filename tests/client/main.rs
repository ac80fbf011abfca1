//! The commands of users and administrators against a server that runs: what they print, how they exit, and that wrong
//! input leaves nothing behind. Work requests are noops, so that the stories are quick.

#[path = "../factory/house.rs"]
#[allow(dead_code, reason = "the stories of the factory need other parts of the house")]
mod house;
#[path = "../factory/source.rs"]
#[allow(dead_code, reason = "the stories of the factory need large files, too")]
mod source;

mod administration;
mod artifacts;
mod check;
mod ends;
mod fake_worker;
mod logs;
mod on_completed;
mod packages;
mod refusals;
mod server;
mod shapes;
mod standalone;
mod support;
mod waiting;
