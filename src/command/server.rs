//! `usine server`: the server alone.

use std::net::SocketAddr;
use std::sync::Arc;

use usine_server::{Config, Server};

use crate::ambient::{OsEntropy, SystemClock};
use crate::exit::Code;
use crate::server_config::ServerOptions;
use crate::signals;

/// Options of `usine server`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Which configuration.
    #[command(flatten)]
    pub server: ServerOptions,
    /// Address to listen on; goes before the configuration file
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub bind: Option<SocketAddr>,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: Args) -> anyhow::Result<Code> {
    let mut config = args.server.load()?;
    if let Some(bind) = args.bind {
        config.bind = bind;
    }
    let stop = signals::listen()?;
    let server = start(config, stop.drain.clone()).await?;
    server.run().await?;
    Ok(Code::Success)
}

/// Starts a server with the real clock and randomness, and says where it listens.
pub async fn start(config: Config, shutdown: tokio_util::sync::CancellationToken) -> anyhow::Result<Server> {
    let server = Server::start(config, Arc::new(SystemClock), Arc::new(OsEntropy), shutdown).await?;
    tracing::info!("listening on http://{}", server.address()?);
    Ok(server)
}
