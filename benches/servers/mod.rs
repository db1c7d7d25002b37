//! The servers that are measured: ours, and those that people would pick instead.
//!
//! All run as they are shipped, with an empty data directory, on ports of their own. What differs:
//! ours syncs its log before it answers, theirs do not.

pub(crate) mod process;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::load::Port;
use crate::load::http::{get, post_empty};
use crate::load::send::pause;
use process::Process;

const PATIENCE_MS: u64 = 120_000;
const POLL_MS: u64 = 5;

/// Limits that a million series of ten commons stay below, time to write all of them at the end, and
/// time, series and samples for questions that read everything.
const OUR_CONFIG: &str = "[limits]\nseries_per_commons = 2000000\nseries_per_metric = 2000000\n\
     [query]\ntimeout = \"10m\"\ntimeout_max = \"10m\"\nseries_max = 1000000\n\
     samples_max = 500000000\n[storage]\nstop_flush = \"10m\"\n";
/// Without targets: a server that also scrapes itself has samples of today, and refuses older ones.
const PROMETHEUS_CONFIG: &str = "global:\n  scrape_interval: 1m\n";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Commonwatch,
    VictoriaMetrics,
    Prometheus,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Commonwatch, Kind::VictoriaMetrics, Kind::Prometheus];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Commonwatch => "commonwatch",
            Kind::VictoriaMetrics => "VictoriaMetrics",
            Kind::Prometheus => "Prometheus",
        }
    }

    fn binary(self) -> PathBuf {
        match self {
            // The one cargo has just built, unless another is named.
            Kind::Commonwatch => std::env::var_os("COMMONWATCH_TEST_BINARY")
                .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_commonwatch")), PathBuf::from),
            Kind::VictoriaMetrics => PathBuf::from("victoria-metrics"),
            Kind::Prometheus => PathBuf::from("prometheus"),
        }
    }

    fn ready_path(self) -> &'static str {
        if self == Kind::VictoriaMetrics { "/health" } else { "/-/ready" }
    }

    fn arguments(self, http: &str, otlp_grpc: &str, otlp_http: &str) -> Vec<String> {
        let words = match self {
            Kind::Commonwatch => format!(
                "serve --config commonwatch.toml --data-dir data --http {http} \
                 --otlp-grpc {otlp_grpc} --otlp-http {otlp_http}"
            ),
            // By default it closes a connection after two minutes, whatever goes on there.
            Kind::VictoriaMetrics => {
                format!("-httpListenAddr={http} -storageDataPath=data -http.connTimeout=24h")
            }
            Kind::Prometheus => format!(
                "--config.file=prometheus.yml --storage.tsdb.path=data \
                 --web.listen-address={http} --web.enable-remote-write-receiver \
                 --web.enable-admin-api"
            ),
        };
        words.split_whitespace().map(str::to_owned).collect()
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    process: Process,
    home: TempDir,
    http: String,
    otlp_http: String,
}

/// What a server left on disk, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OnDisk {
    /// What stays: Parquet and what is left of the log; data and index; blocks.
    pub(crate) data: u64,
    /// What the next compaction removes: Prometheus' log and head.
    pub(crate) log: u64,
}

/// What a server came to in the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped {
    /// CPU time of its whole life.
    pub(crate) cpu_s: f64,
    pub(crate) disk: OnDisk,
}

impl Server {
    /// Starts a server with an empty data directory and waits until it is ready.
    pub(crate) fn start(kind: Kind) -> io::Result<Self> {
        Self::configured(kind, OUR_CONFIG)
    }

    /// The same, and ours writes its files at this mark of memory.
    pub(crate) fn start_with(kind: Kind, head_soft: &str) -> io::Result<Self> {
        Self::configured(kind, &format!("{OUR_CONFIG}head_soft = \"{head_soft}\"\n"))
    }

    /// The same, with a file of rules that ours evaluates.
    pub(crate) fn start_with_rules(kind: Kind, rules: &str) -> io::Result<Self> {
        let home = TempDir::with_prefix("commonwatch-bench-")?;
        fs::create_dir(home.path().join("alerts"))?;
        fs::write(home.path().join("alerts/rules.yml"), rules)?;
        Self::at_home(kind, OUR_CONFIG, home)
    }

