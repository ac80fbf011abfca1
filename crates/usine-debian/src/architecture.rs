//! Names of Debian architectures: `amd64`, `arm64`, `kfreebsd-amd64`, and the pseudo-architectures `all` and `source`.

use std::fmt;
use std::str::FromStr;

/// A well-formed architecture name; whether Debian has such an architecture is not known here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Architecture(String);

/// The text cannot be the name of an architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an architecture name: lower-case letters, digits and hyphens, beginning with a letter or digit")]
pub struct InvalidArchitecture(String);

impl Architecture {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Architecture {
    type Err = InvalidArchitecture;

    /// The characters dpkg allows (`dpkg_arch_name_is_illegal`, deb-control(5)), lower case as Policy §11.1 has them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let well_formed = text.bytes().next().is_some_and(is_plain)
            && text.len() <= 64
            && text.bytes().all(|byte| is_plain(byte) || byte == b'-');
        if well_formed { Ok(Self(text.to_owned())) } else { Err(InvalidArchitecture(text.to_owned())) }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["amd64", "all", "source", "hurd-i386", "x32"] {
            assert_eq!(name.parse::<Architecture>().unwrap().to_string(), name);
        }
        for name in ["", "-amd64", "AMD64", "amd64/..", "a b", "amd64\n", &"a".repeat(65)] {
            assert!(name.parse::<Architecture>().is_err(), "{name:?}");
        }
    }
}
