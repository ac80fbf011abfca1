//! The program under the names of debusine's: the command lines, outputs and exit codes of Debian's client and worker, old
//! and new, against a server that runs. Work requests are noops, so that the stories are quick.

#[path = "../factory/house.rs"]
#[allow(dead_code, reason = "the stories of the factory need other parts of the house")]
mod house;
#[path = "../client/packages.rs"]
#[allow(dead_code, reason = "the stories of the client need other packages, too")]
mod packages;
#[path = "../factory/source.rs"]
#[allow(dead_code, reason = "the stories of the factory need large files, too")]
mod source;
#[path = "../client/support.rs"]
#[allow(dead_code, reason = "the stories of the client need more")]
mod support;

mod administration;
mod decisions;
mod fake_server;
mod import;
mod inheritance;
mod names;
mod new_names;
mod old_names;
mod setup;
mod usage;
mod worker;
