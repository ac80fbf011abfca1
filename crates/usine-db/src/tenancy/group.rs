//! Groups and their members.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Query;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, JoinType, NotSet, QueryFilter, QueryOrder, QuerySelect,
    RelationTrait, Set,
};
use serde_json::{Value, json};
use usine_model::names;
use usine_model::permission::{GROUP_CAN_DISPLAY, GroupFacts, MembershipRole, PermissionContext};

use super::permission::condition;
use super::{Group, MEMBERS, Scope, Workspace, audit};
use crate::account::User;
use crate::database::{WriteTransaction, transact};
use crate::entity::{group, group_membership, scope, scope_role, user, workspace, workspace_role};
use crate::{Database, Error, Result, Text};

/// Makes and finds groups, and says who is in them.
#[derive(Clone, Copy)]
pub struct GroupManager<'a>(pub &'a Database);

/// Somebody in a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Who.
    pub user: User,
    /// What the user is in it.
    pub role: MembershipRole,
}

/// A group to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewGroup<'a> {
    pub(crate) name: &'a str,
    pub(crate) scope: &'a Scope,
    pub(crate) workspace: Option<&'a Workspace>,
    pub(crate) ephemeral: bool,
    pub(crate) system: bool,
}

impl<'a> NewGroup<'a> {
    pub(crate) fn of_scope(name: &'a str, scope: &'a Scope) -> Self {
        Self { name, scope, workspace: None, ephemeral: false, system: false }
    }
}

