//! What pages show of groups, memberships and roles: a page of a list, or everything about one of them, in a number of queries
//! that does not grow with the rows.

use std::collections::{BTreeSet, HashMap};

use sea_orm::sea_query::{Condition, Expr, ExprTrait, Func, LikeExpr, Query};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, JoinType, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    RelationTrait, Statement,
};
use usine_model::permission::{
    GROUP_CAN_DISPLAY, MembershipRole, PermissionContext, ScopeRole, WORKSPACE_CAN_DISPLAY, WorkspaceRole,
};

use super::permission::condition;
use super::{AuditEntry, AuditLog, Group, GroupManager, MEMBERS, Member, Scope, Workspace, WorkspaceManager};
use crate::entity::{audit_log, group, group_membership, scope, scope_role, user, workspace, workspace_role};
use crate::paged::{Paged, Wanted};
use crate::{Error, Result};

/// Which groups of a scope are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct GroupFilter<'a> {
    /// Only those of this workspace.
    pub of: Option<&'a Workspace>,
    /// Only those whose name has this in it, in whatever case.
    pub name: &'a str,
    /// Only those without any role there.
    pub without_role_on: Option<Roles>,
    /// Whether the system's own are wanted, too.
    pub system: bool,
}

/// What roles are held on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    /// The scope with this id.
    Scope(i64),
    /// The workspace with this id.
    Workspace(i64),
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRow {
    /// The group.
    pub group: Group,
    /// Its workspace, if it belongs to one.
    pub workspace: Option<Workspace>,
    /// How many users are in it.
    pub members: i64,
}

/// A group that a user is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Membership {
    /// The group.
    pub group: Group,
    /// Its scope.
    pub scope: Scope,
    /// Its workspace, if it belongs to one.
    pub workspace: Option<Workspace>,
    /// What the user is in it.
    pub role: MembershipRole,
}

