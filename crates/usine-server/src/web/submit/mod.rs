//! `/{scope}/{workspace}/work-request/new/`: a new work request. The form follows from the schema of the task's data; what the task
//! refuses is told at the field that it is about.

pub(super) mod form;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, json};
use usine_db::artifact::ArtifactFilter;
use usine_db::{Artifact, ArtifactManager};
use usine_model::artifact::{ArtifactCategory, label};
use usine_model::permission::WORKSPACE_CAN_CREATE_WORK_REQUESTS;
use usine_model::policy::{Deadlines, ResourceLimits};
use usine_model::work_request::TaskType;
use usine_protocol::work_request::CreateWorkRequest;
use usine_tasks::Task;

use super::frame::{Filled, Frame, Guest, LoggedIn};
use super::place::of_address;
use super::work_request::find;
use crate::api::work_request::store;
use crate::paths;
use crate::permissions::{Place, reachable};
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;
use form::{Field, Kind};

/// Artifacts of each kind that are suggested.
const SUGGESTED: u64 = 50;

/// Names of the fields that are no data of the task.
const TASK: &str = "task_name";
const TOTAL: &str = "deadline:total";
const SILENCE: &str = "deadline:silence";

/// The tasks in the order in which people need them, and what each does; the others come after these.
const TASKS: [(&str, &str); 13] = [
    ("sbuild", "Build binary packages of a source package"),
    ("lintian", "Check packages against Debian's Policy and habits"),
    ("autopkgtest", "Run a package's own tests, installed as its users do"),
    ("piuparts", "Install, upgrade and remove packages, and look what they leave behind"),
    ("blhc", "Look in a build log for missing hardening flags"),
    ("debdiff", "Compare two source packages or two builds"),
    ("mmdebstrap", "Make an environment: a small Debian system to work in"),
    ("simplesystemimagebuild", "Make an environment as a disk image"),
    ("makesourcepackageupload", "Make a .changes for a source package"),
    ("mergeuploads", "Make one upload of several"),
    ("extractforsigning", "Take out of packages what is to be signed"),
    ("assemblesignedsource", "Make a source package of what was signed"),
    ("noop", "Do nothing, and end as told: to try things out"),
];

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/work-request/new/", Access::Login, show).post(
        "/{scope}/{workspace}/work-request/new/",
        Access::Login,
        submit,
    )
}

#[derive(Template)]
#[template(path = "submit/tasks.html")]
struct TasksPage {
    frame: Frame,
    address: String,
    tasks: Vec<(&'static str, &'static str)>,
}

#[derive(Template)]
#[template(path = "submit/form.html")]
struct FormPage {
    frame: Frame,
    address: String,
    task: &'static str,
    about: &'static str,
    errors: Vec<String>,
    required: Vec<Field>,
    optional: Vec<Field>,
    total: String,
    silence: String,
    suggestions: Suggestions,
}

