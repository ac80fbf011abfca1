//! Content-addressed file stores, and the staging area where uploads grow until they are whole.
//!
//! A file is known by its [`FileId`] (SHA-256 and size) and lives in a [`FileStore`]; only a [`VerifiedFile`] gets in.
//! [`Uploads`] keeps the partial files of resumable uploads. No SQL, no HTTP, no clock here: the rows that say which file
//! is where belong to the database, and times come as arguments.

mod disk;
mod error;
mod file_id;
mod local;
mod s3;
mod store;
mod uploads;
mod verified;

pub use error::StoreError;
pub use file_id::{FileId, FileIdError};
pub use local::LocalStore;
pub use s3::{Random, S3Settings, S3Store};
pub use store::{ByteStream, FileStore, Listing, Put, SetAside, StoredFile};
pub use uploads::{Chunk, UploadError, UploadName, UploadNameError, Uploads};
pub use verified::VerifiedFile;
