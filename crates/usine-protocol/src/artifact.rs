//! Bodies of `artifact/` and `artifact-relation/`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use usine_model::artifact::{ArtifactCategory, RelationType};

use crate::time;

/// `POST artifact/`. Unknown keys are tolerated; `expire_at` is sent by all clients and has no effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreateArtifact {
    /// Its category; text, so that an unknown one gets its own answer.
    pub category: String,
    /// Name of the workspace; the default one if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Its files by path.
    pub files: BTreeMap<String, NewFile>,
    /// Its data.
    pub data: Value,
    /// The work request that makes it, when a worker does.
    #[serde(default)]
    pub work_request: Option<i64>,
    /// Sent by clients, without effect.
    #[serde(default)]
    pub expire_at: Option<Value>,
}

/// A file of an artifact that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewFile {
    /// Bytes.
    pub size: u64,
    /// Always `file`.
    #[serde(rename = "type")]
    pub file_type: String,
    /// Only sha256 is read.
    pub checksums: Checksums,
    /// MIME type.
    #[serde(default)]
    pub content_type: Option<String>,
}

/// Checksums of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checksums {
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// An artifact, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Addresses of related things.
    #[serde(default)]
    pub links: Map<String, Value>,
    /// Its id.
    pub id: i64,
    /// Path of its page.
    #[serde(default)]
    pub url: String,
    /// Name of its scope.
    #[serde(default)]
    pub scope: String,
    /// Name of its workspace.
    pub workspace: String,
    /// Its category.
    pub category: ArtifactCategory,
    /// When it was made.
    #[serde(with = "time")]
    #[schemars(with = "DateTime<Utc>")]
    pub created_at: DateTime<Utc>,
    /// Its data.
    pub data: Value,
    /// Address of all files in one.
    pub download_tar_gz_url: String,
    /// Paths of the files that are not complete yet.
    pub files_to_upload: Vec<String>,
    /// When it goes away; null is never.
    #[serde(default, with = "time::optional")]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub expire_at: Option<DateTime<Utc>>,
    /// Its files by path.
    pub files: BTreeMap<String, File>,
}

/// A file of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Addresses of related things.
    #[serde(default)]
    pub links: Map<String, Value>,
    /// Bytes.
    pub size: u64,
    /// Its hashes.
    pub checksums: Checksums,
    /// Always `file`.
    #[serde(rename = "type")]
    pub file_type: String,
    /// Address, absolute.
    pub url: String,
    /// MIME type.
    #[serde(default)]
    pub content_type: Option<String>,
}

/// `POST artifact-relation/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateRelation {
    /// The one that relates.
    pub artifact: i64,
    /// The one it relates to.
    pub target: i64,
    /// How.
    #[serde(rename = "type")]
    pub relation_type: RelationType,
}

/// A relation, as every answer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Relation {
    /// Its id.
    pub id: i64,
    /// The one that relates.
    pub artifact: i64,
    /// The one it relates to.
    pub target: i64,
    /// How.
    #[serde(rename = "type")]
    pub relation_type: RelationType,
}
