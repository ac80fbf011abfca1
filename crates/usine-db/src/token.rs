//! `Token` and `TokenManager`: shared secrets between the server, its users and its workers.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, NotSet, PaginatorTrait, QueryFilter, QueryOrder, Select, Set,
};
use usine_model::entropy::Entropy;
use usine_model::event::EventKind;
use usine_model::policy::{ACTIVATION_TOKEN_LIFE, LAST_SEEN_RESOLUTION};
use usine_model::token::{TokenHash, TokenKey, TokenType, hash_of};

use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::entity::{token, user, worker};
use crate::neighbour::Place;
use crate::paged::{Paged, Wanted};
use crate::{Database, Error, Result, Text};

pub use token::Model as Token;

/// Longest comment of a token, in characters.
pub const MAX_COMMENT: usize = 100;

/// A token that has just been made, with the key that is shown once and stored nowhere.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The row.
    pub token: Token,
    /// The secret.
    pub key: TokenKey,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct TokenSpec {
    /// What it is for.
    pub token_type: TokenType,
    /// Whose it is (type `user`).
    pub user_id: Option<i64>,
    /// The name of somebody without account (type `external-user`).
    pub external_username: String,
    /// The work request it is for (type `work-request`).
    pub work_request_id: Option<i64>,
    /// Reason for it, at most 100 characters.
    pub comment: String,
    /// Who makes it.
    pub created_by_id: Option<i64>,
    /// When it stops working; `None` is never.
    pub expire_at: Option<DateTime<Utc>>,
    /// Whether it works at once. The default is not.
    pub enabled: bool,
    /// Whether it has no rights but those granted to it. Those of type `external-user` never have others.
    pub explicit_grants_only: bool,
}

impl TokenSpec {
    /// A token of this type, disabled, without links.
    pub fn of_type(token_type: TokenType) -> Self {
        Self {
            token_type,
            user_id: None,
            external_username: String::new(),
            work_request_id: None,
            comment: String::new(),
            created_by_id: None,
            expire_at: None,
            enabled: false,
            explicit_grants_only: token_type == TokenType::ExternalUser,
        }
    }

    /// A token of a user, disabled.
    pub fn of_user(user_id: i64) -> Self {
        Self { user_id: Some(user_id), ..Self::of_type(TokenType::User) }
    }
}

/// Makes and finds tokens.
#[derive(Clone, Copy)]
pub struct TokenManager<'a>(pub &'a Database);

