//! The schema: migrations, the first objects, and that the invariants see what is wrong.

mod farm;
mod support;

use farm::{Farm, stories};
use futures::future::join_all;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, Statement};
use serde_json::json;
use support::{TestDatabase, databases};
use usine_db::artifact::{NewArtifact, NewFile};
use usine_db::entity::{file_store, scope, user, work_request, workspace};
use usine_db::tenancy::OWNERS;
use usine_db::{
    ArtifactManager, Database, Engine, GroupManager, PermissionManager, ScopeManager, UserManager, WorkspaceManager,
    invariants,
};
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_model::permission::{
    WORKSPACE_CAN_CONFIGURE, WORKSPACE_CAN_CREATE_ARTIFACTS, WORKSPACE_CAN_CREATE_WORK_REQUESTS,
};

/// The migrations after the first, and what takes them back, the last one first.
const LATER: [&str; 7] = [
    "m20261124_000002_limits",
    "m20261129_000003_tenancy",
    "m20261129_000004_upkeep",
    "m20261129_000005_pages",
    "m20261129_000006_shares",
    "m20261129_000007_servers",
    "m20261130_000008_indexes",
];
const BACK_TO_LIMITS: [&str; 62] = [
    "CREATE INDEX event_worker ON event (worker_id, id) WHERE worker_id IS NOT NULL",
    "DELETE FROM seaql_migrations WHERE version = 'm20261130_000008_indexes'",
    "CREATE INDEX work_request_default_expiring ON work_request (workspace_id, created_at, id) WHERE expiration_delay IS NULL",
    "DROP INDEX work_request_wait",
    "DROP INDEX work_request_open",
    "CREATE INDEX work_request_open ON work_request (workspace_id, status, created_at DESC, id DESC) \
     WHERE status IN ('blocked', 'pending', 'running')",
    "CREATE INDEX work_request_status ON work_request (status, task_type) WHERE status IN ('blocked', 'pending', 'running')",
    "DROP INDEX work_request_live",
    "CREATE INDEX work_request_live ON work_request (worker_id, status) WHERE status IN ('pending', 'running')",
    "DROP INDEX token_user",
    "CREATE INDEX token_user ON token (user_id)",
    "DROP INDEX attempt_token",
    "CREATE INDEX attempt_token ON attempt (token_hash)",
    "DROP INDEX worker_connected",
    "DROP TABLE live_log_piece",
    "ALTER TABLE event DROP COLUMN origin",
    "ALTER TABLE worker DROP COLUMN last_seen",
    "ALTER TABLE worker DROP COLUMN server_id",
    "DROP TABLE server",
    "DELETE FROM seaql_migrations WHERE version = 'm20261129_000007_servers'",
    "DROP TABLE generation",
    "ALTER TABLE workspace DROP COLUMN share_weight",
    "ALTER TABLE workspace DROP COLUMN max_running",
    "ALTER TABLE \"user\" DROP COLUMN share_weight",
    "ALTER TABLE \"user\" DROP COLUMN max_running",
    "DROP INDEX work_request_queue",
    "ALTER TABLE work_request DROP COLUMN lane_id",
    "DROP TABLE lane",
    "CREATE INDEX work_request_queue ON work_request \
     (requirement_set_id, (priority_base + priority_adjustment) DESC, created_at, id) \
     WHERE status = 'pending' AND worker_id IS NULL",
    "DELETE FROM seaql_migrations WHERE version = 'm20261129_000006_shares'",
    "CREATE INDEX work_request_worker ON work_request (worker_id)",
    "DROP INDEX work_request_subject",
    "DROP INDEX work_request_task",
    "DROP INDEX work_request_bad",
    "DROP INDEX work_request_aborted",
    "DROP INDEX work_request_open",
    "DROP INDEX work_request_waiting",
    "DROP INDEX work_request_creator",
    "DROP INDEX work_request_of_worker",
    "ALTER TABLE work_request DROP COLUMN summary",
    "ALTER TABLE work_request DROP COLUMN subject",
    "DELETE FROM seaql_migrations WHERE version = 'm20261129_000005_pages'",
    "DROP INDEX work_request_expiring",
    "DROP INDEX work_request_default_expiring",
    "DROP INDEX artifact_expiring",
    "DROP INDEX artifact_default_expiring",
    "DROP INDEX work_request_unended",
    "DROP INDEX file_in_artifact_missing",
    "DROP INDEX work_request_root",
    "DROP INDEX artifact_original",
    "DROP INDEX file_upload_activity",
    "DELETE FROM seaql_migrations WHERE version = 'm20261129_000004_upkeep'",
    "DROP TABLE session",
    "DROP TABLE client_enrolment",
    "DROP TABLE workspace_inheritance",
    "DROP TABLE audit_log",
    "DROP TABLE user_permission",
    "DROP TABLE workspace_role",
    "DROP TABLE scope_role",
    "DROP TABLE group_membership",
    "DROP TABLE \"group\"",
    "DELETE FROM seaql_migrations WHERE version = 'm20261129_000003_tenancy'",
];
const BACK_TO_INITIAL: [&str; 5] = [
    "DROP INDEX work_request_delayed",
    "ALTER TABLE work_request DROP COLUMN delayed_until",
    "ALTER TABLE work_request DROP COLUMN limit_disk",
    "ALTER TABLE work_request DROP COLUMN limit_memory",
    "DELETE FROM seaql_migrations WHERE version = 'm20261124_000002_limits'",
];

