//! What comes by HTTP and on WebSockets.

use serde::Serialize;
use serde::de::DeserializeOwned;
use usine_protocol::artifact::{Artifact, CreateArtifact, CreateRelation, Relation};
use usine_protocol::channel::{LogMessage, ServerMessage, WorkerMessage};
use usine_protocol::content_range::{ContentRange, Slice, parse_received, received};
use usine_protocol::enrolment::{Decision, Enrolment};
use usine_protocol::own::{CreateLimitedWorkRequest, WorkRequestDetails};
use usine_protocol::page::CursorPage;
use usine_protocol::problem::Problem;
use usine_protocol::status::{ServiceStatus, Whoami};
use usine_protocol::time;
use usine_protocol::work_request::{
    Completed, ConfirmWorkRequest, CreateWorkRequest, UnblockWorkRequest, UpdateWorkRequest, WorkRequest,
};
use usine_protocol::worker::Register;
use usine_protocol::workspace::InheritanceChain;
pub(super) use usine_server::untrusted::{
    autopkgtest, blhc, build_log, debdiff, forms, json_body, lintian, live_log, markdown, multipart, package_page,
    piuparts, request, text_file,
};

use super::text;

/// What is read can be written, and is the same when it is read again.
fn back<T: DeserializeOwned + Serialize>(input: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(input) {
        let written = serde_json::to_string(&value).expect("JSON");
        let again: T = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
        assert_eq!(serde_json::to_string(&again).expect("JSON"), written);
    }
}

/// All bodies, of requests and of answers, which clients read.
pub(super) fn bodies(input: &[u8]) {
    back::<CreateArtifact>(input);
    back::<Artifact>(input);
    back::<CreateRelation>(input);
    back::<Relation>(input);
    back::<Enrolment>(input);
    back::<Decision>(input);
    back::<CreateWorkRequest>(input);
    back::<CreateLimitedWorkRequest>(input);
    back::<WorkRequest>(input);
    back::<WorkRequestDetails>(input);
    back::<CursorPage<WorkRequest>>(input);
    back::<UpdateWorkRequest>(input);
    back::<UnblockWorkRequest>(input);
    back::<ConfirmWorkRequest>(input);
    back::<Completed>(input);
    back::<Register>(input);
    back::<InheritanceChain>(input);
    back::<Problem>(input);
    back::<ServiceStatus>(input);
    back::<Whoami>(input);
    if let Ok(problem) = serde_json::from_slice::<Problem>(input) {
        assert!(problem.to_string().starts_with(&problem.title));
    }
}

pub(super) fn messages(input: &[u8]) {
    back::<ServerMessage>(input);
    back::<WorkerMessage>(input);
    back::<LogMessage>(input);
}

/// What is taken of a file lies within it.
pub(super) fn ranges(input: &[u8]) {
    for line in text(input).lines() {
        if let Some(range) = ContentRange::parse(line) {
            assert_eq!(ContentRange::parse(&range.to_string()), Some(range));
            if let ContentRange::Chunk { start, end, .. } = range {
                assert!(start <= end);
            }
        }
        if let Some(count) = parse_received(line) {
            assert_eq!(parse_received(&received(count)), Some(count));
        }
        for size in [0, 1, 100, u64::MAX] {
            if let Ok(slice) = Slice::parse(line, size) {
                assert!(slice.length >= 1 && slice.start.checked_add(slice.length).is_some_and(|end| end <= size));
                assert!(slice.content_range(size).starts_with("bytes "));
            }
        }
    }
}

pub(super) fn times(input: &[u8]) {
    if let Ok(time) = time::from_text(&text(input)) {
        let written = time::to_text(&time);
        let again = time::from_text(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
        assert_eq!(time::to_text(&again), written);
    }
}
