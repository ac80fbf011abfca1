//! A form from the JSON Schema of a task's data: fields with their kinds, the data that somebody has filled in, and what is wrong at
//! each field.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What is filled in, by the name of the field: the path in the data, such as `input.source_artifact`.
pub type Filled = BTreeMap<String, Vec<String>>;

/// How deep fields lie in each other; what lies deeper is written as YAML.
const MAX_DEPTH: usize = 3;

/// One field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The path in the data.
    pub name: String,
    pub label: String,
    pub hint: String,
    pub required: bool,
    pub kind: Kind,
    /// What it has if nothing is filled in; null for nothing.
    default: Value,
    /// What is filled in.
    pub values: Vec<String>,
    pub errors: Vec<String>,
}

/// How a field is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One line.
    Text,
    /// A whole number, between these if they are given.
    Number { least: Option<i64>, most: Option<i64> },
    /// Yes or no.
    Check,
    /// One of these.
    Choice(Vec<Choice>),
    /// Some of these.
    Several(Vec<Choice>),
    /// One text on each line.
    Lines,
    /// An artifact, by id or lookup.
    Single,
    /// Artifacts, one on each line.
    Multiple,
    /// Anything else.
    Yaml,
}

/// A word to choose, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub value: String,
    pub hint: String,
}

impl Field {
    /// Name of the element in the page.
    pub fn id(&self) -> String {
        format!("field-{}", self.name.replace(|char: char| !char.is_ascii_alphanumeric(), "-"))
    }

    pub fn value(&self) -> &str {
        self.values.first().map(String::as_str).unwrap_or_default()
    }

    pub fn has(&self, value: &str) -> bool {
        self.values.iter().any(|has| has == value)
    }

    pub fn lines(&self) -> String {
        self.values.join("\n")
    }

    /// Which artifacts may be meant, for suggestions.
    pub fn suggestions(&self) -> &'static str {
        match self.name.as_str() {
            name if name.contains("environment") || name.contains("base_tgz") => "environments",
            name if name.contains("binary") || name.contains("binaries") => "binaries",
            name if name.contains("source") => "sources",
            _ => "artifacts",
        }
    }
}

/// The fields of a task's data, required ones first.
pub fn fields(schema: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    collect(schema, schema, "", 0, true, &mut fields);
    fields.retain(|field| field.name != "task_configuration");
    fields.sort_by_key(|field| !field.required);
    fields
}

fn collect(root: &Value, object: &Value, prefix: &str, depth: usize, required: bool, fields: &mut Vec<Field>) {
    let needed: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in object["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let (schema, optional) = without_null(property);
        let reference = schema["$ref"].as_str().unwrap_or_default();
        let target = resolve(root, schema);
        let required = required && needed.contains(&name.as_str());
        let is_lookup = reference.ends_with("/SingleSchema") || reference.ends_with("/MultipleSchema");
        if target["properties"].is_object() && !optional && !is_lookup && depth < MAX_DEPTH {
            collect(root, target, &path, depth + 1, required, fields);
            continue;
        }
        let kind = match reference.rsplit('/').next() {
            Some("SingleSchema") => Kind::Single,
            Some("MultipleSchema") => Kind::Multiple,
            _ => kind_of(root, target),
        };
        let hint = property["description"].as_str().or_else(|| schema["description"].as_str()).unwrap_or_default();
        let default = match (property.get("default"), prefix) {
            (Some(default), _) => default.clone(),
            // The default of an object is that of its fields.
            (None, _) => object["default"].get(name).cloned().unwrap_or(Value::Null),
        };
        let mut field = Field {
            label: label(&path),
            name: path,
            hint: hint.to_owned(),
            required,
            kind,
            values: Vec::new(),
            errors: Vec::new(),
            default,
        };
        field.values = shown(&field.kind, &field.default);
        fields.push(field);
    }
}

/// `input.source_artifact` is “Source artifact”, `output.binary_all` is “Output: binary all”.
fn label(path: &str) -> String {
    let words = path.strip_prefix("input.").unwrap_or(path).replace('_', " ").replace('.', ": ");
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The schema of what may be null, and whether it may.
fn without_null(schema: &Value) -> (&Value, bool) {
    let Some(alternatives) = schema["anyOf"].as_array() else {
        let nullable = schema["type"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "null"));
        return (schema, nullable);
    };
    let is_null = |schema: &&Value| schema["type"] == "null";
    match alternatives.iter().find(|schema| !is_null(schema)) {
        Some(other) if alternatives.iter().any(|schema| is_null(&schema)) => (other, true),
        _ => (schema, false),
    }
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|reference| root.pointer(reference.strip_prefix('#')?));
    target.unwrap_or(schema)
}

