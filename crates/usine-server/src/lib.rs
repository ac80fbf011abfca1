//! The server: REST API, channels, scheduler, upkeep.