impl GroupManager<'_> {
    /// The group with this id, or `None`.
    pub async fn get_or_none(&self, id: i64) -> Result<Option<Group>> {
        Ok(group::Entity::find_by_id(id).one(self.0.reader()).await?)
    }

    /// The group of all members of a scope.
    pub async fn everybody_in(&self, scope: &Scope) -> Result<Group> {
        let found = self.get_group_or_none(scope, None, MEMBERS).await?;
        found.ok_or_else(|| Error::does_not_exist("Group", MEMBERS))
    }

    /// A page of the groups of a scope that somebody may see, by workspace (none first) and name. Those of a workspace that they may
    /// not see are not among them.
    pub async fn page(
        &self,
        context: &PermissionContext,
        scope: &Scope,
        filter: GroupFilter<'_>,
        wanted: Wanted,
    ) -> Result<Paged<GroupRow>> {
        let in_sight =
            Condition::any().add(group::Column::WorkspaceId.is_null()).add(condition(&WORKSPACE_CAN_DISPLAY, context));
        let mut groups = group::Entity::find()
            .join(JoinType::InnerJoin, group::Relation::Scope.def())
            .join(JoinType::LeftJoin, group::Relation::Workspace.def())
            .filter(group::Column::ScopeId.eq(scope.id))
            .filter(condition(&GROUP_CAN_DISPLAY, context))
            .filter(in_sight)
            .order_by_asc(Expr::expr(Expr::case(group::Column::WorkspaceId.is_null(), 0).finally(1)))
            .order_by_asc(workspace::Column::Name)
            .order_by_asc(group::Column::Name);
        if let Some(workspace) = filter.of {
            groups = groups.filter(group::Column::WorkspaceId.eq(workspace.id));
        }
        if !filter.system {
            groups = groups.filter(group::Column::System.eq(false));
        }
        if !filter.name.is_empty() {
            let name = Expr::expr(Func::lower(Expr::col((group::Entity, group::Column::Name))));
            groups = groups.filter(name.like(contains(filter.name)));
        }
        groups = match filter.without_role_on {
            None => groups,
            Some(Roles::Scope(id)) => {
                let holders = Query::select()
                    .column(scope_role::Column::GroupId)
                    .from(scope_role::Entity)
                    .and_where(scope_role::Column::ScopeId.eq(id))
                    .to_owned();
                groups.filter(group::Column::Id.not_in_subquery(holders))
            }
            Some(Roles::Workspace(id)) => {
                let holders = Query::select()
                    .column(workspace_role::Column::GroupId)
                    .from(workspace_role::Entity)
                    .and_where(workspace_role::Column::WorkspaceId.eq(id))
                    .to_owned();
                groups.filter(group::Column::Id.not_in_subquery(holders))
            }
        };
        let Paged { rows, page, last, total } = wanted.of(groups, self.0.reader()).await?;
        let workspaces = WorkspaceManager(self.0).by_ids(rows.iter().filter_map(|group| group.workspace_id)).await?;
        let members = self.sizes(rows.iter().map(|group| group.id)).await?;
        let rows = rows
            .into_iter()
            .map(|group| {
                let workspace = group.workspace_id.and_then(|id| workspaces.get(&id)).cloned();
                let members = members.get(&group.id).copied().unwrap_or_default();
                GroupRow { group, workspace, members }
            })
            .collect();
        Ok(Paged { rows, page, last, total })
    }

    async fn sizes(&self, ids: impl Iterator<Item = i64>) -> Result<HashMap<i64, i64>> {
        let counts: Vec<(i64, i64)> = group_membership::Entity::find()
            .select_only()
            .column(group_membership::Column::GroupId)
            .column_as(group_membership::Column::Id.count(), "count")
            .filter(group_membership::Column::GroupId.is_in(ids))
            .group_by(group_membership::Column::GroupId)
            .into_tuple()
            .all(self.0.reader())
            .await?;
        Ok(counts.into_iter().collect())
    }

    /// A page of who is in a group, by name.
    pub async fn members_page(&self, group: &Group, wanted: Wanted) -> Result<Paged<Member>> {
        let members = group_membership::Entity::find().filter(group_membership::Column::GroupId.eq(group.id));
        let total = members.clone().count(self.0.reader()).await?;
        let (page, last) = wanted.within(total);
        let rows = members
            .find_also_related(user::Entity)
            .order_by_asc(user::Column::Username)
            .offset(wanted.offset(page))
            .limit(wanted.size)
            .all(self.0.reader())
            .await?;
        let rows = rows.into_iter().filter_map(|(row, user)| Some(Member { user: user?, role: *row.role })).collect();
        Ok(Paged { rows, page, last, total })
    }

    /// How many users are in a group.
    pub async fn count_members(&self, group: &Group) -> Result<u64> {
        let members = group_membership::Entity::find().filter(group_membership::Column::GroupId.eq(group.id));
        Ok(members.count(self.0.reader()).await?)
    }

    /// What a user is in a group, or `None`.
    pub async fn role_of(&self, group: &Group, user_id: i64) -> Result<Option<MembershipRole>> {
        let found = group_membership::Entity::find()
            .filter(group_membership::Column::GroupId.eq(group.id))
            .filter(group_membership::Column::UserId.eq(user_id));
        Ok(found.one(self.0.reader()).await?.map(|row| *row.role))
    }

    /// The groups of a user, in one scope or in all, by scope, workspace (none first) and name.
    pub async fn memberships_of(&self, user_id: i64, of: Option<&Scope>) -> Result<Vec<Membership>> {
        let mut rows = group_membership::Entity::find()
            .find_also_related(group::Entity)
            .filter(group_membership::Column::UserId.eq(user_id));
        if let Some(scope) = of {
            rows = rows.filter(group::Column::ScopeId.eq(scope.id));
        }
        let rows = rows.all(self.0.reader()).await?;
        let groups = || rows.iter().filter_map(|(_, group)| group.as_ref());
        let workspaces = WorkspaceManager(self.0).by_ids(groups().filter_map(|group| group.workspace_id)).await?;
        let ids: BTreeSet<i64> = groups().map(|group| group.scope_id).collect();
        let scopes = scope::Entity::find().filter(scope::Column::Id.is_in(ids)).all(self.0.reader()).await?;
        let scopes: HashMap<i64, Scope> = scopes.into_iter().map(|scope| (scope.id, scope)).collect();
        let mut memberships: Vec<Membership> = rows
            .into_iter()
            .filter_map(|(row, group)| {
                let group = group?;
                let scope = scopes.get(&group.scope_id)?.clone();
                let workspace = group.workspace_id.and_then(|id| workspaces.get(&id)).cloned();
                Some(Membership { group, scope, workspace, role: *row.role })
            })
            .collect();
        memberships.sort_by(|one, other| one.key().cmp(&other.key()));
        Ok(memberships)
    }

    /// The roles that a group holds: on its scope, and on workspaces, by name.
    pub async fn roles_of(&self, group: &Group) -> Result<(Vec<ScopeRole>, Vec<(Workspace, WorkspaceRole)>)> {
        let on_scope = scope_role::Entity::find().filter(scope_role::Column::GroupId.eq(group.id));
        let on_scope = on_scope.order_by_asc(scope_role::Column::Role).all(self.0.reader()).await?;
        let rows = workspace_role::Entity::find().filter(workspace_role::Column::GroupId.eq(group.id));
        let rows = rows.order_by_asc(workspace_role::Column::Role).all(self.0.reader()).await?;
        let workspaces = WorkspaceManager(self.0).by_ids(rows.iter().map(|row| row.workspace_id)).await?;
        let mut on_workspaces: Vec<_> =
            rows.iter().filter_map(|row| Some((workspaces.get(&row.workspace_id)?.clone(), *row.role))).collect();
        on_workspaces.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        Ok((on_scope.into_iter().map(|row| *row.role).collect(), on_workspaces))
    }
}

