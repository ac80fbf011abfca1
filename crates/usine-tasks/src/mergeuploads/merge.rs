//! The rules of merging `.changes` (mergechanges(1)): what must be equal, what is joined, what may not be twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde_json::Value;
use usine_debian::{Algorithm, Changes, Fields, binary_field};

use crate::run::TaskError;

/// The fields that all uploads must have alike.
const ALIKE: [&str; 3] = ["Format", "Source", "Version"];

/// The merged fields. What is not joined is as in the first upload.
pub(super) fn merge(uploads: &[&Changes]) -> Result<Fields, TaskError> {
    let first = uploads.first().ok_or_else(|| problem("There are no uploads to merge"))?;
    check_alike(uploads)?;
    check_checksums(uploads)?;
    let mut merged = first.fields().clone();
    if let Some(words) = joined_words(uploads, "Binary") {
        merged.set("Binary", binary_field(words.iter().copied()));
    }
    if let Some(words) = joined_words(uploads, "Architecture") {
        merged.set("Architecture", Vec::from_iter(words).join(" "));
    }
    if let Some(description) = joined_descriptions(uploads)? {
        merged.set("Description", description);
    }
    for algorithm in Algorithm::ALL {
        if let Some(entries) = joined_entries(uploads, algorithm)? {
            merged.set(algorithm.field(), entries);
        }
    }
    merged.move_before("Binary", "Source");
    merged.move_before("Description", "Changes");
    Ok(merged)
}

fn problem(text: impl Display) -> TaskError {
    TaskError::Other(text.to_string())
}

/// `['a', 'b']`.
fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = values.into_iter().map(|value| format!("'{value}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn check_alike(uploads: &[&Changes]) -> Result<(), TaskError> {
    let format = uploads.first().and_then(|upload| upload.fields().text("Format")).unwrap_or_default();
    if format != "1.8" {
        return Err(problem(format!("Unknown .changes format: {format}")));
    }
    for field in ALIKE {
        let values: Vec<&str> = uploads.iter().map(|upload| upload.fields().text(field).unwrap_or_default()).collect();
        if values.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(problem(format!("{field} fields do not match: {}", list(values))));
        }
    }
    Ok(())
}

fn check_checksums(uploads: &[&Changes]) -> Result<(), TaskError> {
    for name in uploads.iter().flat_map(|upload| upload.fields().as_map().keys()) {
        let is_checksum = name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("Checksums-"));
        if is_checksum && !Algorithm::ALL.iter().any(|known| known.field().eq_ignore_ascii_case(name)) {
            return Err(problem(format!("Unsupported checksum field: {name}")));
        }
    }
    Ok(())
}

/// The words of a field in all uploads; `None` if no upload has it.
fn joined_words<'a>(uploads: &[&'a Changes], field: &str) -> Option<BTreeSet<&'a str>> {
    let mut values = uploads.iter().filter_map(|upload| upload.fields().text(field)).peekable();
    values.peek()?;
    Some(values.flat_map(str::split_ascii_whitespace).collect())
}

