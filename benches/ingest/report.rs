//! The figures of each load as a line of a table and as a JSON file.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

/// What one load cost.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) n_items: u64,
    pub(crate) n_warm_up_items: u64,
    pub(crate) cpu_warm_up_s: f64,
    pub(crate) cpu_ack_s: f64,
    pub(crate) cpu_files_s: f64,
    pub(crate) wall_ns: u64,
    pub(crate) parquet_bytes: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_peak_bytes: u64,
    pub(crate) ack_p50_ns: u64,
    pub(crate) ack_p99_ns: u64,
}

impl Row {
    /// Items acknowledged for each CPU-second of the server.
    fn items_per_cpu_s(&self) -> f64 {
        number(self.n_items) / self.cpu_ack_s.max(0.01)
    }

    /// The same when the files are written as well. The files hold the warm-up's items too, so
    /// their share of that work is left out.
    pub(crate) fn items_with_files_per_cpu_s(&self) -> f64 {
        let share = number(self.n_items) / number(self.n_items + self.n_warm_up_items);
        number(self.n_items) / (self.cpu_ack_s + self.cpu_files_s * share).max(0.01)
    }

    pub(crate) fn bytes_per_item(&self) -> f64 {
        number(self.parquet_bytes) / number(self.n_items + self.n_warm_up_items)
    }

    pub(crate) fn ack_p99_ms(&self) -> f64 {
        ms(self.ack_p99_ns)
    }

    fn new_item_us(&self) -> f64 {
        self.cpu_warm_up_s * 1e6 / number(self.n_warm_up_items.max(1))
    }
}

/// Writes a row to `target/bench/<name>.json`.
pub(crate) fn save(row: &Row) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let name = row.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").replace("--", "-");
    let figures = json!({
        "load": row.name,
        "items": row.n_items,
        "cpu_s_to_acknowledgement": row.cpu_ack_s,
        "cpu_s_for_files": row.cpu_files_s,
        "items_per_cpu_s": row.items_per_cpu_s(),
        "items_per_cpu_s_with_files": row.items_with_files_per_cpu_s(),
        "cpu_us_per_new_series": if row.n_warm_up_items > 0 { Some(row.new_item_us()) } else { None },
        "bytes_per_item": row.bytes_per_item(),
        "rss_bytes": row.rss_bytes,
        "rss_peak_bytes": row.rss_peak_bytes,
        "ack_p50_ms": ms(row.ack_p50_ns),
        "ack_p99_ms": ms(row.ack_p99_ns),
        "wall_s": ms(row.wall_ns) / 1000.0,
    });
    let written = fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join(format!("{name}.json")), format!("{figures:#}\n")));
    if let Err(error) = written {
        eprintln!("{}: {error}", folder.display());
    }
}

/// Prints what a load's items cost in multiples of walking over their bytes.
pub(crate) fn print_multiple(row: &Row, walked_ns: f64) {
    let stored_ns = 1e9 / row.items_with_files_per_cpu_s();
    let line = format!(
        "{}: walking over an item and hashing its texts takes {walked_ns:.0} ns, storing it {stored_ns:.0} ns: {:.1} times that",
        row.name,
        stored_ns / walked_ns
    );
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// Prints all rows as one aligned table.
pub(crate) fn print(rows: &[Row]) {
    let mut out = std::io::stdout().lock();
    let heads = "      items   CPU-s    items/CPU-s   with files  B/item  RSS MiB  peak  ack p50 ms  p99 ms  new us";
    drop(writeln!(out, "\n{:<26}{heads}", "load"));
    for row in rows {
        let new =
            if row.n_warm_up_items > 0 { format!("{:.1}", row.new_item_us()) } else { "-".into() };
        drop(writeln!(
            out,
            "{:<26}{:>11}{:>8.2}{:>15.0}{:>13.0}{:>8.2}{:>9}{:>6}{:>12.2}{:>8.2}{:>8}",
            row.name,
            row.n_items,
            row.cpu_ack_s,
            row.items_per_cpu_s(),
            row.items_with_files_per_cpu_s(),
            row.bytes_per_item(),
            row.rss_bytes >> 20,
            row.rss_peak_bytes >> 20,
            ms(row.ack_p50_ns),
            ms(row.ack_p99_ns),
            new,
        ));
    }
    let notes = "CPU-s: server's user and system time until the last acknowledgement; with files: \
                 and until everything is in Parquet;\nB/item: Parquet files alone; new us: CPU time \
                 for the first sample of a new series.";
    drop(writeln!(out, "\n{notes}"));
}

fn ms(ns: u64) -> f64 {
    number(ns) / 1e6
}

/// Counts up to 2^53 are exact.
fn number(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    {
        count as f64
    }
}
