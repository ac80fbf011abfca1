//! One paragraph of a control file (deb822(5)), as the JSON object that artifacts carry.
//!
//! Our own parser, not deb822-fast: that one drops the blanks at the beginning of continuation lines, which
//! debusine's data keeps, and knows nothing of clear-signatures.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, open};

/// The largest `.dsc`, `.changes` or `control` that is read, in bytes (the largest real ones are below 2 MiB).
pub const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;

const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// The fields of a paragraph in file order and spelling; names are looked up without regard to case.
///
/// Values are strings, but file lists (`Files`, `Checksums-*` of a [`crate::Dsc`] or [`crate::Changes`]) are
/// lists of objects. Serialises as the JSON object of artifacts (`dsc_fields`, `changes_fields`, `deb_fields`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fields(pub(crate) Map<String, Value>);

impl Fields {
    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of a field that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// All fields, in file order.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The JSON object.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Where and why a text is not a deb822 paragraph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Syntax {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Parses the first paragraph of `text`, within its OpenPGP clear-signature if it has one.
///
/// A single-line value is stripped. A multi-line one is its stripped first line, then for each continuation line
/// a newline and the line as it is, leading blank included. The signature is skipped, not verified.
///
/// # Errors
/// If there is no paragraph, a line is no field, a field appears twice, or a clear-signature does not end.
pub fn parse_paragraph(text: &str) -> Result<Fields, Syntax> {
    let mut fields = Map::new();
    let mut seen = HashSet::new();
    let mut current: Option<(String, String)> = None;
    for (line, content) in first_paragraph(text)? {
        let fault = |problem: String| Syntax { line, problem };
        if content.starts_with('#') {
            continue;
        }
        if content.starts_with([' ', '\t']) {
            let (_, value) =
                current.as_mut().ok_or_else(|| fault("the first line is the continuation of nothing".to_owned()))?;
            value.push('\n');
            value.push_str(content);
            continue;
        }
        let (name, value) = content
            .split_once(':')
            .map(|(name, value)| (name.trim_ascii_end(), value.trim_ascii()))
            .filter(|(name, _)| is_field_name(name))
            .ok_or_else(|| {
                fault("expected 'Field: value', or a continuation line that begins with a blank".to_owned())
            })?;
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(fault(format!("the field {name} appears a second time")));
        }
        if let Some((name, value)) = current.replace((name.to_owned(), value.to_owned())) {
            fields.insert(name, Value::String(value));
        }
    }
    if let Some((name, value)) = current {
        fields.insert(name, Value::String(value));
    }
    if fields.is_empty() {
        return Err(Syntax { line: 1, problem: "there are no fields".to_owned() });
    }
    Ok(Fields(fields))
}

/// deb822(5): printable ASCII but blank and colon, not beginning with `#` or `-`.
fn is_field_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '-']) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_blank(line: &str) -> bool {
    line.trim_ascii().is_empty()
}

/// The numbered lines of the first paragraph. Of a clear-signed text (RFC 9580 §7) only what the signature covers
/// counts: nothing before it is accepted, nothing after it is looked at.
fn first_paragraph(text: &str) -> Result<Vec<(usize, &str)>, Syntax> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .skip_while(|(_, line)| is_blank(line))
        .peekable();
    if lines.next_if(|(_, line)| line.trim_ascii_end() == SIGNED).is_none() {
        return Ok(lines.take_while(|(_, line)| !is_blank(line)).collect());
    }
    for (line, content) in lines.by_ref().take_while(|(_, line)| !is_blank(line)) {
        // RFC 9580 allows no other header here; fields between the header and the blank line would be unsigned.
        if !content.starts_with("Hash:") {
            return Err(Syntax { line, problem: "only 'Hash:' may stand before a clear-signed text".to_owned() });
        }
    }
    let mut signed = Vec::new();
    loop {
        match lines.next() {
            Some((_, content)) if content.trim_ascii_end() == SIGNATURE => break,
            Some((line, content)) => signed.push((line, content.strip_prefix("- ").unwrap_or(content))),
            None => {
                let line = text.lines().count();
                return Err(Syntax { line, problem: format!("the clear-signed text ends without '{SIGNATURE}'") });
            }
        }
    }
    Ok(signed.into_iter().skip_while(|(_, line)| is_blank(line)).take_while(|(_, line)| !is_blank(line)).collect())
}

/// Parses `bytes`, which came from the file `name`.
pub(crate) fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Fields, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8 { name: name.to_owned() })?;
    parse_text(name, text)
}

/// Parses `text`, which came from the file `name`.
pub(crate) fn parse_text(name: &str, text: &str) -> Result<Fields, Error> {
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(Error::TooLarge { name: name.to_owned(), limit: MAX_TEXT_BYTES });
    }
    parse_paragraph(text).map_err(|source| Error::Syntax { name: name.to_owned(), source })
}

