//! Approval of work requests that wait for a person, and answers to tasks `confirm`. Workflows, which make both, come later: the rows
//! are made here.

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{WorkRequest, WorkRequestManager};
use usine_model::clock::Clock;
use usine_model::permission::WorkspaceRole;
use usine_model::work_request::{Statuses, TaskType};

use crate::app::{App, Words as _, eventually};

/// A running workflow of alice's, and a blocked noop in it that waits for approval.
async fn waiting(app: &App) -> (WorkRequest, WorkRequest) {
    let (_, workspace) = app.system().await;
    let alice = app.user_row("alice").await;
    let (manager, now) = (WorkRequestManager(&app.state.database), app.clock.now());
    let tags = SchedulerTags::default();
    let workflow = NewWorkRequest {
        task_type: TaskType::Workflow,
        ..NewWorkRequest::of_worker_task(workspace.id, alice.id, "noop")
    };
    let workflow = manager.create(&workflow, &tags, now).await.unwrap();
    let child = NewWorkRequest::of_worker_task(workspace.id, alice.id, "noop");
    let child = manager.create(&child, &tags, now).await.unwrap();
    sql(app, &format!("UPDATE work_request SET status = 'running', workflow_root_id = id WHERE id = {}", workflow.id))
        .await;
    sql(app, &format!(
        "UPDATE work_request SET status = 'blocked', unblock_strategy = 'manual', parent_id = {}, workflow_root_id = {} WHERE id = {}",
        workflow.id, workflow.id, child.id
    )).await;
    (manager.get(workflow.id).await.unwrap(), manager.get(child.id).await.unwrap())
}

async fn sql(app: &App, statement: &str) {
    app.state.database.reader().execute_unprepared(statement).await.unwrap();
}

/// A running task `confirm` of alice's.
async fn question(app: &App, data: Value, root: Option<i64>) -> i64 {
    let (_, workspace) = app.system().await;
    let alice = app.user_row("alice").await;
    let new = NewWorkRequest {
        task_type: TaskType::Wait,
        task_data: data,
        ..NewWorkRequest::of_worker_task(workspace.id, alice.id, "confirm")
    };
    let manager = WorkRequestManager(&app.state.database);
    let row = manager.create(&new, &SchedulerTags::default(), app.clock.now()).await.unwrap();
    if let Some(root) = root {
        sql(
            app,
            &format!("UPDATE work_request SET parent_id = {root}, workflow_root_id = {root} WHERE id = {}", row.id),
        )
        .await;
    }
    // The scheduler begins it: it needs no worker.
    eventually(async || *manager.get(row.id).await.unwrap().status == Statuses::Running).await;
    row.id
}

crate::app::stories! {
    async fn owners_approve_and_reject(app: App) {
        let (scope, workspace) = app.system().await;
        let alice = app.user_key("alice").await;
        let owner = app.stranger_key("olga").await;
        app.has_role("olga", &workspace, &scope, WorkspaceRole::Owner).await;
        let (_, child) = waiting(&app).await;
        let unblock = |key: &str, body: Value| app.post(&format!("/api/1.0/work-request/{}/unblock/", child.id), body).key(key);

        assert!(unblock(&alice, json!({"action": "accept"})).refused(403).await.starts_with("alice cannot unblock work request"));
        let refusal = unblock(&owner, json!({})).refused(400).await;
        assert!(refusal.starts_with("Cannot deserialize work request unblock"), "{refusal}");
        let noted = unblock(&owner, json!({"notes": "let me think"})).answers(200).await;
        assert_eq!((&noted["status"], &noted["workflow_data"]["manual_unblock"]["log"][0]["action"]), (&json!("blocked"), &Value::Null));
        let accepted = unblock(&owner, json!({"notes": "fine", "action": "accept"})).answers(200).await;
        assert_eq!(accepted["status"], "pending");
        let log = &accepted["workflow_data"]["manual_unblock"]["log"];
        assert_eq!((&log[0]["notes"], &log[1]["notes"], &log[1]["action"]), (&json!("let me think"), &json!("fine"), &json!("accept")));
        let again = unblock(&owner, json!({"action": "reject"})).refused(400).await;
        assert_eq!(again, format!("Work request {} cannot be unblocked", child.id));

        let (_, other) = waiting(&app).await;
        let path = format!("/api/1.0/work-request/{}/unblock/", other.id);
        let rejected = app.post(&path, json!({"action": "reject"})).key(&owner).answers(200).await;
        assert_eq!((&rejected["status"], &rejected["aborted_by"]), (&json!("aborted"), &json!(app.user_row("olga").await.id)));

        let plain = app.noop(&app.client(Some(&alice))).await.id;
        let path = format!("/api/1.0/work-request/{plain}/unblock/");
        let refusal = app.post(&path, json!({"action": "accept"})).key(&owner).refused(400).await;
        assert_eq!(refusal, format!("Work request {plain} cannot be manually unblocked"));
        app.shutdown_only().await;
    }

    async fn creators_answer(app: App) {
        let alice = app.user_key("alice").await;
        let bob = app.user_key("bob").await;
        let confirm = |id: i64, body: Value| app.post(&format!("/api/1.0/work-request/{id}/confirm/"), body);

        let id = question(&app, json!({}), None).await;
        confirm(id, json!({})).key(&bob).refused(403).await;
        let done = confirm(id, json!({"comment": "yes"})).key(&alice).answers(200).await;
        assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("success")));
        assert_eq!(done["completed_by"], app.user_row("alice").await.id);
        let row = WorkRequestManager(&app.state.database).get(id).await.unwrap();
        assert_eq!(row.output_data.unwrap()["confirmation"], json!({"confirmed": true, "comment": "yes"}));
        let refusal = confirm(id, json!({})).key(&alice).refused(400).await;
        assert!(refusal.contains("Work request is not running. Status: completed"), "{refusal}");

        let id = question(&app, json!({"deny_action": "fail"}), None).await;
        assert_eq!(confirm(id, json!({"confirm": false})).key(&alice).answers(200).await["result"], "failure");
        let id = question(&app, json!({"deny_action": "abort"}), None).await;
        assert_eq!(confirm(id, json!({"confirm": false})).key(&alice).answers(200).await["status"], "aborted");

        let (workflow, child) = waiting(&app).await;
        let id = question(&app, json!({}), Some(workflow.id)).await;
        assert_eq!(confirm(id, json!({"confirm": false})).key(&alice).answers(200).await["status"], "aborted");
        for id in [workflow.id, child.id] {
            assert_eq!(*WorkRequestManager(&app.state.database).get(id).await.unwrap().status, Statuses::Aborted, "all of it");
        }

        let plain = app.noop(&app.client(Some(&alice))).await.id;
        let refusal = confirm(plain, json!({})).key(&alice).refused(400).await;
        assert!(refusal.contains("Expected work request to be Wait/Confirm; got Worker/noop"), "{refusal}");
        app.shutdown_only().await;
    }
}
