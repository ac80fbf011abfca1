//! Readers for values that may come as text: `"3"` for 3, `"yes"` for true.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IntoDeserializer, Unexpected, Visitor};

/// A non-negative integer, or its decimal digits in a string.
struct Integer(u64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;

        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a non-negative integer")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Integer, E> {
                Ok(Integer(value))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Integer, E> {
                text.trim().parse().map(Integer).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(IntegerVisitor)
    }
}

/// An integer, or its digits.
pub(super) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Integer::deserialize(deserializer).map(|integer| integer.0)
}

/// A map to integers, or their digits.
pub(super) fn counts<'de, K, D>(deserializer: D) -> Result<BTreeMap<K, u64>, D::Error>
where
    K: Deserialize<'de> + Ord,
    D: Deserializer<'de>,
{
    // Keys are read as text first: serde_path_to_error cannot name a key that is an enum.
    let counts = BTreeMap::<String, Integer>::deserialize(deserializer)?;
    counts.into_iter().map(|(key, integer)| Ok((K::deserialize(key.into_deserializer())?, integer.0))).collect()
}

/// A boolean, the way YAML spells one (dose3's reports are read with all scalars as strings), or null.
pub(super) fn optional_boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a boolean")]
    enum Spelled {
        Boolean(bool),
        Text(String),
    }

    match Option::<Spelled>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Spelled::Boolean(value)) => Ok(Some(value)),
        Some(Spelled::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(Some(true)),
            "false" | "no" | "off" => Ok(Some(false)),
            _ => Err(D::Error::invalid_value(Unexpected::Str(&text), &"a boolean")),
        },
    }
}
