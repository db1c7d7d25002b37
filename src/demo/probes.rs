//! What is seen from outside: a prober of each commons' pages, and what indexd says it holds.
//!
//! The names are the blackbox exporter's; `check` tells the front page from the status endpoints of
//! services. The numbers of indexd's `/index/_stats` come through a JSON exporter, as
//! `docs/grafana.md` shows.

use xxhash_rust::xxh3::xxh3_64;

use super::catalogue::Site;
use super::pods::LabelList;
use super::scenario::Scenario;
use super::scrape::{Scrape, Target};
use super::text::{as_f64, seconds};
use super::trouble::Trouble;

/// Services and the paths that say whether they are well.
const STATUS_PATHS: [(&str, &str); 10] = [
    ("fence", "/user/_status"),
    ("indexd", "/index/_status"),
    ("sheepdog", "/api/_status"),
    ("peregrine", "/peregrine/_status"),
    ("guppy", "/guppy/_status"),
    ("metadata", "/mds/_status"),
    ("wts", "/wts/_status"),
    ("audit", "/audit/_status"),
    ("manifestservice", "/manifests/_status"),
    ("requestor", "/requestor/_status"),
];
const DAY_S: f64 = 86_400.0;

/// Adds what the prober of a site found. Nobody probes staging.
pub(super) fn scrape(site: &'static Site, trouble: &Trouble, into: &mut Scrape) {
    if site.is_staging() {
        return;
    }
    let front = if site.runs("portal") { "portal" } else { "frontend-framework" };
    probe(site, "portal", (front, "/"), true, into);
    for (service, path) in STATUS_PATHS.into_iter().filter(|(service, _)| site.runs(service)) {
        let is_well = trouble.failing_status() != Some(service);
        probe(site, "status", (service, path), is_well, into);
    }
    // Certificates are renewed a month before their end, each on a day of its own.
    let day =
        (into.at_ms.div_euclid(86_400_000).unsigned_abs() + xxh3_64(site.hostname.as_bytes())) % 60;
    let expiry_s = (seconds(into.at_ms) / DAY_S).floor() * DAY_S + as_f64(90 - day) * DAY_S;
    let expiry_s = match trouble.is(Scenario::OldCertificate) {
        true => seconds(into.at_ms) + 2.0 * DAY_S,
        false => expiry_s,
    };
    let url = format!("https://{}/", site.hostname);
    push(
        site,
        "probe_ssl_earliest_cert_expiry",
        vec![("check", "portal".to_owned())],
        &url,
        expiry_s,
        into,
    );
    let n_files = 200_000.0 + (seconds(into.at_ms) / 60.0).rem_euclid(1e6).floor();
    push(site, "gen3_indexd_files", Vec::new(), &url, n_files, into);
    push(site, "gen3_indexd_file_bytes", Vec::new(), &url, n_files * 3.1e9, into);
}

fn probe(
    site: &'static Site,
    check: &str,
    (service, path): (&str, &str),
    is_well: bool,
    into: &mut Scrape,
) {
    let url = format!("https://{}{path}", site.hostname);
    let labels = || vec![("check", check.to_owned()), ("service", service.to_owned())];
    let swing = 0.02 * (seconds(into.at_ms) / 300.0).sin();
    let (success, status) = if is_well { (1.0, 200.0) } else { (0.0, 503.0) };
    push(site, "probe_success", labels(), &url, success, into);
    push(site, "probe_http_status_code", labels(), &url, status, into);
    push(site, "probe_duration_seconds", labels(), &url, 0.06 + swing, into);
}

fn push(
    site: &'static Site,
    metric: &'static str,
    mut labels: LabelList,
    url: &str,
    value: f64,
    into: &mut Scrape,
) {
    labels.push(("hostname", site.hostname.to_owned()));
    let target = Target {
        job: "integrations/blackbox",
        instance: url,
        cluster: site.cluster,
        project: site.project,
    };
    into.push_list(metric, target, labels, value);
}
