//! What is in a package or a tarball, as a list for people. Nothing is unpacked; what is read, held and listed is bounded.

use std::cell::Cell;
use std::io::{self, Read};

use liblzma::stream::{CONCATENATED, Stream};
use tar::EntryType;

use crate::archive::{Archive, Bounded, XZ_MEMORY_BYTES, invalid};
use crate::deb::MAX_HEADER_BYTES;
use crate::{Deb, Error};

/// How much of an archive is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries that are listed.
    pub entries: usize,
    /// Bytes that are decompressed.
    pub bytes: u64,
}

/// One entry of a tar archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As `ls -l` writes it, such as `-rw-r--r--`.
    pub mode: String,
    /// `USER/GROUP`, numbers where there are no names.
    pub owner: String,
    /// In bytes.
    pub size: u64,
    /// As the archive has it; what is not UTF-8 is replaced.
    pub path: String,
    /// Where a link leads.
    pub target: Option<String>,
}

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// In the order of the archive.
    pub members: Vec<Member>,
    /// Why there may be more, as the rest of a sentence.
    pub cut: Option<String>,
}

/// How a tarball is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip(1).
    Gzip,
    /// xz(1).
    Xz,
    /// zstd(1).
    Zstd,
}

impl Compression {
    /// Of a tarball of this name; `None` if it is no tarball that can be read here.
    pub fn of(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let is = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        match () {
            () if is(&[".tar"]) => Some(Self::None),
            () if is(&[".tar.gz", ".tgz"]) => Some(Self::Gzip),
            () if is(&[".tar.xz", ".txz"]) => Some(Self::Xz),
            () if is(&[".tar.zst", ".tzst"]) => Some(Self::Zstd),
            () => None,
        }
    }
}

impl Deb {
    /// Reads a `.deb` of `size` bytes from front to back: what it says of itself, and what is in it. `name` is for messages. A
    /// damaged data archive ends the list, which says so.
    ///
    /// # Errors
    /// As [`Deb::read`].
    pub fn read_all(name: &str, reader: impl Read, size: u64, limits: Limits) -> Result<(Self, Contents), Error> {
        let damaged = |source| Error::Deb { name: name.to_owned(), source };
        let mut archive = Archive::open(reader, size).map_err(damaged)?;
        let deb = Self::from_control_archive(name, &mut archive)?;
        let contents = match archive.tar_member("data.tar") {
            Ok(data) => list(data, limits),
            Err(error) => Contents { members: Vec::new(), cut: Some(error.to_string()) },
        };
        Ok((deb, contents))
    }
}

/// Lists a tarball. What is damaged ends the list, which says so.
pub fn list_tarball(reader: impl Read, compression: Compression, limits: Limits) -> Contents {
    match decompressed(reader, compression) {
        Ok(tar) => list(tar, limits),
        Err(error) => Contents { members: Vec::new(), cut: Some(error.to_string()) },
    }
}

fn decompressed<'a>(reader: impl Read + 'a, compression: Compression) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED).map_err(io::Error::from)?;
            Box::new(liblzma::read::XzDecoder::new_stream(reader, stream))
        }
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(reader)?),
    })
}

fn list(tar: impl Read, limits: Limits) -> Contents {
    let mut contents = Contents::default();
    if let Err(error) = read_members(tar, limits, &mut contents.members) {
        contents.cut = Some(error.to_string());
    }
    contents
}

fn read_members(tar: impl Read, limits: Limits, members: &mut Vec<Member>) -> io::Result<()> {
    let allowance = Cell::new(MAX_HEADER_BYTES);
    let mut tar = tar::Archive::new(Bounded::new(tar, limits.bytes, &allowance));
    for entry in tar.entries()? {
        let mut entry = entry?;
        if members.len() == limits.entries {
            return Err(invalid(format!("only the first {} entries are listed", limits.entries)));
        }
        allowance.set(limits.bytes);
        let header = entry.header();
        let kind = header.entry_type();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let owner = |name: Option<&[u8]>, number: io::Result<u64>| match name {
            Some(name) if !name.is_empty() => text(name),
            _ => number.map_or_else(|_| "?".to_owned(), |number| number.to_string()),
        };
        members.push(Member {
            mode: mode(kind, header.mode().unwrap_or_default()),
            owner: format!(
                "{}/{}",
                owner(header.username_bytes(), header.uid()),
                owner(header.groupname_bytes(), header.gid())
            ),
            size: if kind.is_file() { entry.size() } else { 0 },
            path: text(&entry.path_bytes()),
            target: entry.link_name_bytes().filter(|target| !target.is_empty()).map(|target| text(&target)),
        });
        // A sparse file can claim any size without a byte behind it.
        if kind.is_gnu_sparse() {
            return Err(invalid("it has a sparse file"));
        }
        io::copy(&mut entry, &mut io::sink())?;
        allowance.set(MAX_HEADER_BYTES);
    }
    Ok(())
}

