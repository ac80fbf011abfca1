//! Package versions, ordered as dpkg orders them (deb-version(7)).
//!
//! Parsing is debversion's. The order is our own, because debversion 0.5 puts `1a` before `1a0`; to dpkg they are
//! equal, since a missing number counts as zero.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version. Equality is dpkg's: `1.0` and `0:1.0-0` are equal.
#[derive(Debug, Clone)]
pub struct Version(debversion::Version);

/// The text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a package version of the form [epoch:]upstream[-revision]")]
pub struct InvalidVersion(String);

impl Version {
    /// The version as it appears in file names: upstream version and revision.
    pub fn without_epoch(&self) -> String {
        debversion::Version { epoch: None, ..self.0.clone() }.to_string()
    }

    /// The epoch, 0 if there is none.
    pub fn epoch(&self) -> u32 {
        self.0.epoch.unwrap_or(0)
    }

    fn revision(&self) -> &str {
        self.0.debian_revision.as_deref().unwrap_or_default()
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| InvalidVersion(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch()
            .cmp(&other.epoch())
            .then_with(|| compare_part(&self.0.upstream_version, &other.0.upstream_version))
            .then_with(|| compare_part(self.revision(), other.revision()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// deb-version(7), "Sorting algorithm": in turns a run of other characters and a run of digits, until one differs.
fn compare_part(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = split(left, |byte| !byte.is_ascii_digit());
        let (right_text, right_rest) = split(right, |byte| !byte.is_ascii_digit());
        let (left_number, left_rest) = split(left_rest, u8::is_ascii_digit);
        let (right_number, right_rest) = split(right_rest, u8::is_ascii_digit);
        let order = compare_text(left_text, right_text).then_with(|| compare_number(left_number, right_number));
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

fn split(bytes: &[u8], belongs: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|byte| !belongs(byte)).unwrap_or(bytes.len()))
}

/// `~` sorts before the end, the end before letters, letters before the rest.
fn compare_text(left: &[u8], right: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    (0..left.len().max(right.len()))
        .map(|index| weight(left.get(index)).cmp(&weight(right.get(index))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Numbers of any length; none at all is zero.
fn compare_number(left: &[u8], right: &[u8]) -> Ordering {
    let (_, left) = split(left, |&byte| byte == b'0');
    let (_, right) = split(right, |&byte| byte == b'0');
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn parts() {
        let parsed = version("1:2.12.3-1");
        assert_eq!(parsed.to_string(), "1:2.12.3-1");
        assert_eq!(parsed.without_epoch(), "2.12.3-1");
        assert_eq!(parsed.epoch(), 1);
        assert_eq!(version("2.0").without_epoch(), "2.0");
        for text in ["", "1 0", "1_0", "99999999999:1", "1.0/../x"] {
            assert_eq!(text.parse::<Version>().unwrap_err(), InvalidVersion(text.to_owned()));
        }
    }

    #[test]
    fn order() {
        let ascending = [
            "1.0~~",
            "1.0~rc1",
            "1.0",
            "1.0-0+b1",
            "1.0-1~bpo1",
            "1.0-1",
            "1.0a",
            "1.0+x",
            "1.0.1",
            "1.9",
            "1.10",
            "1:0.1",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        for (left, right) in [("1.0", "1.0-0"), ("0:1", "1"), ("1a", "1a0"), ("1.007", "1.7")] {
            assert_eq!(version(left), version(right));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// dpkg is part of every Debian system.
        #[test]
        fn the_order_is_that_of_dpkg(left in "(1:)?[01][01a+~.-]{0,5}[01a]", right in "(1:)?[01][01a+~.-]{0,5}[01a]") {
            let operator = match version(&left).cmp(&version(&right)) {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            let status = Command::new("dpkg").args(["--compare-versions", &left, operator, &right]).status().unwrap();
            prop_assert!(status.success(), "{} {} {}", left, operator, right);
        }
    }
}
