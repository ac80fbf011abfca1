use super::*;

fn overload(text: &str) -> Overload {
    Overload::new(&toml::from_str(text).unwrap())
}

#[tokio::test]
async fn waiting_is_bounded() {
    let overload = overload("max-requests = 1\nmax-waiting = 2");
    let lane = &overload.requests;
    let place = lane.place().await.unwrap();
    let one_after_the_other = async || drop(lane.place().await.expect("a place, after some waiting"));
    let third = async {
        assert_eq!((lane.taken(), lane.waiting()), (1, 2));
        assert!(lane.place().await.is_none(), "a third one does not wait");
        drop(place);
    };
    tokio::join!(one_after_the_other(), one_after_the_other(), third);
    assert_eq!((lane.taken(), lane.waiting()), (0, 0));

    let hasty = Lane { patience: Duration::from_millis(1), ..Lane::new(1, 1) };
    let place = hasty.place().await.unwrap();
    assert!(hasty.place().await.is_none(), "nobody waits for ever");
    drop(place);
    assert!(hasty.place().await.is_some());
}

#[test]
fn refusals_are_in_the_language_of_who_asks() {
    let overload = overload("");
    let refused = |path: &str, accept: &str| {
        let request = axum::http::Request::get(path).header(header::ACCEPT, accept).body(()).unwrap();
        let response = overload.refuse(Refusal::Requests, reads_pages(&request.into_parts().0));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = |name| response.headers()[name].to_str().unwrap().to_owned();
        (text(header::CONTENT_TYPE), text(header::RETRY_AFTER).parse::<u64>().unwrap())
    };
    assert_eq!(refused("/", "text/html").0, "text/html; charset=utf-8");
    assert_eq!(refused("/api/1.0/whoami/", "text/html").0, "application/problem+json");
    let times: Vec<_> = (0..5).map(|_| refused("/", "*/*").1).collect();
    assert_eq!(times, [3, 4, 5, 1, 2], "not all at once");
    assert_eq!((overload.refused(Refusal::Requests), overload.refused(Refusal::Channels)), (7, 0));
}