/// As `ls -l` writes it.
fn mode(kind: EntryType, bits: u32) -> String {
    let first = match kind {
        EntryType::Directory => 'd',
        EntryType::Symlink => 'l',
        EntryType::Link => 'h',
        EntryType::Block => 'b',
        EntryType::Char => 'c',
        EntryType::Fifo => 'p',
        _ => '-',
    };
    let triple = |shift: u32, special: bool, letter: char| {
        let bit = |bit: u32, letter| if bits >> shift & bit == 0 { '-' } else { letter };
        let last = match (special, bits >> shift & 1 == 1) {
            (false, _) => bit(1, 'x'),
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        };
        [bit(4, 'r'), bit(2, 'w'), last]
    };
    let special = |bit: u32| bits & bit != 0;
    [first]
        .into_iter()
        .chain(triple(6, special(0o4000), 's'))
        .chain(triple(3, special(0o2000), 's'))
        .chain(triple(0, special(0o1000), 't'))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LIMITS: Limits = Limits { entries: 100, bytes: 1 << 20 };

    fn tarball() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, kind, mode, content, link) in [
            ("./", EntryType::Directory, 0o755, &b""[..], ""),
            ("usr/bin/tiny", EntryType::Regular, 0o4755, b"12345", ""),
            ("usr/bin/t", EntryType::Symlink, 0o777, b"", "tiny"),
            ("usr/bin/u", EntryType::Link, 0o644, b"", "./usr/bin/tiny"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            header.set_uid(0);
            header.set_gid(7);
            header.set_username("root").unwrap();
            if !link.is_empty() {
                header.set_link_name(link).unwrap();
            }
            tar.append_data(&mut header, path, content).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn lines(contents: &Contents) -> Vec<String> {
        let line = |member: &Member| {
            let Member { mode, owner, size, path, target } = member;
            format!("{mode} {owner} {size} {path} {}", target.as_deref().unwrap_or_default())
        };
        contents.members.iter().map(line).collect()
    }

    #[test]
    fn every_compression_that_dpkg_makes_today() {
        let tar = tarball();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&tar).unwrap();
        let zstd = zstd::stream::encode_all(&tar[..], 1).unwrap();
        for (name, bytes) in
            [("a.tar", tar), ("a.TAR.gz", gzip.finish().unwrap()), ("a.txz", xz.finish().unwrap()), ("a.tar.zst", zstd)]
        {
            let contents = list_tarball(&bytes[..], Compression::of(name).unwrap(), LIMITS);
            assert_eq!(contents.cut, None, "{name}");
            assert_eq!(
                lines(&contents),
                [
                    "drwxr-xr-x root/7 0 ./ ",
                    "-rwsr-xr-x root/7 5 usr/bin/tiny ",
                    "lrwxrwxrwx root/7 0 usr/bin/t tiny",
                    "hrw-r--r-- root/7 0 usr/bin/u ./usr/bin/tiny",
                ],
                "{name}"
            );
        }
        assert_eq!(Compression::of("a.tar.bz2"), None);
        assert_eq!(Compression::of("a.gz"), None);
    }

    #[test]
    fn what_is_too_much_ends_the_list() {
        let tar = tarball();
        let contents = list_tarball(&tar[..], Compression::None, Limits { entries: 2, ..LIMITS });
        assert_eq!((contents.members.len(), contents.cut.as_deref()), (2, Some("only the first 2 entries are listed")));
        let contents = list_tarball(&tar[..], Compression::None, Limits { bytes: 1024, ..LIMITS });
        assert_eq!(contents.cut.as_deref(), Some("it decompresses to more than is allowed"));
        // A small file that becomes a large one.
        let bomb = zstd::stream::encode_all(io::repeat(b'a').take(1 << 24), 1).unwrap();
        assert!(list_tarball(&bomb[..], Compression::Zstd, LIMITS).cut.is_some());
    }

    #[test]
    fn what_is_damaged_ends_the_list() {
        let tar = tarball();
        assert!(list_tarball(&tar[..1300], Compression::None, LIMITS).cut.is_some());
        assert!(list_tarball(&tar[..], Compression::Xz, LIMITS).cut.is_some());
        assert!(list_tarball(&b""[..], Compression::None, LIMITS).members.is_empty());
    }

    #[test]
    fn modes() {
        assert_eq!(mode(EntryType::Regular, 0o1644), "-rw-r--r-T");
        assert_eq!(mode(EntryType::Directory, 0o3777), "drwxrwsrwt");
        assert_eq!(mode(EntryType::Char, 0o6600), "crwS--S---");
    }
}
