//! Tokens as the configuration writes them, and the table they are checked into.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::secret::{Secret, refuse_open_file};
use crate::model::{Commons, Grant, ReadScope, Role, WriteScope};

/// The shortest token that is taken: 16 characters of base64 are 96 bits.
const TOKEN_CHARS_MIN: usize = 16;

/// The section `auth`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who may write or read what.
    pub tokens: Vec<TokenConfig>,
}

/// One `[[auth.tokens]]`.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// What the token is called in logs and counters.
    pub name: String,
    /// The token itself.
    #[serde(serialize_with = "Secret::mask", skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// A file that holds the token and that only its owner may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The token's SHA-256 as 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
    /// The commons its holder writes for; with `cluster`, those that live there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commons: Option<OneOrMany>,
    /// The cluster its holder writes for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// `any`: the holder writes for every commons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<String>,
    /// What its holder may do when reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The commons its holder reads; `["*"]` is every one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
}

// By hand, because of the secret.
impl std::fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One commons, or several.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// `"heart.example"`
    One(String),
    /// `["heart.example", "lung.example"]`
    Many(Vec<String>),
}

/// What is wrong with one `[[auth.tokens]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMistake {
    /// Its index in `auth.tokens`.
    pub token_idx: usize,
    /// The key that should change.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// The tokens of a configuration by their digests.
#[derive(Clone, Default)]
pub struct TokenTable {
    grants: HashMap<[u8; 32], Arc<Grant>>,
}

// By hand: a digest is not a secret, but it has no business in a log either.
impl std::fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenTable").field("n_tokens", &self.grants.len()).finish()
    }
}

impl TokenTable {
    /// Returns the table of a configuration, or every mistake in it; reads the token files.
    pub fn check(config: &Config) -> Result<Self, Vec<TokenMistake>> {
        let mut table = Self::default();
        let mut mistakes = Vec::new();
        let mut names = BTreeSet::new();
        for (token_idx, token) in config.tokens.iter().enumerate() {
            let mut at = |(key, message)| mistakes.push(TokenMistake { token_idx, key, message });
            if token.name.is_empty() {
                at((
                    "name",
                    "give the token a name: it stands in logs in the token's place".into(),
                ));
            } else if !names.insert(token.name.as_str()) {
                at(("name", format!("there are two tokens named `{}`", token.name)));
            }
            let digest = digest_of(token).map_err(&mut at).ok();
            let write = write_scope(token).map_err(&mut at).ok();
            let read = read_scope(token).map_err(&mut at).ok();
            let (Some(digest), Some(write), Some(read)) = (digest, write, read) else { continue };
            if write == WriteScope::Nothing && read == ReadScope::Nothing {
                at(("read", NOTHING_ALLOWED.into()));
            }
            let role = token.role.unwrap_or(Role::Viewer);
            let grant = Grant { name: Arc::from(token.name.as_str()), write, read, role };
            if table.grants.insert(digest, Arc::new(grant)).is_some() {
                at(("token", "another entry has the same token".into()));
            }
        }
        if mistakes.is_empty() { Ok(table) } else { Err(mistakes) }
    }

    /// Returns true when no token is configured.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// Returns the number of tokens.
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Returns what the holder of a token may do, or `None` when it is not known.
    pub(super) fn find(&self, token: &[u8]) -> Option<Arc<Grant>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        // The map compares digests byte by byte and may leave early. That tells an attacker about
        // the digest of a guess, which leads to no token; the comparison below is the one that counts.
        let (known, grant) = self.grants.get_key_value(&digest)?;
        bool::from(known.ct_eq(&digest)).then(|| Arc::clone(grant))
    }
}

const NOTHING_ALLOWED: &str = "the token allows nothing: let it write with `commons = \"…\"`, \
     `cluster = \"…\"` or `write = \"any\"`, or read with `read = [\"*\"]`";

