//! Removing contents while others may be putting the same ones.
//!
//! An empty object with the name of a copy says that the copy is set aside; from then on a put does not count it. A copy that
//! was set aside never comes back under its name: what must stay is copied to a new one. So whoever has decided to discard
//! a copy, and does so late, or twice, can harm nobody.

use object_store::{ObjectStoreExt, PutPayload};

use super::S3Store;
use super::keys::{Mark, short};
use crate::{FileId, SetAside, StoreError};

impl S3Store {
    /// The marks on copies of a content.
    pub(super) async fn marks(&self, id: FileId) -> Result<Vec<Mark>, StoreError> {
        let found = self.all_below(&self.keys.marks_of(id)).await?;
        Ok(found.iter().filter_map(|object| self.keys.mark(&object.location)).map(|(_, mark)| mark).collect())
    }

    async fn marked(&self, aside: &SetAside) -> Result<Vec<Mark>, StoreError> {
        let mut marks = self.marks(aside.id).await?;
        marks.retain(|mark| mark.mark == aside.mark);
        Ok(marks)
    }

    pub(super) async fn mark_all(&self, id: FileId, random: [u8; 32]) -> Result<Option<SetAside>, StoreError> {
        let aside = SetAside { id, mark: short(&random) };
        let (whole, damaged) = self.in_place(id).await?;
        let mut any = false;
        for copy in whole.into_iter().chain(damaged) {
            let key = self.keys.new_mark(id, &Mark { copy: copy.name, mark: aside.mark.clone() });
            self.client.put(&key, PutPayload::new()).await.map_err(self.failed("write", &key))?;
            any = true;
        }
        Ok(any.then_some(aside))
    }

    pub(super) async fn bring_back(&self, aside: SetAside) -> Result<(), StoreError> {
        let id = aside.id;
        for mark in self.marked(&aside).await? {
            // A damaged copy does not come back.
            let copies = self.copies(id).await?;
            if let Some(copy) = copies.iter().find(|copy| copy.name == mark.copy && copy.size == id.size) {
                self.copy_object(id, &copy.key).await?;
            }
            self.remove_copy(id, &mark).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_marked(&self, aside: SetAside) -> Result<(), StoreError> {
        for mark in self.marked(&aside).await? {
            self.remove_copy(aside.id, &mark).await?;
        }
        Ok(())
    }

    /// The mark goes last: as long as the copy is there, nobody may count on it.
    async fn remove_copy(&self, id: FileId, mark: &Mark) -> Result<(), StoreError> {
        self.delete(&self.keys.new_copy(id, &mark.copy)).await?;
        self.delete(&self.keys.new_mark(id, mark)).await
    }

    pub(super) async fn all_marked(&self) -> Result<Vec<SetAside>, StoreError> {
        let mut found = Vec::new();
        for object in self.all_below(self.keys.all_marks()).await? {
            match self.keys.mark(&object.location) {
                Some((id, Mark { mark, .. })) => {
                    let aside = SetAside { id, mark };
                    // Of several copies of one content, each has its mark.
                    if !found.contains(&aside) {
                        found.push(aside);
                    }
                }
                None => tracing::warn!(key = %object.location, "an object that is no copy set aside is there"),
            }
        }
        Ok(found)
    }
}
