//! What must hold of whatever others tell of alerts: each is refused for a reason, or is about the
//! commons of whoever told it.

use super::{alerts, silences};
use crate::model::{Commons, Grant, WriteScope};

/// The body of a list of alerts, or of a silence.
pub(in crate::api) fn bodies(bytes: &[u8]) {
    let own = Commons::new("heart.example").expect("a name");
    let grant = Grant { write: WriteScope::Commons(own), ..Grant::open() };
    if let Ok((right, wrong)) = alerts::read(bytes, &grant) {
        for alert in right {
            assert_eq!(alert.labels.get("commons"), Some("heart.example"), "{}", alert.labels);
            let times = alert.starts_at_ms.zip(alert.ends_at_ms);
            assert!(times.is_none_or(|(start_ms, end_ms)| start_ms <= end_ms));
        }
        assert!(wrong.iter().all(|reason| !reason.is_empty()));
    }
    if let Ok((id, _)) = silences::read(bytes) {
        assert_ne!(id.as_deref(), Some(""));
    }
}