impl GroupManager<'_> {
    /// The group of this name in the scope or, with a workspace, in that workspace; or `None`.
    pub async fn get_group_or_none(
        &self,
        scope: &Scope,
        workspace: Option<&Workspace>,
        name: &str,
    ) -> Result<Option<Group>> {
        if !names::is_valid_name(name) {
            return Ok(None);
        }
        let mut named =
            group::Entity::find().filter(group::Column::ScopeId.eq(scope.id)).filter(group::Column::Name.eq(name));
        named = match workspace {
            Some(workspace) => named.filter(group::Column::WorkspaceId.eq(workspace.id)),
            None => named.filter(group::Column::WorkspaceId.is_null()),
        };
        Ok(named.one(self.0.reader()).await?)
    }

    /// The groups of a scope with the number of their members, by workspace (none first) and name: all of them, only those
    /// without a workspace (`Some(None)`), or those of one workspace.
    pub async fn list(
        &self,
        scope: &Scope,
        workspace: Option<Option<&Workspace>>,
    ) -> Result<Vec<(Group, Option<Workspace>, i64)>> {
        let mut groups = group::Entity::find()
            .filter(group::Column::ScopeId.eq(scope.id))
            .find_also_related(workspace::Entity)
            .order_by_asc(group::Column::Name);
        groups = match workspace {
            None => groups,
            Some(None) => groups.filter(group::Column::WorkspaceId.is_null()),
            Some(Some(workspace)) => groups.filter(group::Column::WorkspaceId.eq(workspace.id)),
        };
        let counts: Vec<(i64, i64)> = group_membership::Entity::find()
            .select_only()
            .column(group_membership::Column::GroupId)
            .column_as(group_membership::Column::Id.count(), "count")
            .group_by(group_membership::Column::GroupId)
            .into_tuple()
            .all(self.0.reader())
            .await?;
        let counts: std::collections::HashMap<i64, i64> = counts.into_iter().collect();
        let mut rows: Vec<_> = groups
            .all(self.0.reader())
            .await?
            .into_iter()
            .map(|(group, workspace)| {
                let count = counts.get(&group.id).copied().unwrap_or(0);
                (group, workspace, count)
            })
            .collect();
        rows.sort_by(|(a, of_a, _), (b, of_b, _)| {
            let key = |group: &Group, of: &Option<Workspace>| (of.as_ref().map(|w| w.name.clone()), group.name.clone());
            key(a, of_a).cmp(&key(b, of_b))
        });
        Ok(rows)
    }

    /// The groups of a scope that somebody may see, by name.
    pub async fn displayable(&self, context: &PermissionContext, scope: &Scope) -> Result<Vec<Group>> {
        let seen = group::Entity::find()
            .left_join(workspace::Entity)
            .inner_join(scope::Entity)
            .filter(group::Column::ScopeId.eq(scope.id))
            .filter(condition(&GROUP_CAN_DISPLAY, context))
            .order_by_asc(group::Column::Name)
            .order_by_asc(group::Column::Id);
        Ok(seen.all(self.0.reader()).await?)
    }

    /// The names of all groups of a user: scope, workspace if it belongs to one, group.
    pub async fn names_of(&self, user_id: i64) -> Result<Vec<(String, Option<String>, String)>> {
        let names = group::Entity::find()
            .select_only()
            .column_as(scope::Column::Name, "scope")
            .column_as(workspace::Column::Name, "workspace")
            .column_as(group::Column::Name, "group")
            .inner_join(scope::Entity)
            .left_join(workspace::Entity)
            .join_rev(JoinType::InnerJoin, group_membership::Relation::Group.def())
            .filter(group_membership::Column::UserId.eq(user_id))
            .order_by_asc(group::Column::Id);
        Ok(names.into_tuple().all(self.0.reader()).await?)
    }

    /// A new group. An ephemeral one goes away with its last role.
    pub async fn create(
        &self,
        scope: &Scope,
        workspace: Option<&Workspace>,
        name: &str,
        ephemeral: bool,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Group> {
        let new = NewGroup { workspace, ephemeral, ..NewGroup::of_scope(name, scope) };
        transact!(self.0, tx => { insert(&tx, &new, by, now).await }).map_err(|error| taken(error, name))
    }

    /// A new group whose admin is the user who makes it.
    pub async fn create_with_admin(
        &self,
        scope: &Scope,
        workspace: Option<&Workspace>,
        name: &str,
        admin: &User,
        now: DateTime<Utc>,
    ) -> Result<Group> {
        let new = NewGroup { workspace, ..NewGroup::of_scope(name, scope) };
        transact!(self.0, tx => {
            let group = insert(&tx, &new, Some(admin.id), now).await?;
            add(&tx, &group, admin, MembershipRole::Admin, true, Some(admin.id), now).await?;
            Ok(group)
        })
        .map_err(|error| taken(error, name))
    }

    /// Gives a group another name. A system group keeps its own, by which it is found.
    pub async fn rename(&self, group: &Group, name: &str, by: Option<i64>, now: DateTime<Utc>) -> Result<Group> {
        refuse_system(group, "renamed")?;
        check_name(name)?;
        transact!(self.0, tx => {
            let change = group::ActiveModel { id: Set(group.id), name: Set(name.to_owned()), ..Default::default() };
            let row = change.update(tx.connection()).await?;
            note(&tx, &row, json!({"type": "update", "name": [group.name, name]}), by, now).await?;
            Ok(row)
        })
        .map_err(|error| taken(error, name))
    }

    /// Makes a group ephemeral, or lasting.
    pub async fn set_ephemeral(
        &self,
        group: &Group,
        ephemeral: bool,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Group> {
        refuse_system(group, "made ephemeral")?;
        transact!(self.0, tx => {
            let change = group::ActiveModel { id: Set(group.id), ephemeral: Set(ephemeral), ..Default::default() };
            let row = change.update(tx.connection()).await?;
            note(&tx, &row, json!({"type": "update", "ephemeral": [group.ephemeral, ephemeral]}), by, now).await?;
            Ok(row)
        })
    }

    /// Deletes a group, with its memberships and roles. A system group stays.
    pub async fn delete(&self, group: &Group, by: Option<i64>, now: DateTime<Utc>) -> Result<()> {
        refuse_system(group, "deleted")?;
        transact!(self.0, tx => {
            note(&tx, group, json!({"type": "delete", "name": group.name}), by, now).await?;
            group::Entity::delete_by_id(group.id).exec(tx.connection()).await?;
            Ok(())
        })
    }

    /// Ephemeral groups that hold no role any more, oldest first.
    pub async fn unused_ephemeral(&self) -> Result<Vec<Group>> {
        let unused = group::Entity::find().filter(is_unused_ephemeral()).order_by_asc(group::Column::Id);
        Ok(unused.all(self.0.reader()).await?)
    }

    /// Deletes those of these groups that are ephemeral and hold no role still; returns them.
    pub async fn delete_unused_ephemeral(&self, groups: &[Group], now: DateTime<Utc>) -> Result<Vec<Group>> {
        let ids = || groups.iter().map(|group| group.id);
        transact!(self.0, tx => {
            // Locked first: a role that is being given to one is there afterwards, or cannot be given any more.
            group::Entity::find()
                .filter(group::Column::Id.is_in(ids()))
                .order_by_asc(group::Column::Id)
                .lock_exclusive()
                .all(tx.connection())
                .await?;
            let unused = group::Entity::find().filter(group::Column::Id.is_in(ids())).filter(is_unused_ephemeral());
            let unused = unused.order_by_asc(group::Column::Id).all(tx.connection()).await?;
            for group in &unused {
                note(&tx, group, json!({"type": "delete", "name": group.name}), None, now).await?;
                group::Entity::delete_by_id(group.id).exec(tx.connection()).await?;
            }
            Ok(unused)
        })
    }

    /// Who is in a group, in the order in which they joined the site.
    pub async fn members(&self, group: &Group) -> Result<Vec<Member>> {
        let rows = group_membership::Entity::find()
            .filter(group_membership::Column::GroupId.eq(group.id))
            .find_also_related(user::Entity)
            .order_by_asc(user::Column::DateJoined)
            .order_by_asc(user::Column::Id)
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().filter_map(|(row, user)| Some(Member { user: user?, role: *row.role })).collect())
    }

    /// Puts users into a group, with this role; who is in it already gets the role. Who is not a member of the scope becomes
    /// one if `with_scope` allows it, else nothing is changed.
    pub async fn add_users(
        &self,
        group: &Group,
        users: &[User],
        role: MembershipRole,
        with_scope: bool,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => {
            for user in users {
                add(&tx, group, user, role, with_scope, by, now).await?;
            }
            Ok(())
        })
    }

    /// Puts users into a group, as plain members, and into its scope; who is in it already stays what they are.
    pub async fn add_missing_users(
        &self,
        group: &Group,
        users: &[User],
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => {
            hold_members_of_scope(&tx, group).await?;
            for user in users {
                if membership(&tx, group.id, user.id).await?.is_none() {
                    add(&tx, group, user, MembershipRole::Member, true, by, now).await?;
                }
            }
            Ok(())
        })
    }

    /// Gives somebody who is in a group another role in it. Says whether they are still in it.
    pub async fn set_role(
        &self,
        group: &Group,
        user: &User,
        role: MembershipRole,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        transact!(self.0, tx => {
            hold_members_of_scope(&tx, group).await?;
            if membership(&tx, group.id, user.id).await?.is_none() {
                return Ok(false);
            }
            add(&tx, group, user, role, false, by, now).await?;
            Ok(true)
        })
    }

    /// Takes users out of a group. Who is not in it is fine.
    pub async fn remove_users(&self, group: &Group, users: &[User], by: Option<i64>, now: DateTime<Utc>) -> Result<()> {
        transact!(self.0, tx => {
            for user in users {
                remove(&tx, group, user, by, now).await?;
            }
            Ok(())
        })
    }

    /// Makes exactly these users the members of a group, with this role.
    pub async fn set_users(
        &self,
        group: &Group,
        users: &[User],
        role: MembershipRole,
        with_scope: bool,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => {
            hold_members_of_scope(&tx, group).await?;
            let present = group_membership::Entity::find()
                .filter(group_membership::Column::GroupId.eq(group.id))
                .find_also_related(user::Entity)
                .all(tx.connection())
                .await?;
            for (_, member) in &present {
                if let Some(member) = member.as_ref().filter(|member| users.iter().all(|user| user.id != member.id)) {
                    remove(&tx, group, member, by, now).await?;
                }
            }
            for user in users {
                add(&tx, group, user, role, with_scope, by, now).await?;
            }
            Ok(())
        })
    }
}