fn kind_of(root: &Value, schema: &Value) -> Kind {
    let choices = choices(schema);
    if !choices.is_empty() {
        return Kind::Choice(choices);
    }
    let is = |name: &str| match &schema["type"] {
        Value::Array(types) => types.iter().any(|kind| kind == name),
        kind => kind == name,
    };
    if is("boolean") {
        return Kind::Check;
    }
    if is("integer") {
        return Kind::Number { least: schema["minimum"].as_i64(), most: schema["maximum"].as_i64() };
    }
    if is("string") {
        return Kind::Text;
    }
    if is("array") {
        let items = resolve(root, &schema["items"]);
        let choices = self::choices(items);
        return match () {
            () if !choices.is_empty() => Kind::Several(choices),
            () if items["type"] == "string" => Kind::Lines,
            () => Kind::Yaml,
        };
    }
    Kind::Yaml
}

/// The words of a closed list.
fn choices(schema: &Value) -> Vec<Choice> {
    let choice = |value: &Value, hint: &Value| {
        Some(Choice { value: value.as_str()?.to_owned(), hint: hint.as_str().unwrap_or_default().to_owned() })
    };
    let plain = schema["enum"].as_array().into_iter().flatten().filter_map(|value| choice(value, &Value::Null));
    let mut all: Vec<Choice> = plain.collect();
    for one in schema["oneOf"].as_array().into_iter().flatten() {
        match &one["const"] {
            Value::Null => all.extend(choices(one)),
            value => all.extend(choice(value, &one["description"])),
        }
    }
    all
}

/// A value as it is filled in.
fn shown(kind: &Kind, value: &Value) -> Vec<String> {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match (kind, value) {
        (_, Value::Null) => Vec::new(),
        (Kind::Several(_) | Kind::Lines, Value::Array(list)) => list.iter().map(plain).collect(),
        (Kind::Multiple, Value::Array(list)) if list.iter().all(|one| !one.is_object()) => {
            list.iter().map(plain).collect()
        }
        (Kind::Multiple | Kind::Yaml, Value::Array(list)) if list.is_empty() => Vec::new(),
        (Kind::Yaml, Value::Object(map)) if map.is_empty() => Vec::new(),
        (Kind::Multiple | Kind::Yaml, value) => {
            vec![super::super::show::yaml(value).trim_end().to_owned()]
        }
        (Kind::Check, value) => {
            if *value == Value::Bool(true) {
                vec!["true".to_owned()]
            } else {
                Vec::new()
            }
        }
        (_, value) => vec![plain(value)],
    }
}

/// Fills the fields with data.
pub fn fill_with(fields: &mut [Field], data: &Value) {
    for field in fields {
        if let Some(value) = at(data, &field.name) {
            field.values = shown(&field.kind, value);
        }
    }
}

fn at<'a>(data: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(data, |data, key| data.get(key))
}

/// Fills the fields with what was sent.
pub fn fill(fields: &mut [Field], filled: &Filled) {
    for field in fields {
        let values = filled.get(&field.name).cloned().unwrap_or_default();
        field.values = match field.kind {
            Kind::Lines | Kind::Multiple => {
                let lines = values.iter().flat_map(|text| text.lines()).map(|line| line.trim().to_owned());
                lines.filter(|line| !line.is_empty()).collect()
            }
            _ => values.into_iter().filter(|value| !value.trim().is_empty()).collect(),
        };
    }
}

/// The data of what is filled in; what cannot be read is an error of its field. What is as without being filled in is left out.
pub fn data_of(fields: &mut [Field]) -> Value {
    let mut data = Value::Object(Map::new());
    for field in fields {
        match value_of(field) {
            Ok(None) => {}
            Ok(Some(value)) => put(&mut data, &field.name, value),
            Err(message) => field.errors.push(message),
        }
    }
    data
}

fn value_of(field: &Field) -> Result<Option<Value>, String> {
    let text = field.value().trim();
    let read = match &field.kind {
        Kind::Check => Some(Value::Bool(field.has("true"))).filter(|value| *value != false || field.default == true),
        Kind::Several(_) | Kind::Lines => Some(Value::from(field.values.clone())),
        Kind::Multiple if field.values.is_empty() => None,
        Kind::Multiple if !field.values.iter().all(|line| is_plain(line)) => Some(from_yaml(&field.lines())?),
        Kind::Multiple => Some(field.values.iter().map(|line| number_or_text(line)).collect()),
        _ if text.is_empty() => None,
        Kind::Text | Kind::Choice(_) => Some(Value::from(text)),
        Kind::Single => Some(number_or_text(text)),
        Kind::Number { .. } => {
            Some(Value::from(text.parse::<i64>().map_err(|_| "Input should be a valid integer".to_owned())?))
        }
        Kind::Yaml => Some(from_yaml(field.value())?),
    };
    let says_nothing = |value: &Value| *value == field.default || (is_empty(value) && is_empty(&field.default));
    Ok(read.filter(|value| field.required || !says_nothing(value)))
}

/// Whether a value says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Whether a line is an id or a lookup, and no YAML.
fn is_plain(line: &str) -> bool {
    !line.starts_with(['-', '{', '[']) && !line.contains(": ") && !line.ends_with(':')
}

fn number_or_text(text: &str) -> Value {
    let id = text.strip_prefix('#').unwrap_or(text);
    id.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
}

