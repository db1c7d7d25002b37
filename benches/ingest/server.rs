//! The release server on a core of its own, and what the kernel says it used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::http::get;
use super::run::Port;

const GENERATOR_CORE: &str = "0";
const SERVER_CORE: &str = "1";
/// Linux counts CPU time in hundredths of a second, whatever its own tick is.
const TICKS_PER_S: f64 = 100.0;
const PATIENCE_MS: u32 = 120_000;

/// Limits that a million series of ten commons stay below.
const CONFIG: &str = "[limits]\nseries_per_commons = 2000000\n";

/// The binary cargo has just built, or `COMMONWATCH_TEST_BINARY`.
fn binary() -> PathBuf {
    let given = std::env::var_os("COMMONWATCH_TEST_BINARY");
    given.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_commonwatch")), PathBuf::from)
}

/// A running server with an empty data directory.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    home: TempDir,
    http: String,
    otlp_http: String,
}

/// What a server left behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped {
    /// CPU time of its whole life.
    pub(crate) cpu_s: f64,
    /// Size of all its Parquet files.
    pub(crate) parquet_bytes: u64,
}

/// Keeps this process off the server's core.
pub(crate) fn pin_generator() {
    if has_two_cores() {
        let pid = std::process::id().to_string();
        let arguments = ["--cpu-list", "--pid", GENERATOR_CORE, &pid];
        drop(Command::new("taskset").args(arguments).stdout(Stdio::null()).status());
    } else {
        eprintln!("==> one core only: generator and server share it");
    }
}

fn has_two_cores() -> bool {
    // Not the parallelism this process is allowed: it may be pinned already.
    Path::new("/sys/devices/system/cpu/cpu1").exists()
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start() -> io::Result<Self> {
        let home = TempDir::with_prefix("commonwatch-bench-")?;
        fs::write(home.path().join("commonwatch.toml"), CONFIG)?;
        let log = fs::File::create(home.path().join("log"))?;
        let mut command = if has_two_cores() {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", SERVER_CORE]).arg(binary());
            command
        } else {
            Command::new(binary())
        };
        command.args(["serve", "--config", "commonwatch.toml", "--data-dir", "data"]);
        for listener in ["--http", "--otlp-grpc", "--otlp-http"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let child = command.current_dir(home.path()).stdin(Stdio::null()).stderr(log).spawn()?;
        let mut server = Self { child, home, http: String::new(), otlp_http: String::new() };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        for _ in 0..PATIENCE_MS / 20 {
            pause(Duration::from_millis(20));
            if self.child.try_wait()?.is_some() {
                break;
            }
            let Ok(text) = fs::read(self.data_dir().join("addresses.json")) else { continue };
            let Ok(addresses) = serde_json::from_slice::<serde_json::Value>(&text) else {
                continue;
            };
            let address = |name: &str| addresses[name].as_str().unwrap_or_default().to_owned();
            (self.http, self.otlp_http) = (address("http"), address("otlp_http"));
            if get(&self.http, "/-/ready").is_ok_and(|a| a.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
        }
        let log = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        Err(io::Error::other(format!("the server did not become ready:\n{log}")))
    }

    pub(crate) fn address(&self, port: Port) -> &str {
        match port {
            Port::Http => &self.http,
            Port::OtlpHttp => &self.otlp_http,
        }
    }

    /// Returns how many items the server says it has stored: a 200 to OTLP may hide refusals.
    pub(crate) fn n_stored(&self) -> io::Result<u64> {
        let metrics = get(&self.http, "/metrics")?;
        let of = |line: &str| line.starts_with("commonwatch_ingest_stored_items_total");
        let values = metrics.lines().filter(|line| of(line)).map(|line| line.rsplit(' ').next());
        Ok(values.filter_map(|value| value?.parse::<u64>().ok()).sum())
    }

    /// Returns the CPU time the server has used so far.
    pub(crate) fn cpu_s(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        Ok(ticks(&stat, 14) + ticks(&stat, 15))
    }

    /// Returns resident memory now and at its highest.
    pub(crate) fn memory(&self) -> io::Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        Ok((kib("VmRSS:") * 1024, kib("VmHWM:") * 1024))
    }

    /// Stops the server, which writes all it holds into files.
    pub(crate) fn stop(mut self) -> io::Result<Stopped> {
        // The kernel adds a child's time to its parent's account when the child is waited for.
        let before_s = children_cpu_s()?;
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status()?;
        let told_s = children_cpu_s()? - before_s;
        let status = self.child.wait()?;
        if !told.success() || !status.success() {
            let log = fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            return Err(io::Error::other(format!("the server stopped with {status}:\n{log}")));
        }
        let cpu_s = children_cpu_s()? - before_s - told_s;
        let parquet_bytes = size_of(&self.data_dir().join("parquet"))?;
        Ok(Stopped { cpu_s, parquet_bytes })
    }

    fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn children_cpu_s() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    Ok(ticks(&stat, 16) + ticks(&stat, 17))
}

/// Returns a field of `/proc/<pid>/stat`, numbered as in proc(5), in seconds.
fn ticks(stat: &str, field: usize) -> f64 {
    // The second field is the command in parentheses, and may hold spaces.
    let after_command = stat.rsplit(')').next().unwrap_or_default();
    let text = after_command.split_whitespace().nth(field - 3);
    text.and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) / TICKS_PER_S
}

fn size_of(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}

fn pause(length: Duration) {
    let (_sender, nothing) = std::sync::mpsc::channel::<()>();
    let _ = nothing.recv_timeout(length);
}
