//! A binary package: its control fields, and the debug symbols of a `-dbgsym` package.
//! Everything is streamed; what must be held in memory is bounded.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use crate::archive::{Archive, Bounded, invalid};
use crate::control::{self, Fields, MAX_TEXT_BYTES};
use crate::{Error, open};

/// The control archive holds lists and scripts; the largest in Debian are a few megabytes.
const MAX_CONTROL_BYTES: u64 = 64 * 1024 * 1024;
/// What one member of the data archive may take for its headers, long name and extensions included.
pub(crate) const MAX_HEADER_BYTES: u64 = 1024 * 1024;
/// What the data archive may decompress to; the largest debug symbols in Debian are some ten gigabytes.
const MAX_DATA_BYTES: u64 = 64 * 1024 * 1024 * 1024;

const BUILD_ID_DIRECTORY: &str = "usr/lib/debug/.build-id/";

/// What a binary package says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    source: (String, String),
    fields: Fields,
    control_files: Vec<String>,
}

impl Deb {
    /// Reads the control archive of the `.deb`, `.udeb` or `.ddeb` at `path`, and sees that the file is whole.
    ///
    /// # Errors
    /// If it cannot be read, is not in the format of deb(5), is too large, or lacks `Package` or `Version`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = open::name_of(path);
        let damaged = |source| Error::Deb { name: name.clone(), source };
        let mut archive = open_archive(path)?;
        let deb = Self::from_control_archive(&name, &mut archive)?;
        drop(archive.tar_member("data.tar").map_err(damaged)?);
        Ok(deb)
    }

    /// From the control archive, which comes first.
    pub(crate) fn from_control_archive(name: &str, archive: &mut Archive<impl Read>) -> Result<Self, Error> {
        let damaged = |source| Error::Deb { name: name.to_owned(), source };
        let (control_files, control) = read_control_archive(archive).map_err(damaged)?;
        let control = control.ok_or_else(|| damaged(invalid("its control archive has no file control")))?;
        let fields = control::parse_bytes(name, &control)?;
        let required = |field| fields.text(field).ok_or_else(|| Error::MissingField { name: name.to_owned(), field });
        let source = source_of(fields.text("Source"), required("Package")?, required("Version")?);
        Ok(Self { source, fields, control_files })
    }

    /// Name and version of the source package: `Source: foo (1.2)` gives both; what is missing there is the
    /// binary package's own.
    pub fn source(&self) -> (&str, &str) {
        (&self.source.0, &self.source.1)
    }

    /// All fields, as in an artifact's `deb_fields`.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The sorted names of the control archive's members, as in an artifact's `deb_control_files`.
    pub fn control_files(&self) -> &[String] {
        &self.control_files
    }
}

/// The build-ids (40 lower-case hexadecimal digits) of a `-dbgsym` package, in its order: the regular members
/// `./usr/lib/debug/.build-id/XX/YYYY.debug`.
///
/// # Errors
/// If the package cannot be read, or has a regular member of another name below that directory.
pub fn build_ids(path: &Path) -> Result<Vec<String>, Error> {
    for_each_build_id(path, |_, _| Ok(()))
}

/// Writes the debug symbols of a `-dbgsym` package into `directory`, each to a new file named by its build-id.
///
/// # Errors
/// As [`build_ids`], or if a file exists already or cannot be written. Files written before an error remain.
pub fn extract_build_ids(path: &Path, directory: &Path) -> Result<Vec<String>, Error> {
    for_each_build_id(path, |build_id, content| {
        let target = directory.join(build_id);
        let unwritable = |source| Error::Write { path: target.clone(), source };
        let mut file = OpenOptions::new().write(true).create_new(true).open(&target).map_err(unwritable)?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = content.read(&mut buffer).map_err(|source| Error::Deb { name: open::name_of(path), source })?;
            if count == 0 {
                return Ok(());
            }
            file.write_all(&buffer[..count]).map_err(unwritable)?;
        }
    })
}

