//! Views of artifacts whose files are in a store.

use chrono::DateTime;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use usine_store::{FileId, LocalStore};

use super::*;

const BASE: &str = "/s/w/artifact/1/";

/// A store with files, and the artifact that has them.
struct World {
    directory: tempfile::TempDir,
    store: Arc<dyn FileStore>,
    files: Vec<(FileInArtifact, File)>,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::open(directory.path().join("store")).await.unwrap();
        Self { directory, store: Arc::new(store), files: Vec::new() }
    }

    /// A file that only the database knows.
    fn entry(mut self, path: &str, content: &[u8], complete: bool) -> Self {
        let id = self.files.len() as i64 + 1;
        let entry = FileInArtifact { id, artifact_id: 1, path: path.into(), file_id: id, complete, content_type: None };
        let content = File { id, sha256: Sha256::digest(content).to_vec(), size: content.len() as i64 };
        self.files.push((entry, content));
        self
    }

    async fn file(self, path: &str, content: &[u8]) -> Self {
        let local = self.directory.path().join("local");
        std::fs::write(&local, content).unwrap();
        let id = FileId::new(Sha256::digest(content).into(), content.len() as u64);
        self.store.put(id, &local).await.unwrap();
        self.entry(path, content, true)
    }

    async fn result(&self, category: ArtifactCategory, data: Value) -> Option<ResultView> {
        let artifact = Artifact {
            id: 1,
            category: usine_db::Text(category),
            workspace_id: 1,
            data,
            created_at: DateTime::from_timestamp(1_772_445_600, 0).unwrap(),
            expiration_delay: None,
            created_by_id: None,
            created_by_work_request_id: None,
            original_artifact_id: None,
        };
        About { store: &self.store, artifact: &artifact, files: &self.files, base: BASE }.view().await.unwrap()
    }

    async fn html(&self, category: ArtifactCategory, data: Value) -> String {
        self.result(category, data).await.unwrap().html
    }

    /// The view of the last file.
    async fn shown(&self, category: ArtifactCategory) -> String {
        let (entry, content) = self.files.last().unwrap();
        file_view(&self.store, category, entry, content, BASE).await.unwrap().html
    }
}

#[tokio::test]
async fn results_of_tools() {
    let log = include_bytes!("fixtures/failed.build");
    let world = World::new().await.file("tiny_2.0_amd64.build", log).await;
    let view = world.result(ArtifactCategory::PackageBuildLog, json!({})).await.unwrap();
    assert_eq!(view.title, "Build log");
    assert!(view.html.contains("Failed here") && view.html.contains("/file/tiny_2.0_amd64.build#L"));

    for (category, name, content, expected) in [
        (ArtifactCategory::Blhc, "blhc.txt", &include_bytes!("fixtures/blhc.txt")[..], "CPPFLAGS missing"),
        (ArtifactCategory::Piuparts, "piuparts.txt", include_bytes!("fixtures/piuparts-failed.txt"), "Failed here"),
        (ArtifactCategory::Debdiff, "debdiff.txt", include_bytes!("fixtures/debdiff-source.txt"), "debian/changelog"),
        (ArtifactCategory::Lintian, "analysis.json", include_bytes!("fixtures/analysis.json"), "no-manual-page"),
        (ArtifactCategory::Lintian, "analysis.json", b"{}", "is not an analysis of lintian: missing field"),
        (ArtifactCategory::BinaryPackage, "a.deb", include_bytes!("fixtures/tiny_1.2_amd64.deb"), "./usr/bin/tiny"),
        (ArtifactCategory::BinaryPackage, "a.deb", b"junk", "&#39;a.deb&#39; is not a readable binary package: "),
    ] {
        let html = World::new().await.file(name, content).await.html(category, json!({})).await;
        assert!(html.contains(expected), "{category}: {html}");
    }
    assert_eq!(world.result(ArtifactCategory::WorkRequestDebugLogs, json!({})).await, None);

    let debs = World::new().await.entry("a_1_all.deb", b"x", true);
    let data =
        json!({"srcpkg_name": "a<", "srcpkg_version": "1", "version": "1", "architecture": "all", "packages": ["a"]});
    let html = debs.html(ArtifactCategory::BinaryPackages, data).await;
    assert!(html.contains("<dd>a&#60;</dd>") && html.contains("href=\"/s/w/artifact/1/file/a_1_all.deb\""), "{html}");
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let nothing = World::new().await;
    for category in [
        ArtifactCategory::PackageBuildLog,
        ArtifactCategory::Lintian,
        ArtifactCategory::Blhc,
        ArtifactCategory::Piuparts,
        ArtifactCategory::Debdiff,
        ArtifactCategory::BinaryPackage,
    ] {
        assert!(nothing.html(category, json!({})).await.contains("This artifact has no file "), "{category}");
    }
    assert!(nothing.html(ArtifactCategory::Autopkgtest, json!({})).await.contains("are not those of autopkgtest"));
    assert!(nothing.html(ArtifactCategory::Upload, json!(null)).await.contains("does not have the fields"));

    let incomplete = World::new().await.entry("a.build", b"x", false);
    let sentence = "has not been uploaded completely";
    assert!(incomplete.html(ArtifactCategory::PackageBuildLog, json!({})).await.contains(sentence));
    assert!(incomplete.shown(ArtifactCategory::PackageBuildLog).await.contains(sentence));

    let sentence = "is missing from the store";
    let lost = World::new().await.entry("a.build", b"x", true);
    assert!(lost.html(ArtifactCategory::PackageBuildLog, json!({})).await.contains(sentence));
    for name in ["a.txt", "a.deb", "a.tar.xz"] {
        let lost = World::new().await.entry(name, b"x", true);
        assert!(lost.shown(ArtifactCategory::Test).await.contains(sentence), "{name}");
    }
}

