//! Reading task data: strict about keys, lenient about how numbers and booleans are spelled, exact about where a
//! fault is. The words of the messages are those that debusine's users know (pydantic's).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDateTime};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use usine_model::lookup::{LookupError, LookupMultiple, LookupSingle};

/// What is wrong with task data, by the path of the field: `input.source_artifact` → `Field required`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskDataError {
    /// Path → messages. The empty path is the data as a whole.
    pub errors: BTreeMap<String, Vec<String>>,
}

impl std::error::Error for TaskDataError {}

impl fmt::Display for TaskDataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.errors.values().map(Vec::len).sum();
        write!(f, "{count} validation error{}", if count == 1 { "" } else { "s" })?;
        let all = self.errors.iter().flat_map(|(path, messages)| messages.iter().map(move |message| (path, message)));
        for (index, (path, message)) in all.enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            match path.as_str() {
                "" => write!(f, "{separator}{message}")?,
                path => write!(f, "{separator}{path}: {message}")?,
            }
        }
        Ok(())
    }
}

impl TaskDataError {
    /// One fault.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::default();
        error.add(path, message);
        error
    }

    /// One fault that a rule of ours found, as opposed to the type.
    pub(crate) fn rule(path: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::at(path, format!("Value error, {message}"))
    }

    /// One more fault.
    pub(crate) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.errors.entry(path.into()).or_default().push(message.into());
    }

    /// All faults of another.
    pub(crate) fn extend(&mut self, other: Self) {
        for (path, messages) in other.errors {
            self.errors.entry(path).or_default().extend(messages);
        }
    }

    /// Nothing wrong, or this.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.errors.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// Reads a JSON object into a task's own struct.
pub(crate) fn parse<T: DeserializeOwned + Serialize>(data: &Value) -> Result<T, TaskDataError> {
    if !data.is_object() {
        return Err(TaskDataError::at("", "task data must be a dictionary"));
    }
    let typed: T = serde_path_to_error::deserialize(data)
        .map_err(|error| translate(&error.path().to_string(), &error.inner().to_string()))?;
    let read = serde_json::to_value(&typed).map_err(|error| TaskDataError::rule("", error))?;
    match list_for_object(data, &read, String::new()) {
        Some(path) => Err(TaskDataError::at(path, "Input should be a valid dictionary")),
        None => Ok(typed),
    }
}

/// The same, for tasks that run on an executor: before 0.14, `build_architecture` was called `host_architecture`.
pub(crate) fn parse_with_old_names<T: DeserializeOwned + Serialize>(data: &Value) -> Result<T, TaskDataError> {
    parse(modern(data)?.as_ref())
}

fn modern(data: &Value) -> Result<Cow<'_, Value>, TaskDataError> {
    let Some(old) = data.get("host_architecture") else { return Ok(Cow::Borrowed(data)) };
    let mut data = data.clone();
    if let Value::Object(fields) = &mut data {
        let new = fields.entry("build_architecture").or_insert_with(|| old.clone());
        if new != old {
            return Err(TaskDataError::rule(
                "host_architecture",
                "is the old name of build_architecture and differs from it",
            ));
        }
        fields.remove("host_architecture");
    }
    Ok(Cow::Owned(data))
}

/// Where a list was sent in place of an object: serde would take its elements for the fields of a struct, in order.
fn list_for_object(sent: &Value, read: &Value, path: String) -> Option<String> {
    match (sent, read) {
        (Value::Array(_), Value::Object(_)) => Some(path),
        (Value::Array(sent), Value::Array(read)) => {
            let mut pairs = sent.iter().zip(read).enumerate();
            pairs.find_map(|(index, (sent, read))| list_for_object(sent, read, format!("{path}[{index}]")))
        }
        (Value::Object(sent), Value::Object(read)) => {
            sent.iter().find_map(|(key, value)| list_for_object(value, read.get(key)?, join(&path, key)))
        }
        _ => None,
    }
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" | "." => key.to_owned(),
        path if path == key || path.ends_with(&format!(".{key}")) => path.to_owned(),
        path => format!("{path}.{key}"),
    }
}

