//! What the scheduler asks of the database: the heads of the queue, assignment by many at once, the whole way of a work
//! request. Numbers are those of the tests worth having of the scheduler (its §20), and row 58 of the data model's table.

mod farm;
mod support;

use std::collections::BTreeMap;

use farm::{Farm, at, head, heard, kinds, object, stories, tags};
use futures::future::join_all;
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, Statement};
use serde_json::json;
use support::databases;
use usine_db::entity::{requirement_set, work_request};
use usine_db::work_request::{ListFilter, ReportOutcome, SchedulerTags};
use usine_db::{Database, QueueManager, WorkRequest, Worker};
use usine_model::event::EventKind::*;
use usine_model::tags::Tags;
use usine_model::work_request::{Results, Statuses};

fn requiring(list: &[&str]) -> SchedulerTags {
    SchedulerTags { required: tags(list), provided: Tags::new() }
}

/// The smallest scheduler there is: each waiting worker gets the head of what it can run. What was assigned.
async fn schedule(farm: &Farm<'_>) -> Vec<(i64, i64)> {
    let db = farm.db;
    let queue = QueueManager(db);
    let sets = queue.requirement_sets(0).await.unwrap();
    let mut assigned = Vec::new();
    for worker in farm.workers().waiting_for_work_request().all(db.reader()).await.unwrap() {
        let profile = worker.profile().unwrap();
        let fitting: Vec<_> = sets.iter().filter(|(_, set)| profile.fits_set(set)).map(|(id, _)| *id).collect();
        while let Some(mut row) = head(db, &fitting).await {
            if row.assign_worker(db, &worker, None, farm.now()).await.unwrap() {
                assigned.push((row.id, worker.id));
            } else if !worker.is_at_capacity(db).await.unwrap() {
                // Somebody else has taken it: look for the next.
                continue;
            }
            break;
        }
    }
    assigned
}

/// The worker does all that it is given, until there is nothing left.
async fn work_off(farm: &Farm<'_>, worker: &Worker) -> Vec<i64> {
    let mut done = Vec::new();
    loop {
        schedule(farm).await;
        let Some(handed) = farm.ask(worker).await else { return done };
        let id = handed.work_request.id;
        assert_eq!(farm.report(id, &handed.key, Results::Success).await, ReportOutcome::Accepted);
        done.push(id);
    }
}

/// The plan that the engine makes for a statement.
async fn explain(db: &Database, statement: Statement) -> String {
    let word = if db.backend() == DbBackend::Postgres { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
    let column = if db.backend() == DbBackend::Postgres { "QUERY PLAN" } else { "detail" };
    let explained = Statement { sql: format!("{word} {}", statement.sql), ..statement };
    let rows = db.reader().query_all_raw(explained).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.try_get("", column).unwrap()).collect();
    lines.join("\n")
}

/// Copies of a work request, in bulk.
async fn multiply(db: &Database, row: &WorkRequest, status: Statuses, count: u32) {
    let numbers = if db.backend() == DbBackend::Postgres {
        format!("SELECT generate_series(1, {count}) AS n")
    } else {
        format!("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s")
    };
    let (result, end) = if status.is_terminal() { ("'success'", "created_at") } else { ("''", "NULL") };
    let sql = format!(
        "INSERT INTO work_request (workspace_id, created_at, created_by_id, status, result, completed_at, task_name,
             priority_base, requirement_set_id, lane_id)
         SELECT workspace_id, created_at, created_by_id, '{status}', {result}, {end}, task_name, n % 100,
             requirement_set_id, lane_id FROM work_request, ({numbers}) numbers WHERE id = {}",
        row.id
    );
    db.reader().execute_unprepared(&sql).await.unwrap();
    // Every end has its event.
    let sql = "INSERT INTO event (created_at, kind, work_request_id)
               SELECT created_at, status, id FROM work_request WHERE status = 'completed'";
    db.reader().execute_unprepared(sql).await.unwrap();
}

