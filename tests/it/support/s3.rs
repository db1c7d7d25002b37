//! A real S3 server on loopback, and a gate before it that can be shut.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::programs::python;
use super::wait::pause;

/// The server: moto, which checks each signature. Its end is that of its standard input.
#[derive(Debug)]
pub(crate) struct S3 {
    child: Child,
    port: u16,
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) gate: Gate,
}

impl S3 {
    /// Starts the server, with an empty bucket `telemetry`.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let interpreter = root.join(".venv/bin/python");
        assert!(interpreter.exists(), "run scripts/install-test-clients first");
        let mut child = Command::new(interpreter)
            .arg(root.join("tests/clients/s3_server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the interpreter starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("it is a pipe"));
        out.read_line(&mut line).expect("the server says where it is");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let text = |name: &str| said[name].as_str().expect("a text").to_owned();
        let port = u16::try_from(said["port"].as_u64().expect("a port")).expect("a port");
        Self { child, port, key: text("key"), secret: text("secret"), gate: Gate::before(port) }
    }

    /// Returns what strangers see in the bucket; see `tests/clients/s3_look.py`.
    #[track_caller]
    pub(crate) fn look(&self) -> Value {
        python("s3_look.py", &[self.port.to_string(), self.key.clone(), self.secret.clone()])
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[derive(Debug, Default)]
struct State {
    is_shut: AtomicBool,
    /// How many bytes go through to the server before it is held up; `u64::MAX` for all.
    budget: AtomicU64,
    is_over: AtomicBool,
}

/// A port that leads to another one, while the gate is open.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) port: u16,
    state: Arc<State>,
}

impl Gate {
    fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let own = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State { budget: AtomicU64::new(u64::MAX), ..State::default() });
        let of_thread = Arc::clone(&state);
        std::thread::spawn(move || {
            for inbound in listener.incoming() {
                if of_thread.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(inbound), Ok(outbound)) =
                    (inbound, TcpStream::connect(("127.0.0.1", port)))
                else {
                    continue;
                };
                if !of_thread.is_shut.load(Ordering::SeqCst) {
                    join(&of_thread, &inbound, &outbound);
                }
            }
        });
        Self { port: own, state }
    }

    /// Breaks all connections, and every one that is made from now on.
    pub(crate) fn shut(&self) {
        self.state.is_shut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.state.budget.store(u64::MAX, Ordering::SeqCst);
        self.state.is_shut.store(false, Ordering::SeqCst);
    }

    /// Lets this many bytes more through to the server, and holds up what follows.
    pub(crate) fn hold_after(&self, n_bytes: u64) {
        self.state.budget.store(n_bytes, Ordering::SeqCst);
    }

    /// Returns true when nothing goes through any more.
    pub(crate) fn holds(&self) -> bool {
        self.state.budget.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        self.state.is_shut.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn join(state: &Arc<State>, inbound: &TcpStream, outbound: &TcpStream) {
    let copy = |from: &TcpStream, to: &TcpStream, is_counted: bool| {
        let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
        let state = Arc::clone(state);
        std::thread::spawn(move || carry(&state, from, to, is_counted));
    };
    copy(inbound, outbound, true);
    copy(outbound, inbound, false);
}

fn carry(state: &State, mut from: TcpStream, mut to: TcpStream, is_counted: bool) {
    let mut buffer = [0; 16 << 10];
    // So that a connection that is shut while nobody says anything is met too.
    let timeout = Some(Duration::from_millis(50));
    from.set_read_timeout(timeout).expect("a timeout can be set");
    while !state.is_shut.load(Ordering::SeqCst) {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                if is_counted && !take(state, n as u64) {
                    break;
                }
                if to.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => break,
        }
    }
    for stream in [from, to] {
        drop(stream.shutdown(Shutdown::Both));
    }
}

/// Waits until bytes may go through; false when the gate was shut meanwhile.
fn take(state: &State, n_bytes: u64) -> bool {
    loop {
        if state.is_shut.load(Ordering::SeqCst) {
            return false;
        }
        let left = state.budget.load(Ordering::SeqCst);
        if left == u64::MAX {
            return true;
        }
        if left > 0 {
            state.budget.store(left.saturating_sub(n_bytes), Ordering::SeqCst);
            return true;
        }
        pause(Duration::from_millis(5));
    }
}
