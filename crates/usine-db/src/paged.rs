//! A page of a list: which rows, and of how many.

use sea_orm::{DatabaseConnection, EntityTrait, PaginatorTrait, QuerySelect, Select};

use crate::Result;

/// Which page of a list is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Its number, from 1. One behind the last is the last.
    pub page: u64,
    /// How many rows it has at most.
    pub size: u64,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Paged<T> {
    /// What is on it.
    pub rows: Vec<T>,
    /// Its number, from 1.
    pub page: u64,
    /// The number of the last one, at least 1.
    pub last: u64,
    /// How many rows all pages have.
    pub total: u64,
}

impl Wanted {
    /// The page of a list of so many rows, and the number of its last one.
    pub(crate) fn within(self, total: u64) -> (u64, u64) {
        let last = total.div_ceil(self.size.max(1)).max(1);
        (self.page.clamp(1, last), last)
    }

    /// How many rows are before a page.
    pub(crate) fn offset(self, page: u64) -> u64 {
        page.saturating_sub(1).saturating_mul(self.size)
    }

    /// The page of these rows.
    pub(crate) async fn of<E>(self, rows: Select<E>, connection: &DatabaseConnection) -> Result<Paged<E::Model>>
    where
        E: EntityTrait,
        E::Model: Send + Sync,
    {
        let total = rows.clone().count(connection).await?;
        let (page, last) = self.within(total);
        let rows = rows.offset(self.offset(page)).limit(self.size).all(connection).await?;
        Ok(Paged { rows, page, last, total })
    }
}

impl<T> Paged<T> {
    /// The same page with something else for each row.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Paged<U> {
        let Self { rows, page, last, total } = self;
        Paged { rows: rows.into_iter().map(change).collect(), page, last, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_behind_the_last_is_the_last() {
        let wanted = |page| Wanted { page, size: 10 };
        for (page, total, found) in
            [(1, 0, (1, 1)), (0, 25, (1, 3)), (3, 25, (3, 3)), (9, 30, (3, 3)), (u64::MAX, 31, (4, 4))]
        {
            assert_eq!(wanted(page).within(total), found, "{page} of {total}");
        }
        assert_eq!([1, 3].map(|page| wanted(page).offset(page)), [0, 20]);
    }
}
