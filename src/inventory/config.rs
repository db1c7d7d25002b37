//! The section `inventory` of the configuration.

use crate::base::units::HumanDuration;
use crate::model::Signal;

/// Something that is expected to report.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The commons.
    pub commons: String,
    /// The service; none: the commons as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it sends.
    pub signal: Signal,
    /// How long it may take until more comes.
    pub rhythm: HumanDuration,
}

/// The section `inventory` of the configuration.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether silence is watched at all.
    pub enabled: bool,
    /// Whether what is seen is expected from then on.
    pub learn: bool,
    /// What is expected in any case.
    pub expected: Vec<Expected>,
    /// After how many times its rhythm something is quiet, and dark.
    pub quiet_after: u32,
    /// See `quiet_after`.
    pub dark_after: u32,
    /// The shortest silence that is darkness.
    pub dark_min: HumanDuration,
    /// How long something that was learned is remembered after it was last seen.
    pub forget_after: HumanDuration,
    /// The most that is remembered.
    pub items_max: usize,
    /// The label `severity` of the alert of a whole commons, and of one service; empty: no alert.
    pub commons_severity: String,
    /// See `commons_severity`.
    pub service_severity: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            learn: true,
            expected: Vec::new(),
            quiet_after: 3,
            dark_after: 10,
            // Longer than the rules that we ship wait: where they are in force, they speak first.
            dark_min: HumanDuration::from_secs(1_200),
            forget_after: HumanDuration::from_secs(7 * 86_400),
            items_max: 50_000,
            commons_severity: "page".to_owned(),
            // A service may fall silent because nobody uses it; its state shows it all the same.
            service_severity: String::new(),
        }
    }
}
