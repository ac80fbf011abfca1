//! Enrolment: clients that wait for their users to let them in.
//!
//! The row is there as long as the client waits. The user's decision is written into it; the server that holds the client's
//! connection reads it, and makes the token: so no key is ever stored, and any of several servers may show the page.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, Set};
use serde_json::Value;

use crate::account::User;
use crate::database::transact;
use crate::entity::client_enrolment;
use crate::{Database, Error, Result};

pub use client_enrolment::Model as ClientEnrolment;

/// Begins, decides and ends enrolments.
#[derive(Clone, Copy)]
pub struct EnrolmentManager<'a>(pub &'a Database);

impl EnrolmentManager<'_> {
    /// A client asks. `None` if its nonce is taken.
    pub async fn begin(&self, nonce: &str, payload: Value, now: DateTime<Utc>) -> Result<Option<ClientEnrolment>> {
        let written = transact!(self.0, tx => {
            let row = client_enrolment::ActiveModel {
                id: NotSet,
                created_at: Set(now),
                nonce: Set(nonce.to_owned()),
                payload: Set(payload.clone()),
                outcome: Set(None),
                user_id: Set(None),
            };
            Ok(row.insert(tx.connection()).await?)
        });
        match written {
            Ok(row) => Ok(Some(row)),
            Err(Error::Integrity(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The enrolment with this nonce, or `None`.
    pub async fn get_or_none(&self, nonce: &str) -> Result<Option<ClientEnrolment>> {
        let found = client_enrolment::Entity::find().filter(client_enrolment::Column::Nonce.eq(nonce));
        Ok(found.one(self.0.reader()).await?)
    }

    /// A user decides. `false` if it is decided already, or nobody waits any more.
    pub async fn decide(&self, id: i64, confirm: bool, user: &User) -> Result<bool> {
        transact!(self.0, tx => {
            let outcome = if confirm { "confirm" } else { "cancel" };
            let change = client_enrolment::ActiveModel {
                outcome: Set(Some(outcome.to_owned())),
                user_id: Set(Some(user.id)),
                ..Default::default()
            };
            let decided = client_enrolment::Entity::update_many()
                .set(change)
                .filter(client_enrolment::Column::Id.eq(id))
                .filter(client_enrolment::Column::Outcome.is_null())
                .exec(tx.connection())
                .await?;
            Ok(decided.rows_affected == 1)
        })
    }

    /// The client waits no more.
    pub async fn end(&self, id: i64) -> Result<()> {
        transact!(self.0, tx => {
            client_enrolment::Entity::delete_by_id(id).exec(tx.connection()).await?;
            Ok(())
        })
    }

    /// Deletes what a crash has left behind: enrolments that began before this time.
    pub async fn clear(&self, before: DateTime<Utc>) -> Result<u64> {
        transact!(self.0, tx => {
            let gone = client_enrolment::Entity::delete_many()
                .filter(client_enrolment::Column::CreatedAt.lt(before))
                .exec(tx.connection())
                .await?;
            Ok(gone.rows_affected)
        })
    }
}
