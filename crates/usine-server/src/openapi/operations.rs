//! What each route of the API takes and gives, in the words of OpenAPI: one entry for each route.

use std::collections::BTreeMap;

use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};
use usine_protocol::artifact::{Artifact, CreateArtifact, CreateRelation, Relation};
use usine_protocol::enrolment::{Decision, ENROL, Enrolment};
use usine_protocol::own::{CreateLimitedWorkRequest, WorkRequestDetails};
use usine_protocol::page::CursorPage;
use usine_protocol::status::{ServiceStatus, Whoami};
use usine_protocol::work_request::{
    Completed, ConfirmWorkRequest, CreateWorkRequest, UnblockWorkRequest, UpdateWorkRequest, WorkRequest,
};
use usine_protocol::worker::Register;
use usine_protocol::workspace::InheritanceChain;

/// One route.
pub(super) struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    /// For programs that are made from the document.
    pub name: &'static str,
    pub summary: &'static str,
    /// Besides those of the path.
    pub parameters: &'static [Parameter],
    pub body: Option<Body>,
    /// Successes.
    pub answers: &'static [(u16, Answer)],
    /// Statuses of errors, besides 503.
    pub refusals: &'static [u16],
}

/// A parameter of the query, or a header.
pub(super) struct Parameter {
    pub name: &'static str,
    pub place: &'static str,
    pub required: bool,
    /// As JSON.
    pub schema: &'static str,
    pub description: &'static str,
}

/// The body of a request.
pub(super) struct Body {
    pub content_type: &'static str,
    pub schema: MakeSchema,
}

