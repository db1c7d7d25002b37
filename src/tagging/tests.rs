//! Runs the text cases of `tests/cases/tagging/`, and what a text case cannot say.
//!
//! ```text
//! # why this case is here
//! <series|stream|resource> <sender> [tenant=<X-Scope-OrgID>] | name=value name="value with spaces" …
//! => <commons> <service> <env> <cluster> <rule>        `-` for none; or `=> drop <reason>`
//! has name=value …                                      labels afterwards
//! lacks name …
//! ```
//! The sender is `any`, `commons:<name>`, `cluster:<name>` or `cluster:<name>:<commons>,<commons>`.
//! An `=> fold …` line is a series that must be added up. Each file starts with fresh learning; the
//! map is that of the demo.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{ReadScope, Role};

fn tagger() -> Tagger {
    let config = Config {
        commons: demo_commons(),
        pseudonym_key: "for tests".to_owned(),
        ..Config::default()
    };
    Tagger::load(&config).unwrap()
}

fn grant(sender: &str) -> Grant {
    let mut parts = sender.split(':');
    let write = match (parts.next().unwrap(), parts.next(), parts.next()) {
        ("any", None, None) => WriteScope::Any,
        ("nothing", None, None) => WriteScope::Nothing,
        ("commons", Some(name), None) => WriteScope::Commons(Commons::new(name).unwrap()),
        ("cluster", Some(cluster), listed) => WriteScope::Cluster {
            cluster: Arc::from(cluster),
            commons: listed
                .iter()
                .flat_map(|names| names.split(','))
                .map(|name| Commons::new(name).unwrap())
                .collect(),
        },
        _ => panic!("not a sender: {sender}"),
    };
    Grant { name: Arc::from("case"), write, read: ReadScope::Nothing, role: Role::Viewer }
}

/// Reads `name=value name="value with spaces"`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').unwrap_or_else(|| panic!("no `=` in {rest}"));
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("a closing quote"),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        pairs.push((name.to_owned(), value.to_owned()));
        rest = after.trim_start();
    }
    pairs
}

struct Outcome {
    line: String,
    labels: LabelsBuilder,
}

fn show(tags: &Tags) -> String {
    let or_dash = |text: &Option<Arc<str>>| text.as_deref().unwrap_or("-").to_owned();
    let (service, env, cluster) = (&tags.service, &tags.env, &tags.cluster);
    let rest = [or_dash(service), or_dash(env), or_dash(cluster)].join(" ");
    format!("{} {rest} {}", tags.commons, tags.rule)
}

fn run(tagger: &Tagger, input: &str) -> Outcome {
    let (head, facts) = input.split_once(" |").expect("a `|` after the sender");
    let words: Vec<&str> = head.split_whitespace().collect();
    let grant = grant(words[1]);
    let tenant = words.get(2).map(|word| word.strip_prefix("tenant=").expect("tenant="));
    let pairs = pairs(facts);
    let mut labels = LabelsBuilder::new();
    for (name, value) in &pairs {
        labels.set(name, value);
    }
    let line = match words[0] {
        "series" => match tagger.tag_series(&grant, tenant, &mut labels) {
            SeriesDecision::Keep(tags) => show(&tags),
            SeriesDecision::Fold(tags, _) => format!("fold {}", show(&tags)),
            SeriesDecision::Drop(reason) => format!("drop {reason}"),
        },
        "stream" => show(&tagger.tag_stream(&grant, tenant, &mut labels)),
        "resource" => {
            let known: BTreeMap<String, String> = pairs.into_iter().collect();
            show(&tagger.tag_resource(&grant, tenant, &|name| known.get(name).cloned()))
        }
        other => panic!("not a kind of case: {other}"),
    };
    Outcome { line, labels }
}

