//! Who may do what, route by route and role by role. The routes are the router's own list: one that is not asked for here fails the
//! test. What every requester hears is a table, `snapshots/permissions__matrix__matrix.snap`, for people to read.

#[path = "../app/mod.rs"]
mod app;
mod decisions;
mod enrolment;
mod inheritance;
mod matrix;
mod stories;
#[path = "../../../usine-db/tests/support/mod.rs"]
mod support;
mod world;
