use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::Value;

use super::*;

const EVERY_KEY: &str = include_str!("../../config/commonwatch.toml");

fn sources(name: &str, toml: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, toml).unwrap();
    (folder, Sources { path: Some(path), ..Sources::default() })
}

fn load(toml: &str) -> Result<Config, ConfigError> {
    let (_folder, sources) = sources("commonwatch.toml", toml);
    Config::load(sources)
}

#[test]
fn the_shipped_file_says_the_defaults() {
    let shipped = ConfigFile::deserialize(EVERY_KEY.parse::<toml::Table>().unwrap()).unwrap();

    assert_eq!(shipped, ConfigFile::default());
}

#[test]
fn every_key_stands_in_the_shipped_file() {
    let mut section = String::new();
    let mut written = std::collections::BTreeSet::new();
    for line in EVERY_KEY.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            // A table in a section is written as a header of its own.
            written.insert(section.clone());
        } else if let Some((key, _)) = line.trim_start_matches('#').split_once(" = ") {
            written.insert(format!("{section}.{key}"));
        }
    }

    let known = keys::sections().iter().flat_map(|section| {
        keys::of_section(section).iter().map(move |key| format!("{section}.{key}"))
    });
    let in_tables = keys::sections().iter().flat_map(|section| {
        keys::of_section(section).iter().flat_map(move |table| {
            let keys = keys::of_table(section, table).iter();
            keys.map(move |key| format!("{section}.{table}.{key}"))
        })
    });
    let known: Vec<String> = known.chain(in_tables).collect();
    assert!(known.contains(&"storage.objects.url".to_owned()), "the walk goes into tables");
    let missing: Vec<String> = known.into_iter().filter(|key| !written.contains(key)).collect();

    assert!(keys::sections().len() > 8, "the walk over the structs found nothing");
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn commented_keys_of_the_shipped_file_are_keys() {
    let names_a_file =
        |line: &&str| ["#file =", "#signing_secret_file ="].iter().any(|key| line.starts_with(key));
    let live: Vec<&str> = EVERY_KEY
        .lines()
        .filter(|line| !names_a_file(line)) // One that is not there.
        .map(|line| match line.strip_prefix('#') {
            // Those of TLS name files that would have to be there.
            Some(key) if key.starts_with("tls_") => line,
            Some(key) if key.starts_with("secret_access_key_file") => line,
            Some(key) if key.starts_with("ca_file") => line,
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => key,
            _ => line,
        })
        .collect();

    let config = load(&live.join("\n")).unwrap();

    assert_eq!(config.sections.alerting.allow_private_targets, Some(false));
}

/// A case is a file whose first lines, `#! …`, are the message a person sees.
#[test]
fn each_mistake_has_its_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/config");
    let mut n_cases = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".bad.toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let want: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("#! ")).collect();

        let got = Config::load(Sources { path: Some(path.clone()), ..Sources::default() });

        let got = got.expect_err(&name).to_string();
        let got = got.replace(&format!("{}/", folder.display()), "");
        assert_eq!(got, want.join("\n"), "{name}");
        n_cases += 1;
    }
    assert!(n_cases >= 15, "only {n_cases} cases in {}", folder.display());
}

#[test]
fn all_mistakes_are_told_together_in_the_order_of_the_lines() {
    let error = load("[server]\nhttp = 5\nhttpp = 1\n[storage]\nretention = \"x\"\n").unwrap_err();

    let ConfigError::Mistakes(mistakes) = error else { panic!("{error}") };
    let keys: Vec<&str> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(keys, ["server.http", "server.httpp", "storage.retention"]);
}

fn with(environment: &[(&str, &str)], flags: &[(&'static str, &'static str, Value)]) -> Sources {
    let (_folder, sources) = sources("x.toml", "[storage]\nretention = \"1d\"\n");
    let path = sources.path.clone().unwrap();
    let kept = tempfile::tempdir().unwrap().keep().join("x.toml");
    std::fs::copy(&path, &kept).unwrap();
    let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let flags =
        flags.iter().map(|(name, key, value)| Flag { name, key, value: value.clone() }).collect();
    Sources { path: Some(kept), environment, flags }
}

#[track_caller]
fn check_retention(
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, Value)],
    days: u64,
) {
    let config = Config::load(with(environment, flags)).unwrap();
    assert_eq!(config.sections.storage.retention.0.as_secs(), days * 86_400);
}

#[test]
fn flag_beats_environment_beats_file() {
    let variable = [("COMMONWATCH_STORAGE_RETENTION", "2d")];
    let flag = [("--retention", "storage.retention", Value::from("3d"))];

    check_retention(&[], &[], 1);
    check_retention(&variable, &[], 2);
    check_retention(&variable, &flag, 3);
}

#[test]
fn a_variable_means_a_key_of_a_table_in_a_section_too() {
    let variables = [
        ("COMMONWATCH_STORAGE_OBJECTS_URL", "s3://telemetry/prod"),
        ("COMMONWATCH_STORAGE_OBJECTS_UPLOADS_MAX", "2"),
        ("COMMONWATCH_STORAGE_OBJECTS_CACHE_MAX", "1GiB"),
    ];

    let objects = Config::load(with(&variables, &[])).unwrap().sections.storage.objects;

    assert_eq!((objects.url.as_str(), objects.uploads_max), ("s3://telemetry/prod", 2));
    assert_eq!(objects.cache_max, crate::base::units::HumanSize::from_mib(1024));
    for (name, value) in [("URLL", "x"), ("UPLOADS_MAX", "two")] {
        let name = format!("COMMONWATCH_STORAGE_OBJECTS_{name}");
        let error = Config::load(with(&[(name.as_str(), value)], &[])).unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
    }
}

