//! Artifacts: lists of them, one of them, its files, and new ones from a browser.

mod list;
mod one;
pub(super) mod rows;
mod upload;

pub(super) use upload::receive_files;

use crate::routes::Routes;

/// The routes.
pub(super) fn routes() -> Routes {
    Routes::new().merge(list::routes()).merge(one::routes()).merge(upload::routes())
}
