-- The first schema. {id}, {json}, {time}, {bytes} and {later …} are what differs between SQLite and PostgreSQL.

CREATE TABLE "user" (
    id {id},
    username VARCHAR(150) NOT NULL UNIQUE,
    email VARCHAR(254) NOT NULL DEFAULT '',
    password VARCHAR(255) NOT NULL DEFAULT '',
    is_superuser BOOLEAN NOT NULL DEFAULT FALSE,
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    is_system BOOLEAN NOT NULL DEFAULT FALSE,
    date_joined {time} NOT NULL,
    last_login {time},
    CHECK (NOT is_system OR email = '')
);
CREATE UNIQUE INDEX user_email ON "user" (email) WHERE NOT is_system;

CREATE TABLE scope (
    id {id},
    name VARCHAR(255) NOT NULL UNIQUE,
    label VARCHAR(255) NOT NULL UNIQUE,
    icon VARCHAR(255) NOT NULL DEFAULT '',
    public BOOLEAN NOT NULL DEFAULT TRUE
);

-- Delays are seconds; 0 is never.
CREATE TABLE workspace (
    id {id},
    scope_id BIGINT NOT NULL REFERENCES scope (id),
    name VARCHAR(255) NOT NULL,
    public BOOLEAN NOT NULL DEFAULT FALSE,
    default_expiration_delay BIGINT NOT NULL DEFAULT 0,
    expiration_delay BIGINT,
    created_at {time} NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    UNIQUE (scope_id, name)
);

CREATE TABLE token (
    id {id},
    hash VARCHAR(64) NOT NULL UNIQUE CHECK (length(hash) = 64),
    token_type VARCHAR(20) NOT NULL
        CHECK (token_type IN ('worker-activation', 'worker', 'work-request', 'user', 'external-user')),
    user_id BIGINT REFERENCES "user" (id),
    external_username VARCHAR(150) NOT NULL DEFAULT '',
    work_request_id BIGINT UNIQUE {later work_request},
    comment VARCHAR(100) NOT NULL DEFAULT '' CHECK (length(comment) <= 100),
    created_by_id BIGINT REFERENCES "user" (id),
    created_at {time} NOT NULL,
    expire_at {time},
    enabled BOOLEAN NOT NULL DEFAULT FALSE,
    explicit_grants_only BOOLEAN NOT NULL DEFAULT FALSE,
    last_seen_at {time},
    CHECK (user_id IS NULL OR token_type = 'user'),
    CHECK (work_request_id IS NULL OR token_type = 'work-request'),
    CHECK (external_username = '' OR token_type = 'external-user'),
    CHECK (token_type <> 'external-user' OR explicit_grants_only),
    CHECK (NOT explicit_grants_only OR token_type IN ('user', 'external-user'))
);
CREATE INDEX token_user ON token (user_id);

CREATE TABLE worker (
    id {id},
    name VARCHAR(255) NOT NULL UNIQUE CHECK (name <> ''),
    registered_at {time} NOT NULL,
    connected_at {time},
    token_id BIGINT UNIQUE REFERENCES token (id),
    activation_token_id BIGINT UNIQUE REFERENCES token (id),
    static_metadata {json} NOT NULL DEFAULT '{}',
    dynamic_metadata {json} NOT NULL DEFAULT '{}',
    dynamic_metadata_updated_at {time},
    worker_type VARCHAR(20) NOT NULL DEFAULT 'external'
        CHECK (worker_type IN ('external', 'signing', 'celery', 'scheduler')),
    concurrency INTEGER NOT NULL DEFAULT 1 CHECK (concurrency > 0),
    CHECK (worker_type IN ('celery', 'scheduler') OR token_id IS NOT NULL OR activation_token_id IS NOT NULL)
);

-- What work requests ask of workers, each distinct set once (see ARCHITECTURE.md, "Scheduling").
CREATE TABLE requirement_set (
    id {id},
    digest VARCHAR(64) NOT NULL UNIQUE,
    definition {json} NOT NULL
);

