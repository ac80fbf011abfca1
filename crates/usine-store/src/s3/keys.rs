//! The names of objects, with `h` the SHA-256 in hexadecimal:
//!
//! - `<prefix>/files/<h[0:2]>/<h>-<size>/<copy>`: a whole copy of the content;
//! - `<prefix>/aside/<h[0:2]>/<h>-<size>/<copy>.<mark>`: empty; it says that this copy is set aside.

use object_store::path::Path;

use crate::FileId;

/// Knows the names.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    files: Path,
    aside: Path,
}

/// A copy is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which copy.
    pub copy: String,
    /// Who did it.
    pub mark: String,
}

impl Keys {
    pub fn new(prefix: &str) -> Self {
        let below = |name: &str| prefix.split('/').filter(|part| !part.is_empty()).chain([name]).collect();
        Self { files: below("files"), aside: below("aside") }
    }

    /// Has nothing below it, and may be asked for.
    pub fn probe(&self) -> Path {
        self.aside.clone().join("probe")
    }

    pub fn copies_with(&self, first_byte: u8) -> Path {
        self.files.clone().join(hex::encode([first_byte]))
    }

    pub fn marks_with(&self, first_byte: u8) -> Path {
        self.aside.clone().join(hex::encode([first_byte]))
    }

    pub fn copies_of(&self, id: FileId) -> Path {
        self.copies_with(id.sha256[0]).join(id.to_string())
    }

    pub fn marks_of(&self, id: FileId) -> Path {
        self.marks_with(id.sha256[0]).join(id.to_string())
    }

    pub fn all_marks(&self) -> &Path {
        &self.aside
    }

    pub fn new_copy(&self, id: FileId, name: &str) -> Path {
        self.copies_of(id).join(name)
    }

    pub fn new_mark(&self, id: FileId, mark: &Mark) -> Path {
        self.marks_of(id).join(format!("{}.{}", mark.copy, mark.mark))
    }

    /// The content and the copy of which this is the name.
    pub fn copy(&self, key: &Path) -> Option<(FileId, String)> {
        let (id, name) = parts(&self.files, key)?;
        is_plain(&name).then_some((id, name))
    }

    /// The content and the mark of which this is the name.
    pub fn mark(&self, key: &Path) -> Option<(FileId, Mark)> {
        let (id, name) = parts(&self.aside, key)?;
        let (copy, mark) = name.split_once('.')?;
        (is_plain(copy) && is_plain(mark)).then(|| (id, Mark { copy: copy.to_owned(), mark: mark.to_owned() }))
    }
}

/// A random name. Among the few copies of one content 64 bits are enough, and keys stay short.
pub(super) fn short(random: &[u8; 32]) -> String {
    hex::encode(&random[..8])
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_hexdigit())
}

fn parts(above: &Path, key: &Path) -> Option<(FileId, String)> {
    let mut parts = key.prefix_match(above)?;
    let first = parts.next()?;
    let id: FileId = parts.next()?.as_ref().parse().ok()?;
    let name = parts.next()?.as_ref().to_owned();
    let fits = first.as_ref() == hex::encode([id.sha256[0]]) && parts.next().is_none();
    fits.then_some((id, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_and_read() {
        let id = FileId::new([0xab; 32], 7);
        for prefix in ["", "some/where", "/some/where/"] {
            let keys = Keys::new(prefix);
            let mark = Mark { copy: "c0".to_owned(), mark: "0f".to_owned() };
            assert_eq!(keys.copy(&keys.new_copy(id, "c0")), Some((id, "c0".to_owned())), "{prefix}");
            assert_eq!(keys.mark(&keys.new_mark(id, &mark)), Some((id, mark)), "{prefix}");
            assert_eq!(keys.copy(&keys.copies_of(id)), None);
            assert_eq!(keys.copy(&keys.new_copy(id, "README")), None);
            assert_eq!(keys.copy(&keys.copies_with(1).join(id.to_string()).join("c0")), None, "in a wrong place");
            assert_eq!(keys.mark(&keys.new_copy(id, "c0")), None);
        }
        assert_eq!(Keys::new("/a/b/").new_copy(id, "c").to_string(), format!("a/b/files/ab/{}-7/c", "ab".repeat(32)));
    }
}
