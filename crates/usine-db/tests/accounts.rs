//! Users and their passwords, sessions of browsers, and clients that wait to be let in, on both databases.

mod farm;
mod support;

use chrono::{DateTime, TimeDelta, Utc};
use farm::{Farm, at, stories};
use serde_json::json;
use usine_db::account::User;
use usine_db::session::SESSION_LIFE;
use usine_db::{Database, EnrolmentManager, Error, PermissionManager, SessionManager, UserManager};
use usine_model::permission::{Actor, GlobalPermission, PermissionContext};
use usine_model::token::TokenKey;

async fn new_user(farm: &Farm<'_>, name: &str) -> (User, String) {
    let email = format!("{name}@example.org");
    UserManager(farm.db).create(name, &email, &farm.entropy, farm.now()).await.unwrap()
}

/// Whose session it is.
async fn owner(db: &Database, key: &TokenKey, now: DateTime<Utc>) -> Option<String> {
    SessionManager(db).user(key.reveal(), now).await.unwrap().map(|user| user.username)
}

stories! {
    async fn people_log_in_with_their_password(db: &Database) {
        let (farm, users) = (Farm::new(db), UserManager(db));
        let (alice, password) = new_user(&farm, "alice").await;
        assert_eq!(password.len(), 16);
        assert!(alice.check_password(&password) && alice.last_login.is_none());
        let seen = users.authenticate("alice", &password, at(5000)).await.unwrap().unwrap();
        assert_eq!((seen.id, seen.last_login), (alice.id, Some(at(5000))));
        for (name, text) in [("alice", "guess"), ("alice", ""), ("Alice", &password), ("bob", &password),
            ("_system", ""), ("al\0ice", &password), ("", "")] {
            assert_eq!(users.authenticate(name, text, at(6000)).await.unwrap(), None, "{name:?} {text:?}");
        }
        let bare = farm.user("bare").await;
        assert_eq!(users.authenticate(&bare.username, "", at(6000)).await.unwrap(), None, "no password, no way in");
        let out = users.set_active(&alice, false).await.unwrap();
        assert_eq!(users.authenticate("alice", &password, at(7000)).await.unwrap(), None);
        users.set_active(&out, true).await.unwrap();
        assert!(users.authenticate("alice", &password, at(8000)).await.unwrap().is_some());
    }

    async fn a_new_password_ends_all_sessions(db: &Database) {
        let (farm, users, sessions) = (Farm::new(db), UserManager(db), SessionManager(db));
        let (alice, old) = new_user(&farm, "alice").await;
        let bob = farm.user("bob").await;
        let key = sessions.begin(&alice, &farm.entropy, at(0)).await.unwrap();
        let other = sessions.begin(&bob, &farm.entropy, at(0)).await.unwrap();
        let short = users.set_password(&alice, Some("1234567"), &farm.entropy).await;
        assert!(matches!(short, Err(Error::Invalid(text)) if text.contains("at least 8 characters")));
        assert_eq!(owner(db, &key, at(1)).await.as_deref(), Some("alice"));
        let chosen = users.set_password(&alice, Some("correct horse"), &farm.entropy).await.unwrap();
        assert_eq!(chosen, "correct horse");
        let changed = users.get(alice.id).await.unwrap();
        assert!(changed.check_password("correct horse") && !changed.check_password(&old));
        assert_eq!((owner(db, &key, at(1)).await, owner(db, &other, at(1)).await.as_deref()), (None, Some("bob")));
        let random = users.set_password(&alice, None, &farm.entropy).await.unwrap();
        assert!(random.len() == 16 && users.get(alice.id).await.unwrap().check_password(&random));
    }

    async fn names_and_addresses_exist_once(db: &Database) {
        let (farm, users) = (Farm::new(db), UserManager(db));
        let (alice, _) = new_user(&farm, "alice").await;
        let (bob, _) = new_user(&farm, "bob").await;
        for (name, email) in [("alice", "new@example.org"), ("carol", "bob@example.org"), ("42", "a@b"), ("a b", "a@b"),
            ("carol", "carol"), ("carol", "a@b@c"), ("carol", "a @b")] {
            let made = users.create(name, email, &farm.entropy, farm.now()).await;
            assert!(matches!(made, Err(Error::Invalid(_))), "{name} {email}: {made:?}");
        }
        let taken = users.change_email(&bob, "alice@example.org").await;
        assert!(matches!(taken, Err(Error::Invalid(text)) if text == "A user with this username or email already exists"));
        assert!(matches!(users.change_email(&bob, "").await, Err(Error::Invalid(_))));
        assert_eq!(users.change_email(&bob, "b@example.org").await.unwrap().email, "b@example.org");
        let names: Vec<String> = users.list().await.unwrap().into_iter().map(|user| user.username).collect();
        assert_eq!(names, ["alice", "bob"], "as they joined, without the system");
        assert_eq!(users.get_user_or_none("alice").await.unwrap().map(|user| user.id), Some(alice.id));
    }

    async fn what_is_allowed_everywhere(db: &Database) {
        let (farm, users, permissions) = (Farm::new(db), UserManager(db), PermissionManager(db));
        let alice = farm.user("alice").await;
        let (pools, priorities) = (GlobalPermission::ManageWorkerpools, GlobalPermission::ManageWorkrequestPriorities);
        assert!(!permissions.has(&alice, pools).await.unwrap());
        for _ in 0..2 {
            users.grant_permission(&alice, pools).await.unwrap();
        }
        assert_eq!(users.permissions(&alice).await.unwrap(), [pools]);
        assert!(permissions.has(&alice, pools).await.unwrap() && !permissions.has(&alice, priorities).await.unwrap());
        for _ in 0..2 {
            users.revoke_permission(&alice, pools).await.unwrap();
        }
        assert!(users.permissions(&alice).await.unwrap().is_empty());
        let alice = users.set_superuser(&alice, true).await.unwrap();
        let system = users.system().await.unwrap();
        assert!(permissions.has(&alice, priorities).await.unwrap() && permissions.has(&system, pools).await.unwrap());
        assert_eq!(permissions.context_of(&alice).await.unwrap().actor, Actor::User(alice.id));
        assert_eq!(permissions.context_of(&system).await.unwrap(), PermissionContext::system());
    }

    async fn sessions_begin_and_end(db: &Database) {
        let (farm, sessions) = (Farm::new(db), SessionManager(db));
        let alice = farm.user("alice").await;
        let (one, two) = (sessions.begin(&alice, &farm.entropy, at(0)).await.unwrap(),
            sessions.begin(&alice, &farm.entropy, at(1000)).await.unwrap());
        let last = at(0) + SESSION_LIFE - TimeDelta::milliseconds(1);
        assert_eq!(owner(db, &one, last).await.as_deref(), Some("alice"));
        assert_eq!(owner(db, &one, at(0) + SESSION_LIFE).await, None, "it is over");
        assert_eq!(sessions.user("nothing", at(1)).await.unwrap(), None);
        let out = UserManager(db).set_active(&alice, false).await.unwrap();
        assert_eq!(owner(db, &two, at(2000)).await, None);
        UserManager(db).set_active(&out, true).await.unwrap();
        assert_eq!(sessions.clear_expired(at(0) + SESSION_LIFE).await.unwrap(), 1);
        assert_eq!(owner(db, &two, at(2000)).await.as_deref(), Some("alice"));
        for _ in 0..2 {
            sessions.end(two.reveal()).await.unwrap();
            assert_eq!(owner(db, &two, at(2000)).await, None);
        }
    }

    async fn a_client_waits_for_its_user(db: &Database) {
        let (farm, enrolments) = (Farm::new(db), EnrolmentManager(db));
        let (alice, bob) = (farm.user("alice").await, farm.user("bob").await);
        let payload = json!({"hostname": "laptop", "scope": "debusine"});
        let waiting = enrolments.begin("nonce", payload.clone(), at(0)).await.unwrap().unwrap();
        assert_eq!((&waiting.payload, &waiting.outcome), (&payload, &None));
        assert_eq!(enrolments.begin("nonce", json!({}), at(1)).await.unwrap(), None, "the nonce is taken");
        assert_eq!(enrolments.get_or_none("other").await.unwrap(), None);
        assert!(enrolments.decide(waiting.id, true, &alice).await.unwrap());
        assert!(!enrolments.decide(waiting.id, false, &bob).await.unwrap(), "it is decided");
        let decided = enrolments.get_or_none("nonce").await.unwrap().unwrap();
        assert_eq!((decided.outcome.as_deref(), decided.user_id), (Some("confirm"), Some(alice.id)));
        enrolments.end(waiting.id).await.unwrap();
        assert_eq!(enrolments.get_or_none("nonce").await.unwrap(), None);
        assert!(!enrolments.decide(waiting.id, true, &alice).await.unwrap(), "nobody waits any more");

        let other = enrolments.begin("refused", json!({}), at(2)).await.unwrap().unwrap();
        assert!(enrolments.decide(other.id, false, &bob).await.unwrap());
        let decided = enrolments.get_or_none("refused").await.unwrap().unwrap();
        assert_eq!(decided.outcome.as_deref(), Some("cancel"));
        enrolments.begin("later", json!({}), at(5)).await.unwrap().unwrap();
        assert_eq!(enrolments.clear(at(5)).await.unwrap(), 1, "what a crash has left behind");
        assert!(enrolments.get_or_none("later").await.unwrap().is_some());
    }
}
