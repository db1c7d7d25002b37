//! What must hold of any configuration: it is refused with its mistakes, or can be shown and read
//! again.

use std::path::Path;

use serde::Deserialize as _;

use super::ConfigFile;
use super::sources::Merged;

/// A configuration file; a line that begins with `COMMONWATCH_` is a variable.
pub fn config_parse(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (variables, lines): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("COMMONWATCH_"));
    let mut merged = Merged::default();
    merged.add_file(Path::new("commonwatch.toml"), &lines.join("\n"));
    for variable in variables {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        merged.add_variable(name, value);
    }
    for mistake in &merged.mistakes {
        assert!(!mistake.to_string().is_empty());
    }
    let Ok(file) = ConfigFile::deserialize(merged.table) else { return };
    drop((file.server.mistakes(), file.query.mistakes()));
    let shown = toml::to_string_pretty(&file).expect("the sections are tables of plain values");
    let again: toml::Table = shown.parse().expect("what is shown is TOML");
    // Secrets are masked, and a mask is no URL and no token.
    if file.auth.tokens.is_empty() && file.alerting.webhook_url.is_none() {
        let again = ConfigFile::deserialize(again).expect("what is shown can be read");
        assert_eq!(again, file, "{shown}");
    }
}
