//! Stories of the local file store: what goes in comes out, nothing half comes under a final name.

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use common::*;
use usine_store::{FileStore, LocalStore, Put, StoreError, VerifiedFile};

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
async fn the_same_content_is_kept_once() {
    let machine = Machine::new().await;
    let id = id_of(b"twice");
    let (first, second) = (machine.file("first", b"twice"), machine.file("second", b"twice"));

    assert_eq!(machine.store.put(id, &first).await.unwrap(), Put::Added);
    assert_eq!(machine.store.put(id, &second).await.unwrap(), Put::AlreadyThere);

    assert!(!second.exists());
    assert_eq!(machine.files_in_store(), [machine.store.local_path(id).unwrap()]);
    assert_eq!(machine.read(id, 0..5).await.unwrap(), b"twice");
}

#[tokio::test]
async fn many_at_once_put_the_same_content() {
    let machine = Machine::new().await;
    let content = content(100_000);
    let id = id_of(&content);
    let files: Vec<_> = (0..16).map(|n| machine.file(&format!("copy-{n}"), &content)).collect();

    let results = futures::future::join_all(files.iter().map(|file| machine.store.put(id, file))).await;

    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(machine.files_in_store(), [machine.store.local_path(id).unwrap()]);
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
}

#[tokio::test]
async fn a_wrong_content_is_refused_and_left_where_it_was() {
    let machine = Machine::new().await;
    let id = id_of(b"right");
    let wrong = machine.file("wrong", b"wrong");
    let long = machine.file("long", b"right and more");

    let Err(StoreError::HashMismatch { expected, received }) = machine.store.put(id, &wrong).await else {
        panic!("a wrong content was taken");
    };
    assert_eq!((expected, received), (id.sha256, id_of(b"wrong").sha256));
    assert!(matches!(
        machine.store.put(id, &long).await,
        Err(StoreError::SizeMismatch { expected: 5, received: 14, .. })
    ));

    assert!(wrong.exists() && long.exists());
    assert!(machine.files_in_store().is_empty());
    assert!(matches!(machine.read(id, 0..5).await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn naming_a_known_digest_is_not_enough() {
    let machine = Machine::new().await;
    let id = id_of(b"secret");
    machine.store.put(id, &machine.file("secret", b"secret")).await.unwrap();

    let guess = machine.file("guess", b"gueess");
    assert!(matches!(machine.store.put(id, &guess).await, Err(StoreError::HashMismatch { .. })));
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let machine = Machine::new().await;
    let id = id_of(b"");
    assert_eq!(machine.store.put(id, &machine.file("empty", b"")).await.unwrap(), Put::Added);
    assert!(machine.store.contains(id).await.unwrap());
    assert_eq!(machine.read(id, 0..0).await.unwrap(), b"");
}

#[tokio::test]
async fn ranges_give_exactly_their_bytes() {
    let machine = Machine::new().await;
    let content = content(600_000);
    let id = id_of(&content);
    machine.store.put(id, &machine.file("big", &content)).await.unwrap();

    for range in [0..1, 0..262_144, 262_143..262_145, 100..524_289, 599_999..600_000, 600_000..600_000, 7..7] {
        let bytes = machine.read(id, range.clone()).await.unwrap();
        assert!(bytes == content[range.start as usize..range.end as usize], "{range:?}");
    }
    let backwards = std::ops::Range { start: 9, end: 8 };
    for range in [0..600_001, 600_001..600_001, backwards] {
        assert!(matches!(machine.read(id, range).await, Err(StoreError::RangeOutside { .. })));
    }
}

#[tokio::test]
async fn a_removed_file_is_gone() {
    let machine = Machine::new().await;
    let id = id_of(b"old");
    machine.store.put(id, &machine.file("old", b"old")).await.unwrap();
    let stream = machine.store.open_range(id, 0..3).await.unwrap();

    let aside = machine.store.set_aside(id, [1; 32]).await.unwrap().unwrap();
    assert_eq!(machine.store.set_aside(id, [2; 32]).await.unwrap(), None);
    for _ in 0..2 {
        machine.store.discard(aside.clone()).await.unwrap();
        assert!(!machine.store.contains(id).await.unwrap());
    }
    assert!(machine.files_in_store().is_empty());

    let pieces: Vec<_> = futures::TryStreamExt::try_collect(stream).await.unwrap();
    assert_eq!(pieces.concat(), b"old", "a reader that had begun goes on");
    assert_eq!(machine.store.put(id, &machine.file("again", b"old")).await.unwrap(), Put::Added);
}

#[tokio::test]
async fn a_file_aside_is_read_but_not_relied_on() {
    let machine = Machine::new().await;
    let id = id_of(b"old");
    machine.store.put(id, &machine.file("old", b"old")).await.unwrap();
    let aside = machine.store.set_aside(id, [1; 32]).await.unwrap().unwrap();
    assert_eq!(machine.store.aside().await.unwrap(), std::slice::from_ref(&aside));
    assert!(machine.store.contains(id).await.unwrap());
    assert_eq!(machine.read(id, 0..3).await.unwrap(), b"old");

    assert_eq!(machine.store.put(id, &machine.file("again", b"old")).await.unwrap(), Put::Added);
    let second = machine.store.set_aside(id, [2; 32]).await.unwrap().unwrap();
    machine.store.discard(aside).await.unwrap();
    assert!(machine.store.contains(id).await.unwrap(), "each copy is decided about on its own");
    for _ in 0..2 {
        machine.store.put_back(second.clone()).await.unwrap();
        assert_eq!(machine.files_in_store(), [machine.store.local_path(id).unwrap()]);
    }
    assert_eq!(machine.read(id, 0..3).await.unwrap(), b"old");
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

#[tokio::test]
async fn links_and_swapped_files_are_not_taken() {
    let machine = Machine::new().await;
    let id = id_of(b"content");
    let file = machine.file("file", b"content");
    let link = machine.dir.path().join("link");
    symlink(&file, &link).unwrap();
    assert!(matches!(machine.store.put(id, &link).await, Err(StoreError::NotThatFile { .. })));
    assert!(matches!(machine.store.put(id, machine.dir.path()).await, Err(StoreError::NotThatFile { .. })));

    let verified = VerifiedFile::check(&file, id).await.unwrap();
    std::fs::rename(machine.file("evil", b"another"), &file).unwrap();
    assert!(matches!(machine.store.put_verified(verified).await, Err(StoreError::NotThatFile { .. })));
    assert!(machine.files_in_store().is_empty());
}
