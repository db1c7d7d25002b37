//! The only place that wires: `Config` -> build -> run -> drain.

use crate::base::Kind;
use crate::config::Config;

/// Why the server could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The rooms are not connected yet.
    #[error("the server is not wired up yet")]
    NotWired,
}

impl AppError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// Everything built, nothing running.
#[derive(Debug)]
pub struct App;

/// Builds the server: opens the store and the sockets, spawns nothing.
pub async fn build(_config: Config) -> Result<App, AppError> {
    Err(AppError::NotWired)
}

impl App {
    /// Runs until told to stop, then drains.
    pub async fn run(self) -> Result<(), AppError> {
        Ok(())
    }
}
