//! The real binary, on ports the system chose, in a folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::ask::Caller;
use super::cage::Cage;
use super::http::{self, Request};
use super::wait::{PATIENCE, until};

/// Returns the binary under test: the one cargo has just built, or `COMMONWATCH_TEST_BINARY`, so
/// that a package can be tested as it will be shipped.
pub(crate) fn binary() -> PathBuf {
    let given = std::env::var_os("COMMONWATCH_TEST_BINARY");
    given.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_commonwatch")), PathBuf::from)
}

/// What the server wrote to `<data-dir>/addresses.json`.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Addresses {
    pub(crate) http: String,
    pub(crate) otlp_grpc: String,
    pub(crate) otlp_http: String,
}

/// How to start a server; starting it twice is the same server before and after.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    story: &'static str,
    home: Arc<TempDir>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    cage: Option<Arc<Cage>>,
    /// Words of the shell that the server is started behind.
    before: String,
}

impl Setup {
    /// Returns a server without configuration in a new folder; `story` names its log file.
    pub(crate) fn new(story: &'static str) -> Self {
        let home =
            TempDir::with_prefix(format!("commonwatch-{story}-")).expect("a temporary folder");
        Self {
            story,
            home: Arc::new(home),
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            cage: None,
            before: String::new(),
        }
    }

    /// Sets the whole configuration file.
    pub(crate) fn config(self, toml: &str) -> Self {
        fs::write(self.home.path().join("commonwatch.toml"), toml).expect("the folder is ours");
        self
    }

    /// Adds command-line arguments.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Sets a variable of the process's environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server through another program, which gets the server's command line after its own
    /// arguments and must become the server.
    pub(crate) fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Arms faults of the disk; `storage::disk::faults` says how they are written.
    pub(crate) fn faults(self, rules: &str) -> Self {
        self.environment("COMMONWATCH_FAULTS", rules)
    }

    /// Puts the server into a memory cage.
    pub(crate) fn cage(mut self, cage: &Arc<Cage>) -> Self {
        self.cage = Some(Arc::clone(cage));
        self
    }

    /// Starts the server behind words of the shell, `ulimit -n 64 &&` say.
    pub(crate) fn before(mut self, words: &str) -> Self {
        self.before = words.to_owned();
        self
    }

    /// Returns the folder that holds the data directory and whatever else the story needs.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Starts the server and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self) -> Server {
        let mut server = self.spawn();
        server.wait_until_ready();
        server
    }

    /// Starts the process and returns at once.
    pub(crate) fn spawn(&self) -> Server {
        let log = log_path(self.story);
        let log_file = File::create(&log).expect("the log folder is ours");
        drop(fs::remove_file(self.data_dir().join("addresses.json")));
        let child = self
            .command()
            .current_dir(self.home.path())
            .args(self.command_line())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log_file.try_clone().expect("a second handle"))
            .stderr(log_file)
            .spawn()
            .expect("the binary was built");
        Server { child, addresses: None, setup: self.clone(), log }
    }

    /// Returns the command without its arguments; a shell before it becomes it.
    fn command(&self) -> Command {
        let cage = self.cage.as_ref().map(|cage| cage.entry()).unwrap_or_default();
        let before = format!("{cage}{}", self.before);
        let mut words = self.wrapper.clone();
        if !before.is_empty() {
            words.extend(["sh".into(), "-c".into(), format!("{before} exec \"$0\" \"$@\"")]);
        }
        words.push(binary().display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    fn command_line(&self) -> Vec<String> {
        let mut line = vec!["serve".to_owned()];
        let config = self.home.path().join("commonwatch.toml");
        if config.exists() {
            line.extend(["--config".to_owned(), config.display().to_string()]);
        }
        line.extend(["--data-dir".to_owned(), self.data_dir().display().to_string()]);
        let listeners = ["--http", "--otlp-grpc", "--otlp-http"].map(str::to_owned);
        for listener in listeners.into_iter().filter(|flag| !self.arguments.contains(flag)) {
            line.extend([listener, "127.0.0.1:0".to_owned()]);
        }
        line.extend(self.arguments.iter().cloned());
        line
    }
}

/// A running server; dropping it kills the process, and after a failure shows its log.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    addresses: Option<Addresses>,
    setup: Setup,
    log: PathBuf,
}

