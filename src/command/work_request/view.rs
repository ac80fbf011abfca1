//! How work requests are shown: the mapping of Debian's client for programs, a detail view and a table for people.

use serde_json::{Value, json};
use usine_client::Client;
use usine_model::output_data::RuntimeStatistics;
use usine_model::policy::MAX_AUTOMATIC_RETRIES;
use usine_protocol::artifact::Artifact;
use usine_protocol::own::WorkRequestDetails;
use usine_protocol::work_request::WorkRequest;

use crate::output::{Format, Ui, human_time, or_empty};

/// The keys of a work request that Debian's client does not have, and therefore does not print.
const NOT_SHOWN: [&str; 5] = ["created_by", "completed_by", "aborted_by", "workflow_data", "event_reactions"];

/// A work request in the keys and the order of Debian's client.
pub fn mapping(work_request: &WorkRequest) -> serde_json::Result<Value> {
    let mut mapping = serde_json::to_value(work_request)?;
    if let Value::Object(map) = &mut mapping {
        NOT_SHOWN.iter().for_each(|key| {
            // Keeps the order of the other keys.
            map.shift_remove(*key);
        });
        // A key for workers only; nobody else is shown one.
        map.insert("token".to_owned(), Value::Null);
    }
    Ok(mapping)
}

/// What a person wants to know at once.
pub fn rows(client: &Client, work_request: &WorkRequest) -> Vec<(&'static str, String)> {
    let url = client.api_url().join(&work_request.url).map_or_else(|_| work_request.url.clone(), String::from);
    let mut rows = vec![
        ("ID", format!("#{} {url}", work_request.id)),
        ("Task", format!("{} {}", work_request.task_type, work_request.task_name)),
        ("Workspace", format!("{}/{}", work_request.scope, work_request.workspace)),
        ("Created at", human_time(&work_request.created_at)),
    ];
    rows.extend(work_request.started_at.map(|at| ("Started at", human_time(&at))));
    rows.extend(work_request.completed_at.map(|at| ("Completed at", human_time(&at))));
    rows.extend(work_request.duration.map(|seconds| ("Duration", format!("{seconds:.2}"))));
    rows.push(("Status", status(work_request)));
    rows.extend(work_request.worker.map(|worker| ("Worker", worker.to_string())));
    let priority = work_request.priority_base.saturating_add(work_request.priority_adjustment);
    if priority != 0 {
        rows.push(("Priority", priority.to_string()));
    }
    let retries = retry_count(work_request);
    if retries > 0 {
        rows.push(("Automatic retries", format!("{retries} of {MAX_AUTOMATIC_RETRIES}")));
    }
    rows.push(("Task data", format!("{:#}", work_request.task_data)));
    rows
}

/// How often it was retried automatically.
pub fn retry_count(work_request: &WorkRequest) -> i64 {
    work_request.workflow_data["retry_count"].as_i64().unwrap_or(0)
}

/// Status and, if there is one, result.
pub fn status(work_request: &WorkRequest) -> String {
    format!("{} {}", work_request.status, work_request.result).trim_end().to_owned()
}

/// A work request with what belongs to it.
pub struct Shown {
    /// The work request.
    pub work_request: WorkRequest,
    /// The artifacts that it has made.
    pub artifacts: Vec<Artifact>,
}

impl Shown {
    /// Asks the server for all of it.
    pub async fn fetch(client: &Client, id: i64) -> Result<Self, usine_client::Error> {
        let work_request = client.work_request(id).await?;
        let mut artifacts = Vec::with_capacity(work_request.artifacts.len());
        for artifact in &work_request.artifacts {
            artifacts.push(client.artifact(*artifact).await?);
        }
        Ok(Self { work_request, artifacts })
    }

    /// The mapping of Debian's client.
    pub fn mapping(&self) -> serde_json::Result<Value> {
        let mut mapping = mapping(&self.work_request)?;
        mapping["artifacts"] = json!(self.artifacts);
        Ok(mapping)
    }

