//! Where random bytes come from: the operating system in the binary, a counter in tests.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// A source of random bytes fit for secrets.
pub trait Entropy: Send + Sync + 'static {
    /// 32 fresh random bytes.
    fn bytes32(&self) -> [u8; 32];
}

/// Predictable bytes for tests: the SHA-256 of a counter, each value once.
#[derive(Debug, Default)]
pub struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn bytes32(&self) -> [u8; 32] {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        Sha256::digest(count.to_be_bytes()).into()
    }
}
