//! A backup is taken under load, is whole, and comes back; what is not whole is refused by name.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::server::binary;
use crate::support::wait::now_ms;
use crate::support::{Caller, Setup, loki, remote_write};

const CONFIG: &str = "[tagging]\nenabled = false\n\n[storage]\nflush_age = \"200ms\"\n";
const QUESTION: &str = "SELECT count(*) AS n, sum(value) AS s FROM metrics WHERE metric = 'before'";
const LINES: &str = "SELECT count(*) AS n FROM logs WHERE body LIKE 'before%'";

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

#[track_caller]
fn must(arguments: &[&str]) -> String {
    let output = run(arguments);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn must_fail(arguments: &[&str], code: i32, text: &str) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(text), "{arguments:?}: {said}");
}

fn send(caller: &Caller, name: &str, n: i64) {
    let at_ms = now_ms() - 100_000 + n;
    let series = remote_write::series(&[("__name__", name), ("job", "a")], &[(at_ms, 2.0)]);
    assert_eq!(caller.send(remote_write::write(vec![series])).status, 204);
    let line = format!("{name} {n}");
    let stream = serde_json::json!({ "app": "fence" });
    let push = loki::push_json(&stream, &[(at_ms * 1_000_000, line.as_str())]);
    assert_eq!(caller.send(push).status, 204);
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_backup_under_load_comes_back_whole() {
    let setup = Setup::new("backup").config(CONFIG);
    let server = setup.start();
    let caller = server.caller();
    (0..40).for_each(|n| send(&caller, "before", n));
    let (data, to) = (text(&setup.data_dir()), text(&setup.home().join("backup")));
    let url = format!("http://{}", caller.http);

    let is_over = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !is_over.load(Ordering::SeqCst) {
                send(&caller, "during", n);
                n += 1;
            }
        });
        let said = must(&["backup", "--data-dir", &data, "--to", &to, "--server", &url]);
        must(&["check", &data]);
        is_over.store(true, Ordering::SeqCst);
        said
    });

    assert!(said.starts_with("backed up "), "{said}");
    let snapshots = setup.data_dir().join("snapshots");
    assert_eq!(fs::read_dir(snapshots).unwrap().count(), 0, "its links are gone");
    must(&["check", &to]);
    let (rows, lines) = (caller.sql(QUESTION), caller.sql(LINES));
    server.kill_9();
    let again = Setup::new("backup-again").config(CONFIG);
    let restored = text(&again.data_dir());
    must(&["restore", "--from", &to, "--data-dir", &restored]);
    must(&["check", &restored]);
    let server = again.start();
    assert_eq!((server.caller().sql(QUESTION), server.caller().sql(LINES)), (rows, lines));
    send(&server.caller(), "after", 0);
    server.stop();
    must_fail(&["restore", "--from", &to, "--data-dir", &restored], 2, "is not empty");

    // Without a server too, what is in the log included.
    let offline = text(&again.home().join("offline"));
    must(&["backup", "--offline", "--data-dir", &restored, "--to", &offline]);
    must(&["check", &offline]);
    must_fail(&["backup", "--offline", "--data-dir", &restored, "--to", &offline], 2, "not empty");
}

#[test]
fn what_is_damaged_is_named_and_not_restored() {
    let setup = Setup::new("backup-damaged").config(CONFIG);
    let server = setup.start();
    let caller = server.caller();
    (0..5).for_each(|n| send(&caller, "before", n));
    let (data, backup) = (text(&setup.data_dir()), setup.home().join("backup"));
    let (to, back) = (text(&backup), text(&setup.home().join("back")));
    let url = format!("http://{}", caller.http);
    must(&["backup", "--data-dir", &data, "--to", &to, "--server", &url]);
    server.stop();

    let listing = fs::read_to_string(backup.join("backup.json")).unwrap();
    let start = listing.find("parquet/metrics/commons=").unwrap();
    let name = listing[start..].split('"').next().unwrap();
    let file = backup.join(name);
    let whole = fs::read(&file).unwrap();
    let restore = ["restore", "--from", &to, "--data-dir", &back];
    let mut flipped = whole.clone();
    flipped[60] ^= 1;
    fs::write(&file, &flipped).unwrap();
    must_fail(&restore, 1, name);
    must_fail(&["check", &to], 1, name);
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    must_fail(&restore, 1, "bytes instead of");
    // The right bytes, by way of a link out of the backup.
    let outside = setup.home().join("outside");
    fs::write(&outside, &whole).unwrap();
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&outside, &file).unwrap();
    must_fail(&restore, 1, "a link is on the way");
    fs::remove_file(&file).unwrap();
    must_fail(&restore, 1, "it is not there");
    fs::write(&file, &whole).unwrap();
    let (json, _) = listing.split_once('\n').unwrap();
    let evil = json.replacen("parquet/metrics/", "../../metrics/", 1);
    let sum = crc32c::crc32c(evil.as_bytes());
    fs::write(backup.join("backup.json"), format!("{evil}\n{sum:08x}\n")).unwrap();
    must_fail(&restore, 1, "no file of a store");
    assert!(!Path::new(&back).exists(), "nothing was left behind");
    fs::write(backup.join("backup.json"), &listing).unwrap();
    // The root of a volume: it is there, is not quite empty, and can have no other name.
    fs::create_dir_all(Path::new(&back).join("lost+found")).unwrap();
    must(&restore);
    assert!(!Path::new(&back).join("restoring").exists());
    must(&["check", &back]);

    // In the data directory itself.
    let live = setup.data_dir().join(name);
    if live.exists() {
        fs::write(&live, &flipped).unwrap();
        must_fail(&["check", &data], 1, name);
    }
}
