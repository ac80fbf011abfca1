-- What lists and pages show and look for.

ALTER TABLE work_request ADD COLUMN subject VARCHAR(255) {exact} NOT NULL DEFAULT '';
ALTER TABLE work_request ADD COLUMN summary VARCHAR(255) NOT NULL DEFAULT '';
-- What was assigned once has them in its dynamic data; the others will be shown without.
UPDATE work_request
    SET subject = substr(COALESCE(dynamic_task_data ->> 'subject', ''), 1, 255),
        summary = substr(COALESCE(dynamic_task_data ->> 'parameter_summary', ''), 1, 255)
    WHERE dynamic_task_data IS NOT NULL;

-- The history of a package.
CREATE INDEX work_request_subject ON work_request (workspace_id, subject, created_at DESC, id DESC);
-- One task.
CREATE INDEX work_request_task ON work_request (workspace_id, task_name, created_at DESC, id DESC);
-- What is rare among what has ended: without these, a list of failures would read all successes.
CREATE INDEX work_request_bad ON work_request (workspace_id, created_at DESC, id DESC)
    WHERE result IN ('failure', 'temporary failure', 'error');
CREATE INDEX work_request_aborted ON work_request (workspace_id, created_at DESC, id DESC) WHERE status = 'aborted';
-- What is open, counted and listed without reading the rows.
CREATE INDEX work_request_open ON work_request (workspace_id, status, created_at DESC, id DESC)
    WHERE status IN ('blocked', 'pending', 'running');
CREATE INDEX work_request_waiting ON work_request (requirement_set_id, task_type, status, pending_at)
    WHERE status IN ('pending', 'running');
-- Work requests of one user, and of one worker, newest first.
CREATE INDEX work_request_creator ON work_request (created_by_id, created_at DESC, id DESC);
CREATE INDEX work_request_of_worker ON work_request (worker_id, created_at DESC, id DESC) WHERE worker_id IS NOT NULL;
-- It is the beginning of the last one.
DROP INDEX work_request_worker;
