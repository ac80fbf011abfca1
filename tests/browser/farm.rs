//! A farm whose work is real: an environment by mmdebstrap, Debian's hello by sbuild, what lintian says about it, a build that sleeps
//! until it is aborted, one that fails. All is submitted, watched and stopped in the browser. Other stories look at what is there
//! then, because it takes minutes to make: [`crate::reading`] without JavaScript, [`crate::pages`] with axe and for pictures.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::browser::Browser;
use crate::house::{House, architecture, mirror, until};
use crate::support::SOON;
use crate::{fetch, pages, person, reading, source};

/// Longest that a real task may take here.
const BUILD: Duration = Duration::from_secs(900);

/// The workspace.
pub const PLACE: &str = "/debusine/System/";

/// The worker's name.
pub const WORKER: &str = "worker-example-org";

/// What the endless build runs: no other process has these words.
const SLEEP: &str = "sleep 31415926";

/// The farm, and a browser of its user.
pub struct Farm {
    pub house: House,
    pub alice: Browser,
}

#[test]
fn a_farm_at_work() {
    let house = House::at_work();
    person::with_password(&house, "alice");
    let alice = Browser::of(&house);
    alice.log_in("alice");
    let farm = Farm { house, alice };

    let environment = farm.submits_an_environment();
    let hello = farm.uploads_hello();
    pages::of_a_quiet_farm(&farm);
    farm.alice.go(&work_request(environment));
    farm.ends(environment, "success");

    let build = farm.builds(&hello);
    farm.watches_the_log(build);
    farm.finds_lines_of_the_log();
    let lintian = farm.runs_lintian(build);
    let (endless, heir) = farm.aborts_and_retries();
    let failed = farm.sees_why_a_build_failed();
    let numbers = pages::Numbers { build, lintian, endless, heir, failed };
    pages::of_a_busy_farm(&farm, &numbers);
    reading::without_javascript(&farm, &numbers);
    farm.alice.complains_of_nothing();
    farm.house.admin(&["check"]);
}

/// The address of a work request.
pub fn work_request(id: i64) -> String {
    format!("{PLACE}work-request/{id}/")
}

/// The address of an artifact.
pub fn artifact(id: i64) -> String {
    format!("{PLACE}artifact/{id}/")
}

impl Farm {
    /// The form for a small Debian system, first with a mistake.
    fn submits_an_environment(&self) -> i64 {
        let alice = &self.alice;
        alice.go(PLACE);
        alice.click_link("New work request");
        alice.click_link("mmdebstrap");
        alice.fill("Bootstrap options: architecture", &architecture());
        alice.press_summary("More: ");
        alice.fill("Bootstrap options: variant (optional)", "buildd");
        alice.fill("Bootstrap repositories", "- suite: bookworm");
        alice.press("Submit");
        alice.sees("Field required");
        assert_eq!(alice.field("Bootstrap repositories").trim(), "- suite: bookworm", "it need not be typed again");
        assert_eq!(alice.count("#field-bootstrap-repositories[aria-invalid]"), 1, "the fault is told where it is");
        assert_eq!(alice.field("Bootstrap options: architecture"), architecture());
        alice.is_accessible();
        alice.fits_a_phone();
        alice.forget_complaints();

        let repository = format!("- mirror: {}\n  suite: bookworm\n  components: [main]", mirror());
        alice.fill("Bootstrap repositories", &repository);
        let id = alice.submits();
        alice.sees(&format!("Work request #{id} is submitted."));
        id
    }

    /// Debian's hello, through the form for files; then the page of the source package.
    fn uploads_hello(&self) -> String {
        let alice = &self.alice;
        let place = self.house.path().join("hello");
        std::fs::create_dir(&place).unwrap();
        let dsc = fetch::source_package(&place, &mirror(), "hello");
        alice.go(PLACE);
        alice.click_link("Upload a package");
        assert_eq!(alice.address(), format!("{PLACE}artifact/new/"));
        alice.is_in_order();
        alice.choose_files("Files", std::slice::from_ref(&dsc));
        alice.press("Upload");
        alice.sees("hello_2.10.orig.tar.gz");
        alice.is_accessible();
        alice.forget_complaints();

        alice.choose_files("Files", &files_of(&dsc));
        alice.press("Upload");
        alice.sees("The package has arrived.");
        assert!(alice.heading().contains("hello"), "{}", alice.heading());
        alice.sees("debian:source-package");
        alice.address()
    }

    /// From the page of a source package to its build.
    fn builds(&self, source: &str) -> i64 {
        let alice = &self.alice;
        alice.go(source);
        alice.click_link("sbuild");
        let number = source.trim_end_matches('/').rsplit('/').next().unwrap();
        assert_eq!(alice.field("Source artifact"), number);
        assert_eq!(alice.field("Build architecture"), architecture(), "that of the environment");
        assert_ne!(alice.field("Environment"), "", "the newest");
        alice.is_in_order();
        alice.submits()
    }

