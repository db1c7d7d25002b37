//! A full disk: writes are refused in a way that senders retry, questions are answered, and when
//! there is space again everything goes on by itself; nothing acknowledged is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::ledger::Run;
use crate::support::programs::free_port;
use crate::support::wait::{PATIENCE, now_ms, pause, until};
use crate::support::{Caller, Request, Setup, otlp, remote_write};

const CONFIG: &str = r#"
[tagging]
enabled = false

[storage]
flush_age = "100ms"
segment_size = "256KiB"
"#;

/// Every dialect refuses in its own words for "later", and says why.
#[cfg(debug_assertions)]
#[test]
fn a_full_log_refuses_with_a_reason_and_resumes_by_itself() {
    let setup = Setup::new("full-log").config(CONFIG);
    let flag = setup.home().join("full");
    let faults = format!("write.wal.before@1+=error:full?{}", flag.display());
    let run = Run::new(10).paced(Duration::from_millis(3));
    let mut server = setup.clone().faults(&faults).start();
    let caller = server.caller();
    run.send_one_of_each(&caller);

    fs::write(&flag, "").unwrap();
    check_refusals(&caller);
    assert_eq!(run.load_until_dead(&mut server, Duration::from_millis(300)), None);
    check_questions(&caller);
    assert!(caller.own_metric("commonwatch_storage_disk_full", &[]) == 1.0);
    run.check(&caller, "while the log is full");
    fs::remove_file(&flag).unwrap();

    run.send_one_of_each(&caller);
    assert!(caller.own_metric("commonwatch_storage_disk_full", &[]) == 0.0);
    run.check(&caller, "with space again");
    server.kill_9();
    let server = setup.start();
    run.send_unknown_samples_again(&server.caller());
    run.check(&server.caller(), "after a restart");
}

#[cfg(debug_assertions)]
fn check_refusals(caller: &Caller) {
    let series = remote_write::series(&[("__name__", "refused")], &[(now_ms(), 1.0)]);
    let record = || vec![otlp::record(crate::support::wait::now_ns(), "refused")];
    let logs = otlp::logs(otlp::resource(&[("service.name", "a")]), record());
    let over_otlp = otlp::post("/v1/logs", &logs);
    let loki =
        crate::support::loki::push_json(&json!({"job": "a"}), &[(now_ms() * 1_000_000, "refused")]);
    let answers = [
        caller.send(remote_write::write(vec![series])),
        crate::support::http::send(&caller.otlp_http, &over_otlp).unwrap(),
        caller.send(loki),
    ];
    for answer in answers {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
        assert!(answer.text().contains("disk is full"), "{}", answer.text());
    }
    let method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let message = prost::Message::encode_to_vec(&logs);
    let grpc = otlp::call(&caller.otlp_grpc, method, &message, None).unwrap();
    assert_eq!(grpc.code, Some(14), "UNAVAILABLE: {}", grpc.message);
    assert!(grpc.message.contains("disk%20is%20full"), "{}", grpc.message);
}

fn check_questions(caller: &Caller) {
    assert!(!caller.promql("count_over_time(ledger_samples[2h])", now_ms()).is_empty());
    assert!(caller.sql("SELECT count(*) AS n FROM logs")[0]["n"].as_i64() > Some(0));
    assert_eq!(caller.get("/-/ready").status, 200);
}

/// A start that can write nothing at all: not the log, not the manifest, not the alerts' state.
#[cfg(debug_assertions)]
#[test]
fn a_start_on_a_full_disk_answers_and_resumes_by_itself() {
    let setup = Setup::new("full-start").config(CONFIG);
    let run = Run::new(10).paced(Duration::from_millis(3));
    let mut server = setup.start();
    run.send_one_of_each(&server.caller());
    assert_eq!(run.load_until_dead(&mut server, Duration::from_millis(300)), None);
    server.kill_9();
    let flag = setup.home().join("full");
    fs::write(&flag, "").unwrap();
    let full = |point: &str| format!("{point}@1+=error:full?{}", flag.display());
    let faults = ["create.*.before", "write.*.before", "truncate.*.before"].map(full).join(";");

    let server = setup.clone().faults(&faults).start();

    let caller = server.caller();
    check_refusals(&caller);
    check_questions(&caller);
    assert!(caller.own_metric("commonwatch_storage_disk_full", &[]) == 1.0);
    assert!(caller.own_metric("commonwatch_state_in_memory", &[]) == 1.0, "{}", server.log());
    run.check(&caller, "after a start on a full disk");
    fs::remove_file(&flag).unwrap();

    run.send_one_of_each(&caller);
    assert!(caller.own_metric("commonwatch_storage_disk_full", &[]) == 0.0);
    until("the alerts' state to be saved", PATIENCE, || {
        match caller.own_metric("commonwatch_state_in_memory", &[]) {
            0.0 => Ok(()),
            still => Err(format!("{still}")),
        }
    });
    run.check(&caller, "with space again");
    server.kill_9();
    let server = setup.start();
    run.send_unknown_samples_again(&server.caller());
    run.check(&server.caller(), "after a restart");
}

