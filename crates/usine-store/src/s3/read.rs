//! Reading a content, or a part of it, as a stream.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore};

use super::S3Store;
use crate::{ByteStream, FileId, StoreError};

/// How often a content is looked for whose copy has gone between being found and being opened: it may have been put back.
const MAX_TRIES: u32 = 3;

impl S3Store {
    pub(super) async fn read(&self, id: FileId, range: Range<u64>) -> Result<ByteStream, StoreError> {
        if range.start > range.end || range.end > id.size {
            return Err(StoreError::RangeOutside { id, range });
        }
        if range.is_empty() {
            self.find(id).await?;
            return Ok(stream::empty().boxed());
        }
        for _ in 0..MAX_TRIES {
            let key = match self.remembered(id) {
                Some(key) => key,
                None => self.find(id).await?,
            };
            if let Some(result) = self.get(&key, range.clone()).await? {
                if result.meta.size != id.size {
                    self.remember(id, None);
                    return Err(damaged(key, id, result.meta.size));
                }
                self.remember(id, Some(key));
                return Ok(exactly(result.into_stream().map_err(io::Error::from).boxed(), range.end - range.start));
            }
            self.remember(id, None);
        }
        Err(StoreError::NotFound { id })
    }

    /// A whole copy, wherever it is, also while it is aside for a moment.
    async fn find(&self, id: FileId) -> Result<Path, StoreError> {
        let copies = self.copies(id).await?;
        match copies.iter().find(|copy| copy.size == id.size).or(copies.first()) {
            Some(copy) if copy.size == id.size => Ok(copy.key.clone()),
            Some(copy) => Err(damaged(copy.key.clone(), id, copy.size)),
            None => Err(StoreError::NotFound { id }),
        }
    }

    /// `None` if there is no such object.
    pub(super) async fn get(&self, key: &Path, range: Range<u64>) -> Result<Option<GetResult>, StoreError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match self.client.get_opts(key, options).await {
            Ok(result) => Ok(Some(result)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", key)(error)),
        }
    }
}

fn damaged(key: Path, id: FileId, found: u64) -> StoreError {
    StoreError::Damaged { path: PathBuf::from(key.to_string()), expected: id.size, found }
}

/// Never a short answer without an error.
fn exactly(bytes: ByteStream, length: u64) -> ByteStream {
    stream::try_unfold((bytes, length), async |(mut bytes, left)| match bytes.try_next().await? {
        Some(piece) if piece.len() as u64 <= left => {
            let left = left - piece.len() as u64;
            Ok(Some((piece, (bytes, left))))
        }
        None if left == 0 => Ok::<Option<(Bytes, _)>, io::Error>(None),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the service sent other bytes than were asked for")),
    })
    .boxed()
}