impl Membership {
    fn key(&self) -> (&str, Option<&str>, &str) {
        (&self.scope.name, self.workspace.as_ref().map(|workspace| workspace.name.as_str()), &self.group.name)
    }
}

impl WorkspaceManager<'_> {
    /// The workspaces with these ids, by id.
    pub async fn by_ids(&self, ids: impl Iterator<Item = i64>) -> Result<HashMap<i64, Workspace>> {
        let ids: BTreeSet<i64> = ids.collect();
        let found = workspace::Entity::find().filter(workspace::Column::Id.is_in(ids)).all(self.0.reader()).await?;
        Ok(found.into_iter().map(|workspace| (workspace.id, workspace)).collect())
    }

    /// The workspaces of a scope with these names.
    pub async fn by_names(&self, scope: &Scope, names: impl Iterator<Item = &str>) -> Result<Vec<Workspace>> {
        let names: BTreeSet<&str> = names.collect();
        let found = workspace::Entity::find()
            .filter(workspace::Column::ScopeId.eq(scope.id))
            .filter(workspace::Column::Name.is_in(names));
        Ok(found.all(self.0.reader()).await?)
    }

    /// The first workspaces that somebody may see, of all scopes, by their names; at most `limit`.
    pub async fn some_displayable(&self, context: &PermissionContext, limit: u64) -> Result<Vec<(Workspace, Scope)>> {
        let rows = workspace::Entity::find()
            .find_also_related(scope::Entity)
            .filter(condition(&WORKSPACE_CAN_DISPLAY, context))
            .order_by_asc(scope::Column::Name)
            .order_by_asc(workspace::Column::Name)
            .limit(limit)
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().filter_map(|(workspace, scope)| Some((workspace, scope?))).collect())
    }

    /// Whether a workspace looks into another one, itself or by way of others.
    pub async fn looks_into(&self, from: &Workspace, other: &Workspace) -> Result<bool> {
        #[derive(FromQueryResult)]
        struct Found {
            #[allow(dead_code, reason = "only whether there is one matters")]
            id: i64,
        }
        // UNION and not UNION ALL: a loop that is there already ends.
        let sql = format!(
            "WITH RECURSIVE ahead (id) AS (\
                SELECT parent_id FROM workspace_inheritance WHERE child_id = {} \
                UNION SELECT i.parent_id FROM workspace_inheritance i JOIN ahead ON i.child_id = ahead.id\
             ) SELECT id FROM ahead WHERE id = {}",
            from.id, other.id
        );
        let statement = Statement::from_string(self.0.backend(), sql);
        Ok(Found::find_by_statement(statement).one(self.0.reader()).await?.is_some())
    }
}

impl AuditLog<'_> {
    /// A page of what has happened to a group, newest first.
    pub async fn page_of_group(&self, group_id: i64, wanted: Wanted) -> Result<Paged<AuditEntry>> {
        let entries = audit_log::Entity::find()
            .filter(audit_log::Column::GroupId.eq(group_id))
            .order_by_desc(audit_log::Column::Id);
        wanted.of(entries, self.0.reader()).await
    }
}

/// The pattern of what has this in it.
fn contains(text: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for character in text.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('\\')
}
