//! Names of files inside artifacts: relative, and unable to climb out of a directory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest path of a file in an artifact, in characters.
const MAX_PATH: usize = 500;

/// The path of a file in an artifact: components joined by `/`, none empty, `.` or `..`, no NUL, at most 500 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactPath(String);

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// Empty or absolute, or has an empty, `.` or `..` component.
    #[error("file path {0:?} must be relative, without empty, '.' or '..' components")]
    Unsafe(String),
    /// Too long.
    #[error("file path has {0} characters; at most {MAX_PATH} are allowed")]
    TooLong(usize),
}

impl ArtifactPath {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for ArtifactPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let length = text.chars().count();
        if length > MAX_PATH {
            return Err(InvalidPath::TooLong(length));
        }
        let safe = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\n']);
        if text.split('/').all(safe) { Ok(Self(text.to_owned())) } else { Err(InvalidPath::Unsafe(text.to_owned())) }
    }
}

impl TryFrom<String> for ArtifactPath {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        text.parse()
    }
}

impl From<ArtifactPath> for String {
    fn from(path: ArtifactPath) -> Self {
        path.0
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "a/b.deb", "..a", "hello_2.12.3-1.dsc", "a b/ü"] {
            assert_eq!(good.parse::<ArtifactPath>().unwrap().as_str(), good);
        }
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a\0b"] {
            assert!(bad.parse::<ArtifactPath>().is_err(), "{bad:?}");
        }
        assert_eq!("é".repeat(501).parse::<ArtifactPath>(), Err(InvalidPath::TooLong(501)));
    }
}