/// Serde's message in the words that users know.
fn translate(path: &str, message: &str) -> TaskDataError {
    let plain = if path == "." { "" } else { path };
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let (true, Some(key)) = (message.starts_with("missing field"), quoted.first()) {
        return TaskDataError::at(join(path, key), "Field required");
    }
    if let (true, Some(key)) = (message.starts_with("unknown field"), quoted.first()) {
        return TaskDataError::at(join(path, key), "Extra inputs are not permitted");
    }
    if message.starts_with("unknown variant") {
        return TaskDataError::at(plain, format!("Input should be {}", alternatives(&quoted[1..])));
    }
    if message.contains("untagged enum LookupSingle") {
        return TaskDataError::at(plain, "Input should be a valid integer or string");
    }
    if let (true, Some((_, expected))) = (message.starts_with("invalid "), message.rsplit_once(", expected ")) {
        let wanted = match expected {
            "a string" | "string or map" => "a valid string",
            "a boolean" => "a valid boolean",
            "a sequence" => "a valid list",
            "a map" => "a valid dictionary",
            other if other.starts_with("struct ") => "a valid dictionary",
            other => other,
        };
        return TaskDataError::at(plain, format!("Input should be {wanted}"));
    }
    TaskDataError::rule(plain, message)
}

/// `'a', 'b' or 'c'`.
fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// The collection that configures a task unless its data say otherwise.
pub(crate) fn default_task_configuration() -> Option<LookupSingle> {
    Some(LookupSingle::Text("default@debusine:task-configuration".to_owned()))
}

/// A boolean, or what YAML and people write for one: `yes`, `off`, `"1"`, 0.
pub(crate) fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Boolean;

    impl Visitor<'_> for Boolean {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a boolean")
        }

        fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<bool, E> {
            match value {
                0 => Ok(false),
                1 => Ok(true),
                other => Err(E::invalid_value(Unexpected::Unsigned(other), &self)),
            }
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
            match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(true),
                "false" | "no" | "off" | "0" => Ok(false),
                _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
            }
        }
    }

    deserializer.deserialize_any(Boolean)
}

/// An integer from 0 on, or its digits as a text.
pub(crate) fn natural<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Natural;

    impl Visitor<'_> for Natural {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a valid integer")
        }

        fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u64, E> {
            let negative = |_| E::invalid_value(Unexpected::Signed(value), &"greater than or equal to 0");
            u64::try_from(value).map_err(negative)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
            text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Natural)
}

/// The same, or null for none.
pub(crate) fn optional_natural<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Natural(#[serde(deserialize_with = "natural")] u64);

    Ok(Option::<Natural>::deserialize(deserializer)?.map(|Natural(value)| value))
}

/// A time as ISO 8601; without a zone it is UTC. Null is none.
pub(crate) fn optional_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<FixedOffset>>, D::Error> {
    let Some(text) = <Option<String> as serde::Deserialize>::deserialize(deserializer)? else { return Ok(None) };
    let with_zone = DateTime::parse_from_rfc3339(&text).ok();
    let naive = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        formats.iter().find_map(|format| NaiveDateTime::parse_from_str(&text, format).ok())
    };
    with_zone
        .or_else(|| naive().map(|time| time.and_utc().fixed_offset()))
        .map(Some)
        .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"a valid datetime"))
}

/// A lookup of several, as a field of task data: an object or a list, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Multiple(pub LookupMultiple);

impl Multiple {
    /// Of no artifact at all.
    pub fn none() -> Self {
        Self(LookupMultiple(Value::Array(Vec::new())))
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.0.0.as_array().is_some_and(Vec::is_empty)
    }
}

impl<'de> Deserialize<'de> for Multiple {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lookup = LookupMultiple(Value::deserialize(deserializer)?);
        let checked = if lookup.0.is_null() { Err(LookupError::NotAList) } else { lookup.elements().map(drop) };
        checked.map_err(D::Error::custom)?;
        Ok(Self(lookup))
    }
}

impl JsonSchema for Multiple {
    fn schema_name() -> Cow<'static, str> {
        MultipleSchema::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        MultipleSchema::json_schema(generator)
    }
}

