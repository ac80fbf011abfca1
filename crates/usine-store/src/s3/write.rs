//! Bringing a content: in one piece, or in parts that become an object only when all have come and are what they should be.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::S3Store;
use crate::disk::{blocking, is_same_file};
use crate::{FileId, Put, StoreError, VerifiedFile};

/// What is not longer goes in one request; parts of what is longer have this size, or more if there would be too many.
const PART: u64 = 8 << 20;

/// A service takes at most 10,000 parts.
const PARTS: u64 = 9_000;

/// Parts on their way at once: so much of a file is in memory.
const AT_ONCE: usize = 3;

/// Longest object that a service copies in one request (5 GiB with the original).
const COPIED: u64 = 5 << 30;

impl S3Store {
    pub(super) async fn put_whole(&self, source: &VerifiedFile) -> Result<Put, StoreError> {
        let (id, from) = (source.id(), source.path());
        let look = |error| StoreError::io("look at", from, error);
        let metadata = source.file().metadata().map_err(look)?;
        if !is_same_file(from, &metadata).map_err(look)? {
            return Err(StoreError::NotThatFile { path: from.to_owned() });
        }
        let (whole, damaged) = self.in_place(id).await?;
        let put = match whole.first() {
            Some(copy) => {
                self.remember(id, Some(copy.key.clone()));
                Put::AlreadyThere
            }
            None => {
                let key = self.keys.new_copy(id, &self.new_name());
                self.send(source, &key).await?;
                self.remember(id, Some(key));
                Put::Added
            }
        };
        for copy in damaged {
            self.delete(&copy.key).await?;
        }
        fs::remove_file(from).map_err(|error| StoreError::io("remove", from, error))?;
        Ok(put)
    }

    /// Sends the file and compares what is sent with its id: somebody may have another name for the file and change it.
    async fn send(&self, source: &VerifiedFile, key: &Path) -> Result<(), StoreError> {
        let id = source.id();
        let mut pieces = Pieces { file: source.shared_file(), hasher: Sha256::new(), offset: 0, id };
        if id.size <= PART {
            let bytes = pieces.next(PART).await.map_err(|error| StoreError::io("read", source.path(), error))?;
            pieces.finish(source)?;
            let sent = self.client.put(key, bytes.into()).await;
            return sent.map(drop).map_err(self.failed("write", key));
        }
        let mut upload = self.client.put_multipart(key).await.map_err(self.failed("write", key))?;
        let sent = match self.send_parts(&mut *upload, &mut pieces, source, key).await {
            Ok(()) => upload.complete().await.map(drop).map_err(self.failed("write", key)),
            Err(error) => Err(error),
        };
        if sent.is_err() {
            // The error that led here says more; what stays is removed by the bucket's rule.
            let _ = upload.abort().await;
        }
        sent
    }

    async fn send_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        pieces: &mut Pieces,
        source: &VerifiedFile,
        key: &Path,
    ) -> Result<(), StoreError> {
        let size = PART.max(pieces.id.size.div_ceil(PARTS));
        let mut parts = JoinSet::new();
        let done = |outcome: Result<object_store::Result<()>, tokio::task::JoinError>| match outcome {
            Ok(sent) => sent.map_err(self.failed("write", key)),
            Err(error) => Err(StoreError::remote("write", key.to_string(), &error)),
        };
        while pieces.offset < pieces.id.size {
            if parts.len() >= AT_ONCE
                && let Some(outcome) = parts.join_next().await
            {
                done(outcome)?;
            }
            let bytes = pieces.next(size).await.map_err(|error| StoreError::io("read", source.path(), error))?;
            parts.spawn(upload.put_part(bytes.into()));
        }
        while let Some(outcome) = parts.join_next().await {
            done(outcome)?;
        }
        pieces.finish(source)
    }

    /// Copies an object to a new name, in the service if it can do that. That the object has gone is fine.
    pub(super) async fn copy_object(&self, id: FileId, from: &Path) -> Result<(), StoreError> {
        let to = self.keys.new_copy(id, &self.new_name());
        if id.size <= COPIED {
            return match self.client.copy(from, &to).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                copied => copied.map_err(self.failed("write", &to)),
            };
        }
        let Some(result) = self.get(from, 0..id.size).await? else { return Ok(()) };
        let mut upload = self.client.put_multipart(&to).await.map_err(self.failed("write", &to))?;
        let copied = async {
            let size = PART.max(id.size.div_ceil(PARTS)) as usize;
            let mut bytes = result.into_stream();
            let mut part = Vec::with_capacity(size);
            while let Some(piece) = bytes.try_next().await? {
                part.extend_from_slice(&piece);
                while part.len() >= size {
                    let rest = part.split_off(size);
                    upload.put_part(PutPayload::from(std::mem::replace(&mut part, rest))).await?;
                }
            }
            if !part.is_empty() {
                upload.put_part(PutPayload::from(part)).await?;
            }
            upload.complete().await
        }
        .await;
        if copied.is_err() {
            // As above.
            let _ = upload.abort().await;
        }
        copied.map(drop).map_err(self.failed("write", &to))
    }
}

/// Reads a file piece by piece, and hashes on the way.
struct Pieces {
    file: Arc<File>,
    hasher: Sha256,
    offset: u64,
    id: FileId,
}

impl Pieces {
    /// The next piece, of at most `size` bytes.
    async fn next(&mut self, size: u64) -> std::io::Result<Bytes> {
        let (file, offset, mut hasher) = (self.file.clone(), self.offset, self.hasher.clone());
        let length = size.min(self.id.size - offset) as usize;
        let (bytes, hasher) = blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)?;
            hasher.update(&bytes);
            Ok::<_, std::io::Error>((Bytes::from(bytes), hasher))
        })
        .await
        .flatten()?;
        self.offset += length as u64;
        self.hasher = hasher;
        Ok(bytes)
    }

    fn finish(&self, source: &VerifiedFile) -> Result<(), StoreError> {
        if <[u8; 32]>::from(self.hasher.clone().finalize()) == self.id.sha256 {
            Ok(())
        } else {
            Err(StoreError::NotThatFile { path: source.path().to_owned() })
        }
    }
}