impl TokenManager<'_> {
    /// Saves a new token with a generated key, which is shown now or never.
    pub async fn create(&self, spec: TokenSpec, entropy: &dyn Entropy, now: DateTime<Utc>) -> Result<NewToken> {
        self.create_with_key(spec, TokenKey::generate(entropy), now).await
    }

    /// Saves a new token with a key that somebody else has chosen, as workers do.
    pub async fn create_with_key(&self, spec: TokenSpec, key: TokenKey, now: DateTime<Utc>) -> Result<NewToken> {
        transact!(self.0, tx => {
            let token = insert(&tx, &spec, &key.hash(), now).await?;
            Ok(NewToken { token, key: key.clone() })
        })
    }

    /// A token that lets a worker register within 15 minutes. It belongs to the worker whose row names it.
    pub async fn create_worker_activation(&self, entropy: &dyn Entropy, now: DateTime<Utc>) -> Result<NewToken> {
        self.create(activation_spec(now), entropy, now).await
    }

    /// A token of somebody without account: only explicit grants, disabled until somebody enables it.
    pub async fn create_external_user_token(
        &self,
        username: &str,
        created_by_id: Option<i64>,
        comment: &str,
        entropy: &dyn Entropy,
        now: DateTime<Utc>,
    ) -> Result<NewToken> {
        let spec = TokenSpec {
            external_username: username.to_owned(),
            created_by_id,
            comment: comment.to_owned(),
            ..TokenSpec::of_type(TokenType::ExternalUser)
        };
        self.create(spec, entropy, now).await
    }

    /// The token with this id.
    pub async fn get(&self, id: i64) -> Result<Token> {
        token::Entity::find_by_id(id).one(self.0.reader()).await?.ok_or_else(|| Error::does_not_exist("Token", id))
    }

    /// A page of the tokens of a user, newest first.
    pub async fn of_user(&self, user_id: i64, wanted: Wanted) -> Result<Paged<Token>> {
        let tokens = of_user(user_id).order_by_desc(token::Column::CreatedAt).order_by_desc(token::Column::Id);
        wanted.of(tokens, self.0.reader()).await
    }

    /// How many tokens a user has.
    pub async fn count_of_user(&self, user_id: i64) -> Result<u64> {
        Ok(of_user(user_id).count(self.0.reader()).await?)
    }

    /// The token of a user with this id, or `None`.
    pub async fn of_user_or_none(&self, user_id: i64, id: i64) -> Result<Option<Token>> {
        Ok(of_user(user_id).filter(token::Column::Id.eq(id)).one(self.0.reader()).await?)
    }

    /// Changes what a token is for, and whether it works.
    pub async fn update(&self, token: &Token, comment: &str, enabled: bool, now: DateTime<Utc>) -> Result<()> {
        check_comment(comment)?;
        transact!(self.0, tx => {
            let change = token::ActiveModel { id: Set(token.id), comment: Set(comment.to_owned()), ..Default::default() };
            token::Entity::update(change).validate()?.exec(tx.connection()).await?;
            set_enabled(&tx, token.id, enabled, now).await
        })
    }

    /// All tokens of a user and with a key; `None` and the empty text do not filter. Expired ones only if asked for.
    pub fn get_tokens(
        &self,
        owner: Option<&str>,
        key: Option<&str>,
        include_expired: bool,
        now: DateTime<Utc>,
    ) -> Select<token::Entity> {
        let mut tokens = token::Entity::find();
        if let Some(owner) = owner.filter(|owner| !owner.is_empty()) {
            tokens = tokens.left_join(user::Entity).filter(user::Column::Username.eq(owner));
        }
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            tokens = tokens.filter(token::Column::Hash.eq(hash_of(key).0));
        }
        if !include_expired {
            tokens = tokens.filter(unexpired(now));
        }
        tokens
    }

    /// The token with exactly this key, or `None`. Expired ones are not found; disabled ones are: callers look.
    pub async fn get_token_or_none(&self, token_key: &str, now: DateTime<Utc>) -> Result<Option<Token>> {
        self.by_hash(&hash_of(token_key), now).await
    }

    /// The same by the hash of the key.
    pub async fn by_hash(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Token>> {
        let found = token::Entity::find()
            .filter(token::Column::Hash.eq(hash.0.clone()))
            .filter(unexpired(now))
            .one(self.0.reader())
            .await?;
        Ok(found)
    }

    /// Tokens that had expired by `at`.
    pub fn expired(&self, at: DateTime<Utc>) -> Select<token::Entity> {
        token::Entity::find().filter(token::Column::ExpireAt.lt(at))
    }

    /// Deletes a token; one that a worker uses is protected.
    pub async fn delete(&self, token: &Token) -> Result<()> {
        let deleted: Result<()> = transact!(self.0, tx => {
            token::Entity::delete_by_id(token.id).exec(tx.connection()).await?;
            Ok(())
        });
        match deleted {
            Err(Error::Integrity(_)) => Err(Error::Protected { kind: "Token", key: token.id.to_string() }),
            other => other,
        }
    }

    /// Notes that a token was presented. Over HTTP that is written every five minutes at most, unless `always`. Whether it
    /// was written.
    pub async fn seen(&self, token: &Token, always: bool, now: DateTime<Utc>) -> Result<bool> {
        if !always && token.last_seen_at.is_some_and(|seen| now - seen < LAST_SEEN_RESOLUTION) {
            return Ok(false);
        }
        transact!(self.0, tx => {
            let seen = token::ActiveModel { id: Set(token.id), last_seen_at: Set(Some(now)), ..Default::default() };
            token::Entity::update(seen).validate()?.exec(tx.connection()).await?;
            Ok(true)
        })
    }
}

impl Token {
    /// Enables the token and saves it. Does no harm twice.
    pub async fn enable(&mut self, database: &Database, now: DateTime<Utc>) -> Result<()> {
        self.set_enabled(database, true, now).await
    }

    /// Disables the token and saves it; a connected worker that uses it hears of it after the commit.
    pub async fn disable(&mut self, database: &Database, now: DateTime<Utc>) -> Result<()> {
        self.set_enabled(database, false, now).await
    }

    /// The worker that uses this token, if any.
    pub async fn worker(&self, database: &Database) -> Result<Option<worker::Model>> {
        let found = worker::Entity::find().filter(worker::Column::TokenId.eq(self.id)).one(database.reader()).await?;
        Ok(found)
    }

    /// The worker that may register with this token, if any.
    pub async fn activating_worker(&self, database: &Database) -> Result<Option<worker::Model>> {
        let found =
            worker::Entity::find().filter(worker::Column::ActivationTokenId.eq(self.id)).one(database.reader()).await?;
        Ok(found)
    }

