//! Fetching files, parts of files, and archives.

use futures::StreamExt;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::app::stories;
use crate::server::{TestServer, Words, of};

const CONTENT: &[u8] = b"0123456789";

fn path(id: i64, rest: &str) -> String {
    format!("/debusine/System/artifact/{id}/{rest}")
}

/// Names and contents in a `.tar.gz`.
async fn unpacked(request: RequestBuilder) -> Vec<(String, Vec<u8>)> {
    let response = request.sent(200).await;
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert!(!response.headers().contains_key("content-length"), "it is made while it is sent");
    let mut tar = Vec::new();
    let packed = response.bytes().await.unwrap();
    let mut decoder = async_compression::tokio::bufread::GzipDecoder::new(&packed[..]);
    tokio::io::AsyncReadExt::read_to_end(&mut decoder, &mut tar).await.unwrap();
    let mut archive = tokio_tar::Archive::new(&tar[..]);
    let mut entries = archive.entries().unwrap();
    let mut found = Vec::new();
    while let Some(entry) = entries.next().await {
        let mut entry = entry.unwrap();
        assert!(entry.header().entry_type().is_file());
        assert_eq!(entry.header().mtime().unwrap(), 1_772_360_430, "when the artifact was made");
        let mut content = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut entry, &mut content).await.unwrap();
        found.push((entry.path().unwrap().to_str().unwrap().to_owned(), content));
    }
    found
}

