//! What goes wrong, when, and who has to hear of it.
//!
//! Each scenario has a place on the timeline and names the alerts it must trip, so that a test can
//! hold the rules to it, and what an operator sees is what was announced.

mod stories;

use std::time::Duration;

use stories::{STORIES, Story};

const MINUTE: u64 = 60;

/// Something that goes wrong. `stories` says what, where and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scenario {
    /// A: fence has no database connection left.
    FenceDatabase,
    /// B: an identity provider fails.
    RasOutage,
    /// C: usersync fails, and in the end people lack access.
    UsersyncDies,
    /// D: the ETL does nothing and says that it succeeded.
    EtlFalseSuccess,
    /// E: Elasticsearch is red and slow.
    SearchIll,
    /// F: somebody crawls the index.
    IndexCrawl,
    /// G: workspaces are accepted and do not start.
    LaunchFailure,
    /// H: a certificate is about to expire.
    OldCertificate,
    /// I: nobody reads the audit queue.
    AuditStuck,
    /// J: an Alloy sends nothing, then all it kept, out of order.
    SilentShipper,
    /// K: a label that is different for each request.
    LabelBomb,
    /// L: tokens are too large for a header.
    TokenGrowth,
    /// M: a chart that was not rendered.
    UnrenderedLabel,
    /// N: staging fails all the time. Nobody may be woken.
    StagingNoise,
    /// O: a commons moves from one namespace to another.
    BlueGreen,
}

/// An alert that a scenario must trip.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expected {
    /// The rule's name.
    pub alert: &'static str,
    /// The commons it is about.
    pub commons: &'static str,
    /// What else tells it from other alerts of the rule, such as `backend=fence`.
    pub detail: &'static str,
    /// `page`, or what is below it.
    pub severity: &'static str,
}

impl Scenario {
    /// All of them, by their letters.
    pub const ALL: [Scenario; 15] = [
        Scenario::FenceDatabase,
        Scenario::RasOutage,
        Scenario::UsersyncDies,
        Scenario::EtlFalseSuccess,
        Scenario::SearchIll,
        Scenario::IndexCrawl,
        Scenario::LaunchFailure,
        Scenario::OldCertificate,
        Scenario::AuditStuck,
        Scenario::SilentShipper,
        Scenario::LabelBomb,
        Scenario::TokenGrowth,
        Scenario::UnrenderedLabel,
        Scenario::StagingNoise,
        Scenario::BlueGreen,
    ];

    fn story(self) -> &'static Story {
        let found = STORIES.iter().find(|story| story.scenario == self);
        found.expect("every scenario has a story")
    }

    /// Returns the scenario of a letter, of either case.
    pub fn of_letter(letter: char) -> Option<Self> {
        let is_it = |story: &&Story| story.letter == letter.to_ascii_uppercase();
        STORIES.iter().find(is_it).map(|story| story.scenario)
    }

    /// Returns its letter in the list of scenarios.
    pub fn letter(self) -> char {
        self.story().letter
    }

    /// Returns what happens, in a sentence.
    pub fn title(self) -> &'static str {
        self.story().title
    }

    /// Returns the alerts it must trip.
    pub fn expected(self) -> &'static [Expected] {
        self.story().expected
    }

    /// Returns the host whose services it befalls.
    pub fn hostname(self) -> &'static str {
        self.story().hostname
    }

    /// Returns how long all must have been well before it.
    pub fn lead(self) -> Duration {
        Duration::from_secs(self.story().lead_min * MINUTE)
    }

    /// Returns how long it lasts.
    pub fn lasts(self) -> Duration {
        Duration::from_secs(self.story().lasts_min * MINUTE)
    }
}

/// When a scenario happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// What happens.
    pub scenario: Scenario,
    /// How long after the start of the demo, and of each repetition.
    pub after: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}

/// When everything happens; the whole plan repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The scenarios.
    pub plan: Vec<Planned>,
    /// After how long the plan begins anew.
    pub repeat: Duration,
}

impl Default for Schedule {
    /// One after the other, once an hour: those that an hour can show.
    fn default() -> Self {
        let planned = |scenario: Scenario, after_min| Planned {
            scenario,
            after: Duration::from_secs(after_min * MINUTE),
            lasts: scenario.lasts(),
        };
        // `CommonsSilent` fires 15 minutes after the last signal, at its next evaluation.
        let plan = vec![
            planned(Scenario::FenceDatabase, 3),
            planned(Scenario::RasOutage, 20),
            planned(Scenario::SilentShipper, 40),
            planned(Scenario::StagingNoise, 0),
        ];
        Self { plan, repeat: Duration::from_secs(60 * MINUTE) }
    }
}

