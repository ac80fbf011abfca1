//! Which content type a file is served with: never one that a browser would execute or draw.

use usine_model::artifact::ArtifactCategory;

/// Content types that are sent as declared.
const ALLOWED: [&str; 12] = [
    "text/plain",
    "text/pgp",
    "text/markdown",
    "application/json",
    "application/pgp-signature",
    "application/gzip",
    "application/octet-stream",
    "application/vnd.debian.binary-package",
    "application/x-bzip2",
    "application/x-tar",
    "application/x-xz",
    "application/zstd",
];

const TEXT: &str = "text/plain; charset=utf-8";

const BYTES: &str = "application/octet-stream";

/// By the end of the name, for files of which nothing is declared.
const BY_SUFFIX: [(&str, &str); 17] = [
    (".buildinfo", TEXT),
    (".dsc", TEXT),
    (".changes", TEXT),
    (".txt", TEXT),
    (".log", TEXT),
    (".build", TEXT),
    (".buildlog", TEXT),
    (".sources", TEXT),
    (".md", "text/markdown; charset=utf-8"),
    (".json", "application/json"),
    (".deb", "application/vnd.debian.binary-package"),
    (".udeb", "application/vnd.debian.binary-package"),
    (".gz", "application/gzip"),
    (".bz2", "application/x-bzip"),
    (".xz", "application/x-xz"),
    (".zst", "application/zstd"),
    (".tar", "application/x-tar"),
];

/// The content type to send.
pub(crate) fn served(category: ArtifactCategory, path: &str, declared: Option<&str>) -> String {
    if category == ArtifactCategory::Autopkgtest && path == "log" {
        return TEXT.to_owned();
    }
    let Some(declared) = declared else { return by_name(path).to_owned() };
    let (essence, parameters) = declared.split_once(';').unwrap_or((declared, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let printable = declared.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if ALLOWED.contains(&essence.as_str()) {
        return if printable { declared.to_owned() } else { essence };
    }
    if essence.starts_with("text/") || essence == "inode/x-empty" {
        return match charset(parameters) {
            Some(charset) => format!("text/plain; charset={charset}"),
            None => "text/plain".to_owned(),
        };
    }
    BYTES.to_owned()
}

fn by_name(path: &str) -> &'static str {
    let path = path.to_ascii_lowercase();
    BY_SUFFIX.iter().find(|(suffix, _)| path.ends_with(suffix)).map_or(BYTES, |(_, content_type)| content_type)
}

/// The charset of a text; `binary` is libmagic's word for none.
fn charset(parameters: &str) -> Option<&str> {
    let value = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("charset="))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    (!value.is_empty() && value != "binary" && value.bytes().all(plain)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_sent_or_made_harmless() {
        for (declared, sent) in [
            ("text/plain; charset=us-ascii", "text/plain; charset=us-ascii"),
            ("text/markdown", "text/markdown"),
            ("application/json", "application/json"),
            ("application/x-xz; charset=binary", "application/x-xz; charset=binary"),
            ("application/vnd.debian.binary-package", "application/vnd.debian.binary-package"),
            ("text/html", "text/plain"),
            ("TEXT/HTML; charset=utf-8", "text/plain; charset=utf-8"),
            ("text/x-diff; charset=\"><script>", "text/plain"),
            ("inode/x-empty; charset=binary", "text/plain"),
            ("image/svg+xml", BYTES),
            ("application/javascript", BYTES),
            ("application/x-sharedlib; charset=binary", BYTES),
            ("", BYTES),
            ("text/plain; charset=ü", "text/plain"),
        ] {
            assert_eq!(served(ArtifactCategory::Test, "x", Some(declared)), sent, "{declared}");
        }
    }

    #[test]
    fn undeclared_types_follow_the_name() {
        for (path, sent) in [
            ("a.dsc", TEXT),
            ("dir/hello.BUILDINFO", TEXT),
            ("x.build", TEXT),
            ("README.md", "text/markdown; charset=utf-8"),
            ("x.tar.gz", "application/gzip"),
            ("x.tar.xz", "application/x-xz"),
            ("x.html", BYTES),
            ("log", BYTES),
        ] {
            assert_eq!(served(ArtifactCategory::Test, path, None), sent, "{path}");
        }
        assert_eq!(served(ArtifactCategory::Autopkgtest, "log", Some("text/html")), TEXT);
    }
}
