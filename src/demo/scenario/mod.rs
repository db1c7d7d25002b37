//! What goes wrong, when, and who has to hear of it.
//!
//! Each scenario has a place in every hour since the start. It names the alerts it must trip, so
//! that a test can hold the rules to it, and what an operator sees is what was announced.

use std::time::Duration;

const MINUTE: u64 = 60;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scenario {
    /// A: fence of genome has no database connection left, and answers 502 and 503.
    FenceDatabase,
    /// B: the identity provider RAS fails, so heart's users come back from it without a login.
    RasOutage,
    /// J: the Alloy of imaging's cluster sends nothing, then all it kept, out of order.
    SilentShipper,
    /// N: imaging's staging twin fails all the time. Nobody may be woken.
    StagingNoise,
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

const fn page(alert: &'static str, commons: &'static str, detail: &'static str) -> Expected {
    Expected { alert, commons, detail, severity: "page" }
}

const GENOME: &str = "genome.data.example";
const IMAGING: &str = "imaging.commons.example";

const FENCE_DATABASE: &[Expected] = &[
    page("UpstreamUnreachable", GENOME, "backend=fence"),
    page("UpstreamUnreachable", GENOME, "backend=presigned-url-fence"),
    page("High5xxRatio", GENOME, "backend=fence"),
    page("High5xxRatio", GENOME, "backend=presigned-url-fence"),
    page("TokenEndpointErrors", GENOME, ""),
    page("PresignedUrlErrors", GENOME, ""),
];
const RAS_OUTAGE: &[Expected] =
    &[page("LoginCallbackFailures", "heart.commons.example", "idp=ras")];
const SILENT_SHIPPER: &[Expected] = &[page("CommonsSilent", IMAGING, "")];
const STAGING_NOISE: &[Expected] = &[
    Expected { severity: "ticket", ..page("UpstreamUnreachable", IMAGING, "backend=guppy") },
    Expected { severity: "ticket", ..page("High5xxRatio", IMAGING, "backend=guppy") },
    Expected { severity: "ticket", ..page("PodCrashLoop", IMAGING, "container=guppy") },
    Expected {
        severity: "ticket",
        ..page("CriticalServiceNoReplicas", IMAGING, "deployment=guppy-deployment")
    },
];

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 4] = [
        Scenario::FenceDatabase,
        Scenario::RasOutage,
        Scenario::SilentShipper,
        Scenario::StagingNoise,
    ];

    /// Returns its letter in the list of scenarios.
    pub fn letter(self) -> char {
        match self {
            Scenario::FenceDatabase => 'A',
            Scenario::RasOutage => 'B',
            Scenario::SilentShipper => 'J',
            Scenario::StagingNoise => 'N',
        }
    }

    /// Returns what happens, in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Scenario::FenceDatabase => {
                "fence of genome.data.example runs out of database connections: 502 and 503"
            }
            Scenario::RasOutage => {
                "the identity provider RAS fails: logins at heart.commons.example do not come back"
            }
            Scenario::SilentShipper => {
                "the Alloy of imaging.commons.example stops, then sends what it kept, out of order"
            }
            Scenario::StagingNoise => {
                "staging of imaging.commons.example fails all the time: tickets, no page"
            }
        }
    }

    /// Returns the alerts it must trip.
    pub fn expected(self) -> &'static [Expected] {
        match self {
            Scenario::FenceDatabase => FENCE_DATABASE,
            Scenario::RasOutage => RAS_OUTAGE,
            Scenario::SilentShipper => SILENT_SHIPPER,
            Scenario::StagingNoise => STAGING_NOISE,
        }
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
    /// One after the other, once an hour.
    fn default() -> Self {
        let planned = |scenario, after_min, lasts_min| Planned {
            scenario,
            after: Duration::from_secs(after_min * MINUTE),
            lasts: Duration::from_secs(lasts_min * MINUTE),
        };
        // `CommonsSilent` fires 15 minutes after the last signal, at its next evaluation.
        let plan = vec![
            planned(Scenario::FenceDatabase, 3, 12),
            planned(Scenario::RasOutage, 20, 15),
            planned(Scenario::SilentShipper, 40, 18),
            planned(Scenario::StagingNoise, 0, 60),
        ];
        Self { plan, repeat: Duration::from_secs(60 * MINUTE) }
    }
}

impl Schedule {
    /// Returns a plan in which nothing goes wrong.
    pub fn quiet() -> Self {
        Self { plan: Vec::new(), repeat: Duration::from_secs(60 * MINUTE) }
    }

    /// Returns true when a scenario is under way, `since_start_ms` after the start.
    pub fn is_active(&self, scenario: Scenario, since_start_ms: i64) -> bool {
        let Ok(since_ms) = u128::try_from(since_start_ms) else { return false };
        let at_ms = since_ms % self.repeat.as_millis().max(1);
        let covers = |planned: &Planned| {
            let from_ms = planned.after.as_millis();
            (from_ms..from_ms + planned.lasts.as_millis()).contains(&at_ms)
        };
        self.plan.iter().any(|planned| planned.scenario == scenario && covers(planned))
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
    fn staging_wakes_nobody() {
        let staging = |planned: &Planned| planned.scenario == Scenario::StagingNoise;
        let mut schedule = Schedule::default();
        schedule.plan.retain(staging);

        assert_eq!(expected_pages(&schedule), []);
        assert_ne!(expected_alerts(&schedule), []);
    }
}
