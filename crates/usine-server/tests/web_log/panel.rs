//! The log on the page, for browsers without scripts.

use usine_db::WorkRequestManager;
use usine_protocol::channel::LogStream::{Internal, Stderr, Stdout};
use usine_server::web::log::panel;

use crate::app::stories;
use crate::page;
use crate::server::TestServer;

async fn html(server: &TestServer, id: i64, around: Option<u64>) -> Option<String> {
    let row = WorkRequestManager(&server.state.database).get(id).await.unwrap();
    panel(&server.state, &row, &page(id), around).await.unwrap()
}

fn has(html: &str, line: u64) -> bool {
    html.contains(&format!("id=\"log-{line}\""))
}

stories! {
    async fn the_log_can_be_read_without_a_script(server: TestServer) {
        let (id, key) = server.running(&[]).await;
        let empty = html(&server, id, None).await.unwrap();
        assert!(empty.contains("data-total=\"0\" data-running=\"true\"") && empty.contains("Nothing has been written"));

        let text: String = (1..=3000).map(|n| format!("line {n} <b>&\n")).collect();
        server.log(id, Stdout, &text).await;
        server.log(id, Stderr, "on standard error\n").await;
        server.log(id, Internal, "by the worker\n").await;
        let shown = html(&server, id, None).await.unwrap();
        assert!(shown.contains(&format!("data-log=\"{}\" data-total=\"3002\"", page(id))), "{shown}");
        assert!(has(&shown, 2803) && has(&shown, 3002) && !has(&shown, 2802), "the last 200 lines");
        assert!(shown.contains("</span>line 3000 &#60;b&#62;&#38;\n</span>"), "{shown}");
        assert!(shown.contains("<abbr class=\"log-mark\" title=\"standard error\">E</abbr>on standard error"));
        assert!(shown.contains("<abbr class=\"log-mark\" title=\"the worker itself\">W</abbr>by the worker"));
        assert!(shown.contains(&format!("<a href=\"{}?log=2553#log-2553\">Earlier</a>", page(id))), "{shown}");
        assert!(!shown.contains("Later</a>") && shown.contains(&format!("href=\"{}log/download/\"", page(id))));
        assert!(!shown.contains(" style=") && !shown.contains(" on") || !shown.contains(" onclick"), "the policy forbids it");

        let around = html(&server, id, Some(1000)).await.unwrap();
        assert!(has(&around, 750) && has(&around, 1249) && !has(&around, 749) && !has(&around, 1250));
        assert!(around.contains("class=\"log-line selected\" id=\"log-1000\""));
        assert!(around.contains("?log=500#log-500\">Earlier") && around.contains("?log=1499#log-1499\">Later"), "{around}");
        for (line, first, last) in [(0, 1, 500), (1, 1, 500), (u64::MAX, 2752, 3002)] {
            let shown = html(&server, id, Some(line)).await.unwrap();
            assert!(has(&shown, first) && has(&shown, last) && !has(&shown, first - 1), "{line}");
        }

        server.complete(id, &key).await;
        let shown = html(&server, id, None).await.unwrap();
        assert!(shown.contains("data-running=\"false\"") && shown.contains(">Finished</span>"));
        let (other, key) = server.running(&[]).await;
        server.complete(other, &key).await;
        assert_eq!(html(&server, other, None).await, None, "no log is kept");
        server.stop().await;
    }

    async fn long_lines_do_not_make_the_page_long(server: TestServer) {
        let (id, _) = server.running(&[]).await;
        for n in 1..=300 {
            server.log(id, Stdout, &format!("{n}{}\n", "x".repeat(9000))).await;
        }
        let shown = html(&server, id, None).await.unwrap();
        assert!(shown.len() < 70_000 && has(&shown, 300) && shown.contains("[the line is longer]"), "{}", shown.len());
        let shown = html(&server, id, Some(100)).await.unwrap();
        assert!(shown.len() < 70_000 && has(&shown, 100) && has(&shown, 95) && !has(&shown, 150), "{}", shown.len());
        server.stop().await;
    }
}
