//! `commonwatch config check|show`.

use std::io::Write;

use clap::Subcommand;

use super::CliError;
use super::serve::ServeArgs;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Tell every mistake at once, with file, line and fix
    Check(ServeArgs),
    /// Print what is in force, defaults and environment included, secrets masked
    Show(ServeArgs),
}

pub(super) fn run(command: &ConfigCommand, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        ConfigCommand::Check(args) => {
            Config::load(args.sources())?;
            writeln!(out, "the configuration is right")?;
        }
        ConfigCommand::Show(args) => {
            out.write_all(Config::load(args.sources())?.shown().as_bytes())?;
        }
    }
    Ok(())
}
