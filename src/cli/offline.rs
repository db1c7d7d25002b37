//! Questions to a data directory without a server: one is started on loopback for as long as the
//! question takes, so that log, head and files are read by the code that always reads them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use toml::Value;

use super::CliError;
use super::client::{Client, ServerArgs};
use crate::app::{App, AppError};
use crate::base::clock::{SharedClock, SystemClock};
use crate::base::tasks::spawn_joined;
use crate::config::{Config, Flag, Sources};

/// How often the server is asked whether it has replayed the log.
const READY_EVERY: Duration = Duration::from_millis(20);

/// Starts a server on a data directory and returns what `ask` makes of it. A directory that is not
/// there, or that another server uses, is an error.
pub(super) async fn with_server<T>(
    data_dir: &Path,
    ask: impl AsyncFnOnce(Client) -> Result<T, CliError>,
) -> Result<T, CliError> {
    if !data_dir.is_dir() {
        return Err(CliError::failed(format!("there is no data directory {}", data_dir.display())));
    }
    let failed = |error: AppError| CliError::of(error.kind(), &error);
    let clock: SharedClock = Arc::new(SystemClock::new());
    let app = Box::pin(App::build(config(data_dir)?, clock)).await.map_err(failed)?;
    let client = Client::new(&ServerArgs::at(format!("http://{}", app.addresses().http)))?;
    let shutdown = CancellationToken::new();
    let running = spawn_joined(Box::pin(app.run(shutdown.clone())));
    let answer = async {
        while !client.send("GET", "/-/ready", &[], String::new()).await?.status.is_success() {
            if running.is_finished() {
                return Err(CliError::failed("the data directory could not be opened"));
            }
            tokio::time::sleep(READY_EVERY).await;
        }
        ask(client).await
    };
    let answer = answer.await;
    shutdown.cancel();
    let ended = running.await.map_err(|error| CliError::failed(error.to_string()))?;
    ended.map_err(failed)?;
    answer
}

fn config(data_dir: &Path) -> Result<Config, CliError> {
    let text = |name, key, value: &str| Flag { name, key, value: Value::String(value.to_owned()) };
    let flags = vec![
        text("--data-dir", "server.data_dir", &data_dir.display().to_string()),
        text("--http", "server.http", "127.0.0.1:0"),
        text("--otlp-grpc", "server.otlp_grpc", "off"),
        text("--otlp-http", "server.otlp_http", "off"),
        Flag { name: "offline", key: "server.tls_listeners", value: Value::Array(Vec::new()) },
        // Nothing is removed or paged because somebody looked.
        text("--retention", "storage.retention", "0"),
        Flag { name: "--rules", key: "rules.files", value: Value::Array(Vec::new()) },
    ];
    Ok(Config::load(Sources { flags, ..Sources::default() })?)
}
