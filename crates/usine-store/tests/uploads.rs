//! Stories of resumable uploads: a broken line costs no more than what was on its way.

mod common;

use std::cell::Cell;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use futures::{StreamExt, poll, stream};
use usine_store::{Put, UploadError, Uploads};

#[tokio::test]
async fn a_file_comes_in_chunks_and_goes_into_the_store() {
    let machine = Machine::new().await;
    let (content, name) = (content(1_500_000), name("hello"));
    let id = id_of(&content);

    assert_eq!(machine.uploads.received(&name).await.unwrap(), None);
    for (part, received) in [(0..600_000, 600_000), (600_000..600_001, 600_001), (600_001..1_500_000, 1_500_000)] {
        let now = machine.send(&name, part.start as u64, id.size, &content[part]).await.unwrap();
        assert_eq!(now, received);
        assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(received));
    }

    assert_eq!(machine.uploads.finish(&name, id, &*machine.store).await.unwrap(), Put::Added);
    assert_eq!(machine.uploads.received(&name).await.unwrap(), None);
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
}

#[tokio::test]
async fn the_same_content_uploaded_twice_is_kept_once() {
    let machine = Machine::new().await;
    let id = id_of(b"twice");
    for (upload, put) in [("one", Put::Added), ("two", Put::AlreadyThere)] {
        machine.send(&name(upload), 0, 5, b"twice").await.unwrap();
        assert_eq!(machine.uploads.finish(&name(upload), id, &*machine.store).await.unwrap(), put);
        assert!(!machine.staged(&name(upload)).exists());
    }
    assert_eq!(machine.files_in_store().len(), 1);
}

#[tokio::test]
async fn an_empty_file_is_uploaded_with_an_empty_body() {
    let machine = Machine::new().await;
    let name = name("empty");
    assert_eq!(machine.send(&name, 0, 0, b"").await.unwrap(), 0);
    assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(0));
    assert_eq!(machine.uploads.finish(&name, id_of(b""), &*machine.store).await.unwrap(), Put::Added);
    assert!(machine.store.contains(id_of(b"")).await.unwrap());
}

#[tokio::test]
async fn after_a_broken_connection_the_upload_goes_on_where_it_was() {
    let machine = Machine::new().await;
    let (content, name) = (content(1_000_000), name("broken"));
    let id = id_of(&content);

    let range = chunk(0, Some(1_000_000), 1_000_000);
    let Err(UploadError::Body { received, .. }) =
        machine.uploads.write_chunk(&name, range, broken(&content[..400_123])).await
    else {
        panic!("the line broke");
    };
    assert_eq!(received, 400_123);
    assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(400_123));

    machine.send(&name, received, id.size, &content[400_123..]).await.unwrap();
    assert_eq!(machine.uploads.finish(&name, id, &*machine.store).await.unwrap(), Put::Added);
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
}

#[tokio::test]
async fn a_line_that_breaks_before_the_first_byte_costs_nothing() {
    let machine = Machine::new().await;
    let name = name("early");
    machine.send(&name, 0, 10, b"01234567").await.unwrap();

    let result = machine.uploads.write_chunk(&name, chunk(2, Some(8), 10), broken(b"")).await;
    assert!(matches!(result, Err(UploadError::Body { received: 8, .. })), "{result:?}");
    assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(8));
}

#[tokio::test]
async fn a_cancelled_request_leaves_a_sound_prefix_and_lets_go() {
    let machine = Machine::new().await;
    let (content, name) = (content(2_000_000), name("cancelled"));
    let id = id_of(&content);

    {
        // The server drops the handler when the client goes away: here in the midst of a body that never ends.
        let body = pieces(&content[..1_200_000]).chain(stream::pending());
        let mut request = pin!(machine.uploads.write_chunk(&name, chunk(0, None, id.size), body));
        while machine.uploads.received(&name).await.unwrap().unwrap_or(0) < 300_000 {
            assert!(poll!(&mut request).is_pending());
            tokio::task::yield_now().await;
        }
    }
    // A write that was under way keeps the upload until it has ended.
    let mut discarded = machine.send(&name, 0, id.size, b"").await;
    while matches!(discarded, Err(UploadError::Busy { .. })) {
        tokio::task::yield_now().await;
        discarded = machine.send(&name, 0, id.size, b"").await;
    }
    let received = discarded.unwrap();

    assert_eq!(std::fs::read(machine.staged(&name)).unwrap(), content[..received as usize]);
    machine.send(&name, received, id.size, &content[received as usize..]).await.unwrap();
    assert_eq!(machine.uploads.finish(&name, id, &*machine.store).await.unwrap(), Put::Added);
}

