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

/// Reads a number of seconds, or of things in a second.
fn above_zero(text: &str) -> std::result::Result<f64, String> {
    // A day, or a million per second, is more than anybody needs.
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number <= 1e6);
    number.ok_or_else(|| format!("{text:?} is not a number above 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_numbers() {
        assert_eq!(above_zero("0.5"), Ok(0.5));
        for bad in ["0", "-1", "NaN", "inf", "1e300", "x", ""] {
            assert!(above_zero(bad).is_err(), "{bad}");
        }
    }
}