/// The body of an answer, with what it is.
pub(super) enum Answer {
    Empty(&'static str),
    Json(&'static str, MakeSchema),
    Text(&'static str),
}

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// Bytes, of which a schema can say nothing.
fn bytes(_: &mut SchemaGenerator) -> Schema {
    Schema::default()
}

const fn json<T: JsonSchema>() -> Option<Body> {
    Some(Body { content_type: "application/json", schema: of::<T> })
}

const fn query(name: &'static str, schema: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "query", required: false, schema, description }
}

const TEXT: &str = r#"{"type": "string"}"#;
const ID: &str = r#"{"type": "integer", "format": "int64"}"#;
const READ: &[u16] = &[400, 403, 404];
const WRITE: &[u16] = &[400, 403, 404, 413];
const WORK_REQUEST: &[(u16, Answer)] = &[(200, Answer::Json("The work request as it is now.", of::<WorkRequest>))];
const ARTIFACT: &[(u16, Answer)] = &[(200, Answer::Json("The artifact.", of::<Artifact>))];
const NEXT: &[(u16, Answer)] =
    &[(200, Answer::Json("The next work request.", of::<WorkRequest>)), (204, Answer::Empty("There is none."))];
const CHAIN: &[(u16, Answer)] =
    &[(200, Answer::Json("The parents that the requester may see.", of::<InheritanceChain>))];

pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        path: super::PATH,
        name: "openapi",
        summary: "This document",
        parameters: &[],
        body: None,
        answers: &[(200, Answer::Json("The document.", of::<Map<String, Value>>))],
        refusals: &[],
    },
    Operation {
        method: "GET",
        path: "/api/1.0/whoami/",
        name: "whoami",
        summary: "Whom the server takes the requester for",
        parameters: &[],
        body: None,
        answers: &[(200, Answer::Json("Who it is.", of::<Whoami>))],
        refusals: READ,
    },
    Operation {
        method: "GET",
        path: "/api/1.0/service-status/",
        name: "service_status",
        summary: "How much waits and runs, and how many workers there are",
        parameters: &[],
        body: None,
        answers: &[(200, Answer::Json("Numbers.", of::<ServiceStatus>))],
        refusals: &[],
    },
    Operation {
        method: "GET",
        path: crate::api::metrics::PATH,
        name: "metrics",
        summary: "Metrics for monitoring",
        parameters: &[],
        body: None,
        answers: &[(200, Answer::Text("In the format of Prometheus, or OpenMetrics if that is accepted."))],
        refusals: &[],
    },
    Operation {
        method: "POST",
        path: "/api/1.0/worker/register/",
        name: "register_worker",
        summary: "A machine introduces itself",
        parameters: &[],
        body: json::<Register>(),
        answers: &[(201, Answer::Empty("It is registered."))],
        refusals: WRITE,
    },
    Operation {
        method: "PUT",
        path: "/api/1.0/worker/dynamic-metadata/",
        name: "put_dynamic_metadata",
        summary: "A worker says what it can do",
        parameters: &[],
        body: json::<Map<String, Value>>(),
        answers: &[(204, Answer::Empty("It is known."))],
        refusals: WRITE,
    },
    Operation {
        method: "GET",
        path: "/api/1.0/work-request/",
        name: "list_work_requests",
        summary: "Work requests, newest first, in pages",
        parameters: &[
            query("task_type", TEXT, "Only those of this type."),
            query("root_only", TEXT, "`true`: only those that belong to no workflow."),
            query("ids", TEXT, "Only these: ids with commas between them."),
            query("status", TEXT, "Only those that stand so."),
            query("cursor", TEXT, "The place of a page, from `next`."),
        ],
        body: None,
        answers: &[(200, Answer::Json("A page.", of::<CursorPage<WorkRequest>>))],
        refusals: READ,
    },
    Operation {
        method: "POST",
        path: "/api/1.0/work-request/",
        name: "create_work_request",
        summary: "Submits a work request",
        parameters: &[],
        body: json::<CreateWorkRequest>(),
        answers: WORK_REQUEST,
        refusals: WRITE,
    },
    Operation {
        method: "GET",
        path: "/api/1.0/work-request/{id}/",
        name: "work_request",
        summary: "A work request",
        parameters: &[],
        body: None,
        answers: WORK_REQUEST,
        refusals: READ,
    },
    Operation {
        method: "PATCH",
        path: "/api/1.0/work-request/{id}/",
        name: "update_work_request",
        summary: "Changes the priority",
        parameters: &[],
        body: json::<UpdateWorkRequest>(),
        answers: WORK_REQUEST,
        refusals: WRITE,
    },
    Operation {
        method: "POST",
        path: "/api/1.0/work-request/{id}/retry/",
        name: "retry_work_request",
        summary: "Puts a new work request in the place of one that ended badly",
        parameters: &[],
        body: None,
        answers: WORK_REQUEST,
        refusals: READ,
    },
    Operation {
        method: "POST",
        path: "/api/1.0/work-request/{id}/abort/",
        name: "abort_work_request",
        summary: "Gives a work request up",
        parameters: &[],
        body: None,
        answers: WORK_REQUEST,
        refusals: READ,
    },
    Operation {
        method: "POST",
        path: "/api/1.0/work-request/{id}/unblock/",
        name: "unblock_work_request",
        summary: "Approves or rejects what waits for a person",
        parameters: &[],
        body: json::<UnblockWorkRequest>(),
        answers: WORK_REQUEST,
        refusals: WRITE,
    },
    Operation {
        method: "POST",
        path: "/api/1.0/work-request/{id}/confirm/",
        name: "confirm_work_request",
        summary: "Answers what a task asks a person",
        parameters: &[],
        body: json::<ConfirmWorkRequest>(),
        answers: WORK_REQUEST,
        refusals: WRITE,
    },
    Operation {
        method: "PUT",
        path: "/api/1.0/work-request/{id}/completed/",
        name: "complete_work_request",
        summary: "A worker reports, with the key of its attempt",
        parameters: &[],
        body: json::<Completed>(),
        answers: &[(200, Answer::Empty("It is known, now or before."))],
        refusals: WRITE,
    },
    Operation {
        method: "POST",
        path: "/api/1.0/work-request/get-next-for-worker/",
        name: "next_work_request",
        summary: "A worker fetches its next work request",
        parameters: &[],
        body: None,
        answers: NEXT,
        refusals: READ,
    },
    Operation {
        method: "GET",
        path: "/api/1.0/work-request/get-next-for-worker/",
        name: "next_work_request_of_old_worker",
        summary: "A worker before 0.13 fetches its next work request",
        parameters: &[],
        body: None,
        answers: NEXT,
        refusals: READ,
    },
    Operation {
        method: "POST",
        path: "/api/1.0/artifact/",
        name: "create_artifact",
        summary: "Makes an artifact; its files come afterwards",
        parameters: &[],
        body: json::<CreateArtifact>(),
        answers: &[(201, Answer::Json("The artifact, with the files that are still to come.", of::<Artifact>))],
        refusals: WRITE,
    },
    Operation {
        method: "GET",
        path: "/api/1.0/artifact/{id}/",
        name: "artifact",
        summary: "An artifact",
        parameters: &[],
        body: None,
        answers: ARTIFACT,
        refusals: READ,
    },
    Operation {
        method: "GET",
        path: "/api/1.0/artifact/{workspace}/{id}/",
        name: "artifact_in_workspace",
        summary: "An artifact as seen from a workspace",
        parameters: &[],
        body: None,
        answers: ARTIFACT,
        refusals: READ,
    },
    Operation {
        method: "PUT",
        path: "/api/1.0/artifact/{id}/files/{*path}",
        name: "upload_file",
        summary: "Takes a piece of a file, or says how far it is",
        parameters: &[Parameter {
            name: "Content-Range",
            place: "header",
            required: false,
            schema: TEXT,
            description: "Which piece it is; `bytes */SIZE` asks how far it is.",
        }],
        body: Some(Body { content_type: "application/octet-stream", schema: bytes }),
        answers: &[
            (200, Answer::Empty("`Range` says how many bytes are there.")),
            (201, Answer::Empty("The file is complete.")),
            (206, Answer::Empty("`Range` says how many bytes are there; more are needed.")),
        ],
        refusals: &[400, 403, 404, 409, 507],
    },
    Operation {
        method: "GET",
        path: "/api/1.0/artifact-relation/",
        name: "list_relations",
        summary: "How an artifact relates to others; one of the two parameters is needed",
        parameters: &[
            query("artifact", ID, "Relations from this one."),
            query("target_artifact", ID, "Relations to this one."),
        ],
        body: None,
        answers: &[(200, Answer::Json("The relations.", of::<Vec<Relation>>))],
        refusals: READ,
    },
    Operation {
        method: "POST",
        path: "/api/1.0/artifact-relation/",
        name: "create_relation",
        summary: "Relates two artifacts",
        parameters: &[],
        body: json::<CreateRelation>(),
        answers: &[
            (200, Answer::Json("The relation, which was there.", of::<Relation>)),
            (201, Answer::Json("The new relation.", of::<Relation>)),
        ],
        refusals: WRITE,
    },
    Operation {
        method: "DELETE",
        path: "/api/1.0/artifact-relation/{id}/",
        name: "delete_relation",
        summary: "Removes a relation",
        parameters: &[],
        body: None,
        answers: &[(204, Answer::Empty("It is gone."))],
        refusals: READ,
    },
    Operation {
        method: "GET",
        path: "/api/1.0/workspace/{workspace}/inheritance/",
        name: "inheritance",
        summary: "Where a workspace looks further",
        parameters: &[],
        body: None,
        answers: CHAIN,
        refusals: READ,
    },
    Operation {
        method: "POST",
        path: "/api/1.0/workspace/{workspace}/inheritance/",
        name: "set_inheritance",
        summary: "Says where a workspace looks further",
        parameters: &[],
        body: json::<InheritanceChain>(),
        answers: CHAIN,
        refusals: WRITE,
    },
    Operation {
        method: "POST",
        path: ENROL,
        name: "enrol",
        summary: "A client waits for its user to let it in; blank lines come before the decision",
        parameters: &[],
        body: json::<Enrolment>(),
        answers: &[(200, Answer::Json("The decision.", of::<Decision>))],
        refusals: &[400, 413],
    },
    Operation {
        method: "GET",
        path: "/api/usine/1.0/artifact/",
        name: "list_artifacts",
        summary: "Artifacts, newest first",
        parameters: &[
            query("category", TEXT, "Only those of this category."),
            query("workspace", TEXT, "Only those of this workspace."),
            query("work_request", ID, "Only those that this work request has made."),
            query("limit", ID, "How many: 100 if missing, at most 1000."),
            query("before", ID, "Only those with a smaller id."),
        ],
        body: None,
        answers: &[(200, Answer::Json("The artifacts.", of::<Vec<Artifact>>))],
        refusals: READ,
    },
    Operation {
        method: "POST",
        path: "/api/usine/1.0/work-request/",
        name: "create_limited_work_request",
        summary: "Submits a work request with limits on its run",
        parameters: &[],
        body: json::<CreateLimitedWorkRequest>(),
        answers: WORK_REQUEST,
        refusals: WRITE,
    },
    Operation {
        method: "GET",
        path: "/api/usine/1.0/work-request/{id}/details/",
        name: "work_request_details",
        summary: "Attempts, history, limits of a work request, and why it is not running",
        parameters: &[],
        body: None,
        answers: &[(200, Answer::Json("The details.", of::<WorkRequestDetails>))],
        refusals: READ,
    },
    Operation {
        method: "GET",
        path: "/api/usine/1.0/work-request/{id}/log/",
        name: "work_request_log",
        summary: "The live log that was kept of a work request",
        parameters: &[],
        body: None,
        answers: &[(200, Answer::Text("The log."))],
        refusals: READ,
    },
    Operation {
        method: "GET",
        path: "/api/usine/1.0/task/",
        name: "tasks",
        summary: "The tasks that there are, by type",
        parameters: &[],
        body: None,
        answers: &[(200, Answer::Json("Their names.", of::<BTreeMap<String, Vec<String>>>))],
        refusals: &[],
    },
    Operation {
        method: "GET",
        path: "/api/usine/1.0/task/{name}/schema/",
        name: "task_schema",
        summary: "JSON Schema of a task's data",
        parameters: &[],
        body: None,
        answers: &[(200, Answer::Json("The schema.", of::<Map<String, Value>>))],
        refusals: &[404],
    },
];
