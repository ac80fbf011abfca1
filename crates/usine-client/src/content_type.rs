//! The content type of a file that is going to be uploaded, by its suffix and its first bytes.

use std::io::{self, Read};
use std::path::Path;

const TEXT: &str = "text/plain; charset=utf-8";

/// Suffixes with a type of their own. `.dsc`, `.changes`, `.buildinfo` and `.md` are debusine's rule.
const SUFFIXES: [(&str, &str); 16] = [
    (".dsc", TEXT),
    (".changes", TEXT),
    (".buildinfo", TEXT),
    (".md", "text/markdown; charset=utf-8"),
    (".txt", TEXT),
    (".log", TEXT),
    (".build", TEXT),
    (".json", "application/json; charset=utf-8"),
    (".deb", "application/vnd.debian.binary-package; charset=binary"),
    (".udeb", "application/vnd.debian.binary-package; charset=binary"),
    (".ddeb", "application/vnd.debian.binary-package; charset=binary"),
    (".asc", "application/pgp-signature; charset=us-ascii"),
    (".tar", "application/x-tar; charset=binary"),
    (".qcow2", "application/octet-stream"),
    (".gpg", "application/octet-stream"),
    (".sig", "application/octet-stream"),
];

/// First bytes of a file that tell its type.
const MAGIC: [(&[u8], &str); 5] = [
    (b"\xfd7zXZ\0", "application/x-xz; charset=binary"),
    (b"\x1f\x8b", "application/gzip; charset=binary"),
    (b"BZh", "application/x-bzip2; charset=binary"),
    (b"\x28\xb5\x2f\xfd", "application/zstd; charset=binary"),
    (b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package; charset=binary"),
];

/// How much of a file is looked at, in bytes.
const LOOK_AT: u64 = 8 * 1024;

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
    if let Some((_, content_type)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return content_type;
    }
    if head.is_empty() {
        return "inode/x-empty; charset=binary";
    }
    // A character may be cut in two where we stopped looking.
    let is_text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    if is_text && !head.contains(&0) { TEXT } else { "application/octet-stream" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_suffix_and_by_content() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(content_type("a/hello_1.dsc", nowhere).unwrap(), TEXT);
        assert!(content_type("hello", nowhere).is_err());
        assert_eq!(by_first_bytes(b"\xfd7zXZ\0..."), "application/x-xz; charset=binary");
        assert_eq!(by_first_bytes("grüß".as_bytes()), TEXT);
        assert_eq!(by_first_bytes(&"grüß".as_bytes()[..3]), TEXT);
        assert_eq!(by_first_bytes(b"a\0b"), "application/octet-stream");
        assert_eq!(by_first_bytes(b"\xff\xfe"), "application/octet-stream");
    }
}