#[test]
fn variables_are_read_as_their_keys_want_them() {
    let config = Config::load(with(
        &[
            ("COMMONWATCH_SERVER_CONNECTIONS_MAX", "7"),
            ("COMMONWATCH_SERVER_OTLP_GRPC", "off"),
            ("COMMONWATCH_TAGGING_ENABLED", "false"),
            ("COMMONWATCH_RULES_FILES", "a.yml, b/*.yml"),
            ("COMMONWATCH_LOG_FORMAT", "json"),
        ],
        &[],
    ))
    .unwrap();

    let sections = config.sections;
    assert_eq!(sections.server.connections_max, 7);
    assert_eq!(sections.server.otlp_grpc, crate::server::ListenAddr::Off);
    assert!(!sections.tagging.enabled);
    assert_eq!(sections.rules.files, ["a.yml", "b/*.yml"]);
    assert_eq!(sections.log.format, LogFormat::Json);
}

#[test]
fn variables_of_others_are_passed_over_and_misspelt_ones_are_not() {
    let of_others =
        [("COMMONWATCH_SERVICE_HOST", "10.0.0.1"), ("COMMONWATCH_TOKEN", "x"), ("PATH", "")];
    assert!(Config::load(with(&of_others, &[])).is_ok());

    let error = Config::load(with(&[("COMMONWATCH_STORAGE_RETENSION", "2d")], &[])).unwrap_err();

    assert_eq!(
        error.to_string(),
        "1 mistake in the configuration:\n  COMMONWATCH_STORAGE_RETENSION: storage.retension: \
         [storage] has no key `retension`: did you mean `retention`?"
    );
}

#[test]
fn a_wrong_flag_is_told_by_its_name() {
    let flags = [("--http", "server.http", Value::from("7070"))];

    let error = Config::load(with(&[], &flags)).unwrap_err().to_string();

    assert!(error.contains("--http: server.http: `7070` is not an address"), "{error}");
}

#[test]
fn a_named_file_must_exist() {
    let path = PathBuf::from("/nonexistent/commonwatch.toml");

    let error = Config::load(Sources { path: Some(path), ..Sources::default() }).unwrap_err();

    assert!(error.to_string().starts_with("cannot read the configuration /nonexistent"), "{error}");
}

#[test]
fn secrets_are_masked_in_what_is_shown() {
    let toml = "[[auth.tokens]]\nname = \"a\"\ntoken = \"canary-0123456789abcdef\"\nwrite = \"any\"\n\
                [alerting]\nwebhook_url = \"https://hooks.example/canary\"\n";
    let config = load(toml).unwrap();

    let told = format!("{}{config:?}", config.shown());

    assert!(!told.contains("canary"), "{told}");
    assert!(config.sections.alerting.webhook_url.is_some());
}

#[test]
fn private_targets_follow_the_listeners() {
    let open = "[server]\nhttp = \":7070\"\n[[auth.tokens]]\nname = \"a\"\n\
                token = \"canary-0123456789abcdef\"\nwrite = \"any\"\n";

    assert!(load("").unwrap().allow_private_targets);
    assert!(!load(open).unwrap().allow_private_targets);
    let said = format!("{open}[alerting]\nallow_private_targets = true\n");
    assert!(load(&said).unwrap().allow_private_targets);
}

#[test]
fn a_key_that_moved_is_told_its_new_name() {
    for (old, now) in [
        ("query_text", "query.promql_text_max"),
        ("query_depth", "query.promql_depth_max"),
        ("query_timeout", "query.timeout"),
        ("query_memory", "query.memory"),
    ] {
        let variable = format!("COMMONWATCH_LIMITS_{}", old.to_ascii_uppercase());
        let in_file = load(&format!("[limits]\n{old} = 7\n")).unwrap_err().to_string();
        let in_environment = Config::load(with(&[(&variable, "7")], &[])).unwrap_err().to_string();

        for told in [in_file, in_environment] {
            assert!(
                told.contains(&format!("[limits] has no key `{old}`: it is `{now}` now")),
                "{told}"
            );
        }
        let (section, key) = now.split_once('.').unwrap();
        assert!(keys::of_section(section).contains(&key), "{now} is no key");
    }
}

#[test]
fn what_is_shown_is_read_back() {
    let config = load("").unwrap();

    let shown = ConfigFile::deserialize(config.shown().parse::<toml::Table>().unwrap()).unwrap();

    assert_eq!(shown, config.sections);
}

#[test]
fn the_same_sources_are_read_again() {
    let (_folder, sources) = sources("commonwatch.toml", "");
    let path = sources.path.clone().unwrap();
    let config = Config::load(sources).unwrap();

    std::fs::write(&path, "[storage]\nretention = \"7d\"\n").unwrap();

    let reloaded = config.reload().unwrap();
    assert_eq!(reloaded.sections.storage.retention.0.as_secs(), 7 * 86_400);
}
