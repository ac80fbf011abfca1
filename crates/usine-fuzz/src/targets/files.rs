//! Configuration files.

use usine_client::ini::{IniFile, with_section};
use usine_worker::{Config, Places};

use super::{directory, text, two};

pub(super) fn server(input: &[u8]) {
    let place = directory();
    let path = place.path().join("server.toml");
    std::fs::write(&path, input).expect("a file");
    if let Ok(config) = usine_server::Config::read(&path) {
        let written = toml::to_string(&config).expect("TOML");
        std::fs::write(&path, written).expect("a file");
        assert_eq!(usine_server::Config::read(&path).expect("what was written"), config);
    }
}

/// The name of the file, then its content: our own, and Debian's.
pub(super) fn worker(input: &[u8]) {
    let (name, content) = two(input);
    let place = directory();
    let name = if name == "config.ini" { "config.ini" } else { "worker.toml" };
    std::fs::write(place.path().join(name), content).expect("a file");
    let places = Places { home: None, etc: place.path().join("etc"), state: place.path().join("state") };
    let _ = Config::read(place.path(), &places);
}

pub(super) fn client(input: &[u8]) {
    let text = text(input);
    let file = IniFile::parse(&text);
    if let Ok(file) = &file {
        for (name, keys) in file.sections() {
            assert_eq!(file.section(name), Some(keys));
        }
    }
    // What a new server adds is there afterwards, beside the rest.
    let keys = [("api-url", "https://h/api"), ("token", "k")];
    let added = with_section(&text, "server:new", &keys);
    if let (Ok(before), Ok(after)) = (&file, IniFile::parse(&added)) {
        let section = after.section("server:new").expect("what was added");
        assert!(keys.iter().all(|(key, value)| section.get(*key).map(String::as_str) == Some(*value)), "{added:?}");
        for (name, keys) in before.sections().filter(|(name, _)| *name != "server:new") {
            assert_eq!(after.section(name), Some(keys), "{name}");
        }
    }
    let place = directory();
    let path = place.path().join("config.ini");
    std::fs::write(&path, input).expect("a file");
    let _ = (usine_client::config::load(&path, None, None), usine_client::config::servers(&path));
}