    /// The name of the user or external user; empty for other tokens.
    pub async fn get_username(&self, database: &Database) -> Result<String> {
        match self.user_id {
            None => Ok(self.external_username.clone()),
            Some(id) => {
                let owner = user::Entity::find_by_id(id).one(database.reader()).await?;
                owner.map(|user| user.username).ok_or_else(|| Error::does_not_exist("User", id))
            }
        }
    }

    /// The token made after this one.
    pub async fn get_next_by_created_at(&self, database: &Database) -> Result<Self> {
        self.place().neighbour(database, true).await
    }

    /// The token made before this one.
    pub async fn get_previous_by_created_at(&self, database: &Database) -> Result<Self> {
        self.place().neighbour(database, false).await
    }

    fn place(&self) -> Place<token::Entity> {
        use token::Column;
        Place { kind: "Token", time: Column::CreatedAt, id: Column::Id, at: (self.created_at, self.id) }
    }

    async fn set_enabled(&mut self, database: &Database, enabled: bool, now: DateTime<Utc>) -> Result<()> {
        transact!(database, tx => { set_enabled(&tx, self.id, enabled, now).await })?;
        self.enabled = enabled;
        Ok(())
    }
}

pub(crate) fn activation_spec(now: DateTime<Utc>) -> TokenSpec {
    TokenSpec {
        enabled: true,
        expire_at: Some(now + ACTIVATION_TOKEN_LIFE),
        ..TokenSpec::of_type(TokenType::WorkerActivation)
    }
}

/// Enables or disables a token, with the event that tells the worker that uses it.
pub(crate) async fn set_enabled(tx: &WriteTransaction, id: i64, enabled: bool, now: DateTime<Utc>) -> Result<()> {
    let change = token::ActiveModel { id: Set(id), enabled: Set(enabled), ..Default::default() };
    token::Entity::update(change).validate()?.exec(tx.connection()).await?;
    let user = worker::Entity::find().filter(worker::Column::TokenId.eq(id)).one(tx.connection()).await?;
    if let Some(worker) = user {
        let kind = if enabled { EventKind::WorkerEnabled } else { EventKind::WorkerDisabled };
        tx.record(NewEvent::of_worker(kind, worker.id, now));
    }
    Ok(())
}

/// Inserts a token under the hash of its key, after checking that its links fit its type.
pub(crate) async fn insert(
    tx: &WriteTransaction,
    spec: &TokenSpec,
    hash: &TokenHash,
    now: DateTime<Utc>,
) -> Result<Token> {
    Ok(row_of(spec, hash, now)?.insert(tx.connection()).await?)
}

/// The row of a token, after checking that its links fit its type.
pub(crate) fn row_of(spec: &TokenSpec, hash: &TokenHash, now: DateTime<Utc>) -> Result<token::ActiveModel> {
    check(spec)?;
    Ok(token::ActiveModel {
        id: NotSet,
        hash: Set(hash.0.clone()),
        token_type: Set(Text(spec.token_type)),
        user_id: Set(spec.user_id),
        external_username: Set(spec.external_username.clone()),
        work_request_id: Set(spec.work_request_id),
        comment: Set(spec.comment.clone()),
        created_by_id: Set(spec.created_by_id),
        created_at: Set(now),
        expire_at: Set(spec.expire_at),
        enabled: Set(spec.enabled),
        explicit_grants_only: Set(spec.explicit_grants_only),
        last_seen_at: Set(None),
    })
}

fn check(spec: &TokenSpec) -> Result<()> {
    let missing = match spec.token_type {
        TokenType::User if spec.user_id.is_none() => "has no user",
        TokenType::ExternalUser if spec.external_username.is_empty() => "has no username",
        TokenType::WorkRequest if spec.work_request_id.is_none() => "has no work request",
        _ => return check_comment(&spec.comment),
    };
    Err(Error::Invalid(format!("the new {} token {missing}", spec.token_type)))
}

/// PostgreSQL would refuse it in words of its own.
fn check_comment(comment: &str) -> Result<()> {
    let length = comment.chars().count();
    if length > MAX_COMMENT {
        return Err(Error::Invalid(format!(
            "the comment of a token has at most {MAX_COMMENT} characters; this one has {length}"
        )));
    }
    if comment.contains('\0') {
        return Err(Error::Invalid("the comment of a token has no null character".to_owned()));
    }
    Ok(())
}

fn of_user(user_id: i64) -> Select<token::Entity> {
    token::Entity::find()
        .filter(token::Column::UserId.eq(user_id))
        .filter(token::Column::TokenType.eq(Text(TokenType::User)))
}

fn unexpired(now: DateTime<Utc>) -> Condition {
    Condition::any().add(token::Column::ExpireAt.is_null()).add(token::Column::ExpireAt.gte(now))
}
