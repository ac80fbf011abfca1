//! Debian's own client and worker, unmodified, in systems made from Debian's archive: the newest release and 0.11.3, the
//! oldest that Debian still has. Each story is told once, over kinds of clients and of workers; ours are kinds among others,
//! so that both sides are interchangeable. Root only, because the systems are real.

#[path = "../../crates/usine-tasks/tests/real/fetch.rs"]
mod fetch;
#[path = "../factory/house.rs"]
#[allow(dead_code, reason = "the stories of the factory need other parts of the house")]
mod house;
#[path = "../client/packages.rs"]
mod packages;
#[path = "../factory/source.rs"]
#[allow(dead_code, reason = "the stories of the factory need other packages, too")]
mod source;
#[path = "../client/support.rs"]
#[allow(dead_code, reason = "the stories of the client need more words")]
mod support;

mod artifacts;
mod browser;
mod client;
mod debian;
mod enrolment;
mod followers;
mod inheritance;
mod refusals;
mod tenancy;
mod work_requests;
mod worker;
mod workers;
