//! A damaged database of alerts and notifications: telemetry is taken and served as ever, alerts begin
//! anew from the rules, the damaged file is kept, and everybody who looks is told.

use std::fs;
use std::time::Duration;

use crate::support::ask::array;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, now_ms, pause, until};
use crate::support::{Caller, Server, Setup, remote_write};

const RULES: &str = r#"
groups:
  - name: paging
    interval: 1s
    rules:
      - alert: Down
        expr: probe == 0
"#;

const DATABASE: &str = "state/control.redb";
const SET_ASIDE: &str = "quarantine/state%control.redb";

/// Lets an alert fire, ends the server and does this to its database; returns the next server.
fn start_after(setup: &Setup, sink: &Sink, damage: impl FnOnce(&mut Vec<u8>)) -> Server {
    let server = setup.start();
    wait_for_page(&server.caller(), sink, 1);
    server.kill_9();
    let file = setup.data_dir().join(DATABASE);
    let mut bytes = fs::read(&file).unwrap();
    damage(&mut bytes);
    fs::write(&file, &bytes).unwrap();

    let server = setup.start();

    let kept = fs::read(setup.data_dir().join(SET_ASIDE)).expect("the damaged file is set aside");
    assert!(kept == bytes, "and kept as it was");
    server
}

#[track_caller]
fn check(story: &'static str, damage: impl FnOnce(&mut Vec<u8>)) {
    let sink = Sink::start();
    let setup = Setup::new(story).config(&format!(
        "[tagging]\nenabled = false\n\n[rules]\nfiles = [\"rules.yml\"]\n\n\
         [alerting]\nwebhook_url = \"{}\"\ngroup_wait = \"0s\"\ngroup_interval = \"1s\"\n",
        sink.url()
    ));
    fs::write(setup.home().join("rules.yml"), RULES).unwrap();

    let server = start_after(&setup, &sink, damage);

    check_told(&server);
    assert_eq!(server.caller().promql("probe", now_ms()).len(), 1, "what was stored is served");
    wait_for_page(&server.caller(), &sink, 2);
    server.stop();
    check_told(&setup.start());
}

/// The log, `/metrics` and `/-/ready` say it, at this start and the next.
#[track_caller]
fn check_told(server: &Server) {
    let caller = server.caller();
    let ready = caller.get("/-/ready");
    assert_eq!((ready.status, ready.json()["state"].as_str()), (200, Some("ready")));
    let warnings = ready.json()["warnings"].clone();
    let warnings = array(&warnings);
    assert!(warnings.len() == 1 && warnings[0].to_string().contains(SET_ASIDE), "{warnings:?}");
    assert!(caller.own_metric("commonwatch_state_set_aside_files", &[]) == 1.0);
}

fn wait_for_page(caller: &Caller, sink: &Sink, n_pages: usize) {
    until("a page", PATIENCE, || {
        let series = remote_write::series(&[("__name__", "probe")], &[(now_ms(), 0.0)]);
        let answer = caller.send(remote_write::write(vec![series]));
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
        pause(Duration::from_millis(200));
        match sink.received().len() {
            n if n < n_pages => Err(format!("{n} came")),
            _ => Ok(()),
        }
    });
}

#[test]
fn a_database_of_zeros_is_set_aside_and_alerts_page_anew() {
    check("state-zeros", |bytes| bytes.fill(0));
}

#[test]
fn a_database_that_was_cut_short_is_set_aside_and_alerts_page_anew() {
    check("state-cut", |bytes| bytes.truncate(5000));
}

#[test]
fn a_database_of_garbage_is_set_aside_and_alerts_page_anew() {
    check("state-garbage", |bytes| {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from((at * 7919 + at / 251) % 256).unwrap();
        }
    });
}

#[test]
fn a_database_with_flipped_bytes_is_set_aside_and_alerts_page_anew() {
    check("state-flips", |bytes| bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x41));
}
