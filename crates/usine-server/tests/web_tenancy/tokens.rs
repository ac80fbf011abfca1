//! A user's page, tokens and groups.

use usine_db::{GroupManager, TokenManager};
use usine_model::clock::Clock;
use usine_model::permission::{MembershipRole, WorkspaceRole};

use crate::app::{App, Words as _, stories};
use crate::browser::Browser;
use crate::html;
use crate::world::person;

async fn tokens_of(app: &App, name: &str) -> Vec<usine_db::Token> {
    let user = app.user_row(name).await;
    let wanted = usine_db::paged::Wanted { page: 1, size: 100 };
    TokenManager(&app.state.database).of_user(user.id, wanted).await.unwrap().rows
}

/// The text of an element.
fn text_of(html: &str, id: &str) -> String {
    let begin = html.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}: {html}"));
    let rest = &html[begin..];
    let rest = &rest[rest.find('>').unwrap() + 1..];
    rest[..rest.find('<').unwrap()].to_owned()
}

stories! {
    async fn a_token_is_made_shown_once_used_disabled_and_deleted(app: App) {
        app.stranger_key("alice").await;
        app.contributes("alice").await;
        let mut browser = Browser::of(&app, "alice").await;
        let list = browser.shown("/-/user/alice/token/").await;
        assert!(list.contains("/-/user/alice/token/create/"));
        let host = app.url.strip_prefix("http://").unwrap();
        let name = host.split(':').next().unwrap();
        let file = text_of(&list, "configuration");
        let begin = format!("[General]\ndefault-server = {name}\n\n[server:{name}]\napi-url = {}/api\nscope = debusine\n", app.url);
        assert!(file.starts_with(&begin), "{file}");

        let form = browser.shown("/-/user/alice/token/create/").await;
        assert!(form.contains("name=\"comment\"") && form.contains("checked"));
        let fields = [("comment", "for <b>builds</b>"), ("enabled", "on"), ("days", "30")];
        let made = browser.post("/-/user/alice/token/create/", &fields).await;
        assert_eq!(made.status, 303);
        let cookie = made.set.iter().find(|line| line.starts_with("token-key=")).unwrap();
        for part in ["Path=/-/user/alice/token/", "HttpOnly", "SameSite=Strict", "Max-Age=60"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(browser.get("/-/user/alice/").await.body.contains("The token is made."), "the notice");

        let shown = browser.shown(&made.location).await;
        let key = text_of(&shown, "key");
        assert_eq!(key.len(), 64);
        assert!(text_of(&shown, "configuration").contains(&format!("token = {key}\n")));
        assert!(shown.contains("data-copy=\"key\"") && shown.contains("for &#60;b&#62;builds&#60;/b&#62;"), "{shown}");
        let again = browser.shown(&made.location).await;
        assert!(!again.contains(&key) && again.contains("stored nowhere"), "it is shown once");

        assert_eq!(app.get("/api/1.0/whoami/").key(&key).answers(200).await["user"], "alice");
        let row = tokens_of(&app, "alice").await.into_iter().find(|row| row.comment == "for <b>builds</b>").unwrap();
        assert_eq!(row.expire_at, Some(app.clock.now() + chrono::TimeDelta::days(30)));
        assert_eq!(row.created_by_id, row.user_id);
        let mine = browser.get("/-/my/token/").await.location;
        let list = browser.shown(&mine).await;
        assert!(list.contains("for &#60;b&#62;builds"), "{list}");

        let edit = format!("/-/user/alice/token/{}/edit/", row.id);
        assert!(browser.shown(&edit).await.contains("checked"));
        let saved = browser.done(&edit, &[("comment", "old")]).await;
        assert!(saved.contains("is saved") && saved.contains("<td>no</td>"), "{saved}");
        assert_eq!(app.get("/api/1.0/whoami/").key(&key).answers(200).await["user"], "<anonymous>");
        browser.done(&edit, &[("comment", "old"), ("enabled", "on")]).await;
        assert_eq!(app.get("/api/1.0/whoami/").key(&key).answers(200).await["user"], "alice");

        let delete = format!("/-/user/alice/token/{}/delete/", row.id);
        assert!(browser.shown(&delete).await.contains("Its comment: old"));
        let list = browser.done(&delete, &[]).await;
        assert!(list.contains("is deleted"));
        assert_eq!(app.get("/api/1.0/whoami/").key(&key).answers(200).await["user"], "<anonymous>");
        assert_eq!(browser.get(&delete).await.status, 404);
        app.end().await;
    }

    async fn wrong_tokens_are_told_at_their_fields(app: App) {
        app.stranger_key("alice").await;
        let mut browser = Browser::of(&app, "alice").await;
        let create = "/-/user/alice/token/create/";
        let long = "x".repeat(101);
        let html = browser.wrong(create, &[("comment", &long), ("days", "soon\"<i>")]).await;
        assert!(html.contains("comment-error") && html.contains("days-error") && html.contains(&long), "{html}");
        assert!(html.contains("soon&#34;&#60;i&#62;") && !html.contains("<i>"), "{html}");
        for days in ["0", "-1", "4000", "1.5"] {
            assert!(browser.wrong(create, &[("days", days)]).await.contains("days-error"), "{days}");
        }
        assert!(browser.wrong(create, &[("comment", "a\0b")]).await.contains("comment-error"));
        assert_eq!(tokens_of(&app, "alice").await.len(), 1);
        let edit = format!("/-/user/alice/token/{}/edit/", tokens_of(&app, "alice").await[0].id);
        assert!(browser.wrong(&edit, &[("comment", &long)]).await.contains("comment-error"));
        app.end().await;
    }

    async fn nobody_sees_or_touches_the_tokens_of_others(app: App) {
        app.stranger_key("alice").await;
        let key = app.stranger_key("bob").await;
        let id = tokens_of(&app, "bob").await[0].id;
        let mut alice = Browser::of(&app, "alice").await;
        let pages = ["", "create/", &format!("{id}/"), &format!("{id}/edit/"), &format!("{id}/delete/")].map(str::to_owned);
        for page in &pages {
            let path = format!("/-/user/bob/token/{page}");
            let answer = alice.get(&path).await;
            assert_eq!(answer.status, 404, "{path}");
            assert!(!html::main(&answer.body).contains("bob"), "{path}");
            // One's own name does not make it one's own token.
            if page.starts_with(|first: char| first.is_ascii_digit()) {
                assert_eq!(alice.get(&format!("/-/user/alice/token/{page}")).await.status, 404);
            }
        }
        for page in ["create/", &format!("{id}/edit/"), &format!("{id}/delete/")] {
            for user in ["alice", "bob"] {
                let answer = alice.post(&format!("/-/user/{user}/token/{page}"), &[("comment", "mine")]).await;
                assert_eq!(answer.status == 404, !(user == "alice" && page == "create/"), "{user} {page}");
            }
        }
        assert_eq!(alice.get("/-/user/bob/groups/").await.status, 404);
        assert_eq!(tokens_of(&app, "bob").await.len(), 1);
        assert_eq!(app.get("/api/1.0/whoami/").key(&key).answers(200).await["user"], "bob");
        for odd in ["x", "0", "-1", "99999999999999999999", "%00"] {
            assert_eq!(alice.get(&format!("/-/user/alice/token/{odd}/")).await.status, 404, "{odd}");
        }
        app.end().await;
    }

    async fn a_user_page_shows_what_one_may_see(app: App) {
        for name in ["alice", "bob@example.org", "id", "ällen+x"] {
            person(&app, name).await;
        }
        app.contributes("alice").await;
        app.contributes("bob@example.org").await;
        let (scope, system) = app.system().await;
        let groups = GroupManager(&app.state.database);
        let now = app.clock.now();
        let owners = groups.get_group_or_none(&scope, None, "Owners").await.unwrap().unwrap();
        let new = usine_db::tenancy::NewWorkspace { name: "Dark", public: false, default_expiration_delay: 0 };
        let workspaces = usine_db::WorkspaceManager(&app.state.database);
        let dark = workspaces.create(&scope, &new, &owners, None, now).await.unwrap();
        for (workspace, name) in [(&system, "seen"), (&dark, "unseen")] {
            let group = groups.create(&scope, Some(workspace), name, false, None, now).await.unwrap();
            let alice = app.user_row("alice").await;
            groups.add_users(&group, &[alice], MembershipRole::Admin, true, None, now).await.unwrap();
        }

        let mut bob = Browser::of(&app, "bob@example.org").await;
        let page = bob.shown("/-/user/alice/").await;
        let own = html::main(&page);
        assert!(own.contains("/debusine/System/groups/seen/") && own.contains("admin"), "{own}");
        assert!(!own.contains("Dark") && !own.contains("unseen") && !own.contains("Remove from scope"), "{own}");
        assert!(!own.contains("@example.org") && !own.contains("token/"), "{own}");
        let id = app.user_row("alice").await.id;
        for path in [format!("/-/user/id/{id}/"), format!("/-/user/{id}/")] {
            let moved = bob.get(&path).await;
            assert_eq!((moved.status, moved.location.as_str()), (303, "/-/user/alice/"), "{path}");
        }
        for odd in ["/-/user/id/9999/", "/-/user/id/x/", "/-/user/9999/", "/-/user/nobody/", "/-/user/%00/", "/-/user/a%20b/"] {
            assert_eq!(bob.get(odd).await.status, 404, "{odd}");
        }
        let mine = bob.get("/-/my/").await;
        assert_eq!((mine.status, mine.location.as_str()), (303, "/-/user/bob@example.org/"));
        let page = bob.shown("/-/user/bob@example.org/").await;
        assert!(page.contains("/-/user/bob@example.org/token/"), "{page}");
        assert_eq!(bob.get("/-/my/token/?page=2").await.location, "/-/user/bob@example.org/token/?page=2");

        let mut alice = Browser::of(&app, "alice").await;
        let page = alice.shown("/-/user/alice/groups/").await;
        let own = html::main(&page);
        assert!(own.contains("unseen") && !own.contains("Dark"), "{own}");

        // Names that would be something else in an address.
        for (name, address) in [("id", "/-/user/%69d/"), ("ällen+x", "/-/user/%C3%A4llen+x/")] {
            let mut browser = Browser::of(&app, name).await;
            assert_eq!(browser.get("/-/my/").await.location, address);
            browser.shown(address).await;
            browser.shown(&format!("{address}token/")).await;
            let made = browser.post(&format!("{address}token/create/"), &[("enabled", "on")]).await;
            assert!(browser.shown(&made.location).await.contains("id=\"key\""), "{name}");
        }
        app.end().await;
    }

    async fn tokens_with_grants_only_and_expired_ones_say_so(app: App) {
        app.stranger_key("alice").await;
        let alice = app.user_row("alice").await;
        let past = app.clock.now() - chrono::TimeDelta::days(2);
        app.token_of(&alice, |token| { token.explicit_grants_only = true; }).await;
        app.token_of(&alice, |token| { token.expire_at = Some(past); }).await;
        let mut browser = Browser::of(&app, "alice").await;
        let list = browser.shown("/-/user/alice/token/").await;
        assert!(list.contains("explicit grants only") && list.contains("expired <time"), "{list}");
        app.end().await;
    }

    async fn who_has_not_logged_in_is_sent_to_do_so(app: App) {
        app.stranger_key("alice").await;
        let mut nobody = Browser::new(&app);
        for path in ["/-/my/token/", "/-/user/alice/", "/-/user/alice/token/", "/debusine/-/members/", "/debusine/-/roles/"] {
            let answer = nobody.get(path).await;
            assert_eq!(answer.status, 303, "{path}");
            let next = path.replace('/', "%2F").replace('-', "%2D");
            assert_eq!(answer.location, format!("/-/login/?next={next}"));
        }
        app.has_role("alice", &app.system().await.1, &app.system().await.0, WorkspaceRole::Viewer).await;
        app.end().await;
    }
}
