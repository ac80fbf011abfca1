//! Times on the wire: ISO 8601, UTC, `Z`, microseconds only when there are any.

use chrono::{DateTime, Datelike, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serializer};

/// Writes a time as the original does: `2026-03-01T10:20:30.123456Z`, or without fraction when it is zero.
pub fn to_text(time: &DateTime<Utc>) -> String {
    let format = if time.timestamp_subsec_micros() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    time.to_rfc3339_opts(format, true)
}

/// Why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTime {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] chrono::ParseError),
    /// In UTC it is not of the years 0 to 9999, and so could not be written.
    #[error("its year has not four digits")]
    Year,
}

/// Reads ISO 8601; a time without zone is UTC.
///
/// # Errors
/// If it is no time, or none that could be written again.
pub fn from_text(text: &str) -> Result<DateTime<Utc>, InvalidTime> {
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).or_else(|error| {
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .map(|naive| naive.and_utc())
            .ok_or(error)
    })?;
    if (0..=9999).contains(&time.year()) { Ok(time) } else { Err(InvalidTime::Year) }
}

/// `#[serde(with = "time")]` for a required time.
pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_text(time))
}

/// See [`serialize`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    from_text(&text).map_err(|error| serde::de::Error::custom(format!("{text:?} is not an ISO 8601 time: {error}")))
}

/// `#[serde(with = "time::optional")]` for a time that may be null.
pub mod optional {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serializer};

    /// A time or null.
    pub fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// A time or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "super")] DateTime<Utc>);
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_only_when_there_are_any() {
        let whole = from_text("2026-03-01T10:20:30+00:00").unwrap();
        assert_eq!(to_text(&whole), "2026-03-01T10:20:30Z");
        let fine = from_text("2026-03-01T12:20:30.5+02:00").unwrap();
        assert_eq!(to_text(&fine), "2026-03-01T10:20:30.500000Z");
        assert_eq!(from_text("2026-03-01T10:20:30").unwrap(), whole, "no zone is UTC");
        assert!(from_text("yesterday").is_err());
        for far in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"] {
            assert_eq!(from_text(far), Err(InvalidTime::Year), "{far}");
        }
    }
}
