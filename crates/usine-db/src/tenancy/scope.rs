//! Scopes.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, Set};
use serde_json::json;
use usine_model::names;
use usine_model::permission::{PermissionContext, SCOPE_CAN_DISPLAY, ScopeFacts, ScopeRole};

use super::group::{self, NewGroup};
use super::permission::condition;
use super::{MEMBERS, Scope, audit, role};
use crate::database::transact;
use crate::entity::scope;
use crate::{Database, Error, Result};

/// Makes and finds scopes.
#[derive(Clone, Copy)]
pub struct ScopeManager<'a>(pub &'a Database);

impl ScopeManager<'_> {
    /// The scope of this name, or `None`. What cannot be a name is not looked for: some of it (the character NUL) PostgreSQL
    /// refuses as an error.
    pub async fn get_scope_or_none(&self, name: &str) -> Result<Option<Scope>> {
        if !names::is_valid_name(name) {
            return Ok(None);
        }
        Ok(scope::Entity::find().filter(scope::Column::Name.eq(name)).one(self.0.reader()).await?)
    }

    /// The scope with this id.
    pub async fn get(&self, id: i64) -> Result<Scope> {
        scope::Entity::find_by_id(id).one(self.0.reader()).await?.ok_or_else(|| Error::does_not_exist("Scope", id))
    }

    /// All scopes, by name.
    pub async fn list(&self) -> Result<Vec<Scope>> {
        Ok(scope::Entity::find().order_by_asc(scope::Column::Name).all(self.0.reader()).await?)
    }

    /// The scopes that somebody may know of, by name.
    pub async fn displayable(&self, context: &PermissionContext) -> Result<Vec<Scope>> {
        let seen = scope::Entity::find().filter(condition(&SCOPE_CAN_DISPLAY, context));
        Ok(seen.order_by_asc(scope::Column::Name).all(self.0.reader()).await?)
    }

    /// A new scope with its group `Members` and, if wanted, a group of owners of this name. The label defaults to the name
    /// with a capital letter.
    pub async fn create(
        &self,
        name: &str,
        label: Option<&str>,
        owners: Option<&str>,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Scope> {
        check_name(name)?;
        let label = label.map_or_else(|| capitalised(name), str::to_owned);
        check_length("label", &label)?;
        transact!(self.0, tx => {
            let row = scope::ActiveModel {
                id: NotSet,
                name: Set(name.to_owned()),
                label: Set(label.clone()),
                icon: Set(String::new()),
                public: Set(true),
            };
            let scope = row.insert(tx.connection()).await?;
            let members = NewGroup { system: true, ..NewGroup::of_scope(MEMBERS, &scope) };
            group::insert(&tx, &members, by, now).await?;
            if let Some(owners) = owners {
                let group = group::insert(&tx, &NewGroup::of_scope(owners, &scope), by, now).await?;
                role::grant_scope(&tx, &scope, &group, ScopeRole::Owner, by, now).await?;
            }
            Ok(scope)
        })
        .map_err(|error| taken(error, name))
    }

    /// Changes what is not `None`.
    pub async fn update(
        &self,
        scope: &Scope,
        label: Option<&str>,
        icon: Option<&str>,
        public: Option<bool>,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Scope> {
        transact!(self.0, tx => {
            let mut change = scope::ActiveModel { id: Set(scope.id), ..Default::default() };
            let mut changes = serde_json::Map::new();
            if let Some(label) = label.filter(|label| *label != scope.label) {
                check_length("label", label)?;
                change.label = Set(label.to_owned());
                changes.insert("label".to_owned(), json!([scope.label, label]));
            }
            if let Some(icon) = icon.filter(|icon| *icon != scope.icon) {
                check_length("icon", icon)?;
                change.icon = Set(icon.to_owned());
                changes.insert("icon".to_owned(), json!([scope.icon, icon]));
            }
            if let Some(public) = public.filter(|public| *public != scope.public) {
                change.public = Set(public);
                changes.insert("public".to_owned(), json!([scope.public, public]));
            }
            if changes.is_empty() {
                return Ok(scope.clone());
            }
            let row = change.update(tx.connection()).await?;
            changes.insert("type".to_owned(), json!("update"));
            let change = audit::Change { actor: by, group_id: None, subject: &row.name, changes: changes.into(), at: now };
            audit::record(&tx, change).await?;
            Ok(row)
        })
        .map_err(|error| taken(error, &scope.name))
    }

    /// Gives a scope another name.
    pub async fn rename(&self, scope: &Scope, name: &str, by: Option<i64>, now: DateTime<Utc>) -> Result<Scope> {
        check_name(name)?;
        transact!(self.0, tx => {
            let change = scope::ActiveModel { id: Set(scope.id), name: Set(name.to_owned()), ..Default::default() };
            let row = change.update(tx.connection()).await?;
            let changes = json!({"type": "update", "name": [scope.name, name]});
            audit::record(&tx, audit::Change { actor: by, group_id: None, subject: &row.name, changes, at: now }).await?;
            Ok(row)
        })
        .map_err(|error| taken(error, name))
    }
}

impl Scope {
    /// What predicates ask of it.
    pub fn facts(&self) -> ScopeFacts {
        ScopeFacts { id: self.id, public: self.public }
    }
}

fn check_name(name: &str) -> Result<()> {
    if names::is_valid_scope_name(name) {
        return Ok(());
    }
    Err(Error::Invalid(format!("name: '{name}' is not a valid scope name")))
}

/// PostgreSQL would refuse it in words of its own.
fn check_length(field: &str, text: &str) -> Result<()> {
    if text.chars().count() <= names::MAX_NAME {
        return Ok(());
    }
    Err(Error::Invalid(format!("{field}: has more than {} characters", names::MAX_NAME)))
}

fn taken(error: Error, name: &str) -> Error {
    match error {
        Error::Integrity(_) => Error::Invalid(format!("name: Scope with this Name or Label already exists: {name}")),
        other => other,
    }
}

fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
