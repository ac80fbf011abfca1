//! Who may open what, with a session: every page of these rooms, asked by everybody, in each place. The table is a snapshot for people
//! to read. And no form is taken without the browser's secret.

use std::fmt::Write as _;

use reqwest::Method;
use usine_db::GroupManager;
use usine_server::all_routes;
use usine_server::routes::{Access, Route};

use crate::app::{App, stories};
use crate::browser::Browser;
use crate::html;
use crate::world::{PEOPLE, PLACES, Place};

/// The routes of these rooms.
fn routes() -> Vec<Route> {
    let ours = ["/-/user/", "/-/my/", "/members/", "/groups/", "/roles/", "/configure/", "/inheritance/"];
    let is_ours = |route: &&Route| route.access == Access::Login && ours.iter().any(|part| route.path.contains(part));
    let routes: Vec<Route> = all_routes().table().iter().filter(is_ours).cloned().collect();
    assert!(routes.len() > 50, "{routes:?}");
    routes
}

/// The address of a route in a place, about the viewer and the group `qa`; what is deleted is the group `spare`.
async fn address(app: &App, route: &Route, place: &Place) -> String {
    let of_workspace = route.path.contains("{workspace}");
    let groups = GroupManager(&app.state.database);
    let about = if route.path.ends_with("delete/") && route.path.contains("groups") { "spare" } else { "qa" };
    let workspace = of_workspace.then_some(&place.workspace);
    let group = groups.get_group_or_none(&place.scope, workspace, &place.group_name(about)).await.unwrap().unwrap();
    let id = if route.path.contains("roles") { group.id } else { 999_999 };
    route
        .path
        .replace("{scope}", &place.scope.name)
        .replace("{workspace}", &place.workspace.name)
        .replace("{group}", &group.name)
        .replace("{user}", &place.name("viewer"))
        .replace("{name}", &place.name("viewer"))
        .replace("{id}", &id.to_string())
        .replace("{*rest}", "token/")
}

stories! {
    async fn everybody_opens_what_they_may(app: App) {
        let mut text = "What everybody hears with a session, as the status of HTTP. 303 to nobody is the way to log in. Forms are sent\n\
            with nothing in them: 400 is an answer to somebody who may.\n\n"
            .to_owned();
        write!(text, "{:10}", "").unwrap();
        for who in PEOPLE {
            write!(text, " {who:>12}").unwrap();
        }
        text.push('\n');
        let mut places = Vec::new();
        for number in 0..PLACES.len() {
            places.push(Place::make(&app, number).await);
        }
        let mut browsers = Vec::new();
        for place in &places {
            let mut of_place = vec![Browser::new(&app)];
            for who in &PEOPLE[1..] {
                of_place.push(Browser::of(&app, &place.name(who)).await);
            }
            browsers.push(of_place);
        }
        for route in routes() {
            writeln!(text, "\n{} {}", route.method, route.path).unwrap();
            for (place, browsers) in places.iter().zip(&mut browsers) {
                let mut row = format!("{:10}", place.workspace.name);
                for (who, browser) in PEOPLE.iter().zip(browsers) {
                    let path = address(&app, &route, place).await;
                    let answer = if route.method == Method::POST {
                        browser.post(&path, &[]).await
                    } else {
                        browser.get(&path).await
                    };
                    write!(row, " {:>12}", answer.status).unwrap();
                    if *who == "nobody" {
                        assert!(matches!(answer.status, 303 | 404), "{route:?}");
                        assert!(answer.status == 404 || answer.location.starts_with("/-/login/?next="), "{route:?}");
                    }
                    assert!(![405, 500].contains(&answer.status), "{who} {path}: {}", answer.body);
                    // What one may not see has no name.
                    if answer.body.contains("<main") && matches!(*who, "stranger" | "member" | "group-admin") {
                        let own = html::main(&answer.body);
                        let hidden = ["Private", "Secret"].iter().any(|name| own.contains(name));
                        assert!(!hidden, "{who} {path}: {own}");
                    }
                    if answer.status == 303 && route.method == Method::POST {
                        place.refresh(&app).await;
                    }
                }
                writeln!(text, "{}", row.trim_end()).unwrap();
            }
        }
        insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!("access", text);
        });
        app.end().await;
    }

    async fn no_form_is_taken_without_the_secret(app: App) {
        let place = Place::make(&app, 0).await;
        let log = usine_db::tenancy::AuditLog(&app.state.database);
        let before = log.newest(1).await.unwrap();
        let mut owner = Browser::of(&app, &place.name("scope-owner")).await;
        let mut viewer = Browser::of(&app, &place.name("viewer")).await;
        let posts: Vec<Route> = routes().into_iter().filter(|route| route.method == Method::POST).collect();
        assert!(posts.len() >= 18, "{posts:?}");
        for route in posts {
            let path = address(&app, &route, &place).await;
            let browser = if path.starts_with("/-/user/") { &mut viewer } else { &mut owner };
            for secret in [None, Some(""), Some("0000"), Some("00".repeat(64).as_str())] {
                let mut fields = vec![("username", "stranger0"), ("name", "new"), ("role", "admin"), ("enabled", "on")];
                fields.extend(secret.map(|secret| ("csrfmiddlewaretoken", secret)));
                let answer = browser.forge(&path, &fields).await;
                assert_eq!(answer.status, 403, "{path}");
                assert!(answer.body.contains("CSRF"), "{path}: {}", answer.body);
            }
        }
        assert_eq!(log.newest(1).await.unwrap(), before, "nothing has changed");
        app.end().await;
    }
}
