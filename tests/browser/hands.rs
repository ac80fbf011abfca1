//! What people do with their hands, besides pressing and filling in: keys, files, answers to questions. And what shows that a page
//! has changed by itself.

use std::path::PathBuf;

use serde_json::json;
use thirtyfour::Key;

use crate::browser::Browser;
use crate::driver::answer;
use crate::find;

impl Browser {
    /// Chooses files of this machine in a field for them.
    pub fn choose_files(&self, label: &str, files: &[PathBuf]) {
        let field = self.the_one(find::field(label), &format!("a field {label:?}"));
        let names: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        answer(field.send_keys(names.join("\n"))).unwrap();
    }

    /// Opens or closes details, whose text begins so.
    pub fn press_summary(&self, beginning: &str) {
        answer(self.the_one(find::summary(beginning), &format!("details {beginning:?}")).click()).unwrap();
    }

    /// Says yes to what a script has asked, which has these words.
    pub fn agree(&self, words: &str) {
        let question = answer(self.driver.get_alert_text()).unwrap();
        assert!(question.contains(words), "{question}");
        answer(self.driver.accept_alert()).unwrap();
    }

    /// Says no to it.
    pub fn disagree(&self) {
        answer(self.driver.dismiss_alert()).unwrap();
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub fn type_keys(&self, keys: &str) {
        answer(self.driver.action_chain().send_keys(keys).perform()).unwrap();
    }

    /// Presses Enter.
    pub fn enter(&self) {
        self.type_keys(&Key::Enter.value().to_string());
    }

    /// Presses Escape.
    pub fn escape(&self) {
        self.type_keys(&Key::Escape.value().to_string());
    }

    /// The text of what has the focus, or its id if it has none.
    pub fn focus(&self) -> String {
        let script =
            "const at = document.activeElement; return at === document.body ? '' : at.textContent.trim() || at.id;";
        self.script(script, vec![]).as_str().unwrap_or_default().to_owned()
    }

    /// The heading of the page, with its state. It may change at any moment.
    pub fn heading(&self) -> String {
        let heading = self.script("return document.querySelector('h1')?.innerText", vec![]);
        heading.as_str().unwrap_or_default().to_owned()
    }

    /// How many things the page has, by their CSS selector.
    pub fn count(&self, selector: &str) -> u64 {
        self.script("return document.querySelectorAll(arguments[0]).length", vec![json!(selector)]).as_u64().unwrap()
    }

    /// Remembers that the page is this one.
    pub fn remember_page(&self) {
        self.script("window.remembered = true", vec![]);
    }

    /// The page is still the one that was remembered: what is new on it has come by itself.
    pub fn is_remembered_page(&self) {
        assert_eq!(self.script("return window.remembered", vec![]), true, "it was loaded anew: {}", self.page());
    }

    /// The status of an answer to a script of the page. What would go on for ever is ended.
    pub fn status_of(&self, address: &str) -> u64 {
        let script = "const done = arguments[1], ends = new AbortController();
            fetch(arguments[0], {signal: ends.signal}).then(answer => { done(answer.status); ends.abort(); }, () => done(0));";
        self.later(script, vec![json!(address)]).as_u64().unwrap()
    }

    /// Forgets what the console has: the page told of a refusal, and was meant to.
    pub fn forget_complaints(&self) {
        let _ = answer(self.driver.browser_log());
    }
}