async fn back_to_limits(db: &Database) {
    if db.backend() == Engine::Postgres {
        db.reader().execute_unprepared("DROP FUNCTION next_generation() CASCADE").await.unwrap();
        let unique = "DROP INDEX work_request_supersedes; ALTER TABLE work_request ADD UNIQUE (supersedes_id)";
        db.reader().execute_unprepared(unique).await.unwrap();
    } else {
        let named = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'generation_%'";
        let triggers = db.reader().query_all_raw(Statement::from_string(db.backend(), named)).await.unwrap();
        assert!(!triggers.is_empty());
        for trigger in triggers {
            let name: String = trigger.try_get("", "name").unwrap();
            db.reader().execute_unprepared(&format!("DROP TRIGGER {name}")).await.unwrap();
        }
    }
    // By one connection: others would still know the indexes that were there.
    db.reader().execute_unprepared(&BACK_TO_LIMITS.join("; ")).await.unwrap();
    assert_eq!(db.pending_migrations().await.unwrap(), LATER[1..]);
}

async fn back_to_initial(db: &Database) {
    back_to_limits(db).await;
    for sql in BACK_TO_INITIAL {
        db.reader().execute_unprepared(sql).await.unwrap();
    }
    assert_eq!(db.pending_migrations().await.unwrap(), LATER);
}

