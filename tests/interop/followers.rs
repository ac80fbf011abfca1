//! A command for each end of a work request: as it happens, and later for what was missed.

use std::fs;

use serde_json::Value;

use crate::client::{Client, clients};
use crate::house::until;
use crate::support::SOON;

clients! {
    fn a_command_hears_of_every_end_once(client: &mut Client) {
        client.house.start_worker();
        let (heard, last) = (client.house.path().join("heard"), client.house.path().join("last"));
        // The third call ends the client that made it.
        let tell = format!(
            "#!/bin/sh\necho \"$@\" >> {0}\nif [ $(wc -l < {0}) -eq 3 ]; then kill $PPID; fi\n",
            heard.display()
        );
        client.house.write("tell", &tell, 0o755);
        let script = client.house.path().join("tell");
        let told = |text: &str| {
            let said = || fs::read_to_string(&heard).unwrap_or_default();
            until(&format!("{text:?}"), SOON, || said().len() >= text.len());
            assert_eq!(said(), text);
        };

        let follower = client.follow(&last, &script);
        let file = || fs::read_to_string(&last).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        until("the file", SOON, || file().is_some());
        let first = client.submit("noop", "result: true\n");
        told(&format!("{first} success\n"));
        until("the time in the file", SOON, || file().is_some_and(|file| file["last_completed_at"].is_string()));
        drop(follower);

        // What ends meanwhile is told when the client is there again, and nothing twice.
        let second = client.submit("noop", "result: false\n");
        until("its end", SOON, || client.house.status(second) == "completed");
        let mut follower = client.follow(&last, &script);
        told(&format!("{first} success\n{second} failure\n"));
        let third = client.submit("noop", "{}");
        told(&format!("{first} success\n{second} failure\n{third} success\n"));
        assert_eq!(follower.end(), Some(0), "killed by its command, it ends well");
    }
}
