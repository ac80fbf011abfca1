//! The name of a file's content: its SHA-256 and its size in bytes.

use std::fmt;
use std::str::FromStr;

/// What a stored file is known by; two files with the same id have the same content.
///
/// Written `<64 lowercase hex digits>-<size in bytes>`, the last part of its path in a local store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// SHA-256 of the whole content.
    pub sha256: [u8; 32],
    /// Length of the content in bytes.
    pub size: u64,
}

impl FileId {
    /// The id of a content of `size` bytes with this digest.
    pub fn new(sha256: [u8; 32], size: u64) -> Self {
        Self { sha256, size }
    }

    /// From the digest in hexadecimal, as checksum fields and the API give it (either case).
    pub fn from_hex(sha256: &str, size: u64) -> Result<Self, FileIdError> {
        let mut digest = [0; 32];
        hex::decode_to_slice(sha256, &mut digest).map_err(|_| FileIdError::Digest)?;
        Ok(Self::new(digest, size))
    }

    /// The digest in lowercase hexadecimal, 64 characters.
    pub fn sha256_hex(&self) -> String {
        hex::encode(self.sha256)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sha256_hex(), self.size)
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId({self})")
    }
}

impl FromStr for FileId {
    type Err = FileIdError;

    /// Accepts exactly what [`Display`](fmt::Display) writes, so that one content has one spelling.
    fn from_str(text: &str) -> Result<Self, FileIdError> {
        let (digest, size) = text.split_once('-').ok_or(FileIdError::Form)?;
        let size = size.parse().map_err(|_| FileIdError::Size)?;
        let id = Self::from_hex(digest, size)?;
        if id.to_string() == text { Ok(id) } else { Err(FileIdError::Form) }
    }
}

/// Why a text is not a [`FileId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileIdError {
    /// Not `<digest>-<size>` in its one canonical spelling.
    #[error("a file id is written <64 lowercase hex digits>-<size in bytes>")]
    Form,
    /// Not 64 hexadecimal digits.
    #[error("a SHA-256 digest is 64 hexadecimal digits")]
    Digest,
    /// Not a size.
    #[error("a file size is a whole number of bytes that fits 64 bits")]
    Size,
}

#[cfg(test)]
mod tests {
    use super::*;

    // SHA-256 of the empty content.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn is_written_and_read_back() {
        let id = FileId::from_hex(EMPTY, 0).unwrap();
        assert_eq!(id.to_string(), format!("{EMPTY}-0"));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.sha256_hex(), EMPTY);
    }

    #[test]
    fn has_one_spelling() {
        for (text, error) in [
            (EMPTY.to_owned(), FileIdError::Form),
            (format!("{EMPTY}-00"), FileIdError::Form),
            (format!("{EMPTY}-+1"), FileIdError::Form),
            (format!("{}-1", EMPTY.to_uppercase()), FileIdError::Form),
            (format!("{EMPTY}--1"), FileIdError::Size),
            (format!("{EMPTY}-18446744073709551616"), FileIdError::Size),
            (format!("{}-1", &EMPTY[1..]), FileIdError::Digest),
            (format!("../{EMPTY}-1"), FileIdError::Digest),
        ] {
            assert_eq!(text.parse::<FileId>(), Err(error), "{text}");
        }
    }
}
