//! What the section `alerting` refers to: an Alertmanager configuration file, and the secret that
//! signs webhooks. Mistakes of the file are told with its own lines.

use std::path::Path;

use super::mistake::{Mistake, Origin};
use super::sources::Merged;
use crate::notify::{Config, Policy, Signer};

/// Returns the policy of the file, if one is named, and the signer.
pub(super) fn check(merged: &mut Merged, section: &Config) -> (Option<Policy>, Option<Signer>) {
    let signer = section.signing_secret_file.as_deref().and_then(|path| signer(merged, path));
    let Some(path) = &section.file else { return (None, signer) };
    if section.webhook_url.is_some() {
        let key = "alerting.webhook_url";
        let message = format!("alerting.file ({}) says who is told: remove one", path.display());
        merged.fault(merged.origin_of(key), key, message);
    }
    match Policy::read(path) {
        Ok(policy) => (Some(policy), signer),
        Err(mistakes) => {
            let mistakes = mistakes.into_iter().map(|mistake| Mistake {
                origin: Origin::Line {
                    path: path.clone(),
                    line: usize::try_from(mistake.line).unwrap_or(usize::MAX),
                },
                key: String::new(),
                message: mistake.message,
            });
            merged.mistakes.extend(mistakes);
            (None, signer)
        }
    }
}

/// Tells of receivers that nothing could be sent to: their hosts are not listed.
pub(super) fn check_targets(merged: &mut Merged, section: &Config, policy: &Policy) {
    let key = "alerting.targets";
    let allowed = section.address_policy(true);
    for (name, host) in policy.hosts().filter(|(_, host)| !allowed.may_allow(host)) {
        let message = format!("{name} goes to {host}, which is not among them");
        merged.fault(merged.origin_of(key), key, message);
    }
}

fn signer(merged: &mut Merged, path: &Path) -> Option<Signer> {
    let key = "alerting.signing_secret_file";
    let wrong = match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Some(Signer::new(&text)),
        Ok(_) => format!("{} is empty", path.display()),
        Err(error) => format!("cannot read {}: {error}", path.display()),
    };
    let origin = merged.origin_of(key);
    merged.fault(origin, key, wrong);
    None
}
