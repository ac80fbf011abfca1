//! One target in libFuzzer's hands: `USINE_FUZZ_TARGET` names it.
#![no_main]

use std::sync::LazyLock;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("USINE_FUZZ_TARGET").unwrap_or_default();
    let target = usine_fuzz::TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("USINE_FUZZ_TARGET: there is no target {name:?}")).run
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| RUN(input));
