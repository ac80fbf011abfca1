//! Names of things: scopes, workspaces, collections, workers, users.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[A-Za-z][A-Za-z0-9+._-]*$").expect("a valid pattern"));

/// Scope names that would hide a page of the web interface.
const RESERVED_SCOPES: &[&str] = &[
    "accounts",
    "admin",
    "api",
    "api-auth",
    "artifact",
    "task-status",
    "user",
    "workers",
    "work-request",
    "workspace",
];

/// Workspace names that would hide a page of the web interface.
const RESERVED_WORKSPACES: &[&str] =
    &["accounts", "artifact", "task-status", "user", "workers", "work-request", "workspaces"];

/// Longest name of a scope, workspace, group or collection, in bytes.
pub const MAX_NAME: usize = 255;

/// Whether `name` follows the pattern shared by scopes, workspaces, groups and collections.
pub fn is_valid_name(name: &str) -> bool {
    name.len() <= MAX_NAME && NAME.is_match(name)
}

/// Whether `name` may name a scope.
pub fn is_valid_scope_name(name: &str) -> bool {
    is_valid_name(name) && !RESERVED_SCOPES.contains(&name)
}

/// Whether `name` may name a workspace.
pub fn is_valid_workspace_name(name: &str) -> bool {
    is_valid_name(name) && !RESERVED_WORKSPACES.contains(&name)
}

/// Whether `name` may name a user: letters, digits and `@ . + - _`, at most 150 characters, not only digits.
pub fn is_valid_username(name: &str) -> bool {
    !name.is_empty()
        && name.chars().count() <= 150
        && name.chars().all(|c| c.is_alphanumeric() || "@.+-_".contains(c))
        && !name.chars().all(|c| c.is_ascii_digit())
}

/// Longest name of a worker, in bytes.
pub const MAX_WORKER_NAME: usize = 255;

/// The name of a worker, made from its host name: dots become dashes, the rest is reduced to `a-z 0-9 - _`.
///
/// An empty result (a name of nothing but punctuation) becomes `worker`.
pub fn worker_name_from_fqdn(fqdn: &str) -> String {
    let mut name = slug(&fqdn.replace('.', "-"));
    // Leaves room for the suffix that makes a taken name unique.
    name.truncate(MAX_WORKER_NAME - 12);
    if name.is_empty() { "worker".to_owned() } else { name }
}

/// The candidate names of a worker in the order they are tried: `name`, `name-2`, `name-3`, …
pub fn worker_name_candidates(fqdn: &str) -> impl Iterator<Item = String> {
    let base = worker_name_from_fqdn(fqdn);
    (1u64..).map(move |n| if n == 1 { base.clone() } else { format!("{base}-{n}") })
}

fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.nfkd().filter(char::is_ascii).map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' | '_' => slug.push(c),
            '-' | ' ' | '\t'..='\r' if !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.trim_matches(['-', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_names_follow_the_fqdn() {
        for (fqdn, name) in [
            ("worker.example.org", "worker-example-org"),
            ("Wörker_1.Example.COM.", "worker_1-example-com"),
            ("a..b", "a-b"),
            ("_a b-", "a-b"),
            ("…", "worker"),
        ] {
            assert_eq!(worker_name_from_fqdn(fqdn), name, "{fqdn}");
        }
        let names: Vec<_> = worker_name_candidates("w.example").take(3).collect();
        assert_eq!(names, ["w-example", "w-example-2", "w-example-3"]);
        assert!(worker_name_from_fqdn(&"x".repeat(400)).len() < MAX_WORKER_NAME);
    }

    #[test]
    fn scopes_keep_clear_of_page_names() {
        assert!(is_valid_scope_name("debusine"));
        for bad in ["api", "workers", "", "1a", "a/b", "a b"] {
            assert!(!is_valid_scope_name(bad), "{bad}");
        }
    }

    #[test]
    fn user_names_are_not_numbers() {
        assert!(is_valid_username("alice@example.org"));
        assert!(is_valid_username("42a"));
        for bad in ["42", "", "a b", "a/b"] {
            assert!(!is_valid_username(bad), "{bad}");
        }
    }
}
