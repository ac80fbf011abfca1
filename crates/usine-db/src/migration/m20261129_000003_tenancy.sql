-- Groups, the roles that they hold, what changed in them; inheritance; enrolment; sessions of browsers.

CREATE TABLE "group" (
    id {id},
    name VARCHAR(255) NOT NULL,
    scope_id BIGINT NOT NULL REFERENCES scope (id),
    workspace_id BIGINT REFERENCES workspace (id),
    ephemeral BOOLEAN NOT NULL DEFAULT FALSE,
    system BOOLEAN NOT NULL DEFAULT FALSE
);
-- Two, because to an index no NULL is like another.
CREATE UNIQUE INDEX group_of_scope ON "group" (scope_id, name) WHERE workspace_id IS NULL;
CREATE UNIQUE INDEX group_of_workspace ON "group" (workspace_id, name) WHERE workspace_id IS NOT NULL;

CREATE TABLE group_membership (
    id {id},
    group_id BIGINT NOT NULL REFERENCES "group" (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    role VARCHAR(10) NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'admin')),
    UNIQUE (group_id, user_id)
);
CREATE INDEX group_membership_user ON group_membership (user_id);

CREATE TABLE scope_role (
    id {id},
    scope_id BIGINT NOT NULL REFERENCES scope (id) ON DELETE CASCADE,
    group_id BIGINT NOT NULL REFERENCES "group" (id) ON DELETE CASCADE,
    role VARCHAR(20) NOT NULL CHECK (role IN ('aware', 'observer', 'owner')),
    UNIQUE (scope_id, group_id, role)
);
CREATE INDEX scope_role_group ON scope_role (group_id);

CREATE TABLE workspace_role (
    id {id},
    workspace_id BIGINT NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    group_id BIGINT NOT NULL REFERENCES "group" (id) ON DELETE CASCADE,
    role VARCHAR(20) NOT NULL CHECK (role IN ('viewer', 'contributor', 'owner')),
    UNIQUE (workspace_id, group_id, role)
);
CREATE INDEX workspace_role_group ON workspace_role (group_id);

CREATE TABLE user_permission (
    id {id},
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    permission VARCHAR(100) NOT NULL,
    UNIQUE (user_id, permission)
);

-- Outlives what it tells of: names are in it, references go.
CREATE TABLE audit_log (
    id {id},
    created_at {time} NOT NULL,
    actor_id BIGINT REFERENCES "user" (id) ON DELETE SET NULL,
    actor VARCHAR(150) NOT NULL,
    subject VARCHAR(800) NOT NULL,
    group_id BIGINT REFERENCES "group" (id) ON DELETE SET NULL,
    changes {json} NOT NULL
);
CREATE INDEX audit_log_group ON audit_log (group_id, id) WHERE group_id IS NOT NULL;
CREATE INDEX audit_log_subject ON audit_log (subject, id);

CREATE TABLE workspace_inheritance (
    id {id},
    child_id BIGINT NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    parent_id BIGINT NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    UNIQUE (child_id, parent_id),
    UNIQUE (child_id, position),
    CHECK (child_id <> parent_id)
);
CREATE INDEX workspace_inheritance_parent ON workspace_inheritance (parent_id);

-- A request that waits for its user. The token is made by who waits: no key is stored here.
CREATE TABLE client_enrolment (
    id {id},
    created_at {time} NOT NULL,
    nonce VARCHAR(64) NOT NULL UNIQUE,
    payload {json} NOT NULL,
    outcome VARCHAR(10) CHECK (outcome IN ('confirm', 'cancel')),
    user_id BIGINT REFERENCES "user" (id) ON DELETE CASCADE
);

CREATE TABLE session (
    id {id},
    hash VARCHAR(64) NOT NULL UNIQUE CHECK (length(hash) = 64),
    user_id BIGINT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
    created_at {time} NOT NULL,
    expire_at {time} NOT NULL
);
CREATE INDEX session_expire ON session (expire_at);

-- Every scope has its members and its owners.
INSERT INTO "group" (name, scope_id, system) SELECT 'Members', id, TRUE FROM scope;
INSERT INTO "group" (name, scope_id) SELECT 'Owners', id FROM scope;
INSERT INTO scope_role (scope_id, group_id, role) SELECT scope_id, id, 'owner' FROM "group" WHERE name = 'Owners';

-- Until now every user could contribute to every workspace: who is there already keeps that.
INSERT INTO "group" (name, scope_id) SELECT 'Contributors', id FROM scope
    WHERE EXISTS (SELECT 1 FROM "user" WHERE NOT is_system);
INSERT INTO group_membership (group_id, user_id, role)
    SELECT "group".id, "user".id, 'member' FROM "group", "user"
    WHERE "group".name IN ('Members', 'Contributors') AND NOT "user".is_system;
INSERT INTO workspace_role (workspace_id, group_id, role)
    SELECT workspace.id, "group".id, 'contributor' FROM workspace JOIN "group" ON "group".scope_id = workspace.scope_id
    WHERE "group".name = 'Contributors';
