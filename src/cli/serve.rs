//! `commonwatch serve`: the collector and query server.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use toml::Value;

use super::{CliError, block_on, logging};
use crate::app::{App, AppError};
use crate::base::clock::{SharedClock, SystemClock};
use crate::base::tasks::spawn_detached;
use crate::config::{Config, Flag, Sources};

/// The flags of `serve`; each is also a key of the file and an environment variable.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ServeArgs {
    /// Configuration file [default: config/commonwatch.toml if it exists]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Everything the server stores [default: data]
    #[arg(long, value_name = "DIR", overrides_with = "data_dir")]
    pub(super) data_dir: Option<String>,
    /// Query APIs, remote write, Loki push, admin; `off` disables [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR", overrides_with = "http")]
    pub(super) http: Option<String>,
    /// OTLP; gRPC and HTTP are both accepted [default: 127.0.0.1:4317]
    #[arg(long, value_name = "ADDR", overrides_with = "otlp_grpc")]
    pub(super) otlp_grpc: Option<String>,
    /// OTLP; gRPC and HTTP are both accepted [default: 127.0.0.1:4318]
    #[arg(long, value_name = "ADDR", overrides_with = "otlp_http")]
    pub(super) otlp_http: Option<String>,
    /// How long data is kept; 0 keeps everything [default: 90d]
    #[arg(long, value_name = "DURATION", overrides_with = "retention")]
    pub(super) retention: Option<String>,
    /// Rule files, Prometheus format; repeatable [default: alerts/*.yml]
    #[arg(long, value_name = "GLOB")]
    pub(super) rules: Vec<String>,
    /// Who is told of alerts: an Alertmanager configuration file
    #[arg(long, value_name = "FILE", overrides_with = "alerting")]
    pub(super) alerting: Option<String>,
    /// Own logs, to standard error: text or json [default: text]
    #[arg(long, value_name = "FORMAT", overrides_with = "log_format")]
    pub(super) log_format: Option<String>,
}

impl ServeArgs {
    /// Returns the sources of the configuration, this process's environment among them.
    pub(super) fn sources(&self) -> Sources {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Sources {
            path: self.config.clone(),
            environment: environment.collect(),
            flags: self.flags(),
        }
    }

    fn flags(&self) -> Vec<Flag> {
        let single = [
            ("--data-dir", "server.data_dir", &self.data_dir),
            ("--http", "server.http", &self.http),
            ("--otlp-grpc", "server.otlp_grpc", &self.otlp_grpc),
            ("--otlp-http", "server.otlp_http", &self.otlp_http),
            ("--retention", "storage.retention", &self.retention),
            ("--alerting", "alerting.file", &self.alerting),
            ("--log-format", "log.format", &self.log_format),
        ];
        let mut flags: Vec<Flag> = single
            .into_iter()
            .filter_map(|(name, key, value)| {
                Some(Flag { name, key, value: Value::String(value.clone()?) })
            })
            .collect();
        if !self.rules.is_empty() {
            let files = self.rules.iter().cloned().map(Value::String).collect();
            flags.push(Flag { name: "--rules", key: "rules.files", value: Value::Array(files) });
        }
        flags
    }
}

pub(super) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let config = Config::load(args.sources())?;
    logging::start(&config.sections.log)?;
    block_on(async {
        let failed = |error: AppError| CliError::of(error.kind(), &error);
        let clock: SharedClock = Arc::new(SystemClock::new());
        // On the heap: what is wired holds every room, and would be copied from frame to frame.
        let app = Box::pin(App::build(config, clock)).await.map_err(failed)?;
        let shutdown = CancellationToken::new();
        spawn_detached(stop_on_signal(shutdown.clone()));
        Box::pin(app.run(shutdown)).await.map_err(failed)
    })
}

/// Cancels the token when the process is asked to stop.
pub(super) async fn stop_on_signal(shutdown: CancellationToken) {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        return tracing::error!("signals cannot be heard: stop the server by killing it");
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shutdown.cancel();
}
