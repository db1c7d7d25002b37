//! A disk that fails: when what is on disk is unknown, the process ends with one clear line, and the
//! next one has everything that was acknowledged; what can be made good is made good.

use std::process::ExitStatus;
use std::time::Duration;

use crate::support::ledger::Run;
use crate::support::{Server, Setup};

const CONFIG: &str = r#"
[tagging]
enabled = false

[storage]
flush_age = "100ms"
segment_size = "16KiB"
"#;

const LOAD_MAX: Duration = Duration::from_secs(30);

/// The process ends by itself, says why in one line, and the next start has everything.
#[track_caller]
fn check_fatal(faults: &str, says: &[&str]) {
    let setup = Setup::new("broken-disk").config(CONFIG);
    let run = Run::new(10).paced(Duration::from_millis(3));
    let mut server = setup.clone().faults(faults).start();

    let ended = run.load_until_dead(&mut server, LOAD_MAX);

    check_end(&server, ended, says, faults);
    check_restart(&setup, &run, faults);
}

#[track_caller]
fn check_end(server: &Server, ended: Option<ExitStatus>, says: &[&str], faults: &str) {
    let log = server.log();
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{faults}: {ended:?}\n{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("commonwatch: ")).collect();
    assert_eq!(lines.len(), 1, "{faults}: one line says why:\n{log}");
    for word in says {
        assert!(lines[0].contains(word), "{faults}: wanted `{word}` in: {}", lines[0]);
    }
    assert!(!log.contains("panicked"), "{faults}: {log}");
}

#[track_caller]
fn check_restart(setup: &Setup, run: &Run, faults: &str) {
    let server = setup.start();
    run.send_unknown_samples_again(&server.caller());
    run.check(&server.caller(), faults);
    assert!(server.caller().own_metric("commonwatch_wal_damage_total", &[]) == 0.0, "{faults}");
}

/// The process goes on as if nothing had been.
#[track_caller]
fn check_survived(faults: &str) {
    let setup = Setup::new("broken-disk").config(CONFIG);
    let run = Run::new(10).paced(Duration::from_millis(3));
    let mut server = setup.clone().faults(faults).start();

    assert_eq!(run.load_until_dead(&mut server, Duration::from_secs(1)), None, "{faults}");

    assert_eq!(run.counts().1, 0, "{faults}: nothing is refused");
    run.check(&server.caller(), faults);
    server.kill_9();
    check_restart(&setup, &run, faults);
}

#[test]
fn a_failed_sync_of_the_log_ends_the_process() {
    check_fatal(
        "sync.wal.before@9=error:eio",
        &["log segment wal/", "os error 5", "a restart replays the log"],
    );
}

#[test]
fn a_failed_write_to_the_log_ends_the_process() {
    check_fatal(
        "write.wal.before@9=error:eio",
        // The header of a new segment, or a group: both are writes.
        &["log segment wal/", "os error 5"],
    );
}

#[test]
fn a_segment_that_cannot_be_made_ends_the_process() {
    check_fatal("create.wal.before@3=error:eio", &["cannot create log segment wal/", "os error 5"]);
}

#[test]
fn a_manifest_that_cannot_be_replaced_ends_the_process() {
    for operation in ["write.manifest_temp", "sync.manifest_temp", "rename.manifest"] {
        check_fatal(
            &format!("{operation}.before@2=error:eio"),
            &["cannot replace parquet/manifest.json", "os error 5"],
        );
    }
}

#[test]
fn short_and_interrupted_writes_are_finished() {
    check_survived("write.wal.before@4-9=short; write.manifest_temp.before@1-3=short");
    check_survived(
        "write.wal.before@4-9=error:interrupted; write.manifest_temp.before@1-3=error:interrupted",
    );
    check_survived("write.parquet_temp.before@2-9=short");
}

/// Files are written anew from memory, whatever became of the first attempt.
#[test]
fn a_parquet_file_that_fails_is_written_again() {
    for operation in ["create", "write", "sync"] {
        check_survived(&format!("{operation}.parquet_temp.before@2=error:eio"));
    }
    check_survived("rename.parquet.before@2=error:eio");
}

/// Once with the kernel's own answer in place of ours.
#[test]
fn a_failed_fdatasync_of_the_kernel_ends_the_process() {
    // One segment for all, because strace looks at one file.
    let setup = Setup::new("broken-disk").config("[tagging]\nenabled = false\n");
    let segment = setup.data_dir().join("wal/0000000000000001.wal").display().to_string();
    let trace = setup.home().join("strace.txt").display().to_string();
    let strace = crate::support::programs::find("strace").display().to_string();
    // `-D`: the server is our child and strace its own, so the exit code is the server's.
    let wrapper = [
        strace.as_str(),
        "-D",
        "-f",
        "-qq",
        "-o",
        &trace,
        "-P",
        &segment,
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:error=EIO:when=6",
    ];
    let run = Run::new(10).paced(Duration::from_millis(3));
    let mut server = setup.clone().through(&wrapper).start();

    let ended = run.load_until_dead(&mut server, LOAD_MAX);

    let injected = std::fs::read_to_string(&trace).unwrap_or_default();
    assert!(injected.contains("(INJECTED)"), "strace did nothing:\n{injected}");
    check_end(&server, ended, &["cannot sync log segment wal/", "os error 5"], "strace");
    check_restart(&setup, &run, "strace");
}
