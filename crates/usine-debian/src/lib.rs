//! Debian's own formats: .dsc, .changes, .deb, versions, architectures.
//!
//! All of it reads what strangers wrote: every size is bounded, every listed file name is checked before it can
//! be opened, and nothing here panics on input. The functions block; asynchronous callers use a blocking thread.

mod architecture;
mod archive;
mod artifact;
mod changelog;
mod changes;
mod contents;
mod control;
mod deb;
mod dsc;
mod error;
mod hash;
mod listing;
mod local;
mod name;
mod open;
mod version;
mod write;

pub use architecture::{Architecture, InvalidArchitecture};
pub use artifact::{InvalidArtifact, check_artifact};
pub use changelog::{ChangelogHeader, InvalidChangelog};
pub use changes::Changes;
pub use contents::{Compression, Contents, Limits, Member, list_tarball};
pub use control::{Fields, MAX_TEXT_BYTES, Syntax, parse_paragraph};
pub use deb::{Deb, build_ids, extract_build_ids};
pub use dsc::Dsc;
pub use error::Error;
pub use hash::{Hashes, hash_file, hash_reader};
pub use listing::{Algorithm, Entry, ListedFile, Listing};
pub use local::{LocalArtifact, NoArtifact, artifacts_of};
pub use name::is_package_name;
pub use version::{InvalidVersion, Version};
pub use write::{Unwritable, binary_field};
