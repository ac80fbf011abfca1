//! `usine work-request wait` and `watch`: until a work request ends. A notification is a hint, the answer is read from
//! the server; a slow poll covers notifications that are lost, and servers without them.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use usine_client::channel::{Channel, Received};
use usine_client::{Client, Error};
use usine_model::event::EventKind;
use usine_model::work_request::{Results, Statuses};
use usine_protocol::channel::{Notice, ServerMessage};
use usine_protocol::own::WorkRequestDetails;
use usine_protocol::work_request::WorkRequest;

use super::view;
use crate::exit::Code;
use crate::output::{Format, Ui};

/// How often to look without being told.
const POLL: Duration = Duration::from_secs(2);

/// How often to look while the server tells of completions; of aborts it does not tell.
const SLOW_POLL: Duration = Duration::from_secs(5);

/// How often to look for what happens on the way to the end.
const WATCH: Duration = Duration::from_secs(1);

/// Waits for the end; the exit code tells it.
pub async fn wait(client: &Client, id: i64, timeout: Option<Duration>) -> anyhow::Result<Code> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut waiter = Waiter::new(client, id).await?;
    let work_request = loop {
        let work_request = match deadline {
            // A server that is away is waited for, but not for longer than was asked.
            Some(deadline) if waiter.seen => match timeout_at(deadline, waiter.look()).await {
                Ok(looked) => looked?,
                Err(_) => {
                    eprintln!("work request {}: no answer from the server when time ran out", waiter.id);
                    return Ok(Code::NotEnded);
                }
            },
            _ => waiter.look().await?,
        };
        if work_request.status.is_terminal() {
            break work_request;
        }
        if !waiter.until_news(deadline).await {
            eprintln!("work request {}: {} when time ran out", waiter.id, view::status(&work_request));
            return Ok(Code::NotEnded);
        }
    };
    eprintln!("work request {}: {}", work_request.id, view::status(&work_request));
    Ok(Code::of_work_request(work_request.status, work_request.result))
}

/// Looks at one work request, or at the one that replaces it.
pub struct Waiter<'a> {
    client: &'a Client,
    /// The work request that counts now.
    pub id: i64,
    channel: Option<Channel<ServerMessage>>,
    seen: bool,
}

impl<'a> Waiter<'a> {
    /// Listens first, so that no end is missed between looking and listening.
    pub async fn new(client: &'a Client, id: i64) -> anyhow::Result<Self> {
        let channel = match client.on_completed(&[], None).await {
            Ok(channel) => Some(channel),
            Err(error) => {
                tracing::debug!(%error, "no notifications: polling");
                None
            }
        };
        Ok(Self { channel, ..Self::without_notices(client, id) })
    }

    /// Only looks.
    pub fn without_notices(client: &'a Client, id: i64) -> Self {
        Self { client, id, channel: None, seen: false }
    }

    /// Of a work request that the server has just told of: it is waited for from the beginning.
    pub fn known(self) -> Self {
        Self { seen: true, ..self }
    }

    /// Waits for the end, however long that takes.
    pub async fn end(&mut self) -> anyhow::Result<WorkRequest> {
        loop {
            let work_request = self.look().await?;
            if work_request.status.is_terminal() {
                eprintln!("work request {}: {}", self.id, view::status(&work_request));
                return Ok(work_request);
            }
            self.until_news(None).await;
        }
    }