    /// For people: with reasons, attempts, errors and history, if the server tells them.
    pub fn print(&self, client: &Client, ui: Ui, details: Option<&WorkRequestDetails>) -> std::io::Result<()> {
        let mut rows = rows(client, &self.work_request);
        rows.extend(details.into_iter().flat_map(detail_rows));
        if let Some(dynamic) = self.work_request.dynamic_task_data.as_ref().filter(|dynamic| !dynamic.is_null()) {
            rows.push(("Dynamic task data", format!("{dynamic:#}")));
        }
        if !self.artifacts.is_empty() {
            rows.push(("Artifacts", self.artifacts.iter().map(artifact_line).collect::<Vec<_>>().join("\n")));
        }
        ui.details(&rows)
    }
}

/// Shows one with its artifacts and, if the server is one of ours, reasons, attempts, errors and history.
pub async fn show(client: &Client, ui: Ui, id: i64) -> anyhow::Result<()> {
    let shown = Shown::fetch(client, id).await?;
    let details = details(client, id).await?;
    if ui.format == Format::Human {
        return Ok(shown.print(client, ui, details.as_ref())?);
    }
    let mut mapping = shown.mapping()?;
    if let Some(details) = details {
        mapping["details"] = json!(details);
    }
    Ok(ui.data(&mapping)?)
}

/// What only our own server tells; `None` from any other.
pub async fn details(client: &Client, id: i64) -> Result<Option<WorkRequestDetails>, usine_client::Error> {
    match client.work_request_details(id).await {
        Ok(details) => Ok(Some(details)),
        Err(error) if error.is_refusal() || error.status() == Some(405) => Ok(None),
        Err(error) => Err(error),
    }
}

fn artifact_line(artifact: &Artifact) -> String {
    let bytes: u64 = artifact.files.values().map(|file| file.size).sum();
    let files = artifact.files.len();
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    format!("#{} {} ({files}, {})", artifact.id, artifact.category, indicatif::HumanBytes(bytes))
}

fn detail_rows(details: &WorkRequestDetails) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(reason) = &details.pending_reason {
        let mut text = reason.summary.clone();
        for worker in &reason.workers {
            text.push_str(&format!("\n{}: {}", worker.worker, verdict(&worker.verdict)));
        }
        rows.push(("Waits because", text));
    }
    rows.extend(details.deadlines.total.map(|seconds| ("Deadline", format!("{seconds} s"))));
    rows.extend(details.deadlines.silence.map(|seconds| ("Deadline of silence", format!("{seconds} s"))));
    let bytes = |bytes: u64| indicatif::BinaryBytes(bytes).to_string();
    rows.extend(details.limits.memory.map(|limit| ("Memory limit", bytes(limit))));
    rows.extend(details.limits.disk.map(|limit| ("Disk limit", bytes(limit))));
    rows.extend(details.supersedes.map(|id| ("Replaces", format!("#{id}"))));
    rows.extend(details.superseded_by.map(|id| ("Replaced by", format!("#{id}"))));
    let errors = details.output_data.errors.iter().flatten();
    let errors: Vec<String> = errors.map(|error| format!("{} ({})", error.message, error.code)).collect();
    if !errors.is_empty() {
        rows.push(("Errors", errors.join("\n")));
    }
    rows.extend(details.output_data.runtime_statistics.as_ref().and_then(used).map(|used| ("Used", used)));
    rows.extend(details.output_data.skip_reason.clone().map(|reason| ("Skipped because", reason)));
    if !details.attempts.is_empty() {
        let attempts = details.attempts.iter().map(|attempt| {
            let end = match (&attempt.ended_at, &attempt.outcome) {
                (Some(at), outcome) => format!("ended {} {}", human_time(at), or_empty(outcome.as_ref())),
                (None, _) => "under way".to_owned(),
            };
            format!("{}. on {} from {}, {}", attempt.number, attempt.worker, human_time(&attempt.handed_out_at), end)
        });
        rows.push(("Attempts", attempts.collect::<Vec<_>>().join("\n")));
    }
    if !details.history.is_empty() {
        rows.push(("History", details.history.iter().map(history_line).collect::<Vec<_>>().join("\n")));
    }
    rows
}

