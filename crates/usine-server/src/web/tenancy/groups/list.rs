//! `…/groups/` and `…/groups/-/create/`: the groups, and a new one.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use usine_db::GroupManager;
use usine_db::paged::Paged;
use usine_db::tenancy::{GroupFilter, GroupRow};
use usine_model::names;
use usine_model::permission::{GROUP_CAN_DELETE, SCOPE_CAN_CREATE_GROUPS, WORKSPACE_CAN_CREATE_GROUPS};

use super::super::pieces::{Asked, Field, Pager};
use super::super::{Link, of_scope, of_workspace};
use super::{Tenant, both};
use crate::problem::ApiResult;
use crate::routes::Routes;
use crate::state::AppState;
use crate::web::frame::{Filled, Frame};

/// How many groups a page has.
const ROWS: u64 = 50;

pub(super) fn routes() -> Routes {
    let routes = both!(Routes::new(), get, "groups/", list);
    let routes = both!(routes, get, "groups/-/create/", ask);
    both!(routes, post, "groups/-/create/", create)
}

#[derive(Template)]
#[template(path = "tenancy/groups.html")]
struct GroupsPage<'a> {
    frame: Frame,
    options: Vec<Link>,
    kind: &'a str,
    address: String,
    groups: Paged<Row>,
    pager: Pager,
    may_create: bool,
}

struct Row {
    row: GroupRow,
    link: Link,
    may_delete: bool,
}

#[derive(Template)]
#[template(path = "tenancy/group_form.html")]
struct FormPage {
    frame: Frame,
    field: Field,
    back: String,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    name: String,
}

impl Tenant {
    fn groups_address(&self) -> String {
        format!("{}groups/", self.address())
    }

    fn may_create_groups(&self) -> bool {
        self.may(&SCOPE_CAN_CREATE_GROUPS, &WORKSPACE_CAN_CREATE_GROUPS)
    }

    fn check_new_group(&self) -> ApiResult<()> {
        let what = format!("make groups in {}", self.name());
        self.check(&SCOPE_CAN_CREATE_GROUPS, &WORKSPACE_CAN_CREATE_GROUPS, &what)
    }
}

async fn list(State(state): State<AppState>, tenant: Tenant, Query(asked): Query<Asked>) -> ApiResult<Response> {
    let filter = GroupFilter { of: tenant.workspace.as_ref(), ..GroupFilter::default() };
    let groups = GroupManager(&state.database);
    let found = groups.page(&tenant.guest.context, &tenant.scope, filter, asked.page(ROWS)).await?;
    let pager = Pager::of(&found);
    let groups = found.map(|row| Row {
        link: tenant.link_to(&row.group, row.workspace.as_ref()),
        may_delete: tenant.guest.may(&GROUP_CAN_DELETE, &row.group.facts(&tenant.scope, row.workspace.as_ref())),
        row,
    });
    let options = match tenant.place() {
        None => of_scope(&tenant.guest, &tenant.scope),
        Some(place) => of_workspace(&tenant.guest, &place),
    };
    let (frame, address, may_create) = (tenant.frame("Groups"), tenant.groups_address(), tenant.may_create_groups());
    tenant.guest.show(&GroupsPage { frame, options, kind: tenant.kind(), address, groups, pager, may_create })
}

async fn ask(tenant: Tenant) -> ApiResult<Response> {
    tenant.check_new_group()?;
    form(&tenant, "", None)
}

fn form(tenant: &Tenant, written: &str, wrong: Option<String>) -> ApiResult<Response> {
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let field = Field::line("name", "Name", written)
        .hint("Letters, digits and + . _ -, a letter first. You become its admin.")
        .at_most(names::MAX_NAME)
        .wrong(wrong);
    let back = tenant.groups_address();
    let frame = tenant.frame("New group").below("Groups", &back);
    tenant.guest.show_as(status, &FormPage { frame, field, back })
}

async fn create(
    State(state): State<AppState>,
    tenant: Tenant,
    Filled(written): Filled<Written>,
) -> ApiResult<Response> {
    tenant.check_new_group()?;
    let name = written.name.trim();
    if !names::is_valid_name(name) {
        let why = format!("Letters, digits and + . _ -, a letter first, at most {} characters.", names::MAX_NAME);
        return form(&tenant, name, Some(why));
    }
    let (scope, workspace) = (&tenant.scope, tenant.workspace.as_ref());
    let made = GroupManager(&state.database).create_with_admin(scope, workspace, name, &tenant.user, state.now()).await;
    match made {
        Ok(group) => {
            let address = format!("{}{}/", tenant.groups_address(), group.name);
            Ok(tenant.guest.go(&address, &format!("The group {name} is made.")))
        }
        // All else that may be invalid has been looked at.
        Err(usine_db::Error::Invalid(_)) => {
            form(&tenant, name, Some("There is a group of this name already.".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}
