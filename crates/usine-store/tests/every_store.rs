//! Stories that hold for every file store, on a directory and on S3.

mod common;

use std::os::unix::fs::symlink;

use common::s3::S3;
use common::*;
use usine_store::{Put, StoreError, VerifiedFile};

/// Makes two tests of each story.
macro_rules! stories {
    ($($(#[$attribute:meta])* async fn $name:ident($machine:ident: Machine) $body:block)+) => {
        mod local {
            use super::*;
            $($(#[$attribute])* #[tokio::test] async fn $name() { super::$name(Machine::new().await).await; })+
        }
        mod s3 {
            use super::*;
            $($(#[$attribute])* #[tokio::test] async fn $name() {
                let server = S3::start();
                super::$name(Machine::with_s3(&server).await).await;
            })+
        }
        $(async fn $name($machine: Machine) $body)+
    };
}

stories! {
    async fn the_same_content_is_kept_once(machine: Machine) {
        let id = id_of(b"twice");
        let (first, second) = (machine.file("first", b"twice"), machine.file("second", b"twice"));

        assert_eq!(machine.store.put(id, &first).await.unwrap(), Put::Added);
        assert_eq!(machine.store.put(id, &second).await.unwrap(), Put::AlreadyThere);

        assert!(!second.exists());
        assert_eq!(machine.contents().await, [id]);
        assert_eq!(machine.read(id, 0..5).await.unwrap(), b"twice");
    }

    async fn many_at_once_put_the_same_content(machine: Machine) {
        let content = content(100_000);
        let id = id_of(&content);
        let files: Vec<_> = (0..16).map(|n| machine.file(&format!("copy-{n}"), &content)).collect();

        let results = futures::future::join_all(files.iter().map(|file| machine.store.put(id, file))).await;

        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(machine.contents().await, [id]);
        assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
    }

    async fn a_wrong_content_is_refused_and_left_where_it_was(machine: Machine) {
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
        assert!(machine.contents().await.is_empty());
        assert!(matches!(machine.read(id, 0..5).await, Err(StoreError::NotFound { .. })));
    }

    async fn naming_a_known_digest_is_not_enough(machine: Machine) {
        let id = id_of(b"secret");
        machine.store.put(id, &machine.file("secret", b"secret")).await.unwrap();

        let guess = machine.file("guess", b"gueess");
        assert!(matches!(machine.store.put(id, &guess).await, Err(StoreError::HashMismatch { .. })));
    }

    async fn an_empty_file_is_a_file(machine: Machine) {
        let id = id_of(b"");
        assert_eq!(machine.store.put(id, &machine.file("empty", b"")).await.unwrap(), Put::Added);
        assert!(machine.store.contains(id).await.unwrap());
        assert_eq!(machine.read(id, 0..0).await.unwrap(), b"");
    }

    async fn ranges_give_exactly_their_bytes(machine: Machine) {
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

    async fn a_removed_file_is_gone(machine: Machine) {
        let id = id_of(b"old");
        machine.store.put(id, &machine.file("old", b"old")).await.unwrap();
        let stream = machine.store.open_range(id, 0..3).await.unwrap();

        let aside = machine.store.set_aside(id, [1; 32]).await.unwrap().unwrap();
        assert_eq!(machine.store.set_aside(id, [2; 32]).await.unwrap(), None);
        for _ in 0..2 {
            machine.store.discard(aside.clone()).await.unwrap();
            assert!(!machine.store.contains(id).await.unwrap());
        }
        assert!(machine.contents().await.is_empty());

        let pieces: Vec<_> = futures::TryStreamExt::try_collect(stream).await.unwrap();
        assert_eq!(pieces.concat(), b"old", "a reader that had begun goes on");
        assert_eq!(machine.store.put(id, &machine.file("again", b"old")).await.unwrap(), Put::Added);
    }

    async fn a_file_aside_is_read_but_not_relied_on(machine: Machine) {
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
            assert_eq!(machine.contents().await, [id]);
        }
        assert_eq!(machine.read(id, 0..3).await.unwrap(), b"old");
    }

    async fn links_and_swapped_files_are_not_taken(machine: Machine) {
        let id = id_of(b"content");
        let file = machine.file("file", b"content");
        let link = machine.dir.path().join("link");
        symlink(&file, &link).unwrap();
        assert!(matches!(machine.store.put(id, &link).await, Err(StoreError::NotThatFile { .. })));
        assert!(matches!(machine.store.put(id, machine.dir.path()).await, Err(StoreError::NotThatFile { .. })));

        let verified = VerifiedFile::check(&file, id).await.unwrap();
        std::fs::rename(machine.file("evil", b"another"), &file).unwrap();
        assert!(matches!(machine.store.put_verified(verified).await, Err(StoreError::NotThatFile { .. })));
        assert!(machine.contents().await.is_empty());
    }

    async fn a_file_comes_back_as_it_went_in_at_any_length(machine: Machine) {
        // Around the length of a part, and several parts.
        for length in [1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 45_000_000] {
            let content = content(length);
            let id = id_of(&content);
            let file = machine.file("file", &content);
            assert!(!machine.store.contains(id).await.unwrap());
            assert_eq!(machine.store.put(id, &file).await.unwrap(), Put::Added);
            assert!(machine.store.contains(id).await.unwrap() && !file.exists());
            assert!(machine.read(id, 0..id.size).await.unwrap() == content, "{length}");
            let middle = id.size / 2;
            assert!(machine.read(id, middle..id.size).await.unwrap() == content[middle as usize..], "{length}");
        }
    }

    async fn a_store_lists_its_files_part_by_part(machine: Machine) {
        let mut ids = Vec::new();
        for n in 0..20u8 {
            let id = id_of(&[n]);
            machine.store.put(id, &machine.file("file", &[n])).await.unwrap();
            ids.push(id);
        }
        let aside = machine.store.set_aside(ids[3], [1; 32]).await.unwrap().unwrap();
        ids.retain(|id| *id != aside.id);
        ids.sort();
        assert_eq!(machine.contents().await, ids);
        machine.store.put_back(aside).await.unwrap();
        assert_eq!(machine.contents().await.len(), 20);
        assert_eq!(machine.store.aside().await.unwrap(), []);
    }

    /// Somebody decides late, or a second time, about a copy that another one has decided about: nothing that was put
    /// since then is lost.
    async fn late_decisions_harm_nobody(machine: Machine) {
        let id = id_of(b"content");
        let put = async || machine.store.put(id, &machine.file("file", b"content")).await.unwrap();
        put().await;
        let first = machine.store.set_aside(id, [1; 32]).await.unwrap().unwrap();
        assert_eq!(put().await, Put::Added, "a copy that is aside does not count");
        let second = machine.store.set_aside(id, [2; 32]).await.unwrap().unwrap();
        machine.store.put_back(second.clone()).await.unwrap();
        assert_eq!(put().await, Put::AlreadyThere);
        // Whoever thought that both had to go is late.
        machine.store.discard(second.clone()).await.unwrap();
        machine.store.discard(first.clone()).await.unwrap();
        machine.store.put_back(first).await.unwrap();
        machine.store.put_back(second).await.unwrap();
        assert_eq!(machine.read(id, 0..7).await.unwrap(), b"content");
        assert_eq!((machine.contents().await, machine.store.aside().await.unwrap()), (vec![id], vec![]));
    }

    /// Removals as upkeep does them, and uploads, at once: what has an artifact when all is over is there.
    async fn removals_and_uploads_of_one_content_at_once(machine: Machine) {
        let id = id_of(b"content");
        // Whether an artifact has the content. It has it before the content is put.
        let wanted = std::sync::atomic::AtomicBool::new(false);
        let order = std::sync::atomic::Ordering::SeqCst;
        for round in 0..8u8 {
            wanted.store(false, order);
            machine.store.put(id, &machine.file("before", b"content")).await.unwrap();
            let upload = async {
                for _ in 0..round % 5 {
                    tokio::task::yield_now().await;
                }
                wanted.store(true, order);
                machine.store.put(id, &machine.file("upload", b"content")).await.unwrap();
            };
            let removal = async |number: u8| {
                let aside = machine.store.set_aside(id, [number; 32]).await.unwrap();
                let stays = wanted.load(order);
                if let Some(copy) = aside {
                    if stays { machine.store.put_back(copy).await } else { machine.store.discard(copy).await }.unwrap();
                }
            };
            let settle = async {
                let aside = machine.store.aside().await.unwrap();
                let stays = wanted.load(order);
                for copy in aside {
                    if stays { machine.store.put_back(copy).await } else { machine.store.discard(copy).await }.unwrap();
                }
            };
            futures::join!(upload, removal(2 * round), removal(2 * round + 1), settle);
            assert!(machine.store.contains(id).await.unwrap(), "round {round}");
            assert_eq!(machine.read(id, 0..7).await.unwrap(), b"content", "round {round}");
            assert_eq!(machine.store.aside().await.unwrap(), []);
        }
    }
}
