//! Pages as browsers get them: how many queries each makes whatever there is to show, what they say, and what their forms do.

#[path = "../app/mod.rs"]
mod app;
#[path = "../../../usine-db/tests/support/mod.rs"]
mod support;

mod forms;
mod live;
mod queries;
mod upload;
mod visitor;
