//! Relating artifacts.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::stories;
use crate::server::{TestServer, Words, of};

fn relation(artifact: i64, target: i64) -> Value {
    json!({"artifact": artifact, "target": target, "type": "relates-to"})
}

const PATH: &str = "/api/1.0/artifact-relation/";

stories! {
    async fn artifacts_are_related_once(server: TestServer) {
        let report = server.complete_artifact(&[("log", b"log")]).await;
        let target = server.complete_artifact(&[("deb", b"deb")]).await;
        let relate = || server.post(PATH, relation(report, target)).key(&server.alice);
        let made = relate().answers(201).await;
        assert_eq!(made, json!({"id": made["id"], "artifact": report, "target": target, "type": "relates-to"}));
        assert_eq!(relate().answers(200).await, made);

        for query in [format!("artifact={report}"), format!("target_artifact={target}")] {
            let listed = server.get(&format!("{PATH}?{query}")).answers(200).await;
            assert_eq!(listed, json!([made]), "{query}");
        }
        let both = server.get(&format!("{PATH}?artifact={target}&target_artifact={target}")).answers(200).await;
        assert_eq!(both, json!([]), "artifact wins");

        let remove = |key: &str| server.request(Method::DELETE, &format!("{PATH}{}/", made["id"])).key(key);
        assert!(remove("nobody").refused(403).await.starts_with("Error | Authentication credentials"));
        assert!(remove(&server.alice).refused(403).await.starts_with("alice cannot delete relations"));
        server.promote("alice").await;
        let removed = remove(&server.alice).sent(204).await;
        assert_eq!(removed.bytes().await.unwrap().len(), 0);
        remove(&server.alice).refused(404).await;
        server.stop().await;
    }

    async fn relations_that_cannot_be_are_refused(server: TestServer) {
        let complete = server.complete_artifact(&[("a", b"a")]).await;
        let incomplete = server.artifact(&[("b", b"b")]).await["id"].as_i64().unwrap();
        let create = |body: Value| server.post(PATH, body).key(&server.alice);

        let title = create(relation(incomplete, complete)).refused(400).await;
        assert_eq!(title, format!("Cannot create relation: source artifact {incomplete} is incomplete"));
        let title = create(relation(complete, incomplete)).refused(400).await;
        assert_eq!(title, format!("Cannot create relation: target artifact {incomplete} is incomplete"));
        let title = create(relation(complete, 999)).refused(400).await;
        assert_eq!(
            title,
            "Cannot deserialize artifact relation | {\"target\":[\"Invalid pk \\\"999\\\" - object does not exist.\"]}"
        );
        let title = create(json!({"artifact": complete, "target": complete, "type": "likes"})).refused(400).await;
        assert!(title.starts_with("Cannot deserialize artifact relation | {\"type\""), "{title}");
        let title = server.post(PATH, relation(complete, complete)).refused(403).await;
        assert_eq!(title, "Error | Authentication credentials were not provided.");

        let title = server.get(PATH).refused(400).await;
        assert_eq!(title, "\"artifact\" or \"target_artifact\" parameter are mandatory");
        assert_eq!(server.get(&format!("{PATH}?artifact=999")).refused(404).await, "Artifact 999 not found");
        assert_eq!(server.get(&format!("{PATH}?target_artifact=x")).refused(404).await, "Artifact x not found");
        server.stop().await;
    }

    async fn a_work_request_relates_what_it_made_to_its_inputs(server: TestServer) {
        let input = server.complete_artifact(&[("input", b"input")]).await;
        let foreign = server.complete_artifact(&[("foreign", b"foreign")]).await;
        server.post(PATH, relation(input, foreign)).key(&server.alice).answers(201).await;
        let (id, key) = server.running(&[input]).await;
        let mut body = of(&[("log", b"log")]);
        body["work_request"] = json!(id);
        let own = server.post("/api/1.0/artifact/", body).key(&key).answers(201).await["id"].as_i64().unwrap();
        server.upload(own, &[("log", b"log")], &key).await;

        let made = server.post(PATH, relation(own, input)).key(&key).answers(201).await;
        let title = server.post(PATH, relation(input, own)).key(&key).refused(403).await;
        assert!(title.contains("cannot add relations to"), "it did not make the input: {title}");
        let title = server.post(PATH, relation(own, foreign)).key(&key).refused(400).await;
        assert!(title.contains("does not exist"), "it does not see the foreign one: {title}");

        assert_eq!(server.get(&format!("{PATH}?target_artifact={input}")).key(&key).answers(200).await, json!([made]));
        let hidden = server.get(&format!("{PATH}?artifact={input}")).key(&key).answers(200).await;
        assert_eq!(hidden, json!([]), "the other end is not its business");
        server.request(Method::DELETE, &format!("{PATH}{}/", made["id"])).key(&key).refused(403).await;
        server.stop().await;
    }
}
