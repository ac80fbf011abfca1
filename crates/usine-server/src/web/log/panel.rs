//! The log on the page of its work request: its last lines, or those around one. A script takes it over where there is one.

use askama::Template;
use usine_db::WorkRequest;
use usine_model::work_request::Statuses;
use usine_protocol::channel::LogStream;

use super::is_over;
use super::read::{self, Line};
use super::source::LogSource;
use crate::problem::{ApiError, ApiResult};
use crate::state::AppState;

/// Lines at the end of the log that are shown first.
const LAST: u64 = 200;

/// Lines that are shown around one.
const AROUND: u64 = 500;

/// Characters of text on the page; lines far from the wanted one are left out beyond that.
const CHARACTERS: usize = 50_000;

/// Characters of one line.
const LONGEST: usize = 2000;

#[derive(Template)]
#[template(path = "log/panel.html")]
struct Panel<'a> {
    address: &'a str,
    total: u64,
    running: bool,
    truncated: bool,
    lines: Vec<Line>,
    target: Option<u64>,
    earlier: Option<u64>,
    later: Option<u64>,
}

impl Panel<'_> {
    fn first(&self) -> u64 {
        self.lines.first().map_or(0, |line| line.n)
    }

    fn last(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.n)
    }

    fn class(&self, line: &Line) -> &'static str {
        match (self.target == Some(line.n), line.stream) {
            (false, LogStream::Stdout) => "log-line",
            (false, LogStream::Stderr) => "log-line stderr",
            (false, LogStream::Internal) => "log-line internal",
            (true, LogStream::Stdout) => "log-line selected",
            (true, LogStream::Stderr) => "log-line stderr selected",
            (true, LogStream::Internal) => "log-line internal selected",
        }
    }

    fn is_stderr(&self, line: &Line) -> bool {
        line.stream == LogStream::Stderr
    }

    fn is_internal(&self, line: &Line) -> bool {
        line.stream == LogStream::Internal
    }
}

/// The part of the page of a work request that shows its log; `None` if there is none and none is being written. `address` is that of the
/// page; `around` the line that is asked for with `?log=LINE`.
///
/// # Errors
/// When the log cannot be read.
pub async fn panel(
    state: &AppState,
    row: &WorkRequest,
    address: &str,
    around: Option<u64>,
) -> ApiResult<Option<String>> {
    let source = LogSource::of(state, row).await?;
    if source.is_none() && *row.status != Statuses::Running {
        return Ok(None);
    }
    let mut panel = Panel {
        address,
        total: 0,
        running: !is_over(row),
        truncated: source.as_ref().is_some_and(LogSource::is_truncated),
        lines: Vec::new(),
        target: around,
        earlier: None,
        later: None,
    };
    if let Some(source) = source {
        let _turn = state.log_pages.reader().await?;
        let (extent, _) = state.log_pages.locate(&source, 1).await?;
        let (from, count) = match around {
            Some(line) => (line.min(extent.total).saturating_sub(AROUND / 2).max(1), AROUND),
            None => ((extent.total + 1).saturating_sub(LAST).max(1), LAST),
        };
        let (extent, mut lines) = read::lines(&state.log_pages, &source, from, count).await?;
        lines.iter_mut().for_each(shorten);
        panel.total = extent.total;
        panel.lines = trim(lines, around.unwrap_or(u64::MAX));
        panel.earlier = (panel.first() > 1).then(|| panel.first().saturating_sub(AROUND / 2).max(1));
        panel.later = (panel.last() < panel.total).then(|| (panel.last() + AROUND / 2).min(panel.total));
    }
    panel.render().map(Some).map_err(|error| ApiError::Internal(Box::new(error)))
}

fn shorten(line: &mut Line) {
    if let Some((end, _)) = line.text.char_indices().nth(LONGEST) {
        line.text.truncate(end);
        line.text.push_str(super::text::MARK);
    }
}

/// Leaves those lines out that are farthest from the wanted one, until the rest is short enough.
fn trim(lines: Vec<Line>, wanted: u64) -> Vec<Line> {
    let mut size: usize = lines.iter().map(|line| line.text.len()).sum();
    let mut lines = std::collections::VecDeque::from(lines);
    while size > CHARACTERS
        && lines.len() > 1
        && let (Some(first), Some(last)) = (lines.front(), lines.back())
    {
        let farthest =
            if first.n.abs_diff(wanted) >= last.n.abs_diff(wanted) { lines.pop_front() } else { lines.pop_back() };
        size -= farthest.map_or(0, |line| line.text.len());
    }
    lines.into()
}
