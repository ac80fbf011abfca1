//! Requests as no decent client makes them: ambiguous, endless, twice the same, out of their directories.

use crate::{assert_serves, house_with, key, raw};

/// Each is refused, or answered as if it were decent; none takes the server down, none is taken for two.
#[test]
fn strange_requests_are_refused() {
    let mut house = house_with("header-timeout = 3");
    house.start_server();
    let key = key(&house);
    let who = "GET /api/1.0/whoami/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
    let post = format!("POST /api/1.0/work-request/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\nToken: {key}\r\n");
    let body = "{\"task_name\": \"noop\"}";
    let length = body.len();
    for (what, request, expected) in [
        ("nothing", "\r\n\r\n".to_owned(), &[0, 400][..]),
        ("not HTTP", "EHLO example.org\r\n\r\n".to_owned(), &[400]),
        ("TLS", "\u{16}\u{3}\u{1}\u{0}\u{1}\r\n\r\n".to_owned(), &[400]),
        ("another version", "GET / HTTP/9.9\r\nHost: h\r\n\r\n".to_owned(), &[400, 505]),
        ("a long address", format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(100_000)), &[400, 414, 431]),
        ("a long header", format!("{who}X: {}\r\n\r\n", "a".repeat(100_000)), &[400, 431]),
        ("an endless head", format!("{who}{}\r\n", "X-Y: z\r\n".repeat(100_000)), &[400, 431]),
        ("many headers", format!("{who}{}\r\n", "X-Y: z\r\n".repeat(200)), &[400, 431]),
        ("a header without a name", format!("{who}: x\r\n\r\n"), &[400]),
        ("a folded header", format!("{who}X: a\r\n b\r\n\r\n"), &[200, 400]),
        ("a blank before the colon", format!("{post}Content-Length : {length}\r\n\r\n{body}"), &[400]),
        ("two lengths", format!("{post}Content-Length: 3\r\nContent-Length: {length}\r\n\r\n{body}"), &[400]),
        ("a length with a sign", format!("{post}Content-Length: +{length}\r\n\r\n{body}"), &[400]),
        ("a negative length", format!("{post}Content-Length: -1\r\n\r\n{body}"), &[400]),
        ("a length beyond all", format!("{post}Content-Length: 99999999999999999999\r\n\r\n{body}"), &[400]),
        ("a strange encoding", format!("{post}Transfer-Encoding: gzip\r\n\r\n{body}"), &[400, 501]),
        (
            "a chunk beyond all",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{body}"),
            &[400, 413],
        ),
        ("a chunk that is none", format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{body}"), &[400]),
        ("two keys", format!("{who}Token: {key}\r\nToken: x\r\n\r\n"), &[200, 400, 403]),
        (
            "a key that is no text",
            "GET /api/1.0/whoami/ HTTP/1.1\r\nHost: h\r\nToken: \u{e9}\u{1}\r\n\r\n".to_owned(),
            &[200, 400, 403],
        ),
        (
            "another host",
            format!("GET http://evil.example.org/api/1.0/whoami/ HTTP/1.1\r\nHost: h\r\nToken: {key}\r\n\r\n"),
            &[200],
        ),
        ("a tunnel", "CONNECT example.org:443 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[400, 404, 405]),
        ("a method of one's own", "BREW /api/1.0/whoami/ HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[405]),
        ("an upgrade to nothing", format!("{who}Connection: upgrade\r\nUpgrade: nothing\r\n\r\n"), &[200]),
        (
            "an upgrade of a page",
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
            &[200, 302, 303],
        ),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[0, 400, 505]),
    ] {
        let answer = raw::send(&house, request.as_bytes());
        assert!(expected.contains(&answer.status), "{what}: {answer:?}");
        assert_eq!(answer.body.matches("HTTP/1.1 ").count(), 0, "{what}: one request, two answers: {answer:?}");
    }
    // Two requests where a proxy sees one: whichever counts, the other is not done.
    let hidden = format!("{post}Content-Length: {length}\r\n\r\n{body}");
    for outer in [
        format!("{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!(
            "{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"
        ),
    ] {
        let answer = raw::send(&house, outer.as_bytes());
        assert!(answer.status == 400 && !answer.body.contains("\"id\""), "{answer:?}");
    }
    assert_eq!(house.json(&["work-request", "list"]), serde_json::json!([]), "nothing was submitted");
    assert_serves(&house, "after all that");
    let log = house.logs();
    assert!(!log.contains("panicked"), "{log}");
}

/// No address leads out of the directories, however it is written.
#[test]
fn addresses_lead_nowhere_else() {
    let mut house = house_with("");
    house.start_server();
    house.write("notes", "notes\n", 0o644);
    house.client(&["artifact", "create", "debusine:test", "--upload", house.path().join("notes").to_str().unwrap()]);
    let climbs = [
        "../../../../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "%252e%252e%252f%252e%252e%252fetc%252fpasswd",
        "..%5c..%5c..%5cetc%5cpasswd",
        "..;/..;/etc/passwd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "notes/../../../../etc/passwd",
        "notes%00.txt",
        "notes/",
        "./notes",
        "%c0%ae%c0%ae/etc/passwd",
        "%ff%fe",
        "%",
        "%zz",
    ];
    let places = [
        "/debusine/System/artifact/1/raw/",
        "/debusine/System/artifact/1/download/",
        "/debusine/System/artifact/1/file/",
        "/api/1.0/artifact/1/files/",
        "/api/usine/1.0/task/",
        "/-/assets/",
        "/",
        "/debusine/",
        "/debusine/System/work-request/",
    ];
    for place in places {
        for climb in climbs {
            for method in ["GET", "PUT"] {
                let head = format!(
                    "{method} {place}{climb} HTTP/1.1\r\nHost: h\r\nToken: {}\r\nContent-Length: 0\r\n",
                    key(&house)
                );
                let answer = raw::exchange(&house, &head);
                assert!(!answer.body.contains("root:"), "{method} {place}{climb}: {answer:?}");
                // A file that is complete may be sent again, as nothing.
                let again = answer.status == 201 && answer.body.is_empty();
                let decent = again || matches!(answer.status, 301 | 400 | 403 | 404 | 405);
                assert!(decent || answer.body == "notes\n", "{method} {place}{climb}: {answer:?}");
            }
        }
    }
    // Nor does a header lead anywhere.
    for header in [
        "X-Forwarded-Host: evil\"><script>",
        "X-Forwarded-Proto: javascript",
        "Host: a b<c>",
        "X-Debusine-Scope: ../System",
    ] {
        let head = format!("GET /api/1.0/artifact/1/ HTTP/1.1\r\n{header}\r\nToken: {}\r\n", key(&house));
        let answer = raw::exchange(&house, &head);
        assert!(matches!(answer.status, 200 | 400 | 404) && !answer.body.contains("<script>"), "{header}: {answer:?}");
    }
    assert_serves(&house, "after all that");
}

/// Ranges that ask for much of little, or for little in many pieces.
#[test]
fn ranges_ask_for_no_more_than_there_is() {
    let mut house = house_with("");
    house.start_server();
    house.write("notes", "0123456789", 0o644);
    house.client(&["artifact", "create", "debusine:test", "--upload", house.path().join("notes").to_str().unwrap()]);
    let many = format!("bytes=0-{}", ",0-".repeat(1000));
    for (range, expected) in [
        ("bytes=0-18446744073709551615", &[206][..]),
        ("bytes=9-9", &[206]),
        ("bytes=-18446744073709551615", &[206]),
        ("bytes=10-", &[400, 416]),
        ("bytes=5-2", &[400, 416]),
        ("bytes=-0", &[400, 416]),
        ("bytes=0-0,5-5", &[400, 416]),
        (&many, &[400, 416]),
        ("lines=1-2", &[400, 416]),
        ("bytes=0-99999999999999999999999", &[400, 416]),
    ] {
        let head = format!(
            "GET /debusine/System/artifact/1/raw/notes HTTP/1.1\r\nHost: h\r\nToken: {}\r\nRange: {range}\r\n",
            key(&house)
        );
        let answer = raw::exchange(&house, &head);
        assert!(expected.contains(&answer.status), "{range:.60}: {answer:?}");
        assert!(answer.status != 206 || "0123456789".contains(&answer.body), "{range:.60}: {answer:?}");
    }
    assert_serves(&house, "after all that");
}
