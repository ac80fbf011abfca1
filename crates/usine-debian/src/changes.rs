//! A `.changes`: the control file of an upload (deb-changes(5)).

use std::path::Path;

use crate::control::{self, Fields};
use crate::{Algorithm, Error, ListedFile, Listing};

/// An upload's control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    fields: Fields,
    listing: Listing,
}

impl Changes {
    /// Reads the file at `path`. A signature is skipped, not verified.
    ///
    /// # Errors
    /// If it cannot be read, is no control file, or lists an unsafe or malformed name.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let (name, fields) = control::read(path)?;
        Self::from_fields(&name, fields)
    }

    /// The same for a text already read; `name` is for messages.
    pub fn from_text(name: &str, text: &str) -> Result<Self, Error> {
        Self::from_fields(name, control::parse_text(name, text)?)
    }

    fn from_fields(name: &str, mut fields: Fields) -> Result<Self, Error> {
        let listing = Listing::take(name, &mut fields, &["md5sum", "size", "section", "priority", "name"])?;
        Ok(Self { fields, listing })
    }

    /// The field `Source` as it is; that of a binNMU is `foo (1.0)`.
    pub fn source(&self) -> Option<&str> {
        self.fields.text("Source")
    }

    /// The upload's version, with epoch.
    pub fn version(&self) -> Option<&str> {
        self.fields.text("Version")
    }

    /// The words of `Architecture`, `source` among them; none without the field.
    pub fn architectures(&self) -> impl Iterator<Item = &str> {
        self.fields.text("Architecture").unwrap_or_default().split_ascii_whitespace()
    }

    /// Whether the upload has a source package.
    pub fn is_source(&self) -> bool {
        self.architectures().any(|architecture| architecture == "source")
    }

    /// Whether the upload has a source package and nothing else.
    pub fn is_source_only(&self) -> bool {
        self.is_source() && self.architectures().all(|architecture| architecture == "source")
    }

    /// The names in `Files` that end in `.dsc`.
    pub fn source_packages(&self) -> impl Iterator<Item = &str> {
        self.names().filter(|name| name.ends_with(".dsc"))
    }

    /// The names in `Files` of the binary packages of one architecture: `*_ARCH.deb`, `*_ARCH.udeb`.
    pub fn binary_packages(&self, architecture: &str) -> impl Iterator<Item = &str> {
        let endings = [format!("_{architecture}.deb"), format!("_{architecture}.udeb")];
        self.names().filter(move |name| endings.iter().any(|ending| name.ends_with(ending)))
    }

    /// All names in `Files`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.listing.names(Algorithm::Md5)
    }

    /// All fields, as in an artifact's `changes_fields`.
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
