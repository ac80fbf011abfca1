//! `/SCOPE/WORKSPACE/configure/`: whether anybody may look, when things expire, what is said of it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use usine_db::WorkspaceManager;
use usine_db::tenancy::{MAX_DESCRIPTION, Workspace, WorkspaceChanges};

use super::pieces::Field;
use super::{Configured, Link, markdown, of_workspace};
use crate::permissions::Place;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;
use crate::web::frame::{Filled, Frame, Guest};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Longest delay, in days: a hundred years.
const MAX_DAYS: i64 = 36_500;

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/configure/", Access::Login, show).post(
        "/{scope}/{workspace}/configure/",
        Access::Login,
        save,
    )
}

#[derive(Template)]
#[template(path = "tenancy/settings.html")]
struct SettingsPage {
    frame: Frame,
    options: Vec<Link>,
    fields: Vec<Field>,
    back: String,
    /// The description as the workspace's page shows it: HTML of our own making.
    preview: String,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    public: String,
    #[serde(default)]
    expiration_delay: String,
    #[serde(default)]
    default_expiration_delay: String,
    #[serde(default)]
    description: String,
}

/// What is wrong with each.
#[derive(Default)]
struct Wrong {
    expiration_delay: Option<String>,
    default_expiration_delay: Option<String>,
    description: Option<String>,
}

async fn show(Configured { guest, place, .. }: Configured) -> ApiResult<Response> {
    let Workspace { public, expiration_delay, default_expiration_delay, description, .. } = place.workspace.clone();
    let written = Written {
        public: if public { "on" } else { "" }.to_owned(),
        expiration_delay: expiration_delay.map(in_days).unwrap_or_default(),
        default_expiration_delay: in_days(default_expiration_delay),
        description,
    };
    form(&guest, &place, &written, Wrong::default())
}

fn form(guest: &Guest, place: &Place, written: &Written, wrong: Wrong) -> ApiResult<Response> {
    let is_wrong = [&wrong.expiration_delay, &wrong.default_expiration_delay, &wrong.description]
        .iter()
        .any(|error| error.is_some());
    let status = if is_wrong { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let fields = vec![
        Field::check("public", "Public", !written.public.is_empty())
            .hint("Anybody who may know of the scope may look at what is in the workspace, also without an account."),
        Field::number("expiration_delay", "Expires after days", &written.expiration_delay)
            .hint("The workspace itself, counted from its last completed work request; noted, but this server deletes no workspaces yet. Nothing here: it stays.")
            .wrong(wrong.expiration_delay),
        Field::number(
            "default_expiration_delay",
            "Default expiration delay in days",
            &written.default_expiration_delay,
        )
        .hint("When artifacts and work requests go that have no delay of their own. 0: never.")
        .wrong(wrong.default_expiration_delay),
        Field::text("description", "Description", &written.description)
            .hint("Markdown, shown on the page of the workspace. HTML in it is shown as text.")
            .at_most(MAX_DESCRIPTION)
            .wrong(wrong.description),
    ];
    let frame = guest.frame("Settings").inside(place);
    let options = of_workspace(guest, place);
    guest.show_as(
        status,
        &SettingsPage { frame, options, fields, back: place.address(), preview: markdown(&written.description) },
    )
}

/// Seconds as days; others than whole ones as what they are.
fn in_days(seconds: i64) -> String {
    if seconds % DAY == 0 { (seconds / DAY).to_string() } else { format!("{} ({seconds} seconds)", seconds / DAY) }
}

/// Days as seconds. What was shown and not changed stays what it was.
fn in_seconds(days: &str, present: Option<i64>, lowest: i64) -> Result<Option<i64>, String> {
    let days = days.trim();
    if days.is_empty() {
        return Ok(None);
    }
    if let Some(present) = present.filter(|present| in_days(*present) == days) {
        return Ok(Some(present));
    }
    match days.parse::<i64>() {
        Ok(number) if (lowest..=MAX_DAYS).contains(&number) => Ok(Some(number * DAY)),
        _ => Err(format!("A whole number of days from {lowest} to {MAX_DAYS}.")),
    }
}

async fn save(
    State(state): State<AppState>,
    Configured { guest, place, user }: Configured,
    Filled(written): Filled<Written>,
) -> ApiResult<Response> {
    let workspace = &place.workspace;
    // Browsers send the ends of lines as CR LF.
    let description = written.description.replace("\r\n", "\n");
    let expires = in_seconds(&written.expiration_delay, workspace.expiration_delay, 1);
    let default = in_seconds(&written.default_expiration_delay, Some(workspace.default_expiration_delay), 0);
    let default = default.and_then(|delay| delay.ok_or_else(|| "A number of days; 0 is never.".to_owned()));
    let wrong_description = if description.len() > MAX_DESCRIPTION {
        Some(format!("At most {MAX_DESCRIPTION} bytes; these are {}.", description.len()))
    } else {
        description.contains('\0').then(|| "It has a null character.".to_owned())
    };
    let (expires, default) = match (expires, default, &wrong_description) {
        (Ok(expires), Ok(default), None) => (expires, default),
        (expires, default, _) => {
            let wrong = Wrong {
                expiration_delay: expires.err(),
                default_expiration_delay: default.err(),
                description: wrong_description,
            };
            return form(&guest, &place, &written, wrong);
        }
    };
    let changes = WorkspaceChanges {
        public: Some(!written.public.is_empty()),
        default_expiration_delay: Some(default),
        expiration_delay: Some(expires),
        description: Some(&description),
    };
    let manager = WorkspaceManager(&state.database);
    manager.update(workspace, &place.scope, changes, Some(user.id), state.now()).await?;
    Ok(guest.go(&place.address(), &format!("The settings of {} are saved.", place.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_or_what_they_were() {
        assert_eq!(in_seconds("", Some(5), 0), Ok(None));
        assert_eq!(in_seconds(" 7 ", None, 0), Ok(Some(7 * DAY)));
        assert_eq!(in_seconds(&in_days(90_000), Some(90_000), 0), Ok(Some(90_000)));
        assert_eq!(in_seconds("0", None, 0), Ok(Some(0)));
        for bad in ["0", "-1", "x", "1.5", "36501", "1 (90000 seconds)"] {
            assert!(in_seconds(bad, Some(5), 1).is_err(), "{bad}");
        }
    }
}
