//! A machine whose power can be cut: QEMU with a disk that keeps what the guest has written to it
//! and loses what only the guest's memory held.
//!
//! The disk is a file of ours with `cache=writeback`: what the guest flushes reaches this machine's
//! cache, which outlives QEMU. Killing QEMU loses the guest's page cache, as a power cut would.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use commonwatch::base::clock::{Clock, SystemClock};

use crate::support::Caller;
use crate::support::http::{self, Request};
use crate::support::programs::free_port;
use crate::support::server::{Addresses, binary};
use crate::support::wait::pause;

/// A guest without hardware help takes ten seconds to boot, and several times that beside others.
const BOOT_WITHIN: Duration = Duration::from_secs(300);
const TOKEN: &str = "the-ledger-s-own-token-0123456789";
/// What the guest prints when its disk is mounted.
const SERVER_STARTS: &str = "guest: starting the server";

/// Small segments and frequent flushes, so that cuts fall into rotation and flush as well. A guest beside
/// others takes minutes for what an audit asks.
const CONFIG: &str = r#"
[tagging]
enabled = false

[storage]
flush_age = "1s"
segment_size = "64KiB"

[query]
timeout = "10m"
timeout_max = "10m"

[[auth.tokens]]
name = "ledger"
role = "admin"
read = ["*"]
write = "any"
token = "TOKEN"
"#;

/// The machine's parts, in a folder of their own.
#[derive(Debug)]
pub(crate) struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// Builds the guest around the server, with an empty disk.
    pub(crate) fn build(is_control: bool) -> Result<Self, String> {
        let name = std::env::var("POWERCUT_FOLDER").unwrap_or_else(|_| "powercut".to_owned());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let config = CONFIG.replace("TOKEN", TOKEN);
        fs::write(folder.join("commonwatch.toml"), config).map_err(|error| error.to_string())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/powercut-guest");
        let built = Command::new(script)
            .args([binary(), folder.clone()])
            .env("CONTROL", if is_control { "1" } else { "" })
            .status()
            .map_err(|error| format!("scripts/powercut-guest: {error}"))?;
        if built.success() { Ok(Self { folder }) } else { Err(format!("the guest: {built}")) }
    }

    /// Switches the machine on.
    pub(crate) fn boot(&self) -> Result<Machine, String> {
        let console = self.folder.join("console.log");
        File::create(&console).map_err(|error| error.to_string())?;
        let (http, otlp) = (free_port(), free_port());
        let child = Command::new("qemu-system-x86_64")
            .current_dir(&self.folder)
            .args(
                "-accel tcg -cpu max -m 1200 -smp 1 -nodefaults -no-reboot -display none"
                    .split(' '),
            )
            .args(["-kernel", "vmlinuz", "-initrd", "initramfs"])
            .args([
                "-append",
                "console=ttyS0 quiet panic=-1 no_timer_check",
                "-serial",
                "file:console.log",
            ])
            .args(["-drive", "file=disk,format=raw,if=virtio,cache=writeback"])
            .arg("-netdev")
            .arg(format!(
                "user,id=net,hostfwd=tcp:127.0.0.1:{http}-:7070,hostfwd=tcp:127.0.0.1:{otlp}-:4318"
            ))
            .args(["-device", "virtio-net-pci,netdev=net"])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("qemu-system-x86_64: {error}"))?;
        let address = |port: u16| format!("127.0.0.1:{port}");
        let addresses =
            Addresses { http: address(http), otlp_grpc: String::new(), otlp_http: address(otlp) };
        let caller = Caller::new(&addresses).with_token(TOKEN);
        Ok(Machine { child, console, caller })
    }
}

/// A machine that is on; dropping it cuts its power.
#[derive(Debug)]
pub(crate) struct Machine {
    child: Child,
    console: PathBuf,
    pub(crate) caller: Caller,
}

impl Machine {
    /// Waits until the disk is mounted and the server's process begins.
    pub(crate) fn wait_until_server_starts(&mut self) -> Result<(), String> {
        self.wait("the guest to boot", |machine| machine.console().contains(SERVER_STARTS))
    }

    /// Waits until the server has replayed its log; an error is what the console says.
    pub(crate) fn wait_until_ready(&mut self) -> Result<(), String> {
        // Until then nobody answers, not even with a refusal.
        self.wait_until_server_starts()?;
        self.wait("the server to be ready", |machine| {
            let answer = http::send(&machine.caller.http, &Request::get("/-/ready"));
            answer.is_ok_and(|answer| answer.status == 200)
        })
    }

    fn wait(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) -> Result<(), String> {
        let clock = SystemClock::new();
        while !is_so(self) {
            let has_ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || Duration::from_nanos(clock.monotonic_ns()) > BOOT_WITHIN {
                let how = if has_ended { "the guest ended" } else { "out of patience" };
                return Err(format!("waiting for {what}: {how}:\n{}", self.console()));
            }
            pause(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Returns all that the guest has printed since it was switched on.
    pub(crate) fn console(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Cuts the power.
    pub(crate) fn cut(self) {}
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
