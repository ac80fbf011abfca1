//! Messages on standard error: bare lines for people at a terminal, full lines for services.

use std::fs::File;
use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// What a command that ends soon says: the bare text of messages, without time and place.
///
/// `USINE_LOG` (as `RUST_LOG`, such as `usine_client=debug`) goes before the options.
pub fn for_command(silent: bool, debug: bool) {
    let (level, extra) = match (silent, debug) {
        (_, true) => (LevelFilter::INFO, ",usine_client=debug,reqwest=debug,hyper_util=debug"),
        (true, false) => (LevelFilter::WARN, ""),
        (false, false) => (LevelFilter::INFO, ""),
    };
    let filter =
        std::env::var("USINE_LOG").unwrap_or_else(|_| format!("{level},sqlx=warn,sea_orm_migration=warn{extra}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(debug);
    // An error means that there is a subscriber already.
    let _ = if debug { builder.try_init() } else { builder.event_format(plain::Plain).try_init() };
}

/// What a service says: time, level and place with each message; JSON if `USINE_LOG_FORMAT` is `json`. It goes to
/// standard error, or to the end of a file.
pub fn for_service(level: Level, file: Option<File>) {
    let default = format!("{},sqlx=warn,sea_orm_migration=warn", level.as_str().to_lowercase());
    let filter = std::env::var("USINE_LOG").unwrap_or(default);
    let has_colours = file.is_none() && std::io::stderr().is_terminal();
    let writer = match file {
        Some(file) => BoxMakeWriter::new(file),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter));
    let builder = builder.with_writer(writer).with_ansi(has_colours);
    let json = std::env::var("USINE_LOG_FORMAT").is_ok_and(|format| format == "json");
    // An error means that there is a subscriber already.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

/// How much `--silent` and `--debug` ask a service to say, if they are given.
pub fn level_of(silent: bool, debug: bool) -> Option<Level> {
    match (silent, debug) {
        (_, true) => Some(Level::DEBUG),
        (true, false) => Some(Level::WARN),
        (false, false) => None,
    }
}

mod plain {
    use std::fmt;

    use tracing::{Event, Level, Subscriber};
    use tracing_subscriber::fmt::format::Writer;
    use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
    use tracing_subscriber::registry::LookupSpan;

    /// The text alone; warnings and errors say what they are.
    pub struct Plain;

    impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N> for Plain {
        fn format_event(
            &self,
            context: &FmtContext<'_, S, N>,
            mut writer: Writer<'_>,
            event: &Event<'_>,
        ) -> fmt::Result {
            match *event.metadata().level() {
                Level::ERROR => writer.write_str("error: ")?,
                Level::WARN => writer.write_str("warning: ")?,
                _ => {}
            }
            context.field_format().format_fields(writer.by_ref(), event)?;
            writeln!(writer)
        }
    }
}
