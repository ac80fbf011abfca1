//! What the numbers were measured on, in a few words and without a name.

use crate::{Error, Result};

/// Such as `2 × Intel(R) Xeon(R), 8 GB, Linux 6.1.0`.
pub(super) fn describe() -> Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(Error::io(format!("cannot read {path}")));
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = field(&cpuinfo, "model name").unwrap_or("processor");
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let meminfo = read("/proc/meminfo")?;
    let memory = field(&meminfo, "MemTotal").and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok());
    let gigabytes = memory.map_or(0.0, |kib| kib as f64 * 1024.0 / 1e9);
    let release = read("/proc/sys/kernel/osrelease")?;
    let version = release.split(|char: char| !(char.is_ascii_digit() || char == '.')).next().unwrap_or_default();
    Ok(format!("{count} × {model}, {gigabytes:.0} GB, Linux {version}"))
}

/// The first field of this name.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described() {
        assert_eq!(field("processor\t: 0\nmodel name\t: Some CPU: fast\n", "model name"), Some("Some CPU: fast"));
        let text = describe().unwrap();
        assert!(text.contains(" × ") && text.contains(" GB, Linux ") && !text.contains(", 0 GB"), "{text}");
    }
}
