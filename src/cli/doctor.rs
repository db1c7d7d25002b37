//! `commonwatch doctor grafana`: the requests of Grafana's data sources, against a live server.

use std::io::Write;

use clap::Subcommand;

use super::client::{Client, ServerArgs};
use super::{CliError, block_on};
use crate::api::fixture::{self, Exchange};
use crate::base::{Clock as _, SystemClock};

#[derive(Debug, Subcommand)]
pub(super) enum DoctorCommand {
    /// Replay what Grafana asks, report each request, print provisioning YAML
    Grafana(ServerArgs),
}

pub(super) fn run(command: &DoctorCommand, out: &mut dyn Write) -> Result<(), CliError> {
    let DoctorCommand::Grafana(args) = command;
    let client = Client::new(args)?;
    let now_ms = SystemClock::new().now_ms();
    let mut exchanges = Vec::new();
    for text in [fixture::PROMETHEUS, fixture::LOKI] {
        exchanges.extend(fixture::parse(text, now_ms).map_err(CliError::failed)?);
    }
    let n_all = exchanges.len();
    let mut n_failed = 0;
    for exchange in &exchanges {
        let faults = block_on(replay(&client, exchange))?;
        let verdict = if faults.is_empty() { "ok  " } else { "FAIL" };
        writeln!(out, "{verdict} {}", exchange.title)?;
        for fault in &faults {
            writeln!(out, "     {} {}: {fault}", exchange.method, exchange.target)?;
        }
        n_failed += usize::from(!faults.is_empty());
    }
    writeln!(out, "{} of {n_all} requests are answered as Grafana expects\n", n_all - n_failed)?;
    out.write_all(provisioning(&args.server).as_bytes())?;
    if n_failed > 0 {
        return Err(CliError::failed(format!("{n_failed} of {n_all} requests failed")));
    }
    Ok(())
}

async fn replay(client: &Client, exchange: &Exchange) -> Result<Vec<String>, CliError> {
    let headers: Vec<(&str, &str)> =
        exchange.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let sent = client.send(&exchange.method, &exchange.target, &headers, exchange.body.clone());
    let answer = sent.await?;
    Ok(exchange.judge(answer.status.as_u16(), &String::from_utf8_lossy(&answer.body)))
}

/// Returns a file for Grafana's `provisioning/datasources/`.
pub(super) fn provisioning(server: &str) -> String {
    let url = server.trim_end_matches('/');
    format!(
        "# provisioning/datasources/commonwatch.yaml\n\
         apiVersion: 1\n\
         datasources:\n\
         \x20 - name: commonwatch\n\
         \x20   type: prometheus\n\
         \x20   uid: commonwatch\n\
         \x20   access: proxy\n\
         \x20   url: {url}\n\
         \x20   isDefault: true\n\
         \x20   jsonData:\n\
         \x20     httpMethod: POST\n\
         \x20     prometheusType: Prometheus\n\
         \x20     timeInterval: 15s\n\
         \x20     # With tokens configured, give Grafana one that reads:\n\
         \x20     # httpHeaderName1: Authorization\n\
         \x20   # secureJsonData:\n\
         \x20   #   httpHeaderValue1: Bearer $COMMONWATCH_TOKEN\n\
         \x20 - name: commonwatch logs\n\
         \x20   type: loki\n\
         \x20   uid: commonwatch-logs\n\
         \x20   access: proxy\n\
         \x20   url: {url}\n\
         \x20   # A token of this one needs `role = \"developer\"`; headers as above.\n\
         \x20   jsonData:\n\
         \x20     maxLines: 1000\n"
    )
}
