//! The API as an OpenAPI document (3.1), for programs that read one: `/api/openapi.json`.
//!
//! Paths and who may come in are those of the routes, bodies are the types that handlers read and write ([`usine_protocol`]); what
//! neither of them tells is said in [`operations`]. A test finds every route there.

mod operations;

use std::sync::LazyLock;

use axum::Json;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};
use usine_protocol::problem::{self, Problem};
use usine_protocol::{SCOPE_HEADER, TOKEN_HEADER};

use self::operations::{Answer, OPERATIONS, Operation};
use crate::routes::{Access, Route, Routes};

/// Where it is.
pub const PATH: &str = "/api/openapi.json";

/// The route.
pub fn routes() -> Routes {
    Routes::new().get(PATH, Access::Everybody, async || Json(&*DOCUMENT))
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The document.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<Problem>().to_value();
    let table = crate::all_routes();
    let mut paths = Map::new();
    for route in table.table().iter().filter(|route| is_described(route)) {
        let Some(operation) = operation_of(route) else { continue };
        let path = paths.entry(address(route.path)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = describe(route, operation, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "usine",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The API of debusine 1.0 as far as it is there, and what is usine's own below /api/usine/.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {
                "type": "apiKey", "in": "header", "name": TOKEN_HEADER,
                "description": "The key of a token: a user's, a worker's, or that of one work request.",
            }},
            "parameters": {"scope": {
                "name": SCOPE_HEADER, "in": "header", "schema": {"type": "string"},
                "description": "The scope that the request is about; the default one if missing.",
            }},
            "responses": {
                "Problem": {
                    "description": "What is wrong. Some errors are plain text.",
                    "content": {(problem::CONTENT_TYPE): {"schema": problem}, "text/plain": {"schema": {"type": "string"}}},
                },
                "Unavailable": {
                    "description": "The server has its hands full, or its database was busy: nothing has changed, try again.",
                    "headers": {"Retry-After": {
                        "description": "Seconds to stay away.", "required": true, "schema": {"type": "integer", "minimum": 0},
                    }},
                    "content": {(problem::CONTENT_TYPE): {"schema": problem}},
                },
            },
        },
    })
}

/// Whether the document has this route: those of programs, but no channels, which OpenAPI has no words for.
pub fn is_described(route: &Route) -> bool {
    route.path.starts_with("/api/") && route.access != Access::Channel
}

/// What is said of a route.
fn operation_of(route: &Route) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.method == route.method.as_str() && operation.path == route.path)
}

/// A path as OpenAPI writes it: a parameter that takes the rest has the final slash of the address in it.
fn address(path: &str) -> String {
    path.replace("{*path}", "{path}/")
}

fn describe(route: &Route, operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = vec![json!({"$ref": "#/components/parameters/scope"})];
    for name in names_in(route.path) {
        let (kind, text) = match name {
            "id" => (json!({"type": "integer", "format": "int64"}), "The id."),
            "path" => {
                (json!({"type": "string"}), "The path of the file in the artifact, with its slashes as they are.")
            }
            _ => (json!({"type": "string"}), "The name."),
        };
        parameters.push(json!({"name": name, "in": "path", "required": true, "schema": kind, "description": text}));
    }
    for parameter in operation.parameters {
        let kind: Value = serde_json::from_str(parameter.schema).unwrap_or_default();
        parameters.push(json!({
            "name": parameter.name, "in": parameter.place, "required": parameter.required, "schema": kind,
            "description": parameter.description,
        }));
    }
    let mut answers = Map::new();
    for (status, answer) in operation.answers {
        answers.insert(status.to_string(), describe_answer(answer, schemas));
    }
    for status in operation.refusals {
        answers.insert(status.to_string(), json!({"$ref": "#/components/responses/Problem"}));
    }
    answers.insert("503".to_owned(), json!({"$ref": "#/components/responses/Unavailable"}));
    let security = match route.access {
        Access::Everybody | Access::Key => json!([{}, {"token": []}]),
        _ => json!([{"token": []}]),
    };
    let mut described = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "description": who(route.access),
        "parameters": parameters,
        "security": security,
        "responses": answers,
    });
    if let Some(body) = &operation.body {
        let schema = (body.schema)(schemas);
        described["requestBody"] = json!({"required": true, "content": {(body.content_type): {"schema": schema}}});
    }
    described
}

fn describe_answer(answer: &Answer, schemas: &mut SchemaGenerator) -> Value {
    match answer {
        Answer::Empty(text) => json!({"description": text}),
        Answer::Json(text, schema) => {
            json!({"description": text, "content": {"application/json": {"schema": schema(schemas)}}})
        }
        Answer::Text(text) => json!({"description": text, "content": {"text/plain": {"schema": {"type": "string"}}}}),
    }
}

/// Who may come in. What they may do then is for the roles that they have.
fn who(access: Access) -> &'static str {
    match access {
        Access::User => "For users.",
        Access::UserOrWorkRequest => "For users, and for workers with the key of a work request.",
        Access::Worker => "For workers, with their own token.",
        Access::Key => "Whoever has the key that belongs to it.",
        _ => "For everybody; what is not public needs a token.",
    }
}

fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0.trim_start_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a route is is said once: none is forgotten, none is left over.
    #[test]
    fn every_route_is_described() {
        let routes = crate::all_routes();
        let described: Vec<_> = routes.table().iter().filter(|route| is_described(route)).collect();
        for route in &described {
            assert!(operation_of(route).is_some(), "{} {}: say what it is in operations.rs", route.method, route.path);
        }
        for operation in OPERATIONS {
            let is_there =
                described.iter().any(|route| operation_of(route).is_some_and(|o| std::ptr::eq(o, operation)));
            assert!(is_there, "{} {} is described, but not there", operation.method, operation.path);
        }
        let count: usize =
            document()["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(count, described.len());
    }

    /// Every reference leads somewhere, every parameter's schema is one, and names are given once.
    #[test]
    fn the_document_holds_together() {
        let document = document();
        let mut names = std::collections::BTreeSet::new();
        let mut ahead = vec![&document];
        while let Some(value) = ahead.pop() {
            if let Some(name) = value["operationId"].as_str() {
                assert!(names.insert(name), "{name} is there twice");
            }
            if let Some(place) = value["$ref"].as_str() {
                let pointer = place.strip_prefix('#').unwrap_or_else(|| panic!("{place} leads out of the document"));
                assert!(document.pointer(pointer).is_some(), "{place} leads nowhere");
            }
            if value["in"].is_string() && value["type"] != "apiKey" {
                assert!(value["schema"].is_object(), "{value}");
            }
            match value {
                Value::Object(entries) => ahead.extend(entries.values()),
                Value::Array(values) => ahead.extend(values),
                _ => {}
            }
        }
        assert_eq!(names.len(), OPERATIONS.len());
    }
}
