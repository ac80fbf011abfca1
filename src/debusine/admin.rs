//! `debusine-admin`: our own `usine admin`, whose commands have many of its names.

use std::ffi::OsString;

/// The command line of `usine admin` for one of `debusine-admin`.
pub fn arguments(all: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let own = [OsString::from("usine"), OsString::from("admin")];
    own.into_iter().chain(all.into_iter().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_part_of_our_own() {
        let line = |text: &str| -> Vec<OsString> { text.split(' ').map(OsString::from).collect() };
        assert_eq!(arguments(line("/bin/debusine-admin user list")), line("usine admin user list"));
    }
}
