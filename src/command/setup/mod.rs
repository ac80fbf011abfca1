//! `usine setup`: asks which server to use and writes its section of debusine's configuration file, with a token that the
//! user confirms on a page of the server.

mod draft;

use std::io::BufRead;
use std::path::Path;

use usine_client::config::{self, ConfigError, ServerConfig};
use usine_client::enrol::enrolment;
use usine_client::{Client, Options};

use crate::ambient::OsEntropy;
use crate::connection::{self, Connection};
use crate::exit::{Code, failure};
use crate::output::{Format, Ui};
use draft::{Draft, Step};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is there of the file, such as comments and other servers, stays as it is. A server without token is asked for
one: you log in there, compare some words, and confirm.

Example: usine setup --server debian")]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "Type url, scope, workspace or token and the new value, `default` to make it the default server,\n\
    `save`, or `quit`.";

/// Runs the dialogue for the file that `usine` reads.
pub async fn run(args: Args, before: &Connection) -> anyhow::Result<Code> {
    let connection = args.connection.or(before);
    let path = match &connection.config_file {
        Some(path) if connection::is_toml(path) => {
            return Err(failure(format!(
                "{}: usine setup writes debusine's INI files; add [server.NAME] with api-url and token to a TOML file \
                 yourself",
                path.display()
            )));
        }
        Some(path) => path.clone(),
        None => {
            let own = connection::own_path()?;
            if own.exists() {
                tracing::warn!("{} goes before the file that is written here", own.display());
            }
            connection::debusine_path()?
        }
    };
    dialogue(&path, connection.server.as_deref(), connection.scope.as_deref()).await
}

/// Asks on standard output, reads standard input.
pub async fn dialogue(path: &Path, server: Option<&str>, scope: Option<&str>) -> anyhow::Result<Code> {
    let ui = Ui::new(Format::Human);
    let known = configured(path)?;
    ui.line(&format!("Configuration file: {}", path.display()))?;
    let mut draft = match server {
        Some(name) => Draft::of(name, &known),
        None => Draft::of(&choose(ui, &known)?, &known),
    }
    .map_err(failure)?;
    if let Some(scope) = scope {
        scope.clone_into(&mut draft.scope);
    }
    ui.line(&format!("\n{draft}\n\n{HELP}"))?;
    loop {
        match draft.take(&ask(ui, "> ")?) {
            Ok(Step::Changed) => ui.line(&draft.to_string())?,
            Ok(Step::Save) => break,
            Ok(Step::Quit) => {
                ui.line("Nothing was saved.")?;
                return Ok(Code::Success);
            }
            Err(problem) => ui.line(&problem)?,
        }
    }
    if draft.token.is_none() {
        draft.token = Some(enrol(ui, &draft).await?);
    }
    save(ui, path, draft)
}

/// The servers of the file; none if it does not exist.
fn configured(path: &Path) -> Result<Vec<ServerConfig>, ConfigError> {
    match config::servers(path) {
        Err(ConfigError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// The name of a server: one of a list, or another.
fn choose(ui: Ui, known: &[ServerConfig]) -> anyhow::Result<String> {
    let names = draft::names(known);
    ui.line("\nServers:")?;
    for (number, name) in names.iter().enumerate() {
        let (draft, number) = (Draft::of(name, known).map_err(failure)?, number + 1);
        ui.line(&format!("  {number}  {name}: {}, scope {}", draft.api_url, draft.scope))?;
    }
    loop {
        let answer = ask(ui, "Number or name of a server, or the name of a new one: ")?;
        match answer.parse::<usize>() {
            Ok(number) => match number.checked_sub(1).and_then(|index| names.get(index)) {
                Some(name) => return Ok(name.clone()),
                None => ui.line(&format!("There is no number {number}."))?,
            },
            Err(_) if answer.is_empty() => {}
            Err(_) => return Ok(answer),
        }
    }
}

/// One line of standard input, without blanks around it.
fn ask(ui: Ui, prompt: &str) -> anyhow::Result<String> {
    ui.text(prompt)?;
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        ui.line("")?;
        return Err(failure("Standard input has ended before `save`: nothing was saved"));
    }
    Ok(line.trim().to_owned())
}

/// Has the user confirm on a page of the server.
async fn enrol(ui: Ui, draft: &Draft) -> anyhow::Result<String> {
    let client = Client::new(Options::new(&draft.api_url))?;
    let enrolment = enrolment(&draft.scope, &usine_worker::credentials::fqdn(), &OsEntropy);
    ui.line("\nOpen this page, log in if asked to, and compare the words:\n")?;
    ui.line(&format!("  page:   {}", client.enrolment_page(&enrolment)))?;
    ui.line(&format!("  words:  {}\n", enrolment.challenge))?;
    ui.line("Confirm there only if the words are the same. Waiting …")?;
    match client.enrol(&enrolment).await? {
        Some(token) => Ok(token),
        None => Err(failure("You have cancelled on the page: there is no token, and nothing was saved")),
    }
}

fn save(ui: Ui, path: &Path, draft: Draft) -> anyhow::Result<Code> {
    let make_default = draft.make_default;
    let server = draft.finish();
    config::save(path, &server, make_default)?;
    ui.line(&format!("Saved [server:{}] in {}.", server.name, path.display()))?;
    Ok(Code::Success)
}
