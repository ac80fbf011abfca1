//! The container of a `.deb` (deb(5)): an ar archive with two compressed tar archives in it.
//!
//! Our own reader of ar, not the ar crate: that one reserves as much memory as a header asks for and panics on
//! a bad name index, while deb(5) needs only plain headers.

use std::cell::Cell;
use std::io::{self, Read};

use liblzma::stream::{CONCATENATED, Stream};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_BYTES: u64 = 60;
/// `xz -9` needs 65 MiB to decompress; dpkg never asks for more.
pub(crate) const XZ_MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// A `.deb` being read from front to back. Reading it gives the current member's bytes.
pub(crate) struct Archive<R> {
    reader: R,
    /// Bytes of the file after the current member.
    after: u64,
    /// Bytes of the current member not yet read.
    left: u64,
    padded: bool,
}

impl<R: Read> Archive<R> {
    /// Begins to read a file of `size` bytes: checks the magic number and the member `debian-binary`.
    pub(crate) fn open(mut reader: R, size: u64) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        reader.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(invalid("it is not an ar archive"));
        }
        let mut archive = Self { reader, after: size.saturating_sub(MAGIC.len() as u64), left: 0, padded: false };
        if archive.next_member()?.as_deref() != Some("debian-binary") {
            return Err(invalid("its first member is not debian-binary"));
        }
        let mut format = String::new();
        archive.by_ref().take(16).read_to_string(&mut format)?;
        if !format.starts_with("2.") {
            return Err(invalid(format!("its format version is {:?}, not 2", format.trim_ascii())));
        }
        Ok(archive)
    }

    /// Goes to the next member, which must be `stem` (`control.tar` or `data.tar`), compressed or not, and gives
    /// its decompressed bytes. As dpkg does, skips members whose names begin with `_`.
    pub(crate) fn tar_member(&mut self, stem: &str) -> io::Result<Box<dyn Read + '_>> {
        let name = loop {
            match self.next_member()? {
                None => return Err(invalid(format!("it has no member {stem}"))),
                Some(name) if name.starts_with('_') => {}
                Some(name) => break name,
            }
        };
        Ok(match name.strip_prefix(stem) {
            Some("") => Box::new(self),
            Some(".gz") => Box::new(flate2::read::MultiGzDecoder::new(self)),
            Some(".xz") => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED).map_err(io::Error::from)?;
                Box::new(liblzma::read::XzDecoder::new_stream(self, stream))
            }
            // Its window, and so its memory, is bounded by zstd's own default of 128 MiB.
            Some(".zst") => Box::new(zstd::stream::read::Decoder::new(self)?),
            Some(suffix) => {
                return Err(invalid(format!(
                    "its member {stem} has the suffix {suffix:?}; .gz, .xz, .zst and none can be read"
                )));
            }
            None => return Err(invalid(format!("it has a member {name:?} where {stem} should be"))),
        })
    }

    /// Skips the rest of the current member and reads the next header; `None` at the end of the archive.
    fn next_member(&mut self) -> io::Result<Option<String>> {
        io::copy(&mut self.by_ref(), &mut io::sink())?;
        if self.padded && self.after > 0 {
            self.reader.read_exact(&mut [0; 1])?;
            self.after -= 1;
        }
        if self.after == 0 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES as usize];
        self.reader.read_exact(&mut header)?;
        self.after = self.after.saturating_sub(HEADER_BYTES);
        let text = |range| std::str::from_utf8(&header[range]).ok().map(str::trim_ascii_end);
        let (Some(name), Some(size), true) = (text(0..16), text(48..58), header.ends_with(b"`\n")) else {
            return Err(invalid("it has a damaged member header"));
        };
        self.left = size.parse().map_err(|_| invalid(format!("its member {name:?} has the size {size:?}")))?;
        self.padded = self.left % 2 == 1;
        self.after = self
            .after
            .checked_sub(self.left)
            .ok_or_else(|| invalid(format!("it ends before its member {name:?} does")))?;
        Ok(Some(name.strip_suffix('/').unwrap_or(name).to_owned()))
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.reader.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// A reader that fails, rather than ends, when more is read than is allowed: tar holds headers in memory, and a
/// compressed member can be a thousand times larger than it looks.
pub(crate) struct Bounded<'a, R> {
    reader: R,
    total: u64,
    allowance: &'a Cell<u64>,
}

impl<'a, R> Bounded<'a, R> {
    /// Allows `total` bytes in all, and for now `allowance`, which its owner may raise again.
    pub(crate) fn new(reader: R, total: u64, allowance: &'a Cell<u64>) -> Self {
        Self { reader, total, allowance }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let subtract = |left: u64| {
            left.checked_sub(count as u64).ok_or_else(|| invalid("it decompresses to more than is allowed"))
        };
        self.total = subtract(self.total)?;
        self.allowance.set(subtract(self.allowance.get())?);
        Ok(count)
    }
}

pub(crate) fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut archive = Archive::open(bytes, bytes.len() as u64)?;
        let mut content = Vec::new();
        for stem in ["control.tar", "data.tar"] {
            archive.tar_member(stem)?.take(1 << 20).read_to_end(&mut content)?;
        }
        Ok(content)
    }

    fn member(name: &str, content: &str) -> String {
        let padding = if content.len() % 2 == 1 { "\n" } else { "" };
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n{content}{padding}", 0, 0, 0, 100644, content.len())
    }

    #[test]
    fn members_come_in_dpkgs_order() {
        let begin = format!("!<arch>\n{}", member("debian-binary", "2.0\n"));
        let good = begin.clone() + &member("_gpg", "x") + &member("control.tar/", "abc") + &member("data.tar", "de");
        assert_eq!(read_all(good.as_bytes()).unwrap(), b"abcde");
        for (bytes, problem) in [
            ("!<arch>\n".to_owned(), "its first member is not debian-binary"),
            ("not an archive".to_owned(), "it is not an ar archive"),
            (format!("!<arch>\n{}", member("debian-binary", "3.0\n")), "its format version is \"3.0\", not 2"),
            (begin.clone(), "it has no member control.tar"),
            (begin.clone() + &member("data.tar", ""), "it has a member \"data.tar\" where control.tar should be"),
            (
                begin.clone() + &member("control.tar.bz2", ""),
                "its member control.tar has the suffix \".bz2\"; .gz, .xz, .zst and none can be read",
            ),
            (begin.clone() + &member("control.tar", "")[..58] + "xx", "it has a damaged member header"),
            (begin.clone() + &member("control.tar", "abcdef")[..64], "it ends before its member \"control.tar\" does"),
        ] {
            assert_eq!(read_all(bytes.as_bytes()).unwrap_err().to_string(), problem);
        }
        assert_eq!(read_all(&good.as_bytes()[..100]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn a_damaged_archive_never_panics(position in 0_usize..198, byte: u8, length in 0_usize..=198) {
            let good = format!("!<arch>\n{}{}{}", member("debian-binary", "2.0\n"), member("control.tar", "abc"), member("data.tar", "de"));
            let mut bytes = good.into_bytes();
            bytes[position] = byte;
            bytes.truncate(length);
            let _ = read_all(&bytes);
        }
    }
}
