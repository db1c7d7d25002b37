//! A story told many times over: as often as wanted, or for as long as there is time, with a word on
//! how far it has come. Time only ends a run, it decides nothing.

use std::time::Duration;

use super::wait::Limit;

/// How often a run says how far it has come.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// The rounds of one story.
#[derive(Debug)]
pub(crate) struct Rounds {
    story: &'static str,
    n_wanted: u64,
    n_done: u64,
    /// `FAULTS_MINUTES`.
    limit: Option<Limit>,
    said: Limit,
}

impl Rounds {
    /// Returns as many rounds as the variable says, within `FAULTS_MINUTES` if that is set; the first
    /// one is always told.
    pub(crate) fn of(story: &'static str, variable: &str, default: u64) -> Self {
        let minutes = number("FAULTS_MINUTES");
        let limit = minutes.map(|minutes| Limit::new(Duration::from_secs(60 * minutes)));
        let n_wanted = number(variable).unwrap_or(default);
        Self { story, n_wanted, n_done: 0, limit, said: Limit::new(SAY_EVERY) }
    }

    /// Returns as many rounds of each of several kinds as the variable says, one kind after the other.
    pub(crate) fn of_each(
        story: &'static str,
        variable: &str,
        default: u64,
        n_kinds: usize,
    ) -> Self {
        let mut rounds = Self::of(story, variable, default);
        rounds.n_wanted *= u64::try_from(n_kinds).expect("kinds are few");
        rounds
    }

    /// Returns how many rounds there shall be.
    pub(crate) fn n_wanted(&self) -> u64 {
        self.n_wanted
    }

    /// Returns how many rounds were told: `12`, or `7 (of 12, then time was over)`.
    pub(crate) fn told(&self) -> String {
        match (self.n_done, self.n_wanted) {
            (done, wanted) if done < wanted => format!("{done} (of {wanted}, then time was over)"),
            (done, _) => done.to_string(),
        }
    }
}

impl Iterator for Rounds {
    type Item = u64;

    /// Returns the number of the next round.
    fn next(&mut self) -> Option<u64> {
        let is_over = self.limit.as_ref().is_some_and(Limit::is_over);
        if self.n_done >= self.n_wanted || self.n_done > 0 && is_over {
            return None;
        }
        if self.said.is_over() {
            eprintln!("progress: {}: {} of {}", self.story, self.n_done, self.n_wanted);
            self.said = Limit::new(SAY_EVERY);
        }
        self.n_done += 1;
        Some(self.n_done - 1)
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: wanted a whole number")))
}
