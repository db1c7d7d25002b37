//! A server's process on a core of its own, and what the kernel says that it used.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::load::send::pause;

const GENERATOR_CORE: &str = "0";
const SERVER_CORE: &str = "1";
/// Linux counts CPU time in hundredths of a second, whatever its own tick is.
const TICKS_PER_S: f64 = 100.0;

/// A server is idle when it uses less than this share of a core, for this long.
const IDLE_SHARE: f64 = 0.03;
const IDLE_LENGTH: Duration = Duration::from_secs(2);
/// How long to wait until a server is idle: one that never is has timers of its own.
const SETTLE_ROUNDS_MAX: u32 = 150;

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

/// A running process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program on the server's core, its output going to `log`.
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        folder: &Path,
        log: &Path,
    ) -> io::Result<Self> {
        let mut command = if has_two_cores() {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", SERVER_CORE]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        command.args(arguments).current_dir(folder).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        Ok(Self { child: command.spawn()? })
    }

    /// Returns true when the process has ended.
    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Returns the CPU time used so far, that of its children with it.
    pub(crate) fn cpu_s(&self) -> io::Result<f64> {
        let pids = tree(self.child.id());
        let stats = pids.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")));
        // Fields 16 and 17 are those of children that have ended.
        Ok(stats
            .flatten()
            .map(|stat| (14..=17).map(|field| ticks(&stat, field)).sum::<f64>())
            .sum())
    }

    /// Returns resident memory now and at its highest, children included.
    pub(crate) fn memory(&self) -> io::Result<(u64, u64)> {
        let mut sum = (0, 0);
        for pid in tree(self.child.id()) {
            let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
            let kib = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            };
            sum.0 += kib("VmRSS:").unwrap_or(0) * 1024;
            sum.1 += kib("VmHWM:").unwrap_or(0) * 1024;
        }
        Ok(sum)
    }

    /// Waits until what goes on in the background has come to rest.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let mut before_s = self.cpu_s()?;
        for _ in 0..SETTLE_ROUNDS_MAX {
            pause(IDLE_LENGTH);
            let now_s = self.cpu_s()?;
            if now_s - before_s < IDLE_SHARE * IDLE_LENGTH.as_secs_f64() {
                break;
            }
            before_s = now_s;
        }
        Ok(())
    }

    /// Ends the process in order, and returns the CPU time of its whole life.
    pub(crate) fn stop(mut self) -> io::Result<f64> {
        let before_s = children_cpu_s()?;
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let kill_s = children_cpu_s()? - before_s;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("the server stopped with {status}")));
        }
        // The kernel adds a child's time to its parent's account when the child is waited for.
        Ok(children_cpu_s()? - before_s - kill_s)
    }

    /// Ends the process at once.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns a process and all that descend from it.
fn tree(root: u32) -> Vec<u32> {
    let mut pids = vec![root];
    let mut at = 0;
    while let Some(pid) = pids.get(at) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let children: Vec<u32> = tasks
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
            .flat_map(|text| text.split_whitespace().map(str::parse).collect::<Vec<_>>())
            .flatten()
            .collect();
        pids.extend(children);
        at += 1;
    }
    pids
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
