//! How fast a large file goes to the server and back, against reading, hashing and writing the same bytes on this machine.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use sha2::{Digest, Sha256};
use usine_client::{Client, FileFacts, Options, file_facts};
use usine_protocol::artifact::{Checksums, CreateArtifact, NewFile};

use crate::measure::{Sheet, megabytes};
use crate::site::Site;
use crate::{Error, Ground, Measure, Place, Result, Target};

/// Percent of reading, hashing and writing.
const TARGET: f64 = 70.0;

/// Bytes at a time.
const PIECE: usize = 128 * 1024;

/// Name of the file in its artifact.
const NAME: &str = "large.bin";

/// How large.
#[derive(Debug, Clone, clap::Args)]
pub struct Transfer {
    /// Size of the file, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub size: usize,
}

impl Transfer {
    /// Measures.
    pub async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let site = Site::new(ground, place).await?;
        let original = site.path(NAME);
        let count = self.size.max(1) * 1024 * 1024 / PIECE;
        blocking(move |path| write_noise(path, count), &original).await?;
        let size = (count * PIECE) as u64;

        let mut sheet = Sheet::new("transfer", place.name(), format!("{} MiB", self.size.max(1)));
        let rate = |seconds: f64| megabytes(size) / seconds;
        let hashing = blocking(move |_| hash_only(count), &original).await?;
        sheet.note("SHA-256 alone", rate(hashing), "MB/s");
        let copy = site.path("copy");
        let before = blocking(copy_hashed, &original).await?;

        let server = site.serve().await?;
        let failed = |error: usine_client::Error| Error::connection("transfer", error);
        let token = site.token.to_str().map_err(|error| Error::connection("token", error))?.to_owned();
        let options = Options { token: Some(token), ..Options::new(format!("http://{}/api", server.address)) };
        let client = Client::new(options).map_err(failed)?;
        let facts = file_facts(&original).await.map_err(failed)?;
        let artifact = client.create_artifact(&artifact_of(&facts)).await.map_err(failed)?;
        let begin = Instant::now();
        client.upload_file(artifact.id, NAME, &original, &|_, _| ()).await.map_err(failed)?;
        let upload = begin.elapsed().as_secs_f64();

        let artifact = client.artifact(artifact.id).await.map_err(failed)?;
        let file = artifact.files.get(NAME).ok_or_else(|| Error::Inconsistent("the file did not arrive".to_owned()))?;
        let begin = Instant::now();
        // The client compares size and digest.
        client.download_file(&file.url, &copy, &facts, &|_, _| ()).await.map_err(failed)?;
        let download = begin.elapsed().as_secs_f64();
        server.stop().await?;
        std::fs::remove_file(&copy).map_err(Error::io("cannot remove the copy"))?;
        let after = blocking(copy_hashed, &original).await?;
        site.check(0, 0).await?;
        site.remove().await?;

        let limit = rate(f64::midpoint(before, after));
        sheet.note("reading, hashing, writing and syncing", limit, "MB/s");
        for (what, share, seconds) in [
            ("upload", "upload against reading, hashing, writing", upload),
            ("download", "download against reading, hashing, writing", download),
        ] {
            sheet.note(what, rate(seconds), "MB/s");
            sheet.aim(share, 100.0 * rate(seconds) / limit, "%", Some(Target::AtLeast(TARGET)));
        }
        Ok(sheet.measures)
    }
}

fn artifact_of(facts: &FileFacts) -> CreateArtifact {
    let file = NewFile {
        size: facts.size,
        file_type: "file".to_owned(),
        checksums: Checksums { sha256: facts.sha256.clone() },
        content_type: Some("application/octet-stream".to_owned()),
    };
    CreateArtifact {
        category: "debusine:test".to_owned(),
        workspace: None,
        files: [(NAME.to_owned(), file)].into(),
        data: json!({}),
        work_request: None,
        expire_at: None,
    }
}

/// Does something with a file that takes long.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
    path: &Path,
) -> Result<T> {
    let owned: PathBuf = path.to_owned();
    let what = format!("cannot use {}", path.display());
    let done = tokio::task::spawn_blocking(move || work(&owned)).await;
    done.map_err(|error| Error::Inconsistent(error.to_string()))?.map_err(Error::io(what))
}

/// Writes bytes that no file system can make smaller: xorshift, by George Marsaglia.
fn write_noise(path: &Path, pieces: usize) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut piece = vec![0; PIECE];
    for _ in 0..pieces {
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&piece)?;
    }
    file.sync_all()
}

/// Seconds for hashing so many pieces of memory.
fn hash_only(pieces: usize) -> std::io::Result<f64> {
    let piece = vec![0x5a; PIECE];
    let mut hasher = Sha256::new();
    let begin = Instant::now();
    for _ in 0..pieces {
        hasher.update(&piece);
    }
    std::hint::black_box(hasher.finalize());
    Ok(begin.elapsed().as_secs_f64())
}

/// Seconds for reading a file, hashing it, writing it beside, and having it on the disk.
fn copy_hashed(original: &Path) -> std::io::Result<f64> {
    let copy = original.with_extension("copied");
    let begin = Instant::now();
    let (mut from, mut to) = (File::open(original)?, File::create(&copy)?);
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        to.write_all(&piece[..count])?;
    }
    std::hint::black_box(hasher.finalize());
    to.sync_all()?;
    let seconds = begin.elapsed().as_secs_f64();
    std::fs::remove_file(copy)?;
    Ok(seconds)
}