    /// The page of a build that runs, until it has ended: it is not loaded anew.
    fn watches_the_log(&self, id: i64) {
        let alice = &self.alice;
        self.begins();
        alice.within_time("the first lines", BUILD, || last_line(alice) > 5);
        assert_eq!(alice.text_of("[data-log-status]"), "Running");
        let before = last_line(alice);
        alice.within_time("more lines", BUILD, || last_line(alice) > before);
        assert!(is_at_the_end(alice), "it follows");

        // Who scrolls up stays there, and is told what has come.
        alice.script("document.querySelector('.log-view').scrollTop = 0", vec![]);
        alice.eventually("the first line", || first_line(alice) == 1);
        alice.within_time("news", BUILD, || {
            alice
                .script("return document.querySelector('.log-follow').textContent", vec![])
                .as_str()
                .unwrap()
                .contains("new")
                || !alice.heading().contains("running")
        });
        assert_eq!(first_line(alice), 1);
        alice.script("document.querySelector('.log-follow').click()", vec![]);
        alice.eventually("the end of the log", || is_at_the_end(alice));

        alice.within_time("the log to end", BUILD, || alice.text_of("[data-log-status]") == "Finished");
        alice.eventually("the end on the page", || alice.heading().contains("success"));
        alice.sees("debian:upload");
        alice.sees("debian:package-build-log");
        alice.is_remembered_page();
        self.house.wait(id, "success");
        alice.is_in_order();
    }

    /// Waits on the page of a work request until it runs and its log is there; from then on the page changes by itself.
    fn begins(&self) {
        let alice = &self.alice;
        alice.within_time("a log", BUILD, || alice.heading().contains("running") && alice.count(".log-view") == 1);
        alice.remember_page();
    }

    /// In the log that has ended: search, a line as an address, the whole as a file.
    fn finds_lines_of_the_log(&self) {
        let alice = &self.alice;
        let search = "Search the log, or :number for a line";
        alice.fill(search, "dpkg-deb");
        alice.enter();
        alice.eventually("matches", || alice.text_of("[data-log-count]").starts_with("1 of "));
        assert!(alice.count(".log-rows mark") > 0);
        alice.fill(search, ":12");
        alice.enter();
        alice.eventually("an address of the line", || alice.address().ends_with("#log-12"));
        assert!(alice.text_of(".log-rows .selected").starts_with("12"));
        let line = alice.text_of(".log-rows .selected");
        alice.reload();
        alice.eventually("the same line", || alice.count(".log-rows .selected") == 1);
        alice.eventually("its text", || alice.text_of(".log-rows .selected") == line);
        let download = format!("{}log/download/", alice.address().split('#').next().unwrap());
        assert_eq!(alice.status_of(&download), 200);
    }

    /// From the build to lintian's view of it.
    fn runs_lintian(&self, build: i64) -> i64 {
        let alice = &self.alice;
        let upload = self.house.artifacts(build, "debian:upload")[0]["id"].as_i64().unwrap();
        alice.go(&work_request(build));
        alice.within("debian:upload", |row| row.click_link(&upload.to_string()));
        assert_eq!(alice.address(), artifact(upload));
        alice.click_link("lintian");
        let id = alice.submits();
        self.begins();
        alice.within_time("lintian", BUILD, || alice.has("All that lintian said"));
        alice.eventually("the end", || !alice.heading().contains("running"));
        alice.is_remembered_page();
        alice.is_in_order();
        self.house.wait(id, "success");

        let report = self.house.artifacts(id, "debian:lintian")[0]["id"].as_i64().unwrap();
        alice.within("debian:lintian", |row| row.click_link(&report.to_string()));
        for severity in ["error", "warning", "info", "pedantic"] {
            assert!(alice.has(severity), "{severity} is counted: {}", alice.page());
        }
        // The first tag that there is, and what it means.
        let opened = "const why = document.querySelector('.why');
            for (let at = why; at; at = at.parentElement.closest('details')) at.open = true;
            return why?.querySelector('pre').innerText";
        let explanation = alice.script(opened, vec![]).as_str().unwrap_or_default().to_owned();
        assert!(explanation.len() > 40, "{explanation:?} on {}", alice.page());
        alice.sees(explanation.lines().next().unwrap());
        alice.is_in_order();
        id
    }

    /// A build that never ends is stopped where one looks at it, and tried again.
    fn aborts_and_retries(&self) -> (i64, i64) {
        let alice = &self.alice;
        let dsc = source::tiny(self.house.path(), SLEEP);
        let id = self.imports_and_builds(&dsc);
        self.sleeps(id);
        alice.press("Abort");
        alice.disagree();
        assert!(alice.heading().contains("running"));
        self.stops(id);

        alice.go(&work_request(id));
        alice.press("Retry");
        alice.agree(&format!("Retry #{id}?"));
        alice.eventually("another number", || alice.address() != work_request(id));
        let heir = number_in(&alice.address());
        assert!(heir > id);
        alice.sees(&format!("#{heir} takes the place of #{id}."));
        alice.within("Replaces", |facts| assert!(facts.has_link(&format!("#{id}"))));
        self.sleeps(heir);
        pages::of_a_running_build(self, heir);
        reading::of_a_running_build(self, heir);
        alice.go(&work_request(heir));
        self.stops(heir);

        alice.go(&work_request(id));
        alice.sees("Another one has taken its place");
        assert!(!alice.has_button("Retry"), "once is enough");
        (id, heir)
    }

