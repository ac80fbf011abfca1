//! Users.

use std::collections::HashMap;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect, Set};
use usine_model::entropy::Entropy;
use usine_model::fair_share::{DEFAULT_WEIGHT, Share};
use usine_model::names;
use usine_model::permission::GlobalPermission;

use crate::database::transact;
use crate::entity::{session, user, user_permission};
use crate::{Database, Error, Result, Text};

pub use user::Model as User;

/// Characters of generated passwords: letters, digits, punctuation.
const PASSWORD_CHARACTERS: &[u8] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,-./:;<=>?@[]^_{|}~";

/// Shortest password that a person may choose, in characters.
const MIN_PASSWORD: usize = 8;

/// A hash that costs as much to verify as everybody's, and fits no password that anybody knows.
const NOBODYS_PASSWORD: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGF0IGFsbCE$4kVq0q3m9zj8mJ0lB6u8v3h5mQzJr0c1hX2o7m3b9eE";

/// Longest e-mail address, in bytes (RFC 5321, section 4.5.3.1.3, without its brackets).
const MAX_EMAIL: usize = 254;

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
                share_weight: Set(DEFAULT_WEIGHT),
                max_running: Set(None),
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

    /// Changes what a user gets of the workers.
    pub async fn set_share(&self, user: &User, share: Share) -> Result<()> {
        transact!(self.0, tx => {
            let change = user::ActiveModel {
                id: Set(user.id),
                share_weight: Set(share.weight),
                max_running: Set(share.max_running),
                ..Default::default()
            };
            change.update(tx.connection()).await?;
            Ok(())
        })
    }

    /// Gives a user a new password: this one or, without one, a random one. Returns it; only its hash is stored. All sessions
    /// of the user end.
    pub async fn set_password(&self, user: &User, password: Option<&str>, entropy: &dyn Entropy) -> Result<String> {
        let password = password.map_or_else(|| random_password(entropy), str::to_owned);
        check_new_password(&password)?;
        let hash = hash_password(&password, entropy)?;
        transact!(self.0, tx => {
            let change = user::ActiveModel { id: Set(user.id), password: Set(hash.clone()), ..Default::default() };
            change.update(tx.connection()).await?;
            session::Entity::delete_many().filter(session::Column::UserId.eq(user.id)).exec(tx.connection()).await?;
            Ok(())
        })?;
        Ok(password)
    }

    /// Gives a user another e-mail address.
    pub async fn change_email(&self, user: &User, email: &str) -> Result<User> {
        if !is_email(email) {
            return Err(Error::Invalid(format!("Error changing email: {email:?} is not an e-mail address")));
        }
        let change = user::ActiveModel { id: Set(user.id), email: Set(email.to_owned()), ..Default::default() };
        self.change(change).await
    }

    /// Makes a user a superuser, who has all global permissions, or takes that away.
    pub async fn set_superuser(&self, user: &User, is_superuser: bool) -> Result<User> {
        self.change(user::ActiveModel { id: Set(user.id), is_superuser: Set(is_superuser), ..Default::default() }).await
    }

    /// Lets a user in, or keeps the user out: tokens and passwords of an inactive one do not work.
    pub async fn set_active(&self, user: &User, is_active: bool) -> Result<User> {
        self.change(user::ActiveModel { id: Set(user.id), is_active: Set(is_active), ..Default::default() }).await
    }

    async fn change(&self, change: user::ActiveModel) -> Result<User> {
        let changed = transact!(self.0, tx => { Ok(change.clone().update(tx.connection()).await?) });
        match changed {
            Err(Error::Integrity(_)) => {
                Err(Error::Invalid("A user with this username or email already exists".to_owned()))
            }
            other => other,
        }
    }

    /// Allows something to a user everywhere. What is allowed already is fine.
    pub async fn grant_permission(&self, user: &User, permission: GlobalPermission) -> Result<()> {
        transact!(self.0, tx => {
            let row = user_permission::ActiveModel { id: NotSet, user_id: Set(user.id), permission: Set(Text(permission)) };
            let unless_there = OnConflict::columns([user_permission::Column::UserId, user_permission::Column::Permission])
                .do_nothing()
                .to_owned();
            user_permission::Entity::insert(row).on_conflict(unless_there).exec_without_returning(tx.connection()).await?;
            Ok(())
        })
    }

    /// Takes it back. What is not allowed is fine.
    pub async fn revoke_permission(&self, user: &User, permission: GlobalPermission) -> Result<()> {
        transact!(self.0, tx => {
            user_permission::Entity::delete_many()
                .filter(user_permission::Column::UserId.eq(user.id))
                .filter(user_permission::Column::Permission.eq(Text(permission)))
                .exec(tx.connection())
                .await?;
            Ok(())
        })
    }

    /// What is allowed to a user everywhere.
    pub async fn permissions(&self, user: &User) -> Result<Vec<GlobalPermission>> {
        let rows = user_permission::Entity::find().filter(user_permission::Column::UserId.eq(user.id));
        Ok(rows.all(self.0.reader()).await?.into_iter().map(|row| *row.permission).collect())
    }

    /// The person with this name and password, who may log in; or `None`. As slow for unknown names as for known ones, so that
    /// the time does not tell which names there are.
    pub async fn authenticate(&self, username: &str, password: &str, now: DateTime<Utc>) -> Result<Option<User>> {
        let found = if names::is_valid_username(username) { self.get_user_or_none(username).await? } else { None };
        let user = found.filter(|user| user.is_active && !user.is_system && !user.password.is_empty());
        let hash = user.as_ref().map_or_else(|| NOBODYS_PASSWORD.to_owned(), |user| user.password.clone());
        let password = password.to_owned();
        let matches = tokio::task::spawn_blocking(move || verify(&hash, &password)).await.unwrap_or(false);
        let Some(user) = user.filter(|_| matches) else { return Ok(None) };
        let seen = user::ActiveModel { id: Set(user.id), last_login: Set(Some(now)), ..Default::default() };
        self.change(seen).await.map(Some)
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

    /// The names of these users, by id.
    pub async fn names(&self, ids: &[i64]) -> Result<HashMap<i64, String>> {
        let rows: Vec<(i64, String)> = user::Entity::find()
            .select_only()
            .column(user::Column::Id)
            .column(user::Column::Username)
            .filter(user::Column::Id.is_in(ids.iter().copied()))
            .into_tuple()
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// The user with this id, or `None`.
    pub async fn get_or_none(&self, id: i64) -> Result<Option<User>> {
        Ok(user::Entity::find_by_id(id).one(self.0.reader()).await?)
    }

    /// The system itself.
    pub async fn system(&self) -> Result<User> {
        self.get_user_or_none("_system").await?.ok_or_else(|| Error::does_not_exist("User", "_system"))
    }
}

impl User {
    /// Whether this is the user's password.
    pub fn check_password(&self, password: &str) -> bool {
        verify(&self.password, password)
    }
}

/// Whether a person may choose this password.
///
/// # Errors
/// [`Error::Invalid`] says what it lacks.
pub fn check_new_password(password: &str) -> Result<()> {
    if password.chars().count() >= MIN_PASSWORD {
        return Ok(());
    }
    Err(Error::Invalid(format!("a password has at least {MIN_PASSWORD} characters")))
}

fn verify(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

fn is_email(text: &str) -> bool {
    text.len() <= MAX_EMAIL
        && text.split_once('@').is_some_and(|(local, domain)| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_password_costs_what_others_cost() {
        let hash = PasswordHash::new(NOBODYS_PASSWORD).unwrap();
        let other = hash_password("correct horse", &usine_model::entropy::CountingEntropy::default()).unwrap();
        let other = PasswordHash::new(&other).unwrap();
        assert_eq!((hash.algorithm, hash.version, &hash.params), (other.algorithm, other.version, &other.params));
        assert_eq!(hash.hash.unwrap().len(), other.hash.unwrap().len());
        assert!(!verify(NOBODYS_PASSWORD, "") && !verify(NOBODYS_PASSWORD, "nobody at all!"));
    }
}