type KeyMistake = (&'static str, String);

fn digest_of(token: &TokenConfig) -> Result<[u8; 32], KeyMistake> {
    match (&token.token, &token.token_file, &token.token_sha256) {
        (Some(secret), None, None) => hash_checked(secret.expose(), "token"),
        (None, Some(path), None) => {
            let secret = read_token_file(path).map_err(|message| ("token_file", message))?;
            hash_checked(secret.expose(), "token_file")
        }
        (None, None, Some(hex)) => parse_hex32(hex).ok_or_else(|| {
            ("token_sha256", "wanted 64 hex digits: printf %s \"$TOKEN\" | sha256sum".to_owned())
        }),
        (None, None, None) => Err((
            "token",
            "give the token as one of `token`, `token_file` or `token_sha256`".to_owned(),
        )),
        _ => {
            Err(("token", "`token`, `token_file` and `token_sha256` exclude each other".to_owned()))
        }
    }
}

fn hash_checked(secret: &str, key: &'static str) -> Result<[u8; 32], KeyMistake> {
    if secret.len() < TOKEN_CHARS_MIN {
        let n = secret.len();
        return Err((
            key,
            format!(
                "the token has {n} characters of at least {TOKEN_CHARS_MIN}: openssl rand -base64 32"
            ),
        ));
    }
    Ok(Sha256::digest(secret.as_bytes()).into())
}

fn parse_hex32(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Reads a secret from a file that only its owner may read; one newline at the end is not part of it.
pub(crate) fn read_token_file(path: &Path) -> Result<Secret, String> {
    let metadata = refuse_open_file(path)?;
    if metadata.len() > 4096 {
        return Err(format!("{} has {} bytes: that is no token", path.display(), metadata.len()));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

fn write_scope(token: &TokenConfig) -> Result<WriteScope, KeyMistake> {
    let commons = match &token.commons {
        None => BTreeSet::new(),
        Some(OneOrMany::One(name)) => BTreeSet::from([commons_named(name, "commons")?]),
        Some(OneOrMany::Many(names)) => {
            names.iter().map(|name| commons_named(name, "commons")).collect::<Result<_, _>>()?
        }
    };
    match (token.write.as_deref(), &token.cluster) {
        (Some("any"), None) if commons.is_empty() => Ok(WriteScope::Any),
        (Some("any"), _) => Err((
            "write",
            "`write = \"any\"` writes for every commons: drop `commons` and `cluster`".to_owned(),
        )),
        (Some(other), _) => Err(("write", format!("`{other}` is not known: wanted \"any\""))),
        (None, Some(cluster)) if cluster.is_empty() => {
            Err(("cluster", "name the cluster".to_owned()))
        }
        (None, Some(cluster)) => {
            Ok(WriteScope::Cluster { cluster: Arc::from(cluster.as_str()), commons })
        }
        (None, None) => match commons.len() {
            0 => Ok(WriteScope::Nothing),
            1 => Ok(WriteScope::Commons(commons.into_iter().next().expect("there is one"))),
            _ => Err(("commons", MANY_WITHOUT_CLUSTER.to_owned())),
        },
    }
}

const MANY_WITHOUT_CLUSTER: &str = "several commons need `cluster = \"…\"`, the cluster they live \
     in: without it a sender writes for one commons, whatever its payload says";

fn read_scope(token: &TokenConfig) -> Result<ReadScope, KeyMistake> {
    if token.read.is_empty() {
        return match token.role {
            None => Ok(ReadScope::Nothing),
            Some(_) => Err((
                "read",
                "a role without commons sees nothing: add `read = [\"*\"]`, or name the commons"
                    .to_owned(),
            )),
        };
    }
    if token.read.iter().any(|name| name == "*") {
        return Ok(ReadScope::All);
    }
    let names = token.read.iter().map(|name| commons_named(name, "read"));
    Ok(ReadScope::Only(names.collect::<Result<_, _>>()?))
}

fn commons_named(name: &str, key: &'static str) -> Result<Commons, KeyMistake> {
    // Reading the reserved ones is for whoever the operator names; writing them is ours alone.
    let parsed = if key == "read" { Commons::from_stored(name) } else { Commons::new(name) };
    parsed.map_err(|error| (key, error.to_string()))
}