stories! {
    async fn an_older_database_keeps_its_rows(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, _) = farm.running(&worker).await;
        let waiting = farm.pending().await;
        let events = farm.all_events().await;
        back_to_initial(db).await;
        db.migrate().await.unwrap();
        assert!(db.pending_migrations().await.unwrap().is_empty());
        assert_eq!((farm.reload(&row).await, farm.reload(&waiting).await), (row, waiting));
        assert_eq!(farm.reload_worker(&worker).await, worker);
        assert_eq!(farm.all_events().await, events);
    }

    /// Before there were roles, every user could contribute everywhere.
    async fn who_could_contribute_still_can(db: &Database) {
        let farm = Farm::new(db);
        let (alice, bob) = (farm.user("alice").await, farm.user("bob").await);
        UserManager(db).set_active(&bob, false).await.unwrap();
        back_to_limits(db).await;
        for sql in [
            "INSERT INTO scope (name, label) VALUES ('other', 'Other')",
            "INSERT INTO workspace (scope_id, name, created_at) SELECT scope.id, 'private', workspace.created_at \
             FROM scope, workspace WHERE scope.name = 'other'",
        ] {
            db.reader().execute_unprepared(sql).await.unwrap();
        }
        db.migrate().await.unwrap();
        let late = farm.user("late").await;
        let workspaces = WorkspaceManager(db).list().await.unwrap();
        assert_eq!(workspaces.len(), 2);
        for (user, may) in [(&alice, true), (&bob, true), (&late, false)] {
            let context = PermissionManager(db).context_of(user).await.unwrap();
            for (workspace, scope) in &workspaces {
                let facts = workspace.facts(scope);
                for predicate in [WORKSPACE_CAN_CREATE_ARTIFACTS, WORKSPACE_CAN_CREATE_WORK_REQUESTS] {
                    assert_eq!(predicate.allows(&context, &facts), may, "{} {predicate:?}", user.username);
                }
                assert!(!WORKSPACE_CAN_CONFIGURE.allows(&context, &facts), "nobody gets more than they had");
            }
        }
        for scope in ScopeManager(db).list().await.unwrap() {
            let groups = GroupManager(db).list(&scope, None).await.unwrap();
            let groups: Vec<_> = groups.iter().map(|(group, _, count)| (group.name.as_str(), *count)).collect();
            assert_eq!(groups, [("Contributors", 2), ("Members", 2), ("Owners", 0)], "{}", scope.name);
        }
    }

    async fn a_migration_that_fails_leaves_nothing_half_done(db: &Database) {
        let farm = Farm::new(db);
        let row = farm.pending().await;
        back_to_initial(db).await;
        let run = async |sql: &str| db.reader().execute_unprepared(sql).await;
        // In the way of the third of four statements.
        run("ALTER TABLE work_request ADD COLUMN delayed_until TEXT").await.unwrap();
        for _ in 0..2 {
            let error = db.migrate().await.unwrap_err().to_string();
            assert!(error.contains("delayed_until"), "the first two pass again and again: {error}");
            assert_eq!(db.pending_migrations().await.unwrap(), LATER);
            run("SELECT limit_memory FROM work_request").await.unwrap_err();
        }
        run("ALTER TABLE work_request DROP COLUMN delayed_until").await.unwrap();
        db.migrate().await.unwrap();
        assert_eq!(farm.reload(&row).await, row);
    }

    async fn migrating_again_changes_nothing(db: &Database) {
        let farm = Farm::new(db);
        let row = farm.pending().await;
        for _ in 0..2 {
            assert!(db.pending_migrations().await.unwrap().is_empty());
            db.migrate().await.unwrap();
        }
        assert_eq!(farm.reload(&row).await, row);
        assert_eq!(user::Entity::find().count(db.reader()).await.unwrap(), 1);
        assert_eq!(workspace::Entity::find().count(db.reader()).await.unwrap(), 1);
    }

    async fn the_first_objects_are_there(db: &Database) {
        let system = UserManager(db).system().await.unwrap();
        assert!(system.is_system && system.email.is_empty() && !system.check_password(""));
        assert!(UserManager(db).list().await.unwrap().is_empty(), "nobody is there yet");
        let scopes = scope::Entity::find().all(db.reader()).await.unwrap();
        assert_eq!((scopes.len(), scopes[0].name.as_str(), scopes[0].label.as_str()), (1, "debusine", "Debusine"));
        let found = WorkspaceManager(db).get_workspace_or_none(&scopes[0], "System").await.unwrap().unwrap();
        assert!(found.public && found.default_expiration_delay == 0 && found.expiration_delay.is_none());
        let stores = file_store::Entity::find().all(db.reader()).await.unwrap();
        assert_eq!((stores.len(), stores[0].name.as_str(), stores[0].backend.as_str()), (1, "Default", "Local"));
        assert!(stores[0].instance_wide);
    }

    async fn ids_are_never_used_again(db: &Database) {
        let farm = Farm::new(db);
        let last = farm.pending().await.id;
        db.reader().execute_unprepared(&format!("DELETE FROM work_request WHERE id = {last}")).await.unwrap();
        assert_eq!(farm.pending().await.id, last + 1);
        assert_eq!(work_request::Entity::find().count(db.reader()).await.unwrap(), 1);
    }
}

/// A server that starts after another, on the same database, finds the work done.
#[tokio::test]
async fn a_second_server_finds_the_schema() {
    for (engine, database) in databases().await {
        let second = Database::connect(database.url()).await.unwrap();
        assert!(second.pending_migrations().await.unwrap().is_empty(), "{engine}");
        second.migrate().await.unwrap();
        assert_eq!(second.backend(), database.backend());
        second.close().await;
        database.remove().await;
    }
}

/// Servers and `usine admin migrate` that start at once, on an empty database and on an older one: one does the work, and
/// all of them go on.
#[tokio::test]
async fn one_of_many_migrates() {
    for database in [TestDatabase::bare_sqlite().await, TestDatabase::bare_postgres().await] {
        let mut processes = Vec::new();
        for _ in 0..6 {
            processes.push(Database::connect(database.url()).await.unwrap());
        }
        for old in [false, true] {
            if old {
                back_to_initial(&database).await;
            }
            let starts = processes.iter().map(async |process| {
                process.pending_migrations().await?;
                process.migrate().await?;
                process.pending_migrations().await
            });
            for pending in join_all(starts).await {
                assert_eq!(pending.unwrap(), [""; 0], "{:?}, old: {old}", database.backend());
            }
            assert_eq!(user::Entity::find().count(database.reader()).await.unwrap(), 1);
        }
        for process in processes {
            process.close().await;
        }
        database.remove().await;
    }
}

