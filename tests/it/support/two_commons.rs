//! Two commons that must not see each other: the credentials of stories about scope.

/// The commons of `heart-sender` and of `heart-reader`.
pub(crate) const HEART: &str = "heart.commons.example";
/// The commons of `canine-sender`.
pub(crate) const CANINE: &str = "canine.commons.example";

/// A sender for each commons, and a developer who may read the first.
const TOKENS: &str = r#"
[[auth.tokens]]
name = "heart-sender"
token = "heart-sender-0123456789"
commons = "heart.commons.example"

[[auth.tokens]]
name = "canine-sender"
token = "canine-sender-0123456789"
commons = "canine.commons.example"

[[auth.tokens]]
name = "heart-reader"
token = "heart-reader-0123456789"
read = ["heart.commons.example"]
role = "developer"
"#;

/// Returns a configuration that knows these callers; `more` is what a story adds, as TOML.
pub(crate) fn config(more: &str) -> String {
    format!("{more}\n{TOKENS}")
}
