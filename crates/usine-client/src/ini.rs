//! Configuration files as Python's configparser reads them, which is what debusine's programs use.
//!
//! Keys do not mind case, sections do; `%%` is a per cent sign and `%(key)s` another key's value.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use configparser::ini::Ini;

/// Largest configuration file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where Python looks for keys that a section does not have.
const DEFAULT: &str = "DEFAULT";

/// Most replacements nested in each other; Python stops at 10, too.
const MAX_DEPTH: usize = 10;

/// A file that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IniFile {
    sections: BTreeMap<String, BTreeMap<String, String>>,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IniError {
    /// The system does not give it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not such a file.
    #[error("{0}")]
    Syntax(String),
}

impl IniFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, IniError> {
        use std::io::Read;
        let mut text = String::new();
        std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(IniError::Syntax(format!("larger than {MAX_BYTES} bytes, too large for a configuration file")));
        }
        Self::parse(&text)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, IniError> {
        let mut ini = Ini::new_cs();
        ini.set_inline_comment_symbols(Some(&[]));
        ini.set_multiline(true);
        let raw = ini.read(text.to_owned()).map_err(IniError::Syntax)?;
        let mut file = Self::default();
        for (section, keys) in raw {
            // Lines before the first section end here under this crate's name for it.
            if section == "default" {
                return Err(IniError::Syntax("there are keys before the first [section]".to_owned()));
            }
            let known = file.sections.entry(section.clone()).or_default();
            for (key, value) in keys {
                let key = key.to_lowercase();
                // Which one comes last is not known here. Python refuses it, too.
                if known.insert(key.clone(), value.unwrap_or_default()).is_some() {
                    return Err(IniError::Syntax(format!("[{section}] has the key {key:?} twice")));
                }
            }
        }
        let defaults = file.sections.remove(DEFAULT).unwrap_or_default();
        let raw = std::mem::take(&mut file.sections);
        for (section, keys) in raw {
            let mut all = defaults.clone();
            all.extend(keys);
            let keys = all.keys().map(|key| Ok((key.clone(), interpolate(&all, &all[key], 0)?)));
            let keys =
                keys.collect::<Result<_, String>>().map_err(|e| IniError::Syntax(format!("[{section}]: {e}")))?;
            file.sections.insert(section, keys);
        }
        Ok(file)
    }

    /// The keys (in lower case) and values of a section.
    pub fn section(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.sections.get(name)
    }

    /// All sections by name.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> {
        self.sections.iter().map(|(name, keys)| (name.as_str(), keys))
    }
}

fn interpolate(keys: &BTreeMap<String, String>, value: &str, depth: usize) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err("%(…)s refers to itself".to_owned());
    }
    let mut result = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        result.push_str(before);
        rest = if let Some(rest) = after.strip_prefix('%') {
            result.push('%');
            rest
        } else if let Some((key, rest)) = after.strip_prefix('(').and_then(|after| after.split_once(")s")) {
            let value = keys.get(&key.to_lowercase()).ok_or_else(|| format!("%({key})s: there is no key {key:?}"))?;
            result.push_str(&interpolate(keys, value, depth + 1)?);
            rest
        } else {
            return Err(format!("{value:?} has a lone '%'; write '%%' for a per cent sign"));
        };
    }
    result.push_str(rest);
    Ok(result)
}

/// The text of a file in which a section has these keys and no others (it is added at the end if there is none). What a
/// person wrote besides, such as comments, stays where it is. Per cent signs in values are doubled.
pub fn with_section(text: &str, section: &str, keys: &[(&str, &str)]) -> String {
    let header = format!("[{section}]");
    let mut new = String::with_capacity(text.len() + 256);
    let mut missing: Vec<(&str, &str)> = keys.to_vec();
    // Where further keys of the section go: after its last one.
    let mut end_of_keys = None;
    let (mut inside, mut continues) = (false, false);
    for line in text.lines() {
        let content = line.trim();
        if content.starts_with('[') {
            inside = content == header;
            continues = false;
            push_line(&mut new, line);
            if inside && end_of_keys.is_none() {
                end_of_keys = Some(new.len());
            }
        } else if !inside || content.is_empty() || content.starts_with(['#', ';']) {
            push_line(&mut new, line);
        } else if continues && line.starts_with(char::is_whitespace) {
            // The rest of a value of several lines, which is written anew.
        } else {
            continues = true;
            let name = content.split(['=', ':']).next().unwrap_or_default().trim().to_lowercase();
            if let Some(index) = missing.iter().position(|(key, _)| *key == name) {
                push_key(&mut new, missing.remove(index));
                end_of_keys = Some(new.len());
            }
        }
    }
    if end_of_keys.is_none() {
        if !new.is_empty() && !new.ends_with("\n\n") {
            new.push('\n');
        }
        push_line(&mut new, &header);
    }
    let mut rest = String::new();
    missing.into_iter().for_each(|key| push_key(&mut rest, key));
    new.insert_str(end_of_keys.unwrap_or(new.len()), &rest);
    new
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn push_key(text: &mut String, (key, value): (&str, &str)) {
    push_line(text, &format!("{key} = {}", value.replace('%', "%%")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_reads_it() {
        let file = IniFile::parse(
            "# comment\n[DEFAULT]\nhost = h\n[General]\nDefault-Server = local ; not a comment\n[server:A b]\napi-url: https://%(host)s/%%41\n",
        )
        .unwrap();
        assert_eq!(file.section("General").unwrap()["default-server"], "local ; not a comment");
        assert_eq!(file.section("server:A b").unwrap()["api-url"], "https://h/%41");
        assert!(file.section("server:a b").is_none());
    }

    #[test]
    fn faults_are_named() {
        for (text, part) in [
            ("[a]\nx = 5%\n", "lone '%'"),
            ("[a]\nx = %(y)s\n", "no key \"y\""),
            ("[a]\nx = %(x)s\n", "refers to itself"),
            ("[a\n", "closing bracket"),
            ("x = 1\n", "before the first"),
            ("[a]\nKey = 1\nkey = 2\n", "\"key\" twice"),
        ] {
            let error = IniFile::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn one_section_is_replaced() {
        let old = "; mine\n[General]\ndefault-server = a\n\n[server:a]\napi-url = x\n\n[server:b]\napi-url = y\n";
        let new = with_section(old, "server:a", &[("api-url", "z"), ("token", "5%")]);
        assert_eq!(
            new,
            "; mine\n[General]\ndefault-server = a\n\n[server:a]\napi-url = z\ntoken = 5%%\n\n[server:b]\napi-url = y\n"
        );
        assert_eq!(with_section("", "General", &[("default-server", "b")]), "[General]\ndefault-server = b\n");
        assert_eq!(with_section("[a]\nx = 1", "b", &[("y", "2")]), "[a]\nx = 1\n\n[b]\ny = 2\n");
        assert_eq!(IniFile::parse(&new).unwrap().section("server:a").unwrap()["token"], "5%");
    }

    #[test]
    fn comments_stay() {
        let old = "[a]\n# of x\nX : 1\n  and more\ncolour = red\n; of y\ny = 2\n\n# of b\n[b]\n";
        let new = with_section(old, "a", &[("x", "3"), ("y", "4"), ("z", "5")]);
        assert_eq!(new, "[a]\n# of x\nx = 3\n; of y\ny = 4\nz = 5\n\n# of b\n[b]\n");
    }
}