/// What a hand in the database breaks, and the words of the invariant that sees it.
const DAMAGE: [(&str, &str); 11] = [
    ("UPDATE file_in_artifact SET complete = FALSE", "both ends of a relation are complete"),
    ("UPDATE \"group\" SET name = 'Others' WHERE system", "every scope has its group"),
    ("DELETE FROM group_membership WHERE group_id = 1", "who is in a group is a member of its scope"),
    (
        "UPDATE scope_role SET scope_id = (SELECT id FROM scope WHERE name = 'other')",
        "a group has its workspace and its roles in its own scope",
    ),
    ("UPDATE work_request SET status = 'running' WHERE id = 1", "a running work request of a worker has"),
    ("UPDATE work_request SET lane_id = NULL WHERE id = 1", "is in the lane of its requirements"),
    ("UPDATE work_request SET delayed_until = created_at WHERE id = 1", "only a blocked work request that replaces"),
    ("UPDATE work_request SET status = 'aborted' WHERE id = 1", "has the time and the event of its end"),
    ("UPDATE work_request SET worker_id = 1 WHERE id IN (1, 2)", "at most as many pending and running"),
    ("UPDATE attempt SET ended_at = NULL, outcome = NULL WHERE work_request_id = 3", "a live attempt belongs to"),
    ("UPDATE token SET user_id = NULL WHERE token_type = 'user'", "every token has the link"),
];

async fn damage_is_seen(database: TestDatabase) {
    let db: &Database = &database;
    let farm = Farm::new(db);
    farm.pending().await;
    farm.pending().await;
    let worker = farm.worker("w.example.org").await;
    let (mut ended, _) = farm.running(&worker).await;
    ended.mark_aborted(db, farm.now()).await.unwrap();
    let alice = farm.user("alice").await;
    farm.user_token(&alice).await;
    let mut ends = Vec::new();
    for _ in 0..2 {
        let empty = NewFile { path: "a".parse().unwrap(), sha256: [0; 32], size: 0, content_type: None };
        let new = NewArtifact {
            category: ArtifactCategory::Test,
            workspace_id: 1,
            data: json!({}),
            files: vec![empty],
            created_by: None,
            created_by_work_request: None,
            expiration_delay: None,
        };
        ends.push(ArtifactManager(db).create(new, farm.now()).await.unwrap().id);
    }
    ArtifactManager(db).relate(ends[0], ends[1], RelationType::Extends).await.unwrap();
    ScopeManager(db).create("other", None, None, None, farm.now()).await.unwrap();
    let scope = ScopeManager(db).get_scope_or_none("debusine").await.unwrap().unwrap();
    let owners = GroupManager(db).get_group_or_none(&scope, None, OWNERS).await.unwrap().unwrap();
    GroupManager(db).add_missing_users(&owners, &[alice], None, farm.now()).await.unwrap();
    farm::all_is_well(db).await;
    for (sql, words) in DAMAGE {
        db.reader().execute_unprepared(sql).await.unwrap();
        let violations = invariants::check(db).await.unwrap();
        assert!(violations.iter().any(|violation| violation.invariant.contains(words)), "{sql}: {violations:?}");
        let repair = [
            "UPDATE work_request SET status = 'pending', lane_id = 1, worker_id = NULL, delayed_until = NULL \
             WHERE id IN (1, 2)",
            "UPDATE attempt SET ended_at = handed_out_at, outcome = 'aborted'",
            "UPDATE token SET user_id = 2 WHERE token_type = 'user'",
            "UPDATE file_in_artifact SET complete = TRUE",
            "UPDATE \"group\" SET name = 'Members' WHERE system",
            "INSERT INTO group_membership (group_id, user_id) SELECT 1, user_id FROM group_membership m WHERE group_id = 2 \
             AND NOT EXISTS (SELECT 1 FROM group_membership s WHERE s.group_id = 1 AND s.user_id = m.user_id)",
            "UPDATE scope_role SET scope_id = 1",
        ];
        for sql in repair {
            db.reader().execute_unprepared(sql).await.unwrap();
        }
        farm::all_is_well(db).await;
    }
    database.remove().await;
}

#[tokio::test]
async fn damage_is_seen_by_sqlite() {
    damage_is_seen(TestDatabase::sqlite().await).await;
}

#[tokio::test]
async fn damage_is_seen_by_postgres() {
    damage_is_seen(TestDatabase::postgres().await).await;
}
