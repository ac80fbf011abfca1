//! Many rows with few statements.
//!
//! Engines and driver remember statements by their text. So that few texts exist, insertions are cut into pieces of certain
//! lengths, and lists of ids are filled up with repetitions until their length is a power of two.

use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IntoActiveModel, Iterable, PrimaryKeyToColumn,
    PrimaryKeyTrait, QueryTrait, Statement,
};

use crate::Result;

/// Most rows of one statement: SQLite takes 32,766 parameters, and a text that long is slow to parse.
const MOST: usize = 64;

/// So many rows, or fewer, are one statement.
const FEW: usize = 16;

/// Inserts rows, and tells their ids in the order of the rows.
pub(crate) async fn insert<A>(connection: &impl ConnectionTrait, rows: Vec<A>) -> Result<Vec<i64>>
where
    A: ActiveModelTrait + Send,
    <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    <A::Entity as EntityTrait>::PrimaryKey: PrimaryKeyTrait<ValueType = i64> + PrimaryKeyToColumn + Iterable,
{
    let mut ids = Vec::with_capacity(rows.len());
    for rows in pieces(rows) {
        let count = rows.len();
        let rows = A::Entity::insert_many(rows);
        if connection.get_database_backend() == DbBackend::Sqlite {
            // The only writer counts on from row to row (`sqlite3_last_insert_rowid`). Each row of an answer would be a message
            // from the driver's thread.
            let done = connection.execute(rows.as_query()).await?;
            let end = i64::try_from(done.last_insert_id()).unwrap_or(i64::MAX).saturating_add(1);
            ids.extend(end - count as i64..end);
        } else {
            let mut inserted = rows.exec_with_returning_keys(connection).await?;
            // It numbers the rows in their order, but promises nothing about that of the answer.
            inserted.sort_unstable();
            ids.extend(inserted);
        }
    }
    Ok(ids)
}

/// Inserts rows whose ids nobody needs.
pub(crate) async fn write<A>(connection: &impl ConnectionTrait, rows: Vec<A>) -> Result<()>
where
    A: ActiveModelTrait + Send,
{
    for rows in pieces(rows) {
        A::Entity::insert_many(rows).exec_without_returning(connection).await?;
    }
    Ok(())
}

fn pieces<T>(mut rows: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let after = rows.split_off(if rows.is_empty() { return None } else { piece(rows.len()) });
        Some(std::mem::replace(&mut rows, after))
    })
}

/// Whole numbers of many rows, which the engine sends as one text: SQLite's driver passes each row to another thread, which
/// takes longer than finding it. `from` is what comes after FROM, `order` the rows' order, or nothing.
pub(crate) async fn numbers<const N: usize>(
    connection: &impl ConnectionTrait,
    columns: [&str; N],
    from: &str,
    order: &str,
) -> Result<Vec<[i64; N]>> {
    let row = columns.map(|column| format!("CAST({column} AS TEXT)")).join(" || ' ' || ");
    let sql = format!("SELECT string_agg({row}, ' ' {order}) AS numbers FROM {from}");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let found = connection.query_one_raw(statement).await?;
    let text = match &found {
        // No rows have no text.
        Some(row) => row.try_get::<Option<String>>("", "numbers")?.unwrap_or_default(),
        None => String::new(),
    };
    let numbers: std::result::Result<Vec<i64>, _> = text.split_ascii_whitespace().map(str::parse).collect();
    let numbers = numbers.map_err(|error| DbErr::Type(format!("{text:?} are no numbers: {error}")))?;
    Ok(numbers.as_chunks().0.to_vec())
}

/// How many of so many rows the next statement takes: all of a few, else the largest multiple of eight up to the most. Each
/// statement costs as much as some rows, each text takes memory in each connection.
pub(crate) fn piece(length: usize) -> usize {
    if length <= FEW { length } else { (length - length % 8).min(MOST) }
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
        assert_eq!([1, 3, 16, 17, 23, 63, 64, 1000].map(piece), [1, 3, 16, 16, 16, 56, 64, 64]);
        assert_eq!(padded([]), [0; 0]);
        assert_eq!(padded([5]), [5]);
        assert_eq!(padded([5, 6, 7]), [5, 6, 7, 7]);
    }
}
