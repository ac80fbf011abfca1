//! Sessions of browsers: who has logged in where. As with tokens, only the hash of the secret is stored.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, Set};
use usine_model::entropy::Entropy;
use usine_model::token::{TokenKey, hash_of};

use crate::account::User;
use crate::database::transact;
use crate::entity::{session, user};
use crate::{Database, Result};

/// How long a session lasts after the login.
pub const SESSION_LIFE: TimeDelta = TimeDelta::days(14);

/// Begins and ends sessions.
#[derive(Clone, Copy)]
pub struct SessionManager<'a>(pub &'a Database);

impl SessionManager<'_> {
    /// A new session of a user: the secret for the browser's cookie.
    pub async fn begin(&self, user: &User, entropy: &dyn Entropy, now: DateTime<Utc>) -> Result<TokenKey> {
        let key = TokenKey::generate(entropy);
        transact!(self.0, tx => {
            let row = session::ActiveModel {
                id: NotSet,
                hash: Set(key.hash().0),
                user_id: Set(user.id),
                created_at: Set(now),
                expire_at: Set(now + SESSION_LIFE),
            };
            row.insert(tx.connection()).await?;
            Ok(())
        })?;
        Ok(key)
    }

    /// Whose session it is, if it lasts and its user may log in.
    pub async fn user(&self, key: &str, now: DateTime<Utc>) -> Result<Option<User>> {
        let found = session::Entity::find()
            .filter(session::Column::Hash.eq(hash_of(key).0))
            .filter(session::Column::ExpireAt.gt(now))
            .find_also_related(user::Entity)
            .one(self.0.reader())
            .await?;
        Ok(found.and_then(|(_, user)| user).filter(|user| user.is_active))
    }

    /// Ends a session. One that is not there is fine.
    pub async fn end(&self, key: &str) -> Result<()> {
        transact!(self.0, tx => {
            session::Entity::delete_many()
                .filter(session::Column::Hash.eq(hash_of(key).0))
                .exec(tx.connection())
                .await?;
            Ok(())
        })
    }

    /// Deletes the sessions that are over: how many.
    pub async fn clear_expired(&self, now: DateTime<Utc>) -> Result<u64> {
        transact!(self.0, tx => {
            let gone =
                session::Entity::delete_many().filter(session::Column::ExpireAt.lte(now)).exec(tx.connection()).await?;
            Ok(gone.rows_affected)
        })
    }
}
