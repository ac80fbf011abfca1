//! Several servers on one database: who is there, whose workers are whose, what others have written, logs that go on.

mod farm;
mod support;

use chrono::TimeDelta;
use farm::{Farm, heard, kinds, stories};
use futures::future::join_all;
use sea_orm::ConnectionTrait;
use support::TestDatabase;
use usine_db::coordination::{Candidate, Ear};
use usine_db::{Database, Error, EventManager, LiveLogManager, ServerManager, Worker};
use usine_model::event::EventKind;

/// A worker that is connected to whichever server this process is.
async fn connected(farm: &Farm<'_>, name: &str) -> Worker {
    farm.worker(name).await
}

stories! {
    async fn a_life_begins_where_the_last_one_ended(db: &Database) {
        let farm = Farm::new(db);
        let servers = ServerManager(db);
        // From before there were servers.
        let old = connected(&farm, "old.example.org").await;
        let first = servers.register("one", farm.now()).await.unwrap();
        assert_eq!((db.server(), servers.list().await.unwrap()), (Some(first.id), vec![first.clone()]));
        assert!(!farm.reload_worker(&old).await.connected());

        let worker = connected(&farm, "w.example.org").await;
        assert_eq!(worker.server_id, Some(first.id));
        let two = servers.register("two", farm.now()).await.unwrap();
        let theirs = connected(&farm, "v.example.org").await;
        assert!(farm.reload_worker(&worker).await.connected(), "another server does not touch it");

        let mut events = db.events();
        let second = servers.register("one", farm.now()).await.unwrap();
        assert_eq!(servers.list().await.unwrap(), [two, second.clone()]);
        let gone = farm.reload_worker(&worker).await;
        assert_eq!((gone.connected(), gone.last_seen), (false, Some(second.started_at)));
        assert!(farm.reload_worker(&theirs).await.connected());
        assert_eq!(kinds(&heard(&mut events)), [EventKind::WorkerDisconnected]);
    }

    async fn only_who_said_nothing_is_buried(db: &Database) {
        let farm = Farm::new(db);
        let servers = ServerManager(db);
        let server = servers.register("one", farm.now()).await.unwrap();
        let (worker, other) = (connected(&farm, "w.example.org").await, connected(&farm, "v.example.org").await);
        let beaten = farm.now();
        servers.beat(&server, &[worker.id, other.id], beaten).await.unwrap();
        assert!(!servers.bury(&server, farm.now()).await.unwrap(), "it has said something since");
        let found = servers.list().await.unwrap().remove(0);
        assert_eq!((found.id, found.last_seen), (server.id, beaten));
        let seen = farm.now();
        assert!(servers.bury(&found, seen).await.unwrap());
        assert_eq!(servers.list().await.unwrap(), []);
        for worker in [&worker, &other] {
            let gone = farm.reload_worker(worker).await;
            assert_eq!((gone.connected(), gone.last_seen), (false, Some(seen)));
        }

        // It was only slow: it is there again, with its workers but the one that has gone meanwhile.
        servers.beat(&server, &[worker.id], farm.now()).await.unwrap();
        assert_eq!(servers.list().await.unwrap().len(), 1);
        let back = farm.reload_worker(&worker).await;
        assert_eq!((back.connected(), back.server_id), (true, Some(server.id)));
        assert!(!farm.reload_worker(&other).await.connected());
    }

    async fn a_beat_puts_right_who_is_connected(db: &Database) {
        let farm = Farm::new(db);
        let servers = ServerManager(db);
        let server = servers.register("one", farm.now()).await.unwrap();
        let (stays, goes) = (connected(&farm, "w.example.org").await, connected(&farm, "v.example.org").await);
        let since = farm.now();
        let comes = connected(&farm, "u.example.org").await;
        servers.beat(&server, &[stays.id], since).await.unwrap();
        let is_connected = async |worker: &Worker| farm.reload_worker(worker).await.connected();
        assert!(is_connected(&stays).await && !is_connected(&goes).await);
        assert!(is_connected(&comes).await, "it came after the look");
        // One that has moved to another server belongs to that.
        let two = servers.register("two", farm.now()).await.unwrap();
        let mut moved = farm.reload_worker(&stays).await;
        moved.mark_connected(db, farm.now()).await.unwrap();
        servers.beat(&server, &[stays.id, comes.id], farm.now()).await.unwrap();
        assert_eq!(farm.reload_worker(&stays).await.server_id, Some(two.id));
        servers.end(two.id, farm.now()).await.unwrap();
        assert!(!is_connected(&stays).await);
        // A server that nobody knows has nobody.
        moved.mark_connected(db, farm.now()).await.unwrap();
        assert_eq!(servers.bring_home(farm.now()).await.unwrap(), 1);
        assert!(!is_connected(&stays).await && is_connected(&comes).await);
    }

    async fn events_of_others_are_told_from_own_ones(db: &Database) {
        let farm = Farm::new(db);
        let events = EventManager(db);
        farm.pending().await;
        let start = events.newest().await.unwrap();
        assert_eq!(events.foreign(0, 100).await.unwrap(), farm.all_events().await, "a command has no events of its own");
        ServerManager(db).register("one", farm.now()).await.unwrap();
        let row = farm.pending().await;
        assert!(events.newest().await.unwrap() > start);
        assert_eq!(events.foreign(start, 100).await.unwrap(), []);
        // Another process takes over.
        ServerManager(db).register("two", farm.now()).await.unwrap();
        let foreign = events.foreign(start, 100).await.unwrap();
        assert!(!foreign.is_empty() && foreign.iter().all(|event| event.work_request_id == Some(row.id)));
        let ids: Vec<i64> = foreign.iter().map(|event| event.id).collect();
        assert_eq!(events.foreign_ids(start, ids[0]).await.unwrap(), ids[..1]);
        assert_eq!(events.with_ids(&ids).await.unwrap(), foreign);
        assert_eq!(events.foreign(start, 1).await.unwrap(), foreign[..1]);
    }

    async fn one_log_goes_on_in_one_place(db: &Database) {
        let farm = Farm::new(db);
        let logs = LiveLogManager(db);
        let (id, other) = (farm.pending().await.id, farm.pending().await.id);
        assert!(!logs.any().await.unwrap());
        assert!(logs.add(id, 0, b"one\n", farm.now()).await.unwrap());
        let second = farm.now();
        assert!(logs.add(id, 4, b"two\n", second).await.unwrap());
        assert!(!logs.add(id, 4, b"other\n", farm.now()).await.unwrap(), "somebody else has gone on");
        assert_eq!(logs.last_written(id).await.unwrap(), Some(second));
        // An end gives way to more, and to nothing else.
        assert!(logs.add(id, 8, b"", farm.now()).await.unwrap());
        assert!(logs.add(id, 8, b"three\n", farm.now()).await.unwrap());
        assert!(!logs.add(id, 8, b"", farm.now()).await.unwrap());
        assert!(logs.add(other, 0, b"x\n", farm.now()).await.unwrap());
        let bytes = async |from| {
            let pieces = logs.pieces(id, from, 10).await.unwrap();
            pieces.iter().flat_map(|piece| piece.data.clone()).collect::<Vec<u8>>()
        };
        assert_eq!((bytes(0).await, bytes(8).await), (b"one\ntwo\nthree\n".to_vec(), b"three\n".to_vec()));
        assert_eq!(logs.pieces(id, 0, 1).await.unwrap().len(), 1);
        assert_eq!(logs.lengths(&[id, other, 99]).await.unwrap(), [(id, 14), (other, 2)].into());
        assert!(!logs.add(99, 0, b"no such work request\n", farm.now()).await.unwrap());

        let now = farm.now();
        logs.add(id, 14, b"four\n", now).await.unwrap();
        assert_eq!(logs.forget(now).await.unwrap(), 1, "only what nobody writes to any more");
        assert_eq!(logs.lengths(&[id, other]).await.unwrap(), [(id, 19)].into());
        assert_eq!(logs.forget(now + TimeDelta::seconds(1)).await.unwrap(), 4);
        assert!(!logs.any().await.unwrap());
    }

    async fn a_schema_may_be_one_step_ahead(db: &Database) {
        let apply = async |name: &str| {
            let sql = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{name}', 0)");
            db.reader().execute_unprepared(&sql).await.unwrap();
        };
        let forget = async |name: &str| {
            let sql = format!("DELETE FROM seaql_migrations WHERE version = '{name}'");
            db.reader().execute_unprepared(&sql).await.unwrap();
        };
        let refused = async |steps: &[&str]| {
            for error in [db.migrate().await.unwrap_err(), db.pending_migrations().await.unwrap_err()] {
                assert!(matches!(&error, Error::SchemaAhead { steps: found } if found == steps), "{error}");
            }
        };
        apply("m29990101_000001_next").await;
        db.migrate().await.unwrap();
        assert!(db.pending_migrations().await.unwrap().is_empty());
        apply("m29990102_000002_next").await;
        refused(&["m29990101_000001_next", "m29990102_000002_next"]).await;
        // Not a later version, but another one.
        forget("m29990101_000001_next").await;
        forget("m29990102_000002_next").await;
        apply("m20260101_000001_elsewhere").await;
        refused(&["m20260101_000001_elsewhere"]).await;
        forget("m20260101_000001_elsewhere").await;
        assert!(db.pending_migrations().await.unwrap().is_empty());
    }
}

