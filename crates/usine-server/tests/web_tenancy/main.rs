//! The pages of users, scopes, workspaces and groups, as browsers see them: stories, who may open what, and what every page has.

mod access;
#[path = "../app/mod.rs"]
mod app;
mod browser;
mod groups;
mod html;
mod members;
mod pages;
mod settings;
#[path = "../../../usine-db/tests/support/mod.rs"]
mod support;
mod tokens;
mod world;
