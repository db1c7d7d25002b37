//! The scenarios as data: where each happens, for how long, and who has to hear of it.

use super::{Expected, Scenario};

/// One scenario as it is told.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) scenario: Scenario,
    pub(super) letter: char,
    /// What happens, in a sentence.
    pub(super) title: &'static str,
    /// The host whose services it befalls.
    pub(super) hostname: &'static str,
    /// How long all must have been well before, so that there is something to compare with.
    pub(super) lead_min: u64,
    /// How long it lasts.
    pub(super) lasts_min: u64,
    pub(super) expected: &'static [Expected],
}

const fn page(alert: &'static str, commons: &'static str, detail: &'static str) -> Expected {
    Expected { alert, commons, detail, severity: "page" }
}

const fn ticket(alert: &'static str, commons: &'static str, detail: &'static str) -> Expected {
    Expected { alert, commons, detail, severity: "ticket" }
}

/// What would be a ticket in production.
const fn info(alert: &'static str, commons: &'static str, detail: &'static str) -> Expected {
    Expected { alert, commons, detail, severity: "info" }
}

const HEART: &str = "heart.commons.example";
const CANINE: &str = "canine.commons.example";
const IMAGING: &str = "imaging.commons.example";
const HUB: &str = "hub.mesh.example";
const GENOME: &str = "genome.data.example";

/// By their letters.
pub(super) static STORIES: [Story; 15] = [
    Story {
        scenario: Scenario::FenceDatabase,
        letter: 'A',
        title: "fence of genome.data.example runs out of database connections: 502 and 503",
        hostname: GENOME,
        lead_min: 5,
        lasts_min: 12,
        expected: &[
            page("UpstreamUnreachable", GENOME, "backend=fence"),
            page("UpstreamUnreachable", GENOME, "backend=presigned-url-fence"),
            page("High5xxRatio", GENOME, "backend=fence"),
            page("High5xxRatio", GENOME, "backend=presigned-url-fence"),
            page("TokenEndpointErrors", GENOME, ""),
            page("PresignedUrlErrors", GENOME, ""),
            // Its health check asks the same database.
            page("StatusEndpointFailing", GENOME, "service=fence"),
        ],
    },
    Story {
        scenario: Scenario::RasOutage,
        letter: 'B',
        title: "the identity provider RAS fails: logins at heart.commons.example do not come back",
        hostname: HEART,
        lead_min: 5,
        lasts_min: 15,
        expected: &[
            page("LoginCallbackFailures", HEART, "idp=ras"),
            ticket("IdpJwksUnreachable", HEART, ""),
        ],
    },
    Story {
        scenario: Scenario::UsersyncDies,
        letter: 'C',
        title: "usersync of heart.commons.example fails for three hours, then access is missing",
        hostname: HEART,
        lead_min: 40,
        lasts_min: 215,
        expected: &[
            ticket("UsersyncFailed", HEART, ""),
            page("UsersyncStale", HEART, ""),
            ticket("PresignedUrlDeniedSpike", HEART, ""),
        ],
    },
    Story {
        scenario: Scenario::EtlFalseSuccess,
        letter: 'D',
        title: "the ETL of heart.commons.example does not reach Spark, and its Job is green",
        hostname: HEART,
        lead_min: 60,
        lasts_min: 130,
        expected: &[ticket("EtlFalseSuccess", HEART, ""), ticket("EtlStale", HEART, "")],
    },
    Story {
        scenario: Scenario::SearchIll,
        letter: 'E',
        title: "the Elasticsearch of canine.commons.example is red and slow",
        hostname: CANINE,
        lead_min: 5,
        lasts_min: 20,
        expected: &[page("GuppyEsDown", CANINE, ""), ticket("GuppyEsSlow", CANINE, "")],
    },
    Story {
        scenario: Scenario::IndexCrawl,
        letter: 'F',
        title: "a crawler asks indexd of genome.data.example 60,000 times in five minutes",
        hostname: GENOME,
        lead_min: 3,
        lasts_min: 16,
        expected: &[
            ticket("TrafficFloodIndexd", GENOME, ""),
            ticket("HighLatency", GENOME, "backend=indexd"),
        ],
    },
    Story {
        scenario: Scenario::LaunchFailure,
        letter: 'G',
        title: "ECS launches of heart.commons.example fail after hatchery has answered 200",
        hostname: HEART,
        lead_min: 25,
        lasts_min: 60,
        expected: &[
            page("WorkspaceLaunchFailures", HEART, "cause=launches"),
            ticket("WorkspaceLaunchTestFailing", HEART, ""),
        ],
    },
    Story {
        scenario: Scenario::OldCertificate,
        letter: 'H',
        title: "the certificate of canine.commons.example has two days left",
        hostname: CANINE,
        lead_min: 5,
        lasts_min: 70,
        expected: &[page("CertificateExpiry", CANINE, "")],
    },
    Story {
        scenario: Scenario::AuditStuck,
        letter: 'I',
        title: "the audit service of canine.commons.example no longer reads its queue, and says nothing",
        hostname: CANINE,
        lead_min: 25,
        lasts_min: 45,
        expected: &[ticket("AuditPipelineBroken", CANINE, "")],
    },
    Story {
        scenario: Scenario::SilentShipper,
        letter: 'J',
        title: "the Alloy of imaging.commons.example stops, then sends what it kept, out of order",
        hostname: IMAGING,
        lead_min: 5,
        lasts_min: 18,
        expected: &[page("CommonsSilent", IMAGING, "")],
    },
    Story {
        scenario: Scenario::LabelBomb,
        letter: 'K',
        title: "the user data library of heart.commons.example exposes 50,000 series",
        hostname: HEART,
        lead_min: 5,
        lasts_min: 10,
        expected: &[ticket("CardinalityBomb", HEART, "service=gen3-user-data-library")],
    },
    Story {
        scenario: Scenario::TokenGrowth,
        letter: 'L',
        title: "tokens at canine.commons.example outgrow what its servers take: 431",
        hostname: CANINE,
        lead_min: 5,
        lasts_min: 15,
        expected: &[ticket("HeaderTooLarge431", CANINE, "")],
    },
    Story {
        scenario: Scenario::UnrenderedLabel,
        letter: 'M',
        title: "hub.mesh.example ships `{{ .Values.cluster }}` as its cluster: it is placed all the same",
        hostname: HUB,
        lead_min: 5,
        lasts_min: 30,
        expected: &[],
    },
    Story {
        scenario: Scenario::StagingNoise,
        letter: 'N',
        title: "staging of imaging.commons.example fails all the time: tickets, no page",
        hostname: "staging.imaging.commons.example",
        lead_min: 0,
        lasts_min: 60,
        expected: &[
            ticket("UpstreamUnreachable", IMAGING, "backend=guppy"),
            ticket("High5xxRatio", IMAGING, "backend=guppy"),
            info("Elevated5xx", IMAGING, "backend=guppy"),
            ticket("PodCrashLoop", IMAGING, "container=guppy"),
            ticket("CriticalServiceNoReplicas", IMAGING, "deployment=guppy-deployment"),
            info("ServiceDegraded", IMAGING, "deployment=guppy-deployment"),
            ticket("GuppyEsDown", IMAGING, ""),
        ],
    },
    Story {
        scenario: Scenario::BlueGreen,
        letter: 'O',
        title: "half of the traffic of genome.data.example moves to another namespace: one commons",
        hostname: GENOME,
        lead_min: 5,
        lasts_min: 30,
        expected: &[],
    },
];
