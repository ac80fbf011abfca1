//! Which file store the configuration asks for, and that it is the one that the database knows.

use std::sync::Arc;

use serde_json::json;
use usine_db::{ArtifactManager, Database};
use usine_model::entropy::Entropy;
use usine_store::{FileStore, LocalStore, S3Store, StoreError};

use crate::config::{Config, ConfigError};

/// Why the file store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The configuration says too little.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database says that the files are elsewhere.
    #[error(transparent)]
    Database(#[from] usine_db::Error),
    /// The store itself.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the store. A database without files takes any; one whose files are in another store refuses this one, so that no
/// server looks for files where they are not.
pub async fn open(
    config: &Config,
    database: &Database,
    entropy: Arc<dyn Entropy>,
) -> Result<Arc<dyn FileStore>, OpenStoreError> {
    let artifacts = ArtifactManager(database);
    match config.s3()? {
        None => {
            artifacts.claim_default_store("Local", json!({})).await?;
            Ok(Arc::new(LocalStore::open(config.store_directory()).await?))
        }
        Some(settings) => {
            let store = S3Store::open(&settings, Arc::new(move || entropy.bytes32())).await?;
            artifacts.claim_default_store("S3", json!({"place": settings.place()})).await?;
            Ok(Arc::new(store))
        }
    }
}