impl Schedule {
    /// Returns a plan in which nothing goes wrong.
    pub fn quiet() -> Self {
        Self { plan: Vec::new(), repeat: Duration::from_secs(60 * MINUTE) }
    }

    /// Returns a plan in which these happen side by side, each after its lead.
    pub fn of(scenarios: &[Scenario]) -> Self {
        const REST: Duration = Duration::from_secs(30 * MINUTE);
        let planned = |scenario: &Scenario| Planned {
            scenario: *scenario,
            after: scenario.lead(),
            lasts: scenario.lasts(),
        };
        let plan: Vec<Planned> = scenarios.iter().map(planned).collect();
        let end = plan.iter().map(|planned| planned.after + planned.lasts).max();
        Self { plan, repeat: end.unwrap_or_default() + REST }
    }

    /// Returns true when a scenario is under way, `since_start_ms` after the start.
    pub fn is_active(&self, scenario: Scenario, since_start_ms: i64) -> bool {
        self.active_for(scenario, since_start_ms).is_some()
    }

    /// Returns for how long a scenario has been under way, `since_start_ms` after the start.
    pub fn active_for(&self, scenario: Scenario, since_start_ms: i64) -> Option<Duration> {
        let since_start = Duration::from_millis(u64::try_from(since_start_ms).ok()?);
        let at_ms = since_start.as_millis() % self.repeat.as_millis().max(1);
        let of_it = self.plan.iter().filter(|planned| planned.scenario == scenario);
        let passed = of_it.filter_map(|planned| {
            let passed_ms = at_ms.checked_sub(planned.after.as_millis())?;
            (passed_ms < planned.lasts.as_millis()).then_some(passed_ms)
        });
        passed.max().map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX)))
    }
}

/// Returns the alerts of severity `page` that a schedule must trip, sorted, each once.
pub fn expected_pages(schedule: &Schedule) -> Vec<Expected> {
    let mut pages = expected_alerts(schedule);
    pages.retain(|expected| expected.severity == "page");
    pages
}

/// Returns all alerts that a schedule must trip, sorted, each once.
pub fn expected_alerts(schedule: &Schedule) -> Vec<Expected> {
    let planned = schedule.plan.iter().flat_map(|planned| planned.scenario.expected());
    let mut alerts: Vec<Expected> = planned.cloned().collect();
    alerts.sort();
    alerts.dedup();
    alerts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scenario: Scenario, minute: i64, want: bool) {
        assert_eq!(Schedule::default().is_active(scenario, minute * 60_000), want);
    }

    #[test]
    fn scenarios_happen_on_time_and_again_every_hour() {
        for hour in 0..3 {
            check(Scenario::FenceDatabase, hour * 60 + 2, false);
            check(Scenario::FenceDatabase, hour * 60 + 3, true);
            check(Scenario::FenceDatabase, hour * 60 + 14, true);
            check(Scenario::FenceDatabase, hour * 60 + 15, false);
            check(Scenario::StagingNoise, hour * 60 + 59, true);
        }
        check(Scenario::StagingNoise, -1, false);
    }

    #[test]
    fn letters_go_from_a_to_o() {
        let letters: String = Scenario::ALL.iter().map(|scenario| scenario.letter()).collect();

        assert_eq!(letters, "ABCDEFGHIJKLMNO");
        for scenario in Scenario::ALL {
            assert_eq!(Scenario::of_letter(scenario.letter()), Some(scenario));
        }
        assert_eq!(Scenario::of_letter('c'), Some(Scenario::UsersyncDies));
        assert_eq!(Scenario::of_letter('P'), None);
    }

    #[test]
    fn a_plan_of_some_begins_each_after_its_lead() {
        let schedule = Schedule::of(&[Scenario::FenceDatabase, Scenario::EtlFalseSuccess]);
        let passed = |scenario, minute: i64| schedule.active_for(scenario, minute * 60_000);

        assert_eq!(passed(Scenario::FenceDatabase, 4), None);
        assert_eq!(passed(Scenario::FenceDatabase, 6), Some(Duration::from_secs(60)));
        assert_eq!(passed(Scenario::EtlFalseSuccess, 100), Some(Duration::from_secs(40 * 60)));
        assert_eq!(passed(Scenario::RasOutage, 6), None);
    }

    #[test]
    fn staging_wakes_nobody() {
        let schedule = Schedule::of(&[Scenario::StagingNoise]);

        assert_eq!(expected_pages(&schedule), []);
        assert_ne!(expected_alerts(&schedule), []);
    }
}
