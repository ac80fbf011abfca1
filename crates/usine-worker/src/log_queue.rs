//! Live log on its way to the server: bounded, and never in the way of the task.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;
use usine_protocol::channel::{LogStream, WorkerMessage};

/// Most messages that wait.
const CAPACITY: usize = 1000;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct LogQueue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<WorkerMessage>,
    dropped: usize,
}

impl LogQueue {
    /// Adds a message. When the queue is full all that waits is dropped, and a line says so before the next message.
    pub fn push(&self, message: WorkerMessage) {
        let mut state = self.lock();
        if state.messages.len() >= CAPACITY {
            state.dropped += state.messages.len();
            state.messages.clear();
        }
        if state.dropped > 0 && state.messages.is_empty() {
            let notice = notice(state.dropped, &message);
            state.dropped = 0;
            state.messages.push_back(notice);
        }
        state.messages.push_back(message);
        drop(state);
        self.filled.notify_one();
    }

    /// Waits for the next message.
    pub async fn next(&self) -> WorkerMessage {
        loop {
            let filled = self.filled.notified();
            if let Some(message) = self.lock().messages.pop_front() {
                return message;
            }
            filled.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn notice(dropped: usize, next: &WorkerMessage) -> WorkerMessage {
    let (work_request_id, timestamp) = match next {
        WorkerMessage::LogData { work_request_id, timestamp, .. } => (*work_request_id, *timestamp),
        WorkerMessage::LogDataEnd { work_request_id, timestamp, .. } => (*work_request_id, *timestamp),
    };
    let data = format!("[worker] dropped {dropped} buffered log message(s): outgoing queue overflow\n");
    WorkerMessage::LogData { work_request_id, stream: LogStream::Internal, data, timestamp }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[tokio::test]
    async fn overflow_drops_all_and_says_so() {
        let queue = LogQueue::default();
        for n in 0..=CAPACITY {
            let data = n.to_string();
            queue.push(WorkerMessage::LogData {
                work_request_id: 7,
                stream: LogStream::Stdout,
                data,
                timestamp: DateTime::UNIX_EPOCH,
            });
        }
        let mut texts = Vec::new();
        for _ in 0..2 {
            let WorkerMessage::LogData { data, .. } = queue.next().await else { panic!("only data were pushed") };
            texts.push(data);
        }
        assert_eq!(texts, ["[worker] dropped 1000 buffered log message(s): outgoing queue overflow\n", "1000"]);
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(10), queue.next()).await;
        assert!(waiting.is_err(), "the queue is empty");
    }
}
