//! A user's browser: curl(1) with a jar for cookies, which sends the hidden secrets of forms back.

use std::path::PathBuf;
use std::process::Command;

use regex::Regex;

use crate::house::House;

/// A browser whose user has logged in.
pub struct Browser {
    jar: PathBuf,
}

impl Browser {
    /// Logs in on the server's page.
    pub fn of(house: &House, username: &str, password: &str) -> Self {
        let browser = Self { jar: house.path().join(format!("{username}.jar")) };
        let login = format!("{}/-/login/", house.url());
        browser.submit(&login, &[("username", username), ("password", password)]);
        browser
    }

    /// The text of a page.
    pub fn page(&self, address: &str) -> String {
        self.curl(&[address])
    }

    /// Fills in the form of a page.
    pub fn submit(&self, address: &str, fields: &[(&str, &str)]) -> String {
        let page = self.page(address);
        let secret = Regex::new("name=\"csrfmiddlewaretoken\" value=\"([^\"]+)\"").unwrap();
        let secret = &secret.captures(&page).unwrap_or_else(|| panic!("{address} has no form:\n{page}"))[1];
        let mut words = vec!["--data-urlencode".to_owned(), format!("csrfmiddlewaretoken={secret}")];
        for (name, value) in fields {
            words.extend(["--data-urlencode".to_owned(), format!("{name}={value}")]);
        }
        words.push(address.to_owned());
        self.curl(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn curl(&self, words: &[&str]) -> String {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--cookie"]);
        command.arg(&self.jar).arg("--cookie-jar").arg(&self.jar).args(words);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {}{text}", String::from_utf8_lossy(&output.stderr));
        text
    }
}
