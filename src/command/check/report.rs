//! The table of verdicts: for people, and as data.

use serde_json::{Value, json};
use strum::Display;
use usine_client::Client;
use usine_model::work_request::{Results, Statuses};
use usine_protocol::artifact::Artifact;
use usine_protocol::work_request::WorkRequest;

use super::Check;
use super::plan::Ground;
use crate::exit::Code;
use crate::output::{Format, Ui};

/// What a check says of the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
#[strum(serialize_all = "lowercase")]
pub enum Verdict {
    /// No fault.
    Passed,
    /// A fault.
    Failed,
    /// Nothing: it could not be run, or not to its end.
    Broken,
    /// Nothing: there was nothing to do.
    Skipped,
}

impl Verdict {
    /// What the end of a work request says. Only one that came to its end says something of the package: it has left a
    /// report, and no error. A worker calls it a failure, too, when a stage breaks off or a limit is passed.
    pub fn of(status: Statuses, result: Results, came_to_its_end: bool) -> Self {
        match (status, result) {
            (Statuses::Completed, Results::Success) => Self::Passed,
            (Statuses::Completed, Results::Skipped) => Self::Skipped,
            (Statuses::Completed, Results::Failure) if came_to_its_end => Self::Failed,
            _ => Self::Broken,
        }
    }
}

/// One check.
#[derive(Debug)]
pub struct Row {
    pub check: Check,
    pub verdict: Verdict,
    /// In a few words.
    pub found: String,
    /// None if it was not submitted.
    pub work_request: Option<WorkRequest>,
    /// The artifacts that say more.
    pub reports: Vec<Artifact>,
}

impl Row {
    /// Of a check that was not submitted, because there is nothing to do.
    pub fn skipped(check: Check, reason: &str) -> Self {
        let found = format!("skipped: {reason}");
        Self { check, verdict: Verdict::Skipped, found, work_request: None, reports: Vec::new() }
    }

    /// Of a check that the server does not take, or whose end or report could not be read.
    pub fn broken(check: Check, found: String, work_request: Option<WorkRequest>) -> Self {
        Self { check, verdict: Verdict::Broken, found, work_request, reports: Vec::new() }
    }

    fn code(&self) -> Code {
        let ended = self.work_request.as_ref().map(|ended| Code::of_work_request(ended.status, ended.result));
        match (self.verdict, ended) {
            (Verdict::Passed | Verdict::Skipped, _) => Code::Success,
            (Verdict::Failed, _) => Code::EndedFailure,
            (Verdict::Broken, Some(code @ (Code::EndedTemporaryFailure | Code::EndedAborted))) => code,
            (Verdict::Broken, _) => Code::EndedError,
        }
    }

    /// The result, or why there is none.
    fn result(&self) -> String {
        match &self.work_request {
            Some(ended) if ended.result != Results::None => ended.result.to_string(),
            Some(ended) if ended.status.is_terminal() => ended.status.to_string(),
            // Lost on the way: how it stood at last says nothing.
            _ => String::new(),
        }
    }
}

/// All checks of a source package.
#[derive(Debug)]
pub struct Report {
    /// The source package.
    pub source: Artifact,
    pub ground: Ground,
    pub rows: Vec<Row>,
}

impl Report {
    /// How to exit: a fault of the package counts more than a check without a verdict.
    pub fn code(&self) -> Code {
        let codes: Vec<Code> = self.rows.iter().map(Row::code).collect();
        if codes.contains(&Code::EndedFailure) {
            return Code::EndedFailure;
        }
        codes.into_iter().find(|code| *code != Code::Success).unwrap_or(Code::Success)
    }

    fn verdict(&self) -> Verdict {
        match self.code() {
            Code::Success => Verdict::Passed,
            Code::EndedFailure => Verdict::Failed,
            _ => Verdict::Broken,
        }
    }

    /// Prints it.
    pub fn print(&self, ui: Ui, client: &Client) -> anyhow::Result<()> {
        if ui.format != Format::Human {
            return Ok(ui.data(&self.data(client))?);
        }
        let text = |key| self.source.data.get(key).and_then(Value::as_str).unwrap_or_default();
        let (name, version, architecture) = (text("name"), text("version"), &self.ground.architecture);
        ui.feedback(&format!("{name} {version} ({architecture}): {}", self.verdict()))?;
        let headings = ["Check", "Verdict", "Result", "Duration", "Found", "Work request and report"];
        Ok(ui.table(&headings, self.rows.iter().map(|row| cells(row, client)).collect())?)
    }

    fn data(&self, client: &Client) -> Value {
        let checks: Vec<Value> = self.rows.iter().map(|row| data(row, client)).collect();
        json!({
            "source_artifact": self.source.id,
            "name": self.source.data.get("name"),
            "version": self.source.data.get("version"),
            "architecture": self.ground.architecture,
            "environments": self.ground.environments,
            "verdict": self.verdict().to_string(),
            "checks": checks,
        })
    }
}

fn cells(row: &Row, client: &Client) -> Vec<String> {
    let ended = row.work_request.as_ref();
    let mut links: Vec<String> = ended.iter().map(|ended| link(client, &ended.url)).collect();
    links.extend(row.reports.iter().map(|report| link(client, &report.url)));
    vec![
        row.check.to_string(),
        row.verdict.to_string(),
        row.result(),
        ended.and_then(|ended| ended.duration).map(duration).unwrap_or_default(),
        row.found.clone(),
        links.join("\n"),
    ]
}

