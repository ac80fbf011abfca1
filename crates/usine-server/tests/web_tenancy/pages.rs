//! What must hold of each page: the number of queries does not grow with the rows, and what people write is text.

use sea_orm::ConnectionTrait;
use usine_db::TokenManager;
use usine_db::tenancy::NewWorkspace;
use usine_db::token::TokenSpec;
use usine_db::{GroupManager, WorkspaceManager};
use usine_model::clock::Clock;
use usine_model::permission::{MembershipRole, ScopeRole, WorkspaceRole};

use crate::app::{App, stories};
use crate::browser::Browser;
use crate::world::{group, person, put, scope_owner};

/// Pages with lists, and how many queries each makes: session, grants, scope, workspace, and its own.
const PAGES: [(&str, u32); 16] = [
    ("/-/user/olga/", 7),
    ("/-/user/olga/token/", 6),
    ("/-/user/olga/token/create/", 3),
    ("/-/user/olga/groups/", 6),
    ("/debusine/-/members/", 6),
    ("/debusine/-/members/olga/remove/", 8),
    ("/debusine/-/groups/", 7),
    ("/debusine/-/roles/", 5),
    ("/debusine/-/roles/add/", 7),
    ("/debusine/-/groups/big/", 11),
    ("/debusine/-/groups/big/audit-log/", 6),
    ("/debusine/-/groups/big/delete/", 8),
    ("/debusine/System/groups/", 8),
    ("/debusine/System/roles/", 6),
    ("/debusine/System/inheritance/", 6),
    ("/debusine/System/configure/", 4),
];

async fn fill(app: &App, from: usize, to: usize) {
    let (scope, system) = app.system().await;
    let database = &app.state.database;
    let now = app.clock.now();
    let olga = app.user_row("olga").await;
    let big = group(app, &scope, None, "big").await;
    let owners = group(app, &scope, None, "Owners").await;
    let workspaces = WorkspaceManager(database);
    let mut parents = workspaces.inheritance(&system).await.unwrap();
    for number in from..to {
        let spec = TokenSpec { enabled: true, ..TokenSpec::of_user(olga.id) };
        TokenManager(database).create(spec, &*app.entropy, now).await.unwrap();
        let member = person(app, &format!("person{number}")).await;
        put(app, &big, &member, MembershipRole::Member).await;
        let name = format!("workspace{number}");
        let new = NewWorkspace { name: &name, public: true, default_expiration_delay: 0 };
        let workspace = workspaces.create(&scope, &new, &owners, None, now).await.unwrap();
        for of in [None, Some(&system), Some(&workspace)] {
            let group = group(app, &scope, of, &format!("group{number}")).await;
            put(app, &group, &olga, MembershipRole::Admin).await;
            workspaces.grant_role(&system, &scope, &group, WorkspaceRole::Viewer, None, now).await.unwrap();
            usine_db::ScopeManager(database).grant_role(&scope, &group, ScopeRole::Aware, None, now).await.unwrap();
            GroupManager(database).create(&scope, of, &format!("bare{number}"), false, None, now).await.unwrap();
        }
        workspaces.grant_role(&workspace, &scope, &big, WorkspaceRole::Viewer, None, now).await.unwrap();
        parents.push((workspace, scope.clone()));
    }
    workspaces.set_inheritance(&system, &scope, &parents, None, now).await.unwrap();
}