    fn configured(kind: Kind, our_config: &str) -> io::Result<Self> {
        Self::at_home(kind, our_config, TempDir::with_prefix("commonwatch-bench-")?)
    }

    fn at_home(kind: Kind, our_config: &str, home: TempDir) -> io::Result<Self> {
        fs::write(home.path().join("commonwatch.toml"), our_config)?;
        fs::write(home.path().join("prometheus.yml"), PROMETHEUS_CONFIG)?;
        let mut server = Self::spawn(kind, home)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    fn spawn(kind: Kind, home: TempDir) -> io::Result<Self> {
        let (http, otlp_grpc, otlp_http) = (free_address()?, free_address()?, free_address()?);
        let arguments = kind.arguments(&http, &otlp_grpc, &otlp_http);
        let log = home.path().join("log");
        let process = Process::start(&kind.binary(), &arguments, home.path(), &log)?;
        Ok(Self { kind, process, home, http, otlp_http })
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        for _ in 0..PATIENCE_MS / POLL_MS {
            pause(Duration::from_millis(POLL_MS));
            if self.process.has_ended()? {
                break;
            }
            if get(&self.http, self.kind.ready_path()).is_ok_and(|a| a.starts_with("HTTP/1.1 200"))
            {
                return Ok(());
            }
        }
        Err(self.error("did not become ready"))
    }

    fn error(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        io::Error::other(format!("{} {what}:\n{log}", self.kind.name()))
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn address(&self, port: Port) -> &str {
        match port {
            Port::Http => &self.http,
            Port::OtlpHttp => &self.otlp_http,
        }
    }

    /// Kills the server as a power cut would, and starts it again on the same data; returns without
    /// waiting until it is ready.
    pub(crate) fn kill_and_restart(self) -> io::Result<Self> {
        let Self { kind, process, home, .. } = self;
        process.kill()?;
        Self::spawn(kind, home)
    }

    /// Stops the server in order, says when it has ended, and starts it again; returns without waiting
    /// until it is ready.
    pub(crate) fn stop_and_spawn(self, ended: impl FnOnce()) -> io::Result<Self> {
        let Self { kind, process, home, .. } = self;
        process.stop()?;
        ended();
        Self::spawn(kind, home)
    }

    /// Stops the server in order, which writes all it holds to files, and starts it again.
    pub(crate) fn restart(self) -> io::Result<Self> {
        self.stop_and_start().map(|(server, _)| server)
    }

    /// The same, and says what CPU time the first life took.
    pub(crate) fn stop_and_start(self) -> io::Result<(Self, f64)> {
        let Self { kind, process, home, .. } = self;
        let cpu_s = process.stop()?;
        let mut server = Self::spawn(kind, home)?;
        server.wait_until_ready()?;
        Ok((server, cpu_s))
    }

    /// The same, and the kernel forgets what it knows of the data's files before the start.
    pub(crate) fn restart_cold(self) -> io::Result<Self> {
        let Self { kind, process, home, .. } = self;
        process.stop()?;
        for file in files_below(&home.path().join("data")) {
            // With a count of 0 this reads nothing and drops what is cached of the file.
            let status = std::process::Command::new("dd")
                .arg(format!("if={}", file.display()))
                .args(["iflag=nocache", "count=0", "status=none"])
                .status()?;
            if !status.success() {
                return Err(io::Error::other(format!("dd ended with {status}")));
            }
        }
        let mut server = Self::spawn(kind, home)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Returns how large our files of a signal are.
    pub(crate) fn n_bytes_in_files(&self, signal: &str) -> u64 {
        size_of(&self.home.path().join("data/parquet").join(signal))
    }

    /// Returns how many files we have of a signal.
    pub(crate) fn n_files(&self, signal: &str) -> u64 {
        files_below(&self.home.path().join("data/parquet").join(signal)).len() as u64
    }

    /// Returns the sum of one of our own counters over its labels.
    pub(crate) fn counted(&self, name: &str) -> io::Result<f64> {
        let metrics = get(&self.http, "/metrics")?;
        let of =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values = metrics.lines().filter(of).filter_map(|line| line.rsplit(' ').next());
        Ok(values.filter_map(|value| value.parse::<f64>().ok()).sum())
    }

    /// Returns how long our server has merged files; one thread does it, on the one core.
    pub(crate) fn merging_s(&self) -> io::Result<f64> {
        let metrics = get(&self.http, "/metrics")?;
        let sum = metrics.lines().find_map(|line| {
            line.strip_prefix("commonwatch_storage_merge_seconds_sum ")?.parse().ok()
        });
        sum.ok_or_else(|| io::Error::other("no commonwatch_storage_merge_seconds_sum"))
    }

    /// Returns how many items our server says it has stored: a 200 to OTLP may hide refusals.
    pub(crate) fn n_stored(&self) -> io::Result<u64> {
        let metrics = get(&self.http, "/metrics")?;
        let of = |line: &str| line.starts_with("commonwatch_ingest_stored_items_total");
        let values = metrics.lines().filter(|line| of(line)).map(|line| line.rsplit(' ').next());
        Ok(values.filter_map(|value| value?.parse::<u64>().ok()).sum())
    }

    /// Asks for `sum(metric)` at a time; `None` while there is no answer.
    pub(crate) fn ask_sum(&self, metric: &str, time_ms: u64) -> Option<f64> {
        let time = format!("{}.{:03}", time_ms / 1000, time_ms % 1000);
        let path = format!("/api/v1/query?query=sum({metric})&time={time}&nocache=1");
        let answer = get(&self.http, &path).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if !head.starts_with("HTTP/1.1 200") {
            return None;
        }
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        match &body["data"]["result"][0]["value"][1] {
            serde_json::Value::String(text) => text.parse().ok(),
            _ => Some(0.0), // An answer, though an empty one.
        }
    }

    /// Waits until a server that stores in the background has stored, and is idle again.
    pub(crate) fn settle(&self) -> io::Result<()> {
        if self.kind == Kind::VictoriaMetrics {
            post_empty(&self.http, "/internal/force_flush")?;
        }
        self.process.settle()
    }

    /// Brings a server's data into its final form, stops it, and returns what that came to.
    pub(crate) fn finish(self) -> io::Result<Stopped> {
        let cut_blocks_at = "/api/v1/admin/tsdb/snapshot";
        match self.kind {
            Kind::Commonwatch => {} // Stopping writes all it holds as Parquet.
            Kind::VictoriaMetrics => post_empty(&self.http, "/internal/force_merge")?,
            // What the blocks will be, without waiting two hours for them.
            Kind::Prometheus => post_empty(&self.http, cut_blocks_at)?,
        }
        if self.kind != Kind::Commonwatch {
            self.process.settle()?;
        }
        let Self { kind, process, home, .. } = self;
        let log = fs::read_to_string(home.path().join("log"));
        let stopped = process
            .stop()
            .map_err(|error| io::Error::other(format!("{error}:\n{}", log.unwrap_or_default())));
        let disk = on_disk(kind, &home.path().join("data"))?;
        Ok(Stopped { cpu_s: stopped?, disk })
    }
}

fn on_disk(kind: Kind, data: &Path) -> io::Result<OnDisk> {
    let of = |names: &[&str]| names.iter().map(|name| size_of(&data.join(name))).sum();
    Ok(match kind {
        Kind::Commonwatch => OnDisk { data: of(&["parquet", "manifest"]), log: of(&["wal"]) },
        // Not `cache`, which only saves time at the next start.
        Kind::VictoriaMetrics => OnDisk { data: of(&["data", "indexdb", "metadata"]), log: 0 },
        Kind::Prometheus => {
            let log = of(&["wal", "chunks_head"]);
            let snapshots = of(&["snapshots"]);
            // A snapshot holds the blocks there are as well.
            OnDisk { data: snapshots, log }
        }
    })
}

fn files_below(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Returns the bytes of all files below a folder, 0 if there is none.
fn size_of(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size_of(&entry.path())).sum()
}

/// Returns an address that nobody listens on just now.
fn free_address() -> io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