fn data(row: &Row, client: &Client) -> Value {
    let ended = row.work_request.as_ref();
    let reports: Vec<Value> = row
        .reports
        .iter()
        .map(|report| json!({"artifact_id": report.id, "category": report.category, "url": link(client, &report.url)}))
        .collect();
    json!({
        "check": row.check.to_string(),
        "task_name": row.check.task_name(),
        "verdict": row.verdict.to_string(),
        "result": row.result(),
        "duration": ended.and_then(|ended| ended.duration),
        "found": row.found,
        "work_request_id": ended.map(|ended| ended.id),
        "url": ended.map(|ended| link(client, &ended.url)),
        "reports": reports,
    })
}

/// The whole address of a page.
fn link(client: &Client, path: &str) -> String {
    client.api_url().join(path).map_or_else(|_| path.to_owned(), String::from)
}

fn duration(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

#[cfg(test)]
mod tests {
    use super::super::environments::Environments;
    use super::*;

    fn row(check: Check, status: &str, result: &str) -> Row {
        let ended: WorkRequest = serde_json::from_value(json!({
            "id": 7, "url": "/debusine/System/work-request/7/", "created_at": "2026-11-23T20:38:39Z", "duration": 12.345,
            "status": status, "result": result, "task_type": "Worker", "task_name": check.task_name(), "task_data": {},
            "priority_base": 0, "priority_adjustment": 0, "artifacts": [8], "workspace": "System",
        }))
        .unwrap();
        let report: Artifact = serde_json::from_value(json!({
            "id": 8, "url": "/debusine/System/artifact/8/", "workspace": "System", "category": check.report_category(),
            "created_at": "2026-11-23T20:38:39Z", "data": {}, "download_tar_gz_url": "", "files_to_upload": [],
            "files": {},
        }))
        .unwrap();
        Row {
            check,
            verdict: Verdict::of(ended.status, ended.result, true),
            found: "2 PASS".to_owned(),
            work_request: Some(ended),
            reports: vec![report],
        }
    }

    fn report(rows: Vec<Row>) -> Report {
        let source = serde_json::from_value(json!({
            "id": 3, "workspace": "System", "category": "debian:source-package", "created_at": "2026-11-23T20:38:39Z",
            "data": {"name": "hello", "version": "2.10-5"}, "download_tar_gz_url": "", "files_to_upload": [], "files": {},
        }));
        let ground = Ground {
            source: 3,
            architecture: "amd64".to_owned(),
            environments: Environments { environment: 1, piuparts_environment: 2, base_tgz: 1 },
            fail_on_severity: None,
        };
        Report { source: source.unwrap(), ground, rows }
    }

    #[test]
    fn a_fault_counts_more_than_a_broken_check() {
        let passed = || row(Check::Build, "completed", "success");
        let code = |rows| report(rows).code();
        assert_eq!(code(vec![passed(), Row::skipped(Check::Debdiff, "nothing to compare with")]), Code::Success);
        assert_eq!(code(vec![passed(), row(Check::Autopkgtest, "completed", "skipped")]), Code::Success);
        let broken = || row(Check::Piuparts, "completed", "temporary failure");
        assert_eq!(code(vec![passed(), broken()]), Code::EndedTemporaryFailure);
        assert_eq!(code(vec![passed(), row(Check::Blhc, "aborted", "")]), Code::EndedAborted);
        assert_eq!(code(vec![passed(), broken(), row(Check::Lintian, "completed", "failure")]), Code::EndedFailure);
        assert_eq!(code(vec![passed(), Row::broken(Check::Blhc, String::new(), None)]), Code::EndedError);
    }

    #[test]
    fn a_failure_without_a_report_is_no_fault() {
        let of = |result, came_to_its_end| Verdict::of(Statuses::Completed, result, came_to_its_end);
        assert_eq!((of(Results::Failure, true), of(Results::Failure, false)), (Verdict::Failed, Verdict::Broken));
        assert_eq!((of(Results::Success, false), of(Results::Skipped, false)), (Verdict::Passed, Verdict::Skipped));
        assert_eq!(of(Results::Error, true), Verdict::Broken);
        // Whatever the result says, a broken row is none of the package's faults.
        for result in ["failure", "success", "error"] {
            let ended = row(Check::Lintian, "completed", result).work_request;
            let broken = Row::broken(Check::Lintian, String::new(), ended);
            assert_eq!(report(vec![broken]).code(), Code::EndedError, "{result}");
        }
        let pending = Row::broken(Check::Lintian, String::new(), row(Check::Lintian, "pending", "").work_request);
        assert_eq!((pending.code(), pending.result().as_str()), (Code::EndedError, ""));
    }

    #[test]
    fn people_and_programs_get_the_same() {
        let client = Client::new(usine_client::Options::new("http://localhost:8011/api/")).unwrap();
        let report = report(vec![
            row(Check::Autopkgtest, "completed", "success"),
            row(Check::Lintian, "completed", "failure"),
            Row::skipped(Check::Debdiff, "nothing to compare with"),
        ]);
        let table: Vec<Vec<String>> = report.rows.iter().map(|row| cells(row, &client)).collect();
        insta::assert_snapshot!(format!("{table:#?}\n{:#}", report.data(&client)));
    }
}
