-- Several servers on one database.

-- A life of a server: a new row with each start. It is removed when the server ends, or when another one notes that it is dead.
CREATE TABLE server (
    id {id},
    name TEXT NOT NULL,
    started_at {time} NOT NULL,
    last_seen {time} NOT NULL
);

-- Where the worker is connected, or was last; and when it was last seen, as of its last disconnection.
ALTER TABLE worker ADD COLUMN server_id BIGINT;
ALTER TABLE worker ADD COLUMN last_seen {time};

-- The life of the server that wrote the event; null: a command, or a server from before this.
ALTER TABLE event ADD COLUMN origin BIGINT;

-- Live logs, as the servers tell each other: bytes from a place in the log on. Empty ones mark the end.
CREATE TABLE live_log_piece (
    work_request_id BIGINT NOT NULL REFERENCES work_request (id) ON DELETE CASCADE,
    begin_at BIGINT NOT NULL,
    data {bytes} NOT NULL,
    written_at {time} NOT NULL,
    PRIMARY KEY (work_request_id, begin_at)
);
CREATE INDEX live_log_piece_written ON live_log_piece (written_at);

-- The workers that are there, longest connected first: the scheduler looks at them each time.
CREATE INDEX worker_connected ON worker (connected_at, id) WHERE connected_at IS NOT NULL;

-- Only those of live attempts are looked for, and only tokens with users for users.
DROP INDEX attempt_token;
CREATE INDEX attempt_token ON attempt (token_hash) WHERE ended_at IS NULL;
DROP INDEX token_user;
CREATE INDEX token_user ON token (user_id) WHERE user_id IS NOT NULL;

-- Each index of work requests is written to when one is made, and most of them whenever its status changes.
DROP INDEX work_request_live;
CREATE INDEX work_request_live ON work_request (worker_id, status)
    WHERE worker_id IS NOT NULL AND status IN ('pending', 'running');
DROP INDEX work_request_status;
DROP INDEX work_request_open;
CREATE INDEX work_request_open ON work_request (status, workspace_id, created_at DESC, id DESC)
    WHERE status IN ('blocked', 'pending', 'running');
CREATE INDEX work_request_wait ON work_request (id) WHERE status = 'pending' AND task_type = 'Wait';
-- That of creation has the same order.
DROP INDEX work_request_default_expiring;
