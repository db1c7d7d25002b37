//! `commonwatch rules check|test`.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use super::CliError;

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Tell every mistake in rule files
    Check {
        /// Rule files or patterns, Prometheus format
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Run unit tests of rules, in the format of `promtool test rules`
    Test {
        /// Test files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(super) fn run(_command: &RulesCommand, _out: &mut dyn Write) -> Result<(), CliError> {
    Err(CliError::failed("rules are not part of this build"))
}
