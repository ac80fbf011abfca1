//! A browser in words of a user.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{By, WebDriver, WebElement};

use crate::driver::{Driver, answer};
use crate::find;
use crate::house::House;
use crate::person::password_of;
use crate::support::SOON;

/// Width of a small phone, in CSS pixels: WCAG 2.2, 1.4.10, asks for 320.
const NARROW: u32 = 320;

/// A browser with a profile of its own. It looks at one house.
pub struct Browser {
    pub(crate) driver: WebDriver,
    url: String,
    /// Where the next links, buttons and fields are looked for; the whole page if there is none.
    part: RefCell<Option<WebElement>>,
    // In this order: the profile goes before the process whose directory it is in.
    _profile: TempDir,
    _process: Arc<Driver>,
}

impl Browser {
    /// A browser of somebody who has not logged in.
    pub fn of(house: &House) -> Self {
        Self::open(house.url(), true)
    }

    /// The same, with scripts switched off.
    pub fn without_javascript(house: &House) -> Self {
        Self::open(house.url(), false)
    }

    /// A browser that looks at nothing yet.
    pub fn open(url: String, javascript: bool) -> Self {
        let process = Driver::get();
        let profile = process.profile();
        let driver = process.open(profile.path(), javascript);
        Self { driver, url, part: RefCell::default(), _profile: profile, _process: process }
    }

    /// Logs in on the page for it, and comes to a page that knows the user.
    pub fn log_in(&self, username: &str) {
        self.go("/-/login/");
        self.fill("User name", username);
        self.fill("Password", &password_of(username));
        self.press("Log in");
        self.eventually("a session", || self.cookie("sessionid").is_some());
    }

    /// Goes to a page of the house, `/…`, or anywhere.
    pub fn go(&self, address: &str) {
        let address = if address.starts_with('/') { format!("{}{address}", self.url) } else { address.to_owned() };
        answer(self.driver.goto(address)).unwrap();
    }

    /// Loads the page anew.
    pub fn reload(&self) {
        answer(self.driver.refresh()).unwrap();
    }

    /// Follows a link.
    pub fn click_link(&self, name: &str) {
        self.click(find::link(name), &format!("a link {name:?}"));
    }

    /// Presses a button, or opens and closes details.
    pub fn press(&self, name: &str) {
        self.click(find::button(name), &format!("a button {name:?}"));
    }

    /// Writes into a field, or chooses in a list: what it is called, what it shall have.
    pub fn fill(&self, label: &str, text: &str) {
        let field = self.the_one(find::field(label), &format!("a field {label:?}"));
        answer(async {
            if field.tag_name().await.unwrap() != "select" {
                field.clear().await.unwrap();
                return field.send_keys(text).await.unwrap();
            }
            let mut found = Vec::new();
            for option in field.find_all(By::Tag("option")).await.unwrap() {
                let name = option.text().await.unwrap();
                if name == text {
                    return option.click().await.unwrap();
                }
                found.push(name);
            }
            panic!("{label:?} has no {text:?}, only {found:?}");
        });
    }

    /// Checks a box or chooses a radio button, if it is not yet.
    pub fn tick(&self, label: &str) {
        let what = self.the_one(find::field(label), &format!("a box {label:?}"));
        if !answer(what.is_selected()).unwrap() {
            answer(what.click()).unwrap();
        }
    }

    /// Takes the tick out of a box, if it has one.
    pub fn untick(&self, label: &str) {
        let what = self.the_one(find::field(label), &format!("a box {label:?}"));
        if answer(what.is_selected()).unwrap() {
            answer(what.click()).unwrap();
        }
    }

    /// What is in a field.
    pub fn field(&self, label: &str) -> String {
        let field = self.the_one(find::field(label), &format!("a field {label:?}"));
        answer(field.value()).unwrap().unwrap_or_default()
    }

    /// In this row, entry, card or region only, the one that has this text.
    pub fn within<T>(&self, text: &str, act: impl FnOnce(&Self) -> T) -> T {
        let part = self.the_one(find::part(text), &format!("a row or region with {text:?}"));
        let outer = self.part.replace(Some(part));
        let result = act(self);
        self.part.replace(outer);
        result
    }

    /// The text that a person sees on the page, or in the part.
    pub fn text(&self) -> String {
        let part = self.part.borrow().clone();
        let read = async || match part {
            Some(part) => part.text().await,
            None => self.driver.find(By::Tag("body")).await?.text().await,
        };
        // The page may change while it is read.
        answer(read()).unwrap_or_default()
    }

    /// The text of one thing, by its CSS selector.
    pub fn text_of(&self, selector: &str) -> String {
        answer(self.the_one(By::Css(selector), selector).text()).unwrap()
    }