/// Runs one file; returns the number of cases and adds what does not hold to `wrong`.
fn check_file(name: &str, text: &str, wrong: &mut Vec<String>) -> usize {
    let tagger = tagger();
    let mut n_cases = 0;
    let mut last = Outcome { line: String::new(), labels: LabelsBuilder::new() };
    for (idx, line) in text.lines().enumerate() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let differs = match word {
            "" | "#" => None,
            "=>" => (last.line != rest.trim()).then(|| last.line.clone()),
            "has" => pairs(rest)
                .iter()
                .find(|(label, want)| last.labels.get(label) != Some(&**want))
                .map(|_| last.labels.build().to_string()),
            "lacks" => rest
                .split_whitespace()
                .any(|label| last.labels.get(label).is_some())
                .then(|| last.labels.build().to_string()),
            _ => {
                last = run(&tagger, line);
                n_cases += 1;
                None
            }
        };
        wrong.extend(differs.map(|got| format!("{name}:{}: {line}\n    got {got}", idx + 1)));
    }
    n_cases
}

#[test]
fn every_text_case_holds() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/tagging");
    let (mut n_cases, mut wrong) = (0, Vec::new());

    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        n_cases += check_file(&path.file_name().unwrap().to_string_lossy(), &text, &mut wrong);
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(n_cases >= 80, "only {n_cases} cases were found");
}

#[test]
fn with_tagging_off_labels_stay_as_they_came() {
    let config = Config { enabled: false, commons: demo_commons(), ..Config::default() };
    let tagger = Tagger::load(&config).unwrap();
    let mut labels = LabelsBuilder::new();
    labels.set("commons", "heart.commons.example").set("user_id", "7").set("service", "X");
    let before = labels.build();

    let by_any = tagger.tag_series(&grant("any"), Some("heart.commons.example"), &mut labels);
    let by_token = tagger.tag_stream(&grant("commons:canine.commons.example"), None, &mut labels);

    assert_eq!(by_any, SeriesDecision::Keep(Tags::unassigned()));
    assert_eq!(by_token.commons.as_str(), "canine.commons.example");
    assert_eq!(labels.build(), before);
    assert_eq!(tagger.scrub_text("/x?code=1"), None);
}

#[test]
fn a_pair_seen_with_two_commons_places_nothing() {
    let tagger = Tagger::load(&Config::default()).unwrap();
    let see = |host: &str| {
        run(&tagger, &format!("stream any | cluster=c namespace=n hostname={host} app=fence"));
    };
    let ask = || run(&tagger, "stream any | cluster=c namespace=n app=gen3job").line;

    see("a.example");
    let once = ask();
    see("b.example");
    let twice = ask();
    see("a.example");

    assert!(once.ends_with("learned") && once.starts_with("a.example"), "{once}");
    assert!(twice.ends_with("unassigned"), "{twice}");
    assert_eq!(ask(), twice, "an ambiguous pair stays ambiguous");
    assert_eq!(tagger.learned().len(), 1);
}

#[test]
fn learning_is_bounded_and_survives_a_restart() {
    let config = Config { learned_pairs_max: 2, ..Config::default() };
    let first = Tagger::load(&config).unwrap();
    for n in 0..5 {
        run(&first, &format!("stream any | cluster=c namespace=n{n} hostname=a{n}.example"));
    }

    let second = Tagger::load(&config).unwrap();
    second.teach(&first.learned());

    assert_eq!(first.learned().len(), 2);
    assert_eq!(first.learned_version(), 2);
    assert_eq!(second.learned(), first.learned());
    assert!(run(&second, "stream any | cluster=c namespace=n1").line.ends_with("learned"));
}

#[test]
fn a_commons_bound_sender_teaches_nothing() {
    let tagger = Tagger::load(&Config::default()).unwrap();

    run(&tagger, "stream commons:a.example | cluster=c namespace=n hostname=b.example");

    assert_eq!(tagger.learned(), []);
}

#[track_caller]
fn check_line(stream: &str, body: &str, want: Option<&str>) {
    let tagger = tagger();
    let mut labels = LabelsBuilder::new();
    for (name, value) in pairs(stream) {
        labels.set(&name, &value);
    }
    let grant = grant("any");
    let tags = tagger.tag_stream(&grant, None, &mut labels);

    let by_line = tagger.tag_line(&grant, &tags, body);

    assert_eq!(by_line.map(|tags| show(&tags)).as_deref(), want);
}

