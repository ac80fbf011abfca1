//! Changing the fields of a control file, and writing them as deb822 text.

use serde_json::Value;

use crate::Fields;

/// The longest line of `Binary`, in characters: where dpkg-genchanges folds it, too.
const MAX_BINARY_LINE: usize = 980;

/// Fields that cannot be written so that they read back the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field {0:?} cannot be written: it would not read back the same")]
pub struct Unwritable(String);

impl Fields {
    /// Gives a field another value; a new one comes last.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        match self.get_mut(name) {
            Some(old) => *old = value.into(),
            None => _ = self.0.insert(name.to_owned(), value.into()),
        }
    }

    /// Takes a field away.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let key = self.0.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
        self.0.shift_remove(&key)
    }

    /// Moves a field directly before another, if there are both.
    pub fn move_before(&mut self, name: &str, successor: &str) {
        let key = self.0.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        let there = self.get(successor).is_some() && !name.eq_ignore_ascii_case(successor);
        if let (Some(key), true) = (key, there)
            && let Some(value) = self.0.shift_remove(&key)
        {
            let position = self.0.keys().position(|other| other.eq_ignore_ascii_case(successor));
            self.0.shift_insert(position.unwrap_or(self.0.len()), key, value);
        }
    }

    /// The paragraph as text. File lists get a line for each file, with their columns in order.
    ///
    /// # Errors
    /// If the text would read back as something else: a name that is none, a value with an empty line.
    pub fn to_text(&self) -> Result<String, Unwritable> {
        let mut text = String::new();
        for (name, value) in &self.0 {
            let value = written(value).ok_or_else(|| Unwritable(name.clone()))?;
            let separator = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
            let paragraph = format!("{name}:{separator}{value}\n");
            let back = crate::parse_paragraph(&paragraph).ok();
            let same = back.is_some_and(|back| back.0.len() == 1 && back.text(name) == Some(value.as_str()));
            if !same {
                return Err(Unwritable(name.clone()));
            }
            text += &paragraph;
        }
        Ok(text)
    }
}

/// The value of a field as it is read.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(entries) => entries.iter().try_fold(String::new(), |text, entry| {
            let columns: Option<Vec<&str>> = entry.as_object()?.values().map(Value::as_str).collect();
            Some(text + "\n " + &columns?.join(" "))
        }),
        _ => None,
    }
}

/// The value of a field `Binary`: words joined by blanks, folded where a line would be longer than 980 characters.
pub fn binary_field<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut value = String::new();
    let mut length = 0;
    for word in words {
        let characters = word.chars().count();
        if value.is_empty() {
            length = characters;
        } else if length + 1 + characters <= MAX_BINARY_LINE {
            value.push(' ');
            length += 1 + characters;
        } else {
            value.push_str("\n ");
            length = characters;
        }
        value.push_str(word);
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Changes, parse_paragraph};

    const CHANGES: &str = include_str!("../tests/data/hello_2.12.3-1_multi.changes");

    #[test]
    fn what_was_read_is_written_byte_for_byte() {
        assert_eq!(parse_paragraph(CHANGES).unwrap().to_text().unwrap(), CHANGES);
        let changes = Changes::from_text("hello.changes", CHANGES).unwrap();
        assert!(changes.fields().get("Files").unwrap().is_array());
        assert_eq!(changes.fields().to_text().unwrap(), CHANGES);
    }

    #[test]
    fn fields_change_their_value_and_place() {
        let mut fields = parse_paragraph("Source: a\nArchitecture: b\nBINARY: c\nChanges:\n d\n").unwrap();
        fields.set("binary", "e");
        fields.set("Urgency", "low");
        fields.move_before("Binary", "source");
        fields.move_before("Urgency", "No-Such");
        fields.move_before("No-Such", "Source");
        fields.move_before("Source", "Source");
        assert_eq!(fields.remove("ARCHITECTURE"), Some(json!("b")));
        assert_eq!(fields.remove("Architecture"), None);
        assert_eq!(fields.to_text().unwrap(), "BINARY: e\nSource: a\nChanges:\n d\nUrgency: low\n");
    }

    #[test]
    fn what_would_not_read_back_is_not_written() {
        for (name, value) in [
            ("Changes", json!("\n x\n\n y")),
            ("Changes", json!("x\nEvil: y")),
            ("Changes", json!("x\n\nEvil: y")),
            ("Changes", json!(" x")),
            ("A B", json!("x")),
            ("A", json!(3)),
            ("Files", json!([{"size": 3}])),
        ] {
            let mut fields = Fields::default();
            fields.set(name, value.clone());
            assert_eq!(fields.to_text(), Err(Unwritable(name.to_owned())), "{value}");
        }
    }

    #[test]
    fn a_long_binary_is_folded_at_blanks() {
        assert_eq!(binary_field(["a", "b"]), "a b");
        assert_eq!(binary_field([]), "");
        let names: Vec<String> = (0..300).map(|index| format!("package-{index:03}")).collect();
        let value = binary_field(names.iter().map(String::as_str));
        let lines: Vec<&str> = value.split("\n ").collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.len() <= 980 && !line.ends_with(' ')), "{value}");
        // One more word would not have fitted.
        assert!(lines[..3].iter().all(|line| line.len() + " package-000".len() > 980), "{value}");
        assert_eq!(value.split_ascii_whitespace().collect::<Vec<_>>(), names);
        let longest = "x".repeat(980);
        assert_eq!(binary_field([longest.as_str(), "y"]), format!("{longest}\n y"));
        assert_eq!(binary_field([&longest[..978], "y"]), format!("{} y", &longest[..978]));
    }
}
