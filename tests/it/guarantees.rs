//! The proofs that `docs/guarantees.md` names, held against the tests, recipes and steps that there are:
//! a promise whose proof was renamed would stand there without one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use regex::Regex;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// Returns what stands between backticks in the document and begins so.
fn commands(beginning: &str) -> BTreeSet<String> {
    let code = Regex::new("`([^`]+)`").unwrap();
    let document = read("docs/guarantees.md");
    let found = code.captures_iter(&document).map(|found| found[1].to_owned());
    found.filter(|command| command.starts_with(beginning)).collect()
}

/// Returns the names of all stories, as this program lists them.
fn stories() -> Vec<String> {
    let this = std::env::current_exe().unwrap();
    let listed = Command::new(this).args(["--list", "--format", "terse"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// Returns the names of the tests in `src`, read off the source.
fn unit_tests() -> Vec<String> {
    let files = glob::glob(&format!("{ROOT}/src/**/*.rs")).unwrap().map(Result::unwrap);
    files
        .flat_map(|file| tests_of(&module_of(&file), &fs::read_to_string(&file).unwrap()))
        .collect()
}

fn module_of(file: &Path) -> String {
    let path = file.strip_prefix(Path::new(ROOT).join("src")).unwrap().with_extension("");
    let path = path.to_str().unwrap().replace('/', "::");
    path.strip_suffix("::mod").map_or(path.clone(), str::to_owned)
}

fn tests_of(module: &str, text: &str) -> Vec<String> {
    let function = Regex::new(r"^\s*(?:async )?fn (\w+)").unwrap();
    let inner_module = Regex::new(r"^(?:pub(?:\([^)]*\))? )?mod (\w+) \{").unwrap();
    let (mut inner, mut is_test, mut tests) = (String::new(), false, Vec::new());
    for line in text.lines() {
        if let Some(found) = inner_module.captures(line) {
            inner = format!("::{}", &found[1]);
        } else if line.starts_with('}') {
            inner.clear();
        }
        let attribute = line.trim_start();
        is_test |= attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test");
        if let Some(found) = function.captures(line).filter(|_| is_test) {
            tests.push(format!("{module}{inner}::{}", &found[1]));
            is_test = false;
        }
    }
    tests
}

#[test]
fn every_test_that_proves_a_promise_is_there_and_its_command_runs() {
    let (stories, unit_tests) = (stories(), unit_tests());
    assert!(stories.len() > 100 && unit_tests.len() > 1_000, "the tests are found");
    let commands = commands("cargo test");
    assert!(commands.len() > 40, "the document is read");

    for command in commands {
        let words = command.strip_prefix("cargo test ").unwrap_or_default();
        let (of, words) = match words.strip_prefix("--test it") {
            Some(words) => (&stories, words),
            None => (&unit_tests, words.strip_prefix("--lib").expect("tests of the crate")),
        };
        let (before, behind) = words.split_once("--").unwrap_or((words, ""));
        assert!(before.split_whitespace().count() <= 1, "cargo takes one name: {command}");
        for part in before.split_whitespace().chain(behind.split_whitespace()) {
            let is_there = of.iter().any(|test| test.contains(part));
            assert!(is_there, "no test is called {part}: {command}");
        }
    }
}

#[test]
fn every_promise_has_a_proof_and_a_figure() {
    let document = read("docs/guarantees.md");
    let rows =
        document.lines().filter(|line| line.starts_with("| ") && !line.contains("| proof |"));
    let mut n_rows = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        n_rows += 1;
    }
    assert!(n_rows > 50, "the document is read");
}

#[test]
fn every_recipe_and_step_that_proves_a_promise_is_there() {
    let makefile = read("Makefile");
    for command in commands("make ") {
        let recipe = command.strip_prefix("make ").unwrap_or_default();
        assert!(makefile.contains(&format!("\n{recipe}: ")), "{command}");
    }
    let scripts = commands("scripts/");
    assert!(!scripts.is_empty());
    for command in scripts {
        let (script, steps) = command.split_once(' ').unwrap_or((command.as_str(), ""));
        let text = read(script);
        for step in steps.split_whitespace() {
            let is_there = text.contains(&format!("\n{step}() {{"));
            assert!(is_there, "no step {step}: {command}");
        }
    }
}

#[test]
fn names_of_tests_are_read_off_the_source() {
    let text = "#[test]\nfn alone() {\n}\n\nmod tests {\n    #[tokio::test]\n    async fn beside() {}\n    fn no_test() {}\n}\n";

    assert_eq!(tests_of("a::b", text), ["a::b::alone", "a::b::tests::beside"]);
}
