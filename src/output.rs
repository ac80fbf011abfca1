//! What goes to standard output: YAML and JSON for programs, tables and detail views for people.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};
use serde_json::{Value, json};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Human,
    /// One YAML document.
    Yaml,
    /// One JSON document.
    Json,
}

/// Debian's client has changed its command names and what they print. Scripts of both generations are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Until 0.12, with names such as `create-work-request`: always YAML.
    Old,
    /// Since then, with names such as `work-request create`.
    New,
}

/// `--yaml` and `--json`.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct OutputArgs {
    /// Print machine readable YAML
    #[arg(long, global = true, help_heading = "Output")]
    pub yaml: bool,
    /// Print machine readable JSON
    #[arg(long, global = true, conflicts_with = "yaml", help_heading = "Output")]
    pub json: bool,
}

impl OutputArgs {
    /// What was asked for.
    pub fn format(self) -> Format {
        match (self.yaml, self.json) {
            (_, true) => Format::Json,
            (true, false) => Format::Yaml,
            (false, false) => Format::Human,
        }
    }
}

/// A box like those of Debian's client: lines between the columns, a double line below the header.
const TABLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::new(' ', ' ', '╷', ' '))
    .header_lines(ContentLineStyle::new(' ', '│', ' '))
    .header_separator(LineStyle::new(' ', '═', '╪', ' '))
    .content_lines(ContentLineStyle::new(' ', '│', ' '))
    .bottom_border(LineStyle::new(' ', ' ', '╵', ' '));

/// The way out to people and programs. Writing fails when the reader goes away; that ends the command.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    /// How to print.
    pub format: Format,
    /// Whose habits to follow.
    pub generation: Generation,
}

impl Ui {
    /// Prints in this format.
    pub fn new(format: Format) -> Self {
        Self { format, generation: Generation::New }
    }

    /// Prints as the old generation of Debian's client.
    pub fn old() -> Self {
        Self { format: Format::Yaml, generation: Generation::Old }
    }

    /// One line.
    pub fn line(&self, text: &str) -> io::Result<()> {
        self.text(&format!("{text}\n"))
    }

    /// Text as it is.
    pub fn text(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// A value as one document: JSON if asked for, else YAML (some commands always print YAML).
    pub fn data(&self, value: &Value) -> io::Result<()> {
        match self.format {
            Format::Json => self.line(&format!("{value:#}")),
            Format::Human | Format::Yaml => self.text(&yaml(value)),
        }
    }

    /// As [`Self::data`], of a mapping that has times made by [`native_time`] under these keys.
    pub fn data_with_times(&self, value: &Value, keys: &[&str]) -> io::Result<()> {
        match self.format {
            Format::Json => self.data(value),
            Format::Human | Format::Yaml => self.text(&yaml_with_times(value, keys)),
        }
    }

    /// The line between what was typed and what is printed, when the data of a command came from standard input. The old
    /// generation has it as soon as it has read them, so that it stands before errors, too.
    pub fn stdin_was_read(&self) -> io::Result<()> {
        if self.generation == Generation::Old { self.line("---") } else { Ok(()) }
    }

    /// The same line of the new generation: right before the output, if that is YAML.
    pub fn after_stdin(&self, from_stdin: bool) -> io::Result<()> {
        let is_due = from_stdin && self.format == Format::Yaml && self.generation == Generation::New;
        if is_due { self.line("---") } else { Ok(()) }
    }

    /// Tells a person what has happened: in bold, or on standard error when standard output is for programs.
    pub fn feedback(&self, text: &str) -> io::Result<()> {
        match self.format {
            Format::Human if io::stdout().is_terminal() => self.line(&format!("\x1b[1m{text}\x1b[0m")),
            Format::Human => self.line(text),
            Format::Yaml | Format::Json => {
                eprintln!("{text}");
                Ok(())
            }
        }
    }

    /// Rows under headings.
    pub fn table(&self, headings: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
        self.line(&table(headings, rows))
    }

    /// Labels and values, one below the other.
    pub fn details(&self, rows: &[(&str, String)]) -> io::Result<()> {
        self.text(&format!("\n{}\n", details(rows)))
    }
}

fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(TABLE).set_content_arrangement(ContentArrangement::Dynamic).set_header(headings);
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Labels right-aligned, values of several lines indented alike.
fn details(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (label, value) in rows {
        let mut lines = value.lines();
        let first = lines.next().unwrap_or_default();
        text.push_str(format!("{label:>width$}:   {first}").trim_end());
        text.push('\n');
        for line in lines {
            text.push_str(format!("{:1$}{line}", "", width + 4).trim_end());
            text.push('\n');
        }
    }
    text
}

/// YAML as Debian's client prints it: block style, order kept, never folded, list items not indented, several lines as
/// a literal block; what YAML 1.1 would take for something else is quoted.
pub fn yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! {
        indent_step: 2,
        compact_list_indent: true,
        folded_wrap_chars: usize::MAX,
        prefer_block_scalars: true,
    };
    let mut text = String::new();
    match serde_saphyr::to_fmt_writer_with_options(&mut text, value, options) {
        Ok(()) => text,
        // JSON is YAML, too.
        Err(_) => format!("{value:#}\n"),
    }
}

