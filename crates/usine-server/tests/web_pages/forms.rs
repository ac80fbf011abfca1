//! Forms: what they do, what they refuse, and how they say so.

use reqwest::Method;
use usine_db::WorkRequestManager;
use usine_model::work_request::Statuses;

use crate::app::App;
use crate::visitor::{Visitor, about};

const NEW: &str = "/debusine/System/work-request/new/";

crate::app::stories! {
    async fn a_work_request_is_submitted_aborted_and_retried(app: App) {
        app.user("alice").await;
        let mut browser = Visitor::of(&app, "alice").await;
        browser.see(NEW).await.has("sbuild").has("noop");
        let page = browser.submit(&format!("{NEW}?task=noop"), NEW, &[("task_name", "noop"), ("result", "failure")]).await;
        assert_eq!(page.status, 303, "{}", page.html);
        let address = page.location.unwrap();
        let id: i64 = address.trim_matches('/').rsplit('/').next().unwrap().parse().unwrap();
        let manager = WorkRequestManager(&app.state.database);
        assert_eq!(manager.get(id).await.unwrap().task_data, serde_json::json!({"result": "failure"}));
        let page = browser.see(&address).await;
        page.has("is submitted").has("Why it is not running").has("no worker");
        // The text is there once.
        browser.see(&address).await.has_not("is submitted");

        let page = browser.submit(&address, &format!("{address}priority/"), &[("adjustment", "-5")]).await;
        assert_eq!(page.status, 303, "{}", page.html);
        browser.see(&address).await.has("The priority is -5 now");
        let page = browser.submit(&address, &format!("{address}priority/"), &[("adjustment", "5")]).await;
        assert_eq!(page.status, 403);
        page.has("not permitted");

        let page = browser.submit(&address, &format!("{address}abort/"), &[]).await;
        assert_eq!(page.status, 303, "{}", page.html);
        assert_eq!(*manager.get(id).await.unwrap().status, Statuses::Aborted);
        let page = browser.submit(&address, &format!("{address}abort/"), &[]).await;
        assert_eq!(page.status, 400);
        page.has("Only pending, blocked, or running tasks can be aborted").has("<h1>");

        let page = browser.submit(&address, &format!("{address}retry/"), &[]).await;
        let heir = page.location.unwrap();
        assert_ne!(heir, address);
        browser.see(&heir).await.has(&format!("takes the place of #{id}"));
        browser.see(&address).await.has(&format!("href=\"{heir}\""));
        browser.see(&format!("{NEW}?from={id}")).await.has("value=\"failure\"");
        app.end().await;
    }

    async fn what_is_wrong_is_told_at_the_field_and_nothing_is_lost(app: App) {
        app.user("alice").await;
        let mut browser = Visitor::of(&app, "alice").await;
        let fields = [
            ("task_name", "sbuild"), ("input.source_artifact", "999"), ("environment", "no"), ("build_architecture", "amd64"),
            ("binnmu", "suffix: ["), ("deadline:total", "soon"), ("build_components", "all"),
        ];
        let page = browser.submit(&format!("{NEW}?task=sbuild"), NEW, &fields).await;
        assert_eq!(page.status, 400);
        page.has("This is no YAML").has("not a number of seconds").has("value=\"999\"").has("value=\"all\" checked");
        page.has("aria-invalid=\"true\"");
        let page = browser.submit(&format!("{NEW}?task=sbuild"), NEW, &fields[..4]).await;
        assert_eq!(page.status, 400);
        page.has("field-input-source-artifact-error-0").has("999");
        let page = browser.submit(NEW, NEW, &[("task_name", "<b>")]).await;
        assert_eq!(page.status, 400);
        page.has("There is no task &#60;b&#62;");
        app.end().await;
    }

    async fn nobody_does_anything_without_the_secret_or_without_leave(app: App) {
        app.user("alice").await;
        app.stranger_key("bob").await;
        let row = about(&app, "alice", "hello").await;
        let address = format!("/debusine/System/work-request/{}/", row.id);
        for path in [format!("{address}abort/"), format!("{address}retry/"), format!("{address}priority/"), NEW.to_owned()] {
            let mut alice = Visitor::of(&app, "alice").await;
            let forged = alice.request(Method::POST, &path).header("content-type", "application/x-www-form-urlencoded");
            let forged = forged.body("csrfmiddlewaretoken=00&adjustment=0").send().await.unwrap();
            let forged = alice.take(forged).await;
            assert_eq!(forged.status, 403, "{path}");
            forged.has("CSRF");
            let mut bob = Visitor::of(&app, "bob").await;
            let refused = bob.submit(&address, &path, &[("adjustment", "0"), ("task_name", "noop")]).await;
            assert_eq!(refused.status, 403, "{path}: {}", refused.html);
            let mut nobody = Visitor::nobody(&app);
            let sent_away = nobody.submit(&address, &path, &[("adjustment", "0")]).await;
            assert_eq!(sent_away.status, 303, "{path}");
            assert!(sent_away.location.unwrap().starts_with("/-/login/?next="), "{path}");
        }
        let mut bob = Visitor::of(&app, "bob").await;
        bob.see(&address).await.has_not("Abort</button>").has_not("Retry</button>");
        app.end().await;
    }

    async fn errors_are_pages_for_browsers_and_words_for_programs(app: App) {
        app.user("alice").await;
        let mut nobody = Visitor::nobody(&app);
        let page = nobody.go("/no/such/").await;
        assert_eq!(page.status, 404);
        page.has("<h1>Not found</h1>").has("Log in").has("There is nothing here, or nothing that you may see");
        let text = app.get("/no/such/").send().await.unwrap();
        assert!(!text.text().await.unwrap().contains("<html"));
        let page = nobody.go("/debusine/System/work-request").await;
        assert_eq!((page.status.as_u16(), page.location.as_deref()), (301, Some("/debusine/System/work-request/")));
        let headers = nobody.request(Method::GET, "/").send().await.unwrap().headers().clone();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        app.end().await;
    }
}
