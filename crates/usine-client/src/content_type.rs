//! The content type of a file that is going to be uploaded: by its suffix for a few, else by its first bytes, in
//! libmagic's words (`file --mime`).

use std::io::{self, Read};
use std::path::Path;

use serde::de::IgnoredAny;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream; charset=binary";

/// Suffixes with a type of their own: debusine's rule.
const SUFFIXES: [(&str, &str); 4] =
    [(".buildinfo", TEXT), (".dsc", TEXT), (".changes", TEXT), (".md", "text/markdown; charset=utf-8")];

/// Bytes of a file that tell its type, and where they are.
const MAGIC: [(usize, &[u8], &str); 9] = [
    (0, b"\xfd7zXZ\0", "application/x-xz; charset=binary"),
    (0, b"\x1f\x8b", "application/gzip; charset=binary"),
    (0, b"BZh", "application/x-bzip2; charset=binary"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd; charset=binary"),
    (0, b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package; charset=binary"),
    (0, b"QFI\xfb", "application/x-qemu-disk; charset=binary"),
    (0, b"-----BEGIN PGP SIGNATURE-----", "application/pgp-signature; charset=us-ascii"),
    (0, b"-----BEGIN PGP SIGNED MESSAGE-----", "text/PGP; charset=us-ascii"),
    (257, b"ustar", "application/x-tar; charset=binary"),
];

/// How much of a file is looked at, in bytes: what libmagic reads, too.
const LOOK_AT: u64 = 1 << 20;

/// The content type of `path` (in an artifact) whose content is in `local`.
pub fn content_type(path: &str, local: &Path) -> io::Result<&'static str> {
    if let Some((_, content_type)) = SUFFIXES.iter().find(|(suffix, _)| path.ends_with(suffix)) {
        return Ok(content_type);
    }
    let mut head = Vec::new();
    std::fs::File::open(local)?.take(LOOK_AT).read_to_end(&mut head)?;
    Ok(by_first_bytes(&head))
}

fn by_first_bytes(head: &[u8]) -> &'static str {
    let there = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((_, _, content_type)) = MAGIC.iter().find(|(at, magic, _)| there(*at, magic)) {
        return content_type;
    }
    if head.is_empty() {
        return "inode/x-empty; charset=binary";
    }
    // Of the control characters, texts have those from bell to carriage return, and escape.
    if head.iter().any(|byte| byte.is_ascii_control() && !matches!(byte, 7..=13 | 27)) {
        return BYTES;
    }
    match std::str::from_utf8(head) {
        Ok(_) if head.is_ascii() && is_json(head) => "application/json; charset=us-ascii",
        Ok(_) if head.is_ascii() => "text/plain; charset=us-ascii",
        Ok(_) if is_json(head) => "application/json; charset=utf-8",
        Ok(_) => TEXT,
        // A character may be cut in two where we stopped looking.
        Err(error) if error.error_len().is_none() => TEXT,
        Err(_) if head.iter().all(|byte| !(0x80..0xa0).contains(byte)) => "text/plain; charset=iso-8859-1",
        Err(_) => BYTES,
    }
}

/// Whether it is an object or list in JSON, as far as we have looked.
fn is_json(head: &[u8]) -> bool {
    let is_open = |error: serde_json::Error| error.is_eof() && head.len() as u64 == LOOK_AT;
    matches!(head.trim_ascii_start(), [b'{' | b'[', ..])
        && serde_json::from_slice::<IgnoredAny>(head).map_or_else(is_open, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_suffixes_have_a_type_of_their_own() {
        let nowhere = Path::new("/nonexistent");
        for path in ["a/hello_1.dsc", "hello_1_source.buildinfo", "hello_1_source.changes"] {
            assert_eq!(content_type(path, nowhere).unwrap(), TEXT);
        }
        assert_eq!(content_type("README.md", nowhere).unwrap(), "text/markdown; charset=utf-8");
        for path in ["hello", "a.json", "a.deb", "a.html"] {
            assert!(content_type(path, nowhere).is_err(), "{path}: by its content");
        }
    }

    #[test]
    fn others_are_what_libmagic_says() {
        let mut tarball = vec![0; 512];
        tarball[..4].copy_from_slice(b"file");
        tarball[257..262].copy_from_slice(b"ustar");
        let mut long = br#"{"a": ""#.to_vec();
        long.resize(LOOK_AT as usize, b'x');
        for (head, expected) in [
            (&b"\xfd7zXZ\0..."[..], "application/x-xz; charset=binary"),
            (b"\x1f\x8b\x08", "application/gzip; charset=binary"),
            (b"BZh91AY", "application/x-bzip2; charset=binary"),
            (b"\x28\xb5\x2f\xfd..", "application/zstd; charset=binary"),
            (b"!<arch>\ndebian-binary   1", "application/vnd.debian.binary-package; charset=binary"),
            (b"QFI\xfb\0\0\0\x03", "application/x-qemu-disk; charset=binary"),
            (&tarball, "application/x-tar; charset=binary"),
            (b"-----BEGIN PGP SIGNATURE-----\n", "application/pgp-signature; charset=us-ascii"),
            (b"-----BEGIN PGP SIGNED MESSAGE-----\n", "text/PGP; charset=us-ascii"),
            (b"", "inode/x-empty; charset=binary"),
            (b"hello\n", "text/plain; charset=us-ascii"),
            (b"\x1b[1mbold", "text/plain; charset=us-ascii"),
            ("grüß".as_bytes(), TEXT),
            (&"grüß".as_bytes()[..3], TEXT),
            (b"gr\xfc\xdf", "text/plain; charset=iso-8859-1"),
            (b"{\"tags\": []}\n", "application/json; charset=us-ascii"),
            ("[\"ü\"]".as_bytes(), "application/json; charset=utf-8"),
            (&long, "application/json; charset=us-ascii"),
            (b"{\"tags\": [", "text/plain; charset=us-ascii"),
            (b"\"text\"", "text/plain; charset=us-ascii"),
            (b"a\0b", BYTES),
            (b"a\x01b", BYTES),
            (b"\x80\x81", BYTES),
        ] {
            let shown = String::from_utf8_lossy(&head[..head.len().min(20)]);
            assert_eq!(by_first_bytes(head), expected, "{shown:?}");
        }
    }
}
