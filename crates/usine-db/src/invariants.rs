//! What must always be true, written down once as SQL: run after every integration test and by `usine admin check`.

use sea_orm::{FromQueryResult, Statement};

use crate::{Database, Result};

/// A row that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, in words.
    pub invariant: &'static str,
    /// Id of the row.
    pub id: i64,
}

/// Each invariant and the query for the ids of the rows that break it.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "a running work request of a worker has a worker and a live attempt",
        "SELECT w.id FROM work_request w WHERE w.status = 'running' AND w.task_type IN ('Worker', 'Signing') \
         AND (w.worker_id IS NULL OR NOT EXISTS \
              (SELECT 1 FROM attempt a WHERE a.work_request_id = w.id AND a.ended_at IS NULL))",
    ),
    (
        "a live attempt belongs to a running work request of the same worker",
        "SELECT a.id FROM attempt a JOIN work_request w ON w.id = a.work_request_id WHERE a.ended_at IS NULL \
         AND (w.status <> 'running' OR w.worker_id IS NULL OR w.worker_id <> a.worker_id)",
    ),
    (
        "a worker has at most as many pending and running work requests as its concurrency",
        "SELECT k.id FROM worker k WHERE k.concurrency < \
         (SELECT COUNT(*) FROM work_request w WHERE w.worker_id = k.id AND w.status IN ('pending', 'running'))",
    ),
    (
        "a pending work request is in the lane of its requirements and its owners",
        "SELECT w.id FROM work_request w WHERE w.status = 'pending' AND NOT EXISTS (SELECT 1 FROM lane l \
         WHERE l.id = w.lane_id AND l.requirement_set_id = w.requirement_set_id \
           AND l.workspace_id = w.workspace_id AND l.created_by_id = w.created_by_id)",
    ),
    (
        "only a blocked work request that replaces another one rests",
        "SELECT w.id FROM work_request w WHERE w.delayed_until IS NOT NULL \
         AND (w.status <> 'blocked' OR w.supersedes_id IS NULL)",
    ),
    (
        "an ended work request has the time and the event of its end",
        "SELECT w.id FROM work_request w WHERE w.status IN ('completed', 'aborted') \
         AND (w.completed_at IS NULL OR NOT EXISTS \
              (SELECT 1 FROM event e WHERE e.work_request_id = w.id AND e.kind = w.status))",
    ),
    (
        "a work request is completed once",
        "SELECT e.work_request_id AS id FROM event e WHERE e.kind = 'completed' \
         GROUP BY e.work_request_id HAVING COUNT(*) > 1",
    ),
    (
        "a work-request token belongs to the live attempt of a running work request",
        "SELECT t.id FROM token t WHERE t.token_type = 'work-request' AND NOT EXISTS \
         (SELECT 1 FROM attempt a WHERE a.token_hash = t.hash AND a.ended_at IS NULL)",
    ),
    (
        "a complete file with content is in a store",
        "SELECT f.id FROM file_in_artifact f JOIN file c ON c.id = f.file_id WHERE f.complete AND c.size > 0 \
         AND NOT EXISTS (SELECT 1 FROM file_in_store s WHERE s.file_id = c.id)",
    ),
    (
        "a complete file has no upload in progress",
        "SELECT u.id FROM file_upload u JOIN file_in_artifact f ON f.id = u.file_in_artifact_id WHERE f.complete",
    ),
    (
        "both ends of a relation are complete",
        "SELECT r.id FROM artifact_relation r WHERE EXISTS \
         (SELECT 1 FROM file_in_artifact f WHERE f.artifact_id IN (r.artifact_id, r.target_id) AND NOT f.complete)",
    ),
    (
        "every scope has its group of all members",
        "SELECT s.id FROM scope s WHERE NOT EXISTS (SELECT 1 FROM \"group\" g \
         WHERE g.scope_id = s.id AND g.workspace_id IS NULL AND g.name = 'Members' AND g.system)",
    ),
    (
        "who is in a group is a member of its scope",
        "SELECT m.id FROM group_membership m JOIN \"group\" g ON g.id = m.group_id WHERE NOT EXISTS \
         (SELECT 1 FROM group_membership s JOIN \"group\" a ON a.id = s.group_id \
          WHERE s.user_id = m.user_id AND a.scope_id = g.scope_id AND a.system)",
    ),
    (
        "a group has its workspace and its roles in its own scope",
        "SELECT g.id FROM \"group\" g WHERE EXISTS \
         (SELECT 1 FROM workspace w WHERE w.id = g.workspace_id AND w.scope_id <> g.scope_id) \
         OR EXISTS (SELECT 1 FROM scope_role r WHERE r.group_id = g.id AND r.scope_id <> g.scope_id) \
         OR EXISTS (SELECT 1 FROM workspace_role r JOIN workspace w ON w.id = r.workspace_id \
                    WHERE r.group_id = g.id AND w.scope_id <> g.scope_id)",
    ),
    (
        "every token has the link that its type needs",
        "SELECT t.id FROM token t WHERE \
         (t.token_type = 'user' AND t.user_id IS NULL) \
         OR (t.token_type = 'work-request' AND t.work_request_id IS NULL) \
         OR (t.token_type = 'external-user' AND t.external_username = '') \
         OR (t.token_type = 'worker' AND NOT EXISTS (SELECT 1 FROM worker k WHERE k.token_id = t.id)) \
         OR (t.token_type = 'worker-activation' \
             AND NOT EXISTS (SELECT 1 FROM worker k WHERE k.activation_token_id = t.id))",
    ),
];

/// All rows that break an invariant; empty when all is well.
pub async fn check(database: &Database) -> Result<Vec<Violation>> {
    #[derive(FromQueryResult)]
    struct Row {
        id: i64,
    }
    let mut violations = Vec::new();
    for (invariant, sql) in INVARIANTS {
        let statement = Statement::from_string(database.backend(), *sql);
        let rows = Row::find_by_statement(statement).all(database.reader()).await?;
        violations.extend(rows.into_iter().map(|row| Violation { invariant, id: row.id }));
    }
    Ok(violations)
}

/// The invariants in words, for the documentation and `usine admin check`.
pub fn all() -> impl Iterator<Item = &'static str> {
    INVARIANTS.iter().map(|(invariant, _)| *invariant)
}
