//! Everything that reads what strangers send: uploads, requests, messages, configuration files. Each reader is a target, which is
//! fed with bytes that somebody might send, and says what must hold then.
//!
//! [`TARGETS`] is the list. A corpus of small files is in `corpus/NAME/`: written by us, or what Debian's tools made. `cargo test -p
//! usine-fuzz` feeds each target with its corpus and some thousand variations of it ([`Variations`]), and measures memory and time;
//! `make fuzz` looks for more with libFuzzer, which is led by coverage. What it finds comes into the corpus.

mod targets;
mod variations;

pub use targets::TARGETS;
pub use variations::Variations;

/// One reader.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Feeds it. Panics if something does not hold that must.
    pub run: fn(&[u8]),
    /// What it may hold in memory, in bytes: so much in any case …
    pub base: usize,
    /// … and so much for each byte of its input.
    pub per_byte: usize,
}

impl Target {
    /// A reader that holds some copies of what it reads, with what each of its parts costs.
    const fn new(name: &'static str, run: fn(&[u8])) -> Self {
        Self { name, run, base: 8 << 20, per_byte: 200 }
    }

    /// One that decompresses: it has a bound of its own, whatever its input.
    const fn unpacking(self) -> Self {
        Self { base: 96 << 20, ..self }
    }
}