    /// Waits on the page of a build until it sleeps.
    fn sleeps(&self, id: i64) {
        assert_eq!(self.alice.address(), work_request(id));
        self.alice.within_time("the build to sleep", BUILD, || self.alice.has("the build sleeps"));
        until("the process", SOON, || !processes(SLEEP).is_empty());
    }

    /// Aborts on the page of a build; its worker has nothing to do then, and none of its processes is left.
    fn stops(&self, id: i64) {
        let (alice, other) = (&self.alice, Browser::of(&self.house));
        other.go(&format!("/-/status/workers/{WORKER}/"));
        assert!(other.heading().contains("running"), "{}", other.page());
        alice.press("Abort");
        alice.agree(&format!("Abort #{id}?"));
        alice.sees("Aborted. If a worker ran it, it stops now.");
        assert!(alice.heading().contains("aborted"), "{}", alice.heading());
        alice.sees("Aborted by alice");
        other.eventually("an idle worker", || other.heading().contains("idle"));
        until("the end of all processes", SOON, || processes(SLEEP).is_empty());
        let state = self.house.path().join("state/");
        until("the end of the task", SOON, || processes(state.to_str().unwrap()).is_empty());
        alice.go("/-/status/workers/");
        alice.within(WORKER, |row| assert!(row.has("idle"), "{}", row.text()));
    }

    /// The page of a build that failed tells why, above all else.
    fn sees_why_a_build_failed(&self) -> i64 {
        let alice = &self.alice;
        let dsc = source::tiny(self.house.path(), "echo 'tiny.c:1: error: no such thing' >&2; false");
        let id = self.imports_and_builds(&dsc);
        alice.within_time("the failure", BUILD, || alice.heading().contains("failure"));
        alice.sees("Failed here");
        alice.within("Failed here", |part| assert!(part.has("error: no such thing"), "{}", part.text()));
        id
    }

    /// A package that a program has brought, and its build by the browser.
    fn imports_and_builds(&self, dsc: &Path) -> i64 {
        let brought = self.house.json(&["artifact", "import", dsc.to_str().unwrap()]);
        self.builds(&artifact(brought["artifact_id"].as_i64().unwrap()))
    }

    /// Waits for the end of a work request on its page.
    fn ends(&self, id: i64, result: &str) {
        let alice = &self.alice;
        alice.within_time(result, BUILD, || {
            let heading = alice.heading();
            heading.contains(result) || heading.contains("failure") || heading.contains("error")
        });
        self.house.wait(id, result);
    }
}

impl Browser {
    /// Sends the form of a work request: its number.
    pub fn submits(&self) -> i64 {
        self.press("Submit");
        self.eventually("a page of its own", || number_in_or_none(&self.address()).is_some());
        number_in(&self.address())
    }
}

/// The first line of the log that the page has.
fn first_line(browser: &Browser) -> u64 {
    line_at(browser, 0)
}

/// The last one.
fn last_line(browser: &Browser) -> u64 {
    line_at(browser, -1)
}

fn line_at(browser: &Browser, index: i64) -> u64 {
    let script = "return +([...document.querySelectorAll('.log-rows .log-number')].at(arguments[0])?.textContent ?? 0)";
    browser.script(script, vec![index.into()]).as_u64().unwrap()
}

/// Whether the log is scrolled to its end.
fn is_at_the_end(browser: &Browser) -> bool {
    let script = "const view = document.querySelector('.log-view');
        return view.scrollTop + view.clientHeight > view.scrollHeight - 25";
    browser.script(script, vec![]) == true
}

/// The number in the address of a work request.
pub fn number_in(address: &str) -> i64 {
    number_in_or_none(address).unwrap_or_else(|| panic!("{address} is no work request's"))
}

fn number_in_or_none(address: &str) -> Option<i64> {
    address.split_once("/work-request/")?.1.split('/').next()?.parse().ok()
}

/// A source package with all its files.
fn files_of(dsc: &Path) -> Vec<PathBuf> {
    let directory = dsc.parent().unwrap();
    let text = std::fs::read_to_string(dsc).unwrap();
    let lines = text.lines().skip_while(|line| *line != "Files:").skip(1).take_while(|line| line.starts_with(' '));
    let names = lines.filter_map(|line| line.split_whitespace().nth(2));
    [dsc.to_owned()].into_iter().chain(names.map(|name| directory.join(name))).collect()
}

/// The command lines of all processes that have these words.
fn processes(words: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(words)).collect()
}