#[test]
fn a_line_places_what_its_stream_could_not() {
    let faro = "kind=event app_namespace=x app_environment=heart.commons.example x=1";
    let passed = r#"{"gen3log": "nginx", "http_upstream": "http://fence-service.hearthelm.svc.cluster.local/x"}"#;
    check_line(
        "service=frontend-app",
        faro,
        Some("heart.commons.example portal prod shared-east faro"),
    );
    check_line(
        "app=revproxy cluster=shared-east",
        passed,
        Some("heart.commons.example revproxy prod shared-east upstream"),
    );
    check_line("app=revproxy cluster=elsewhere", passed, None);
    check_line("app=revproxy", "no hint at all", None);
    // Only the revproxy's own lines count.
    check_line("app=guppy cluster=shared-east", passed, None);
    check_line("service=frontend-app", "app_environment=made.up.example", None);
    // What the labels say stands, whatever the line claims.
    check_line("app=revproxy cluster=shared-east namespace=canineprod", passed, None);
}

#[test]
fn refused_claims_and_rules_are_counted() {
    let mut registry = prometheus_client::registry::Registry::default();
    let tagger = tagger().with_metrics(Metrics::register(&mut registry));

    run(&tagger, "series commons:heart.commons.example tenant=canine.commons.example | app=x");
    run(&tagger, "series any | __name__=gen3_fence_login_total idp=all");

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for want in [
        "commonwatch_tagging_refused_claims_total{claim=\"tenant\"} 1",
        "commonwatch_tagging_decisions_total{rule=\"credential\"} 1",
        "commonwatch_tagging_decisions_total{rule=\"unassigned\"} 0",
        "commonwatch_tagging_dropped_series_total{reason=\"idp_all\"} 1",
    ] {
        assert!(text.contains(want), "{want} in\n{text}");
    }
}

#[track_caller]
fn check_bad_dir(file: &str, text: &str, want: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(file), text).unwrap();
    let config = Config { dir: Some(dir.path().to_owned()), ..Config::default() };

    let error = Tagger::load(&config).unwrap_err().to_string();

    assert!(error.contains(want), "{error}");
}

#[test]
fn a_wrong_file_is_refused_with_its_name_and_key() {
    check_bad_dir("jobs.toml", "apps = []\nowner = {}\n", "jobs.toml:2: unknown field `owner`");
    check_bad_dir("service.toml", "", "none of the files tagging reads: services.toml");
    check_bad_dir("aliases.toml", "[aliases]\nx = 5\n", "aliases.toml:2: invalid type");
    check_bad_dir(
        "commons.toml",
        "no_value = []\nno_commons = []\nmachine_suffixes = []\n[[commons]]\nname = \"A/b\"\n",
        "`A/b` cannot name a commons",
    );
}

#[test]
fn a_file_in_the_directory_replaces_only_its_own_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[aliases]\nledger = \"audit\"\n[no_service]\nnames = []\nprefixes = []\n";
    std::fs::write(dir.path().join("aliases.toml"), text).unwrap();
    let config = Config { dir: Some(dir.path().to_owned()), ..Config::default() };

    let tagger = Tagger::load(&config).unwrap();

    assert_eq!(tagger.known_service("ledger").as_deref(), Some("audit"));
    assert_eq!(tagger.known_service("mds"), None, "the built-in aliases are gone");
    assert_eq!(tagger.known_service("fence-service").as_deref(), Some("fence"));
}

#[test]
fn a_place_of_two_commons_is_refused() {
    let entry = |name: &str| CommonsEntry {
        name: name.to_owned(),
        clusters: vec!["c".to_owned()],
        namespaces: vec!["n".to_owned()],
        ..CommonsEntry::default()
    };
    let config =
        Config { commons: vec![entry("a.example"), entry("b.example")], ..Config::default() };

    let error = Tagger::load(&config).unwrap_err().to_string();

    assert_eq!(
        error,
        "namespace n of cluster c belongs to a.example and to b.example: remove one of the two \
         entries"
    );
}

#[track_caller]
fn check_path(path: &str, want_route: Option<&str>, want_backend: &str) {
    let tagger = Tagger::load(&Config::default()).unwrap();

    let found = tagger.request_path(path);

    assert_eq!(found.route.map(|route| &*route.template), want_route, "{path}");
    assert_eq!(found.backend.map(|backend| &**backend), Some(want_backend), "{path}");
}

