//! Our own log lines, to standard error.

use tracing_subscriber::EnvFilter;

use super::CliError;
use crate::config::{Log, LogFormat};

/// Starts logging; `RUST_LOG` wins over the configured filter.
pub(super) fn start(log: &Log) -> Result<(), CliError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let (name, text) = match &from_environment {
        Some(text) => ("RUST_LOG", text),
        None => ("log.filter", &log.filter),
    };
    let filter = EnvFilter::try_new(text)
        .map_err(|error| CliError::usage(format!("{name}: `{text}` is not a filter: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first one's logging.
    match log.format {
        LogFormat::Text => builder.with_ansi(false).try_init().ok(),
        LogFormat::Json => builder.json().flatten_event(true).try_init().ok(),
    };
    Ok(())
}