/// The lines of all descriptions, each once: ` NAME - TEXT`. Two texts for one name contradict each other.
fn joined_descriptions(uploads: &[&Changes]) -> Result<Option<String>, TaskError> {
    let mut values = uploads.iter().filter_map(|upload| upload.fields().text("Description")).peekable();
    if values.peek().is_none() {
        return Ok(None);
    }
    let mut texts = BTreeMap::new();
    let mut lines = Vec::new();
    for line in values.flat_map(str::lines).filter(|line| !line.trim().is_empty()) {
        if let Some((name, text)) = line.split_once(" - ") {
            let (name, text) = (name.trim(), text.trim());
            let known = *texts.entry(name).or_insert(text);
            if known != text {
                return Err(problem(format!("Descriptions of {name} do not match: {}", list([known, text]))));
            }
        }
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    Ok(Some(lines.iter().map(|line| format!("\n {}", line.trim_start())).collect()))
}

/// The lines of a file list of all uploads; `None` if no upload has it.
fn joined_entries(uploads: &[&Changes], algorithm: Algorithm) -> Result<Option<Value>, TaskError> {
    let field = algorithm.field();
    let mut lists = uploads.iter().filter_map(|upload| upload.fields().get(field)?.as_array()).peekable();
    if lists.peek().is_none() {
        return Ok(None);
    }
    let mut known: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut joined = Vec::new();
    for entry in lists.flatten() {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some(other) = known.insert(name, entry) {
            return Err(problem(if other == entry {
                format!("{name} is in more than one upload")
            } else {
                format!("{field} entries for {name} do not match: {}", list([columns(other), columns(entry)]))
            }));
        }
        joined.push(entry.clone());
    }
    Ok(Some(Value::Array(joined)))
}

fn columns(entry: &Value) -> String {
    let columns = entry.as_object().into_iter().flat_map(|entry| entry.values()).filter_map(Value::as_str);
    columns.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `.changes` with one file; `more` are further fields.
    fn changes(architecture: &str, more: &str, file: &str) -> Changes {
        let text = format!(
            "Format: 1.8\nDate: now\nSource: tiny\n{more}Architecture: {architecture}\nVersion: 1:1.0\nChanges:\n tiny\n\
             Checksums-Sha1:\n {} 3 {file}\nChecksums-Sha256:\n {} 3 {file}\nFiles:\n {} 3 misc optional {file}\n",
            "a".repeat(40),
            "b".repeat(64),
            "c".repeat(32)
        );
        Changes::from_text("test.changes", &text).unwrap()
    }

    fn merged(uploads: &[&Changes]) -> String {
        merge(uploads).unwrap().to_text().unwrap()
    }

    fn fault(uploads: &[&Changes]) -> String {
        merge(uploads).unwrap_err().to_string()
    }

    #[test]
    fn fields_are_joined_in_their_order() {
        let source = changes("source", "", "tiny_1.0.dsc");
        let any = changes("amd64", "Binary: tiny\nDescription:\n tiny       - a tiny thing\n", "tiny_1.0_amd64.deb");
        let all = changes(
            "all amd64",
            "Binary: tiny-doc tiny\nDescription:\n tiny-doc   - its documents\n tiny       - a tiny thing\n",
            "tiny-doc_1.0_all.deb",
        );
        let (sha1, sha256, md5) = ("a".repeat(40), "b".repeat(64), "c".repeat(32));
        let files = ["tiny_1.0.dsc", "tiny_1.0_amd64.deb", "tiny-doc_1.0_all.deb"];
        let lines = |start: &str| files.map(|file| format!(" {start} {file}\n")).concat();
        assert_eq!(
            merged(&[&source, &any, &all]),
            format!(
                "Format: 1.8\nDate: now\nBinary: tiny tiny-doc\nSource: tiny\nArchitecture: all amd64 source\n\
                 Version: 1:1.0\nDescription:\n tiny       - a tiny thing\n tiny-doc   - its documents\nChanges:\n tiny\n\
                 Checksums-Sha1:\n{}Checksums-Sha256:\n{}Files:\n{}",
                lines(&format!("{sha1} 3")),
                lines(&format!("{sha256} 3")),
                lines(&format!("{md5} 3 misc optional")),
            )
        );
        assert!(merged(&[&any, &source]).contains("Binary: tiny\nSource: tiny\nArchitecture: amd64 source\n"));
    }

    #[test]
    fn a_single_upload_of_source_has_no_binary() {
        let source = changes("source", "", "tiny_1.0.dsc");
        let text = merged(&[&source]);
        assert!(!text.contains("Binary:") && !text.contains("Description:"), "{text}");
    }

    #[test]
    fn what_must_be_alike() {
        let one = changes("amd64", "", "a.deb");
        let differ = |from: &str, to: &str| {
            let text = changes("all", "", "b.deb").fields().to_text().unwrap().replace(from, to);
            fault(&[&one, &Changes::from_text("other.changes", &text).unwrap()])
        };
        assert_eq!(differ("Format: 1.8", "Format: 1.7"), "Format fields do not match: ['1.8', '1.7']");
        assert_eq!(differ("Source: tiny", "Source: tiny (0.9)"), "Source fields do not match: ['tiny', 'tiny (0.9)']");
        assert_eq!(differ("Version: 1:1.0", "Version: 1:1.1"), "Version fields do not match: ['1:1.0', '1:1.1']");
        assert_eq!(differ("Version: 1:1.0\n", ""), "Version fields do not match: ['1:1.0', '']");
        let old = one.fields().to_text().unwrap().replace("Format: 1.8", "Format: 1.7");
        let old = Changes::from_text("old.changes", &old).unwrap();
        assert_eq!(fault(&[&old]), "Unknown .changes format: 1.7");
        assert_eq!(fault(&[]), "There are no uploads to merge");
        let sha512 = changes("all", "checksums-sha512:\n x\n", "b.deb");
        assert_eq!(fault(&[&one, &sha512]), "Unsupported checksum field: checksums-sha512");
    }

    #[test]
    fn descriptions_may_not_contradict_each_other() {
        let one = changes("amd64", "Description:\n tiny       - a tiny - very tiny - thing\n", "a.deb");
        let two = changes("all", "Description:\n tiny       - a large thing\n", "b.deb");
        assert_eq!(
            fault(&[&one, &two]),
            "Descriptions of tiny do not match: ['a tiny - very tiny - thing', 'a large thing']"
        );
    }

    #[test]
    fn a_file_is_in_one_upload_only() {
        let one = changes("amd64", "", "a.deb");
        assert_eq!(fault(&[&one, &one.clone()]), "a.deb is in more than one upload");
        let other = one.fields().to_text().unwrap().replace(&"a".repeat(40), &"d".repeat(40));
        let other = Changes::from_text("other.changes", &other).unwrap();
        let (a, d) = ("a".repeat(40), "d".repeat(40));
        assert_eq!(
            fault(&[&one, &other]),
            format!("Checksums-Sha1 entries for a.deb do not match: ['{a} 3 a.deb', '{d} 3 a.deb']")
        );
    }

    #[test]
    fn a_long_binary_is_folded() {
        let names =
            |range: std::ops::Range<u32>| range.map(|n| format!("package-{n:03}")).collect::<Vec<_>>().join(" ");
        let one = changes(
            "amd64",
            &format!("Binary: {}\n", names(0..120).replace(" package-060", "\n package-060")),
            "a.deb",
        );
        let two = changes("all", &format!("Binary: {}\n", names(100..200)), "b.deb");
        let merged = merge(&[&one, &two]).unwrap();
        let binary = merged.text("Binary").unwrap();
        assert_eq!(binary.replace('\n', ""), names(0..200));
        assert!(binary.lines().count() == 3 && binary.lines().all(|line| line.len() <= 981), "{binary}");
    }
}
