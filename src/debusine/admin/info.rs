//! `debusine-admin info`: what the server takes from its configuration, by the names of debusine's settings.

use usine_server::Config;

use crate::exit::Code;
use crate::output::Ui;

/// Prints it.
pub fn run(config: &Config, ui: Ui) -> anyhow::Result<Code> {
    let fqdn = &config.fqdn;
    let origin = if *fqdn == Config::default().fqdn { "the default" } else { "from the configuration" };
    ui.line(&format!("DEBUSINE_FQDN = '{fqdn}' ({origin}: key fqdn of server.toml)"))?;
    ui.line("  The name under which tasks know the server.")?;
    ui.line("ALLOWED_HOSTS = ['*'] (always)")?;
    ui.line("  Names by which clients may call the server: any, the proxy in front of it decides.")?;
    Ok(Code::Success)
}
