//! The worker's secrets on disk, and how it becomes known to the server.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use usine_client::{Client, Options};
use usine_model::entropy::Entropy;
use usine_model::token::TokenKey;
use usine_model::worker::WorkerType;
use usine_protocol::worker::{MAX_FQDN, Register};

use crate::{Config, WorkerError};

/// The worker's key; written by [`register`].
const TOKEN: &str = "token";

/// The worker's key while it is not known whether the server has it.
const NEW_TOKEN: &str = "token.new";

/// A key that enables a new worker at once; put there by an administrator, never changed.
const ACTIVATION_TOKEN: &str = "activation-token";

/// Largest token file that is read, in bytes.
const MAX_TOKEN: u64 = 4096;

/// The worker's token, if it is registered.
pub fn token(config: &Config) -> Result<Option<String>, WorkerError> {
    read_secret(&config.directory.join(TOKEN))
}

/// Registers this machine and keeps its new token; without an activation token an administrator must enable it.
///
/// The key is on disk before the server hears it: if the answer is lost, the next start registers with the same key, which
/// the server takes as the same registration.
pub async fn register(config: &Config, fqdn: &str, entropy: &dyn Entropy) -> Result<String, WorkerError> {
    let activation = read_secret(&config.directory.join(ACTIVATION_TOKEN))?;
    let client =
        Client::new(Options { token: activation, timeouts: config.http_timeout, ..Options::new(&config.api_url) })?;
    let (new, kept) = (config.directory.join(NEW_TOKEN), config.directory.join(TOKEN));
    let key = match read_secret(&new)?.and_then(|text| text.parse().ok()) {
        Some(key) => key,
        None => {
            let key = TokenKey::generate(entropy);
            write_secret(&new, key.reveal())?;
            key
        }
    };
    let worker = Register {
        token: key.reveal().to_owned(),
        fqdn: fqdn.chars().take(MAX_FQDN).collect(),
        worker_type: WorkerType::External,
    };
    client.register(&worker).await.map_err(WorkerError::Registration)?;
    fs::rename(&new, &kept).map_err(WorkerError::io(&kept))?;
    tracing::info!(fqdn, token_hash = %key.hash(), "registered; the worker runs tasks once it is enabled");
    Ok(worker.token)
}

/// The name of this machine, with its domain if that can be found out.
pub fn fqdn() -> String {
    let short = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if short.contains('.') {
        return short;
    }
    let output = std::process::Command::new("hostname").arg("--fqdn").output();
    let full = output
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    full.filter(|full| !full.is_empty()).unwrap_or(short)
}

fn read_secret(path: &Path) -> Result<Option<String>, WorkerError> {
    use std::io::Read;
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(WorkerError::io(path)(error)),
    };
    let mode = file.metadata().map_err(WorkerError::io(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(WorkerError::PermissionTooOpen(path.to_owned()));
    }
    let mut text = String::new();
    file.take(MAX_TOKEN).read_to_string(&mut text).map_err(WorkerError::io(path))?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Writes with mode 0600 under another name, then renames: there is never a half token. No newline: the content is hashed.
fn write_secret(path: &Path, secret: &str) -> Result<(), WorkerError> {
    let directory: PathBuf = path.parent().unwrap_or(Path::new(".")).to_owned();
    fs::create_dir_all(&directory).map_err(WorkerError::io(&directory))?;
    let mut file = tempfile::NamedTempFile::new_in(&directory).map_err(WorkerError::io(path))?;
    file.write_all(secret.as_bytes()).map_err(WorkerError::io(path))?;
    file.as_file().sync_all().map_err(WorkerError::io(path))?;
    file.persist(path).map_err(|error| WorkerError::io(path)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_for_their_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new("http://h/api", directory.path(), "/state");
        let path = directory.path().join(TOKEN);
        assert_eq!(token(&config).unwrap(), None);
        write_secret(&path, "abc").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "abc\n").unwrap();
        assert_eq!(token(&config).unwrap().as_deref(), Some("abc"));
        for mode in [0o640, 0o604, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = token(&config).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            assert_eq!(
                error.to_string(),
                format!(
                    "Permission too open for {}. Make sure that the file is not accessible by group or others",
                    path.display()
                )
            );
        }
    }
}
