//! Many rows with few statements.
//!
//! Engines and driver remember statements by their text. So that few texts exist, lists come in lengths that are powers of
//! two: insertions are cut into such pieces, lists of ids are filled up with repetitions.

use sea_orm::{
    ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel, Iterable, PrimaryKeyToColumn, PrimaryKeyTrait,
};

use crate::{Error, Result};

/// Most rows of one statement: SQLite takes 32,766 parameters, and a text that long is slow to parse.
const MOST: usize = 64;

/// Inserts rows, and tells their ids in the order of the rows.
pub(crate) async fn insert<A>(connection: &impl ConnectionTrait, rows: Vec<A>) -> Result<Vec<i64>>
where
    A: ActiveModelTrait + Send,
    <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    <A::Entity as EntityTrait>::PrimaryKey: PrimaryKeyTrait<ValueType = i64> + PrimaryKeyToColumn + Iterable,
{
    let mut ids = Vec::with_capacity(rows.len());
    let mut rest = rows;
    while !rest.is_empty() {
        let length = piece(rest.len());
        let after = rest.split_off(length);
        let mut inserted =
            A::Entity::insert_many(rest).exec_with_returning_keys(connection).await.map_err(Error::from)?;
        // Both engines number the rows in their order, but promise nothing about that of the answer.
        inserted.sort_unstable();
        ids.extend(inserted);
        rest = after;
    }
    Ok(ids)
}

/// The largest power of two that is not above the length, and not above the most.
pub(crate) fn piece(length: usize) -> usize {
    (1 << length.ilog2()).min(MOST)
}

/// The ids, the last one repeated until their number is a power of two.
pub(crate) fn padded(ids: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut ids: Vec<i64> = ids.into_iter().collect();
    if let Some(&last) = ids.last() {
        ids.resize(ids.len().next_power_of_two(), last);
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_lengths() {
        assert_eq!([1, 2, 3, 7, 8, 63, 64, 1000].map(piece), [1, 2, 2, 4, 8, 32, 64, 64]);
        assert_eq!(padded([]), [0; 0]);
        assert_eq!(padded([5]), [5]);
        assert_eq!(padded([5, 6, 7]), [5, 6, 7, 7]);
    }
}
