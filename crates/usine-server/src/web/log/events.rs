//! News of a log, as server-sent events: how many lines there are, and that nothing more comes. The browser asks for the lines
//! that it shows.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use usine_db::entity::event;
use usine_db::{WorkRequest, WorkRequestManager};

use super::source::LogSource;
use super::{Address, find, is_over};
use crate::live_log::Watch;
use crate::overload::CountedApart;
use crate::problem::{ApiError, ApiResult};
use crate::state::AppState;

/// The least time between two events.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks this often whether the work request still runs when nothing is heard of it.
const LOOK: Duration = Duration::from_secs(5);

/// A stream ends after this, and the browser asks again: whoever has logged out meanwhile hears no more.
const LIFE: Duration = Duration::from_secs(15 * 60);

pub(super) async fn events(
    State(state): State<AppState>,
    Path(address): Path<Address>,
    parts: Parts,
) -> ApiResult<Response> {
    let row = find(&state, &address, &parts).await?;
    let Some(turn) = state.log_pages.stream() else {
        let full = ApiError::unavailable("Too many logs are followed at once");
        return Ok(([(header::RETRY_AFTER, "10")], full).into_response());
    };
    let news = News::begin(state, row, turn).await?;
    let stream = stream::unfold(news, |mut news| async move {
        match news.next().await {
            Ok(event) => event.map(|event| (Ok::<_, Infallible>(event), news)),
            Err(error) => {
                tracing::error!(?error, "a follower of a log is left alone");
                None
            }
        }
    });
    // Proxies must not collect events.
    let headers = [("x-accel-buffering", "no")];
    let events = Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)));
    Ok((Extension(CountedApart), headers, events).into_response())
}

/// What one follower has heard and may hear.
struct News {
    state: AppState,
    row: WorkRequest,
    /// `None` if nothing more is written.
    watch: Option<Watch>,
    events: broadcast::Receiver<event::Model>,
    look: Interval,
    /// There may be something to tell.
    changed: bool,
    /// All was told.
    ended: bool,
    /// Lines, whether the last one is open, and bytes, as told last.
    told: Option<(u64, bool, u64)>,
    not_before: Instant,
    until: Instant,
    _turn: OwnedSemaphorePermit,
}

impl News {
    async fn begin(state: AppState, row: WorkRequest, turn: OwnedSemaphorePermit) -> ApiResult<Self> {
        // Listens before it looks.
        let events = state.database.events();
        let watch = watch(&state, &row).await?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Ok(Self {
            state,
            row,
            watch,
            events,
            look,
            changed: true,
            ended: false,
            told: None,
            not_before: now,
            until: now + LIFE,
            _turn: turn,
        })
    }

    /// The next event; `None` when there will be none.
    async fn next(&mut self) -> ApiResult<Option<Event>> {
        let shutdown = self.state.shutdown.clone();
        while !self.ended {
            if self.changed {
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(None),
                    () = sleep_until(self.not_before) => {}
                }
                if let Some(event) = self.tell().await? {
                    return Ok(Some(event));
                }
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                () = sleep_until(self.until) => return Ok(None),
                () = grown(&mut self.watch) => self.changed = true,
                event = self.events.recv() => match event {
                    Ok(event) if event.work_request_id != Some(self.row.id) => {}
                    // What was missed may have been just that.
                    _ => self.look().await?,
                },
                _ = self.look.tick() => self.look().await?,
            }
        }
        Ok(None)
    }

    /// What has changed since the last time, if anything has. The end comes after all that was written.
    async fn tell(&mut self) -> ApiResult<Option<Event>> {
        let over = is_over(&self.row);
        let (mut now, mut exit_code) = ((0, false, 0), None);
        if let Some(source) = LogSource::of(&self.state, &self.row).await? {
            let (extent, _) = self.state.log_pages.locate(&source, 1).await?;
            (now, exit_code) = ((extent.total, extent.open && !over, extent.end), extent.exit_code);
        }
        if self.told != Some(now) {
            self.told = Some(now);
            self.changed = over;
            self.not_before = Instant::now() + PAUSE;
            return Ok(Some(told("lines", &json!({"total": now.0, "open": now.1}))));
        }
        self.changed = false;
        self.ended = over;
        Ok(over.then(|| told("end", &json!({"exit_code": exit_code}))))
    }

    /// Looks where the work request stands. Its log may be a new one: it is closed when its worker loses it.
    async fn look(&mut self) -> ApiResult<()> {
        match WorkRequestManager(&self.state.database).get_or_none(self.row.id).await? {
            Some(row) => {
                if is_over(&row) && !is_over(&self.row) {
                    self.state.live_logs.settled(row.id).await;
                }
                self.row = row;
            }
            // Deleted.
            None => self.ended = true,
        }
        self.watch = watch(&self.state, &self.row).await?;
        self.changed = true;
        Ok(())
    }
}

async fn watch(state: &AppState, row: &WorkRequest) -> ApiResult<Option<Watch>> {
    Ok(if is_over(row) { None } else { Some(state.live_logs.watch(row.id).await?) })
}

async fn grown(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

fn told(name: &str, data: &serde_json::Value) -> Event {
    Event::default().event(name).data(data.to_string())
}
