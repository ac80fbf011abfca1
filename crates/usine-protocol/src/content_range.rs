//! `Content-Range` of uploads and `Range` of their answers and of downloads (RFC 9110, section 14).

use std::fmt;

/// What an upload says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes */SIZE`: how far are we?
    Probe {
        /// Size of the whole file, `None` for `*`.
        size: Option<u64>,
    },
    /// `bytes START-END/SIZE`: the bytes from `start` up to and including `end`.
    Chunk {
        /// Offset of the first byte.
        start: u64,
        /// Offset of the last byte.
        end: u64,
        /// Size of the whole file, `None` for `*`.
        size: Option<u64>,
    },
}

impl ContentRange {
    /// Reads the header; `None` if it is malformed.
    pub fn parse(header: &str) -> Option<Self> {
        let (range, size) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
        let size = match size {
            "*" => None,
            digits => Some(number(digits)?),
        };
        if range == "*" {
            return Some(Self::Probe { size });
        }
        let (start, end) = range.split_once('-')?;
        let (start, end) = (number(start)?, number(end)?);
        (start <= end).then_some(Self::Chunk { start, end, size })
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size_of = |size: &Option<u64>| size.map_or("*".to_owned(), |size| size.to_string());
        match self {
            Self::Probe { size } => write!(f, "bytes */{}", size_of(size)),
            Self::Chunk { start, end, size } => write!(f, "bytes {start}-{end}/{}", size_of(size)),
        }
    }
}

/// The `Range` header in answers to an upload: how many bytes are there. Unlike in RFC 9110 the second number is the
/// count of bytes, which is the offset of the next one.
pub fn received(count: u64) -> String {
    format!("bytes=0-{count}")
}

/// Reads [`received`].
pub fn parse_received(header: &str) -> Option<u64> {
    number(header.trim().strip_prefix("bytes=")?.split_once('-')?.1)
}

/// The part of a file that a download asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Offset of the first byte.
    pub start: u64,
    /// Number of bytes, at least 1.
    pub length: u64,
}

/// The `Range` of a download cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRange {
    /// Not one range of bytes.
    #[error("Invalid Range header: {0:?}. Expected one range such as \"bytes=0-99\"")]
    Malformed(String),
    /// Begins behind the end.
    #[error("Invalid Range header: first byte {start} is beyond the end of the file, which has {size} bytes")]
    BeyondEnd {
        /// The first byte asked for.
        start: u64,
        /// Size of the file.
        size: u64,
    },
}

impl Slice {
    /// Reads `bytes=a-b`, `a-` or `-n` for a file of `size` bytes. An end behind the file is cut off.
    pub fn parse(header: &str, size: u64) -> Result<Self, BadRange> {
        let malformed = || BadRange::Malformed(header.to_owned());
        let range = header.trim().strip_prefix("bytes=").ok_or_else(malformed)?;
        let (start, end) = range.split_once('-').ok_or_else(malformed)?;
        let (start, end) = match (start.trim(), end.trim()) {
            ("", suffix) => {
                let count = number(suffix).filter(|count| *count > 0).ok_or_else(malformed)?;
                (size.saturating_sub(count), size.saturating_sub(1))
            }
            (first, "") => (number(first).ok_or_else(malformed)?, size.saturating_sub(1)),
            (first, last) => {
                let (first, last) = (number(first).ok_or_else(malformed)?, number(last).ok_or_else(malformed)?);
                if last < first {
                    return Err(malformed());
                }
                (first, last.min(size.saturating_sub(1)))
            }
        };
        if start >= size {
            Err(BadRange::BeyondEnd { start, size })
        } else {
            Ok(Self { start, length: end - start + 1 })
        }
    }

    /// The `Content-Range` of the answer.
    pub fn content_range(&self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.start + self.length - 1)
    }
}

fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads() {
        assert_eq!(ContentRange::parse("bytes */7"), Some(ContentRange::Probe { size: Some(7) }));
        assert_eq!(ContentRange::parse("bytes */*"), Some(ContentRange::Probe { size: None }));
        let chunk = ContentRange::Chunk { start: 0, end: 4, size: Some(7) };
        assert_eq!(ContentRange::parse("bytes 0-4/7"), Some(chunk));
        assert_eq!(ContentRange::parse(&chunk.to_string()), Some(chunk));
        for bad in [
            "",
            "bytes",
            "bytes 4-0/7",
            "bytes -4/7",
            "bytes +1-2/7",
            "items 0-4/7",
            "bytes 0-4",
            "bytes 0-99999999999999999999/7",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
        assert_eq!(parse_received(&received(50)), Some(50));
    }

    #[test]
    fn downloads() {
        let slice = |header| Slice::parse(header, 10);
        assert_eq!(slice("bytes=2-4"), Ok(Slice { start: 2, length: 3 }));
        assert_eq!(slice("bytes=2-"), Ok(Slice { start: 2, length: 8 }));
        assert_eq!(slice("bytes=-3"), Ok(Slice { start: 7, length: 3 }));
        assert_eq!(slice("bytes=-30"), Ok(Slice { start: 0, length: 10 }));
        assert_eq!(slice("bytes=2-40"), Ok(Slice { start: 2, length: 8 }));
        assert_eq!(slice("bytes=10-"), Err(BadRange::BeyondEnd { start: 10, size: 10 }));
        for bad in ["", "bytes=", "bytes=-", "bytes=-0", "bytes=5-2", "bytes=0-1,3-4", "lines=1-2"] {
            assert!(matches!(slice(bad), Err(BadRange::Malformed(_))), "{bad}");
        }
        assert!(Slice::parse("bytes=0-0", 0).is_err());
        assert_eq!(Slice { start: 2, length: 3 }.content_range(10), "bytes 2-4/10");
    }
}
