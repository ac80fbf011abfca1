//! What is special about the store on S3.

mod common;

use std::path::PathBuf;

use common::s3::{self, S3};
use common::*;
use usine_store::{Put, S3Settings, StoreError};

#[tokio::test]
async fn a_wrong_address_or_key_is_told_at_the_start() {
    let server = S3::start();
    let right = s3_settings(&server);
    for (wrong, words) in [
        (S3Settings { secret_key: "wrong".to_owned(), ..right.clone() }, "SignatureDoesNotMatch"),
        (S3Settings { access_key: "wrong".to_owned(), ..right.clone() }, "NotSignedUp"),
        (S3Settings { bucket: "nowhere".to_owned(), ..right.clone() }, "NoSuchBucket"),
    ] {
        let error = open_s3(&wrong).await.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(&wrong.place()), "{words}: {error}");
        assert!(!error.contains(s3::SECRET_KEY), "{error}");
    }
}

/// Two servers put the same content at the same moment: both copies are found, and both go.
#[tokio::test]
async fn two_copies_go_together() {
    let server = S3::start();
    let machine = Machine::with_s3(&server).await;
    let id = id_of(b"content");
    machine.store.put(id, &machine.file("file", b"content")).await.unwrap();
    let copies = || files_below(&server.bucket().join("some/where/files"));
    std::fs::copy(&copies()[0], copies()[0].with_file_name("c0ffee")).unwrap();
    assert_eq!((copies().len(), machine.contents().await), (2, vec![id]));
    assert_eq!(machine.store.put(id, &machine.file("file", b"content")).await.unwrap(), Put::AlreadyThere);

    let aside = machine.store.set_aside(id, [1; 32]).await.unwrap().unwrap();
    assert_eq!(machine.store.aside().await.unwrap(), std::slice::from_ref(&aside));
    assert_eq!(machine.read(id, 0..7).await.unwrap(), b"content", "a reader does not mind");
    machine.store.discard(aside).await.unwrap();
    assert!(copies().is_empty(), "{:?}", copies());
    assert!(matches!(machine.read(id, 0..7).await, Err(StoreError::NotFound { .. })), "the name was remembered");
}

#[tokio::test]
async fn a_damaged_copy_is_noticed_and_replaced_by_the_next_put() {
    let server = S3::start();
    let machine = Machine::with_s3(&server).await;
    let id = id_of(b"content");
    machine.store.put(id, &machine.file("file", b"content")).await.unwrap();
    let copy = files_below(&server.bucket().join("some/where/files")).remove(0);
    std::fs::write(&copy, b"cont").unwrap();
    assert!(!machine.store.contains(id).await.unwrap());
    assert!(matches!(machine.read(id, 0..4).await, Err(StoreError::Damaged { found: 4, .. })));
    assert_eq!(machine.store.list(id.sha256[0]).await.unwrap().files[0].size, 4);
    assert_eq!(machine.store.put(id, &machine.file("file", b"content")).await.unwrap(), Put::Added);
    assert_eq!(machine.read(id, 0..7).await.unwrap(), b"content");
    assert_eq!(machine.contents().await, [id]);

    // One that is aside does not come back.
    let aside = machine.store.set_aside(id, [1; 32]).await.unwrap().unwrap();
    let copy = files_below(&server.bucket().join("some/where/files")).remove(0);
    std::fs::write(&copy, b"cont").unwrap();
    machine.store.put_back(aside).await.unwrap();
    assert!(!machine.store.contains(id).await.unwrap());
}

#[tokio::test]
async fn what_is_no_copy_is_strange_and_not_touched() {
    let server = S3::start();
    let machine = Machine::with_s3(&server).await;
    let id = id_of(b"content");
    machine.store.put(id, &machine.file("file", b"content")).await.unwrap();
    let copy = files_below(&server.bucket().join("some/where/files")).remove(0);
    std::fs::write(copy.with_file_name("README"), b"?").unwrap();
    let listing = machine.store.list(id.sha256[0]).await.unwrap();
    assert_eq!(listing.files.len(), 1);
    let hex = id.sha256_hex();
    assert_eq!(listing.strange, [PathBuf::from(format!("some/where/files/{}/{hex}-7/README", &hex[..2]))]);
}

/// A second store, as another server has it: what the one puts or removes, the other sees.
#[tokio::test]
async fn two_servers_see_the_same_files() {
    let server = S3::start();
    let (one, two) = (Machine::with_s3(&server).await, Machine::with_s3(&server).await);
    let big = content(20_000_000);
    let id = id_of(&big);
    one.store.put(id, &one.file("big", &big)).await.unwrap();
    assert!(two.read(id, 0..id.size).await.unwrap() == big);
    assert_eq!(two.store.put(id, &two.file("big", &big)).await.unwrap(), Put::AlreadyThere);
    // Both remember its name, which is another one when it comes back.
    one.read(id, 0..1).await.unwrap();
    let aside = two.store.set_aside(id, [1; 32]).await.unwrap().unwrap();
    two.store.put_back(aside).await.unwrap();
    assert_eq!(one.read(id, 7..9).await.unwrap(), big[7..9]);
}
