//! Lists in pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rows in a page.
pub const PAGE_SIZE: u64 = 10;

/// A page of a list that is walked by `next`: absolute addresses, followed verbatim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CursorPage<T> {
    /// Address of the next page.
    pub next: Option<String>,
    /// Address of the page before.
    pub previous: Option<String>,
    /// The rows.
    pub results: Vec<T>,
}
