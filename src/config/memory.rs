//! How much memory there is, and the limits that follow from it when nobody has set them.
//!
//! The defaults are for a machine of 8 GiB and more. On a smaller one, or in a container with a
//! limit, they would add up to more than there is, and the kernel would end the process before it
//! ever said "slow down"; so each is at most a fixed part of `server.memory`. The parts leave half
//! for what is not counted: code, the index of series, a flush under way, and SQL's workers, which
//! take turns at a quarter each.

use std::path::{Path, PathBuf};

use super::ConfigFile;
use crate::base::units::HumanSize;

/// Fits the limits that nobody has set into the memory there is, and notes how much that is.
pub(super) fn fit(file: &mut ConfigFile, is_set: impl Fn(&str) -> bool) {
    let memory = file.server.memory.unwrap_or_else(of_this_process);
    file.server.memory = Some(memory);
    let (storage, ingest, query) = (&mut file.storage, &mut file.limits, &mut file.query);
    let parts: [(&str, &mut HumanSize, u64); 13] = [
        ("storage.head_soft", &mut storage.head_soft, 10),
        ("storage.head_firm", &mut storage.head_firm, 5),
        ("storage.head_hard", &mut storage.head_hard, 4),
        ("storage.series_cache", &mut storage.series_cache, 32),
        ("storage.sample_cache", &mut storage.sample_cache, 32),
        ("storage.grams_cache", &mut storage.grams_cache, 32),
        ("storage.streams_cache", &mut storage.streams_cache, 64),
        ("storage.values_cache", &mut storage.values_cache, 64),
        ("limits.bytes_in_flight", &mut ingest.bytes_in_flight, 8),
        ("limits.bytes_in_flight_per_credential", &mut ingest.bytes_in_flight_per_credential, 16),
        ("server.unread_answers_max", &mut file.server.unread_answers_max, 16),
        ("query.memory", &mut query.memory, 8),
        ("query.memory_all", &mut query.memory_all, 4),
    ];
    for (key, size, divisor) in parts {
        if !is_set(key) {
            *size = (*size).min(whole_mib(memory.0 / divisor));
        }
    }
    // Twice a question's memory is the least that it can be set to.
    if !is_set("query.worker_memory") {
        let part =
            whole_mib(memory.0 / 4).max(WORKER_MEMORY_MIN).max(HumanSize(2 * query.memory.0));
        query.worker_memory = query.worker_memory.min(part);
    }
    // A connection that sends its head, or takes an answer, holds some hundred KiB.
    let n_fit = usize::try_from(memory.0 >> 20).unwrap_or(usize::MAX).max(1);
    if !is_set("server.connections_max") {
        file.server.connections_max = file.server.connections_max.min(n_fit);
    }
}

/// With less to map, a worker's threads do not even start.
const WORKER_MEMORY_MIN: HumanSize = HumanSize::from_mib(256);

/// Rounds down, so that the number can be read; never to nothing.
fn whole_mib(n_bytes: u64) -> HumanSize {
    HumanSize::from_mib((n_bytes >> 20).max(1))
}

/// When the system tells nothing, the defaults stand.
const UNKNOWN: HumanSize = HumanSize(1 << 40);

/// Returns the memory that this process may use: the machine's, or what its control group allows.
fn of_this_process() -> HumanSize {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| limit_in(&file));
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(total_of_machine);
    let least = limits.chain(machine).min();
    least.map_or(UNKNOWN, |n_bytes| HumanSize(n_bytes >> 20 << 20))
}

/// Returns the files that may limit a process with this `/proc/self/cgroup`: of its group and all
/// above it, of both versions; and the root, which is its own group in most containers.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let below = Path::new(path.trim_start_matches('/'));
        files.extend(below.ancestors().map(|group| Path::new(root).join(group).join(name)));
    }
    files
}

/// Reads a limit; `max`, and version 1's number past all memory, are none.
fn limit_in(file: &Path) -> Option<u64> {
    let limit: u64 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (0 < limit && limit < UNKNOWN.0).then_some(limit)
}

fn total_of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(mib: u64, is_set: impl Fn(&str) -> bool) -> ConfigFile {
        let mut file = ConfigFile::default();
        file.server.memory = Some(HumanSize::from_mib(mib));
        fit(&mut file, is_set);
        file
    }

    #[test]
    fn a_large_machine_keeps_the_defaults() {
        let want = ConfigFile::default();

        let mut got = fitted(8_192, |_| false);

        got.server.memory = None;
        assert_eq!(got, want);
    }

    #[test]
    fn in_a_gibibyte_the_marks_and_the_bodies_leave_room() {
        let got = fitted(1_024, |_| false);

        let storage = &got.storage;
        let marks = [storage.head_soft, storage.head_firm, storage.head_hard];
        assert_eq!(marks, [102, 204, 256].map(HumanSize::from_mib));
        assert_eq!(got.limits.bytes_in_flight, HumanSize::from_mib(128));
        assert_eq!(got.limits.bytes_in_flight_per_credential, HumanSize::from_mib(64));
        assert_eq!(got.server.connections_max, 1_024);
    }

    #[track_caller]
    fn check_worker_memory(mib: u64, set: Option<&str>, want_mib: u64) {
        let got = fitted(mib, |key| Some(key) == set).query;
        assert_eq!(got.worker_memory, HumanSize::from_mib(want_mib));
        assert_eq!(got.mistakes(), Vec::<String>::new());
    }

    #[test]
    fn a_sql_process_gets_a_quarter() {
        check_worker_memory(8_192, None, 2_048);
        check_worker_memory(4_096, None, 1_024);
        check_worker_memory(2_048, None, 512);
        check_worker_memory(512, None, 256); // The least that one can work with.
        check_worker_memory(1_024, Some("query.memory"), 512); // Twice what a question may hold.
        check_worker_memory(1_024, Some("query.worker_memory"), 2_048);
    }

    #[test]
    fn what_somebody_has_set_is_left_alone() {
        let got = fitted(512, |key| key == "storage.head_hard");

        assert_eq!(got.storage.head_hard, ConfigFile::default().storage.head_hard);
        assert!(got.storage.head_firm < ConfigFile::default().storage.head_firm);
    }

    #[test]
    fn groups_of_both_versions_are_looked_at_up_to_the_root() {
        let shown: Vec<String> = limit_files("8:memory:/a/b\n3:cpuset:/\n0::/user.slice\n")
            .iter()
            .map(|file| file.display().to_string())
            .collect();

        assert_eq!(
            shown,
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
    }

    #[test]
    fn the_machine_has_some_memory() {
        assert_eq!(total_of_machine("MemTotal:  2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert!(of_this_process().0 > 64 << 20);
    }
}