/// What a single lookup looks like in a JSON Schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum SingleSchema {
    /// An id.
    Id(i64),
    /// A path through collections.
    Text(String),
}

/// What a multiple lookup looks like in a JSON Schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum MultipleSchema {
    /// A filter.
    Filter(serde_json::Map<String, Value>),
    /// Ids, paths, filters.
    List(Vec<Value>),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        inner: Inner,
        #[serde(default)]
        list: Vec<Colour>,
        #[serde(default, deserialize_with = "boolean")]
        flag: bool,
        #[serde(default, deserialize_with = "natural")]
        number: u64,
        #[serde(default, deserialize_with = "optional_time")]
        time: Option<DateTime<FixedOffset>>,
        #[serde(default)]
        lookup: Option<LookupSingle>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Green,
        Blue,
    }

    fn fault(data: Value) -> String {
        parse::<Outer>(&data).unwrap_err().to_string()
    }

    #[test]
    fn faults_name_the_path_in_known_words() {
        assert_eq!(fault(json!([])), "1 validation error: task data must be a dictionary");
        assert_eq!(fault(json!({})), "1 validation error: inner: Field required");
        assert_eq!(fault(json!({"inner": {}})), "1 validation error: inner.name: Field required");
        assert_eq!(
            fault(json!({"inner": {"name": "x"}, "y": 1})),
            "1 validation error: y: Extra inputs are not permitted"
        );
        assert_eq!(
            fault(json!({"inner": {"name": "x", "z": 1}})),
            "1 validation error: inner.z: Extra inputs are not permitted"
        );
        assert_eq!(
            fault(json!({"inner": {"name": 3}})),
            "1 validation error: inner.name: Input should be a valid string"
        );
        assert_eq!(fault(json!({"inner": ["x"]})), "1 validation error: inner: Input should be a valid dictionary");
        assert_eq!(
            fault(json!({"inner": {"name": "x"}, "list": ["red", "pink"]})),
            "1 validation error: list[1]: Input should be 'red', 'green' or 'blue'"
        );
        assert_eq!(
            fault(json!({"inner": {"name": "x"}, "flag": "maybe"})),
            "1 validation error: flag: Input should be a valid boolean"
        );
        for number in [json!("x"), json!("-1"), json!(1.5), json!(null), json!(true)] {
            assert_eq!(
                fault(json!({"inner": {"name": "x"}, "number": number})),
                "1 validation error: number: Input should be a valid integer"
            );
        }
        assert_eq!(
            fault(json!({"inner": {"name": "x"}, "lookup": [1]})),
            "1 validation error: lookup: Input should be a valid integer or string"
        );
        assert_eq!(
            fault(json!({"inner": {"name": "x"}, "time": "yesterday"})),
            "1 validation error: time: Input should be a valid datetime"
        );
    }

    #[test]
    fn spellings_of_booleans_numbers_and_times() {
        for (sent, read) in [(json!("Yes"), true), (json!(1), true), (json!("off"), false), (json!(false), false)] {
            assert_eq!(parse::<Outer>(&json!({"inner": {"name": "x"}, "flag": sent})).unwrap().flag, read);
        }
        for (sent, read) in [(json!(3), 3), (json!("12"), 12)] {
            assert_eq!(parse::<Outer>(&json!({"inner": {"name": "x"}, "number": sent})).unwrap().number, read);
        }
        for time in ["2024-01-02T00:00:00Z", "2024-01-02T00:00:00", "2024-01-02 00:00:00.0"] {
            let outer: Outer = parse(&json!({"inner": {"name": "x"}, "time": time})).unwrap();
            assert_eq!(outer.time.unwrap().to_rfc3339(), "2024-01-02T00:00:00+00:00");
        }
    }

    #[test]
    fn the_old_name_of_the_architecture() {
        assert_eq!(*modern(&json!({"host_architecture": "a"})).unwrap(), json!({"build_architecture": "a"}));
        assert!(modern(&json!({"host_architecture": "a", "build_architecture": "a"})).is_ok());
        assert!(modern(&json!({"host_architecture": "a", "build_architecture": "b"})).is_err());
    }
}