impl Group {
    /// `SCOPE/GROUP`, or `SCOPE/WORKSPACE/GROUP`.
    pub fn full_name(&self, scope: &Scope, workspace: Option<&Workspace>) -> String {
        match workspace {
            Some(workspace) => format!("{}/{}/{}", scope.name, workspace.name, self.name),
            None => format!("{}/{}", scope.name, self.name),
        }
    }

    /// What predicates ask of it.
    pub fn facts(&self, scope: &Scope, workspace: Option<&Workspace>) -> GroupFacts {
        let workspace = workspace.map(|workspace| workspace.facts(scope));
        GroupFacts { scope: scope.facts(), workspace, id: self.id, system: self.system }
    }
}

/// The condition of ephemeral groups without any role.
fn is_unused_ephemeral() -> Condition {
    let of_scopes = Query::select().column(scope_role::Column::GroupId).from(scope_role::Entity).to_owned();
    let of_workspaces = Query::select().column(workspace_role::Column::GroupId).from(workspace_role::Entity).to_owned();
    Condition::all()
        .add(group::Column::Ephemeral.eq(true))
        .add(group::Column::System.eq(false))
        .add(group::Column::Id.not_in_subquery(of_scopes))
        .add(group::Column::Id.not_in_subquery(of_workspaces))
}

pub(crate) async fn insert(
    tx: &WriteTransaction,
    new: &NewGroup<'_>,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> Result<Group> {
    check_name(new.name)?;
    let row = group::ActiveModel {
        id: NotSet,
        name: Set(new.name.to_owned()),
        scope_id: Set(new.scope.id),
        workspace_id: Set(new.workspace.map(|workspace| workspace.id)),
        ephemeral: Set(new.ephemeral),
        system: Set(new.system),
    };
    let group = row.insert(tx.connection()).await?;
    let changes = json!({"type": "create", "name": new.name, "scope": new.scope.name,
        "workspace": new.workspace.map(|workspace| &workspace.name), "ephemeral": new.ephemeral});
    note(tx, &group, changes, by, now).await?;
    Ok(group)
}

