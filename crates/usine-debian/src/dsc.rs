//! A `.dsc`: the control file of a source package (dsc(5)).

use std::path::Path;

use crate::control::{self, Fields};
use crate::{Error, ListedFile, Listing};

/// A source package's control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dsc {
    source: String,
    version: String,
    fields: Fields,
    listing: Listing,
}

impl Dsc {
    /// Reads the file at `path`. A signature is skipped, not verified.
    ///
    /// # Errors
    /// If it cannot be read, is no control file, lacks `Source` or `Version`, or lists an unsafe or malformed name.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let (name, fields) = control::read(path)?;
        Self::from_fields(&name, fields)
    }

    /// The same for a text already read; `name` is for messages.
    pub fn from_text(name: &str, text: &str) -> Result<Self, Error> {
        Self::from_fields(name, control::parse_text(name, text)?)
    }

    fn from_fields(name: &str, mut fields: Fields) -> Result<Self, Error> {
        let required = |field| {
            fields.text(field).map(str::to_owned).ok_or_else(|| Error::MissingField { name: name.to_owned(), field })
        };
        let source = required("Source")?;
        let version = required("Version")?;
        let listing = Listing::take(name, &mut fields, &["md5sum", "size", "name"])?;
        Ok(Self { source, version, fields, listing })
    }

    /// The source package's name.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The version, with epoch.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All fields, as in an artifact's `dsc_fields`.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The file lists.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Each listed file once.
    pub fn files(&self) -> &[ListedFile] {
        self.listing.files()
    }
}