/// Rows that cannot be written as Parquet stay in the log and in memory until they can.
#[cfg(debug_assertions)]
#[test]
fn files_that_find_no_space_are_written_when_there_is_some() {
    for class in ["parquet_temp", "manifest_temp"] {
        let setup = Setup::new("full-files").config(CONFIG);
        let flag = setup.home().join("full");
        let faults = format!("write.{class}.before@1+=error:full?{}", flag.display());
        let run = Run::new(10).paced(Duration::from_millis(3));
        let mut server = setup.clone().faults(&faults).start();
        let caller = server.caller();
        let flushes = |outcome: &str| {
            caller.own_metric("commonwatch_storage_flushes_total", &[("outcome", outcome)])
        };

        fs::write(&flag, "").unwrap();
        assert_eq!(run.load_until_dead(&mut server, Duration::from_millis(500)), None, "{class}");
        until("a flush to fail", PATIENCE, || {
            if class == "manifest_temp" && server.log().contains("cannot publish") {
                return Ok(());
            }
            if flushes("failed") > 0.0 { Ok(()) } else { Err("none has".to_owned()) }
        });
        assert_eq!(run.counts().1, 0, "{class}: the log has space, so nothing is refused");
        check_questions(&caller);
        run.check(&caller, &format!("{class} full"));
        let n_before = flushes("ok");
        fs::remove_file(&flag).unwrap();

        until("a flush to succeed", PATIENCE, || {
            if flushes("ok") > n_before { Ok(()) } else { Err("none has".to_owned()) }
        });
        run.check(&caller, &format!("{class} with space again"));
        server.kill_9();
        let server = setup.start();
        run.send_unknown_samples_again(&server.caller());
        run.check(&server.caller(), &format!("{class} after a restart"));
    }
}

/// The same on a file system of a few MiB, which is full for everyone: log, files, manifest, state.
#[test]
fn a_small_file_system_that_fills_up_refuses_and_resumes_by_itself() {
    let setup = Setup::new("full-tmpfs").config(CONFIG);
    let Some(_mounted) = Tmpfs::mount(&setup.data_dir(), "8m") else {
        eprintln!("SKIPPED: no tmpfs can be mounted here (that needs root)");
        return;
    };
    let ballast = setup.data_dir().join("ballast");
    fs::write(&ballast, vec![7; 4 << 20]).unwrap();
    let run = Run::new(200);
    let mut server = setup.start();

    let n_rounds_max = 200;
    for round in 0.. {
        assert!(round < n_rounds_max, "the disk does not fill up");
        assert_eq!(run.load_until_dead(&mut server, Duration::from_millis(200)), None);
        if run.counts().1 > 0 {
            break;
        }
    }
    let caller = server.caller();
    check_questions(&caller);
    run.check(&caller, "while the file system is full");
    fs::remove_file(&ballast).unwrap();

    until("writes to be taken again", PATIENCE, || send(&caller, "again"));
    run.send_one_of_each(&caller);
    pause(Duration::from_millis(300));
    run.check(&caller, "with space again");
    server.kill_9();
    let server = setup.start();
    run.send_unknown_samples_again(&server.caller());
    run.check(&server.caller(), "after a restart");
}

/// The same file system, full to the last byte before the server starts.
#[test]
fn a_start_on_a_file_system_without_a_byte_left_answers_and_resumes() {
    let address = format!("127.0.0.1:{}", free_port());
    // Nothing is flushed, so that the start finds nothing of a flush to remove: that would be room.
    let setup = Setup::new("full-tmpfs-start")
        .config("[tagging]\nenabled = false\n")
        .arguments(&["--http", &address]);
    let Some(_mounted) = Tmpfs::mount(&setup.data_dir(), "24m") else {
        eprintln!("SKIPPED: no tmpfs can be mounted here (that needs root)");
        return;
    };
    let server = setup.start();
    send(&server.caller(), "before").unwrap();
    server.kill_9();
    let ballast = setup.data_dir().join("ballast");
    drop(fs::write(&ballast, vec![7; 32 << 20]));
    assert!(fs::write(setup.data_dir().join("more"), "x").is_err(), "the file system is not full");

    // There is no room to say where it listens.
    let server = setup.spawn();
    let caller = Caller::at(&address);
    until("the server to be ready", PATIENCE, || {
        let answer = crate::support::http::send(&address, &Request::get("/-/ready"));
        match answer.map_err(|error| error.to_string())? {
            ready if ready.status == 200 => Ok(()),
            other => Err(other.text()),
        }
    });
    assert!(send(&caller, "refused").unwrap_err().contains("disk is full"), "{}", server.log());
    assert_eq!(caller.promql("before", now_ms()).len(), 1);
    fs::remove_file(&ballast).unwrap();

    until("writes to be taken again", PATIENCE, || send(&caller, "after"));
    server.kill_9();
    let server = setup.start();
    for (metric, n) in [("before", 1), ("refused", 0), ("after", 1)] {
        assert_eq!(server.caller().promql(metric, now_ms()).len(), n, "{metric}");
    }
}

/// Sends one sample of a metric.
fn send(caller: &Caller, metric: &str) -> Result<(), String> {
    let series = remote_write::series(&[("__name__", metric)], &[(now_ms(), 1.0)]);
    match caller.send(remote_write::write(vec![series])) {
        answer if (200..300).contains(&answer.status) => Ok(()),
        answer => Err(answer.text()),
    }
}

/// A file system in memory; unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of a size, or returns `None` where that is not allowed.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let options = format!("size={size},mode=0755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a server that was just killed may hold it for another moment.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
