//! People who submit without pause, and note what was accepted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use usine_client::{Client, Error, Options};
use usine_protocol::work_request::CreateWorkRequest;

/// People at once.
const PEOPLE: usize = 3;

/// Between two submissions of one person.
const PAUSE: Duration = Duration::from_millis(60);

/// What the people have noted.
#[derive(Default)]
pub struct Noted {
    /// Ids that they were given.
    pub accepted: Vec<i64>,
    /// Refusals and silences, by what was said.
    pub failed: BTreeMap<String, u32>,
}

/// A load that goes on until it is told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    noted: Arc<Mutex<Noted>>,
    people: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn begin(url: &str, token: &str) -> Self {
        let (stop, noted) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Noted>>::default());
        let person = |number: usize| {
            let (stop, noted) = (stop.clone(), noted.clone());
            let options = Options { token: Some(token.to_owned()), ..Options::new(format!("{url}/api")) };
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(submit(Client::new(options).unwrap(), number, &stop, &noted));
            })
        };
        let people = (0..PEOPLE).map(person).collect();
        Self { stop, noted, people }
    }

    /// How many have been accepted so far.
    pub fn accepted(&self) -> usize {
        self.noted.lock().unwrap().accepted.len()
    }

    /// All go home.
    pub fn end(self) -> Noted {
        self.stop.store(true, Ordering::Relaxed);
        for person in self.people {
            person.join().unwrap();
        }
        std::mem::take(&mut *self.noted.lock().unwrap())
    }
}

async fn submit(client: Client, number: usize, stop: &AtomicBool, noted: &Mutex<Noted>) {
    let results = ["success", "success", "failure"];
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let task_data = json!({"result": results[(turn + number) % results.len()]});
        let new = CreateWorkRequest { task_name: "noop".to_owned(), task_data, ..Default::default() };
        match client.create_work_request(&new).await {
            Ok(made) => noted.lock().unwrap().accepted.push(made.id),
            Err(error) => *noted.lock().unwrap().failed.entry(kind(&error)).or_default() += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// An error without what is different each time. People may be told that the server is away, busy, or did not answer, not
/// that they are wrong.
fn kind(error: &Error) -> String {
    match error {
        Error::Connect { .. } => "no connection".to_owned(),
        Error::Timeout { .. } => "no answer in time".to_owned(),
        Error::Problem { status, problem, .. } if *status >= 500 => format!("{status} {problem}"),
        other => panic!("a submission is refused: {other}"),
    }
}