impl Server {
    /// Waits until the server has said where it listens, which is before it is ready.
    #[track_caller]
    pub(crate) fn wait_for_addresses(&mut self) -> Addresses {
        let file = self.setup.data_dir().join("addresses.json");
        until("the server's addresses", PATIENCE, || {
            self.still_runs()?;
            let text = fs::read(&file).map_err(|error| error.to_string())?;
            serde_json::from_slice(&text).map_err(|error| error.to_string())
        })
    }

    /// Waits until the server answers that it is ready.
    #[track_caller]
    pub(crate) fn wait_until_ready(&mut self) {
        self.wait_until_ready_within(PATIENCE);
    }

    /// Waits for a start that has more to replay than others.
    #[track_caller]
    pub(crate) fn wait_until_ready_within(&mut self, limit: Duration) {
        let addresses = self.wait_for_addresses();
        until("the server to be ready", limit, || {
            self.still_runs()?;
            let answer = http::send(&addresses.http, &Request::get("/-/ready"));
            match answer.map_err(|error| error.to_string())? {
                ready if ready.status == 200 => Ok(()),
                waiting => Err(format!("{} {}", waiting.status, waiting.text())),
            }
        });
        self.addresses = Some(addresses);
    }

    /// Waits until the server is ready or has ended; returns how it ended.
    #[track_caller]
    pub(crate) fn wait_until_ready_or_dead(&mut self) -> Option<ExitStatus> {
        let file = self.setup.data_dir().join("addresses.json");
        until("the server to be ready or to end", PATIENCE, || {
            if let Some(ended) = self.ended() {
                return Ok(Some(ended));
            }
            let text = fs::read(&file).map_err(|error| error.to_string())?;
            let addresses: Addresses =
                serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            let answer = http::send(&addresses.http, &Request::get("/-/ready"));
            match answer.map_err(|error| error.to_string())? {
                ready if ready.status == 200 => {
                    self.addresses = Some(addresses);
                    Ok(None)
                }
                waiting => Err(format!("{} {}", waiting.status, waiting.text())),
            }
        })
    }

    /// Returns how the process ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the process is ours")
    }

    #[track_caller]
    pub(crate) fn addresses(&self) -> &Addresses {
        self.addresses.as_ref().expect("the server was waited for")
    }

    /// Returns a caller without credentials.
    #[track_caller]
    pub(crate) fn caller(&self) -> Caller {
        Caller::new(self.addresses())
    }

    /// Returns a caller that shows `token`.
    #[track_caller]
    pub(crate) fn caller_with(&self, token: &str) -> Caller {
        Caller::new(self.addresses()).with_token(token)
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns resident memory now and at its highest, in bytes.
    #[track_caller]
    pub(crate) fn memory(&self) -> (u64, u64) {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("the process runs");
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
    }

    /// Returns all that the process has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the resident memory of the process.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process runs, on Linux");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("every process has a VmRSS") * 1024
    }

    /// Ends the process at once, as the kernel's out-of-memory killer would.
    pub(crate) fn kill_9(mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// Asks the process to stop and returns at once.
    pub(crate) fn ask_to_stop(&self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is installed");
        assert!(told.success(), "the process has ended already: {}", self.log());
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        until("the process to end", PATIENCE, || {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            ended.ok_or_else(|| "still running".to_owned())
        })
    }

    /// Stops the server in the ordinary way: everything it accepted is in its files afterwards.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.ask_to_stop();
        let status = self.wait_for_exit();
        assert!(status.success(), "stopped with {status}: {}", self.log());
    }

    fn still_runs(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            ended => panic!("the server ended early ({ended:?}):\n{}", self.log()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- end of {}:", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn log_path(story: &str) -> PathBuf {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it-logs");
    fs::create_dir_all(&folder).expect("the target folder is ours");
    let process = std::process::id();
    folder.join(format!("{story}-{process}-{}.log", COUNTER.fetch_add(1, Ordering::Relaxed)))
}
