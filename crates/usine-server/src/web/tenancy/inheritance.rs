//! `/SCOPE/WORKSPACE/inheritance/`: in which other workspaces one looks, in order. Each button sends the order as the page shows it, and
//! what is to become of it: that needs no script, and what somebody else has changed meanwhile is not lost.

use std::str::FromStr;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use usine_db::tenancy::{Scope, Workspace};
use usine_db::{ScopeManager, WorkspaceManager};
use usine_model::permission::WORKSPACE_CAN_DISPLAY;

use super::pieces::Field;
use super::{Configured, Link, of_workspace};
use crate::api::workspace::{Refusal, set_chain};
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;
use crate::web::frame::{Filled, Frame};

/// How many workspaces are suggested.
const SUGGESTIONS: u64 = 200;

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/inheritance/", Access::Login, show).post(
        "/{scope}/{workspace}/inheritance/",
        Access::Login,
        change,
    )
}

#[derive(Template)]
#[template(path = "tenancy/inheritance.html")]
struct InheritancePage<'a> {
    frame: Frame,
    options: Vec<Link>,
    name: String,
    /// Those that may be seen, in order.
    parents: &'a [Parent],
    /// How many others there are.
    hidden: usize,
    add: Field,
    error: Option<String>,
}

/// A workspace, and its scope.
type Parent = (Workspace, Scope);

/// What a button asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Up(i64),
    Down(i64),
    Remove(i64),
    Add,
}

impl FromStr for Action {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "add" {
            return Ok(Self::Add);
        }
        let (what, id) = text.split_once(':').ok_or(())?;
        let id = id.parse().map_err(drop)?;
        match what {
            "up" => Ok(Self::Up(id)),
            "down" => Ok(Self::Down(id)),
            "remove" => Ok(Self::Remove(id)),
            _ => Err(()),
        }
    }
}

/// The parents that one may see, and the number of the others.
async fn present(state: &AppState, asked: &Configured) -> ApiResult<(Vec<Parent>, usize)> {
    let all = WorkspaceManager(&state.database).inheritance(&asked.place.workspace).await?;
    let (seen, hidden): (Vec<Parent>, Vec<Parent>) = all.into_iter().partition(|parent| sees(asked, parent));
    Ok((seen, hidden.len()))
}

fn sees(asked: &Configured, (workspace, scope): &Parent) -> bool {
    asked.guest.may(&WORKSPACE_CAN_DISPLAY, &workspace.facts(scope))
}

async fn show(State(state): State<AppState>, asked: Configured) -> ApiResult<Response> {
    let parents = present(&state, &asked).await?;
    page(&state, &asked, &parents, Wrong::default()).await
}

/// What is wrong with what was sent.
#[derive(Default)]
struct Wrong {
    /// What was to be added, and why it cannot.
    add: Option<(String, String)>,
    /// With the rest.
    order: Option<String>,
}

async fn page(
    state: &AppState,
    asked: &Configured,
    (parents, hidden): &(Vec<Parent>, usize),
    wrong: Wrong,
) -> ApiResult<Response> {
    let Configured { guest, place, .. } = asked;
    let candidates = WorkspaceManager(&state.database).some_displayable(&guest.context, SUGGESTIONS).await?;
    let suggestions = candidates
        .iter()
        .filter(|(candidate, _)| {
            candidate.id != place.workspace.id && parents.iter().all(|(parent, _)| parent.id != candidate.id)
        })
        .map(|(candidate, scope)| candidate.full_name(scope))
        .collect();
    let status = if wrong.add.is_some() || wrong.order.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let (written, error) = wrong.add.map_or((String::new(), None), |(written, why)| (written, Some(why)));
    let add = Field::line("name", "Workspace", written)
        .hint("SCOPE/WORKSPACE, or the name of one in this scope.")
        .at_most(511)
        .optional()
        .suggest(suggestions)
        .wrong(error);
    let page = InheritancePage {
        frame: guest.frame("Inheritance").inside(place),
        options: of_workspace(guest, place),
        name: place.name(),
        parents,
        hidden: *hidden,
        add,
        error: wrong.order,
    };
    guest.show_as(status, &page)
}

