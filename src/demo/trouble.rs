//! What is going wrong at one site at one time.

use std::time::Duration;

use super::catalogue::Site;
use super::scenario::{Scenario, Schedule};

/// When people begin to miss access that usersync should have renewed.
const ACCESS_LOST_AFTER: Duration = Duration::from_secs(3 * 3_600);
/// How many series the label bomb has in the end, and how long it takes.
const BOMB_SERIES: u64 = 50_000;
const BOMB_FILLS: Duration = Duration::from_secs(300);

/// The scenarios under way at a site, with how long each has been.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trouble(Vec<(Scenario, Duration)>);

impl Trouble {
    /// Returns what goes wrong at a site, `since_start_ms` after the start of the world.
    pub(super) fn at(site: &Site, schedule: &Schedule, since_start_ms: i64) -> Self {
        let here =
            schedule.plan.iter().filter(|planned| planned.scenario.hostname() == site.hostname);
        let under_way = |scenario| {
            let passed = schedule.active_for(scenario, since_start_ms)?;
            Some((scenario, passed))
        };
        Self(here.filter_map(|planned| under_way(planned.scenario)).collect())
    }

    /// Returns true while a scenario is under way here.
    pub(super) fn is(&self, scenario: Scenario) -> bool {
        self.passed(scenario).is_some()
    }

    fn passed(&self, scenario: Scenario) -> Option<Duration> {
        self.0.iter().find(|(active, _)| *active == scenario).map(|(_, passed)| *passed)
    }

    /// Returns the service that the health check and Kubernetes find failing.
    pub(super) fn failing_status(&self) -> Option<&'static str> {
        self.is(Scenario::FenceDatabase).then_some("fence")
    }

    /// Returns the service whose pods crash.
    pub(super) fn crashing(&self) -> Option<&'static str> {
        self.is(Scenario::StagingNoise).then_some("guppy")
    }

    /// Returns true when runs of a job that begin now go wrong.
    pub(super) fn breaks(&self, job: &str) -> bool {
        match job {
            "usersync" => self.is(Scenario::UsersyncDies),
            "etl-cronjob" => self.is(Scenario::EtlFalseSuccess),
            "workspace-launch-test" => self.is(Scenario::LaunchFailure),
            _ => false,
        }
    }

    /// Returns true when people lack the access that they had.
    pub(super) fn is_access_lost(&self) -> bool {
        self.passed(Scenario::UsersyncDies).is_some_and(|passed| passed >= ACCESS_LOST_AFTER)
    }

    /// Returns how many series of one request each the user data library exposes beyond its own.
    pub(super) fn bomb_series(&self) -> u64 {
        let Some(passed) = self.passed(Scenario::LabelBomb) else { return 0 };
        BOMB_SERIES * passed.as_secs().min(BOMB_FILLS.as_secs()) / BOMB_FILLS.as_secs()
    }
}
