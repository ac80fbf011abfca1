//! The measurements, one file each: its options, what it does, and the numbers that it finds.

mod latency;
mod queue;
mod throughput;

pub use latency::Latency;
pub use queue::Queue;
pub use throughput::Throughput;
