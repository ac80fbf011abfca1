//! What can be wrong with a Debian file, said so that its maker can mend it.
//! Where debusine has a text for the same fault, ours is the same.

use std::io;
use std::path::PathBuf;

use crate::control::Syntax;

/// Why a `.dsc`, `.changes` or `.deb` could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system did not let us read the file, or it is not a regular file.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system did not let us write an extracted file.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is larger than a control file may be.
    #[error("'{name}' is larger than {limit} bytes, too large for a control file")]
    TooLarge {
        /// File name.
        name: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// Policy §5.1: control files are UTF-8.
    #[error("'{name}' is not UTF-8 text, which Debian Policy 5.1 asks of control files")]
    NotUtf8 {
        /// File name.
        name: String,
    },
    /// Not deb822 text.
    #[error("'{name}' is not a control file: {source}")]
    Syntax {
        /// File name.
        name: String,
        /// Line and problem.
        source: Syntax,
    },
    /// A field that must be there is not.
    #[error("'{name}' does not contain {field} field")]
    MissingField {
        /// File name.
        name: String,
        /// The field.
        field: &'static str,
    },
    /// A listed name that could lead out of the file's own directory.
    #[error("'{name}' has an entry in {field} with more than one path component: '{entry}'")]
    UnsafeName {
        /// File name.
        name: String,
        /// `Files`, `Checksums-Sha1` or `Checksums-Sha256`.
        field: &'static str,
        /// The listed name.
        entry: String,
    },
    /// A line of a file list that has the wrong number of words, or no number where the size should be.
    #[error("'{name}' has a malformed entry in {field}: '{entry}'; expected '{expected}'")]
    MalformedEntry {
        /// File name.
        name: String,
        /// `Files`, `Checksums-Sha1` or `Checksums-Sha256`.
        field: &'static str,
        /// The line.
        entry: String,
        /// The columns it should have.
        expected: String,
    },
    /// The same file twice in one list, or with two sizes in two lists.
    #[error("'{name}' contradicts itself about '{entry}': {problem}")]
    Contradiction {
        /// File name.
        name: String,
        /// The listed name.
        entry: String,
        /// What does not fit.
        problem: String,
    },
    /// Not a binary package in the sense of deb(5), or damaged.
    #[error("'{name}' is not a readable binary package: {source}")]
    Deb {
        /// File name.
        name: String,
        /// What the archive, decompressor or tar reader said.
        source: io::Error,
    },
}
