use super::*;

fn address() -> Address {
    Address::new("/s/w/artifact/1/", "tiny_1.0_amd64.build")
}

fn titles(log: &BuildLog) -> Vec<&str> {
    log.sections.iter().map(|section| section.title.as_str()).collect()
}

fn open(log: &BuildLog) -> Vec<&str> {
    log.sections.iter().filter(|section| section.is_open).map(|section| section.title.as_str()).collect()
}

fn found<'a>(text: &'a Text, log: &BuildLog) -> Vec<&'a str> {
    log.findings.iter().map(|index| text.line(*index)).collect()
}

#[test]
fn a_real_build_that_succeeds() {
    let text = Text::new(include_bytes!("../fixtures/successful.build"));
    let log = parse(&text);
    assert!(!log.is_failed && log.findings.is_empty());
    assert!(open(&log).is_empty());
    let titles = titles(&log);
    for title in [
        "tiny 1.0 (amd64)",
        "Update chroot",
        "Install package build dependencies",
        "Build",
        "debian/rules build",
        "Summary",
    ] {
        assert!(titles.contains(&title), "{title} in {titles:?}");
    }
    let build = log.sections.iter().find(|section| section.title == "Build").unwrap();
    assert_eq!(build.seconds, Some(9));
    let field = |name: &str| log.summary.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((field("Status"), field("Space"), field("Package-Time")), (Some("successful"), Some("356"), Some("53")));
    let html = render(&text, None, &address()).unwrap();
    assert!(!html.contains("Failed here") && html.contains("<dt>Build-Space</dt><dd>356.0 KiB</dd>"), "{html}");
    assert!(html.contains("<dt>Package-Time</dt><dd>53 s</dd>"));
}

#[test]
fn a_real_build_that_does_not_compile() {
    let text = Text::new(include_bytes!("../fixtures/failed.build"));
    let log = parse(&text);
    assert!(log.is_failed);
    assert_eq!(
        found(&text, &log),
        [
            "tiny.c:9:12: error: ‘zero’ undeclared (first use in this function); did you mean ‘bzero’?",
            "make[1]: *** [Makefile:4: tiny] Error 1",
            "dh_auto_build: error: make -j2 \"INSTALL=install --strip-program=true\" returned exit code 2",
            "make: *** [debian/rules:3: build] Error 25",
            "dpkg-buildpackage: error: debian/rules build subprocess returned exit status 2",
        ]
    );
    assert_eq!(open(&log), ["debian/rules build"]);
    let html = render(&text, None, &address()).unwrap();
    let number = log.findings[0] + 1;
    assert!(html.contains(&format!("href=\"/s/w/artifact/1/file/tiny_1.0_amd64.build#L{number}\"")));
    assert!(html.contains(&format!("id=\"L{number}\" class=\"bad\"")));
    assert!(html.find("Failed here").unwrap() < html.find("<dl").unwrap());
    assert!(html.contains("attempted") && html.contains("Section “debian/rules build”"));
}

#[test]
fn a_real_build_whose_tests_fail() {
    let text = Text::new(include_bytes!("../fixtures/test-failed.build"));
    let log = parse(&text);
    assert_eq!(
        found(&text, &log)[..2],
        ["make[1]: *** [Makefile:6: check] Error 1", "dh_auto_test: error: make -j2 check returned exit code 2"]
    );
    assert_eq!(open(&log), ["debian/rules build"]);
}

#[test]
fn a_real_run_of_dpkg_buildpackage_alone() {
    let text = Text::new(include_bytes!("../fixtures/dpkg-buildpackage.build"));
    let log = parse(&text);
    assert!(log.is_failed && log.summary.is_empty());
    assert_eq!(titles(&log), ["Beginning", "dpkg-source --before-build .", "debian/rules clean", "debian/rules build"]);
    assert_eq!(open(&log), ["debian/rules build"]);
    assert_eq!(log.findings.len(), 5);
}

#[test]
fn missing_build_dependencies() {
    let text = Text::new(
        b"sbuild\n\n+------------------------------------------------------------------------------+\n\
        | Install package build dependencies                                           |\n\
        +------------------------------------------------------------------------------+\n\n\
        E: Package build dependencies not satisfied; skipping\n\n\
        +------------------------------------------------------------------------------+\n\
        | Cleanup                                                                      |\n\
        +------------------------------------------------------------------------------+\n\n\
        E: not this\nFail-Stage: install-deps\nStatus: given-back\n",
    );
    let log = parse(&text);
    assert_eq!(found(&text, &log), ["E: Package build dependencies not satisfied; skipping"]);
    assert_eq!(open(&log), ["Install package build dependencies"]);
    let report = serde_json::json!({
        "output-version": "1.2", "native-architecture": "amd64", "foreign-architecture": null, "host-architecture": null,
        "total-packages": 3, "broken-packages": 1, "background-packages": 2, "foreground-packages": 1,
        "report": [{"package": "dummy", "version": "1", "architecture": "amd64", "type": null, "source": null,
            "success": null, "status": "broken", "reasons": [{"missing": {"pkg": {"package": "dummy", "version": "1",
            "architecture": "amd64", "unsat-dependency": "none<such"}, "depchains": []}}]}],
    });
    let report: Dose3Report = serde_json::from_value(report).unwrap();
    let html = render(&text, Some(&report), &address()).unwrap();
    assert!(html.contains("dummy 1 needs none&#60;such, which is not there"), "{html}");
}

#[test]
fn many_findings_are_counted() {
    let mut log = "x.c:1:2: error: y\n".repeat(1000);
    log.push_str("dpkg-buildpackage: error: debian/rules build subprocess returned exit status 2\n");
    let text = Text::new(log.as_bytes());
    let log = parse(&text);
    assert_eq!((log.findings.len(), log.more), (FIRST_FINDINGS + LAST_FINDINGS, 1001 - FIRST_FINDINGS - LAST_FINDINGS));
    assert_eq!(log.findings.last(), Some(&1000));
}

#[test]
fn strange_logs_are_logs() {
    for bytes in [&b""[..], b"\n\n", b"Status: attempted\n", b"+----\n| x |\n", &[0xff; 1000], b"| a |\n---\n---\n"] {
        let text = Text::new(bytes);
        assert!(!parse(&text).is_failed);
        assert!(render(&text, None, &address()).unwrap().contains("<h2>Log in sections</h2>"));
    }
    let failed = Text::new(b"E: <script>\n");
    assert!(!render(&failed, None, &address()).unwrap().contains("<script>"));
}