fn for_each_build_id(
    path: &Path,
    mut visit: impl FnMut(&str, &mut dyn Read) -> Result<(), Error>,
) -> Result<Vec<String>, Error> {
    let damaged = |source| Error::Deb { name: open::name_of(path), source };
    let mut archive = open_archive(path)?;
    drop(archive.tar_member("control.tar").map_err(damaged)?);
    let data = archive.tar_member("data.tar").map_err(damaged)?;

    let allowance = Cell::new(MAX_HEADER_BYTES);
    let mut tar = tar::Archive::new(Bounded::new(data, MAX_DATA_BYTES, &allowance));
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        allowance.set(MAX_DATA_BYTES);
        let kind = entry.header().entry_type();
        // A sparse file can claim any size without a byte behind it; dpkg does not make them.
        if kind.is_gnu_sparse() {
            return Err(damaged(invalid("it has a sparse file")));
        }
        if kind.is_file()
            && let Some(build_id) = build_id_of(&entry.path_bytes()).map_err(damaged)?
        {
            if !seen.insert(build_id.clone()) {
                return Err(damaged(invalid(format!("it has the build-id {build_id} twice"))));
            }
            visit(&build_id, &mut entry)?;
            found.push(build_id);
        }
        io::copy(&mut entry, &mut io::sink()).map_err(damaged)?;
        allowance.set(MAX_HEADER_BYTES);
    }
    // Beyond the end mark is the padding, and the compressor's checksum.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(found)
}

/// The build-id that a member's name stands for; `None` if the member is elsewhere.
fn build_id_of(member: &[u8]) -> io::Result<Option<String>> {
    let name = String::from_utf8_lossy(member);
    let Some(rest) = name.strip_prefix("./").unwrap_or(&name).strip_prefix(BUILD_ID_DIRECTORY) else {
        return Ok(None);
    };
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match rest.strip_suffix(".debug").and_then(|rest| rest.split_once('/')) {
        Some((first, second)) if is_hex(first, 2) && is_hex(second, 38) => Ok(Some(format!("{first}{second}"))),
        _ => Err(invalid(format!("its file {name:?} is not named by a build-id of 40 lower-case hexadecimal digits"))),
    }
}

fn open_archive(path: &Path) -> Result<Archive<BufReader<File>>, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let file = open::regular(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    Archive::open(BufReader::with_capacity(64 * 1024, file), size)
        .map_err(|source| Error::Deb { name: open::name_of(path), source })
}

/// The sorted names of the control archive, and its file `control`.
fn read_control_archive(archive: &mut Archive<impl Read>) -> io::Result<(Vec<String>, Option<Vec<u8>>)> {
    let allowance = Cell::new(MAX_CONTROL_BYTES);
    let mut tar = tar::Archive::new(Bounded::new(archive.tar_member("control.tar")?, MAX_CONTROL_BYTES, &allowance));
    let mut names = Vec::new();
    let mut control = None;
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8(path).map_err(|_| invalid("a name in its control archive is not UTF-8"))?;
        let name = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/');
        if name.is_empty() || name == "." {
            continue;
        }
        if name == "control" && entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.by_ref().take(MAX_TEXT_BYTES + 1).read_to_end(&mut content)?;
            if content.len() as u64 > MAX_TEXT_BYTES {
                return Err(invalid(format!("its file control is larger than {MAX_TEXT_BYTES} bytes")));
            }
            if control.replace(content).is_some() {
                return Err(invalid("its control archive has two files control"));
            }
        }
        names.push(name.to_owned());
    }
    io::copy(&mut tar.into_inner(), &mut io::sink())?;
    names.sort();
    Ok((names, control))
}

fn source_of(source: Option<&str>, package: &str, version: &str) -> (String, String) {
    let Some(source) = source else { return (package.to_owned(), version.to_owned()) };
    match source.split_once('(').and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?))) {
        Some((name, version)) => (name.trim_ascii().to_owned(), version.trim_ascii().to_owned()),
        None => (source.to_owned(), version.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_package_is_named_or_the_same() {
        let source = |text| source_of(text, "hello", "1-1+b1");
        assert_eq!(source(None), ("hello".into(), "1-1+b1".into()));
        assert_eq!(source(Some("foo")), ("foo".into(), "1-1+b1".into()));
        assert_eq!(source(Some("foo (1.2)")), ("foo".into(), "1.2".into()));
    }

    #[test]
    fn build_ids_have_one_form() {
        let rest = "c".repeat(38);
        let good = format!("./usr/lib/debug/.build-id/ab/{rest}.debug");
        assert_eq!(build_id_of(good.as_bytes()).unwrap(), Some(format!("ab{rest}")));
        assert_eq!(build_id_of(b"./usr/lib/debug/.dwz/x.debug").unwrap(), None);
        for bad in [
            good.replace("ab", "AB"),
            good.replace("ccc.", "cc."),
            good.replace(".debug", ".debug.old"),
            good.replace("ab/", "ab/x/"),
            "./usr/lib/debug/.build-id/README".to_owned(),
        ] {
            assert!(build_id_of(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
