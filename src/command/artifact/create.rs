//! `usine artifact create`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use usine_client::Client;
use usine_client::config::ServerConfig;
use usine_client::import::{LocalArtifact, new_files};
use usine_model::artifact::{ArtifactCategory, ArtifactPath};
use usine_protocol::artifact::CreateArtifact;

use crate::exit::failure;
use crate::input;
use crate::output::{Ui, native_time};
use crate::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: usine artifact create debusine:test --upload notes.txt results/*.log")]
pub struct Args {
    /// Category of the artifact
    #[arg(value_parser = input::one_of::<ArtifactCategory>())]
    category: ArtifactCategory,
    /// Workspace to create it in [default: the configuration file's default-workspace, else the server's]
    #[arg(long, short, value_name = "NAME")]
    pub workspace: Option<String>,
    /// YAML file with the data of the artifact (- for standard input) [default: no data]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Files to upload
    #[arg(long, value_name = "FILE", num_args = 1..)]
    upload: Vec<PathBuf>,
    /// Take files relative to this directory, and keep their paths below it
    #[arg(long, value_name = "DIRECTORY")]
    upload_base_directory: Option<PathBuf>,
    /// Date or time (ISO 8601, UTC) when it may be deleted [default: as the workspace says]
    #[arg(long, value_name = "TIME", value_parser = input::parse_time)]
    expire_at: Option<DateTime<Utc>>,
}

/// Creates it, says so, and uploads what the server does not have.
pub async fn run(client: &Client, config: &ServerConfig, ui: Ui, args: Args) -> anyhow::Result<()> {
    let data = input::optional_mapping(ui, args.data.as_deref())?;
    let from_stdin = data.as_ref().is_some_and(|data| data.from_stdin);
    let local = LocalArtifact {
        category: args.category,
        data: Value::Object(data.map(|data| data.map).unwrap_or_default()),
        files: local_files(&args.upload, args.upload_base_directory.as_deref())?,
    };
    local.check().map_err(|error| failure(format!("Cannot create artifact: {error}")))?;
    let new = CreateArtifact {
        category: local.category.to_string(),
        workspace: args.workspace.or_else(|| config.default_workspace.clone()),
        files: new_files(&local).await?,
        data: local.data.clone(),
        work_request: None,
        expire_at: args.expire_at.map(|at| json!(usine_protocol::time::to_text(&at))),
    };
    let created = client.create_artifact(&new).await?;
    if args.expire_at.is_some_and(|at| created.expire_at != Some(at)) {
        tracing::warn!("the server does not follow --expire-at: artifacts expire as their workspace says");
    }
    let url = client.api_url().join(&created.url).map_or_else(|_| created.url.clone(), String::from);
    ui.after_stdin(from_stdin)?;
    let answer = json!({
        "result": "success",
        "message": format!("New artifact created: {url}"),
        "artifact_id": created.id,
        "files_to_upload": created.files_to_upload.len(),
        "expire_at": native_time(created.expire_at),
    });
    ui.data_with_times(&answer, &["expire_at"])?;
    let progress = Progress::new("Uploading");
    for path in &created.files_to_upload {
        let Some(on_disk) = local.files.get(path) else {
            return Err(failure(format!("The server wants a file {path:?} that the artifact does not have")));
        };
        client.upload_file(created.id, path, on_disk, &|done, all| progress.update(path, done, all)).await?;
    }
    Ok(())
}

/// Each file under its path in the artifact: its path below `base`, or its name alone.
fn local_files(uploads: &[PathBuf], base: Option<&Path>) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let refuse = |text: String| failure(format!("Cannot create artifact: {text}"));
    let base = base.map(std::path::absolute).transpose()?;
    if let Some(base) = base.as_ref().filter(|base| !base.is_dir()) {
        return Err(refuse(format!("\"{}\" is not a directory", base.display())));
    }
    let mut files = BTreeMap::new();
    for upload in uploads {
        let (on_disk, path) = match &base {
            Some(base) => {
                let on_disk = base.join(upload);
                let below = on_disk.strip_prefix(base).map(Path::to_path_buf);
                let below = below
                    .map_err(|_| refuse(format!("\"{}\" is not below \"{}\"", upload.display(), base.display())))?;
                (on_disk, below)
            }
            None => (upload.clone(), PathBuf::from(upload.file_name().unwrap_or_default())),
        };
        if !on_disk.is_file() {
            let why = if on_disk.exists() { "is not a regular file" } else { "does not exist" };
            return Err(refuse(format!("\"{}\" {why}", on_disk.display())));
        }
        let path = path.to_str().ok_or_else(|| refuse(format!("{path:?}: file names must be UTF-8")))?.to_owned();
        path.parse::<ArtifactPath>().map_err(|error| refuse(error.to_string()))?;
        if let Some(other) = files.insert(path.clone(), on_disk.clone()) {
            let (one, two) = (other.display(), on_disk.display());
            return Err(refuse(format!("\"{one}\" and \"{two}\" would both be \"{path}\" in the artifact")));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_path_below_the_base_directory() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        std::fs::create_dir(base.join("logs")).unwrap();
        for name in ["a", "logs/a"] {
            std::fs::write(base.join(name), "x").unwrap();
        }
        let paths = |uploads: &[PathBuf], base: Option<&Path>| {
            local_files(uploads, base).map(|files| files.into_keys().collect::<Vec<_>>())
        };
        let both = [PathBuf::from("a"), base.join("logs/a")];
        assert_eq!(paths(&both, Some(base)).unwrap(), ["a", "logs/a"]);
        let clash = paths(&[base.join("a"), base.join("logs/a")], None).unwrap_err().to_string();
        assert!(clash.ends_with("would both be \"a\" in the artifact"), "{clash}");
        let outside = paths(&[PathBuf::from("/etc/passwd")], Some(base)).unwrap_err().to_string();
        assert!(outside.contains("is not below"), "{outside}");
        let above = paths(&[PathBuf::from("../a")], Some(&base.join("logs"))).unwrap_err().to_string();
        assert!(above.contains("without empty, '.' or '..' components"), "{above}");
        let file = paths(&[], Some(&base.join("a"))).unwrap_err().to_string();
        assert!(file.starts_with("Cannot create artifact: ") && file.ends_with("is not a directory"), "{file}");
        assert!(paths(&[base.join("b")], None).unwrap_err().to_string().ends_with("does not exist"));
        assert!(paths(&[base.join("logs")], None).unwrap_err().to_string().ends_with("is not a regular file"));
    }
}
