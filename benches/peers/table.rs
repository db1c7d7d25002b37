//! The figures side by side, the ratios, and whether the aims are met.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

/// What a figure of ours should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// At most this share of VictoriaMetrics' figure.
    OfVictoriaMetrics(f64),
    /// At most this share of Prometheus' figure.
    OfPrometheus(f64),
    /// At most what the better of both took.
    OfBetterPeer,
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

/// One figure of each server: ours, VictoriaMetrics', Prometheus'.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    values: [Option<f64>; 3],
    aims: Vec<Aim>,
}

impl Row {
    pub(crate) fn new(what: &str, unit: &'static str, values: [Option<f64>; 3]) -> Self {
        Self { what: what.to_owned(), unit, values, aims: Vec::new() }
    }

    pub(crate) fn aim(mut self, aim: Aim) -> Self {
        self.aims.push(aim);
        self
    }

    fn ratio(&self, peer: usize) -> Option<f64> {
        Some(self.values[0]? / self.values[peer].filter(|value| *value > 0.0)?)
    }

    /// Returns the aims in words with whether each is met, if the servers it needs were measured.
    fn verdicts(&self) -> Vec<(String, bool)> {
        let verdict = |aim: &Aim| match *aim {
            Aim::OfVictoriaMetrics(max) => {
                Some((format!("<= {max} of VictoriaMetrics"), self.ratio(1)? <= max))
            }
            Aim::OfPrometheus(max) => {
                Some((format!("<= {max} of Prometheus"), self.ratio(2)? <= max))
            }
            Aim::OfBetterPeer => {
                let better = self.values[1]?.min(self.values[2]?);
                Some(("<= the better peer".to_owned(), self.values[0]? <= better))
            }
            Aim::AtMost(max) => {
                Some((format!("<= {} {}", short(max), self.unit), self.values[0]? <= max))
            }
            Aim::AtLeast(min) => {
                Some((format!(">= {} {}", short(min), self.unit), self.values[0]? >= min))
            }
        };
        self.aims.iter().filter_map(verdict).collect()
    }
}

/// Prints all rows and a verdict.
pub(crate) fn print(rows: &[Row]) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(
        out,
        "\nVictoriaMetrics {}, Prometheus {}; {NOTES}\n",
        version("victoria-metrics"),
        version("prometheus")
    ));
    drop(writeln!(
        out,
        "{:<44}{:<10}{:>12}{:>16}{:>11}{:>9}{:>9}",
        "", "", "commonwatch", "VictoriaMetrics", "Prometheus", "of VM", "of Prom."
    ));
    let (mut n_met, mut missed) = (0, Vec::new());
    for row in rows {
        let [ours, vm, prometheus] = row.values.map(|value| value.map_or("-".to_owned(), short));
        let [of_vm, of_prometheus] = [1, 2]
            .map(|peer| row.ratio(peer).map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
        drop(write!(
            out,
            "{:<44}{:<10}{ours:>12}{vm:>16}{prometheus:>11}{of_vm:>9}{of_prometheus:>9}",
            row.what, row.unit
        ));
        for (aim, is_met) in row.verdicts() {
            drop(write!(out, "   {aim}: {}", if is_met { "met" } else { "MISSED" }));
            if is_met { n_met += 1 } else { missed.push(format!("{} {aim}", row.what)) }
        }
        drop(writeln!(out));
    }
    let n_aims = n_met + missed.len();
    let missed = if missed.is_empty() { "none".to_owned() } else { missed.join("; ") };
    drop(writeln!(out, "\npeers: {n_met} of {n_aims} aims met; missed: {missed}"));
}

const NOTES: &str = "each server as shipped on one core, the load generator on the other.\n\
    CPU is user and system time of the server's process and its children. \"Stored\": ours is in Parquet and synced,\n\
    VictoriaMetrics has flushed and merged until idle, Prometheus is in its log and head (its blocks are not charged).\n\
    Each acknowledgement of ours waits for a sync to disk, theirs do not. Disk: Parquet; data and index after a forced\n\
    merge, without caches; the block that the head would become. A missing right answer: acknowledged samples were lost";

/// Writes the rows to `target/bench/peers.json`.
pub(crate) fn save(rows: &[Row]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let row = |row: &Row| {
        let [ours, vm, prometheus] = row.values;
        let aims: Vec<_> = row
            .verdicts()
            .into_iter()
            .map(|(aim, is_met)| json!({"aim": aim, "met": is_met}))
            .collect();
        json!({
            "what": row.what, "unit": row.unit, "commonwatch": ours, "victoria_metrics": vm,
            "prometheus": prometheus, "aims": aims,
        })
    };
    let text = format!("{:#}\n", rows.iter().map(row).collect::<serde_json::Value>());
    let written =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("peers.json"), text));
    if let Err(error) = written {
        eprintln!("{}: {error}", folder.display());
    }
}

/// Returns the version of a Debian package.
fn version(package: &str) -> String {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "(version unknown)".to_owned())
}

/// Writes a number with about three digits.
fn short(value: f64) -> String {
    match value.abs() {
        10_000.0.. => format!("{:.0}k", value / 1000.0),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
