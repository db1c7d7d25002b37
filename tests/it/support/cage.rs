//! A memory cage for a server: the kernel ends whatever in it goes past the limit. It can be one of
//! processor time too, which the kernel hands out in slices.
//!
//! It is a cgroup of its own, version 1 or 2, which takes root. Without root there is no cage that
//! counts memory as it is used (`RLIMIT_AS` counts addresses, of which an allocator reserves
//! gigabytes), so the story only looks at what the process held at its highest, and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A cage; dropping it removes it, once its processes have ended.
#[derive(Debug)]
pub(crate) struct Cage {
    folder: Option<PathBuf>,
    /// Version 1 counts processor time in a hierarchy of its own.
    cpu_folder: Option<PathBuf>,
    is_v2: bool,
    pub(crate) limit_bytes: u64,
}

/// How often processor time is handed out, in microseconds: a tenth of what the kernel does by
/// itself, so that a process that has used it up waits shortly.
const CPU_PERIOD_US: u64 = 10_000;

impl Cage {
    /// Makes a cage, or something that only knows its limit.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let tried = [(root.join("memory"), "memory.limit_in_bytes"), (root.into(), "memory.max")];
        for (parent, limit) in tried {
            if let Some(folder) = make(&parent, limit, &limit_bytes.to_string()) {
                // Swap would make it a cage with an open door.
                drop(fs::write(folder.join("memory.swap.max"), "0"));
                drop(fs::write(folder.join("memory.swappiness"), "0"));
                let (folder, is_v2) = (Some(folder), limit == "memory.max");
                return Self { folder, cpu_folder: None, is_v2, limit_bytes };
            }
        }
        Self { folder: None, cpu_folder: None, is_v2: false, limit_bytes }
    }

    /// Limits the processor time too, in thousandths of a core; where that cannot be, it is not.
    pub(crate) fn millicores(mut self, millicores: u64) -> Self {
        let quota_us = millicores * CPU_PERIOD_US / 1_000;
        match &self.folder {
            Some(folder) if self.is_v2 => {
                drop(fs::write(folder.join("cpu.max"), format!("{quota_us} {CPU_PERIOD_US}")));
            }
            Some(_) => {
                let parent = Path::new("/sys/fs/cgroup/cpu");
                let period = CPU_PERIOD_US.to_string();
                self.cpu_folder = make(parent, "cpu.cfs_period_us", &period);
                if let Some(folder) = &self.cpu_folder {
                    drop(fs::write(folder.join("cpu.cfs_quota_us"), quota_us.to_string()));
                }
            }
            None => {}
        }
        self
    }

    /// Returns the shell's words that put the process that runs them into the cage.
    pub(crate) fn entry(&self) -> String {
        let folders = self.folder.iter().chain(&self.cpu_folder);
        folders.map(|folder| format!("echo $$ > {}/cgroup.procs && ", folder.display())).collect()
    }

    /// Returns true when the kernel holds the cage's processes to it.
    pub(crate) fn is_real(&self) -> bool {
        self.folder.is_some()
    }

    /// Returns what kind of cage it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match (&self.folder, self.is_v2) {
            (Some(_), true) => "cgroup v2",
            (Some(_), false) => "cgroup v1",
            (None, _) => "no cgroup, only looked at",
        }
    }

    /// Returns how many processes the kernel has ended for want of memory.
    pub(crate) fn n_killed(&self) -> u64 {
        let Some(folder) = &self.folder else { return 0 };
        let file = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

/// Makes a cgroup with a limit; `None` where its controller is not to be had.
fn make(parent: &Path, limit: &str, value: &str) -> Option<PathBuf> {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!("commonwatch-test-{}-{n}", std::process::id()));
    fs::create_dir(&folder).ok()?;
    // A folder without this file is no cgroup, or one without the controller.
    if folder.join(limit).exists() && fs::write(folder.join(limit), value).is_ok() {
        return Some(folder);
    }
    drop(fs::remove_dir(&folder));
    None
}

impl Drop for Cage {
    fn drop(&mut self) {
        let mut folders: Vec<_> = self.folder.iter().chain(&self.cpu_folder).collect();
        for _ in 0..200 {
            folders.retain(|folder| fs::remove_dir(folder).is_err());
            if folders.is_empty() {
                return;
            }
            super::wait::pause(std::time::Duration::from_millis(25));
        }
    }
}
