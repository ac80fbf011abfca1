//! The file lists of a `.dsc` or `.changes`: `Checksums-Sha1`, `Checksums-Sha256` and `Files`.
//! This is the one place that says which listed names may be opened, and the one that compares files with a list.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::control::Fields;
use crate::{Error, Hashes, hash_reader, open};

/// The checksum of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// In `Checksums-Sha1`.
    Sha1,
    /// In `Checksums-Sha256`.
    Sha256,
    /// In `Files`.
    Md5,
}

impl Algorithm {
    /// All, in the order in which debusine compares them.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Md5];

    /// The field that lists files with this checksum.
    pub fn field(self) -> &'static str {
        match self {
            Self::Sha1 => "Checksums-Sha1",
            Self::Sha256 => "Checksums-Sha256",
            Self::Md5 => "Files",
        }
    }

    /// `sha1`, `sha256` or `md5`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
        }
    }

    fn digest(self, hashes: &Hashes) -> &str {
        match self {
            Self::Sha1 => &hashes.sha1,
            Self::Sha256 => &hashes.sha256,
            Self::Md5 => &hashes.md5,
        }
    }
}

/// One line of one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which list.
    pub algorithm: Algorithm,
    /// Hexadecimal digest, as written.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// A single path component.
    pub name: String,
}

/// One file, with what all lists say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// A single path component.
    pub name: String,
    /// In bytes; the lists agree.
    pub size: u64,
    /// From `Files`.
    pub md5: Option<String>,
    /// From `Checksums-Sha1`.
    pub sha1: Option<String>,
    /// From `Checksums-Sha256`.
    pub sha256: Option<String>,
}

/// All lists of a file. Every name in it is a single path component, no name is twice in a list, and lists do not
/// differ in a file's size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    entries: Vec<Entry>,
    files: Vec<ListedFile>,
}

impl Listing {
    /// Takes the lists out of `fields`, where each becomes a list of objects with string values (size too).
    /// `columns` are the names of the columns of `Files`, which differ between `.dsc` and `.changes`.
    pub(crate) fn take(name: &str, fields: &mut Fields, columns: &[&str]) -> Result<Self, Error> {
        let mut listing = Self::default();
        let mut positions = HashMap::new();
        for algorithm in Algorithm::ALL {
            let columns = match algorithm {
                Algorithm::Sha1 => &["sha1", "size", "name"],
                Algorithm::Sha256 => &["sha256", "size", "name"],
                Algorithm::Md5 => columns,
            };
            let Some(value) = fields.get_mut(algorithm.field()) else { continue };
            let mut objects = Vec::new();
            for line in value.as_str().unwrap_or_default().lines().filter(|line| !line.trim_ascii().is_empty()) {
                let (object, entry) = parse_entry(name, algorithm, columns, line)?;
                listing.add(name, entry, &mut positions)?;
                objects.push(Value::Object(object));
            }
            *value = Value::Array(objects);
        }
        Ok(listing)
    }

    fn add(&mut self, name: &str, entry: Entry, positions: &mut HashMap<String, usize>) -> Result<(), Error> {
        let contradiction =
            |problem: String| Error::Contradiction { name: name.to_owned(), entry: entry.name.clone(), problem };
        let position = *positions.entry(entry.name.clone()).or_insert_with(|| {
            let (name, size) = (entry.name.clone(), entry.size);
            self.files.push(ListedFile { name, size, md5: None, sha1: None, sha256: None });
            self.files.len() - 1
        });
        let file = &mut self.files[position];
        if file.size != entry.size {
            return Err(contradiction(format!("its size is {} and {}", file.size, entry.size)));
        }
        let digest = match entry.algorithm {
            Algorithm::Sha1 => &mut file.sha1,
            Algorithm::Sha256 => &mut file.sha256,
            Algorithm::Md5 => &mut file.md5,
        };
        if digest.replace(entry.digest.clone()).is_some() {
            return Err(contradiction(format!("it is twice in {}", entry.algorithm.field())));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The lines of the lists: those of `Checksums-Sha1`, `Checksums-Sha256`, `Files`, each in file order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Each file once.
    pub fn files(&self) -> &[ListedFile] {
        &self.files
    }

    /// The names in one list, in file order.
    pub fn names(&self, algorithm: Algorithm) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(move |entry| entry.algorithm == algorithm).map(|entry| entry.name.as_str())
    }

    /// Compares the regular files in `directory` with all lists; links do not count as files.
    ///
    /// Gives the problems, in debusine's words: one for each line of a list that names no file, or another one.
    ///
    /// # Errors
    /// If a file is there but cannot be read.
    pub fn verify(&self, directory: &Path) -> Result<Vec<String>, Error> {
        let mut found: HashMap<&str, Option<Hashes>> = HashMap::new();
        for file in &self.files {
            let path = directory.join(&file.name);
            let hashes = open::regular_no_follow(&path)
                .and_then(|file| file.map(hash_reader).transpose())
                .map_err(|source| Error::Read { path, source })?;
            found.insert(&file.name, hashes);
        }
        Ok(self
            .entries
            .iter()
            .filter_map(|entry| entry.problem(found.get(entry.name.as_str()).and_then(Option::as_ref)))
            .collect())
    }
}

impl Entry {
    fn problem(&self, found: Option<&Hashes>) -> Option<String> {
        let (algorithm, name) = (self.algorithm.name(), &self.name);
        let Some(found) = found else {
            let section = self.algorithm.field();
            return Some(format!("File in .changes section {section} does not exist: '{name}'"));
        };
        let actual = self.algorithm.digest(found);
        (actual != self.digest || found.size != self.size).then(|| {
            format!(
                "{algorithm} for file {name} does not match: expected: {} actual: {actual}. Size expected: {} actual: {}",
                self.digest, self.size, found.size
            )
        })
    }
}

/// The JSON object of a line, and what it says.
fn parse_entry(
    name: &str,
    algorithm: Algorithm,
    columns: &[&str],
    line: &str,
) -> Result<(Map<String, Value>, Entry), Error> {
    let field = algorithm.field();
    let malformed = || Error::MalformedEntry {
        name: name.to_owned(),
        field,
        entry: line.trim_ascii().to_owned(),
        expected: columns.join(" "),
    };
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let &[digest, size, .., file] = words.as_slice() else { return Err(malformed()) };
    if words.len() != columns.len() {
        return Err(malformed());
    }
    if !is_single_component(file) {
        return Err(Error::UnsafeName { name: name.to_owned(), field, entry: file.to_owned() });
    }
    // u64's own parser would also take "+5".
    let size_number = Some(size)
        .filter(|size| size.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|size| size.parse().ok())
        .ok_or_else(malformed)?;
    let object = columns
        .iter()
        .zip(&words)
        .map(|(&column, &word)| (column.to_owned(), Value::String(word.to_owned())))
        .collect();
    let entry = Entry { algorithm, digest: digest.to_owned(), size: size_number, name: file.to_owned() };
    Ok((object, entry))
}

/// A name that stays in its directory when joined to it.
fn is_single_component(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}
