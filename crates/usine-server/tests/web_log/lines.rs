//! Lines of logs that grow, by number and by what is in them.

use serde_json::{Value, json};
use usine_protocol::channel::LogStream::{Internal, Stderr, Stdout};

use crate::app::stories;
use crate::server::{TestServer, Words};
use crate::{page, texts};

stories! {
    async fn messages_make_lines(server: TestServer) {
        let (id, key) = server.running(&[]).await;
        let nothing = json!({"total": 0, "open": false, "complete": false, "truncated": false, "lines": []});
        assert_eq!(server.lines(id, 1, 10).await, nothing, "nothing has been written yet");

        server.log(id, Stdout, "one\ntw").await;
        let answer = server.lines(id, 1, 10).await;
        assert_eq!((texts(&answer), &answer["open"]), (vec!["one", "tw"], &json!(true)));
        server.log(id, Stdout, "o\n\x1b[31mred\x1b[0m\n\n10%\r").await;
        let answer = server.lines(id, 1, 10).await;
        assert_eq!(texts(&answer), ["one", "two", "red", "", "10%"]);
        // Another stream ends a line; so does the end of a command.
        server.log(id, Stdout, "20%\rhalf").await;
        server.log(id, Stderr, "oops\r\nwarn").await;
        server.log(id, Internal, "internal\n").await;
        server.log(id, Stdout, "cut").await;
        server.ends(id, 3).await;
        server.log(id, Stdout, "next\n").await;
        let answer = server.lines(id, 5, 10).await;
        assert_eq!(texts(&answer), ["half", "oops", "warn", "internal", "cut", "next"]);
        let line = json!({"n": 6, "text": "oops", "stream": "stderr", "time": "2026-03-01T10:20:30.123456Z"});
        assert_eq!(answer["lines"][1], line);
        assert_eq!((&answer["total"], &answer["open"], &answer["complete"]), (&json!(10), &json!(false), &json!(false)));

        assert_eq!(texts(&server.lines(id, 2, 2).await), ["two", "red"]);
        assert_eq!(texts(&server.lines(id, 0, 1).await), ["one"]);
        assert!(texts(&server.lines(id, 11, 5).await).is_empty() && texts(&server.lines(id, 1, 0).await).is_empty());
        server.log(id, Stdout, "open").await;
        server.complete(id, &key).await;
        let answer = server.lines(id, 11, 5).await;
        assert_eq!((texts(&answer), &answer["open"], &answer["complete"]), (vec!["open"], &json!(false), &json!(true)));
        server.stop().await;
    }

    /// Every range is the right one, wherever messages begin, and while the log grows.
    async fn ranges_are_right_in_long_logs(server: TestServer) {
        let (id, _) = server.running(&[]).await;
        let mut all = Vec::new();
        let mut pending = String::new();
        let mut state: u32 = 7;
        for round in 0..6 {
            for _ in 0..3000 {
                let line = format!("line {} {}", all.len() + 1, "x".repeat(all.len() % 90));
                pending.push_str(&line);
                pending.push('\n');
                all.push(line);
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Messages break in the middle of lines, and have up to some hundred of them.
                let size = usize::try_from(state >> 18).unwrap();
                if pending.len() > size {
                    let rest = pending.split_off(size);
                    server.log(id, Stdout, &pending).await;
                    pending = rest;
                }
            }
            server.log(id, Stdout, &std::mem::take(&mut pending)).await;
            for from in [1, 2, 999, 1000, 1001, 2750, all.len() as u64 - 3, all.len() as u64 * 2 / 3] {
                let answer = server.lines(id, from, 50).await;
                let at = usize::try_from(from).unwrap() - 1;
                assert_eq!(texts(&answer), all[at..all.len().min(at + 50)], "round {round}, from {from}");
                assert_eq!((&answer["total"], &answer["lines"][0]["n"]), (&json!(all.len()), &json!(from)));
            }
        }
        assert_eq!(texts(&server.lines(id, 1, 1_000_000).await).len(), 2000, "no answer has more");
        assert_eq!(texts(&server.get(&format!("{}log/lines/", page(id))).answers(200).await).len(), 500);
        server.get(&format!("{}log/lines/?from=x", page(id))).sent(400).await;
        server.stop().await;
    }

    async fn lines_are_found_by_their_text(server: TestServer) {
        let (id, _) = server.running(&[]).await;
        assert_eq!(server.found(id, "q=x").await, json!({"matches": [], "next": null}));
        server.log(id, Stdout, "Error: a.c\nfine\n\x1b[1mERR\x1b[0mOR again\n(.*)\nStraße\nlast error").await;
        assert_eq!(server.found(id, "q=error").await, json!({"matches": [1, 3, 6], "next": null}));
        assert_eq!(server.found(id, "q=error&limit=1").await, json!({"matches": [1], "next": 2}));
        assert_eq!(server.found(id, "q=error&limit=1&from=2").await, json!({"matches": [3], "next": 4}));
        assert_eq!(server.found(id, "q=error&from=7").await, json!({"matches": [], "next": null}));
        assert_eq!(server.found(id, "q=.*&q=").await["matches"], json!([4]), "it is no pattern");
        assert_eq!(server.found(id, "q=FINE&q=STRA%C3%9FE").await["matches"], json!([2, 5]));
        let long = format!("q={}", "x".repeat(201));
        for wrong in ["", "q=", &long, &"q=x&".repeat(17), "q=x&from=-1", "q=x&limit=x"] {
            server.get(&format!("{}log/search/?{wrong}", page(id))).refused(400).await;
        }
        server.stop().await;
    }

    /// A search stops after so many bytes, and says where it goes on.
    async fn searches_are_bounded(server: TestServer) {
        let (id, _) = server.running(&[]).await;
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..40 {
            server.log(id, Stdout, &line.repeat(1000)).await;
        }
        server.log(id, Stdout, "needle\n").await;
        let (mut from, mut requests) = (json!(1), 0);
        let matches = loop {
            let found: Value = server.found(id, &format!("q=needle&from={from}")).await;
            requests += 1;
            from = found["next"].clone();
            if from.is_null() {
                break found["matches"].clone();
            }
            assert_eq!(found["matches"], json!([]));
        };
        assert_eq!((matches, requests), (json!([40_001]), 3));
        server.stop().await;
    }
}
