//! Packages from browsers.

use reqwest::Method;
use usine_db::ArtifactManager;
use usine_model::artifact::ArtifactCategory;

use crate::app::App;
use crate::visitor::{Page, Visitor};

const NEW: &str = "/debusine/System/artifact/new/";

const ORIG: &[u8] = b"not really a tarball\n";

fn dsc() -> String {
    let sha256 = usine_model::token::hash_of("not really a tarball\n").0;
    format!(
        "Format: 3.0 (native)\nSource: hello\nVersion: 1.0\nMaintainer: A <a@example.org>\nArchitecture: any\nBinary: hello\n\
         Checksums-Sha256:\n {sha256} {size} hello_1.0.tar.xz\nFiles:\n {md5} {size} hello_1.0.tar.xz\n",
        size = ORIG.len(),
        md5 = "a4ea1ac4bbf0c6bb0c1b4f16a04e5f18",
    )
}

/// Sends files as the form does; the secret comes first.
async fn send(browser: &mut Visitor<'_>, secret: Option<&str>, files: &[(&str, &[u8])]) -> Page {
    let mut body = Vec::new();
    let mut part = |head: String, content: &[u8]| {
        body.extend_from_slice(format!("--XYZ\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    if let Some(secret) = secret {
        part("name=\"csrfmiddlewaretoken\"".to_owned(), secret.as_bytes());
    }
    for (name, content) in files {
        part(format!("name=\"files\"; filename=\"{name}\""), content);
    }
    body.extend_from_slice(b"--XYZ--\r\n");
    let request = browser.request(Method::POST, NEW).header("content-type", "multipart/form-data; boundary=XYZ");
    let answer = request.body(body).send().await.unwrap();
    browser.take(answer).await
}

crate::app::stories! {
    async fn a_source_package_comes_with_its_files(app: App) {
        app.user("alice").await;
        let mut browser = Visitor::of(&app, "alice").await;
        let secret = browser.see(NEW).await.secret();
        let dsc = dsc();
        let md5 = dsc.split("Files:\n ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let real = md5_of(&app, ORIG).await;
        let dsc = dsc.replace(&md5, &real);
        let whole: [(&str, &[u8]); 2] = [("hello_1.0.dsc", dsc.as_bytes()), ("hello_1.0.tar.xz", ORIG)];

        for (files, words) in [
            (&whole[..1], "hello_1.0.dsc lists files that are not among these: hello_1.0.tar.xz"),
            (&whole[1..], "Choose a .dsc or a .changes"),
            (&[("hello_1.0.dsc", dsc.as_bytes()), ("hello_1.0.tar.xz", b"other".as_slice())][..], "hello_1.0.tar.xz"),
            (&[("../x.dsc", dsc.as_bytes())][..], "cannot be the name of a file"),
            (&[("a.dsc", b"".as_slice()), ("a.dsc", b"".as_slice())][..], "is there twice"),
            (&[("a.dsc", b"Source: a\n".as_slice()), ("b.dsc", b"x".as_slice())][..], "one package after the other"),
            (&[("a.dsc", b"no control file".as_slice())][..], "a.dsc"),
        ] {
            let page = send(&mut browser, Some(&secret), files).await;
            assert_eq!(page.status, 400, "{words}: {}", page.html);
            page.has(words).has_not("browser-");
        }
        let page = send(&mut browser, None, &whole).await;
        assert_eq!(page.status, 403);
        assert!(ArtifactManager(&app.state.database).list(&Default::default()).await.unwrap().is_empty());

        let page = send(&mut browser, Some(&secret), &whole).await;
        assert_eq!(page.status, 303, "{}", page.html);
        let address = page.location.unwrap();
        browser.see(&address).await.has("hello").has("sbuild").has_not("incomplete");
        let all = ArtifactManager(&app.state.database).list(&Default::default()).await.unwrap();
        assert_eq!(all.iter().map(|row| *row.category).collect::<Vec<_>>(), [ArtifactCategory::SourcePackage]);
        let raw = browser.request(Method::GET, &format!("{address}download/hello_1.0.tar.xz")).send().await.unwrap();
        assert_eq!(raw.bytes().await.unwrap(), ORIG);
        // Nothing is left of what came before.
        let left = std::fs::read_dir(app.directory.path().join("incoming")).unwrap().count();
        assert_eq!(left, 0);
        app.end().await;
    }
}

/// MD5 of some bytes, by the reader of Debian's lists.
async fn md5_of(app: &App, content: &[u8]) -> String {
    let path = app.directory.path().join("content");
    std::fs::write(&path, content).unwrap();
    let hashes = usine_debian::hash_file(&path).unwrap();
    hashes.md5
}