#[tokio::test]
async fn after_a_restart_the_upload_goes_on_and_is_checked_from_the_disk() {
    let machine = Machine::new().await;
    let (content, name) = (content(500_000), name("restart"));
    let id = id_of(&content);
    machine.send(&name, 0, id.size, &content[..300_000]).await.unwrap();

    let restarted = Uploads::open(machine.dir.path().join("uploads")).await.unwrap();
    assert_eq!(restarted.received(&name).await.unwrap(), Some(300_000));
    restarted.write_chunk(&name, chunk(300_000, None, id.size), pieces(&content[300_000..])).await.unwrap();
    assert_eq!(restarted.finish(&name, id, &*machine.store).await.unwrap(), Put::Added);
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
}

#[tokio::test]
async fn a_file_that_was_touched_from_outside_is_read_again() {
    let machine = Machine::new().await;
    let name = name("touched");
    machine.send(&name, 0, 7, b"content").await.unwrap();
    // Longer than the tick by which file systems date changes.
    tokio::time::sleep(Duration::from_millis(50)).await;
    std::fs::write(machine.staged(&name), b"CONTENT").unwrap();

    let result = machine.uploads.finish(&name, id_of(b"content"), &*machine.store).await;
    assert!(matches!(result, Err(UploadError::HashMismatch { .. })), "{result:?}");
}

#[tokio::test]
async fn another_server_on_the_same_directory_sees_the_same_upload() {
    let machine = Machine::new().await;
    let (content, name) = (content(900), name("shared"));
    let other = Uploads::open(machine.dir.path().join("uploads")).await.unwrap();
    machine.send(&name, 0, 900, &content[..300]).await.unwrap();
    other.write_chunk(&name, chunk(300, None, 900), pieces(&content[300..600])).await.unwrap();
    machine.send(&name, 600, 900, &content[600..]).await.unwrap();
    assert_eq!(other.finish(&name, id_of(&content), &*machine.store).await.unwrap(), Put::Added);
}

#[tokio::test]
async fn a_gap_is_refused_with_both_numbers() {
    let machine = Machine::new().await;
    let name = name("gap");

    let nothing = machine.send(&name, 3, 10, b"34").await.unwrap_err();
    assert!(matches!(nothing, UploadError::Gap { received: 0, offset: 3 }), "{nothing:?}");
    assert_eq!(machine.uploads.received(&name).await.unwrap(), None, "a refused chunk leaves nothing");

    machine.send(&name, 0, 10, b"012").await.unwrap();
    let gap = machine.send(&name, 5, 10, b"56").await.unwrap_err();
    assert_eq!(
        gap.to_string(),
        "Server had received 3 bytes of the file. New upload starts at 5. Please continue from 3"
    );
    assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(3));
}

#[tokio::test]
async fn an_earlier_offset_overwrites() {
    let machine = Machine::new().await;
    let (content, name) = (content(50_000), name("overwrite"));
    let id = id_of(&content);
    machine.send(&name, 0, id.size, &[b'x'; 40_000]).await.unwrap();
    machine.send(&name, 0, id.size, &content[..30_000]).await.unwrap();
    assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(30_000), "what came after is void");

    machine.send(&name, 20_000, id.size, &content[20_000..]).await.unwrap();
    assert_eq!(machine.uploads.finish(&name, id, &*machine.store).await.unwrap(), Put::Added);
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
}

#[tokio::test]
async fn nothing_goes_beyond_the_declared_size() {
    let machine = Machine::new().await;
    let name = name("beyond");
    machine.send(&name, 0, 10, b"01234567").await.unwrap();

    for (offset, body, end) in [(8, &b"89a"[..], 11), (11, b"", 11), (u64::MAX, b"x", u64::MAX)] {
        let error = machine.send(&name, offset, 10, body).await.unwrap_err();
        assert!(matches!(error, UploadError::BeyondSize { declared_size: 10, reaches } if reaches == end), "{error:?}");
    }
    let unannounced = machine.uploads.write_chunk(&name, chunk(8, None, 10), pieces(b"89abcdef")).await;
    assert!(matches!(unannounced, Err(UploadError::BeyondSize { .. })), "{unannounced:?}");
    assert_eq!(std::fs::read(machine.staged(&name)).unwrap(), b"01234567");
}

#[tokio::test]
async fn a_body_is_as_long_as_its_range() {
    let machine = Machine::new().await;
    let name = name("length");

    let short = machine.uploads.write_chunk(&name, chunk(0, Some(5), 10), pieces(b"012")).await;
    assert!(matches!(short, Err(UploadError::LengthMismatch { expected: 5, received: 3 })), "{short:?}");
    assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(3), "what came is sound");

    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from("34")), Ok(Bytes::from("5")), Ok(Bytes::from("6"))]);
    let long = machine.uploads.write_chunk(&name, chunk(3, Some(3), 10), body).await;
    assert!(matches!(long, Err(UploadError::LengthMismatch { expected: 3, received: 4 })), "{long:?}");
    assert_eq!(std::fs::read(machine.staged(&name)).unwrap(), b"012345", "never more than announced");
}

