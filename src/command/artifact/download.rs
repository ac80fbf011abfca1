//! `usine artifact download`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use rustix::fs::{Access, access};
use tokio::io::AsyncWriteExt;
use usine_client::{Client, FileFacts, file_facts};
use usine_model::artifact::ArtifactPath;
use usine_protocol::artifact::{Artifact, File};

use crate::exit::failure;
use crate::progress::Progress;

/// How many files come at a time: many small ones would otherwise mostly wait.
const AT_A_TIME: usize = 4;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sizes and hashes are checked, and a broken connection is resumed. A file that is there
already is left as it is; if its content is another one, nothing is downloaded.")]
pub struct Args {
    /// Artifact to download
    id: i64,
    /// Directory to write to
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    target_directory: PathBuf,
    /// Write one artifact-ID.tar.gz instead; its content is not checked
    #[arg(long)]
    tarball: bool,
}

/// Downloads it.
pub async fn run(client: &Client, args: Args) -> anyhow::Result<()> {
    let target = &args.target_directory;
    if !target.is_dir() || access(target, Access::WRITE_OK).is_err() {
        return Err(failure(format!("Error: Cannot write to {}", target.display())));
    }
    let artifact = client.artifact(args.id).await?;
    if args.tarball { tarball(client, &artifact, target).await } else { files(client, &artifact, target).await }
}

async fn tarball(client: &Client, artifact: &Artifact, target: &Path) -> anyhow::Result<()> {
    let path = target.join(format!("artifact-{}.tar.gz", artifact.id));
    let cannot = || format!("Cannot write {}", path.display());
    let mut stream = client.download_tarball(artifact).await?;
    let mut file = tokio::fs::File::create_new(&path).await.with_context(cannot)?;
    tracing::info!("Downloading artifact to {}", path.display());
    let written = async {
        while let Some(piece) = stream.next().await {
            file.write_all(&piece?).await.with_context(cannot)?;
        }
        file.flush().await.with_context(cannot)
    };
    if let Err(error) = written.await {
        // A piece of a tarball is worse than none. That it cannot be removed is worth less than why it is one.
        let _ = tokio::fs::remove_file(&path).await;
        return Err(error);
    }
    Ok(())
}

async fn files(client: &Client, artifact: &Artifact, target: &Path) -> anyhow::Result<()> {
    let wanted = missing(artifact, target).await?;
    tracing::info!("Downloading artifact {} into {}", artifact.id, target.display());
    let progress = Progress::new("Downloading");
    let progress = &progress;
    futures::stream::iter(wanted.into_iter().map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_A_TIME, |(name, file, path)| async move {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory).with_context(|| format!("Cannot make {}", directory.display()))?;
            }
            client.download_file(&file.url, &path, &facts(file), &|done, all| progress.update(name, done, all)).await?;
            Ok(())
        })
        .await
}

/// What is to be downloaded, and where to. The server's names are checked: nothing is written outside of `target`.
async fn missing<'a>(artifact: &'a Artifact, target: &Path) -> anyhow::Result<Vec<(&'a str, &'a File, PathBuf)>> {
    let mut wanted = Vec::new();
    for (name, file) in &artifact.files {
        let safe: ArtifactPath = name.parse().with_context(|| format!("the server's file name {name:?}"))?;
        let path = target.join(safe.as_str());
        leads_outside(target, &path)?;
        if path.symlink_metadata().is_err() {
            wanted.push((name.as_str(), file, path));
        } else if file_facts(&path).await? == facts(file) {
            tracing::info!("{} is there already", path.display());
        } else {
            return Err(failure(format!("{} is there already, with another content; not overwritten", path.display())));
        }
    }
    Ok(wanted)
}

/// Directories on the way that are there already must not be symbolic links.
fn leads_outside(target: &Path, path: &Path) -> anyhow::Result<()> {
    let on_the_way = path.ancestors().skip(1).take_while(|ancestor| *ancestor != target);
    for directory in on_the_way {
        if directory.is_symlink() {
            return Err(failure(format!("{} is a symbolic link; not followed", directory.display())));
        }
    }
    Ok(())
}

fn facts(file: &File) -> FileFacts {
    FileFacts { size: file.size, sha256: file.checksums.sha256.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn artifact(name: &str) -> Artifact {
        // sha256sum of "hello\n"
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        serde_json::from_value(json!({
            "id": 2, "workspace": "System", "category": "debusine:test", "created_at": "2026-11-23T20:38:39Z", "data": {},
            "download_tar_gz_url": "", "files_to_upload": [],
            "files": {name: {"size": 6, "checksums": {"sha256": sha256}, "type": "file", "url": "http://h/x"}},
        }))
        .unwrap()
    }

    async fn outcome(name: &str, target: &Path) -> Result<usize, String> {
        missing(&artifact(name), target).await.map(|wanted| wanted.len()).map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn files_that_are_there_are_left_as_they_are() {
        let target = tempfile::tempdir().unwrap();
        let target = target.path();
        assert_eq!(outcome("d/a", target).await, Ok(1));
        std::fs::create_dir(target.join("d")).unwrap();
        std::fs::write(target.join("d/a"), "hello\n").unwrap();
        assert_eq!(outcome("d/a", target).await, Ok(0));
        std::fs::write(target.join("d/a"), "jello\n").unwrap();
        assert!(outcome("d/a", target).await.unwrap_err().ends_with("not overwritten"));
    }

    #[tokio::test]
    async fn nothing_is_written_elsewhere() {
        let target = tempfile::tempdir().unwrap();
        let target = target.path();
        std::os::unix::fs::symlink("/tmp", target.join("link")).unwrap();
        for name in ["../a", "/etc/a", "link/a"] {
            assert!(outcome(name, target).await.is_err(), "{name}");
        }
    }
}
