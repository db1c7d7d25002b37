//! How many connections the system's limit of open files leaves room for.
//!
//! A connection is an open file, and so are the log, the catalog and what queries read. If
//! connections could take them all, whoever opens enough of them would stop the storage of
//! everyone else; so a part is kept back, and more connections are refused by our own limit.

use tracing::warn;

/// What is kept back at least: the sockets, the log, the state, the workers' pipes.
const KEPT_MIN: usize = 48;
/// What is kept back at most; queries open a file at a time.
const KEPT_MAX: usize = 512;

/// Raises this process' limit of open files as far as it may, and returns how many connections
/// there can be, `wanted` at most.
pub(super) fn connections_that_fit(wanted: usize) -> usize {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        Err(error) => {
            warn!(%error, "the limit of open files cannot be read");
            return wanted;
        }
    };
    let fit = within(limit);
    if fit < wanted {
        warn!(
            connections_max = fit,
            wanted,
            open_files_max = limit,
            "server.connections_max is lowered: the system lets us open few files (ulimit -n)"
        );
    }
    fit.min(wanted)
}

fn within(n_files: usize) -> usize {
    n_files.saturating_sub((n_files / 4).clamp(KEPT_MIN, KEPT_MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_back_for_the_store() {
        assert_eq!(within(64), 16);
        assert_eq!(within(1_024), 768);
        assert_eq!(within(65_536), 65_024);
        assert_eq!(within(3), 1, "one connection there always is");
    }
}
