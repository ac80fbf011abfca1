//! When calls are due at a fixed rate, whatever the server does (an open loop): a client that is late because the server was slow
//! is not later for it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

/// Times for several callers: whoever is free takes the next.
pub(crate) struct Timetable {
    /// The first one.
    pub start: Instant,
    rate: f64,
    count: u32,
    next: AtomicU32,
}

impl Timetable {
    /// From now on, so many per second, for so many seconds.
    pub fn new(rate: f64, seconds: f64) -> Self {
        let count = (rate * seconds).ceil() as u32;
        Self { start: Instant::now(), rate, count, next: AtomicU32::new(0) }
    }

    /// Waits until the next one is due, and says when that was. `None` after the last.
    pub async fn next(&self) -> Option<Instant> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.count {
            return None;
        }
        let due = self.start + Duration::from_secs_f64(f64::from(number) / self.rate);
        sleep_until(due.into()).await;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_is_due_once() {
        let timetable = Timetable::new(100.0, 0.05);
        let mut due = Vec::new();
        while let Some(time) = timetable.next().await {
            due.push((time - timetable.start).as_millis());
        }
        assert_eq!(due, [0, 10, 20, 30, 40]);
    }
}