#[tokio::test]
async fn tests_are_listed_without_their_log() {
    let data = json!({
        "results": {"t": {"status": "FAIL", "details": "badpkg"}}, "cmdline": "autopkgtest",
        "source_package": {"name": "tiny", "version": "1.0", "url": "http://localhost/tiny_1.0.dsc"},
        "architecture": "amd64", "distribution": "debian:bookworm",
    });
    let html = World::new().await.html(ArtifactCategory::Autopkgtest, data.clone()).await;
    assert!(html.contains("badpkg") && html.contains("This artifact has no file log."), "{html}");
    let log = include_bytes!("fixtures/autopkgtest.txt");
    let html = World::new().await.file("log", log).await.html(ArtifactCategory::Autopkgtest, data).await;
    assert!(html.contains("id=\"section-1\"") && html.contains("href=\"/s/w/artifact/1/file/log\""), "{html}");
}

#[tokio::test]
async fn files_by_kind() {
    let text = World::new().await.file("d/a.txt", b"<one>\ntwo\r\n").await;
    let html = text.shown(ArtifactCategory::Test).await;
    assert!(html.contains("&#60;one&#62;") && html.contains("id=\"L2\"") && html.contains("two^M"), "{html}");

    for (name, content, expected) in [
        ("empty", &b""[..], "This file is empty."),
        ("a.bin", b"\0\x01", "is not text and cannot be displayed. It has 2 bytes."),
        ("a.tar.bz2", b"BZh", "cannot be listed here. It has 3 bytes."),
        ("a.patch", b"-a\n", "class=\"del\""),
        ("tiny_1.2.tar.xz", include_bytes!("fixtures/tiny_1.2.tar.xz"), "tiny-1.2/debian/rules"),
        ("tiny_1.2_amd64.deb", include_bytes!("fixtures/tiny_1.2_amd64.deb"), "<dt>Package</dt><dd>tiny</dd>"),
        ("a.tar.gz", b"\x1f\x8b\x08\0junk", "The list ends here"),
    ] {
        let html = World::new().await.file(name, content).await.shown(ArtifactCategory::Test).await;
        assert!(html.contains(expected), "{name}: {html}");
    }
}

#[tokio::test]
async fn the_end_of_a_very_large_log_has_the_right_numbers() {
    let line = format!("{}\n", "x".repeat(1023));
    let count = usize::try_from(read::MAX_TEXT / 1024).unwrap() + 2048;
    let log = line.repeat(count) + "make: *** [x] Error 1\n";
    let world = World::new().await.file("large.build", log.as_bytes()).await;
    let html = world.html(ArtifactCategory::PackageBuildLog, json!({})).await;
    assert!(html.contains(&format!("/file/large.build#L{}\"", count + 1)), "the failing line");
    assert!(html.contains("its first 2049 lines"), "what is not looked at");
    let html = world.shown(ArtifactCategory::PackageBuildLog).await;
    assert!(html.contains("id=\"L1\"") && html.contains(&format!("id=\"L{}\"", count + 1)));
}

#[test]
fn damaged_input_is_shown_somehow() {
    let samples = [
        &include_bytes!("fixtures/failed.build")[..],
        include_bytes!("fixtures/autopkgtest.txt"),
        include_bytes!("fixtures/piuparts-failed.txt"),
        include_bytes!("fixtures/debdiff-source.txt"),
        include_bytes!("fixtures/debdiff-binary.txt"),
        include_bytes!("fixtures/blhc-colour.txt"),
        include_bytes!("fixtures/tiny_1.2_amd64.deb"),
    ];
    let address = Address::new(BASE, "x");
    for (index, sample) in samples.into_iter().enumerate() {
        for round in 0..6 {
            // Cut somewhere, and with some bytes changed to what views look for.
            let mut bytes = sample[..sample.len() * (round + 1) / 6].to_vec();
            for (step, byte) in b"\n\x1b[-+@{}:| \xff\0".iter().enumerate() {
                let place = (step * 7919 + round * 104_729 + index * 31) % bytes.len();
                bytes[place] = *byte;
            }
            let text = lines::Text::new(&bytes);
            for html in [
                build_log::render(&text, None, &address),
                blhc::render(&text, &address),
                piuparts::render(&text, None, &address),
                debdiff::render(&text, None, &address),
            ] {
                assert!(!html.unwrap().contains('\u{1b}'));
            }
        }
    }
}

#[test]
fn sizes() {
    for (count, text) in [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (u64::MAX, "16384.0 PiB"),
    ] {
        assert_eq!(bytes(count), text);
    }
}

#[test]
fn addresses_are_encoded() {
    let address = Address::new("/s/w/artifact/1/", "a b/c#\".txt");
    assert_eq!(address.line(12), "/s/w/artifact/1/file/a%20b/c%23%22.txt#L12");
    assert_eq!(address.raw(), "/s/w/artifact/1/raw/a%20b/c%23%22.txt");
    assert_eq!(address.download(), "/s/w/artifact/1/download/a%20b/c%23%22.txt");
}
