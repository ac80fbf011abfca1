//! A server's section while it is being edited. No input or output: the dialogue does that.

use std::fmt;

use url::Url;
use usine_client::Timeouts;
use usine_client::config::{KNOWN_SERVERS, ServerConfig};
use usine_protocol::DEFAULT_SCOPE;

/// What is to be saved.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    name: String,
    /// Empty while nobody has said it.
    pub api_url: String,
    /// Name of the scope.
    pub scope: String,
    /// `None`: to be asked for.
    pub token: Option<String>,
    workspace: Option<String>,
    http_timeout: Timeouts,
    /// Whether it becomes the default server even if there is one.
    pub make_default: bool,
}

/// What a line of the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Show what it looks like now.
    Changed,
    /// Write it.
    Save,
    /// Leave all as it is.
    Quit,
}

/// The servers that can be chosen: those of the file, then those that everybody knows.
pub fn names(configured: &[ServerConfig]) -> Vec<String> {
    let mut names: Vec<String> = configured.iter().map(|server| server.name.clone()).collect();
    let others = KNOWN_SERVERS.iter().map(|known| known.name.to_owned()).filter(|name| !names.contains(name));
    let others: Vec<String> = others.collect();
    names.extend(others);
    names
}

impl Draft {
    /// Begins with what the file or everybody knows of a server; `FQDN/scope` finds or describes one, too.
    pub fn of(name: &str, configured: &[ServerConfig]) -> Result<Self, String> {
        let (fqdn, scope) = name.split_once('/').map_or((None, None), |(fqdn, scope)| (Some(fqdn), Some(scope)));
        let is_meant = |server: &&ServerConfig| match (fqdn, scope) {
            (Some(fqdn), Some(scope)) => host(&server.api_url).as_deref() == Some(fqdn) && server.scope == scope,
            _ => server.name == name,
        };
        if let Some(server) = configured.iter().find(is_meant) {
            return Ok(Self::from(server.clone()));
        }
        let name = fqdn.unwrap_or(name);
        if name.is_empty() || name.contains(['/', '[', ']']) || name.contains(char::is_control) {
            return Err(format!("{name:?} cannot be the name of a server"));
        }
        let known = KNOWN_SERVERS.iter().find(|known| known.name == name);
        let address = fqdn.map(|fqdn| format!("https://{fqdn}/api/"));
        Ok(Self {
            name: name.to_owned(),
            api_url: known.map(|known| known.api_url.to_owned()).or(address).unwrap_or_default(),
            scope: scope.or(known.map(|known| known.scope)).unwrap_or(DEFAULT_SCOPE).to_owned(),
            token: None,
            workspace: known.map(|known| known.workspace.to_owned()),
            http_timeout: Timeouts::default(),
            make_default: false,
        })
    }

    /// Does what a line says: `url VALUE`, `save` and so on.
    ///
    /// # Errors
    /// What to tell the user; nothing has changed then.
    pub fn take(&mut self, line: &str) -> Result<Step, String> {
        let (word, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        match word {
            "url" => self.api_url = address(value)?,
            "scope" if value.is_empty() => return Err("Which scope? Type: scope NAME".to_owned()),
            "scope" => value.clone_into(&mut self.scope),
            "workspace" => self.workspace = Some(value.to_owned()).filter(|value| !value.is_empty()),
            "token" => self.token = Some(value.to_owned()).filter(|value| !value.is_empty()),
            "default" => self.make_default = true,
            "save" if self.api_url.is_empty() => {
                return Err("Which address? Type: url https://HOST/api".to_owned());
            }
            "save" => return Ok(Step::Save),
            "quit" => return Ok(Step::Quit),
            _ => return Err(format!("{word:?} is not known here. {}", super::HELP)),
        }
        Ok(Step::Changed)
    }

    /// What is written to the file.
    pub fn finish(self) -> ServerConfig {
        ServerConfig {
            name: self.name,
            api_url: self.api_url,
            scope: self.scope,
            token: self.token.unwrap_or_default(),
            default_workspace: self.workspace,
            http_timeout: self.http_timeout,
            warning: None,
        }
    }
}

impl From<ServerConfig> for Draft {
    fn from(server: ServerConfig) -> Self {
        Self {
            name: server.name,
            api_url: server.api_url,
            scope: server.scope,
            token: Some(server.token),
            workspace: server.default_workspace,
            http_timeout: server.http_timeout,
            make_default: false,
        }
    }
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = if self.api_url.is_empty() { "(not known yet)" } else { &self.api_url };
        let workspace = self.workspace.as_deref().unwrap_or("(the server's default)");
        // Not the token itself: screens are seen by others.
        let token = if self.token.is_some() { "(there is one)" } else { "(none: `save` asks the server for one)" };
        writeln!(f, "  server     {}{}", self.name, if self.make_default { ", the default" } else { "" })?;
        writeln!(f, "  url        {url}")?;
        writeln!(f, "  scope      {}", self.scope)?;
        writeln!(f, "  workspace  {workspace}")?;
        write!(f, "  token      {token}")
    }
}

fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

fn address(text: &str) -> Result<String, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not an address such as https://HOST/api")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured() -> Vec<ServerConfig> {
        vec![ServerConfig {
            name: "farm".to_owned(),
            api_url: "https://farm.example.org/api".to_owned(),
            scope: "lab".to_owned(),
            token: "0123456789".to_owned(),
            default_workspace: None,
            http_timeout: "9".parse().unwrap(),
            warning: None,
        }]
    }

    #[test]
    fn a_draft_begins_with_what_is_known() {
        assert_eq!(names(&configured()), ["farm", "debian", "localhost"]);
        for name in ["farm", "farm.example.org/lab"] {
            let draft = Draft::of(name, &configured()).unwrap();
            assert!(draft.clone().finish() == configured()[0], "{draft}");
            assert!(!draft.to_string().contains("0123456789"), "{draft}");
        }
        let debian = Draft::of("debian", &configured()).unwrap();
        assert_eq!((debian.scope.as_str(), debian.token.clone()), ("debian", None));
        let described = Draft::of("other.example.org/lab", &configured()).unwrap().finish();
        assert_eq!((described.name.as_str(), described.scope.as_str()), ("other.example.org", "lab"));
        assert_eq!(described.api_url, "https://other.example.org/api/");
        for wrong in ["", "a]", "/scope", "a\nb"] {
            assert!(Draft::of(wrong, &[]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn lines_change_it() {
        let mut draft = Draft::of("new", &[]).unwrap();
        assert!(draft.take("save").unwrap_err().contains("url https://"));
        for wrong in ["url", "url ftp://h/", "url h/api", "scope", "colour red", ""] {
            assert!(draft.take(wrong).is_err(), "{wrong}");
        }
        assert_eq!(draft.take("url https://h.example.org/api"), Ok(Step::Changed));
        for line in ["scope lab", "workspace  W ", "token 0123456789", "token", "default"] {
            assert_eq!(draft.take(line), Ok(Step::Changed), "{line}");
        }
        assert_eq!((draft.take("quit"), draft.take("save")), (Ok(Step::Quit), Ok(Step::Save)));
        assert!(draft.make_default && draft.token.is_none());
        let saved = draft.finish();
        assert_eq!((saved.scope.as_str(), saved.default_workspace.as_deref()), ("lab", Some("W")));
    }
}
