//! A worker that speaks the protocol, and does what the story says.

use std::time::Duration;

use serde_json::{Map, json};
use usine_client::channel::{Channel, Received};
use usine_client::{Client, NextWork};
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;
use usine_model::worker::WorkerType;
use usine_protocol::channel::{LogStream, Notice, ServerMessage, WorkerMessage};
use usine_protocol::work_request::{Completed, CreateWorkRequest, WorkRequest};
use usine_protocol::worker::Register;

use crate::farm::{Farm, SOON};

pub struct Worker {
    pub client: Client,
    pub channel: Channel<ServerMessage>,
}

/// A noop.
pub fn noop() -> CreateWorkRequest {
    CreateWorkRequest {
        task_name: "noop".to_owned(),
        task_data: json!({"result": "success"}),
        event_reactions: None,
        workspace: None,
    }
}

impl Worker {
    /// Registers and connects at this address.
    pub async fn connect(farm: &Farm, url: &str, name: &str, activation: &str) -> Self {
        let token = format!("{:0>64}", hex(name));
        let register = Register { token: token.clone(), fqdn: name.to_owned(), worker_type: WorkerType::External };
        farm.client_of(url, activation).register(&register).await.unwrap();
        let client = farm.client_of(url, &token);
        let channel = client.worker_channel().await.unwrap();
        let mut worker = Self { client, channel };
        worker.introduce().await;
        worker
    }

    async fn introduce(&mut self) {
        let tags = json!(["worker:task:worker:noop:version:1"]);
        self.client.put_dynamic_metadata(&Map::from_iter([("provided_tags".to_owned(), tags)])).await.unwrap();
    }

    /// The next notice that is no greeting.
    pub async fn hears(&mut self) -> Notice {
        let hearing = async {
            loop {
                match self.channel.receive().await.unwrap() {
                    Received::Message(ServerMessage::Notice(Notice::Connected | Notice::RequestDynamicMetadata)) => {}
                    Received::Message(ServerMessage::Notice(notice)) => return notice,
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(SOON, hearing).await.expect("a notice")
    }

    /// Waits until it is told of work, and fetches it.
    pub async fn fetch(&mut self) -> WorkRequest {
        loop {
            assert_eq!(self.hears().await, Notice::WorkRequestAvailable);
            // A worker is reminded of what it has fetched meanwhile.
            if let NextWork::Run(work_request) = self.client.get_next().await.unwrap() {
                return *work_request;
            }
        }
    }

    pub async fn says(&mut self, work_request: i64, data: &str) {
        let timestamp = chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let data = data.to_owned();
        let message =
            WorkerMessage::LogData { work_request_id: work_request, stream: LogStream::Stdout, data, timestamp };
        self.channel.send(&message).await.unwrap();
    }
}

/// Reports that it went well.
pub async fn complete(client: &Client, work_request: &WorkRequest) -> Result<(), usine_client::Error> {
    let hands = client.acting_as(work_request.token.as_deref(), Some(&work_request.scope))?;
    let completed = Completed { result: Results::Success, output_data: OutputData::default() };
    hands.complete(work_request.id, &completed).await
}

/// Waits until something that is asked for again and again has come.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap_or_else(|_| panic!("waited for {what}, in vain"))
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
