//! Reading what people give on standard input or in files: YAML mappings, times.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::str::FromStr;

use anyhow::Context;
use chrono::{DateTime, NaiveDate, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Map, Value};
use strum::IntoEnumIterator;

use crate::exit::{failure, usage};
use crate::output::{Format, Generation, Ui};

/// Most bytes read. Task data of a large workflow is some kilobytes.
const MAX_INPUT: u64 = 16 * 1024 * 1024;

/// A mapping, and whether it was typed on standard input.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// The data.
    pub map: Map<String, Value>,
    /// Whether it came from standard input.
    pub from_stdin: bool,
}

/// Reads a mapping from a file (`-` is standard input) or, without one, from standard input. Empty standard input is an
/// empty mapping; an empty file is an error. (The old generation takes neither.)
///
/// # Errors
/// Exit code 2 if the file cannot be opened, 3 if its text is no YAML mapping.
pub fn mapping(ui: Ui, path: Option<&Path>) -> anyhow::Result<Mapping> {
    match path {
        Some(path) if path != Path::new("-") => {
            Ok(Mapping { map: parse_mapping(&read_file(path)?)?, from_stdin: false })
        }
        _ => {
            let text = read_stdin()?;
            ui.stdin_was_read()?;
            let may_be_empty = ui.generation == Generation::New;
            let map = if may_be_empty && text.trim().is_empty() { Map::new() } else { parse_mapping(&text)? };
            Ok(Mapping { map, from_stdin: true })
        }
    }
}

/// As [`mapping`], but without a path there is nothing to read.
pub fn optional_mapping(ui: Ui, path: Option<&Path>) -> anyhow::Result<Option<Mapping>> {
    path.map(|path| mapping(ui, Some(path))).transpose()
}

/// A text file of bounded size.
pub fn read_file(path: &Path) -> anyhow::Result<String> {
    let file =
        std::fs::File::open(path).map_err(|error| usage(format!("error: can't open '{}': {error}", path.display())))?;
    read(file).with_context(|| format!("Cannot read {}", path.display()))
}

fn read_stdin() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Type the data as YAML and end with Ctrl-D on an empty line (or use --data FILE).");
    }
    read(stdin.lock()).context("Cannot read standard input")
}

fn read(source: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    source.take(MAX_INPUT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_INPUT {
        return Err(failure(format!("it has more than {} MiB", MAX_INPUT >> 20)));
    }
    Ok(text)
}

fn parse_mapping(text: &str) -> anyhow::Result<Map<String, Value>> {
    if text.trim().is_empty() {
        return Err(failure("Error: data must be a dictionary. It is empty"));
    }
    match parse_yaml(text)? {
        Value::Object(map) => Ok(map),
        other => Err(failure(format!("Error: data must be a dictionary. It is: {}", type_name(&other)))),
    }
}

/// One YAML document.
pub fn parse_yaml(text: &str) -> anyhow::Result<Value> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.to_string();
        let error = error.strip_prefix("error: ").unwrap_or(&error);
        failure(format!("Error parsing YAML: {error}\nFix the YAML data"))
    })
}

/// The name that Debian's client, and every script that reads its messages, has for a type.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// Asks before something that cannot be undone; only `y` and `Y` are yes.
pub fn confirm(question: &str) -> anyhow::Result<bool> {
    Ui::new(Format::Human).text(&format!("{question} [yN] "))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}

/// Reads one of the values of an enumeration; anything else is a usage error that names them all.
pub fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: IntoEnumIterator
        + Into<&'static str>
        + FromStr<Err: std::error::Error + Send + Sync>
        + Clone
        + Send
        + Sync
        + 'static,
{
    PossibleValuesParser::new(T::iter().map(Into::<&'static str>::into)).try_map(|name| name.parse::<T>())
}

/// An ISO 8601 date or date and time on the command line; without zone it is UTC, a date is its first moment.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    usine_protocol::time::from_text(text)
        .map_err(|_| "expected an ISO 8601 date or time such as 2027-01-31 or 2027-01-31T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_are_data() {
        let error = |text| parse_mapping(text).unwrap_err().to_string();
        for (text, name) in
            [("[]", "list"), ("a b", "str"), ("1", "int"), ("1.5", "float"), ("yes", "bool"), ("~", "NoneType")]
        {
            assert_eq!(error(text), format!("Error: data must be a dictionary. It is: {name}"), "{text}");
        }
        let broken = error("a: [");
        assert!(broken.starts_with("Error parsing YAML: ") && broken.ends_with("\nFix the YAML data"), "{broken}");
        assert_eq!(parse_mapping("result: true").unwrap()["result"], true);
    }

    #[test]
    fn empty_files_are_told() {
        let (file, ui) = (tempfile::NamedTempFile::new().unwrap(), Ui::old());
        assert_eq!(
            mapping(ui, Some(file.path())).unwrap_err().to_string(),
            "Error: data must be a dictionary. It is empty"
        );
        let missing = mapping(ui, Some(Path::new("/nonexistent"))).unwrap_err();
        assert!(missing.to_string().starts_with("error: can't open '/nonexistent': "), "{missing}");
    }

    #[test]
    fn times_may_be_dates() {
        assert_eq!(parse_time("2027-01-31").unwrap(), parse_time("2027-01-31T00:00:00Z").unwrap());
        assert_eq!(parse_time("2027-01-31T02:00:00+02:00").unwrap(), parse_time("2027-01-31 00:00:00").unwrap());
        assert!(parse_time("tomorrow").is_err());
    }
}