CREATE TABLE work_request (
    id {id},
    workspace_id BIGINT NOT NULL REFERENCES workspace (id),
    created_at {time} NOT NULL,
    created_by_id BIGINT NOT NULL REFERENCES "user" (id),
    pending_at {time},
    started_at {time},
    completed_at {time},
    completed_by_id BIGINT REFERENCES "user" (id) ON DELETE SET NULL,
    aborted_by_id BIGINT REFERENCES "user" (id) ON DELETE SET NULL,
    status VARCHAR(9) NOT NULL DEFAULT 'blocked'
        CHECK (status IN ('blocked', 'pending', 'running', 'completed', 'aborted')),
    result VARCHAR(20) NOT NULL DEFAULT ''
        CHECK (result IN ('', 'success', 'failure', 'temporary failure', 'error', 'skipped')),
    worker_id BIGINT REFERENCES worker (id) ON DELETE CASCADE,
    task_type VARCHAR(8) NOT NULL DEFAULT 'Worker'
        CHECK (task_type IN ('Worker', 'Server', 'Internal', 'Workflow', 'Signing', 'Wait')),
    task_name VARCHAR(100) NOT NULL CHECK (task_name <> ''),
    task_data {json} NOT NULL DEFAULT '{}',
    dynamic_task_data {json},
    configured_task_data {json},
    version INTEGER NOT NULL DEFAULT 0,
    priority_base INTEGER NOT NULL DEFAULT 0,
    priority_adjustment INTEGER NOT NULL DEFAULT 0,
    output_data {json},
    unblock_strategy VARCHAR(11) NOT NULL DEFAULT 'deps' CHECK (unblock_strategy IN ('deps', 'manual', 'incremental')),
    parent_id BIGINT REFERENCES work_request (id) ON DELETE CASCADE,
    workflow_root_id BIGINT REFERENCES work_request (id) ON DELETE CASCADE,
    workflow_data {json} NOT NULL DEFAULT '{}',
    event_reactions {json} NOT NULL DEFAULT '{}',
    expiration_delay BIGINT,
    supersedes_id BIGINT UNIQUE REFERENCES work_request (id) ON DELETE SET NULL,
    scheduler_tags_provided {json} NOT NULL DEFAULT '[]',
    scheduler_tags_required {json} NOT NULL DEFAULT '[]',
    requirement_set_id BIGINT REFERENCES requirement_set (id),
    deadline_total INTEGER CHECK (deadline_total > 0),
    deadline_silence INTEGER CHECK (deadline_silence > 0),
    CHECK (parent_id IS NULL OR workflow_root_id IS NOT NULL),
    CHECK (status <> 'completed' OR result <> ''),
    CHECK (status NOT IN ('pending', 'running') OR result = '')
);
-- The scheduler's queue: only what is pending and free, in the order in which it is handed out.
CREATE INDEX work_request_queue
    ON work_request (requirement_set_id, (priority_base + priority_adjustment) DESC, created_at, id)
    WHERE status = 'pending' AND worker_id IS NULL;
-- What occupies the workers.
CREATE INDEX work_request_live ON work_request (worker_id, status) WHERE status IN ('pending', 'running');
CREATE INDEX work_request_worker ON work_request (worker_id);
CREATE INDEX work_request_created ON work_request (workspace_id, created_at DESC, id DESC);
CREATE INDEX work_request_completed ON work_request (completed_at, id) WHERE completed_at IS NOT NULL;
CREATE INDEX work_request_parent ON work_request (parent_id, task_type, task_name) WHERE parent_id IS NOT NULL;
CREATE INDEX work_request_status ON work_request (status, task_type) WHERE status IN ('blocked', 'pending', 'running');

-- Each hand-out of a work request to a worker: only the live attempt may report.
CREATE TABLE attempt (
    id {id},
    work_request_id BIGINT NOT NULL REFERENCES work_request (id) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number > 0),
    worker_id BIGINT REFERENCES worker (id) ON DELETE SET NULL,
    worker_name VARCHAR(255) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    handed_out_at {time} NOT NULL,
    ended_at {time},
    outcome VARCHAR(20) CHECK (outcome IN ('reported', 'aborted', 'lease-expired', 'worker-restarted', 'de-assigned')),
    result VARCHAR(20) NOT NULL DEFAULT '',
    UNIQUE (work_request_id, number),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);
