//! Members of a scope.

use usine_db::GroupManager;
use usine_db::tenancy::AuditLog;
use usine_model::clock::Clock;
use usine_model::permission::MembershipRole;

use crate::app::{App, stories};
use crate::browser::Browser;
use crate::html;
use crate::world::scope_owner;

stories! {
    async fn owners_add_and_remove_members(app: App) {
        scope_owner(&app, "olga").await;
        app.stranger_key("alice").await;
        let mut olga = Browser::of(&app, "olga").await;
        let list = olga.shown("/debusine/-/members/").await;
        assert!(html::main(&list).contains("olga") && !html::main(&list).contains("alice"));

        let html = olga.wrong("/debusine/-/members/", &[("username", "nob\"<ody")]).await;
        assert!(html.contains("There is no user") && html.contains("nob&#34;&#60;ody"), "{html}");
        assert!(olga.wrong("/debusine/-/members/", &[("username", "a\0b")]).await.contains("There is no user"));
        let list = olga.done("/debusine/-/members/", &[("username", " alice ")]).await;
        assert!(list.contains("alice is a member of debusine now."), "{list}");
        assert!(olga.wrong("/debusine/-/members/", &[("username", "alice")]).await.contains("is a member already"));

        let (scope, _) = app.system().await;
        let groups = GroupManager(&app.state.database);
        let group = groups.create(&scope, None, "qa", false, None, app.clock.now()).await.unwrap();
        let alice = app.user_row("alice").await;
        groups.add_users(&group, std::slice::from_ref(&alice), MembershipRole::Admin, false, None, app.clock.now()).await.unwrap();
        let page = olga.shown("/-/user/alice/").await;
        assert!(page.contains("/debusine/-/members/alice/remove/"), "{page}");
        let question = olga.shown("/debusine/-/members/alice/remove/").await;
        assert!(question.contains("<li>qa (admin)</li>"), "{question}");
        assert!(olga.shown("/debusine/-/members/olga/remove/").await.contains("That is you"));
        let list = olga.done("/debusine/-/members/alice/remove/", &[]).await;
        assert!(!html::main(&list).contains("/-/user/alice/"), "{list}");
        assert_eq!(groups.role_of(&group, alice.id).await.unwrap(), None);
        assert_eq!(olga.get("/debusine/-/members/alice/remove/").await.status, 404);
        assert_eq!(olga.post("/debusine/-/members/alice/remove/", &[]).await.status, 404);

        let log = AuditLog(&app.state.database).newest(3).await.unwrap();
        assert!(log.iter().all(|entry| entry.actor == "olga" || entry.actor == "_system"), "{log:?}");
        assert_eq!(log[0].changes["type"], "del_user");
        assert_eq!(log[0].actor, "olga");
        app.end().await;
    }

    async fn others_look_only(app: App) {
        scope_owner(&app, "olga").await;
        app.stranger_key("alice").await;
        let mut alice = Browser::of(&app, "alice").await;
        let list = alice.shown("/debusine/-/members/").await;
        let own = html::main(&list);
        assert!(own.contains("olga") && !own.contains("remove/") && !own.contains("<form"), "{own}");
        for (path, fields) in [
            ("/debusine/-/members/", [("username", "alice")].as_slice()),
            ("/debusine/-/members/olga/remove/", &[]),
            ("/debusine/-/members/nobody/remove/", &[]),
        ] {
            assert_eq!(alice.post(path, fields).await.status, 403, "{path}");
        }
        assert_eq!(alice.get("/debusine/-/members/olga/remove/").await.status, 403);
        app.end().await;
    }
}