    /// Whether the page has the text now.
    pub fn has(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// Whether the page has such a link now.
    pub fn has_link(&self, name: &str) -> bool {
        !self.shown(find::link(name)).is_empty()
    }

    /// Whether the page has such a button now.
    pub fn has_button(&self, name: &str) -> bool {
        !self.shown(find::button(name)).is_empty()
    }

    /// The page has the text, or gets it soon.
    pub fn sees(&self, text: &str) {
        self.eventually(&format!("{text:?}"), || self.has(text));
    }

    /// The page, which has come, does not have the text.
    pub fn does_not_see(&self, text: &str) {
        assert!(!self.has(text), "{text:?} is on {}", self.page());
    }

    /// It happens soon.
    pub fn eventually(&self, what: &str, happened: impl FnMut() -> bool) {
        self.within_time(what, SOON, happened);
    }

    /// It happens before that much time has gone.
    pub fn within_time(&self, what: &str, longest: Duration, mut happened: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !happened() {
            assert!(begin.elapsed() < longest, "waited for {what}, in vain, on {}", self.page());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The address, without the server.
    pub fn address(&self) -> String {
        let address = answer(self.driver.current_url()).unwrap().to_string();
        address.strip_prefix(&self.url).map(str::to_owned).unwrap_or(address)
    }

    /// The title of the window.
    pub fn title(&self) -> String {
        answer(self.driver.title()).unwrap()
    }

    /// A cookie of the house.
    pub fn cookie(&self, name: &str) -> Option<String> {
        answer(self.driver.get_named_cookie(name)).ok().map(|cookie| cookie.value)
    }

    /// The value of a script's `return`, run as the browser's own tools do: the page's policy does not hold for it.
    pub fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        answer(self.driver.execute(script, arguments)).unwrap().json().clone()
    }

    /// The same for a script that gives its answer to its last argument, a function.
    pub fn later(&self, script: &str, arguments: Vec<Value>) -> Value {
        answer(self.driver.execute_async(script, arguments)).unwrap().json().clone()
    }

    /// Prefers light pages.
    pub fn light(&self) {
        self.prefer("light");
    }

    /// Prefers dark pages.
    pub fn dark(&self) {
        self.prefer("dark");
    }

    fn prefer(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    /// As narrow as a phone.
    pub fn narrow(&self) {
        self.size(NARROW, 740);
    }

    /// As wide as the window.
    pub fn wide(&self) {
        self.devtools("Emulation.clearDeviceMetricsOverride", json!({}));
    }

    fn size(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    /// A picture of the whole page.
    pub fn screenshot(&self, path: &Path) {
        let height = self.script("return document.documentElement.scrollHeight", vec![]).as_u64().unwrap();
        let width = self.script("return window.innerWidth", vec![]).as_u64().unwrap();
        self.size(u32::try_from(width).unwrap(), u32::try_from(height.clamp(600, 8000)).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        answer(self.driver.screenshot(path)).unwrap();
        self.wide();
    }

    /// Nobody has to scroll sideways to read the page on a phone.
    pub fn fits_a_phone(&self) {
        self.narrow();
        let script = "const page = document.documentElement;
            if (page.scrollWidth <= page.clientWidth) return [];
            const scrolls = e => e && e !== page && (getComputedStyle(e).overflowX !== 'visible' || scrolls(e.parentElement));
            return [...document.body.querySelectorAll('*')]
                .filter(e => e.getBoundingClientRect().right > page.clientWidth + 0.5 && !scrolls(e.parentElement))
                .map(e => e.outerHTML.slice(0, 120));";
        let wide = self.script(script, vec![]);
        self.wide();
        assert_eq!(wide, json!([]), "too wide for {NARROW} pixels on {}", self.address());
    }

    /// The console has nothing: no refused resource, no error in a script.
    pub fn complains_of_nothing(&self) {
        let mut entries = answer(self.driver.browser_log()).unwrap();
        // Chromium asks for it by itself where a page names no icon.
        entries.retain(|entry| !entry.message.contains("/favicon.ico "));
        assert!(entries.is_empty(), "{entries:#?} on {}", self.page());
    }

    /// A link goes to one place, and a page that is changed in place is changed in the right one.
    pub fn names_nothing_twice(&self) {
        let script = "const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
            return ids.filter((id, at) => ids.indexOf(id) !== at);";
        assert_eq!(self.script(script, vec![]), json!([]), "ids that are there twice on {}", self.address());
    }

    /// All that every page must be: accessible in light and dark, narrow enough for a phone, without complaints.
    pub fn is_in_order(&self) {
        self.names_nothing_twice();
        self.light();
        self.is_accessible();
        self.dark();
        self.is_accessible();
        self.light();
        self.fits_a_phone();
        self.complains_of_nothing();
    }

    fn click(&self, by: By, what: &str) {
        answer(self.the_one(by, what).click()).unwrap_or_else(|error| panic!("{what}: {error}, on {}", self.page()));
    }

    /// The only thing of this kind that can be seen; waits for it.
    pub(crate) fn the_one(&self, by: By, what: &str) -> WebElement {
        let begin = Instant::now();
        loop {
            let mut found = self.shown(by.clone());
            if found.len() == 1 {
                return found.remove(0);
            }
            assert!(begin.elapsed() < SOON, "{what}: {} of them on {}", found.len(), self.page());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn shown(&self, by: By) -> Vec<WebElement> {
        let part = self.part.borrow().clone();
        answer(async {
            let found = match part {
                Some(part) => part.find_all(by).await,
                None => self.driver.find_all(by).await,
            };
            let mut shown = Vec::new();
            for element in found.unwrap_or_default() {
                if element.is_displayed().await.unwrap_or(false) {
                    shown.push(element);
                }
            }
            shown
        })
    }

    fn devtools(&self, command: &str, arguments: Value) {
        answer(self.driver.cdp().send_raw(command, arguments)).unwrap();
    }

    /// What is there, for the message of a failure.
    pub fn page(&self) -> String {
        let part = self.part.replace(None);
        let page = format!("{} ({}):\n{}", self.address(), self.title(), self.text());
        self.part.replace(part);
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let story = std::thread::current().name().unwrap_or("story").replace("::", "-");
            let picture = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("browser/{story}.png"));
            let _ = std::fs::create_dir_all(picture.parent().unwrap());
            // Nothing may fail here, or the message that matters is lost.
            if answer(self.driver.screenshot(&picture)).is_ok() {
                eprintln!("the page that failed: {}", picture.display());
            }
            for entry in answer(self.driver.browser_log()).unwrap_or_default() {
                eprintln!("its console: {}", entry.message);
            }
        }
        let _ = answer(self.driver.clone().quit());
    }
}
