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