/// Of several candidates one leads; when it is gone, another one does.
#[tokio::test]
async fn one_of_several_leads() {
    let database = TestDatabase::postgres().await;
    let mut candidates = join_all((0..3).map(|_| Candidate::connect(&database))).await;
    let mut leads = Vec::new();
    for candidate in &mut candidates {
        leads.push(candidate.as_mut().unwrap().try_to_lead().await.unwrap());
    }
    assert_eq!(leads, [true, false, false]);
    let mut rest = candidates.split_off(1).into_iter().map(Result::unwrap);
    let (mut second, mut third) = (rest.next().unwrap(), rest.next().unwrap());
    candidates.remove(0).unwrap().resign().await;
    // PostgreSQL may take a moment to end the session.
    while !second.try_to_lead().await.unwrap() {
        tokio::task::yield_now().await;
    }
    assert!(!third.try_to_lead().await.unwrap());
    // However it goes.
    drop(second);
    while !third.try_to_lead().await.unwrap() {
        tokio::task::yield_now().await;
    }
    third.check().await.unwrap();
    database.remove().await;
}

/// A process that has written something wakes those that listen, if it knows that there are any.
#[tokio::test]
async fn news_wake_other_servers() {
    let database = TestDatabase::postgres().await;
    let other = Database::connect(database.url()).await.unwrap();
    let farm = Farm::new(&database);
    let mut ear = Ear::open(&other).await.unwrap();
    database.set_one_of_several(true);
    tokio::select! {
        () = database.announce() => {}
        heard = async { tokio::join!(ear.hear(), farm.pending()).0 } => heard.unwrap(),
    }
    other.close().await;
    database.remove().await;
}
