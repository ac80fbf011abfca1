//! Users, scopes and workspaces: whose, and where.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, Set};
use usine_model::entropy::Entropy;
use usine_model::names;

use crate::database::transact;
use crate::entity::{scope, user, workspace};
use crate::{Database, Error, Result};

pub use scope::Model as Scope;
pub use user::Model as User;
pub use workspace::Model as Workspace;

/// Characters of generated passwords: letters, digits, punctuation.
const PASSWORD_CHARACTERS: &[u8] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,-./:;<=>?@[]^_{|}~";

/// Makes and finds users.
#[derive(Clone, Copy)]
pub struct UserManager<'a>(pub &'a Database);

impl UserManager<'_> {
    /// A new user with a random password of 16 characters, which is returned and not stored.
    pub async fn create(
        &self,
        username: &str,
        email: &str,
        entropy: &dyn Entropy,
        now: DateTime<Utc>,
    ) -> Result<(User, String)> {
        if !names::is_valid_username(username) {
            return Err(Error::Invalid(format!(
                "Error creating user: {username:?} is not a user name: at most 150 letters, digits and @ . + - _, not only digits"
            )));
        }
        if !(email.is_empty() || is_email(email)) {
            return Err(Error::Invalid(format!("Error creating user: {email:?} is not an e-mail address")));
        }
        let password = random_password(entropy);
        let hash = hash_password(&password, entropy)?;
        let created = transact!(self.0, tx => {
            let row = user::ActiveModel {
                id: NotSet,
                username: Set(username.to_owned()),
                email: Set(email.to_owned()),
                password: Set(hash.clone()),
                is_superuser: Set(false),
                is_active: Set(true),
                is_system: Set(false),
                date_joined: Set(now),
                last_login: Set(None),
            };
            Ok(row.insert(tx.connection()).await?)
        });
        match created {
            Err(Error::Integrity(_)) => {
                Err(Error::Invalid("A user with this username or email already exists".to_owned()))
            }
            other => Ok((other?, password)),
        }
    }

    /// All people, in the order in which they joined.
    pub async fn list(&self) -> Result<Vec<User>> {
        let people = user::Entity::find()
            .filter(user::Column::IsSystem.eq(false))
            .order_by_asc(user::Column::DateJoined)
            .order_by_asc(user::Column::Id);
        Ok(people.all(self.0.reader()).await?)
    }

    /// The user of this name, or `None`.
    pub async fn get_user_or_none(&self, username: &str) -> Result<Option<User>> {
        Ok(user::Entity::find().filter(user::Column::Username.eq(username)).one(self.0.reader()).await?)
    }

    /// The user with this id.
    pub async fn get(&self, id: i64) -> Result<User> {
        user::Entity::find_by_id(id).one(self.0.reader()).await?.ok_or_else(|| Error::does_not_exist("User", id))
    }

    /// The system itself.
    pub async fn system(&self) -> Result<User> {
        self.get_user_or_none("_system").await?.ok_or_else(|| Error::does_not_exist("User", "_system"))
    }
}

impl User {
    /// Whether this is the user's password.
    pub fn check_password(&self, password: &str) -> bool {
        PasswordHash::new(&self.password)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !text.contains(char::is_whitespace)
    })
}

fn random_password(entropy: &dyn Entropy) -> String {
    // Bytes that would favour the first characters are left out.
    let fair = 256 / PASSWORD_CHARACTERS.len() * PASSWORD_CHARACTERS.len();
    std::iter::repeat_with(|| entropy.bytes32())
        .flatten()
        .map(usize::from)
        .filter(|byte| *byte < fair)
        .map(|byte| char::from(PASSWORD_CHARACTERS[byte % PASSWORD_CHARACTERS.len()]))
        .take(16)
        .collect()
}

fn hash_password(password: &str, entropy: &dyn Entropy) -> Result<String> {
    let failed = |error: argon2::password_hash::Error| Error::Invalid(format!("cannot hash the password: {error}"));
    let salt = SaltString::encode_b64(&entropy.bytes32()[..16]).map_err(failed)?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt).map_err(failed)?.to_string())
}

/// Finds scopes and workspaces.
#[derive(Clone, Copy)]
pub struct WorkspaceManager<'a>(pub &'a Database);

impl WorkspaceManager<'_> {
    /// The scope of this name, or `None`. What cannot be a name is not looked for: some of it (the character NUL) PostgreSQL
    /// refuses as an error.
    pub async fn get_scope_or_none(&self, name: &str) -> Result<Option<Scope>> {
        if !names::is_valid_name(name) {
            return Ok(None);
        }
        Ok(scope::Entity::find().filter(scope::Column::Name.eq(name)).one(self.0.reader()).await?)
    }

    /// The workspace of this name in the scope, or `None`; see [`Self::get_scope_or_none`].
    pub async fn get_workspace_or_none(&self, scope: &Scope, name: &str) -> Result<Option<Workspace>> {
        if !names::is_valid_name(name) {
            return Ok(None);
        }
        let found = workspace::Entity::find()
            .filter(workspace::Column::ScopeId.eq(scope.id))
            .filter(workspace::Column::Name.eq(name))
            .one(self.0.reader())
            .await?;
        Ok(found)
    }

    /// A workspace and its scope.
    pub async fn get(&self, id: i64) -> Result<(Workspace, Scope)> {
        let found = workspace::Entity::find_by_id(id).find_also_related(scope::Entity).one(self.0.reader()).await?;
        match found {
            Some((workspace, Some(scope))) => Ok((workspace, scope)),
            _ => Err(Error::does_not_exist("Workspace", id)),
        }
    }

    /// All workspaces with their scopes.
    pub async fn list(&self) -> Result<Vec<(Workspace, Scope)>> {
        let rows = workspace::Entity::find()
            .find_also_related(scope::Entity)
            .order_by_asc(workspace::Column::Id)
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().filter_map(|(workspace, scope)| Some((workspace, scope?))).collect())
    }
}
