//! Names of packages.

/// Whether `text` can be the name of a source or binary package (Policy §5.6.1): at least two characters of `a-z`,
/// `0-9`, `+`, `-`, `.`, the first a letter or digit. Such a name is a single path component.
pub fn is_package_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() >= 2
        && text.bytes().next().is_some_and(is_plain)
        && text.bytes().all(|byte| is_plain(byte) || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_policy() {
        for good in ["hello", "g++-12", "0ad", "libc6.1", "a."] {
            assert!(is_package_name(good), "{good:?}");
        }
        for bad in ["", "a", "..", "-x", "+x", "Hello", "a_b", "a/b", "a b", "hell\u{f6}", "a\n"] {
            assert!(!is_package_name(bad), "{bad:?}");
        }
    }
}
