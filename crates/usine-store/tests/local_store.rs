//! Stories of the local file store: what goes in comes out, nothing half comes under a final name.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use common::*;
use usine_store::{FileStore, LocalStore, Put, StoreError};

/// When the file system last saw a change here, by this machine's clock.
fn modified(path: &std::path::Path) -> SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

#[tokio::test]
async fn a_file_comes_back_as_it_went_in() {
    let machine = Machine::new().await;
    let content = content(1_000_000);
    let id = id_of(&content);
    let file = machine.file("hello.deb", &content);

    assert!(!machine.store.contains(id).await.unwrap());
    assert_eq!(machine.store.put(id, &file).await.unwrap(), Put::Added);

    assert!(machine.store.contains(id).await.unwrap());
    assert!(!file.exists(), "the store took the file over");
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);

    let hex = id.sha256_hex();
    let expected =
        machine.dir.path().join("store").join(format!("{}/{}/{}/{hex}-1000000", &hex[0..2], &hex[2..4], &hex[4..6]));
    assert_eq!(machine.store.local_path(id).unwrap(), expected);
    assert_eq!(std::fs::metadata(&expected).unwrap().permissions().mode() & 0o7777, 0o440);
    let directory = std::fs::metadata(expected.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(directory & 0o027, 0, "group may not write, others may nothing: {directory:o}");
}

#[tokio::test]
async fn a_damaged_copy_does_not_come_back_in_the_place_of_a_good_one() {
    let machine = Machine::new().await;
    let id = id_of(b"content");
    machine.store.put(id, &machine.file("first", b"content")).await.unwrap();
    let path = machine.store.local_path(id).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&path, b"cont").unwrap();
    let aside = machine.store.set_aside(id, [1; 32]).await.unwrap().unwrap();
    machine.store.put(id, &machine.file("second", b"content")).await.unwrap();
    machine.store.put_back(aside).await.unwrap();
    assert_eq!(machine.read(id, 0..7).await.unwrap(), b"content");
    assert_eq!(machine.files_in_store(), [path]);
}

#[tokio::test]
async fn a_store_lists_what_it_has_part_by_part() {
    let machine = Machine::new().await;
    let ids: Vec<_> = (0..20u8).map(|n| id_of(&[n])).collect();
    for (n, id) in (0..20u8).zip(&ids) {
        machine.store.put(*id, &machine.file("file", &[n])).await.unwrap();
    }
    let aside = machine.store.set_aside(ids[3], [1; 32]).await.unwrap().unwrap();
    let damaged = machine.store.local_path(ids[4]).unwrap();
    std::fs::set_permissions(&damaged, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&damaged, b"longer").unwrap();
    written_at(&damaged, noon());
    let strange = damaged.with_file_name(format!("{}x", ids[4]));
    std::fs::write(&strange, b"").unwrap();
    let misplaced = machine.dir.path().join("store").join(hex::encode(&ids[4].sha256[..1])).join("README");
    std::fs::write(&misplaced, b"").unwrap();

    let mut found = Vec::new();
    let mut strangers = Vec::new();
    for first_byte in 0..=u8::MAX {
        let listing = machine.store.list(first_byte).await.unwrap();
        assert!(listing.files.iter().all(|file| file.id.sha256[0] == first_byte));
        found.extend(listing.files);
        strangers.extend(listing.strange);
    }
    let mut expected: Vec<_> = ids.iter().copied().filter(|id| *id != aside.id).collect();
    expected.sort();
    assert_eq!(found.iter().map(|file| file.id).collect::<Vec<_>>(), expected);
    let seen = found.iter().find(|file| file.id == ids[4]).unwrap();
    assert_eq!((seen.size, seen.modified), (6, noon()));
    strangers.sort();
    let mut expected = vec![strange, misplaced];
    expected.sort();
    assert_eq!(strangers, expected);
}