fn from_yaml(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| format!("This is no YAML: {error}"))
}

fn put(data: &mut Value, path: &str, value: Value) {
    let mut place = data;
    for key in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key];
    }
    *place = value;
}

/// Gives each error to the field it is about; the others are returned, with their paths.
pub fn blame(fields: &mut [Field], errors: &Map<String, Value>) -> Vec<String> {
    let mut rest = Vec::new();
    for (path, messages) in errors {
        let messages: Vec<String> = match messages {
            Value::Array(list) => {
                list.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect()
            }
            one => vec![one.to_string()],
        };
        let about = |field: &&mut Field| {
            path.strip_prefix(field.name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        match fields.iter_mut().filter(about).max_by_key(|field| field.name.len()) {
            Some(field) => field.errors.extend(messages.into_iter().map(|message| {
                let deeper = &path[field.name.len()..];
                if deeper.is_empty() { message } else { format!("{deeper}: {message}") }
            })),
            None if path == "non_field_errors" => rest.extend(messages),
            None => rest.extend(messages.into_iter().map(|message| format!("{path}: {message}"))),
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use usine_model::work_request::TaskType;

    use super::*;

    fn fields_of(task: &str) -> Vec<Field> {
        fields(&usine_tasks::find(TaskType::Worker, task).unwrap().schema())
    }

    fn filled(pairs: &[(&str, &str)]) -> Filled {
        let mut filled = Filled::new();
        for (name, value) in pairs {
            filled.entry((*name).to_owned()).or_default().push((*value).to_owned());
        }
        filled
    }

    #[test]
    fn every_task_has_a_form_whose_defaults_say_nothing() {
        for name in usine_tasks::registered(TaskType::Worker) {
            let mut fields = fields_of(name);
            assert!(fields.iter().all(|field| !field.label.is_empty()), "{name}");
            for field in &mut fields {
                field.required = false;
            }
            assert_eq!(data_of(&mut fields), json!({}), "{name}");
        }
    }

    #[test]
    fn sbuild_asks_for_what_it_needs_first() {
        let fields = fields_of("sbuild");
        let required: Vec<&str> =
            fields.iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
        assert_eq!(required, ["input.source_artifact", "build_architecture", "environment"]);
        let field = |name: &str| fields.iter().find(|field| field.name == name).unwrap();
        assert_eq!(field("input.source_artifact").kind, Kind::Single);
        assert_eq!(field("input.source_artifact").suggestions(), "sources");
        assert!(matches!(&field("build_components").kind, Kind::Several(all) if all.len() == 3));
        assert!(field("build_components").has("any"));
        assert!(matches!(&field("build_dep_resolver").kind, Kind::Choice(_)));
        assert_eq!(field("build_profiles").kind, Kind::Lines);
        assert_eq!(field("binnmu").kind, Kind::Yaml);
    }

    #[test]
    fn what_is_filled_in_is_the_data_and_back() {
        let mut fields = fields_of("sbuild");
        fill(
            &mut fields,
            &filled(&[
                ("input.source_artifact", "#12"),
                ("build_architecture", " amd64 "),
                ("environment", "debian/match:codename=trixie"),
                ("build_components", "any"),
                ("build_components", "all"),
                ("build_profiles", "nocheck\r\n\r\nnodoc"),
                ("input.extra_binary_artifacts", "7\n8"),
                ("backend", "auto"),
                ("binnmu", "changelog: Rebuild\nsuffix: +b1"),
            ]),
        );
        let data = data_of(&mut fields);
        assert_eq!(
            data,
            json!({
                "input": {"source_artifact": 12, "extra_binary_artifacts": [7, 8]},
                "build_architecture": "amd64", "environment": "debian/match:codename=trixie",
                "build_components": ["any", "all"], "build_profiles": ["nocheck", "nodoc"],
                "binnmu": {"changelog": "Rebuild", "suffix": "+b1"},
            })
        );
        let mut again = fields_of("sbuild");
        fill_with(&mut again, &data);
        assert_eq!(data_of(&mut again), data);
    }

    #[test]
    fn errors_stand_at_their_fields() {
        let mut fields = fields_of("autopkgtest");
        fill(&mut fields, &filled(&[("debug_level", "many"), ("timeout", "a: [")]));
        data_of(&mut fields);
        let errors_of =
            |fields: &[Field], name: &str| fields.iter().find(|field| field.name == name).unwrap().errors.clone();
        assert_eq!(errors_of(&fields, "debug_level"), ["Input should be a valid integer"]);
        assert!(errors_of(&fields, "timeout")[0].starts_with("This is no YAML"));
        let errors =
            json!({"input.source_artifact": ["Field required"], "timeout.global": ["too short"], "x": ["unknown"]});
        let rest = blame(&mut fields, errors.as_object().unwrap());
        assert_eq!(rest, ["x: unknown"]);
        assert_eq!(errors_of(&fields, "input.source_artifact"), ["Field required"]);
        assert_eq!(errors_of(&fields, "timeout").last().unwrap(), ".global: too short");
    }
}