async fn add(
    tx: &WriteTransaction,
    group: &Group,
    user: &User,
    role: MembershipRole,
    with_scope: bool,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> Result<()> {
    let members = hold_members_of_scope(tx, group).await?;
    if members.id != group.id && membership(tx, members.id, user.id).await?.is_none() {
        if !with_scope {
            let scope = scope_name(tx, group).await?;
            return Err(Error::Invalid(format!("user {} is not a member of scope {scope}", user.username)));
        }
        write_membership(tx, &members, user, MembershipRole::Member, by, now).await?;
    }
    match membership(tx, group.id, user.id).await? {
        None => write_membership(tx, group, user, role, by, now).await,
        Some(there) if *there.role == role => Ok(()),
        Some(there) => {
            let change =
                group_membership::ActiveModel { id: Set(there.id), role: Set(Text(role)), ..Default::default() };
            change.update(tx.connection()).await?;
            note(tx, group, json!({"type": "set_role", "user": user.username, "role": role}), by, now).await
        }
    }
}

async fn remove(tx: &WriteTransaction, group: &Group, user: &User, by: Option<i64>, now: DateTime<Utc>) -> Result<()> {
    let members = hold_members_of_scope(tx, group).await?;
    // Who leaves the scope leaves all of its groups.
    let groups = if members.id == group.id {
        group::Entity::find().filter(group::Column::ScopeId.eq(group.scope_id)).all(tx.connection()).await?
    } else {
        vec![group.clone()]
    };
    for group in &groups {
        let gone = group_membership::Entity::delete_many()
            .filter(group_membership::Column::GroupId.eq(group.id))
            .filter(group_membership::Column::UserId.eq(user.id))
            .exec(tx.connection())
            .await?;
        if gone.rows_affected > 0 {
            note(tx, group, json!({"type": "del_user", "user": user.username}), by, now).await?;
        }
    }
    Ok(())
}

async fn write_membership(
    tx: &WriteTransaction,
    group: &Group,
    user: &User,
    role: MembershipRole,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> Result<()> {
    let row = group_membership::ActiveModel {
        id: NotSet,
        group_id: Set(group.id),
        user_id: Set(user.id),
        role: Set(Text(role)),
    };
    row.insert(tx.connection()).await?;
    note(tx, group, json!({"type": "add_user", "user": user.username, "role": role}), by, now).await
}

async fn membership(tx: &WriteTransaction, group: i64, user: i64) -> Result<Option<group_membership::Model>> {
    let found = group_membership::Entity::find()
        .filter(group_membership::Column::GroupId.eq(group))
        .filter(group_membership::Column::UserId.eq(user));
    Ok(found.one(tx.connection()).await?)
}

/// The group of all members of a group's scope. It is held until the transaction ends: of two changes of memberships in one scope
/// the second waits, so that nobody joins a group while they leave the scope.
async fn hold_members_of_scope(tx: &WriteTransaction, group: &Group) -> Result<Group> {
    let members = group::Entity::find()
        .filter(group::Column::ScopeId.eq(group.scope_id))
        .filter(group::Column::WorkspaceId.is_null())
        .filter(group::Column::Name.eq(MEMBERS))
        .filter(group::Column::System.eq(true))
        .lock_exclusive()
        .one(tx.connection())
        .await?;
    members.ok_or_else(|| Error::does_not_exist("Group", MEMBERS))
}

async fn scope_name(tx: &WriteTransaction, group: &Group) -> Result<String> {
    let scope = scope::Entity::find_by_id(group.scope_id).one(tx.connection()).await?;
    Ok(scope.map(|scope| scope.name).unwrap_or_default())
}

async fn note(tx: &WriteTransaction, group: &Group, changes: Value, by: Option<i64>, now: DateTime<Utc>) -> Result<()> {
    let scope = scope_name(tx, group).await?;
    let workspace = match group.workspace_id {
        None => None,
        Some(id) => workspace::Entity::find_by_id(id).one(tx.connection()).await?,
    };
    let subject = match workspace {
        Some(workspace) => format!("{scope}/{}/{}", workspace.name, group.name),
        None => format!("{scope}/{}", group.name),
    };
    let change = audit::Change { actor: by, group_id: Some(group.id), subject: &subject, changes, at: now };
    audit::record(tx, change).await
}

/// The system's own groups stay as they are, but for their members.
fn refuse_system(group: &Group, what: &str) -> Result<()> {
    if !group.system {
        return Ok(());
    }
    Err(Error::Invalid(format!("the group {} is the system's own and cannot be {what}", group.name)))
}

fn check_name(name: &str) -> Result<()> {
    if names::is_valid_name(name) {
        return Ok(());
    }
    Err(Error::Invalid(format!("name: '{name}' is not a valid group name")))
}

fn taken(error: Error, name: &str) -> Error {
    match error {
        Error::Integrity(_) => Error::Invalid(format!("name: Group with this Name already exists: {name}")),
        other => other,
    }
}
