//! Power cuts: a machine runs the server under load, loses its power, and boots on the same disk.
//!
//! After every cut, all that is stored is asked for and held against what the senders were told.
//! Some cuts fall into start-up and replay; segments are small and flushes frequent, so that the
//! others fall into rotation and flush too. `CUTS` says how many, `POWERCUT_SEED` repeats the moments
//! of a run, `POWERCUT_FOLDER` keeps two runs at a time apart. With `CONTROL=1` the server's syncs do
//! nothing: then acknowledged items must be lost, or the rig would prove nothing.
#![expect(clippy::unwrap_used, reason = "a run that cannot go on should say so at once")]

mod machine;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the stories' support, of which this is a part")]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use machine::{Machine, Parts};
use support::ledger::{self, Audit, Count};
use support::wait::{now_ms, pause};

const CUTS: u32 = 20;
/// Then a machine with an empty disk follows: all that is stored is asked for after each cut, so the
/// hundredth of one machine takes three times as long as the first.
const CUTS_OF_A_MACHINE: u32 = 25;
/// A guest without hardware help stores about a hundred batches a second; more only fills the audits.
const PAUSE: Duration = Duration::from_millis(20);

/// How many items a batch has.
const BATCH_ITEMS: u64 = 50;

fn new_ledger() -> ledger::Run {
    ledger::Run::new(BATCH_ITEMS).paced(PAUSE)
}

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("POWERCUT_SEED").unwrap_or_else(|| now_ms().unsigned_abs());
    let n_cuts = number("CUTS").and_then(|n| u32::try_from(n).ok()).unwrap_or(CUTS);
    let is_control = number("CONTROL") == Some(1);
    let verdict = Run::new(seed, is_control).and_then(|mut run| {
        for cut in 1..=n_cuts {
            run.cut(cut)?;
            if cut % CUTS_OF_A_MACHINE == 0 && cut < n_cuts {
                run.retire()?;
                run.start_anew()?;
            }
        }
        run.retire()?;
        run.verdict(n_cuts)
    });
    match verdict {
        Ok(verdict) => {
            eprintln!("{verdict}");
            ExitCode::SUCCESS
        }
        Err(verdict) => {
            eprintln!("powercut: FAILED (seed {seed}): {verdict}");
            ExitCode::FAILURE
        }
    }
}

/// What the server says of its own start.
#[derive(Debug, Default)]
struct Signs {
    replays: usize,
    flushes: usize,
    torn_writes: usize,
    cut_flushes: usize,
    alarms: usize,
}

impl Signs {
    fn read(&mut self, console: &str) {
        let count = |what: &str| console.matches(what).count();
        self.replays += count("replayed the log");
        self.flushes += count("\"flushed\"");
        self.torn_writes += count("dropped a write that was never acknowledged");
        self.cut_flushes += count("removed the rest of a flush");
        // A power cut damages nothing that was acknowledged, so nothing may be reported as damaged.
        self.alarms += count("is damaged") + count("set aside") + count("\"ERROR\"");
    }
}

struct Run {
    seed: u64,
    is_control: bool,
    random: StdRng,
    parts: Parts,
    ledger: ledger::Run,
    signs: Signs,
    /// What was found of the machines before this one.
    before: Count,
    /// What the last look at this machine found; a lost item is counted once.
    found: Count,
}

impl Run {
    fn new(seed: u64, is_control: bool) -> Result<Self, String> {
        eprintln!("powercut: seed {seed} (POWERCUT_SEED repeats it)");
        Ok(Self {
            seed,
            is_control,
            random: StdRng::seed_from_u64(seed),
            parts: Parts::build(is_control)?,
            ledger: new_ledger(),
            signs: Signs::default(),
            before: Count::default(),
            found: Count::default(),
        })
    }

