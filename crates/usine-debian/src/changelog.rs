//! The first entry of a `debian/changelog` (deb-changelog(5)): what the package is called, and where it goes.

use std::str::FromStr;

use crate::{Version, is_package_name};

/// The first line of a changelog: `hello (2.10-3) unstable; urgency=medium`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangelogHeader {
    /// Name of the source package, a well-formed one.
    pub source: String,
    /// Its version.
    pub version: Version,
    /// At least one.
    pub distributions: Vec<String>,
}

/// Why a text is not the beginning of a changelog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the first line of a changelog: expected 'SOURCE (VERSION) DISTRIBUTION; urgency=…'")]
pub struct InvalidChangelog(String);

impl FromStr for ChangelogHeader {
    type Err = InvalidChangelog;

    /// Reads the first line that is not blank.
    fn from_str(text: &str) -> Result<Self, InvalidChangelog> {
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Self::from_line(line).ok_or_else(|| InvalidChangelog(line.chars().take(200).collect()))
    }
}

impl ChangelogHeader {
    fn from_line(line: &str) -> Option<Self> {
        let (title, _metadata) = line.split_once(';')?;
        let (source, rest) = title.split_once(" (")?;
        let (version, distributions) = rest.split_once(')')?;
        let is_distribution =
            |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let words: Vec<String> = distributions.split_ascii_whitespace().map(str::to_owned).collect();
        let well_formed = is_package_name(source)
            && !version.contains(['/', ' '])
            && distributions.starts_with(' ')
            && !words.is_empty()
            && words.iter().all(|word| is_distribution(word));
        let version = version.parse().ok().filter(|_| well_formed)?;
        Some(Self { source: source.to_owned(), version, distributions: words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_and_where() {
        let text = "\nhello-signed (1:2.10-3+b1) bookworm unstable; urgency=medium, binary-only=yes\n\n  * Sign.\n";
        let header: ChangelogHeader = text.parse().unwrap();
        assert_eq!(header.source, "hello-signed");
        assert_eq!(header.version.without_epoch(), "2.10-3+b1");
        assert_eq!(header.distributions, ["bookworm", "unstable"]);
    }

    #[test]
    fn what_is_no_changelog_is_refused() {
        for bad in [
            "",
            "  * Sign.\n",
            "hello (1.0) unstable urgency=low",
            "hello 1.0 unstable; urgency=low",
            "hello (1.0) ; urgency=low",
            "hello (1.0)unstable; urgency=low",
            "hello (../../1.0) unstable; urgency=low",
            "hello (1 0) unstable; urgency=low",
            "../hello (1.0) unstable; urgency=low",
            "hello (1.0) un/stable; urgency=low",
        ] {
            let error = bad.parse::<ChangelogHeader>().unwrap_err();
            assert!(error.to_string().contains("is not the first line of a changelog"), "{bad:?}");
        }
    }
}