async fn change(
    State(state): State<AppState>,
    asked: Configured,
    Filled(fields): Filled<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let field = |name: &'static str| fields.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str());
    let (mut parents, hidden) = present(&state, &asked).await?;
    let wrong_order = |why: &str| Wrong { order: Some(why.to_owned()), ..Wrong::default() };
    let shown = field("parent").map(|id| id.parse().ok());
    if !parents.iter().map(|(parent, _)| Some(parent.id)).eq(shown) {
        let wrong = wrong_order("The list has changed since you loaded the page. This is how it is now; try again.");
        return page(&state, &asked, &(parents, hidden), wrong).await;
    }
    let action = field("action").next().and_then(|action| action.parse().ok());
    let Some(action) = action else {
        return page(&state, &asked, &(parents, hidden), wrong_order("That is no change of the list.")).await;
    };
    let (before, written) = (parents.clone(), field("name").next().unwrap_or_default().trim().to_owned());
    let notice = match &action {
        Action::Add => match find(&state, &asked, &written, &parents).await? {
            Ok(found) => {
                let notice = format!("{} looks into {}, too.", asked.place.name(), found.0.full_name(&found.1));
                parents.push(found);
                notice
            }
            Err(why) => {
                let wrong = Wrong { add: Some((written, why)), ..Wrong::default() };
                return page(&state, &asked, &(before, hidden), wrong).await;
            }
        },
        Action::Up(id) | Action::Down(id) | Action::Remove(id) => {
            let Some(at) = parents.iter().position(|(parent, _)| parent.id == *id) else {
                let wrong = wrong_order("That workspace is not in the list.");
                return page(&state, &asked, &(before, hidden), wrong).await;
            };
            let last = parents.len() - 1;
            match action {
                Action::Up(_) => parents.swap(at, at.saturating_sub(1)),
                Action::Down(_) => parents.swap(at, last.min(at + 1)),
                _ => drop(parents.remove(at)),
            }
            "The order is saved.".to_owned()
        }
    };
    let Configured { guest, place, user } = &asked;
    let written_down = set_chain(&state, &guest.context, user.id, (&place.workspace, &place.scope), parents).await;
    match written_down {
        Ok(()) => Ok(guest.go(&format!("{}inheritance/", place.address()), &notice)),
        Err(Refusal::Failed(error)) => Err(error),
        Err(Refusal::Invalid(why) | Refusal::Private(why)) => {
            let why = format!("Not possible: {why}.");
            let wrong = match action {
                Action::Add => Wrong { add: Some((written, why)), ..Wrong::default() },
                _ => wrong_order(&why),
            };
            page(&state, &asked, &(before, hidden), wrong).await
        }
    }
}

/// The workspace of this name, if it can be added; else why not.
async fn find(
    state: &AppState,
    asked: &Configured,
    name: &str,
    parents: &[Parent],
) -> ApiResult<Result<Parent, String>> {
    let place = &asked.place;
    let manager = WorkspaceManager(&state.database);
    let (scope, name) = name.split_once('/').unwrap_or((&place.scope.name, name));
    let found = match ScopeManager(&state.database).get_scope_or_none(scope).await? {
        None => None,
        Some(scope) => manager.get_workspace_or_none(&scope, name).await?.map(|workspace| (workspace, scope)),
    };
    let Some(found) = found.filter(|parent| sees(asked, parent)) else {
        return Ok(Err("There is no workspace of this name that you may see.".to_owned()));
    };
    if found.0.id == place.workspace.id {
        return Ok(Err("A workspace does not inherit from itself.".to_owned()));
    }
    if parents.iter().any(|(parent, _)| parent.id == found.0.id) {
        return Ok(Err("It is in the list already.".to_owned()));
    }
    if manager.looks_into(&found.0, &place.workspace).await? {
        return Ok(Err(format!("That would be a loop: it looks into {} itself.", place.name())));
    }
    Ok(Ok(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_say_what_they_mean() {
        assert_eq!("up:7".parse(), Ok(Action::Up(7)));
        assert_eq!("add".parse(), Ok(Action::Add));
        for bad in ["", "up", "up:", "up:x", "drop:7", "7:up"] {
            assert_eq!(bad.parse::<Action>(), Err(()), "{bad}");
        }
    }
}
