//! Debian's formats.

use std::path::{Component, Path};

use usine_debian::{
    Algorithm, Architecture, ChangelogHeader, Changes, Compression, Deb, Dsc, Limits, Listing, Version, artifacts_of,
    build_ids, extract_build_ids, is_package_name, list_tarball, parse_paragraph,
};

use super::{assert_only, directory, text, two};

const LIMITS: Limits = Limits { entries: 1000, bytes: 16 << 20 };

/// What is written reads back the same.
pub(super) fn control(input: &[u8]) {
    let Ok(fields) = parse_paragraph(&text(input)) else { return };
    if let Ok(written) = fields.to_text() {
        let again = parse_paragraph(&written).expect("what was written");
        assert_eq!(fields, again);
    }
}

/// Listed files lie beside the list, each once for each algorithm.
fn check(listing: &Listing) {
    for algorithm in [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256] {
        let names: Vec<_> = listing.names(algorithm).collect();
        for name in &names {
            let components: Vec<_> = Path::new(name).components().collect();
            assert!(matches!(components[..], [Component::Normal(only)] if only == *name), "{name:?} leads elsewhere");
        }
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }
}

pub(super) fn dsc(input: &[u8]) {
    if let Ok(dsc) = Dsc::from_text("a.dsc", &text(input)) {
        check(dsc.listing());
        assert_eq!(dsc.source(), dsc.fields().text("Source").unwrap_or_default());
    }
}

pub(super) fn changes(input: &[u8]) {
    if let Ok(changes) = Changes::from_text("a.changes", &text(input)) {
        check(changes.listing());
        let _ = (changes.source(), changes.version(), changes.is_source_only());
        let listed: Vec<_> = changes.names().collect();
        for name in
            changes.source_packages().chain(changes.architectures().flat_map(|arch| changes.binary_packages(arch)))
        {
            assert!(listed.contains(&name));
        }
    }
}

/// Both ways of reading agree, and debug symbols stay where they belong.
pub(super) fn deb(input: &[u8]) {
    let size = input.len() as u64;
    let whole = Deb::read_all("a.deb", input, size, LIMITS);
    if let Ok((_, contents)) = &whole {
        assert!(contents.members.len() <= LIMITS.entries);
    }
    let place = directory();
    let (path, target) = (place.path().join("a.deb"), place.path().join("symbols"));
    std::fs::write(&path, input).expect("a file");
    std::fs::create_dir(&target).expect("a directory");
    if let Ok(deb) = Deb::read(&path) {
        assert_eq!(Some(deb), whole.ok().map(|(deb, _)| deb));
    }
    if let Ok(ids) = build_ids(&path) {
        assert_eq!(extract_build_ids(&path, &target).ok(), Some(ids));
    }
    assert_only(place.path(), &["a.deb", "symbols"]);
}

/// Nothing is listed beyond the limit, however it is compressed.
pub(super) fn tarball(input: &[u8]) {
    for compression in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let contents = list_tarball(input, compression, LIMITS);
        assert!(contents.members.len() <= LIMITS.entries);
    }
}

/// An order is one: of any three versions.
pub(super) fn version(input: &[u8]) {
    let text = text(input);
    let versions: Vec<Version> = text.lines().take(3).filter_map(|line| line.parse().ok()).collect();
    for one in &versions {
        let again: Version = one.to_string().parse().expect("what was printed");
        assert_eq!(*one, again);
        assert_eq!(one.to_string(), again.to_string());
        let _ = (one.epoch(), one.without_epoch());
    }
    for a in &versions {
        for b in &versions {
            assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a} {b}");
            for c in &versions {
                assert!(a > b || b > c || a <= c, "{a} {b} {c}");
            }
        }
    }
}

pub(super) fn names(input: &[u8]) {
    let text = text(input);
    if let Ok(architecture) = text.parse::<Architecture>() {
        assert_eq!(architecture.to_string(), text);
    }
    if is_package_name(&text) {
        assert!(!text.contains(['/', '\0', '\n', ' ']));
    }
    if let Ok(header) = text.parse::<ChangelogHeader>() {
        assert!(is_package_name(&header.source) && !header.version.to_string().contains('/'));
        assert!(!header.distributions.is_empty());
    }
}

/// A file as somebody has it, by the name in the first line.
pub(super) fn local_artifacts(input: &[u8]) {
    let (kind, content) = two(input);
    let name = match kind.as_str() {
        "changes" => "a_1_source.changes",
        "deb" => "a_1_all.deb",
        _ => "a_1.dsc",
    };
    let place = directory();
    let below = place.path().join("below");
    std::fs::create_dir(&below).expect("a directory");
    std::fs::write(place.path().join("secret"), "not to be read").expect("a file");
    let path = below.join(name);
    std::fs::write(&path, content).expect("a file");
    for artifact in artifacts_of(&path).unwrap_or_default() {
        for (name, file) in &artifact.files {
            assert!(file.starts_with(&below) && !name.contains('/'), "{name}: {}", file.display());
        }
    }
    assert_only(place.path(), &["below", "secret"]);
}
