-- What upkeep looks for, without reading the rest. Rows with the same delay expire in the order of their making.

CREATE INDEX work_request_expiring ON work_request (expiration_delay, created_at, id) WHERE expiration_delay IS NOT NULL;
CREATE INDEX work_request_default_expiring ON work_request (workspace_id, created_at, id) WHERE expiration_delay IS NULL;
CREATE INDEX artifact_expiring ON artifact (expiration_delay, created_at, id) WHERE expiration_delay IS NOT NULL;
CREATE INDEX artifact_default_expiring ON artifact (workspace_id, created_at, id) WHERE expiration_delay IS NULL;
CREATE INDEX work_request_unended ON work_request (id) WHERE status IN ('blocked', 'pending', 'running');
CREATE INDEX file_in_artifact_missing ON file_in_artifact (artifact_id) WHERE NOT complete;

-- What the engines look through when a row goes that others may refer to.
CREATE INDEX work_request_root ON work_request (workflow_root_id) WHERE workflow_root_id IS NOT NULL;
CREATE INDEX artifact_original ON artifact (original_artifact_id) WHERE original_artifact_id IS NOT NULL;
CREATE INDEX file_upload_activity ON file_upload (last_activity_at);
