//! Every target with its corpus and some variations of it, within bounds of time and memory. `USINE_FUZZ_RUNS` says how many
//! variations (1,000), `USINE_FUZZ_SEED` which (0), `USINE_FUZZ_TARGET` of which target only.

use std::path::Path;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use usine_fuzz::{TARGETS, Target, Variations};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What one input may cost: of the processor's time, not the clock's. The slowest reader needs a hundredth of it here.
const MOST_TIME: Duration = Duration::from_secs(20);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}: what does this target read?", directory.display());
    files
}

fn time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Feeds a target once. What was too much is kept, so that it can be looked at.
fn feed(target: &Target, input: &[u8], what: &str) {
    let kept = || {
        let path = std::env::temp_dir().join(format!("usine-fuzz-{}", target.name));
        std::fs::write(&path, input).unwrap();
        format!("{}: {what}, kept in {}", target.name, path.display())
    };
    let (before, begin) = (MEMORY.current_usage(), time());
    MEMORY.reset_peak_usage();
    let outcome = std::panic::catch_unwind(|| (target.run)(input));
    let (memory, time) = (MEMORY.peak_usage().saturating_sub(before), time() - begin);
    assert!(outcome.is_ok(), "{}", kept());
    let most = target.base + target.per_byte * input.len();
    assert!(memory <= most, "{}: {memory} bytes of memory for {} of input", kept(), input.len());
    assert!(time <= MOST_TIME, "{}: {time:?} for {} bytes", kept(), input.len());
}

/// One test, because memory is that of the process.
#[test]
fn nothing_that_is_sent_does_harm() {
    let (runs, seed) = (number("USINE_FUZZ_RUNS").unwrap_or(1000), number("USINE_FUZZ_SEED").unwrap_or(0));
    let chosen = std::env::var("USINE_FUZZ_TARGET").ok();
    for target in TARGETS.iter().filter(|target| chosen.as_deref().is_none_or(|name| name == target.name)) {
        let files = corpus(target);
        for (name, input) in &files {
            feed(target, input, name);
        }
        feed(target, b"", "nothing");
        let inputs: Vec<_> = files.into_iter().map(|(_, input)| input).collect();
        let runs = usize::try_from(runs).unwrap();
        for (index, input) in Variations::new(&inputs, seed).take(runs).enumerate() {
            feed(target, &input, &format!("variation {index} of seed {seed}"));
        }
    }
}

/// The corpus has no directory that nobody reads, and names are given once.
#[test]
fn the_list_is_whole() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut found: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut names: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    names.sort();
    assert_eq!(found, names);
}
