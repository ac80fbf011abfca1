-- Limits of resources, in bytes; and the rest after a temporary failure, which only a blocked work request has.

ALTER TABLE work_request ADD COLUMN limit_memory BIGINT CHECK (limit_memory > 0);
ALTER TABLE work_request ADD COLUMN limit_disk BIGINT CHECK (limit_disk > 0);
ALTER TABLE work_request ADD COLUMN delayed_until {time};
CREATE INDEX work_request_delayed ON work_request (delayed_until) WHERE delayed_until IS NOT NULL;