#[tokio::test]
async fn old_empty_directories_go_and_come_back_when_needed() {
    let machine = Machine::new().await;
    let (full, empty) = (id_of(b"full"), id_of(b"empty"));
    for (id, content) in [(full, &b"full"[..]), (empty, b"empty")] {
        machine.store.put(id, &machine.file("file", content)).await.unwrap();
    }
    let aside = machine.store.set_aside(empty, [1; 32]).await.unwrap().unwrap();
    let directory = machine.store.local_path(empty).unwrap().parent().unwrap().to_owned();
    let later = modified(&directory) + Duration::from_secs(3600);

    assert_eq!(machine.store.prune(noon()).await.unwrap(), 0, "too young");
    assert_eq!(machine.store.prune(later).await.unwrap(), 3);
    assert!(!directory.exists());
    assert!(machine.store.contains(full).await.unwrap());
    machine.store.put_back(aside).await.unwrap();
    assert!(machine.store.contains(empty).await.unwrap());
    assert_eq!(machine.store.prune(later).await.unwrap(), 0, "none is empty");
}

#[tokio::test]
async fn directories_may_be_pruned_while_files_are_put() {
    let machine = Machine::new().await;
    let later = modified(machine.dir.path()) + Duration::from_secs(3600);
    let pruning = async {
        for _ in 0..30 {
            machine.store.prune(later).await.unwrap();
        }
    };
    let putting = async {
        for round in 0..30u8 {
            for n in 0..10u8 {
                let content = [round, n];
                let id = id_of(&content);
                let put = machine.store.put(id, &machine.file(&format!("{round}-{n}"), &content)).await;
                assert_eq!(put.unwrap(), Put::Added);
                let aside = machine.store.set_aside(id, [n; 32]).await.unwrap().unwrap();
                machine.store.put_back(aside).await.unwrap();
                assert!(machine.store.contains(id).await.unwrap());
            }
        }
    };
    futures::join!(pruning, putting);
}

#[tokio::test]
async fn what_a_crash_leaves_does_not_count_and_is_swept() {
    let machine = Machine::new().await;
    let id = id_of(b"whole content");
    let incoming = machine.dir.path().join("store/incoming");
    let (old, young) = (incoming.join("put-old"), incoming.join("put-young"));
    std::fs::write(&old, b"whole co").unwrap();
    std::fs::write(&young, b"whole content").unwrap();
    written_at(&old, noon() - Duration::from_secs(1));
    written_at(&young, noon());

    let store = LocalStore::open(machine.dir.path().join("store")).await.unwrap();
    assert!(!store.contains(id).await.unwrap());
    assert_eq!(store.sweep(noon()).await.unwrap(), 1);
    assert_eq!(machine.files_in_store(), [young], "a copy may still be under way");

    store.put(id, &machine.file("whole", b"whole content")).await.unwrap();
    store.sweep(noon() + Duration::from_secs(1)).await.unwrap();
    assert_eq!(machine.files_in_store(), [store.local_path(id).unwrap()]);
}

#[tokio::test]
async fn a_damaged_file_is_noticed_and_repaired_by_the_next_put() {
    let machine = Machine::new().await;
    let content = content(300_000);
    let id = id_of(&content);
    machine.store.put(id, &machine.file("good", &content)).await.unwrap();
    let stream = machine.store.open_range(id, 0..id.size).await.unwrap();
    let path = machine.store.local_path(id).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(10_000).unwrap();

    let cut: Result<Vec<_>, _> = futures::TryStreamExt::try_collect(stream).await;
    assert_eq!(cut.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof, "never a short file without an error");
    assert!(!machine.store.contains(id).await.unwrap());
    assert!(matches!(machine.read(id, 0..1).await, Err(StoreError::Damaged { found: 10_000, .. })));

    assert_eq!(machine.store.put(id, &machine.file("again", &content)).await.unwrap(), Put::Added);
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
}

#[tokio::test]
async fn a_file_with_a_second_name_is_copied_so_that_nobody_can_change_it_later() {
    let machine = Machine::new().await;
    let content = content(700_000);
    let id = id_of(&content);
    let file = machine.file("one", &content);
    let other = machine.dir.path().join("other");
    std::fs::hard_link(&file, &other).unwrap();

    assert_eq!(machine.store.put(id, &file).await.unwrap(), Put::Added);
    std::fs::write(&other, b"changed").unwrap();

    assert!(!file.exists());
    assert_eq!(machine.files_in_store(), [machine.store.local_path(id).unwrap()], "no temporary file is left");
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
}
