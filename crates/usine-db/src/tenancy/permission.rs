//! What a user's groups hold, and rules as conditions of queries.

use sea_orm::sea_query::{Condition, Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, Statement};
use usine_model::permission::{Actor, Decision, GlobalPermission, Grants, PermissionContext, Predicate, Rule};

use crate::account::User;
use crate::entity::{artifact, group, scope, user, user_permission, work_request, workspace};
use crate::{Database, Error, Result, Text};

/// Everything that a user's groups hold, in one query.
const GRANTS: &str = r#"
SELECT 'group' AS kind, g.id AS id, g.scope_id AS scope_id, m.role AS role
    FROM group_membership m JOIN "group" g ON g.id = m.group_id WHERE m.user_id = {user}
UNION ALL SELECT 'scope', r.scope_id, r.scope_id, r.role
    FROM group_membership m JOIN scope_role r ON r.group_id = m.group_id WHERE m.user_id = {user}
UNION ALL SELECT 'workspace', r.workspace_id, 0, r.role
    FROM group_membership m JOIN workspace_role r ON r.group_id = m.group_id WHERE m.user_id = {user}
"#;

#[derive(FromQueryResult)]
struct Grant {
    kind: String,
    id: i64,
    scope_id: i64,
    role: String,
}

/// Reads what users may do.
#[derive(Clone, Copy)]
pub struct PermissionManager<'a>(pub &'a Database);

impl PermissionManager<'_> {
    /// What the groups of a user hold now.
    pub async fn grants(&self, user_id: i64) -> Result<Grants> {
        let sql = GRANTS.replace("{user}", &user_id.to_string());
        let statement = Statement::from_string(self.0.backend(), sql);
        let mut grants = Grants::default();
        for row in Grant::find_by_statement(statement).all(self.0.reader()).await? {
            match row.kind.as_str() {
                "group" => {
                    grants.scopes.insert(row.scope_id);
                    grants.groups.insert(row.id, word(&row, "group_membership")?);
                }
                "scope" => grants.add_scope_role(row.id, word(&row, "scope_role")?),
                _ => grants.add_workspace_role(row.id, word(&row, "workspace_role")?),
            }
        }
        Ok(grants)
    }

    /// The context in which a user's requests are judged. The system user may do everything.
    pub async fn context_of(&self, user: &User) -> Result<PermissionContext> {
        if user.is_system {
            return Ok(PermissionContext::system());
        }
        Ok(PermissionContext { actor: Actor::User(user.id), grants: self.grants(user.id).await?, work_request: None })
    }

    /// Whether an administrator has allowed something to a user everywhere.
    pub async fn has(&self, user: &User, permission: GlobalPermission) -> Result<bool> {
        if user.is_superuser || user.is_system {
            return Ok(true);
        }
        let found = user_permission::Entity::find()
            .filter(user_permission::Column::UserId.eq(user.id))
            .filter(user_permission::Column::Permission.eq(Text(permission)));
        Ok(found.one(self.0.reader()).await?.is_some())
    }
}

fn word<T: std::str::FromStr>(row: &Grant, table: &'static str) -> Result<T> {
    row.role.parse().map_err(|_| Error::Inconsistent {
        table,
        id: row.id,
        column: "role",
        problem: format!("{:?} is not a role", row.role),
    })
}

/// The condition under which a predicate allows a row of its resource. The query must know the tables that the resource's rules
/// ask for: `scope` for scopes; `workspace` and `scope` for workspaces; these two and its own for the others.
pub fn condition(predicate: &Predicate, context: &PermissionContext) -> Condition {
    let allowed = match predicate.decide(context) {
        Decision::Allow => constant(true),
        Decision::Deny => constant(false),
        Decision::Ask(rule) => expression(&rule, context),
    };
    Condition::all().add(allowed)
}

/// The same as `Rule::holds` in memory; a test compares the two.
fn expression(rule: &Rule, context: &PermissionContext) -> SimpleExpr {
    let grants = &context.grants;
    let own = context.work_request.as_ref();
    let system = context.actor == Actor::System;
    let is_own = |column: SimpleExpr, id: Option<i64>| id.map_or_else(|| constant(false), |id| column.eq(id));
    match rule {
        Rule::Any(rules) => {
            rules.iter().map(|rule| expression(rule, context)).reduce(ExprTrait::or).unwrap_or_else(|| constant(false))
        }
        Rule::All(rules) => {
            rules.iter().map(|rule| expression(rule, context)).reduce(ExprTrait::and).unwrap_or_else(|| constant(true))
        }
        Rule::Not(rule) => expression(rule, context).not(),
        Rule::IfWorkRequest(with, without) => expression(if own.is_some() { with } else { without }, context),
        Rule::ScopeGrant(_) | Rule::WorkspaceGrant(_) if system => constant(true),
        Rule::ScopeGrant(role) => {
            Expr::col((scope::Entity, scope::Column::Id)).is_in(grants.scopes_with(*role).collect::<Vec<_>>())
        }
        Rule::InScope => Expr::col((scope::Entity, scope::Column::Id)).is_in(grants.scopes.iter().copied()),
        Rule::ScopePublic => Expr::col((scope::Entity, scope::Column::Public)).eq(true),
        Rule::WorkspaceGrant(role) => {
            let ids: Vec<i64> = grants.workspaces_with(*role).collect();
            Expr::col((workspace::Entity, workspace::Column::Id)).is_in(ids)
        }
        Rule::WorkspacePublic => Expr::col((workspace::Entity, workspace::Column::Public)).eq(true),
        Rule::OwnWorkspace => {
            is_own(Expr::col((workspace::Entity, workspace::Column::Id)), own.map(|own| own.workspace_id))
        }
        Rule::OwnWorkRequest => {
            is_own(Expr::col((work_request::Entity, work_request::Column::Id)), own.map(|own| own.id))
        }
        Rule::Creator => {
            is_own(Expr::col((work_request::Entity, work_request::Column::CreatedById)), context.user_id())
        }
        Rule::MadeByOwnWorkRequest => {
            is_own(Expr::col((artifact::Entity, artifact::Column::CreatedByWorkRequestId)), own.map(|own| own.id))
        }
        Rule::InputOfOwnWorkRequest => {
            let ids = own.map(|own| own.inputs.iter().copied().collect::<Vec<_>>()).unwrap_or_default();
            Expr::col((artifact::Entity, artifact::Column::Id)).is_in(ids)
        }
        Rule::InGroup(role) => {
            Expr::col((group::Entity, group::Column::Id)).is_in(grants.groups_with(*role).collect::<Vec<_>>())
        }
        Rule::GroupOfWorkspace => Expr::col((group::Entity, group::Column::WorkspaceId)).is_not_null(),
        Rule::SystemGroup => Expr::col((group::Entity, group::Column::System)).eq(true),
        Rule::Oneself => is_own(Expr::col((user::Entity, user::Column::Id)), context.user_id()),
        Rule::LoggedIn => constant(system || context.user_id().is_some()),
    }
}

fn constant(value: bool) -> SimpleExpr {
    Expr::cust(if value { "1 = 1" } else { "1 = 0" })
}
