//! One binary for everything that is measured, a module a subject.
//!
//! `cargo bench --bench bench -- logs` runs only the ingest loads whose names contain `logs`;
//! `cargo bench --bench bench -- peers` runs ours beside Prometheus and VictoriaMetrics, `… -- search`
//! asks for lines and traces among a million of each. `BENCH=long`
//! and `PEERS=long` take loads that last.

mod ingest;
mod load;
mod peers;
mod search;
mod servers;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let is_long = |name: &str| std::env::var(name).is_ok_and(|length| length == "long");
    servers::process::pin_generator();
    load::remote_write::self_check();
    let result = match words.split_first() {
        Some((first, wanted)) if first == "peers" => peers::run(wanted, is_long("PEERS")),
        Some((first, _)) if first == "search" => search::run(is_long("BENCH")),
        _ => ingest::run(&words, is_long("BENCH")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
