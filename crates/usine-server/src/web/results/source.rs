//! A source package or an upload: what its control file says, and its files.

use askama::Template;
use serde_json::{Map, Value};
use usine_db::artifact::{File, FileInArtifact};

use super::package::{Field, fields};
use super::{Address, bytes};

/// Files that are listed.
const MAX_FILES: usize = 1000;

struct Row<'a> {
    path: &'a str,
    address: Address,
    size: String,
    is_complete: bool,
}

#[derive(Template)]
#[template(path = "results/source.html")]
struct Page<'a> {
    title: &'a str,
    fields: Vec<Field>,
    rows: Vec<Row<'a>>,
    more: usize,
}

/// The view. `control` are the fields that the artifact's data have.
pub fn render(
    title: &str,
    control: Option<&Map<String, Value>>,
    files: &[(FileInArtifact, File)],
    base: &str,
) -> askama::Result<String> {
    let row = |(entry, content): &'_ (FileInArtifact, File)| {
        (Address::new(base, &entry.path), bytes(content.size.unsigned_abs()))
    };
    let rows = files.iter().take(MAX_FILES).map(|file| {
        let (address, size) = row(file);
        Row { path: &file.0.path, address, size, is_complete: file.0.complete }
    });
    Page {
        title,
        fields: control.map(fields).unwrap_or_default(),
        rows: rows.collect(),
        more: files.len().saturating_sub(MAX_FILES),
    }
    .render()
}

#[cfg(test)]
mod tests {
    use usine_debian::Dsc;

    use super::*;

    fn file(path: &str, complete: bool) -> (FileInArtifact, File) {
        let entry =
            FileInArtifact { id: 1, artifact_id: 1, path: path.into(), file_id: 1, complete, content_type: None };
        (entry, File { id: 1, sha256: vec![0; 32], size: 2048 })
    }

    #[test]
    fn a_real_dsc() {
        let dsc = Dsc::from_text("tiny_1.2.dsc", include_str!("fixtures/tiny_1.2.dsc")).unwrap();
        let files = [file("tiny_1.2.dsc", true), file("tiny 1.2.tar.xz", true), file("late", false)];
        let html = render("Source package", Some(dsc.fields().as_map()), &files, "/s/w/artifact/1/").unwrap();
        assert!(html.contains("<dt>Version</dt><dd>1.2</dd>"), "{html}");
        assert!(html.contains("href=\"/s/w/artifact/1/file/tiny%201.2.tar.xz\"") && html.contains("2.0 KiB"));
        assert!(html.contains("incomplete") && !html.contains("file/late"));
        // File lists are not texts; they are the table.
        assert!(!html.contains("Checksums-Sha256"));
    }

    #[test]
    fn nothing_is_known() {
        let html = render("Upload", None, &[], "/s/w/artifact/1/").unwrap();
        assert!(html.contains("<h2>Upload</h2>"));
    }
}
