//! A binary package: what its control file says, and what is in it. And lists of what is in tarballs.

use askama::Template;
use serde_json::{Map, Value};
use usine_debian::{Compression, Contents, Deb, Limits, Member, list_tarball};

use super::lines::{Text, harmless, shortened};
use super::read::{self, Absent, Found, Stored};
use super::{Address, bytes, rendered};
use crate::problem::ApiResult;

/// What is looked at of an archive: enough for the list of every package in Debian but the very largest, in a few seconds.
pub(super) const LIMITS: Limits = Limits { entries: 10_000, bytes: 512 * 1024 * 1024 };
/// Fields of a control file that are shown.
const MAX_FIELDS: usize = 100;

/// A name and a value of a control file, made harmless.
pub struct Field {
    /// As written.
    pub name: String,
    /// Lines without what makes them continuation lines.
    pub value: String,
}

/// The fields of a control file that are texts; what they list is shown elsewhere.
pub fn fields(map: &Map<String, Value>) -> Vec<Field> {
    let text = |(name, value): (&String, &Value)| {
        let value = Text::new(value.as_str()?.as_bytes());
        let line = |line: &str| {
            let line = line.strip_prefix(' ').unwrap_or(line);
            shortened(if line == "." { "" } else { line }).into_owned()
        };
        let lines: Vec<String> = value.lines().take(1000).map(line).collect();
        let name = Text::new(name.as_bytes());
        Some(Field { name: shortened(name.line(0)).into_owned(), value: lines.join("\n").trim().to_owned() })
    };
    map.iter().filter_map(text).take(MAX_FIELDS).collect()
}

#[derive(Template)]
#[template(path = "results/contents.html")]
struct List<'a> {
    members: &'a [Member],
    files: usize,
    total: String,
    cut: Option<&'a str>,
}

impl<'a> List<'a> {
    fn new(contents: &'a Contents) -> Self {
        let files = contents.members.iter().filter(|member| member.mode.starts_with('-'));
        let size = files.clone().map(|member| member.size).fold(0, u64::saturating_add);
        Self { members: &contents.members, files: files.count(), total: bytes(size), cut: contents.cut.as_deref() }
    }

    /// A path, or whatever else the archive says, on one line.
    fn name(&self, raw: &str) -> String {
        harmless(raw).replace('\n', "␊")
    }
}

#[derive(Template)]
#[template(path = "results/package.html")]
struct Package<'a> {
    address: &'a Address,
    size: String,
    fields: Vec<Field>,
    scripts: String,
    list: List<'a>,
}

/// The view of a `.deb`.
pub async fn view(stored: Stored, address: &Address) -> ApiResult<Found<String>> {
    let _turn = read::turn().await?;
    let size = stored.size();
    let reader = match stored.reader().await? {
        Ok(reader) => reader,
        Err(absent) => return Ok(Err(absent)),
    };
    let address = address.clone();
    let work = move || match Deb::read_all(&harmless(address.name()), reader, size, LIMITS) {
        Ok((deb, contents)) => Ok(render(&deb, &contents, size, &address)),
        Err(error) => Err(Absent(harmless(&format!("{error}.")))),
    };
    match read::blocking(work).await? {
        Ok(html) => rendered(html).map(Ok),
        Err(absent) => Ok(Err(absent)),
    }
}

pub(super) fn render(deb: &Deb, contents: &Contents, size: u64, address: &Address) -> askama::Result<String> {
    Package {
        address,
        size: bytes(size),
        fields: fields(deb.fields().as_map()),
        scripts: deb.control_files().join(", "),
        list: List::new(contents),
    }
    .render()
}

#[derive(Template)]
#[template(path = "results/tarball.html")]
struct Tarball<'a> {
    address: &'a Address,
    size: String,
    list: List<'a>,
}

/// The view of a tarball.
pub async fn tarball(stored: Stored, compression: Compression, address: &Address) -> ApiResult<Found<String>> {
    let _turn = read::turn().await?;
    let size = stored.size();
    let reader = match stored.reader().await? {
        Ok(reader) => reader,
        Err(absent) => return Ok(Err(absent)),
    };
    let address = address.clone();
    let work = move || {
        let contents = list_tarball(reader, compression, LIMITS);
        render_tarball(&contents, size, &address)
    };
    rendered(read::blocking(work).await?).map(Ok)
}

pub(super) fn render_tarball(contents: &Contents, size: u64, address: &Address) -> askama::Result<String> {
    Tarball { address, size: bytes(size), list: List::new(contents) }.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_package() {
        let bytes = include_bytes!("fixtures/tiny_1.2_amd64.deb");
        let size = bytes.len() as u64;
        let (deb, contents) = Deb::read_all("tiny", &bytes[..], size, LIMITS).unwrap();
        let html = render(&deb, &contents, size, &Address::new("/s/w/artifact/1/", "tiny_1.2_amd64.deb")).unwrap();
        assert!(html.contains("<dt>Depends</dt><dd>adduser, libc6 (&#62;= 2.34)</dd>"), "{html}");
        assert!(html.contains("-rwxr-xr-x") && html.contains("./usr/bin/tiny") && html.contains("root/root"), "{html}");
        assert!(html.contains("control, md5sums") && html.contains("2.8 KiB"), "{html}");
    }

    #[test]
    fn names_are_lines_and_text() {
        let member = Member {
            mode: "lrwxrwxrwx".into(),
            owner: "<o>/g".into(),
            size: 0,
            path: "a\n<b>\r".into(),
            target: Some("\u{1b}[31mt".into()),
        };
        let contents = Contents { members: vec![member], cut: Some("it ends <early>".into()) };
        let html = List::new(&contents).render().unwrap();
        assert!(html.contains("a␊&#60;b&#62;^M") && html.contains("→ t") && html.contains("&#60;early&#62;"), "{html}");
        assert!(html.contains("&#60;o&#62;/g"));
    }

    #[test]
    fn fields_without_their_folding() {
        let map = serde_json::json!({"Description": "\n short\n long\n .\n  more", "Files": [], "A": "x\r"});
        let found: Vec<_> =
            fields(map.as_object().unwrap()).into_iter().map(|field| (field.name, field.value)).collect();
        assert_eq!(found, [("Description".into(), "short\nlong\n\n more".into()), ("A".to_owned(), "x^M".to_owned())]);
    }
}
