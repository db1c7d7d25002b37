//! `commonwatch demo`: `serve` on a throw-away data directory, with simulated commons.

use clap::Args;

use super::CliError;
use super::serve::ServeArgs;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    pub(super) serve: ServeArgs,
}

pub(super) fn run(_args: &DemoArgs) -> Result<(), CliError> {
    Err(CliError::failed("the simulated commons are not part of this build"))
}
