//! One binary for everything that is measured, a module a subject.
//!
//! `cargo bench --bench bench -- logs` runs only the loads whose names contain `logs`.

mod ingest;

use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let is_long = std::env::var("BENCH").is_ok_and(|length| length == "long");
    match ingest::run(&wanted, is_long) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
