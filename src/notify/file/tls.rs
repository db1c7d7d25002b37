//! `tls_config`: whom a receiver or a relay may be, and who we are.

use super::fields::Fields;
use crate::notify::tls::{Said, Tls};

/// Reads `tls_config` at a key; nothing where it says no more than what holds anyway.
pub(super) fn read(parent: &Fields<'_, '_>, key: &'static str) -> Option<Tls> {
    let node = parent.get(key)?;
    let fields = Fields::of(parent.reading, format!("{}: `{key}`", parent.what), node);
    if fields.bool("insecure_skip_verify", false) {
        fields.wrong("insecure_skip_verify", "is not supported: name the authority in `ca_file`");
    }
    for key in ["ca_ref", "cert_ref", "key_ref"] {
        fields.refuse(key, "there is no manager of secrets: name a file");
    }
    match fields.text("min_version") {
        None | Some("TLS12" | "TLS13") => {}
        Some(other) => fields.wrong("min_version", format!("`{other}`: TLS12 is the oldest")),
    }
    fields.get("max_version");
    let cert = fields.text_or_file("cert", "cert_file");
    let key = fields.text_or_file("key", "key_file");
    let lacks = |what: &'static str, other: &'static str| {
        // A file that cannot be read was told of already.
        let is_there = fields.text(what).is_some() || fields.text(other).is_some();
        (!is_there).then(|| fields.wrong(what, "is missing: a certificate and its key go together"))
    };
    match (&cert, &key) {
        (Some(_), None) => drop(lacks("key", "key_file")),
        (None, Some(_)) => drop(lacks("cert", "cert_file")),
        _ => {}
    }
    let said = Said {
        authority: fields.text_or_file("ca", "ca_file"),
        server_name: fields.text("server_name").filter(|name| !name.is_empty()).map(str::to_owned),
        own: cert.zip(key),
    };
    let tls = (said != Said::default()).then(|| Tls::new(said)).transpose();
    if let Err(reason) = &tls {
        fields.wrong(if fields.text("ca").is_some() { "ca" } else { "ca_file" }, reason);
    }
    fields.finish();
    tls.ok().flatten()
}
