//! `usine artifact import`.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use url::Url;
use usine_client::Client;
use usine_client::config::ServerConfig;

use crate::input;
use crate::output::Ui;
use crate::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A .dsc becomes one debian:source-package, a .deb one debian:binary-package; a .changes becomes a
debian:upload with a source package and binary packages that it extends and relates to.
Files named in a .dsc or .changes must be next to it; their sizes and hashes are checked.
What is on a web server is fetched into a directory below TMPDIR first.

Example: usine artifact import hello_2.10-5_amd64.changes")]
pub struct Args {
    /// The .dsc, .changes or .deb: a path, or an address that begins with file://, http:// or https://
    upload: PathBuf,
    /// Workspace to create the artifacts in [default: the configuration file's default-workspace, else the server's]
    #[arg(long, short, value_name = "NAME")]
    pub workspace: Option<String>,
    /// Accepted for debusine's sake: artifacts expire as their workspace says
    #[arg(long, value_name = "TIME", value_parser = input::parse_time, hide = true)]
    expire_at: Option<DateTime<Utc>>,
}

/// Imports it and says what came of it.
pub async fn run(client: &Client, config: &ServerConfig, ui: Ui, args: Args) -> anyhow::Result<()> {
    if args.expire_at.is_some() {
        tracing::warn!("--expire-at has no effect: artifacts expire as their workspace says");
    }
    // Kept until the import is over.
    let fetched = tempfile::tempdir()?;
    let upload = on_disk(client, args.upload, fetched.path()).await?;
    let workspace = args.workspace.or_else(|| config.default_workspace.clone());
    let progress = Progress::new("Uploading");
    let update = |name: &str, done: u64, all: u64| progress.update(name, done, all);
    let imported = client.import(&upload, workspace.as_deref(), &update).await?;
    let url = client.api_url().join(&imported.primary.url).map_or(imported.primary.url.clone(), String::from);
    let mut answer = Map::new();
    answer.insert("result".to_owned(), json!("success"));
    answer.insert("message".to_owned(), json!(format!("New artifact created: {url}")));
    answer.insert("artifact_id".to_owned(), json!(imported.primary.id));
    if !imported.parts.is_empty() {
        let parts: Value = imported.parts.iter().map(|part| json!({"artifact_id": part.id})).collect();
        answer.insert("extends".to_owned(), parts.clone());
        answer.insert("relates_to".to_owned(), parts);
    }
    Ok(ui.data(&Value::Object(answer))?)
}

/// Where the file is; it is fetched into a directory if it is elsewhere.
async fn on_disk(client: &Client, upload: PathBuf, directory: &Path) -> anyhow::Result<PathBuf> {
    let Some(text) = upload.to_str() else { return Ok(upload) };
    if let Some(path) = text.strip_prefix("file://") {
        return Ok(PathBuf::from(path));
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {
            let progress = Progress::new("Fetching");
            Ok(client.fetch(&url, directory, &|name, done, all| progress.update(name, done, all)).await?)
        }
        _ => Ok(upload),
    }
}