    /// Boots, looks at what is stored, sends more, and cuts the power somewhere in all that.
    fn cut(&mut self, cut: u32) -> Result<(), String> {
        let is_at_start = self.random.random_ratio(1, 4);
        let after = match is_at_start {
            true => Duration::from_millis(self.random.random_range(0..2_000)),
            false => Duration::from_millis(self.random.random_range(200..4_000)),
        };
        let mut machine = self.parts.boot()?;
        if is_at_start {
            machine.wait_until_server_starts()?;
            pause(after);
            self.signs.read(&machine.console());
            machine.cut();
            eprintln!("cut {cut}: {} ms into the start of the server", after.as_millis());
            return Ok(());
        }
        let Some(machine) = self.look(machine)? else { return Ok(()) };
        let caller = machine.caller.clone();
        self.ledger.send_unknown_samples_again(&caller);
        let signs = &mut self.signs;
        self.ledger.load_until(&caller, || {
            pause(after);
            signs.read(&machine.console());
            machine.cut();
        });
        let n = self.ledger.n_acknowledged();
        eprintln!(
            "cut {cut}: {} ms into the load, {n} items acknowledged so far",
            after.as_millis()
        );
        Ok(())
    }

    /// Waits for the server and audits it; `None` when the control has lost its whole store.
    fn look(&mut self, mut machine: Machine) -> Result<Option<Machine>, String> {
        let audit = machine.wait_until_ready().and_then(|()| {
            let audit = catch_unwind(AssertUnwindSafe(|| self.ledger.audit(&machine.caller)));
            audit.map_err(|_| format!("a question failed:\n{}", machine.console()))
        });
        match audit {
            Ok(audit) if self.is_control || self.is_clean(&audit, &machine) => {
                self.found = audit.total();
                Ok(Some(machine))
            }
            Ok(audit) => Err(format!("{:?}\n{}", audit.counts, audit.examples.join("\n"))),
            Err(_) if self.is_control => self.lose_all().map(|()| None),
            Err(error) => Err(error),
        }
    }

    fn is_clean(&self, audit: &Audit, machine: &Machine) -> bool {
        let mut signs = Signs::default();
        signs.read(&machine.console());
        if signs.alarms > 0 {
            eprintln!("an alarm after a power cut:\n{}", machine.console());
        }
        audit.total().is_clean() && signs.alarms == 0
    }

    /// Counts the whole store as lost, which only the control may.
    fn lose_all(&mut self) -> Result<(), String> {
        let lost = self.ledger.n_acknowledged();
        eprintln!("the store cannot be read any more: {lost} items are lost with it");
        self.found = Count { acknowledged: lost, lost, ..Count::default() };
        self.start_anew()
    }

    /// Looks at what this machine's last cut has left.
    fn retire(&mut self) -> Result<(), String> {
        let machine = self.parts.boot()?;
        if let Some(machine) = self.look(machine)? {
            self.signs.read(&machine.console());
        }
        Ok(())
    }

    /// Goes on with an empty disk and a ledger without an entry.
    fn start_anew(&mut self) -> Result<(), String> {
        self.before += std::mem::take(&mut self.found);
        self.parts = Parts::build(self.is_control)?;
        self.ledger = new_ledger();
        Ok(())
    }

    fn verdict(&self, n_cuts: u32) -> Result<String, String> {
        let mut total = self.before;
        total += self.found;
        let Count { acknowledged, lost, doubled, wrong, invented, .. } = total;
        let Signs { replays, flushes, torn_writes, cut_flushes, alarms } = self.signs;
        eprintln!(
            "powercut: {replays} replays, {flushes} flushes, {torn_writes} torn writes dropped, \
             {cut_flushes} files of cut flushes removed, {alarms} alarms"
        );
        let figures = format!(
            "{n_cuts} cuts, seed {}: {acknowledged} items acknowledged, {lost} lost, {doubled} \
             doubled, {wrong} wrong, {invented} invented",
            self.seed
        );
        match (self.is_control, lost) {
            (false, _) => Ok(format!("powercut: PASSED: {figures}")),
            (true, 0) => Err(format!("control: nothing lost without syncs: {figures}")),
            (true, _) => Ok(format!("powercut: CONTROL PASSED, syncs off: {figures}")),
        }
    }
}