/// Artifacts that may be meant, newest first: id and name.
struct Suggestions {
    lists: [(&'static str, Vec<(i64, String)>); 4],
    /// Architecture of the newest environment.
    architecture: Option<String>,
}

fn about(task: &str) -> &'static str {
    TASKS.iter().find(|(name, _)| *name == task).map_or("", |(_, about)| about)
}

async fn place_of(state: &AppState, guest: &Guest, scope: &str, workspace: &str) -> ApiResult<Place> {
    let place = of_address(state, guest, scope, workspace).await?;
    let facts = place.workspace.facts(&place.scope);
    guest.check(&WORKSPACE_CAN_CREATE_WORK_REQUESTS, &facts, &format!("submit work requests in {}", place.name()))?;
    Ok(place)
}

/// The form of a task, filled in from another work request (`from`) or by the fields of the address.
async fn show(
    State(state): State<AppState>,
    LoggedIn { guest, .. }: LoggedIn,
    Path((scope, workspace)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let place = place_of(&state, &guest, &scope, &workspace).await?;
    let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let from = match parameter("from") {
        Some(id) => Some(find(&state, &guest, &place, id).await?),
        None => None,
    };
    let name = from.as_ref().map(|row| row.task_name.as_str()).or_else(|| parameter("task"));
    let Some(task) = name.and_then(|name| usine_tasks::find(TaskType::Worker, name)) else {
        let mut tasks: Vec<(&str, &str)> = TASKS.to_vec();
        let registered = usine_tasks::registered(TaskType::Worker);
        tasks.extend(registered.into_iter().filter(|name| about(name).is_empty()).map(|name| (name, "")));
        let frame = frame_of(&guest, &place, "New work request");
        return guest.show(&TasksPage { frame, address: address_of(&place), tasks });
    };
    let mut fields = form::fields(&task.schema());
    let suggestions = suggestions(&state, &guest, &place).await?;
    preset(&state, &mut fields, &suggestions);
    let (mut total, mut silence) = (String::new(), String::new());
    if let Some(row) = &from {
        form::fill_with(&mut fields, &row.task_data);
        let text = |seconds: Option<u32>| seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
        (total, silence) = (text(row.deadlines().total), text(row.deadlines().silence));
    }
    for field in &mut fields {
        let given: Vec<String> =
            query.iter().filter(|(key, _)| *key == field.name).map(|(_, value)| value.clone()).collect();
        if !given.is_empty() {
            field.values = given;
        }
    }
    page(&guest, &place, (StatusCode::OK, task), fields, Vec::new(), (total, silence), suggestions)
}

async fn submit(
    State(state): State<AppState>,
    LoggedIn { guest, user }: LoggedIn,
    Path((scope, workspace)): Path<(String, String)>,
    Filled(sent): Filled<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let place = place_of(&state, &guest, &scope, &workspace).await?;
    let mut filled = form::Filled::new();
    for (name, value) in sent {
        filled.entry(name).or_default().push(value);
    }
    let text = |name: &str| filled.get(name).and_then(|values| values.first()).cloned().unwrap_or_default();
    let task = usine_tasks::find(TaskType::Worker, &text(TASK));
    let task = task.ok_or_else(|| ApiError::bad_request(format!("There is no task {}", text(TASK))))?;
    let mut fields = form::fields(&task.schema());
    form::fill(&mut fields, &filled);
    let data = form::data_of(&mut fields);
    let mut errors = Vec::new();
    let mut seconds = |name: &str, label: &str| match text(name).trim() {
        "" => None,
        text => match text.parse() {
            Ok(seconds) if seconds > 0 => Some(seconds),
            _ => {
                errors.push(format!("{label}: not a number of seconds"));
                None
            }
        },
    };
    let deadlines = Deadlines { total: seconds(TOTAL, "Time limit"), silence: seconds(SILENCE, "Limit of silence") };
    if errors.is_empty() && fields.iter().all(|field| field.errors.is_empty()) {
        let body = CreateWorkRequest {
            task_name: task.name().to_owned(),
            task_data: data,
            workspace: Some(place.workspace.name.clone()),
            event_reactions: None,
        };
        let known = state.memory.now(&state.database).await?;
        match store(&state, &known, &user, &place, body, deadlines, ResourceLimits::default()).await {
            Ok(row) => {
                let address = paths::work_request(&scope, &workspace, row.id);
                return Ok(guest.go(&address, &format!("Work request #{} is submitted.", row.id)));
            }
            Err(ApiError::Problem(status, problem)) if status == StatusCode::BAD_REQUEST => {
                let blamed = problem
                    .validation_errors
                    .clone()
                    .unwrap_or_else(|| Map::from_iter([("non_field_errors".to_owned(), json!([problem.to_string()]))]));
                errors.extend(form::blame(&mut fields, &blamed));
            }
            Err(error) => return Err(error),
        }
    }
    let suggestions = suggestions(&state, &guest, &place).await?;
    let limits = (text(TOTAL), text(SILENCE));
    page(&guest, &place, (StatusCode::BAD_REQUEST, task), fields, errors, limits, suggestions)
}

fn page(
    guest: &Guest,
    place: &Place,
    (status, task): (StatusCode, &'static dyn Task),
    fields: Vec<Field>,
    errors: Vec<String>,
    (total, silence): (String, String),
    suggestions: Suggestions,
) -> ApiResult<Response> {
    let (required, optional) = fields.into_iter().partition(|field| field.required);
    let frame = frame_of(guest, place, &format!("New work request: {}", task.name()));
    let address = address_of(place);
    let (task, about) = (task.name(), about(task.name()));
    guest.show_as(
        status,
        &FormPage { frame, address, task, about, errors, required, optional, total, silence, suggestions },
    )
}

impl FormPage {
    /// Whether an optional field is to be looked at.
    fn is_open(&self) -> bool {
        self.optional.iter().any(|field| !field.errors.is_empty())
    }
}

fn frame_of(guest: &Guest, place: &Place, title: &str) -> Frame {
    guest.frame(title).inside(place).below("Work requests", format!("{}work-request/", place.address()))
}

fn address_of(place: &Place) -> String {
    format!("{}work-request/new/", place.address())
}

/// Fills in what is almost always meant: the newest environment, and its architecture.
fn preset(state: &AppState, fields: &mut [Field], suggestions: &Suggestions) {
    let environment = suggestions.lists[0].1.first();
    for field in fields.iter_mut().filter(|field| field.values.is_empty()) {
        match field.name.as_str() {
            "environment" => field.values.extend(environment.map(|(id, _)| id.to_string())),
            "build_architecture" if field.required => {
                let fallback = || state.config.fallback_architecture.clone();
                field.values = vec![suggestions.architecture.clone().unwrap_or_else(fallback)];
            }
            _ => {}
        }
    }
}

/// Artifacts of the workspace, and environments of those that it inherits, too.
async fn suggestions(state: &AppState, guest: &Guest, place: &Place) -> ApiResult<Suggestions> {
    let reached = reachable(state, &guest.context, &place.workspace, &place.scope).await?;
    let everywhere: Vec<i64> = reached.iter().map(|place| place.workspace.id).collect();
    let here = vec![place.workspace.id];
    let list = async |workspaces: &[i64], category: Option<ArtifactCategory>| {
        let filter = ArtifactFilter {
            workspace_ids: Some(workspaces.to_vec()),
            category,
            limit: Some(SUGGESTED),
            ..ArtifactFilter::default()
        };
        ArtifactManager(&state.database).list(&filter).await
    };
    let mut environments = list(&everywhere, Some(ArtifactCategory::SystemTarball)).await?;
    environments.extend(list(&everywhere, Some(ArtifactCategory::SystemImage)).await?);
    let uploads = list(&here, Some(ArtifactCategory::Upload)).await?;
    let mut sources = list(&here, Some(ArtifactCategory::SourcePackage)).await?;
    sources.extend(uploads.iter().cloned());
    let mut binaries = list(&here, Some(ArtifactCategory::BinaryPackage)).await?;
    binaries.extend(uploads);
    let all = list(&here, None).await?;
    let architecture = environments.first().and_then(|artifact| artifact.data["architecture"].as_str());
    Ok(Suggestions {
        architecture: architecture.map(str::to_owned),
        lists: [
            ("environments", named(environments)),
            ("sources", named(sources)),
            ("binaries", named(binaries)),
            ("artifacts", named(all)),
        ],
    })
}

fn named(mut artifacts: Vec<Artifact>) -> Vec<(i64, String)> {
    artifacts.sort_by_key(|artifact| std::cmp::Reverse(artifact.id));
    let name = |artifact: Artifact| {
        let name = label(*artifact.category, &artifact.data, &[]);
        (artifact.id, format!("{name} ({})", *artifact.category))
    };
    artifacts.into_iter().map(name).collect()
}
