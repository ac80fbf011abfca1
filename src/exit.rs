//! Exit codes, and how an error becomes a text and a code.

use std::io;
use std::process::ExitCode;

use serde_json::Value;
use usine_client::import::ImportError;
use usine_model::work_request::{Results, Statuses};
use usine_protocol::problem::Problem;

use crate::output::{Format, Ui};

/// What the program tells its caller. Part of the interface: numbers do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// All is well. `work-request wait`: the result is success or skipped.
    Success = 0,
    /// `admin check` and `doctor`: something is wrong, see the output.
    Findings = 1,
    /// The command line is wrong, or a file named on it cannot be opened.
    Usage = 2,
    /// The command failed, and the text says why.
    Failure = 3,
    /// `admin worker`: the worker has another type than the one asked for.
    WrongWorkerType = 4,
    /// `work-request wait`: the result is failure. `check`: a check has found a fault.
    EndedFailure = 10,
    /// `work-request wait`: the result is temporary failure.
    EndedTemporaryFailure = 11,
    /// `work-request wait`: the result is error.
    EndedError = 12,
    /// `work-request wait`: it was aborted.
    EndedAborted = 13,
    /// `work-request wait --timeout`: it has not ended yet. `check`: interrupted, the work requests go on.
    NotEnded = 14,
}

/// The codes in words, for `usine --help`.
pub const HELP: &str = "\
Exit status:
  0   success
  1   `admin check`, `doctor`: something is wrong, see the output
  2   wrong usage, or a file named on the command line cannot be opened
  3   the command failed; the text says why
  4   `admin worker`: the worker has another type
  10  `work-request wait`, `watch`: failure; `check`: a check has found a fault
  11  … temporary failure
  12  … error
  13  … aborted
  14  … not ended within --timeout; `check`: interrupted";

impl Code {
    /// What `work-request wait` says of a work request.
    pub fn of_work_request(status: Statuses, result: Results) -> Self {
        match (status, result) {
            (Statuses::Aborted, _) => Self::EndedAborted,
            (Statuses::Completed, Results::Success | Results::Skipped | Results::None) => Self::Success,
            (Statuses::Completed, Results::Failure) => Self::EndedFailure,
            (Statuses::Completed, Results::TemporaryFailure) => Self::EndedTemporaryFailure,
            (Statuses::Completed, Results::Error) => Self::EndedError,
            (Statuses::Blocked | Statuses::Pending | Statuses::Running, _) => Self::NotEnded,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// A failure with its own exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failed {
    /// What to print to standard error.
    pub message: String,
    /// How to exit.
    pub code: Code,
}

/// An error with the usual exit code, 3.
pub fn failure(message: impl Into<String>) -> anyhow::Error {
    Failed { message: message.into(), code: Code::Failure }.into()
}

/// An error of the command line, exit code 2.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Failed { message: message.into(), code: Code::Usage }.into()
}

/// What a server says to a token that it does not know, as if none had been sent.
const NOBODY: &str = "Authentication credentials were not provided.";

const NOBODY_HINT: &str = "The server does not take the configured token: it is unknown, disabled or expired. `usine doctor` tells which \
     configuration is used; `usine setup` gets another token, and so does an administrator with `usine admin token create USER`.";

/// Prints an error and says how to exit. What the server says goes to standard output, in the format asked for, as
/// Debian's client does; everything else to standard error.
pub fn report(error: &anyhow::Error, format: Format) -> Code {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough.
        return Code::Success;
    }
    if let Some((status, problem)) = problem_of(error) {
        // Nothing can be done if this cannot be printed either.
        let _ = print_problem(status, problem, format);
        hint(problem);
        return Code::Failure;
    }
    let code = error.downcast_ref::<Failed>().map_or(Code::Failure, |failed| failed.code);
    eprintln!("{}", text_of(error));
    code
}

/// Says on standard error what can be done about a problem, if there is more to say than the server does.
pub fn hint(problem: &Problem) {
    if problem.detail.as_ref().is_some_and(|detail| detail == NOBODY) {
        eprintln!("{NOBODY_HINT}");
    }
}

/// What the server says is wrong, with the HTTP status, if that is the error.
pub fn problem_of(error: &anyhow::Error) -> Option<(u16, &Problem)> {
    let error = match error.downcast_ref() {
        Some(ImportError::Client(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    match error {
        Some(usine_client::Error::Problem { status, problem, .. }) => Some((*status, problem)),
        _ => None,
    }
}

/// The error and its causes in one line, without what has been said already: many errors name their cause themselves.
pub fn text_of(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    if error.is::<usine_client::config::ConfigError>() {
        // Its texts are Debian's, to the letter.
        return text;
    }
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Prints what the server says.
pub fn print_problem(status: u16, problem: &Problem, format: Format) -> io::Result<()> {
    let ui = Ui::new(format);
    if format != Format::Human {
        return ui.data(&serde_json::json!({"result": "failure", "error": problem}));
    }
    match &problem.detail {
        // A title that says nothing need not be read.
        Some(Value::String(text)) if problem.title == "Error" => {
            ui.line(&format!("Error ({status}): {text}"))?;
            print_particulars(&Problem { detail: None, ..problem.clone() }, ui)
        }
        _ => {
            ui.line(&format!("Error ({status}): {}", problem.title))?;
            print_particulars(problem, ui)
        }
    }
}

/// Prints for people what follows the title.
pub fn print_particulars(problem: &Problem, ui: Ui) -> io::Result<()> {
    match &problem.detail {
        Some(Value::String(text)) => ui.line(text)?,
        Some(other) => ui.line(&pretty(other))?,
        None => {}
    }
    match &problem.validation_errors {
        Some(errors) => ui.line(&pretty(&Value::Object(errors.clone()))),
        None => Ok(()),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// Whether whoever reads our output has gone away.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_code() {
        use Results::*;
        let code = |result| Code::of_work_request(Statuses::Completed, result) as u8;
        assert_eq!([Success, Skipped, Failure, TemporaryFailure, Error].map(code), [0, 0, 10, 11, 12]);
        assert_eq!(Code::of_work_request(Statuses::Aborted, Results::None) as u8, 13);
        assert_eq!(Code::of_work_request(Statuses::Running, Results::None) as u8, 14);
    }

    #[test]
    fn the_help_names_every_code() {
        for code in [0, 1, 2, 3, 4, 10, 11, 12, 13, 14] {
            assert!(HELP.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "{code}");
        }
    }

    #[test]
    fn nothing_is_said_twice() {
        let error = anyhow::anyhow!("no such file").context("cannot read a: no such file").context("starting");
        assert_eq!(text_of(&error), "starting: cannot read a: no such file");
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        let gone = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing");
        assert_eq!(report(&gone, Format::Human), Code::Success);
    }
}
