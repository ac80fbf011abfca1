//! Who may look at logs.

use reqwest::header::COOKIE;
use usine_db::tenancy::NewWorkspace;
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{GroupManager, SessionManager, WorkRequestManager, WorkspaceManager};
use usine_model::permission::WorkspaceRole;
use usine_protocol::channel::LogStream::Stdout;

use crate::app::stories;
use crate::server::{TestServer, Words, now};

const PARTS: [&str; 4] = ["lines/", "search/?q=x", "events/", "download/"];

stories! {
    async fn private_logs_are_for_those_who_may_see_them(server: TestServer) {
        let (database, entropy) = (&server.state.database, &*server.state.entropy);
        let (scope, system) = server.system().await;
        let owners = GroupManager(database).get_group_or_none(&scope, None, "Owners").await.unwrap().unwrap();
        let new = NewWorkspace { name: "Private", public: false, default_expiration_delay: 0 };
        let workspace = WorkspaceManager(database).create(&scope, &new, &owners, None, now()).await.unwrap();
        let bob = server.stranger_key("bob").await;
        server.has_role("bob", &workspace, &scope, WorkspaceRole::Viewer).await;
        let carol = server.stranger_key("carol").await;
        let user = server.user_row("bob").await;
        let new = NewWorkRequest::of_worker_task(workspace.id, user.id, "noop");
        let id = WorkRequestManager(database).create(&new, &SchedulerTags::default(), now()).await.unwrap().id;
        server.log(id, Stdout, "secret\n").await;
        let session = SessionManager(database).begin(&user, entropy, now()).await.unwrap();
        let (_, work_request) = server.running(&[]).await;

        let at = |part: &str| format!("/debusine/Private/work-request/{id}/log/{part}");
        for part in PARTS {
            server.get(&at(part)).key(&bob).sent(200).await;
            server.get(&at(part)).header(COOKIE, format!("sessionid={}", session.reveal())).sent(200).await;
            let path = part.split('?').next().unwrap();
            let neutral = format!("Not found: {}\n", at(path));
            assert_eq!(server.get(&at(part)).says(404).await, neutral);
            assert_eq!(server.get(&at(part)).key(&carol).says(404).await, neutral);
            server.get(&at(part)).key(&work_request).refused(403).await;
            // Under another address it is not there, whoever asks.
            for wrong in [
                format!("/debusine/{}/work-request/{id}/log/{part}", system.name),
                format!("/other/Private/work-request/{id}/log/{part}"),
                format!("/debusine/Private/work-request/{}/log/{part}", id + 1000),
                format!("/debusine/Private/work-request/x/log/{part}"),
            ] {
                let text = server.get(&wrong).key(&bob).says(404).await;
                assert_eq!(text, format!("Not found: {}\n", wrong.split('?').next().unwrap()));
            }
        }
        server.stop().await;
    }
}
