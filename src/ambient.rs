//! The real clock and the real source of randomness: the one place in the program that asks the system for them.
//! Everything below takes them as arguments.

use chrono::{DateTime, Utc};
use usine_model::clock::{Clock, to_stored_precision};
use usine_model::entropy::Entropy;

/// The time of day of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "here is where `now` comes from")]
    fn now(&self) -> DateTime<Utc> {
        to_stored_precision(Utc::now())
    }
}

/// The operating system's random bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[allow(clippy::disallowed_methods, reason = "here is where randomness comes from")]
    fn bytes32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        // getrandom(2) fails only on systems without it; keys that can be guessed would be worse than no program.
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_times_fit_the_database() {
        assert_ne!(OsEntropy.bytes32(), OsEntropy.bytes32());
        assert_eq!(SystemClock.now().timestamp_subsec_nanos() % 1000, 0);
    }
}
