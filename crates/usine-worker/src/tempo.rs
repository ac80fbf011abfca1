//! How long the worker waits for what. Tests are in a hurry, workers are not.

use std::time::Duration;

use usine_model::entropy::Entropy;

/// The waiting times.
#[derive(Debug, Clone, Copy)]
pub struct Tempo {
    /// Before connecting again: at least this long …
    pub reconnect: Duration,
    /// … and at most this much longer, at random, so that workers do not come back all at once.
    pub reconnect_spread: Duration,
    /// Before a failed delivery is tried again, at first; doubled up to [`Tempo::patience`].
    pub retry: Duration,
    /// Longest wait between two tries.
    pub patience: Duration,
    /// How long a task's own calls (its inputs) are tried again.
    pub input_patience: Duration,
    /// How often to ask for work without being told that there is some: notices can be lost.
    pub poll: Duration,
    /// How often to ask whether the running work request is still ours.
    pub check: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Self {
            reconnect: Duration::from_secs(1),
            reconnect_spread: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            patience: Duration::from_secs(60),
            input_patience: Duration::from_secs(600),
            poll: Duration::from_secs(60),
            check: Duration::from_secs(60),
        }
    }
}

impl Tempo {
    /// A random time to wait before connecting again.
    pub(crate) fn reconnect_wait(&self, entropy: &dyn Entropy) -> Duration {
        let [low, high, ..] = entropy.bytes32();
        let fraction = f64::from(u16::from_le_bytes([low, high])) / f64::from(u16::MAX);
        self.reconnect + self.reconnect_spread.mul_f64(fraction)
    }

    pub(crate) fn back_off(&self) -> BackOff {
        BackOff { next: self.retry, longest: self.patience }
    }
}

/// Waits that double.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackOff {
    next: Duration,
    longest: Duration,
}

impl BackOff {
    /// How long to wait now: what the server asks for, if it does.
    pub fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let wait = asked.unwrap_or(self.next).min(self.longest);
        self.next = (self.next * 2).min(self.longest);
        wait
    }
}

#[cfg(test)]
mod tests {
    use usine_model::entropy::CountingEntropy;

    use super::*;

    #[test]
    fn waits() {
        let tempo = Tempo::default();
        let entropy = CountingEntropy::default();
        let waits: Vec<_> = (0..20).map(|_| tempo.reconnect_wait(&entropy)).collect();
        assert!(waits.iter().all(|wait| (1.0..=6.0).contains(&wait.as_secs_f64())), "{waits:?}");
        assert_ne!(waits[0], waits[1]);
        let mut back_off = tempo.back_off();
        let seconds: Vec<_> = (0..8).map(|_| back_off.wait(None).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(back_off.wait(Some(Duration::from_secs(7))).as_secs(), 7);
    }
}
