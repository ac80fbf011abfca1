//! The table.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::Method;
use usine_client::Client;
use usine_server::all_routes;
use usine_server::routes::{Access, Route};

use crate::app::{App, Words as _};
use crate::world::{PLACES, Place, REQUESTERS};

crate::app::stories! {
    /// Every route, asked by everybody, in each place.
    async fn matrix(app: App) {
        let mut places = Vec::new();
        for (scope, workspace) in PLACES {
            places.push(Place::make(&app, scope, workspace).await);
        }
        let mut text = explanation();
        for route in all_routes().table() {
            writeln!(text, "\n{} {}   [{}]", route.method, route.path, route.access).unwrap();
            for place in &places {
                let mut row = format!("{:10}", place.workspace.name);
                for requester in 0..REQUESTERS.len() {
                    let answer = ask(&app, route, place, requester).await;
                    check(route, requester, &answer);
                    write!(row, " {answer:>12}").unwrap();
                }
                writeln!(text, "{}", row.trim_end()).unwrap();
            }
        }
        insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!("matrix", text);
        });
        app.end().await;
    }
}

fn explanation() -> String {
    let mut text = "What everybody hears, as the status of HTTP, in a public workspace (System), in a private one of the same public\n\
        scope (Private), and in one of a private scope (Secret). 400 is an answer to somebody who may: the request makes no sense\n\
        here on purpose. 404 hides what may not be seen. Channels: in, or out.\n\n"
        .to_owned();
    let mut heads = format!("{:10}", "");
    for requester in REQUESTERS {
        write!(heads, " {requester:>12}").unwrap();
    }
    writeln!(text, "{heads}").unwrap();
    text
}

async fn ask(app: &App, route: &Route, place: &Place, requester: usize) -> String {
    if route.access == Access::Channel {
        return listen(app, route.path, place, place.key(requester)).await;
    }
    let (address, body) = place.ask(app, &route.method, route.path, REQUESTERS[requester]).await;
    let mut request = app.request(route.method.clone(), &address).header("x-debusine-scope", &place.scope.name);
    if let Some(key) = place.key(requester) {
        request = request.key(key);
    }
    request = match body {
        // An upload has no body but the range that it asks for.
        Some(_) if route.path.ends_with("{*path}") => request.header("content-range", "bytes */0"),
        Some(body) => request.json(&body),
        None if route.method == Method::POST => request.fields(&[("outcome", "cancel")]),
        None => request,
    };
    request.send().await.unwrap().status().as_u16().to_string()
}

/// Whether a channel lets somebody in.
async fn listen(app: &App, path: &str, place: &Place, key: Option<&str>) -> String {
    let client: Client = app.client(key).acting_as(key, Some(&place.scope.name)).unwrap();
    let first = async {
        if path.contains("worker") && !path.contains("work-request") {
            client.worker_channel().await.unwrap().receive().await.map(|message| format!("{message:?}"))
        } else if path.contains("on-completed") {
            let names = [place.workspace.name.clone()];
            client.on_completed(&names, None).await.unwrap().receive().await.map(|message| format!("{message:?}"))
        } else {
            client.follow_log(place.running.id).await.unwrap().receive().await.map(|message| format!("{message:?}"))
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(20), first).await.expect("a message").unwrap();
    if said.contains("Connected") { "in" } else { "out" }.to_owned()
}

/// What must hold whatever the table says.
fn check(route: &Route, requester: usize, answer: &str) {
    let who = REQUESTERS[requester];
    let refused = answer == "403" || answer == "404" || answer == "out";
    match route.access {
        Access::User | Access::UserOrWorkRequest | Access::Worker => {
            let has_none = matches!(who, "nobody" | "disabled" | "expired" | "activation");
            assert!(!has_none || answer == "403", "{who} hears {answer} from {route:?}");
        }
        _ => {}
    }
    if route.access == Access::User {
        assert!(!matches!(who, "worker" | "work-request") || answer == "403", "{who} hears {answer} from {route:?}");
    }
    let is_open = matches!(route.access, Access::Everybody | Access::Key | Access::Worker | Access::Login);
    assert!(
        is_open || !matches!(who, "worker" | "activation") || refused || answer == "in",
        "{who}: {answer}: {route:?}"
    );
    assert_ne!(answer, "500", "{who}: {route:?}");
    assert_ne!(answer, "405", "{who}: {route:?}");
}
