//! Bodies of `workspace/{name}/inheritance/`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a workspace looks further, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InheritanceChain {
    /// The parents; at most [`InheritanceChain::MAX_LENGTH`].
    pub chain: Vec<ChainElement>,
}

impl InheritanceChain {
    /// Most parents that a workspace can have.
    pub const MAX_LENGTH: usize = 100;
}

/// One parent. Answers have all three; a request names it by its id or its name (of the request's scope, unless it says
/// another).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainElement {
    /// Id of the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// Name of its scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
}