stories! {
    /// Row 58: the whole way. Connect, submit, assign, fetch, report; then the worker waits again.
    async fn row_58_from_end_to_end(db: &Database) {
        let farm = Farm::new(db);
        let mut events = db.events();
        let worker = farm.worker("w.example.org").await;
        let row = farm.pending().await;
        assert_eq!(schedule(&farm).await, [(row.id, worker.id)]);
        assert!(farm.workers().waiting_for_work_request().all(db.reader()).await.unwrap().is_empty());
        let key = farm.fetch(&worker, &row).await;
        assert_eq!(*farm.reload(&row).await.status, Statuses::Running);
        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::Accepted);
        let row = farm.reload(&row).await;
        assert_eq!((*row.status, *row.result, row.duration()), (Statuses::Completed, Results::Success, Some(1.0)));
        let waiting = farm.workers().waiting_for_work_request().all(db.reader()).await.unwrap();
        assert_eq!(waiting, [worker]);
        assert_eq!(farm.history(&row).await, [Created, Pending, Assigned, Running, Completed]);
        let published = heard(&mut events);
        assert_eq!(published, farm.all_events().await, "all that is written is published, in order");
        assert_eq!(kinds(&published)[..4], [WorkerRegistered, WorkerEnabled, WorkerConnected, WorkerMetadata]);
    }

    /// 1 and 2: it does not matter who comes first.
    async fn either_may_come_first(db: &Database) {
        let farm = Farm::new(db);
        let early = farm.pending().await;
        assert_eq!(schedule(&farm).await, []);
        let worker = farm.worker("one.example.org").await;
        assert_eq!(schedule(&farm).await, [(early.id, worker.id)]);
        let other = farm.worker("two.example.org").await;
        assert_eq!(schedule(&farm).await, []);
        let late = farm.pending().await;
        assert_eq!(schedule(&farm).await, [(late.id, other.id)]);
    }

    /// 3: ten work requests, three workers: one each, and whoever is done gets the oldest.
    async fn each_worker_gets_one(db: &Database) {
        let farm = Farm::new(db);
        let mut queue = Vec::new();
        for _ in 0..10 {
            queue.push(farm.pending().await.id);
        }
        let mut workers = Vec::new();
        for name in ["one", "two", "three"] {
            workers.push(farm.worker(name).await);
        }
        assert_eq!(schedule(&farm).await, std::iter::zip(1.., &workers).map(|(n, w)| (n, w.id)).collect::<Vec<_>>());
        assert_eq!(schedule(&farm).await, []);
        let handed = farm.ask(&workers[1]).await.unwrap();
        farm.report(handed.work_request.id, &handed.key, Results::Failure).await;
        assert_eq!(schedule(&farm).await, [(queue[3], workers[1].id)]);
    }

    /// 4: higher priority first, then the oldest.
    async fn priorities_order_the_queue(db: &Database) {
        let farm = Farm::new(db);
        let mut made = Vec::new();
        // Different sets, so that the heads of several are compared.
        for (priority, list) in [(5, &["a"][..]), (0, &[]), (10, &["b"]), (10, &[]), (5, &["a"])] {
            made.push(farm.pending_with(priority, &requiring(list)).await.id);
        }
        let mut worker = farm.worker("w.example.org").await;
        worker.set_dynamic_metadata(db, object(json!({"provided_tags": ["a", "b"]})), farm.now()).await.unwrap();
        assert_eq!(work_off(&farm, &worker).await, [2, 3, 0, 4, 1].map(|n: usize| made[n]));
    }

    /// 5: a disabled token gets nothing.
    async fn a_disabled_worker_gets_nothing(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut token = worker.token(db).await.unwrap().unwrap();
        token.disable(db, farm.now()).await.unwrap();
        let row = farm.pending().await;
        assert_eq!(schedule(&farm).await, []);
        token.enable(db, farm.now()).await.unwrap();
        assert_eq!(schedule(&farm).await, [(row.id, worker.id)]);
    }

    /// 6 and 7: allow and deny lists, tags, architectures. What nobody can run stays pending.
    async fn what_does_not_fit_stays(db: &Database) {
        let farm = Farm::new(db);
        let mut worker = farm.worker("w.example.org").await;
        let row = farm.pending_with(0, &requiring(&["worker:build-arch:riscv64"])).await;
        for (fixed, dynamic, fits) in [
            (json!({}), json!({}), false),
            (json!({}), json!({"provided_tags": ["worker:build-arch:amd64"]}), false),
            (json!({"tasks_denylist": ["noop"]}), json!({"provided_tags": ["worker:build-arch:riscv64"]}), false),
            (json!({"tasks_allowlist": []}), json!({"provided_tags": ["worker:build-arch:riscv64"]}), false),
            (json!({"required_tags": ["task:mine"]}), json!({"provided_tags": ["worker:build-arch:riscv64"]}), false),
            (
                json!({"tasks_denylist": ["noop"], "tasks_allowlist": ["noop"]}),
                json!({"provided_tags": ["worker:build-arch:riscv64"]}),
                true,
            ),
        ] {
            worker.set_static_metadata(db, object(fixed.clone()), farm.now()).await.unwrap();
            worker.set_dynamic_metadata(db, object(dynamic), farm.now()).await.unwrap();
            let expected = if fits { vec![(row.id, worker.id)] } else { vec![] };
            assert_eq!(schedule(&farm).await, expected, "{fixed}");
        }
    }

    /// 8: many want the same work request for different workers: one gets it.
    async fn one_of_many_assignments_wins(db: &Database) {
        let farm = Farm::new(db);
        let workers = join_all((0..8).map(|n| farm.registered(match n { 0 => "a", _ => "b" }))).await;
        for _ in 0..3 {
            let row = farm.pending().await;
            let mut events = db.events();
            let tries = workers.iter().map(|(worker, _)| {
                let (mut row, now) = (row.clone(), farm.now());
                async move { row.assign_worker(db, worker, None, now).await.unwrap() }
            });
            let won = join_all(tries).await;
            assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
            let mut row = farm.reload(&row).await;
            let winner = won.iter().position(|won| *won).unwrap();
            assert_eq!(row.worker_id, Some(workers[winner].0.id));
            assert_eq!(kinds(&heard(&mut events)), [Assigned]);
            row.mark_aborted(db, farm.now()).await.unwrap();
        }
    }

    /// 8: many want different work requests for the same worker: it gets one.
    async fn a_worker_is_not_overloaded_by_many(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let rows = join_all((0..8).map(|_| farm.pending())).await;
        let tries = rows.iter().map(|row| {
            let (mut row, worker, now) = (row.clone(), &worker, farm.now());
            async move { row.assign_worker(db, worker, None, now).await.unwrap() }
        });
        let won = join_all(tries).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        let held = worker.assigned_work_requests().count(db.reader()).await.unwrap();
        assert_eq!(held, 1);
    }

    /// 8: several schedulers run at once: all workers have one each, no work request has two.
    async fn many_schedulers_run_at_once(db: &Database) {
        let farm = Farm::new(db);
        let mut workers = Vec::new();
        for n in 0..4 {
            workers.push(farm.worker(&format!("w{n}")).await);
        }
        for _ in 0..6 {
            farm.pending().await;
        }
        let runs: Vec<_> = join_all((0..4).map(|_| schedule(&farm))).await.into_iter().flatten().collect();
        let by_worker: BTreeMap<_, _> = runs.iter().map(|(row, worker)| (*worker, *row)).collect();
        let by_row: BTreeMap<_, _> = runs.iter().copied().collect();
        assert_eq!((runs.len(), by_worker.len(), by_row.len()), (4, 4, 4), "{runs:?}");
        for row in by_row.keys() {
            let history = farm.history(&farm.work_requests().get(*row).await.unwrap()).await;
            assert_eq!(history, [Created, Pending, Assigned]);
        }
    }

    /// 10: what a disabled worker had goes to another.
    async fn the_work_of_a_disabled_worker_goes_on(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, _) = farm.running(&worker).await;
        worker.disable(db, farm.now()).await.unwrap();
        let other = farm.worker("other.example.org").await;
        assert_eq!(schedule(&farm).await, [(row.id, other.id)]);
    }

    /// 11: data that somebody has put into the database do not stop the queue.
    async fn bad_data_do_not_stop_the_queue(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (bad, good) = (farm.pending().await, farm.pending().await);
        let sql = format!("UPDATE work_request SET task_data = '[7]' WHERE id = {}", bad.id);
        db.reader().execute_unprepared(&sql).await.unwrap();
        let head = head(db, &[bad.requirement_set_id.unwrap()]).await.unwrap();
        assert_eq!((head.id, &head.task_data), (bad.id, &json!([7])));
        assert!(farm.work_requests().fail_pending(bad.id, "configure-failed", "not a dictionary", farm.now()).await.unwrap());
        assert_eq!(schedule(&farm).await, [(good.id, worker.id)]);
    }

    /// 14: whoever follows the ends of work requests and comes back misses none and sees none twice, unless two ended at
    /// the very moment that was seen last.
    async fn the_ends_since_a_time(db: &Database) {
        let farm = Farm::new(db);
        let mut rows = Vec::new();
        for end in [1000, 2000, 3000, 3000, 4000] {
            let mut row = farm.pending().await;
            row.mark_completed(db, Results::Success, Default::default(), at(end)).await.unwrap();
            rows.push(row.id);
        }
        farm.pending().await;
        for (since, first) in [(0, 0), (1000, 1), (1500, 1), (2000, 2), (3000, 2), (3001, 4), (4000, 5)] {
            let ended = farm.work_requests().completed_since(at(since), &[]).await.unwrap();
            assert_eq!(farm::ids(&ended), rows[first..], "since {since}");
        }
        assert!(farm.work_requests().completed_since(at(0), &[99]).await.unwrap().is_empty());
    }

    async fn requirements_are_interned(db: &Database) {
        let farm = Farm::new(db);
        let (a, b) = (requiring(&["x", "y"]), requiring(&["y", "x"]));
        let provided = |list| SchedulerTags { required: tags(&["x", "y"]), provided: tags(list) };
        let set = |row: WorkRequest| row.requirement_set_id.unwrap();
        let first = set(farm.pending_with(0, &a).await);
        assert_eq!(set(farm.pending_with(7, &b).await), first, "order and priority do not matter");
        assert_eq!(set(farm.pending_with(0, &provided(&["task:source-package:hello"])).await), first, "packages are many");
        let second = set(farm.pending_with(0, &provided(&["task:mine"])).await);
        let third = set(farm.pending().await);
        let mut other = farm.request();
        other.task_name = "sbuild".to_owned();
        let fourth = set(farm.work_requests().create(&other, &a, farm.now()).await.unwrap());

        let sets = QueueManager(db).requirement_sets(0).await.unwrap();
        let ids: Vec<_> = sets.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [first, second, third, fourth]);
        assert_eq!((sets[0].1.required.clone(), sets[1].1.provided.clone()), (tags(&["x", "y"]), tags(&["task:mine"])));
        assert_eq!(sets[3].1.task_name, "sbuild");
        assert_eq!(QueueManager(db).requirement_sets(second).await.unwrap(), sets[2..]);
    }

    async fn many_intern_the_same_requirements_at_once(db: &Database) {
        let farm = Farm::new(db);
        for n in 0..3 {
            let list = [format!("tag-{n}")];
            let wanted = SchedulerTags { required: list.into_iter().collect(), provided: Tags::new() };
            let made = join_all((0..6).map(|_| farm.pending_with(0, &wanted))).await;
            assert!(made.iter().all(|row| row.requirement_set_id == made[0].requirement_set_id));
            assert_eq!(requirement_set::Entity::find().count(db.reader()).await.unwrap(), n + 1);
        }
    }

    async fn the_head_of_the_queue(db: &Database) {
        let farm = Farm::new(db);
        let queue = QueueManager(db);
        let worker = farm.worker("w.example.org").await;
        let (a, b) = (requiring(&["a"]), requiring(&["b"]));
        let mut rows = Vec::new();
        for (priority, wanted) in [(0, &a), (0, &b), (5, &a), (0, &a)] {
            rows.push(farm.pending_with(priority, wanted).await);
        }
        let [set_a, set_b] = [0, 1].map(|n: usize| rows[n].requirement_set_id.unwrap());
        let [lane_a, lane_b] = [0, 1].map(|n: usize| rows[n].lane_id.unwrap());
        let heads = async |lanes: &[i64], each: u64| {
            let found = queue.heads(lanes, each).await.unwrap();
            assert!(found.iter().all(|head| lanes.contains(&head.lane_id)));
            let place = |id: i64| rows.iter().position(|row| row.id == id).unwrap();
            found.into_iter().map(|head| place(head.id)).collect::<Vec<_>>()
        };
        assert_eq!(queue.open_lanes().await.unwrap(), [lane_a, lane_b]);
        assert_eq!(heads(&[], 1).await, [0usize; 0]);
        assert_eq!(heads(&[99], 1).await, [0usize; 0]);
        assert_eq!(heads(&[lane_a, lane_b], 1).await, [2, 1]);
        assert_eq!(heads(&[lane_a], 2).await, [2, 0]);
        assert_eq!(heads(&[lane_b, lane_a, 99], 9).await, [1, 2, 0, 3]);

        // The worker takes whatever it is told to: what it has is free for nobody.
        let mut urgent = rows[2].clone();
        farm.assign(&mut urgent, &worker).await;
        assert_eq!(heads(&[lane_a], 1).await, [0]);
        let ahead = async |row: &WorkRequest, sets: &[i64]| queue.count_ahead(row, sets).await.unwrap();
        assert_eq!(ahead(&rows[3], &[set_a, set_b]).await, 2);
        assert_eq!(ahead(&rows[3], &[set_a]).await, 1);
        assert_eq!(ahead(&rows[0], &[set_a, set_b]).await, 0);
        assert_eq!(ahead(&rows[3], &[]).await, 0);
        urgent.de_assign_worker(db, farm.now()).await.unwrap();
        assert_eq!(ahead(&rows[3], &[set_a, set_b]).await, 3);
    }

    /// However long the queue and the past, the lanes and their heads are found by an index, and nothing is read besides.
    async fn heads_are_found_by_the_index(db: &Database) {
        let farm = Farm::new(db);
        let mut sets = Vec::new();
        for n in 0..4 {
            let row = farm.pending_with(0, &requiring(&[["a", "b", "c", "d"][n]])).await;
            multiply(db, &row, Statuses::Pending, 500).await;
            sets.push(row.requirement_set_id.unwrap());
        }
        let mut past = farm.pending().await;
        farm.complete(&mut past, Results::Success).await;
        db.reader().execute_unprepared("DELETE FROM event WHERE kind = 'completed'").await.unwrap();
        multiply(db, &past, Statuses::Completed, 3000).await;
        db.reader().execute_unprepared("ANALYZE").await.unwrap();
        let queue = QueueManager(db);
        let lanes = queue.open_lanes().await.unwrap();
        assert_eq!(lanes.len(), 4);
        for statement in [queue.open_lanes_statement(), queue.heads_statement(&lanes[..1], 1), queue.heads_statement(&lanes, 3)] {
            let plan = explain(db, statement).await;
            assert!(plan.contains("work_request_queue"), "{plan}");
            // SQLite calls a walk along an index that ends after one step a scan, too.
            assert!(!plan.replace("SCAN q USING INDEX work_request_queue", "").contains("SCAN q"), "{plan}");
            assert!(!plan.contains("Seq Scan on work_request") && !plan.contains("USE TEMP B-TREE"), "{plan}");
        }
        let heads = queue.heads(&lanes, 2).await.unwrap();
        assert_eq!(heads.iter().map(|head| head.priority).collect::<Vec<_>>(), [99; 8]);
        assert_eq!(head(db, &sets).await.unwrap().requirement_set_id, Some(sets[0]));
        let last = farm.pending_with(-1, &requiring(&["a"])).await;
        assert_eq!(QueueManager(db).count_ahead(&last, &sets).await.unwrap(), 4 * 501);
    }

    /// A list begins with the newest, at the end of its index, and sorts nothing.
    async fn a_list_reads_what_it_shows(db: &Database) {
        let farm = Farm::new(db);
        let mut past = farm.pending().await;
        multiply(db, &farm.pending().await, Statuses::Pending, 3000).await;
        farm.complete(&mut past, Results::Success).await;
        db.reader().execute_unprepared("DELETE FROM event WHERE kind = 'completed'").await.unwrap();
        multiply(db, &past, Statuses::Completed, 3000).await;
        db.reader().execute_unprepared("ANALYZE").await.unwrap();
        let (workspace_ids, place) = (vec![past.workspace_id], (past.created_at, past.id + 1000));
        let all = ListFilter { workspace_ids, ..ListFilter::default() };
        let task_name = Some(past.task_name.clone());
        for (index, filter) in [
            ("work_request_created", all.clone()),
            ("work_request_created", ListFilter { after: Some(place), ..all.clone() }),
            ("work_request_created", ListFilter { before: Some(place), ..all.clone() }),
            ("work_request_open", ListFilter { statuses: vec![Statuses::Pending], ..all.clone() }),
            // All rows are of this task, so that either will do.
            ("work_request_", ListFilter { task_name, ..all.clone() }),
        ] {
            let plan = explain(db, farm.work_requests().list_statement(&filter, 20)).await;
            assert!(plan.contains(index), "{filter:?}: {plan}");
            assert!(!plan.contains("Seq Scan") && !plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        }
        // The pending ones were made after the one that ended, and its copies bear its time.
        let newest = farm.work_requests().list(&all, 3).await.unwrap();
        assert_eq!(newest.iter().map(|row| row.id).collect::<Vec<_>>(), [3002, 3001, 3000]);
    }
}

/// 8, with several servers: each has its own connections to the same database.
#[tokio::test]
async fn many_servers_assign_at_once() {
    for (engine, database) in databases().await {
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Database::connect(database.url()).await.unwrap());
        }
        let farm = Farm::new(&database);
        let mut workers = Vec::new();
        for n in 0..4 {
            workers.push(farm.worker(&format!("w{n}")).await);
        }
        for _ in 0..6 {
            farm.pending().await;
        }
        let farms: Vec<_> = servers.iter().map(Farm::new).collect();
        let runs: Vec<_> = join_all(farms.iter().map(schedule)).await.into_iter().flatten().collect();
        let by_row: BTreeMap<_, _> = runs.iter().copied().collect();
        assert_eq!((runs.len(), by_row.len()), (4, 4), "{engine}: {runs:?}");
        farm::all_is_well(&database).await;
        let assigned = work_request::Entity::find().all(database.reader()).await.unwrap();
        assert_eq!(assigned.iter().filter(|row| row.worker_id.is_some()).count(), 4, "{engine}");
        for server in &servers {
            server.close().await;
        }
        database.remove().await;
    }
}
