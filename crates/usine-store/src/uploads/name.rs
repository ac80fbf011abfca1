//! Names of partial uploads: plain file names, safe in any directory.

use std::fmt;
use std::str::FromStr;

/// Longest name; leaves room below the 255 bytes of a file name and the 500 of the database's column.
const MAX_LENGTH: usize = 200;

/// The name of one partial upload in the staging directory; the database keeps it as `file_upload.path`.
///
/// Letters, digits, `.`, `_`, `-`; not starting with a dot; at most 200 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadName(String);

impl UploadName {
    /// A fresh name from random bytes.
    pub fn from_random(random: [u8; 32]) -> Self {
        Self(hex::encode(random))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UploadName {
    type Err = UploadNameError;

    fn from_str(text: &str) -> Result<Self, UploadNameError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !text.is_empty() && text.len() <= MAX_LENGTH && !text.starts_with('.') && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(UploadNameError)
        }
    }
}

/// The text is not an [`UploadName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an upload name has 1 to {MAX_LENGTH} letters, digits, '.', '_' or '-' and does not start with '.'")]
pub struct UploadNameError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_tricks_are_no_names() {
        let long = "a".repeat(MAX_LENGTH + 1);
        for text in ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", "a b", "ä", "a\\b", "a\n", &long]
        {
            assert_eq!(text.parse::<UploadName>(), Err(UploadNameError), "{text:?}");
        }
    }

    #[test]
    fn plain_names_are_read_back() {
        let random = UploadName::from_random([0xab; 32]);
        assert_eq!(random.as_str(), "ab".repeat(32));
        for text in [random.as_str(), "7-hello_2.10-3_amd64.deb", &"a".repeat(MAX_LENGTH)] {
            assert_eq!(text.parse::<UploadName>().unwrap().to_string(), text);
        }
    }
}
