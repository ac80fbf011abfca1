//! `Token` and `TokenManager` on both databases. Rows are those of the data model's table of behaviour (A8).

mod farm;
mod support;

use chrono::TimeDelta;
use farm::{Farm, at, heard, kinds, stories};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, NotSet, PaginatorTrait, Set};
use usine_db::entity::token;
use usine_db::token::TokenSpec;
use usine_db::{Database, Error};
use usine_model::event::EventKind;
use usine_model::token::{TokenKey, TokenType};

fn key(digit: char) -> TokenKey {
    digit.to_string().repeat(64).parse().unwrap()
}

/// Ids of the tokens, sorted: no order is promised.
async fn found(db: &Database, owner: Option<&str>, key: Option<&str>) -> Vec<i64> {
    let tokens = Farm::new(db).tokens().get_tokens(owner, key, false, at(0)).all(db.reader()).await.unwrap();
    let mut ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
    ids.sort_unstable();
    ids
}

stories! {
    /// Row 1: saving generates 64 hexadecimal digits, once.
    async fn row_01_a_key_is_generated_once(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user("alice").await;
        let (mut first, second) = (farm.user_token(&alice).await, farm.user_token(&alice).await);
        assert_ne!(first.key, second.key);
        for key in [first.key.reveal(), second.key.reveal()] {
            assert!(key.len() == 64 && key.bytes().all(|b| b"0123456789abcdef".contains(&b)), "{key}");
        }
        first.token.enable(db, farm.now()).await.unwrap();
        assert_eq!(farm.tokens().get(first.token.id).await.unwrap().hash, first.key.hash().0);
    }

    /// Row 2: a key that somebody else has chosen is kept.
    async fn row_02_a_given_key_is_kept(db: &Database) {
        let farm = Farm::new(db);
        let spec = TokenSpec::of_user(farm.user("alice").await.id);
        let made = farm.tokens().create_with_key(spec, key('7'), farm.now()).await.unwrap();
        assert_eq!(made.key.reveal(), "7".repeat(64));
        let found = farm.tokens().get_token_or_none(&"7".repeat(64), farm.now()).await.unwrap();
        assert_eq!(found, Some(made.token));
    }

    /// Row 3: the SHA-256 of the key's text is stored, the key is not.
    async fn row_03_only_the_hash_is_stored(db: &Database) {
        let farm = Farm::new(db);
        let spec = TokenSpec::of_user(farm.user("alice").await.id);
        let made = farm.tokens().create_with_key(spec, key('0'), farm.now()).await.unwrap();
        let stored = farm.tokens().get(made.token.id).await.unwrap();
        // sha256sum of sixty-four '0' characters
        assert_eq!(stored.hash, "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55");
        assert!(!format!("{stored:?}").contains(made.key.reveal()));
    }

    /// Row 4: a key exists once.
    async fn row_04_a_key_is_unique(db: &Database) {
        let farm = Farm::new(db);
        let spec = TokenSpec::of_user(farm.user("alice").await.id);
        farm.tokens().create_with_key(spec.clone(), key('1'), farm.now()).await.unwrap();
        let again = farm.tokens().create_with_key(spec, key('1'), farm.now()).await.unwrap_err();
        assert!(again.violates_unique("token", "hash"), "{again}");
        assert_eq!(token::Entity::find().count(db.reader()).await.unwrap(), 1);
    }

    /// Row 5: a key has exactly 64 characters, and so has what is stored.
    async fn row_05_a_key_has_64_characters(db: &Database) {
        for length in [0, 63, 65] {
            "a".repeat(length).parse::<TokenKey>().unwrap_err();
        }
        let farm = Farm::new(db);
        let made = farm.user_token(&farm.user("alice").await).await.token;
        for length in [63, 64, 65] {
            let mut row = made.clone().into_active_model().reset_all();
            (row.id, row.hash) = (NotSet, Set("a".repeat(length)));
            assert_eq!(row.insert(db.reader()).await.is_ok(), length == 64, "{length}");
        }
    }

    /// Row 6: a token does not work until somebody enables it.
    async fn row_06_a_new_token_is_disabled(db: &Database) {
        let farm = Farm::new(db);
        let made = farm.user_token(&farm.user("alice").await).await;
        assert!(!farm.tokens().get(made.token.id).await.unwrap().enabled);
    }

    /// Row 7: enabling and disabling are saved, and do no harm twice.
    async fn row_07_enable_and_disable_are_saved(db: &Database) {
        let farm = Farm::new(db);
        let mut token = farm.user_token(&farm.user("alice").await).await.token;
        for enabled in [true, true, false, false, true] {
            if enabled {
                token.enable(db, farm.now()).await.unwrap();
            } else {
                token.disable(db, farm.now()).await.unwrap();
            }
            assert_eq!(token.enabled, enabled);
            assert_eq!(farm.tokens().get(token.id).await.unwrap(), token);
        }
    }

    /// Row 8: when the token of a worker is disabled, its connection hears of it. (The server closes it then.)
    async fn row_08_disabling_tells_the_worker(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut events = db.events();
        worker.token(db).await.unwrap().unwrap().disable(db, farm.now()).await.unwrap();
        let heard = heard(&mut events);
        assert_eq!(kinds(&heard), [EventKind::WorkerDisabled]);
        assert_eq!(heard[0].worker_id, Some(worker.id));
    }

    /// Row 9: when the token of a user is disabled, nobody is told.
    async fn row_09_disabling_a_users_token_tells_nobody(db: &Database) {
        let farm = Farm::new(db);
        let mut token = farm.user_token(&farm.user("alice").await).await.token;
        let mut events = db.events();
        token.disable(db, farm.now()).await.unwrap();
        assert_eq!(heard(&mut events), []);
        assert_eq!(farm.all_events().await, []);
    }

    /// Row 10: a comment is empty unless given, and has at most 100 characters (not bytes).
    async fn row_10_comments_are_short(db: &Database) {
        let farm = Farm::new(db);
        let spec = TokenSpec::of_user(farm.user("alice").await.id);
        let create = async |comment: String| {
            let spec = TokenSpec { comment, ..spec.clone() };
            farm.tokens().create(spec, &farm.entropy, farm.now()).await
        };
        assert_eq!(create(spec.comment.clone()).await.unwrap().token.comment, "");
        assert_eq!(create("ü".repeat(100)).await.unwrap().token.comment, "ü".repeat(100));
        assert!(matches!(create("x".repeat(101)).await, Err(Error::Invalid(text)) if text.contains("100")));
    }

    /// Row 11: the time of creation is that of the saving, and stays.
    async fn row_11_the_time_of_creation_stays(db: &Database) {
        let farm = Farm::new(db);
        let spec = TokenSpec::of_user(farm.user("alice").await.id);
        let moment = at(0) + TimeDelta::microseconds(123_456);
        let mut token = farm.tokens().create(spec, &farm.entropy, moment).await.unwrap().token;
        token.enable(db, at(1_000_000)).await.unwrap();
        assert_eq!(farm.tokens().get(token.id).await.unwrap().created_at, moment);
    }

    /// Row 12: a token knows its worker, if it has one.
    async fn row_12_a_token_knows_its_worker(db: &Database) {
        let farm = Farm::new(db);
        let (worker, _) = farm.registered("w.example.org").await;
        let token = worker.token(db).await.unwrap().unwrap();
        assert_eq!(token.worker(db).await.unwrap(), Some(worker));
        assert_eq!(token.activating_worker(db).await.unwrap(), None);
        let other = farm.user_token(&farm.user("alice").await).await.token;
        assert_eq!(other.worker(db).await.unwrap(), None);
    }

    /// Row 13: the token of a worker cannot be deleted.
    async fn row_13_a_workers_token_is_protected(db: &Database) {
        let farm = Farm::new(db);
        let (worker, _) = farm.registered("w.example.org").await;
        let token = worker.token(db).await.unwrap().unwrap();
        let refused = farm.tokens().delete(&token).await.unwrap_err();
        assert!(matches!(refused, Error::Protected { kind: "Token", .. }), "{refused}");
        assert_eq!(worker.token(db).await.unwrap(), Some(token));
        let free = farm.user_token(&farm.user("alice").await).await.token;
        farm.tokens().delete(&free).await.unwrap();
        assert!(matches!(farm.tokens().get(free.id).await, Err(Error::DoesNotExist { kind: "Token", .. })));
    }

    /// Row 14: without filter, all tokens.
    async fn row_14_get_tokens_finds_all(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user("alice").await;
        let mut made = Vec::new();
        for _ in 0..2 {
            made.push(farm.user_token(&alice).await.token.id);
        }
        made.push(farm.registered("w.example.org").await.0.token_id.unwrap());
        assert_eq!(found(db, None, None).await, made);
    }

    /// Row 15: the tokens of exactly this owner.
    async fn row_15_get_tokens_of_an_owner(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user_token(&farm.user("alice").await).await.token;
        let bob = farm.user_token(&farm.user("bob").await).await.token;
        assert_eq!(found(db, Some("alice"), None).await, [alice.id]);
        assert_eq!(found(db, Some("bob"), None).await, [bob.id]);
        for nobody in ["ali", "Alice", "alice "] {
            assert!(found(db, Some(nobody), None).await.is_empty(), "{nobody:?}");
        }
    }

    /// Row 16: the token with exactly this key; a wrong key is no error.
    async fn row_16_get_tokens_with_a_key(db: &Database) {
        let farm = Farm::new(db);
        let made = farm.user_token(&farm.user("alice").await).await;
        assert_eq!(found(db, None, Some(made.key.reveal())).await, [made.token.id]);
        for wrong in [&"0".repeat(64), &made.key.reveal()[..63], made.token.hash.as_str(), "no key"] {
            assert!(found(db, None, Some(wrong)).await.is_empty(), "{wrong:?}");
        }
    }

    /// Row 17: both filters must match.
    async fn row_17_get_tokens_of_an_owner_with_a_key(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user_token(&farm.user("alice").await).await;
        farm.user_token(&farm.user("bob").await).await;
        assert_eq!(found(db, Some("alice"), Some(alice.key.reveal())).await, [alice.token.id]);
        assert!(found(db, Some("bob"), Some(alice.key.reveal())).await.is_empty());
    }

    /// Row 18: empty text does not filter.
    async fn row_18_empty_text_does_not_filter(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user_token(&farm.user("alice").await).await;
        farm.registered("w.example.org").await;
        assert_eq!(found(db, Some(""), Some("")).await, found(db, None, None).await);
        assert_eq!(found(db, None, None).await.len(), 2);
        assert_eq!(found(db, Some("alice"), Some("")).await, [alice.token.id]);
    }

    /// Row 19: the token with exactly this key, or none. A disabled one is found: callers look.
    ///
    /// Row 20, that asking without a key is a programming error, is said by the type: the key is a `&str`, there is no
    /// way to pass nothing. The empty text is a key that no token has.
    async fn row_19_get_token_or_none(db: &Database) {
        let farm = Farm::new(db);
        let made = farm.user_token(&farm.user("alice").await).await;
        let get = async |key: &str| farm.tokens().get_token_or_none(key, farm.now()).await.unwrap();
        assert!(!made.token.enabled);
        assert_eq!(get(made.key.reveal()).await, Some(made.token));
        for unknown in ["", "unknown", &"f".repeat(64), &made.key.reveal().to_uppercase()] {
            assert_eq!(get(unknown).await, None, "{unknown:?}");
        }
    }

    /// Row 21: an expired token is not found, unless asked for.
    async fn row_21_expired_tokens_are_not_found(db: &Database) {
        let farm = Farm::new(db);
        let spec = TokenSpec { expire_at: Some(at(1500)), ..TokenSpec::of_user(farm.user("alice").await.id) };
        let made = farm.tokens().create(spec, &farm.entropy, at(0)).await.unwrap();
        farm.user_token(&farm.user("bob").await).await;
        // Valid until that very moment. The fraction has another number of digits each time.
        let after = at(1500) + TimeDelta::microseconds(1);
        for (now, valid) in [(at(0), true), (at(1000), true), (at(1500), true), (after, false), (at(2000), false)] {
            let by_key = farm.tokens().get_token_or_none(made.key.reveal(), now).await.unwrap();
            assert_eq!(by_key.is_some(), valid, "{now}");
            let unexpired = farm.tokens().get_tokens(None, None, false, now).all(db.reader()).await.unwrap();
            assert_eq!(unexpired.len(), if valid { 2 } else { 1 }, "{now}");
            let all = farm.tokens().get_tokens(None, None, true, now).all(db.reader()).await.unwrap();
            assert_eq!(all.len(), 2);
            let expired = farm.tokens().expired(now).all(db.reader()).await.unwrap();
            assert_eq!(expired.len(), if valid { 0 } else { 1 }, "{now}");
        }
    }

    /// Row 57, for tokens: the neighbour in the order of creation, ties broken by id, an error at the ends.
    async fn row_57_tokens_have_neighbours(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user("alice").await.id;
        let mut made = Vec::new();
        for now in [at(1000), at(0), at(1000)] {
            made.push(farm.tokens().create(TokenSpec::of_user(alice), &farm.entropy, now).await.unwrap().token);
        }
        let [second, first, third] = &made[..] else { unreachable!() };
        assert_eq!(&first.get_next_by_created_at(db).await.unwrap(), second);
        assert_eq!(&second.get_next_by_created_at(db).await.unwrap(), third);
        assert_eq!(&second.get_previous_by_created_at(db).await.unwrap(), first);
        assert!(matches!(third.get_next_by_created_at(db).await, Err(Error::DoesNotExist { kind: "Token", .. })));
        assert!(matches!(first.get_previous_by_created_at(db).await, Err(Error::DoesNotExist { .. })));
    }

    async fn tokens_need_what_their_type_says(db: &Database) {
        let farm = Farm::new(db);
        for (spec, missing) in [
            (TokenSpec::of_type(TokenType::User), "has no user"),
            (TokenSpec::of_type(TokenType::ExternalUser), "has no username"),
            (TokenSpec::of_type(TokenType::WorkRequest), "has no work request"),
        ] {
            let refused = farm.tokens().create(spec, &farm.entropy, farm.now()).await.unwrap_err();
            assert!(matches!(&refused, Error::Invalid(text) if text.ends_with(missing)), "{refused}");
        }
        // A link that another type has is refused by the database.
        let alice = farm.user("alice").await.id;
        let spec = TokenSpec { token_type: TokenType::Worker, ..TokenSpec::of_user(alice) };
        farm.tokens().create(spec, &farm.entropy, farm.now()).await.unwrap_err();
        assert!(found(db, None, None).await.is_empty());
    }

    async fn somebody_without_account_gets_explicit_grants_only(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user("alice").await;
        let made = farm
            .tokens()
            .create_external_user_token("carol", Some(alice.id), "for a trial", &farm.entropy, farm.now())
            .await
            .unwrap();
        let token = farm.tokens().get(made.token.id).await.unwrap();
        assert!(token.explicit_grants_only && !token.enabled);
        assert_eq!((token.created_by_id, token.comment.as_str()), (Some(alice.id), "for a trial"));
        assert_eq!(token.get_username(db).await.unwrap(), "carol");
        assert_eq!(farm.user_token(&alice).await.token.get_username(db).await.unwrap(), "alice");
        let (worker, _) = farm.registered("w.example.org").await;
        assert_eq!(worker.token(db).await.unwrap().unwrap().get_username(db).await.unwrap(), "");
    }

    async fn last_seen_is_written_every_five_minutes(db: &Database) {
        let farm = Farm::new(db);
        let id = farm.user_token(&farm.user("alice").await).await.token.id;
        let minutes = |minutes| at(0) + TimeDelta::minutes(minutes);
        for (now, always, expected) in
            [(0, false, 0), (4, false, 0), (4, true, 4), (8, false, 4), (9, false, 9), (10, false, 9)]
        {
            let token = farm.tokens().get(id).await.unwrap();
            farm.tokens().seen(&token, always, minutes(now)).await.unwrap();
            assert_eq!(farm.tokens().get(id).await.unwrap().last_seen_at, Some(minutes(expected)), "minute {now}");
        }
    }
}
