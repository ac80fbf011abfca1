//! The wire: what the REST API and the WebSockets of the debusine 1.0 protocol carry.
//!
//! Types only. Every shape here can be seen in the exchange of Debian's own client and worker with a server; what is
//! ours alone is in [`own`] and lives below `/api/usine/1.0/`.

pub mod artifact;
pub mod channel;
pub mod content_range;
pub mod enrolment;
pub mod own;
pub mod page;
pub mod problem;
pub mod status;
pub mod time;
pub mod work_request;
pub mod worker;
pub mod workspace;

/// Path of the REST API, without the final slash.
pub const API: &str = "/api/1.0";

/// Path of what is ours alone, without the final slash.
pub const OWN_API: &str = "/api/usine/1.0";

/// Path of the WebSockets, without the final slash.
pub const WS: &str = "/api/ws/1.0";

/// Header with the token key.
pub const TOKEN_HEADER: &str = "token";

/// Header with the name of the scope.
pub const SCOPE_HEADER: &str = "x-debusine-scope";

/// The scope that is meant when a request names none.
pub const DEFAULT_SCOPE: &str = "debusine";

/// The workspace that is meant when a request names none.
pub const DEFAULT_WORKSPACE: &str = "System";
