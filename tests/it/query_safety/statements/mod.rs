//! Every statement that was ever seen to write, to read what it should not, to fill the memory or
//! never to end: refused or ended, while a sender is acknowledged and another question answered.
//!
//! The table is one line a statement: what it is, the text, what must come of it. The server's
//! deadline and its workers' memory are small here, so that an ended statement ends soon.

mod large;
mod odd;
mod reaching;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{metric, send_numbers, sql};
use crate::support::process::rss_bytes;
use crate::support::wait::now_ms;
use crate::support::{Caller, Server, Setup, remote_write};

const CONFIG: &str = "
[tagging]
enabled = false

[query]
memory = \"64MiB\"
worker_memory = \"640MiB\"
result_bytes_max = \"8MiB\"
";

/// What must come of a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Want {
    /// 400 with a reason that has this text.
    Refused(&'static str),
    /// Ended by the deadline, by a limit on memory, or by an error of its own; never answered.
    Ended,
    /// Refused or ended, by whichever of the gates meets it first; never answered.
    Unanswered,
    /// Answered, refused or ended: whichever, it is bounded.
    Bounded,
}
use Want::{Bounded, Ended, Refused, Unanswered};

struct Case {
    name: String,
    text: String,
    want: Want,
}

fn case(name: &str, text: impl Into<String>, want: Want) -> Case {
    Case { name: name.to_owned(), text: text.into(), want }
}

/// The server while it is asked bad things.
struct Watched {
    server: Server,
    caller: Caller,
    n_sent: AtomicU32,
    start_ms: i64,
    rss_before: u64,
    wrong: Mutex<Vec<String>>,
}

/// How much larger the server may be after a statement than before all of them: what allocators
/// keep, and one answer of the largest size in its several forms.
const GROWTH_BYTES_MAX: u64 = 192 << 20;

impl Watched {
    fn start(story: &'static str, timeout: &str) -> Self {
        let config = format!("{CONFIG}timeout = \"{timeout}\"\n");
        let server = Setup::new(story).config(&config).start();
        let caller = server.caller();
        send_numbers(&caller, 1_000, 100);
        let lines = vec![crate::support::loki::entry(now_ms() * 1_000_000, &"abc ".repeat(1_000))];
        let pushed = caller.send(crate::support::loki::push("{app=\"a\"}", lines));
        assert!((200..300).contains(&pushed.status), "{}", pushed.text());
        let rss_before = rss_bytes(server.pid());
        let start_ms = now_ms() - 3_600_000;
        let (n_sent, wrong) = (AtomicU32::new(0), Mutex::default());
        Self { server, caller, n_sent, start_ms, rss_before, wrong }
    }

    /// Asks one statement; while it runs, someone else writes and asks.
    fn ask(&self, case: &Case) {
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| self.caller.send(sql(&case.text)));
            self.others_are_served(&case.name);
            asked.join().unwrap()
        });
        let text = answer.text();
        let fits = match case.want {
            Refused(reason) => answer.status == 400 && text.contains(reason),
            Ended => matches!(answer.status, 422 | 503),
            Unanswered => matches!(answer.status, 400 | 422 | 503),
            Bounded => matches!(answer.status, 200 | 400 | 422 | 503),
        };
        let shown: String = text.chars().take(160).collect();
        if !fits {
            self.fault(&case.name, format!("{:?}, got {} {shown}", case.want, answer.status));
        }
        if answer.status != 200 && serde_json::from_str::<serde_json::Value>(&text).is_err() {
            self.fault(&case.name, format!("the refusal is not JSON: {shown}"));
        }
        let grown = rss_bytes(self.server.pid()).saturating_sub(self.rss_before);
        if grown > GROWTH_BYTES_MAX {
            self.fault(&case.name, format!("the server has grown by {} MiB", grown >> 20));
        }
    }

    fn fault(&self, name: &str, what: String) {
        self.wrong.lock().unwrap().push(format!("{name}: {what}"));
    }

    fn others_are_served(&self, name: &str) {
        let number = self.n_sent.fetch_add(1, Ordering::Relaxed);
        let at_ms = self.start_ms + i64::from(number) * 1_000;
        let series = remote_write::series(&[("__name__", "honest")], &[(at_ms, f64::from(number))]);
        let written = self.caller.send(remote_write::write(vec![series]));
        if !(200..300).contains(&written.status) {
            self.fault(name, format!("an honest sender got {}", written.status));
        }
        let found = self.caller.promql("honest", at_ms);
        if found.len() != 1 {
            self.fault(name, format!("an honest reader got {found:?}"));
        }
    }

    #[track_caller]
    fn ask_all(&self, cases: &[Case]) {
        let pid = self.server.pid();
        let next = AtomicU32::new(0);
        std::thread::scope(|scope| {
            // As many at a time as there are processes for SQL.
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                    {
                        self.ask(case);
                    }
                });
            }
        });

        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        assert!(crate::support::process::is_alive(pid), "the server is the one that was started");
        let n_honest = self.n_sent.load(Ordering::Relaxed);
        let kept = self.caller.sql("SELECT count(*) AS n FROM metrics WHERE metric = 'honest'");
        assert_eq!(kept[0]["n"].as_u64(), Some(u64::from(n_honest)));
        assert_eq!(metric(&self.caller, "commonwatch_query_running", &[]), 0.0);
        assert_eq!(metric(&self.caller, "commonwatch_query_workers_busy", &[]), 0.0);
    }
}

#[test]
fn what_reaches_out_or_overflows_is_refused() {
    let watched = Watched::start("sql-refused", "10s");

    watched.ask_all(&[reaching::reaching_out(), reaching::deep()].concat_all());

    for file in ["/tmp/commonwatch-stolen.csv", "/tmp/commonwatch-stolen.parquet"] {
        assert!(!std::path::Path::new(file).exists(), "{file} was written");
    }
}

#[test]
fn what_fills_memory_or_never_ends_is_ended() {
    let watched = Watched::start("sql-ended", "2s");

    watched.ask_all(&[large::large(), large::long()].concat_all());

    let restarts = |reason| {
        metric(&watched.caller, "commonwatch_query_worker_restarts_total", &[("reason", reason)])
    };
    assert!(restarts("deadline") >= 3.0, "the deadline ended {}", restarts("deadline"));
    assert!(restarts("memory") >= 1.0, "the kernel refused {} memory", restarts("memory"));
}

#[test]
fn odd_values_are_refused_or_answered() {
    let watched = Watched::start("sql-odd", "4s");

    watched.ask_all(&odd::odd());
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Case>;
}

impl<const N: usize> ConcatAll for [Vec<Case>; N] {
    fn concat_all(self) -> Vec<Case> {
        self.into_iter().flatten().collect()
    }
}