/// What a run used, in a few words.
fn used(statistics: &RuntimeStatistics) -> Option<String> {
    let bytes = |bytes: i64, what: &str| format!("{} of {what}", indicatif::BinaryBytes(bytes.unsigned_abs()));
    let parts = [
        statistics.cpu_time.map(|seconds| format!("{seconds} s of CPU time")),
        statistics.memory.map(|memory| bytes(memory, "memory")),
        statistics.disk_space.map(|disk| bytes(disk, "disk space")),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    Some(text).filter(|text| !text.is_empty())
}

/// One event in one line.
pub fn history_line(entry: &usine_protocol::own::HistoryEntry) -> String {
    let mut line = format!("{}  {}", human_time(&entry.at), entry.event);
    if let Some(worker) = &entry.worker {
        line.push_str(&format!("  {worker}"));
    }
    if let Some(Value::Object(detail)) = &entry.detail {
        for (key, value) in detail {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line.push_str(&format!("  {key}: {value}"));
        }
    }
    line
}

fn verdict(verdict: &usine_model::matching::Verdict) -> String {
    use usine_model::matching::Verdict;
    match verdict {
        Verdict::DoesNotFit { misfits } => {
            format!("cannot run it: {}", misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
        Verdict::Disabled => "is disabled".to_owned(),
        Verdict::Disconnected => "is not connected".to_owned(),
        Verdict::StaleMetadata => "has not said lately what it can do".to_owned(),
        Verdict::Busy { work_requests } => {
            format!("is at work on {}", work_requests.iter().map(|id| format!("#{id}")).collect::<Vec<_>>().join(", "))
        }
        Verdict::Assigned => "is being told".to_owned(),
        Verdict::Free => "is free".to_owned(),
    }
}

/// Shows a list.
pub fn list(ui: Ui, work_requests: &[WorkRequest]) -> anyhow::Result<()> {
    if ui.format != Format::Human {
        let mappings: Vec<Value> = work_requests.iter().map(mapping).collect::<Result<_, _>>()?;
        return Ok(ui.data(&Value::Array(mappings))?);
    }
    let rows = work_requests.iter().map(|work_request| {
        let times = [
            ("Created", Some(work_request.created_at)),
            ("Started", work_request.started_at),
            ("Completed", work_request.completed_at),
        ];
        let progress = times.iter().filter_map(|(label, at)| Some(format!("{label}: {}", human_time(at.as_ref()?))));
        vec![
            format!("#{}", work_request.id),
            format!("{} {}", work_request.task_type, work_request.task_name),
            status(work_request),
            progress.collect::<Vec<_>>().join("\n"),
            or_empty(work_request.worker),
        ]
    });
    Ok(ui.table(&["ID", "Task", "Status", "Progress", "Worker"], rows.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work_request() -> WorkRequest {
        serde_json::from_value(json!({
            "links": {}, "id": 7, "url": "/debusine/System/work-request/7/", "created_at": "2026-11-23T20:38:39Z",
            "started_at": "2026-11-23T20:38:40Z", "completed_at": "2026-11-23T20:38:41Z", "duration": 1.0,
            "status": "completed", "result": "success", "worker": 4, "task_type": "Worker", "task_name": "noop",
            "task_data": {"result": true}, "dynamic_task_data": null, "priority_base": 0, "priority_adjustment": 5,
            "artifacts": [1], "scope": "debusine", "workspace": "System", "workflow_data": {}, "event_reactions": {},
        }))
        .unwrap()
    }

    #[test]
    fn programs_see_the_keys_of_debians_client_in_its_order() {
        let mapping = mapping(&work_request()).unwrap();
        let keys: Vec<&str> = mapping.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "links",
                "id",
                "url",
                "parent",
                "workflow_root",
                "created_at",
                "started_at",
                "completed_at",
                "duration",
                "status",
                "result",
                "worker",
                "task_type",
                "task_name",
                "task_data",
                "dynamic_task_data",
                "priority_base",
                "priority_adjustment",
                "artifacts",
                "scope",
                "workspace",
                "scheduler_tags_provided",
                "scheduler_tags_required",
                "token"
            ]
        );
    }

    #[test]
    fn people_see_what_matters() {
        let client = Client::new(usine_client::Options::new("http://localhost:8011/api/")).unwrap();
        insta::assert_snapshot!(format!("{:#?}", rows(&client, &work_request())));
    }
}