    /// The work request as it is. Once it has been seen, a server that is away is waited for.
    pub async fn look(&mut self) -> anyhow::Result<WorkRequest> {
        loop {
            match self.look_once().await {
                Ok((work_request, None)) => return Ok(work_request),
                Ok((work_request, Some(heir))) => {
                    eprintln!("work request {}: {}, replaced by {heir}", self.id, view::status(&work_request));
                    self.id = heir;
                }
                Err(error) if self.seen && error.is_transient() => {
                    tracing::warn!("{error}; trying again");
                    self.channel = None;
                    sleep(POLL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The work request, and the one by which the server itself has replaced it: that one does the work. What a person
    /// aborted or retried stays as it ended.
    async fn look_once(&mut self) -> Result<(WorkRequest, Option<i64>), Error> {
        let work_request = self.client.work_request(self.id).await?;
        self.seen = true;
        let lost = work_request.status == Statuses::Aborted && work_request.aborted_by.is_none();
        if !lost && work_request.result != Results::TemporaryFailure {
            return Ok((work_request, None));
        }
        let details = view::details(self.client, self.id).await?;
        let heir = details.and_then(|details| if lost { details.superseded_by } else { automatic_heir(&details) });
        Ok((work_request, heir))
    }

    /// Until it may be worth looking again; `false` when the time is over.
    async fn until_news(&mut self, deadline: Option<Instant>) -> bool {
        let over = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let poll = if self.channel.is_some() { SLOW_POLL } else { POLL };
        tokio::select! {
            () = over => false,
            () = sleep(poll) => true,
            () = told(&mut self.channel, self.id) => true,
        }
    }
}

/// The one that takes the place of one that failed temporarily, if the server made it, not a person.
fn automatic_heir(details: &WorkRequestDetails) -> Option<i64> {
    let heir = details.superseded_by?;
    let retried =
        |detail: &serde_json::Value| detail["reason"] == "temporary-failure" && detail["superseded_by"] == heir;
    let mut history = details.history.iter().filter(|entry| entry.event == EventKind::Retried);
    history.any(|entry| entry.detail.as_ref().is_some_and(retried)).then_some(heir)
}

/// Until the server says that `id` has ended. Gives the channel up when it breaks.
async fn told(channel: &mut Option<Channel<ServerMessage>>, id: i64) {
    while let Some(open) = channel {
        match open.receive().await {
            Ok(Received::Message(ServerMessage::Notice(Notice::WorkRequestCompleted { work_request_id, .. })))
                if work_request_id == id =>
            {
                return;
            }
            Ok(Received::Message(ServerMessage::Notice(_)) | Received::Unknown(_)) => {}
            Ok(Received::Closed | Received::Message(_)) | Err(_) => *channel = None,
        }
    }
    std::future::pending().await
}

/// Prints what happens until the end; the exit code tells it.
pub async fn watch(client: &Client, ui: Ui, id: i64) -> anyhow::Result<Code> {
    let mut waiter = Waiter::without_notices(client, id);
    let mut printed = Printed::default();
    loop {
        let work_request = waiter.look().await?;
        let details = match view::details(client, waiter.id).await {
            Ok(details) => details,
            Err(error) if error.is_transient() => None,
            Err(error) => return Err(error.into()),
        };
        for line in printed.news(&work_request, details.as_ref()) {
            ui.line(&line)?;
        }
        if work_request.status.is_terminal() {
            if ui.format != Format::Human {
                ui.data(&view::mapping(&work_request)?)?;
            }
            return Ok(Code::of_work_request(work_request.status, work_request.result));
        }
        sleep(WATCH).await;
    }
}

/// What has been printed already.
#[derive(Default)]
struct Printed {
    event: i64,
    reason: String,
    status: String,
}

impl Printed {
    fn news(&mut self, work_request: &WorkRequest, details: Option<&WorkRequestDetails>) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(details) = details {
            for entry in details.history.iter().filter(|entry| entry.id > self.event) {
                lines.push(view::history_line(entry));
            }
            self.event = details.history.iter().map(|entry| entry.id).max().unwrap_or(0).max(self.event);
            let reason = details.pending_reason.as_ref().map(|reason| reason.summary.clone()).unwrap_or_default();
            if reason != self.reason {
                if !reason.is_empty() {
                    lines.push(format!("waits because {reason}"));
                }
                self.reason = reason;
            }
        }
        let status = view::status(work_request);
        if status != self.status {
            lines.push(format!("work request {}: {status}", work_request.id));
            self.status = status;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn details(superseded_by: Option<i64>, history: &serde_json::Value) -> WorkRequestDetails {
        serde_json::from_value(json!({
            "id": 7, "worker_name": null, "output_data": {}, "deadlines": {}, "supersedes": null,
            "superseded_by": superseded_by, "attempts": [], "history": history,
            "pending_reason": {"summary": "no worker is registered", "ahead": 0, "workers": []},
        }))
        .unwrap()
    }

    #[test]
    fn only_the_history_proves_that_the_server_tries_again() {
        let heir = |superseded_by, detail: serde_json::Value| {
            let history = json!([
                {"id": 3, "at": "2026-11-23T20:38:39Z", "event": "completed", "worker": null, "detail": null},
                {"id": 4, "at": "2026-11-23T20:38:39Z", "event": "retried", "worker": null, "detail": detail},
            ]);
            automatic_heir(&details(superseded_by, &history))
        };
        let automatic = json!({"superseded_by": 8, "reason": "temporary-failure", "retry_count": 1});
        assert_eq!(heir(Some(8), automatic.clone()), Some(8));
        assert_eq!(heir(Some(8), json!({"superseded_by": 8})), None, "a person");
        assert_eq!(heir(Some(9), automatic.clone()), None, "another one");
        assert_eq!(heir(None, automatic), None);
    }

    #[test]
    fn everything_is_printed_once() {
        let work_request = |status: &str| -> WorkRequest {
            serde_json::from_value(json!({
                "id": 7, "created_at": "2026-11-23T20:38:39Z", "status": status, "result": "", "task_type": "Worker",
                "task_name": "noop", "task_data": {}, "priority_base": 0, "priority_adjustment": 0, "artifacts": [],
                "workspace": "System",
            }))
            .unwrap()
        };
        let history =
            json!([{"id": 3, "at": "2026-11-23T20:38:39Z", "event": "created", "worker": null, "detail": null}]);
        let details = details(None, &history);
        let mut printed = Printed::default();
        assert_eq!(
            printed.news(&work_request("pending"), Some(&details)),
            ["2026-11-23 20:38:39  created", "waits because no worker is registered", "work request 7: pending"]
        );
        assert!(printed.news(&work_request("pending"), Some(&details)).is_empty());
        assert_eq!(printed.news(&work_request("running"), None), ["work request 7: running"]);
    }
}
