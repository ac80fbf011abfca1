//! Files that come in chunks.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::app::stories;
use crate::server::{TestServer, Words, of};

const CONTENT: &[u8] = b"0123456789";

fn range(response: &Response) -> &str {
    response.headers()["range"].to_str().unwrap()
}

async fn empty(response: Response) {
    assert_eq!(response.bytes().await.unwrap().len(), 0);
}

/// An artifact with one file of ten bytes.
async fn started(server: &TestServer) -> i64 {
    server.artifact(&[("dir/f", CONTENT)]).await["id"].as_i64().unwrap()
}

async fn to_upload(server: &TestServer, id: i64) -> Value {
    server.get(&format!("/api/1.0/artifact/{id}/")).answers(200).await["files_to_upload"].clone()
}

stories! {
    async fn a_file_comes_in_chunks(server: TestServer) {
        let id = started(&server).await;
        let put = |range: &str, body: &[u8]| server.put(id, "dir/f", range, body);

        let probe = put("bytes */10", b"").sent(206).await;
        assert_eq!(range(&probe), "bytes=0-0");
        empty(probe).await;
        let first = put("bytes 0-3/10", b"0123").sent(200).await;
        assert_eq!(range(&first), "bytes=0-4", "the count of bytes");
        empty(first).await;
        assert_eq!(range(&put("bytes */10", b"").sent(206).await), "bytes=0-4");
        assert_eq!(range(&put("bytes */*", b"").sent(206).await), "bytes=0-4");
        assert_eq!(range(&put("bytes 2-5/10", b"2345").sent(200).await), "bytes=0-6", "an overlap is written again");
        assert_eq!(range(&put("bytes 6-9/10", b"").sent(200).await), "bytes=0-6", "nothing came");
        assert_eq!(to_upload(&server, id).await, json!(["dir/f"]));
        empty(put("bytes 6-9/10", b"6789").sent(201).await).await;

        assert_eq!(to_upload(&server, id).await, json!([]));
        assert_eq!(std::fs::read(server.stored(CONTENT)).unwrap(), CONTENT);
        assert!(server.staged().is_empty());
        put("bytes */10", b"").sent(200).await;
        put("bytes 0-9/10", b"whatever!!").sent(201).await;
        assert_eq!(std::fs::read(server.stored(CONTENT)).unwrap(), CONTENT);
        server.stop().await;
    }

    async fn a_body_without_range_starts_at_the_beginning(server: TestServer) {
        let id = started(&server).await;
        assert_eq!(range(&server.put(id, "dir/f", "", b"01234").sent(200).await), "bytes=0-5");
        assert_eq!(range(&server.put(id, "dir/f", "", b"").sent(200).await), "bytes=0-5");
        server.put(id, "dir/f", "", CONTENT).sent(201).await;
        server.stop().await;
    }

    async fn a_wrong_content_is_thrown_away(server: TestServer) {
        let id = started(&server).await;
        for _ in 0..2 {
            let title = server.put(id, "dir/f", "bytes 0-9/10", b"9876543210").refused(409).await;
            assert!(title.starts_with("Invalid file hash. Expected: "), "{title}");
            assert!(server.staged().is_empty());
            assert_eq!(range(&server.put(id, "dir/f", "bytes */10", b"").sent(206).await), "bytes=0-0");
        }
        server.put(id, "dir/f", "bytes 0-9/10", CONTENT).sent(201).await;
        server.stop().await;
    }

    async fn impossible_ranges_are_refused(server: TestServer) {
        let id = started(&server).await;
        let put = |range: &str, body: &[u8]| server.put(id, "dir/f", range, body);
        let gap = "Server had received 0 bytes of the file. New upload starts at 2. Please continue from 0";
        assert_eq!(put("bytes 2-3/10", b"23").refused(400).await, gap);
        put("bytes 0-3/10", b"0123").sent(200).await;
        for (range, body, expected) in [
            (
                "bytes 6-7/10",
                &b"67"[..],
                "Server had received 4 bytes of the file. New upload starts at 6. Please continue from 4",
            ),
            ("bytes */11", b"", "Invalid file size in Content-Range header. Expected 10 received 11"),
            ("bytes 4-5/11", b"45", "Invalid file size in Content-Range header. Expected 10 received 11"),
            ("bytes 4-10/10", b"4567890", "Data reaches byte 11 of a file of 10 bytes"),
            ("bytes 11-12/10", b"12", "Data reaches byte 13 of a file of 10 bytes"),
            ("bytes 0-18446744073709551615/10", b"12", "Data reaches byte"),
            ("bytes 4-5/10", b"456", "The range announces 2 bytes, the body has 3"),
            ("", b"01234567890", "Data reaches byte 11"),
            ("bytes 5-4/10", b"4", "Invalid Content-Range header: \"bytes 5-4/10\""),
            ("lines 0-1/10", b"4", "Invalid Content-Range header: \"lines 0-1/10\""),
        ] {
            let title = put(range, body).refused(400).await;
            assert!(title.starts_with(expected), "{range}: {title}");
        }
        let title = put("bytes 4-7/10", b"45").refused(400).await;
        assert!(title.starts_with("The range announces 4 bytes, the body has 2"), "{title}");
        let length = range(&put("bytes */10", b"").sent(206).await).to_owned();
        assert!(["bytes=0-4", "bytes=0-6"].contains(&length.as_str()), "what came before the error may count: {length}");
        server.stop().await;
    }

    async fn only_files_of_artifacts_that_may_be_changed_are_taken(server: TestServer) {
        let id = started(&server).await;
        let put = |id: i64, path: &str| server.put(id, path, "bytes 0-9/10", CONTENT);
        assert_eq!(put(999, "f").refused(404).await, "Artifact 999 does not exist");
        assert_eq!(put(id, "f").refused(404).await, format!("No file_path \"f\" for artifact {id}"));
        assert_eq!(
            put(id, "dir/f").key("nobody").refused(403).await,
            "Error | Authentication credentials were not provided."
        );
        let (_, blind) = server.running(&[]).await;
        assert_eq!(put(id, "dir/f").key(&blind).refused(404).await, format!("Artifact {id} does not exist"));
        let (_, reader) = server.running(&[id]).await;
        assert!(put(id, "dir/f").key(&reader).refused(403).await.contains("cannot add files"));
        server.request(Method::GET, &format!("/api/1.0/artifact/{id}/files/dir/f/")).refused(405).await;
        assert!(server.staged().is_empty());
        assert_eq!(to_upload(&server, id).await, json!(["dir/f"]));
        server.stop().await;
    }

    async fn a_worker_that_lost_its_work_request_hears_so_after_its_chunk(server: TestServer) {
        let large = vec![1; 20 << 20];
        let (work_request, key) = server.running(&[]).await;
        let mut body = of(&[("f", &large)]);
        body["work_request"] = json!(work_request);
        let id = server.post("/api/1.0/artifact/", body).key(&key).answers(201).await["id"].as_i64().unwrap();
        let path = format!("/api/1.0/work-request/{work_request}/abort/");
        server.request(Method::POST, &path).key(&server.alice).sent(200).await;

        let range = format!("bytes 0-{}/{}", large.len() - 1, large.len());
        let response = server.put(id, "f", &range, large).key(&key).sent(403).await;
        assert!(!response.text().await.unwrap().is_empty());
        assert!(server.staged().is_empty());
        server.stop().await;
    }

    async fn encoded_paths_are_decoded(server: TestServer) {
        let id = server.artifact(&[("a b/ü%2B+.txt", CONTENT)]).await["id"].as_i64().unwrap();
        server.put(id, "a%20b/%C3%BC%252B+.txt", "bytes 0-9/10", CONTENT).sent(201).await;
        server.stop().await;
    }

    async fn the_same_last_chunk_twice_at_once_is_no_error(server: TestServer) {
        let id = started(&server).await;
        server.put(id, "dir/f", "bytes 0-4/10", b"01234").sent(200).await;
        let last = || server.put(id, "dir/f", "bytes 5-9/10", b"56789").sent(201);
        tokio::join!(last(), last(), last(), last());
        assert_eq!(to_upload(&server, id).await, json!([]));
        server.stop().await;
    }

    async fn one_content_may_come_into_many_artifacts_at_once(server: TestServer) {
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(server.artifact(&[("f", CONTENT)]).await["id"].as_i64().unwrap());
        }
        let uploads = ids.iter().map(|id| server.put(*id, "f", "bytes 0-9/10", CONTENT).sent(201));
        futures::future::join_all(uploads).await;
        for id in ids {
            assert_eq!(to_upload(&server, id).await, json!([]));
        }
        assert!(server.staged().is_empty());
        server.stop().await;
    }

    async fn a_broken_connection_keeps_what_came(server: TestServer) {
        let id = started(&server).await;
        let address = server.address();
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "PUT /api/1.0/artifact/{id}/files/dir/f/ HTTP/1.1\r\nHost: {address}\r\nToken: {}\r\n\
             Content-Range: bytes 0-9/10\r\nContent-Length: 10\r\n\r\n0123",
            server.alice
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        drop(connection);
        // The server notices when it does; until then the probe says that nothing has come.
        for _ in 0..100 {
            if range(&server.put(id, "dir/f", "bytes */10", b"").sent(206).await) == "bytes=0-4" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.put(id, "dir/f", "bytes 4-9/10", b"456789").sent(201).await;
        server.stop().await;
    }

    async fn a_store_that_fails_loses_nothing(server: TestServer) {
        let id = started(&server).await;
        server.put(id, "dir/f", "bytes 0-4/10", b"01234").sent(200).await;
        let staged = server.staged().remove(0);

        // A file is where the store needs a directory.
        let in_the_way = server.stored(CONTENT).ancestors().nth(3).unwrap().to_owned();
        std::fs::write(&in_the_way, "").unwrap();
        let title = server.put(id, "dir/f", "bytes 5-9/10", b"56789").refused(500).await;
        assert_eq!(title, "Error | The server failed; its log says why.");
        assert_eq!(std::fs::read(&staged).unwrap(), CONTENT, "everything is still there");
        assert_eq!(to_upload(&server, id).await, json!(["dir/f"]));

        std::fs::remove_file(in_the_way).unwrap();
        server.put(id, "dir/f", "bytes */10", b"").sent(200).await;
        assert_eq!(to_upload(&server, id).await, json!([]), "a probe finishes what could not be finished");
        server.stop().await;
    }
}
