//! A typed client of the HTTP and WebSocket API.
