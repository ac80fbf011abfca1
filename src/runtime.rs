//! What every command runs on.

/// Runs a command to its end on a runtime of its own.
pub fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // Two at least: a worker hashes a file while it answers the server.
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(command)
}
