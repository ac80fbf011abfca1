//! Lookups: how task data name artifacts and collections.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A lookup of one thing: an id, or text such as `53@artifacts` or `debian/match:codename=bookworm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LookupSingle {
    /// An id.
    Id(i64),
    /// A path through collections.
    Text(String),
}

/// A lookup of several things: a list, or one object that filters a collection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LookupMultiple(pub Value);

/// A lookup that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Neither object nor list.
    #[error("Lookup of multiple collection items must be a dictionary or a list")]
    NotAList,
    /// An element is neither id, text nor object.
    #[error("element {0} of the lookup must be an artifact id, a lookup string or a dictionary")]
    BadElement(usize),
}

/// One element of a multiple lookup.
#[derive(Debug, Clone, PartialEq)]
pub enum LookupElement {
    /// One thing.
    Single(LookupSingle),
    /// A filter on a collection.
    Filter(serde_json::Map<String, Value>),
}

impl LookupSingle {
    /// The artifact that is named directly, as `53` or `53@artifacts`.
    pub fn artifact_id(&self) -> Option<i64> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Text(text) => text.strip_suffix("@artifacts")?.parse().ok(),
        }
    }
}

impl std::fmt::Display for LookupSingle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl LookupMultiple {
    /// The elements in order. Nothing (`null`) is an empty list; an object is a list of one.
    pub fn elements(&self) -> Result<Vec<LookupElement>, LookupError> {
        let element = |(index, value): (usize, &Value)| match value {
            Value::Number(number) => number
                .as_i64()
                .map(|id| LookupElement::Single(LookupSingle::Id(id)))
                .ok_or(LookupError::BadElement(index)),
            Value::String(text) => Ok(LookupElement::Single(LookupSingle::Text(text.clone()))),
            Value::Object(filter) => Ok(LookupElement::Filter(filter.clone())),
            _ => Err(LookupError::BadElement(index)),
        };
        match &self.0 {
            Value::Null => Ok(Vec::new()),
            object @ Value::Object(_) => Ok(vec![element((0, object))?]),
            Value::Array(list) => list.iter().enumerate().map(element).collect(),
            _ => Err(LookupError::NotAList),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn artifacts_are_named_directly() {
        assert_eq!(LookupSingle::Id(53).artifact_id(), Some(53));
        assert_eq!(LookupSingle::Text("53@artifacts".into()).artifact_id(), Some(53));
        assert_eq!(LookupSingle::Text("debian/match:codename=bookworm".into()).artifact_id(), None);
    }

    #[test]
    fn lists_and_objects_are_lookups_of_several() {
        assert_eq!(LookupMultiple(json!([1, "2@artifacts", {"collection": "x"}])).elements().unwrap().len(), 3);
        assert_eq!(LookupMultiple(json!({"collection": "x"})).elements().unwrap().len(), 1);
        assert_eq!(LookupMultiple::default().elements().unwrap().len(), 0);
        assert_eq!(LookupMultiple(json!("x")).elements(), Err(LookupError::NotAList));
        assert_eq!(LookupMultiple(json!([1, [2]])).elements(), Err(LookupError::BadElement(1)));
    }
}
