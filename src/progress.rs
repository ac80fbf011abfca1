//! Bars for long transfers on a terminal; in a pipe or a log only a line for each file.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One bar for each file under way, on standard error.
pub struct Progress {
    bars: MultiProgress,
    by_name: Mutex<HashMap<String, ProgressBar>>,
    verb: &'static str,
    visible: bool,
}

impl Progress {
    /// No bars yet. `verb`: what is done with the files, such as "Uploading".
    pub fn new(verb: &'static str) -> Self {
        let visible = std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), by_name: Mutex::default(), verb, visible }
    }

    /// `done` of `all` bytes of the file. The first call makes its bar, the last one removes it.
    pub fn update(&self, name: &str, done: u64, all: u64) {
        let mut bars = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(name.to_owned()).or_insert_with(|| self.begin(name, all));
        bar.set_position(done);
        if done >= all && !bar.is_finished() {
            bar.finish_and_clear();
            if self.visible {
                let _ = self.bars.println(format!("{} {name}: done", self.verb));
            }
        }
    }

    fn begin(&self, name: &str, all: u64) -> ProgressBar {
        if !self.visible {
            tracing::info!("{} {name} ({all} bytes)", self.verb);
        }
        let bar = self.bars.add(ProgressBar::new(all));
        let template = "{msg:30!} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_bar_until_it_is_done() {
        let progress = Progress::new("Uploading");
        progress.update("a", 0, 10);
        progress.update("a", 4, 10);
        progress.update("b", 1, 2);
        let bars = progress.by_name.lock().unwrap();
        assert_eq!((bars.len(), bars["a"].position()), (2, 4));
        drop(bars);
        progress.update("a", 10, 10);
        assert!(progress.by_name.lock().unwrap()["a"].is_finished());
    }
}
