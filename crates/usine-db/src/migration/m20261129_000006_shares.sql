-- The queue in lanes, so that those of different owners can be told apart; shares and limits of owners.

CREATE TABLE lane (
    id {id},
    requirement_set_id BIGINT NOT NULL REFERENCES requirement_set (id),
    workspace_id BIGINT NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    created_by_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    UNIQUE (requirement_set_id, workspace_id, created_by_id)
);
INSERT INTO lane (requirement_set_id, workspace_id, created_by_id)
    SELECT DISTINCT requirement_set_id, workspace_id, created_by_id FROM work_request
    WHERE status IN ('pending', 'running') AND requirement_set_id IS NOT NULL;

ALTER TABLE work_request ADD COLUMN lane_id BIGINT REFERENCES lane (id);
UPDATE work_request SET lane_id = (
        SELECT l.id FROM lane l WHERE l.requirement_set_id = work_request.requirement_set_id
            AND l.workspace_id = work_request.workspace_id AND l.created_by_id = work_request.created_by_id)
    WHERE status IN ('pending', 'running') AND requirement_set_id IS NOT NULL;

-- Only what is pending and free, in the order in which it is handed out.
DROP INDEX work_request_queue;
CREATE INDEX work_request_queue
    ON work_request (lane_id, (priority_base + priority_adjustment) DESC, created_at, id)
    WHERE status = 'pending' AND worker_id IS NULL;

-- As with systemd's CPUWeight=: what counts is the proportion.
ALTER TABLE workspace ADD COLUMN share_weight INTEGER NOT NULL DEFAULT 100 CHECK (share_weight BETWEEN 1 AND 10000);
ALTER TABLE workspace ADD COLUMN max_running INTEGER CHECK (max_running >= 0);
ALTER TABLE "user" ADD COLUMN share_weight INTEGER NOT NULL DEFAULT 100 CHECK (share_weight BETWEEN 1 AND 10000);
ALTER TABLE "user" ADD COLUMN max_running INTEGER CHECK (max_running >= 0);

-- Changes with everything that decides who may do what, so that servers can remember it. One row.
CREATE TABLE generation (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number BIGINT NOT NULL
);
INSERT INTO generation (id, number) VALUES (1, 1);