stories! {
    async fn queries_do_not_grow_with_the_rows(app: App) {
        scope_owner(&app, "olga").await;
        let mut browser = Browser::of(&app, "olga").await;
        let mut rows = 0;
        for wanted in [1, 30] {
            fill(&app, rows, wanted).await;
            rows = wanted;
            let mut found = Vec::new();
            for (path, _) in PAGES {
                let page = browser.get(path).await;
                assert_eq!(page.status, 200, "{path}");
                found.push((path, page.queries));
            }
            assert_eq!(found, PAGES, "with {wanted} rows");
        }
        // Lists go on on further pages.
        let groups = browser.shown("/debusine/-/groups/").await;
        assert!(groups.contains("Page 1 of 4") && groups.contains("href=\"?page=2\""), "{groups}");
        let last = browser.shown("/debusine/-/groups/?page=99999999999").await;
        assert!(last.contains("Page 4 of 4") && last.contains("href=\"?page=3\""), "{last}");
        let some = browser.shown("/debusine/System/roles/add/?name=ARE1&page=2").await;
        assert!(some.contains("System/bare1<") && some.contains("?name=ARE1&#38;page=3"), "{some}");
        let none = browser.shown("/debusine/System/roles/add/?name=%25%3Cb%3E_").await;
        assert!(none.contains("No group without a role has") && none.contains("%&#60;b&#62;_"), "{none}");
        app.end().await;
    }

    /// Even what no form would take is shown as text: names and texts that were written into the database by hand.
    async fn what_people_write_is_text(app: App) {
        const BAD: &str = "<b onclick=\"x\">'&";
        scope_owner(&app, "olga").await;
        fill(&app, 0, 2).await;
        let connection = app.state.database.reader();
        let (scope, system) = app.system().await;
        let write = async |table: &str, column: &str, which: &str| {
            let text = BAD.replace('\'', "''");
            let sql = format!("UPDATE \"{table}\" SET {column} = '{text}' || CAST(id AS TEXT) WHERE {which}");
            assert!(connection.execute_unprepared(&sql).await.unwrap().rows_affected() > 0, "{table}.{column}");
        };
        write("user", "username", "username = 'person0'").await;
        write("user", "email", "username = 'olga'").await;
        write("group", "name", "name = 'group0' AND workspace_id IS NULL").await;
        write("group", "name", "name = 'bare0' AND workspace_id IS NULL").await;
        write("workspace", "name", "name = 'workspace0'").await;
        write("workspace", "description", "name = 'System'").await;
        write("scope", "label", "name = 'debusine'").await;
        write("token", "comment", "user_id IS NOT NULL").await;
        write("audit_log", "actor", "1 = 1").await;
        write("audit_log", "subject", "1 = 1").await;
        let changes = serde_json::json!({"type": BAD, "user": BAD, "role": BAD}).to_string().replace('\'', "''");
        connection.execute_unprepared(&format!("UPDATE audit_log SET changes = '{changes}'")).await.unwrap();
        let mut olga = Browser::of(&app, "olga").await;
        let user = app.user_row("olga").await;
        let wanted = usine_db::paged::Wanted { page: 1, size: 1 };
        let token = TokenManager(&app.state.database).of_user(user.id, wanted).await.unwrap().rows[0].id;
        for path in [
            "/-/user/olga/".to_owned(),
            "/-/user/olga/groups/".to_owned(),
            "/-/user/olga/token/".to_owned(),
            format!("/-/user/olga/token/{token}/"),
            format!("/-/user/olga/token/{token}/edit/"),
            format!("/-/user/olga/token/{token}/delete/"),
            "/debusine/-/members/".to_owned(),
            "/debusine/-/members/olga/remove/".to_owned(),
            "/debusine/-/groups/".to_owned(),
            "/debusine/-/groups/big/".to_owned(),
            "/debusine/-/groups/big/audit-log/".to_owned(),
            "/debusine/-/groups/big/delete/".to_owned(),
            "/debusine/-/roles/".to_owned(),
            "/debusine/System/roles/".to_owned(),
            "/debusine/System/roles/add/".to_owned(),
            "/debusine/System/inheritance/".to_owned(),
            "/debusine/System/configure/".to_owned(),
        ] {
            let page = olga.shown(&path).await;
            assert!(!page.contains("<b ") && page.contains("&#60;b onclick=") || page.contains("&lt;b onclick="), "{path}: {page}");
        }
        let notice = format!("notice={}; Path=/", "%3Cb%20onclick%3Dx%3E");
        olga.keep(&notice);
        let page = olga.shown("/-/user/olga/").await;
        assert!(!page.contains("<b ") && page.contains("&#60;b onclick=x&#62;"), "{page}");
        let _ = (scope, system);
        app.shutdown_only().await;
    }
}
