//! The worker: connect, take, run, upload, report.