#[test]
fn paths_know_their_route_and_backend() {
    check_path("/user/user", Some("/user/user"), "fence");
    check_path(
        "/user/data/download/dg.1/2?x=1",
        Some("/user/data/download/{guid}"),
        "presigned-url-fence",
    );
    check_path("/api/v0/submission/graphql", Some("/api/v0/submission/graphql"), "peregrine");
    check_path(
        "/api/v0/submission/p/q",
        Some("/api/v0/submission/{program}/{project}"),
        "sheepdog",
    );
    check_path("/ga4gh/tes/v1/tasks/1", Some("/ga4gh/tes/v1/tasks/{id}"), "gen3-workflow");
    check_path("/lw-workspace/proxy/a/b", Some("/lw-workspace/proxy/{what}"), "ambassador");
    check_path("/lw-workspace/launch", Some("/lw-workspace/launch"), "hatchery");
    check_path("/wp-admin/setup.php", None, "portal");
    check_path("/", Some("/"), "portal");
}

#[test]
fn an_idp_is_found_in_its_route() {
    let tagger = Tagger::load(&Config::default()).unwrap();

    let callback = tagger.request_path("/user/login/ras/callback?code=1");

    assert_eq!(callback.idp, Some("ras"));
    assert_eq!(callback.route.and_then(|route| route.login), Some(LoginStage::Callback));
}

#[test]
fn catalogue_names_are_unique() {
    let tagger = Tagger::load(&Config::default()).unwrap();
    let mut apps: Vec<&str> = tagger.services().iter().map(|s| s.app.as_str()).collect();
    let n_services = apps.len();

    apps.sort_unstable();
    apps.dedup();

    assert_eq!(apps.len(), n_services);
    assert!(n_services >= 30);
}

/// Texts that rules look at, and noise.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,20}",
        proptest::sample::select(vec![
            "genome.data.example",
            "heart.commons.example",
            "genomeprod",
            "shared-east",
            "genomeprod-helm",
            "default",
            "jupyter-pods-genomeprod-helm",
            "kube-system",
            "genome",
            "_self",
            "http://fence-service.genomeprod-helm.svc.cluster.local",
            "{{ .Values.x }}",
            "gen3job",
            "hatchery-ada-40example-2eorg",
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_label() -> impl Strategy<Value = (&'static str, String)> {
    let names = vec![
        "__name__",
        "commons",
        "cluster",
        "namespace",
        "project",
        "hostname",
        "app",
        "container",
        "pod",
        "job_name",
        "controller",
        "service",
        "service_name",
        "env",
        "app_environment",
        "app_namespace",
        "http_upstream",
        "exported_service",
        "authz",
        "idp",
        "job",
    ];
    (proptest::sample::select(names), any_text())
}

proptest! {
    /// The isolation promise: whatever is sent, a sender reaches only what its credential covers.
    #[test]
    fn no_payload_reaches_another_commons(
        labels in proptest::collection::vec(any_label(), 0..10),
        tenant in proptest::option::of(any_text()),
        by_cluster in any::<bool>(),
    ) {
        let sender = "cluster:shared-east:heart.commons.example,canine.commons.example";
        let own = "commons:heart.commons.example";
        let grant = grant(if by_cluster { sender } else { own });
        let mut builder = LabelsBuilder::new();
        for (name, value) in &labels {
            builder.set(name, value);
        }
        let tagger = tagger();

        let tags = tagger.tag_stream(&grant, tenant.as_deref(), &mut builder);

        let allowed: &[&str] = if by_cluster {
            &["heart.commons.example", "canine.commons.example", "_cluster", "_unassigned"]
        } else {
            &["heart.commons.example"]
        };
        prop_assert!(allowed.contains(&tags.commons.as_str()), "{tags:?}");
        let label = Some(tags.commons.as_str()).filter(|name| *name != "_unassigned");
        prop_assert_eq!(builder.get("commons"), label);
        // A metric is named by a programmer.
        let labels = builder.build().without_metric().to_string();
        prop_assert!(!labels.contains("ada-40example"), "{labels}");
    }
}