#[tokio::test]
async fn a_wrong_hash_throws_the_upload_away() {
    let machine = Machine::new().await;
    let name = name("wrong");
    let id = id_of(b"right");
    machine.send(&name, 0, 5, b"wrong").await.unwrap();

    let error = machine.uploads.finish(&name, id, &*machine.store).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Invalid file hash. Expected: {} Received: {}", id.sha256_hex(), id_of(b"wrong").sha256_hex())
    );
    assert_eq!(machine.uploads.received(&name).await.unwrap(), None);
    assert!(machine.files_in_store().is_empty());

    machine.send(&name, 0, 5, b"right").await.unwrap();
    assert_eq!(machine.uploads.finish(&name, id, &*machine.store).await.unwrap(), Put::Added);
}

#[tokio::test]
async fn an_upload_cannot_be_finished_early_or_from_nothing() {
    let machine = Machine::new().await;
    let name = name("early");
    let unknown = machine.uploads.finish(&name, id_of(b"whole"), &*machine.store).await;
    assert!(matches!(unknown, Err(UploadError::Unknown { .. })), "{unknown:?}");

    machine.send(&name, 0, 5, b"who").await.unwrap();
    let early = machine.uploads.finish(&name, id_of(b"whole"), &*machine.store).await;
    assert!(matches!(early, Err(UploadError::Incomplete { received: 3, declared_size: 5 })), "{early:?}");
    assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(3));
}

#[tokio::test]
async fn only_one_request_works_on_an_upload() {
    let machine = Machine::new().await;
    let name = name("busy");
    let begun = Cell::new(false);
    let body = stream::poll_fn(|_| {
        begun.set(true);
        Poll::<Option<Result<Bytes, std::io::Error>>>::Pending
    });
    let mut first = pin!(machine.uploads.write_chunk(&name, chunk(0, None, 10), body));
    while !begun.get() {
        assert!(poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }

    let busy = |error: &UploadError| matches!(error, UploadError::Busy { .. });
    assert!(busy(&machine.send(&name, 0, 10, b"x").await.unwrap_err()));
    assert!(busy(&machine.uploads.finish(&name, id_of(b""), &*machine.store).await.unwrap_err()));
    assert!(busy(&machine.uploads.discard(&name).await.unwrap_err()));
    written_at(&machine.staged(&name), noon());
    assert_eq!(machine.uploads.sweep(noon() + Duration::from_secs(1)).await.unwrap(), []);
    let other_server = Uploads::open(machine.dir.path().join("uploads")).await.unwrap();
    assert!(busy(&other_server.write_chunk(&name, chunk(0, None, 10), pieces(b"x")).await.unwrap_err()));

    assert!(machine.send(&common::name("another"), 0, 1, b"x").await.is_ok());
}

#[tokio::test]
async fn discarded_is_gone() {
    let machine = Machine::new().await;
    let name = name("discarded");
    assert!(!machine.uploads.discard(&name).await.unwrap());
    machine.send(&name, 0, 10, b"0123").await.unwrap();
    assert!(machine.uploads.discard(&name).await.unwrap());
    assert_eq!(machine.uploads.received(&name).await.unwrap(), None);
}

#[tokio::test]
async fn the_sweep_removes_what_nobody_continues() {
    let machine = Machine::new().await;
    for upload in ["old", "young"] {
        machine.send(&name(upload), 0, 10, b"0123").await.unwrap();
    }
    let stranger = machine.file("uploads/.stranger", b"");
    written_at(&machine.staged(&name("old")), noon() - Duration::from_secs(1));
    written_at(&machine.staged(&name("young")), noon());
    written_at(&stranger, noon() - Duration::from_secs(1));

    assert_eq!(machine.uploads.sweep(noon()).await.unwrap(), [name("old")]);
    assert_eq!(machine.uploads.received(&name("old")).await.unwrap(), None);
    assert_eq!(machine.uploads.received(&name("young")).await.unwrap(), Some(4));
    assert!(stranger.exists(), "only our own files are ours to remove");
}

#[tokio::test]
async fn a_link_in_the_staging_area_is_not_followed() {
    let machine = Machine::new().await;
    let target = machine.file("precious", b"precious");
    std::os::unix::fs::symlink(&target, machine.staged(&name("link"))).unwrap();

    assert!(machine.send(&name("link"), 0, 10, b"evil").await.is_err());
    assert_eq!(machine.uploads.received(&name("link")).await.unwrap(), None);
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
}
