//! Triggers that count changes of who may do what. Whoever remembers something of it asks for the number first: it has
//! changed in the transaction that changed the rest, whichever process that was.

use std::fmt::Write as _;

use sea_orm::DbBackend;

/// Tables, the changes of them that count, and the rows for which they do.
const WATCHED: &[(&str, &[&str], Option<&str>)] = &[
    ("\"user\"", &["UPDATE", "DELETE"], None),
    ("scope", &["INSERT", "UPDATE", "DELETE"], None),
    ("workspace", &["INSERT", "UPDATE", "DELETE"], None),
    ("workspace_inheritance", &["INSERT", "UPDATE", "DELETE"], None),
    ("\"group\"", &["INSERT", "UPDATE", "DELETE"], None),
    ("group_membership", &["INSERT", "UPDATE", "DELETE"], None),
    ("scope_role", &["INSERT", "UPDATE", "DELETE"], None),
    ("workspace_role", &["INSERT", "UPDATE", "DELETE"], None),
    ("user_permission", &["INSERT", "UPDATE", "DELETE"], None),
    // That a token was seen changes nothing; nobody remembers those of work requests.
    (
        "token",
        &["UPDATE OF hash, token_type, user_id, external_username, expire_at, enabled, explicit_grants_only", "DELETE"],
        Some("OLD.token_type <> 'work-request'"),
    ),
    // Connections come and go.
    (
        "worker",
        &[
            "INSERT",
            "UPDATE OF name, token_id, activation_token_id, static_metadata, dynamic_metadata, \
             dynamic_metadata_updated_at, worker_type, concurrency",
            "DELETE",
        ],
        None,
    ),
];

/// The statements that make the triggers.
pub(super) fn triggers(backend: DbBackend) -> String {
    let postgres = backend == DbBackend::Postgres;
    let mut sql = String::new();
    if postgres {
        sql.push_str(
            "CREATE FUNCTION next_generation() RETURNS trigger LANGUAGE plpgsql AS $$ \
             BEGIN UPDATE generation SET number = number + 1; RETURN NULL; END $$;\n",
        );
    }
    for (table, changes, rows) in WATCHED {
        for change in *changes {
            let verb = change.split(' ').next().unwrap_or(change).to_lowercase();
            let name = format!("generation_{}_{verb}", table.trim_matches('"'));
            let when = rows.map(|rows| format!("WHEN ({rows}) ")).unwrap_or_default();
            // Nothing that is written fails: a formatted text grows.
            let _ = if postgres {
                // At the commit, so that the row is locked for a moment only, and as the last one.
                writeln!(
                    sql,
                    "CREATE CONSTRAINT TRIGGER {name} AFTER {change} ON {table} DEFERRABLE INITIALLY DEFERRED \
                     FOR EACH ROW {when}EXECUTE FUNCTION next_generation();"
                )
            } else {
                writeln!(
                    sql,
                    "CREATE TRIGGER {name} AFTER {change} ON {table} FOR EACH ROW {when}\
                     BEGIN UPDATE generation SET number = number + 1; END;"
                )
            };
        }
    }
    sql
}
