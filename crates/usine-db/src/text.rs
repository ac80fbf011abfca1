//! Words of the model as text columns.

use std::fmt::Display;
use std::ops::Deref;
use std::str::FromStr;

use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, StringLen, Value, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, QueryResult, TryGetError, TryGetable};

/// A closed list of the model (a status, a type, …), stored as its word. The model knows nothing of databases: this is
/// the one place where its words become columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Text<T>(pub T);

impl<T> Deref for Text<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Display> From<Text<T>> for Value {
    fn from(text: Text<T>) -> Self {
        text.0.to_string().into()
    }
}

impl<T: FromStr> TryGetable for Text<T> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let word = String::try_get_by(row, index)?;
        word.parse().map(Text).map_err(|_| {
            TryGetError::DbErr(DbErr::Type(format!(
                "inconsistent row in column {index:?}: {word:?} is not a known {}",
                std::any::type_name::<T>()
            )))
        })
    }
}

impl<T: FromStr> ValueType for Text<T> {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        let word = <String as ValueType>::try_from(value)?;
        word.parse().map(Text).map_err(|_| ValueTypeErr)
    }

    fn type_name() -> String {
        "Text".to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::String
    }

    fn column_type() -> ColumnType {
        ColumnType::String(StringLen::None)
    }
}

impl<T> Nullable for Text<T> {
    fn null() -> Value {
        Value::String(None)
    }
}