CREATE UNIQUE INDEX attempt_live ON attempt (work_request_id) WHERE ended_at IS NULL;
CREATE INDEX attempt_token ON attempt (token_hash);

-- What happened, written in the transaction that made it happen.
CREATE TABLE event (
    id {id},
    created_at {time} NOT NULL,
    kind VARCHAR(30) NOT NULL,
    work_request_id BIGINT REFERENCES work_request (id) ON DELETE CASCADE,
    worker_id BIGINT REFERENCES worker (id) ON DELETE CASCADE,
    user_id BIGINT REFERENCES "user" (id) ON DELETE SET NULL,
    detail {json}
);
CREATE INDEX event_work_request ON event (work_request_id, id) WHERE work_request_id IS NOT NULL;
CREATE INDEX event_worker ON event (worker_id, id) WHERE worker_id IS NOT NULL;

CREATE TABLE file (
    id {id},
    sha256 {bytes} NOT NULL CHECK (length(sha256) = 32),
    size BIGINT NOT NULL CHECK (size >= 0),
    UNIQUE (sha256, size)
);

CREATE TABLE file_store (
    id {id},
    name VARCHAR(255) NOT NULL UNIQUE,
    backend VARCHAR(30) NOT NULL CHECK (backend IN ('Local', 'S3', 'Memory', 'ExternalDebianSuite')),
    configuration {json} NOT NULL DEFAULT '{}',
    instance_wide BOOLEAN NOT NULL DEFAULT TRUE
);

CREATE TABLE file_in_store (
    id {id},
    store_id BIGINT NOT NULL REFERENCES file_store (id),
    file_id BIGINT NOT NULL REFERENCES file (id),
    data {json} NOT NULL DEFAULT '{}',
    UNIQUE (store_id, file_id)
);
CREATE INDEX file_in_store_file ON file_in_store (file_id);

CREATE TABLE artifact (
    id {id},
    category VARCHAR(255) NOT NULL,
    workspace_id BIGINT NOT NULL REFERENCES workspace (id),
    data {json} NOT NULL DEFAULT '{}',
    created_at {time} NOT NULL,
    expiration_delay BIGINT,
    created_by_id BIGINT REFERENCES "user" (id),
    created_by_work_request_id BIGINT REFERENCES work_request (id) ON DELETE SET NULL,
    original_artifact_id BIGINT REFERENCES artifact (id) ON DELETE SET NULL
);
CREATE INDEX artifact_workspace ON artifact (workspace_id, category, id DESC);
CREATE INDEX artifact_work_request ON artifact (created_by_work_request_id, id);

CREATE TABLE file_in_artifact (
    id {id},
    artifact_id BIGINT NOT NULL REFERENCES artifact (id),
    path VARCHAR(500) NOT NULL,
    file_id BIGINT NOT NULL REFERENCES file (id),
    complete BOOLEAN NOT NULL DEFAULT FALSE,
    content_type VARCHAR(255),
    UNIQUE (artifact_id, path)
);
CREATE INDEX file_in_artifact_file ON file_in_artifact (file_id);

CREATE TABLE file_upload (
    id {id},
    file_in_artifact_id BIGINT NOT NULL UNIQUE REFERENCES file_in_artifact (id) ON DELETE CASCADE,
    path VARCHAR(500) NOT NULL UNIQUE,
    last_activity_at {time} NOT NULL
);

CREATE TABLE artifact_relation (
    id {id},
    artifact_id BIGINT NOT NULL REFERENCES artifact (id),
    target_id BIGINT NOT NULL REFERENCES artifact (id),
    type VARCHAR(11) NOT NULL CHECK (type IN ('extends', 'relates-to', 'built-using')),
    UNIQUE (artifact_id, target_id, type)
);
CREATE INDEX artifact_relation_target ON artifact_relation (target_id);