stories! {
    async fn a_file_is_fetched_whole_or_in_part(server: TestServer) {
        let id = server.complete_artifact(&[("dir/f.txt", CONTENT), ("empty", b"")]).await;
        let file = path(id, "download/dir/f.txt");

        for method in [Method::GET, Method::HEAD] {
            let response = server.request(method.clone(), &file).sent(200).await;
            let header = |name: &str| response.headers()[name].to_str().unwrap();
            assert_eq!(header("accept-ranges"), "bytes");
            assert_eq!(header("content-length"), "10");
            assert_eq!(header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(header("content-disposition"), "attachment; filename=\"f.txt\"");
            assert_eq!(header("content-range"), "bytes 0-9/10");
            assert_eq!(header("last-modified"), "Sun, 01 Mar 2026 10:20:30 GMT");
            assert!(!response.headers().contains_key("content-encoding"));
            let body = response.bytes().await.unwrap();
            assert_eq!(body, if method == Method::GET { CONTENT } else { b"" });
        }
        for (range, part, content_range) in [
            ("bytes=2-4", &b"234"[..], "bytes 2-4/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-2", b"89", "bytes 8-9/10"),
            ("bytes=8-99", b"89", "bytes 8-9/10"),
        ] {
            let response = server.get(&file).header("range", range).sent(206).await;
            assert_eq!(response.headers()["content-range"], content_range);
            assert_eq!(response.headers()["content-length"], part.len().to_string().as_str());
            assert_eq!(response.bytes().await.unwrap(), part, "{range}");
        }
        for range in ["bytes=10-", "bytes=5-2", "lines=1-2", "bytes=0-1,3-4"] {
            let title = server.get(&file).header("range", range).refused(400).await;
            assert!(title.starts_with("Invalid Range header"), "{title}");
        }
        let empty = server.get(&path(id, "download/empty")).sent(200).await;
        assert!(!empty.headers().contains_key("content-range"));
        assert_eq!(empty.headers()["content-length"], "0");
        assert_eq!(empty.bytes().await.unwrap().len(), 0);
        let inline = server.get(&path(id, "raw/dir/f.txt")).sent(200).await;
        assert_eq!(inline.headers()["content-disposition"], "inline; filename=\"f.txt\"");
        server.stop().await;
    }

    async fn uploaders_do_not_choose_what_browsers_run(server: TestServer) {
        let mut body = of(&[("page", CONTENT)]);
        body["files"]["page"]["content_type"] = json!("text/html");
        let id = server.post("/api/1.0/artifact/", body).key(&server.alice).answers(201).await["id"].as_i64().unwrap();
        server.upload(id, &[("page", CONTENT)], &server.alice).await;
        let response = server.get(&path(id, "raw/page")).sent(200).await;
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["content-security-policy"], "sandbox; default-src 'none'");
        server.stop().await;
    }

    async fn files_come_together_as_an_archive(server: TestServer) {
        let long = format!("dir/{}", "n".repeat(300));
        let large = vec![7; 3_000_000];
        let files: [(&str, &[u8]); 4] = [("a", CONTENT), ("dir/sub/b", &large), (&long, b"x"), ("empty", b"")];
        let id = server.complete_artifact(&files).await;
        let expected = |names: &[&str]| -> Vec<(String, Vec<u8>)> {
            let mut chosen: Vec<_> = files
                .iter()
                .filter(|(name, _)| names.contains(name))
                .map(|(name, content)| ((*name).to_owned(), content.to_vec()))
                .collect();
            chosen.sort();
            chosen
        };
        let all = expected(&["a", "dir/sub/b", &long, "empty"]);
        assert!(unpacked(server.get(&path(id, "download/?archive=tar.gz"))).await == all);
        assert!(unpacked(server.get(&path(id, "download/"))).await == all);
        for directory in ["dir/", "dir"] {
            let below = unpacked(server.get(&path(id, &format!("download/{directory}?archive=tar.gz")))).await;
            assert!(below == expected(&["dir/sub/b", &long]));
        }
        let response = server.get(&path(id, "download/dir/sub/?archive=tar.gz")).sent(200).await;
        let disposition = format!("attachment; filename=\"artifact-{id}-dir_sub.tar.gz\"");
        assert_eq!(response.headers()["content-disposition"], disposition.as_str());
        let head = server.request(Method::HEAD, &path(id, "download/?archive=tar.gz")).sent(200).await;
        assert_eq!(
            head.headers()["content-disposition"],
            format!("attachment; filename=\"artifact-{id}.tar.gz\"").as_str()
        );

        let title = server.get(&path(id, "download/dir/")).refused(400).await;
        assert_eq!(title, "archive argument needed when downloading directories");
        let title = server.get(&path(id, "download/?archive=zip")).refused(400).await;
        assert_eq!(title, "Invalid archive parameter: 'zip'. Supported: auto, tar.gz");
        server.stop().await;
    }

    async fn the_only_file_comes_as_it_is(server: TestServer) {
        let id = server.complete_artifact(&[("only", CONTENT)]).await;
        for query in ["", "?archive=auto"] {
            let response = server.get(&path(id, &format!("download/{query}"))).sent(200).await;
            assert_eq!(response.bytes().await.unwrap(), CONTENT);
        }
        assert_eq!(unpacked(server.get(&path(id, "download/?archive=tar.gz"))).await.len(), 1);
        server.stop().await;
    }

    async fn what_cannot_be_had_is_said_so(server: TestServer) {
        let id = server.artifact(&[("here", CONTENT), ("missing", b"missing")]).await["id"].as_i64().unwrap();
        server.put(id, "here", "bytes 0-9/10", CONTENT).sent(201).await;
        for wrong in [
            path(id, "download/missing"),
            path(id, "download/other"),
            path(id, "download/other/?archive=tar.gz"),
            path(id, "raw/other"),
            path(999, "download/"),
            format!("/debusine/Nowhere/artifact/{id}/download/here"),
            format!("/nowhere/System/artifact/{id}/download/here"),
            "/debusine/System/artifact/x/download/".to_owned(),
        ] {
            server.get(&wrong).sent(404).await;
        }
        assert_eq!(server.get(&path(id, "raw/missing")).refused(404).await, "Cannot download incomplete file");
        let archive = unpacked(server.get(&path(id, "download/?archive=tar.gz"))).await;
        assert_eq!(archive, [("here".to_owned(), CONTENT.to_vec())], "incomplete files are left out");

        std::fs::remove_file(server.stored(CONTENT)).unwrap();
        let title = server.get(&path(id, "download/here")).refused(404).await;
        assert_eq!(title, "This file is not currently available.");
        let response = server.get(&path(id, "download/?archive=tar.gz")).sent(200).await;
        assert!(response.bytes().await.is_err(), "half an archive does not look like a whole one");
        server.stop().await;
    }

    async fn slow_readers_do_not_fill_the_memory(server: TestServer) {
        // 64 MiB that gzip cannot shrink much.
        let mut seed = 1u32;
        let large: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .take(64 << 20)
        .collect();
        let id = server.complete_artifact(&[("large", &large), ("small", b"x")]).await;
        let before = resident();
        let mut readers = Vec::new();
        for _ in 0..8 {
            for rest in ["download/large", "download/?archive=tar.gz"] {
                let mut body = server.get(&path(id, rest)).sent(200).await.bytes_stream();
                body.next().await.unwrap().unwrap();
                readers.push(body);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let grown = resident().saturating_sub(before);
        assert!(grown < 200 << 20, "16 readers of 64 MiB cost {grown} bytes");
        drop(readers);
        server.stop().await;
    }
}

/// Bytes of memory that this process has, proc(5).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes << 10
}
