//! The measurements, one file each: its options, what it does, and the numbers that it finds.

mod api;
mod bare_database;
mod latency;
mod memory;
mod queue;
mod start;
mod throughput;
mod transfer;

pub use api::Api;
pub use bare_database::BareDatabase;
pub use latency::Latency;
pub use memory::Memory;
pub use queue::Queue;
pub use start::Start;
pub use throughput::Throughput;
pub use transfer::Transfer;