/// YAML of a mapping. Strings under these keys are times made by [`native_time`], and printed in YAML's own type; the same
/// text further inside, which may be a user's, stays a string.
pub fn yaml_with_times(mapping: &Value, keys: &[&str]) -> String {
    let Value::Object(map) = mapping else { return yaml(mapping) };
    let mut text = String::new();
    for (key, value) in map {
        match value {
            Value::String(time) if keys.contains(&key.as_str()) => text.push_str(&format!("{key}: {time}\n")),
            _ => text.push_str(&yaml(&json!({ key: value }))),
        }
    }
    text
}

/// A YAML list of texts that are YAML themselves.
pub fn yaml_list(items: &[String]) -> String {
    let mut text = String::new();
    for (index, line) in items.iter().flat_map(|item| item.lines().enumerate()) {
        let indent = match index {
            0 => "- ",
            _ if line.is_empty() => "",
            _ => "  ",
        };
        text.push_str(&format!("{indent}{line}\n"));
    }
    text
}

/// YAML of rows as `debusine-admin` prints it: keys sorted, times native, an empty line at the end. Times are strings
/// made by [`native_time`].
pub fn admin_yaml(rows: &[Value]) -> String {
    let sorted: Vec<Value> = rows.iter().map(sort_keys).collect();
    let time = regex::Regex::new(r#"(?m)["'](\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{6})?\+00:00)["']$"#)
        .expect("a valid pattern");
    format!("{}\n", time.replace_all(&yaml(&Value::Array(sorted)), "$1"))
}

fn sort_keys(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: std::collections::BTreeMap<&String, Value> =
                map.iter().map(|(key, value)| (key, sort_keys(value))).collect();
            json!(sorted)
        }
        Value::Array(list) => list.iter().map(sort_keys).collect(),
        other => other.clone(),
    }
}

/// A time as YAML's own type, in UTC; null if there is none.
pub fn native_time(time: Option<DateTime<Utc>>) -> Value {
    let Some(time) = time else { return Value::Null };
    let fraction = if time.timestamp_subsec_micros() == 0 { "" } else { "%.6f" };
    json!(time.format(&format!("%Y-%m-%d %H:%M:%S{fraction}+00:00")).to_string())
}

/// A time as people read it, in UTC.
pub fn human_time(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// What is there, or nothing.
pub fn or_empty(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_what_debians_parsers_read_back() {
        let value = json!({
            "result": "success",
            "created_at": "2026-11-23T20:39:23.768885Z",
            "long": "x ".repeat(60).trim(),
            "version": "12.12", "yes": "yes", "time": "12:30", "octal": "0644", "none": null, "on": true,
            "list": ["a", {"b": 1, "c": []}], "empty": {},
            "text": "one\ntwo\n",
        });
        insta::assert_snapshot!(yaml(&value));
    }

    #[test]
    fn admin_yaml_is_sorted_with_native_times() {
        let time = usine_protocol::time::from_text("2024-05-01T12:34:56.789012Z").unwrap();
        let rows = [json!({"name": "a", "connected": null, "at": native_time(Some(time))})];
        assert_eq!(admin_yaml(&rows), "- at: 2024-05-01 12:34:56.789012+00:00\n  connected: null\n  name: a\n\n");
        assert_eq!(admin_yaml(&[]), "[]\n\n");
    }

    #[test]
    fn only_our_own_times_are_native() {
        let time = native_time(usine_protocol::time::from_text("2024-05-01T12:34:56Z").ok());
        let mapping = json!({"at": time, "data": {"at": time, "text": "one\n\n  two\n"}, "ended": null});
        let text = yaml_with_times(&mapping, &["at", "ended"]);
        let data = "data:\n  at: \"2024-05-01 12:34:56+00:00\"\n  text: |\n    one\n\n      two\n";
        assert_eq!(text, format!("at: 2024-05-01 12:34:56+00:00\n{data}ended: null\n"));
        let list: Value = serde_saphyr::from_str(&yaml_list(&[text.clone(), text])).unwrap();
        assert_eq!(list[1]["data"], mapping["data"], "{list}");
    }

    #[test]
    fn tables_look_like_debians() {
        let rows = vec![vec!["#1".to_owned(), "Worker noop".to_owned(), "Created: now\nStarted: later".to_owned()]];
        assert_eq!(
            table(&["ID", "Task", "Progress"], rows).lines().collect::<Vec<_>>(),
            [
                "     ╷             ╷",
                "  ID │ Task        │ Progress",
                " ════╪═════════════╪════════════════",
                "  #1 │ Worker noop │ Created: now",
                "     │             │ Started: later",
                "     ╵             ╵",
            ]
        );
        assert_eq!(
            table(&["ID", "Task"], vec![]).lines().collect::<Vec<_>>(),
            ["     ╷", "  ID │ Task", " ════╪══════", "     ╵"]
        );
    }

    #[test]
    fn details_are_aligned() {
        let rows = [("ID", "#1".to_owned()), ("Task data", "{\n  \"a\": 1\n}".to_owned()), ("Worker", String::new())];
        assert_eq!(
            details(&rows).lines().collect::<Vec<_>>(),
            ["         ID:   #1", "  Task data:   {", "                 \"a\": 1", "               }", "     Worker:",]
        );
    }
}
