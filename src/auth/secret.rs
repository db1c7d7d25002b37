//! A text that must not get out: it has no `Debug`, `Display` or `Serialize`, so the compiler
//! finds the log line that would leak it.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serializer};

/// What stands in the place of a secret wherever a configuration is shown.
const MASK: &str = "<secret>";

/// A secret text.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "a secret must not be printed")]
pub struct Secret(String);

impl Secret {
    /// Returns the secret of the given text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text. Each call is a place to look at when a secret got out.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Writes the mask; for `#[serde(serialize_with = "…")]` on optional fields.
    pub fn mask<S: Serializer>(secret: &Option<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        match secret {
            Some(_) => serializer.serialize_some(MASK),
            None => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Serde's own message would repeat what was found in the place of the text.
        String::deserialize(deserializer)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("a secret is written as text in quotes"))
    }
}

/// Refuses a file with a secret in it that every user of the machine could read.
pub fn refuse_open_file(path: &Path) -> Result<std::fs::Metadata, String> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(format!(
                "{0} is open to every user of the machine (mode {mode:03o}): chmod 600 {0}",
                path.display()
            ));
        }
    }
    Ok(metadata)
}
