//! chromedriver(1): one process for all browsers of a run of the tests, which ends with the last of them. Each browser is a
//! session with a profile of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use thirtyfour::{CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};
use tokio::runtime::Runtime;

/// What Chromium is started with, besides its profile. It is root's, who has no sandbox, and asks nobody but our server.
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    // What is to be clicked must not glide.
    "--force-prefers-reduced-motion",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Longest that one command of WebDriver may take.
const COMMAND: Duration = Duration::from_secs(60);

/// Stories are told in order, line by line; WebDriver's client is asynchronous.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// The process, as long as somebody has it.
static DRIVER: Mutex<Weak<Driver>> = Mutex::new(Weak::new());

/// Waits for an answer.
pub fn answer<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// A process of chromedriver(1).
pub struct Driver {
    child: Child,
    url: String,
    /// Home of the driver and of its browsers, and what they say.
    place: TempDir,
}

impl Driver {
    /// The one that runs, or a new one.
    pub fn get() -> Arc<Self> {
        let mut known = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let driver = Arc::new(Self::start());
            *known = Arc::downgrade(&driver);
            driver
        })
    }

    fn start() -> Self {
        let place = tempfile::Builder::new().prefix("usine-browser-").tempdir_in("/var/tmp").unwrap();
        let log = File::create(place.path().join("driver.log")).unwrap();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", place.path()).env("TMPDIR", place.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child
            .unwrap_or_else(|error| panic!("chromedriver cannot be started ({error}): run packaging/setup-host tests"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            said.push_str(&line);
            said.push('\n');
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let url = format!("http://127.0.0.1:{}", port.trim().trim_end_matches('.'));
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Self { child, url, place };
            }
        }
        let status = child.wait().unwrap();
        let log = std::fs::read_to_string(place.path().join("driver.log")).unwrap_or_default();
        panic!("chromedriver ended, {status}:\n{said}{log}");
    }

    /// A browser with a fresh profile in `profile`.
    pub fn open(&self, profile: &Path, javascript: bool) -> WebDriver {
        let mut wishes = DesiredCapabilities::chrome();
        for flag in FLAGS {
            wishes.add_arg(flag).unwrap();
        }
        wishes.add_arg(&format!("--user-data-dir={}", profile.display())).unwrap();
        wishes.add_arg("--window-size=1280,900").unwrap();
        if !javascript {
            let never = json!({"profile.managed_default_content_settings.javascript": 2});
            wishes.add_experimental_option("prefs", never).unwrap();
        }
        wishes.set("goog:loggingPrefs", json!({"browser": "ALL"})).unwrap();
        // No TLS here, but its library wants to know which cryptography it would have.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(COMMAND).build().unwrap();
        let opened = answer(WebDriver::builder(self.url.as_str(), wishes).client(client).connect());
        opened.unwrap_or_else(|error| {
            let log = std::fs::read_to_string(self.place.path().join("driver.log")).unwrap_or_default();
            panic!("Chromium cannot be started: {error}\n{log}")
        })
    }

    /// A directory for a profile, which lasts as long as it is held.
    pub fn profile(&self) -> TempDir {
        tempfile::Builder::new().prefix("profile-").tempdir_in(self.place.path()).unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
