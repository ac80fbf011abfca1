//! Data that a person changes in an editor.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::exit::failure;
use crate::input::confirm;

/// What `read` makes of the text as a person leaves it; again while it cannot be read, if that is wanted. `what` names the
/// text, such as "metadata".
pub fn edit<T>(what: &str, text: &str, read: impl Fn(&str) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut file = tempfile::Builder::new().prefix(&format!("usine-{what}-")).suffix(".yaml").tempfile()?;
    file.write_all(text.as_bytes())?;
    loop {
        open(file.path())?;
        match std::fs::read_to_string(file.path()).map_err(anyhow::Error::from).and_then(|text| read(&text)) {
            Ok(value) => return Ok(value),
            Err(error) => {
                eprintln!("{error}");
                if !confirm("Do you want to retry the same edit?")? {
                    return Err(failure("Error: nothing was changed"));
                }
            }
        }
    }
}

/// `sensible-editor`, which follows `VISUAL` and `EDITOR`.
fn open(path: &Path) -> anyhow::Result<()> {
    let status = Command::new("sensible-editor").arg(path).status().context("Error: cannot run sensible-editor")?;
    if status.success() { Ok(()) } else { Err(failure(format!("Error: the editor ended with {status}"))) }
}
