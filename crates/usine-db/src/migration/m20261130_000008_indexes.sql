-- Indexes that cost less to write. What is newest is at the end of its part: engines fill the last page and begin another one,
-- where before they split the first one again and again. They read an index backwards as fast.

DROP INDEX work_request_created;
CREATE INDEX work_request_created ON work_request (workspace_id, created_at, id);
DROP INDEX work_request_subject;
CREATE INDEX work_request_subject ON work_request (workspace_id, subject, created_at, id);
DROP INDEX work_request_task;
CREATE INDEX work_request_task ON work_request (workspace_id, task_name, created_at, id);
DROP INDEX work_request_bad;
CREATE INDEX work_request_bad ON work_request (workspace_id, created_at, id)
    WHERE result IN ('failure', 'temporary failure', 'error');
DROP INDEX work_request_aborted;
CREATE INDEX work_request_aborted ON work_request (workspace_id, created_at, id) WHERE status = 'aborted';
DROP INDEX work_request_open;
CREATE INDEX work_request_open ON work_request (status, workspace_id, created_at, id)
    WHERE status IN ('blocked', 'pending', 'running');
DROP INDEX work_request_creator;
CREATE INDEX work_request_creator ON work_request (created_by_id, created_at, id);
DROP INDEX work_request_of_worker;
CREATE INDEX work_request_of_worker ON work_request (worker_id, created_at, id) WHERE worker_id IS NOT NULL;
DROP INDEX artifact_workspace;
CREATE INDEX artifact_workspace ON artifact (workspace_id, category, id);

-- Nobody reads it, and three in ten pages that SQLite wrote for a commit were its. The last: transactions write events last, so
-- that those of other servers wait for this one rather than it for them.
DROP INDEX event_worker;