/// Reads and parses the file at `path`; gives its name too.
pub(crate) fn read(path: &Path) -> Result<(String, Fields), Error> {
    let name = open::name_of(path);
    let fault = |source| Error::Read { path: path.to_owned(), source };
    let file: File = open::regular(path).map_err(fault)?;
    let mut bytes = Vec::new();
    file.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(Error::TooLarge { name, limit: MAX_TEXT_BYTES });
    }
    let fields = parse_bytes(&name, &bytes)?;
    Ok((name, fields))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn problem(text: &str) -> String {
        parse_paragraph(text).unwrap_err().to_string()
    }

    #[test]
    fn values_keep_their_lines_and_leading_blanks() {
        let text = "\n\nSource:   hello \nDescription:\n hello - example\n\t.\n   more\nBinary: a,\n b\n# a comment\nX-Empty:\n\nSource: other\n";
        let fields = parse_paragraph(text).unwrap();
        assert_eq!(
            serde_json::to_value(&fields).unwrap(),
            json!({
                "Source": "hello",
                "Description": "\n hello - example\n\t.\n   more",
                "Binary": "a,\n b",
                "X-Empty": "",
            })
        );
        let names: Vec<_> = fields.as_map().keys().collect();
        assert_eq!(names, ["Source", "Description", "Binary", "X-Empty"]);
    }

    #[test]
    fn names_are_looked_up_without_regard_to_case() {
        let fields = parse_paragraph("cHeCkSuMs-SHA1: x\r\nB: y\r\n").unwrap();
        assert_eq!(fields.text("Checksums-Sha1"), Some("x"));
        assert_eq!(fields.text("b"), Some("y"));
        assert_eq!(fields.text("Files"), None);
    }

    #[test]
    fn a_clear_signature_is_skipped_and_its_dashes_undone() {
        let text = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSource: hello\nDescription:\n text\n- -----BEGIN-X: y\n\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n";
        assert_eq!(problem(text), "line 7: expected 'Field: value', or a continuation line that begins with a blank");
        let text = text.replace("- -----BEGIN-X: y", "- Binary: hello");
        let fields = parse_paragraph(&text).unwrap();
        assert_eq!(
            serde_json::to_value(&fields).unwrap(),
            json!({"Source": "hello", "Description": "\n text", "Binary": "hello"})
        );
    }

    #[test]
    fn nothing_outside_the_signature_is_believed() {
        assert_eq!(
            problem(
                "-----BEGIN PGP SIGNED MESSAGE-----\nSource: evil\n\nSource: good\n-----BEGIN PGP SIGNATURE-----\n"
            ),
            "line 2: only 'Hash:' may stand before a clear-signed text"
        );
        assert_eq!(
            problem("Source: evil\n-----BEGIN PGP SIGNED MESSAGE-----\n\nVersion: 1\n-----BEGIN PGP SIGNATURE-----\n"),
            "line 2: expected 'Field: value', or a continuation line that begins with a blank"
        );
        assert_eq!(
            problem("-----BEGIN PGP SIGNED MESSAGE-----\n\nSource: cut\n"),
            "line 3: the clear-signed text ends without '-----BEGIN PGP SIGNATURE-----'"
        );
    }

    #[test]
    fn faults_name_the_line() {
        assert_eq!(problem(""), "line 1: there are no fields");
        assert_eq!(problem("# only a comment\n"), "line 1: there are no fields");
        assert_eq!(problem("\n x\n"), "line 2: the first line is the continuation of nothing");
        assert_eq!(problem("A: 1\na: 2\n"), "line 2: the field a appears a second time");
        assert!(problem("A: 1\nB\n").starts_with("line 2: expected"));
        assert!(problem("A B: 1\n").starts_with("line 1: expected"));
        assert!(problem("Ä: 1\n").starts_with("line 1: expected"));
    }

    #[test]
    fn text_that_is_not_utf8_or_too_large_is_refused() {
        let error = parse_bytes("x.dsc", b"Source: caf\xe9\n").unwrap_err();
        assert_eq!(error.to_string(), "'x.dsc' is not UTF-8 text, which Debian Policy 5.1 asks of control files");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large.changes");
        File::create(&path).unwrap().set_len(MAX_TEXT_BYTES + 1).unwrap();
        assert!(matches!(read(&path), Err(Error::TooLarge { limit: MAX_TEXT_BYTES, .. })));
    }

    #[test]
    fn a_named_pipe_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe.dsc");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert!(matches!(read(&path), Err(Error::Read { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*|(?s).*") {
            let _ = parse_paragraph(&text);
        }

        #[test]
        fn what_is_written_is_read_back(
            fields in proptest::collection::btree_map(
                "[A-Z][a-z-]{0,8}", ("[!-~]{0,12}", proptest::collection::vec("[ \t][!-~][ -~]{0,10}", 0..3)), 1..6),
            signed: bool,
        ) {
            let mut text = String::new();
            let mut expected = Map::new();
            for (name, (first, more)) in &fields {
                let value = more.iter().fold(first.clone(), |value, line| value + "\n" + line);
                text += &format!("{name}: {value}\n");
                expected.insert(name.clone(), Value::String(value));
            }
            if signed {
                text = format!("{SIGNED}\nHash: SHA256\n\n{text}\n{SIGNATURE}\n\nx\n-----END PGP SIGNATURE-----\n");
            }
            prop_assert_eq!(parse_paragraph(&text).unwrap().into_map(), expected);
        }
    }
}
