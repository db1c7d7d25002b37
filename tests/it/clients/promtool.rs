//! Debian's promtool reads our rule files as its own.

use std::path::PathBuf;

use crate::support::programs::run;

#[test]
fn promtool_accepts_every_rule_file() {
    let files = files("alerts/*.yml");
    assert!(!files.is_empty(), "alerts/ has no rule files");

    let output = run("promtool", &arguments(&["check", "rules"], &files));

    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert_eq!(said.matches("SUCCESS").count(), files.len(), "{said}");
}

#[test]
fn promtool_accepts_what_objectives_become() {
    let objectives = files("alerts/objectives/*.yml");
    let compiled = std::process::Command::new(crate::support::server::binary())
        .args(arguments(&["rules", "objectives"], &objectives))
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compiled.yml");
    std::fs::write(&path, &compiled.stdout).unwrap();

    let output = run("promtool", &arguments(&["check", "rules"], &[path]));

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let n_rules = said.split_whitespace().filter_map(|word| word.parse::<usize>().ok()).max();
    assert!(n_rules.is_some_and(|n| n >= 4 * 20), "{said}");
}

#[test]
fn promtool_and_we_agree_on_every_rule_test() {
    let files = files("alerts/tests/*.yml");
    assert!(!files.is_empty(), "alerts/tests/ has no unit tests");

    let theirs = run("promtool", &arguments(&["test", "rules"], &files));
    let ours = std::process::Command::new(crate::support::server::binary())
        .args(arguments(&["rules", "test"], &files))
        .output()
        .unwrap();

    for (who, output) in [("promtool", theirs), ("commonwatch rules", ours)] {
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{who}:\n{said}\n{errors}");
    }
}

/// What promtool's own tests are written like, and native histograms, which this promtool does not know yet.
#[test]
fn tests_are_read_as_tersely_as_promtool_reads_them() {
    let terse = files("tests/cases/rules/terse.test.yml");
    let histograms = files("tests/cases/rules/histograms.test.yml");
    let ours = |files: &[PathBuf]| {
        std::process::Command::new(crate::support::server::binary())
            .args(arguments(&["rules", "test"], files))
            .output()
            .unwrap()
    };

    let theirs = run("promtool", &arguments(&["test", "rules"], &terse));
    let both = ours(&[terse.clone(), histograms.clone()].concat());

    for (who, output) in [("promtool", theirs), ("commonwatch rules", both)] {
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{who}:\n{said}\n{errors}");
    }
    let folder = tempfile::tempdir().unwrap();
    let wrong = std::fs::read_to_string(&histograms[0]).unwrap();
    let path = folder.path().join("wrong.test.yml");
    std::fs::write(&path, wrong.replace("buckets:[2 4 2]", "buckets:[2 4 3]")).unwrap();
    let rules = files("tests/cases/rules/histograms.yml");
    std::fs::copy(&rules[0], folder.path().join("histograms.yml")).unwrap();
    let said = ours(&[path]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(!said.status.success() && text.contains("buckets:[2 4 2]"), "{text}");
}

/// Every comparison the other way round: nearly all tests fail, and both say of each alert at each time
/// that it is wrong, and what was there instead. Every third file of tests; `RULE_TESTS=all` takes all.
#[test]
fn promtool_and_we_find_the_same_wrong_in_a_pack_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tests")).unwrap();
    for path in files("alerts/*.yml") {
        let wrong = std::fs::read_to_string(&path).unwrap().replace(" > ", " < ");
        std::fs::write(folder.path().join(path.file_name().unwrap()), wrong).unwrap();
    }
    let is_whole = std::env::var("RULE_TESTS").is_ok_and(|which| which == "all");
    let tests: Vec<PathBuf> = files("alerts/tests/*.yml")
        .into_iter()
        .step_by(if is_whole { 1 } else { 3 })
        .map(|path| {
            let copy = folder.path().join("tests").join(path.file_name().unwrap());
            std::fs::copy(&path, &copy).unwrap();
            copy
        })
        .collect();

    let theirs = run("promtool", &arguments(&["test", "rules"], &tests));
    let ours = std::process::Command::new(crate::support::server::binary())
        .args(arguments(&["rules", "test"], &tests))
        .output()
        .unwrap();

    let (theirs, ours) = (faults(&theirs.stderr), faults(&ours.stdout));
    assert!(theirs.len() > 100, "{theirs:?}");
    let first = theirs.iter().zip(&ours).find(|(theirs, ours)| theirs != ours);
    assert_eq!((first, theirs.len()), (None, ours.len()));
}

/// Returns which alerts at which times are told to be wrong, with the labels of those that were expected
/// and of those that were there. Values in annotations are left out: `increase` of this promtool takes a
/// sample at the very beginning of its window, ours, as Prometheus 3, does not.
fn faults(said: &[u8]) -> Vec<String> {
    let said = String::from_utf8_lossy(said);
    let place = regex::Regex::new(r"alertname: \S+, time: \w+").unwrap();
    let fault = |line: &str| {
        let line = line.trim();
        let is_labels = line.starts_with("Labels:");
        let labels = is_labels.then(|| line.trim_end_matches(',').to_owned());
        let list = ["exp:", "got:"].iter().find(|word| line.starts_with(**word));
        let found = place.find(line).map(|found| found.as_str().to_owned());
        found.or(labels).or(list.map(|word| (*word).to_owned()))
    };
    said.lines().filter_map(fault).collect()
}

/// Returns the files of the project that a pattern names.
fn files(pattern: &str) -> Vec<PathBuf> {
    let pattern = format!("{}/{pattern}", env!("CARGO_MANIFEST_DIR"));
    glob::glob(&pattern).unwrap().map(Result::unwrap).collect()
}

fn arguments(verbs: &[&str], files: &[PathBuf]) -> Vec<String> {
    let files = files.iter().map(|file| file.display().to_string());
    verbs.iter().map(|&verb| verb.to_owned()).chain(files).collect()
}

#[test]
fn the_example_of_routes_can_be_used_and_names_alerts_that_there_are() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/config/alertmanager.yml"));
    let example = std::fs::read_to_string(&path).unwrap();

    let theirs = run("amtool", &arguments(&["check-config"], std::slice::from_ref(&path)));
    let ours = std::process::Command::new(crate::support::server::binary())
        .args(["config", "check", "--alerting"])
        .arg(&path)
        .output()
        .unwrap();

    for output in [theirs, ours] {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let rules =
        files("alerts/*.yml").into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    let rules: String = rules.collect();
    let quoted = regex::Regex::new(r#"alertname=~?"([^"]+)""#).unwrap();
    let named = quoted.captures_iter(&example).flat_map(|found| {
        let names: Vec<String> = found[1].split('|').map(str::to_owned).collect();
        names
    });
    // The server's own, of its inventory.
    for name in named.filter(|name| name != "CommonsWentDark") {
        assert!(rules.contains(&format!("- alert: {name}\n")), "{name} is no alert");
    }
}
