//! Where explanations of alerts are kept: packed, in the state database, in the order in which their alerts
//! began.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::api::{Change, Kept, KeptAlert};
use crate::storage::{StateChange, StateStore};

/// Explanations, by the time and the name of their alert.
const SUBJECT: &str = "kept-alerts";
/// JSON of records and series shrinks to a tenth already at this level.
const ZSTD_LEVEL: i32 = 3;
/// The most bytes of one explanation before it is packed.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// How many explanations are changed in one step, and about how many packed bytes.
const AT_ONCE: (usize, usize) = (64, 4 << 20);
/// Behind the key of every explanation.
const KEYS_END: &str = "~";

/// Keeps explanations, and reads them.
#[derive(Debug)]
pub(super) struct KeptAlerts {
    state: Arc<StateStore>,
    /// Held by whoever asks for something to be kept until it is: a change of all misses none.
    keeping: RwLock<()>,
}

/// Alerts lie in the order of their beginnings.
fn key_of(starts_at_ms: i64, fingerprint: &str) -> String {
    format!("{:016x}-{fingerprint}", starts_at_ms.max(0))
}

#[async_trait]
impl Kept for KeptAlerts {
    async fn get(&self, fingerprint: &str, starts_at_ms: i64) -> Result<Option<Value>, String> {
        let (state, key) = (Arc::clone(&self.state), key_of(starts_at_ms, fingerprint));
        let got = spawn_blocking(move || state.get(SUBJECT, &key)).await;
        let got = got.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        got.map(|packed| unpack(&packed)).transpose()
    }

    async fn change_all(&self, change: Change) -> Result<usize, String> {
        let _alone = self.keeping.write().await;
        let state = Arc::clone(&self.state);
        let changed = spawn_blocking(move || change_all(&state, change)).await;
        let n_changed = changed.map_err(|error| error.to_string())??;
        if n_changed > 0 {
            info!(n_changed, "what explanations of alerts quoted of deleted rows is withdrawn");
        }
        Ok(n_changed)
    }
}

impl KeptAlerts {
    pub(super) fn new(state: Arc<StateStore>) -> Self {
        Self { state, keeping: RwLock::new(()) }
    }

    /// Says that something is asked for to be kept; until it is put or dropped nothing kept is changed.
    pub(super) async fn keeping(&self) -> RwLockReadGuard<'_, ()> {
        self.keeping.read().await
    }

    /// Keeps what explains an alert.
    pub(super) async fn put(&self, alert: &KeptAlert, explained: &Value) {
        match pack(explained) {
            Ok(packed) => {
                let key = key_of(alert.starts_at_ms, &alert.fingerprint);
                let state = Arc::clone(&self.state);
                let put = spawn_blocking(move || state.put(SUBJECT, &key, &packed)).await;
                if let Ok(Err(error)) = put {
                    warn!(%error, "what explains an alert was not kept");
                }
            }
            Err(reason) => warn!(alert.fingerprint, reason, "what explains an alert was not kept"),
        }
    }

    /// Removes what is of alerts that began before a time, ms since 1970 UTC, and the oldest past a number.
    pub(super) async fn trim(&self, before_ms: i64, alerts_max: usize) {
        let before = key_of(before_ms, "");
        let state = Arc::clone(&self.state);
        let trim = move || state.trim(SUBJECT, &before, alerts_max);
        if let Ok(Err(error)) = spawn_blocking(trim).await {
            warn!(%error, "what was kept of alerts was not cut");
        }
    }
}

fn pack(explained: &Value) -> Result<Vec<u8>, String> {
    let bytes = explained.to_string().into_bytes();
    if bytes.len() > KEPT_BYTES_MAX {
        return Err(format!("{} bytes are too much of one alert", bytes.len()));
    }
    zstd::bulk::compress(&bytes, ZSTD_LEVEL).map_err(|error| error.to_string())
}

fn unpack(packed: &[u8]) -> Result<Value, String> {
    let bytes = zstd::bulk::decompress(packed, KEPT_BYTES_MAX);
    let bytes = bytes.map_err(|error| format!("what was kept is damaged: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("what was kept is damaged: {error}"))
}

/// Changes everything, from the newest on, a few at a time.
fn change_all(state: &StateStore, mut change: Change) -> Result<usize, String> {
    let (mut end, mut n_changed) = (KEYS_END.to_owned(), 0);
    loop {
        let some = state.range(SUBJECT, "", &end, AT_ONCE).map_err(|error| error.to_string())?;
        let Some((first, _)) = some.first() else { return Ok(n_changed) };
        end.clone_from(first);
        let mut changes: Vec<StateChange> = Vec::new();
        for (key, packed) in some {
            // What cannot be read is shown to nobody, and left where it is as all that is damaged.
            let Ok(mut kept) = unpack(&packed) else { continue };
            if change(&mut kept) {
                changes.push((SUBJECT, key, Some(pack(&kept)?)));
            }
        }
        n_changed += changes.len();
        if !changes.is_empty() {
            state.apply(&changes).map_err(|error| error.to_string())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::model::Labels;

    fn alert(starts_at_ms: i64) -> KeptAlert {
        KeptAlert {
            fingerprint: "a".to_owned(),
            labels: Labels::empty(),
            starts_at_ms,
            ends_at_ms: None,
        }
    }

    fn kept() -> KeptAlerts {
        KeptAlerts::new(Arc::new(StateStore::in_memory().unwrap()))
    }

    /// Marks explanations of an even beginning.
    fn mark_even() -> Change {
        Box::new(|kept: &mut Value| {
            let is_even = kept["at"].as_i64().is_some_and(|at| at % 2 == 0);
            if is_even {
                kept["is_changed"] = json!(true);
            }
            is_even
        })
    }

    #[tokio::test]
    async fn every_explanation_is_changed_once_however_many_there_are() {
        let kept = kept();
        let n = i64::try_from(2 * AT_ONCE.0 + 2).unwrap();
        for at in 0..n {
            kept.put(&alert(at), &json!({ "at": at })).await;
        }

        let n_changed = kept.change_all(mark_even()).await.unwrap();

        assert_eq!(n_changed, AT_ONCE.0 + 1);
        for at in 0..n {
            let shown = kept.get("a", at).await.unwrap().unwrap();
            assert_eq!(shown["is_changed"].is_boolean(), at % 2 == 0, "{shown}");
        }
        assert_eq!(kept.get("a", n).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_just_being_kept_is_changed_too() {
        let kept = kept();
        let keeping = kept.keeping().await;
        let mut changing = kept.change_all(mark_even());
        let early = tokio::time::timeout(Duration::from_millis(20), &mut changing).await;
        assert!(early.is_err(), "it waits for what was asked for before");

        kept.put(&alert(2), &json!({ "at": 2 })).await;
        drop(keeping);

        assert_eq!(changing.await.unwrap(), 1);
        assert_eq!(kept.get("a", 2).await.unwrap().unwrap()["is_changed"], true);
    }

    #[tokio::test]
    async fn what_is_damaged_is_left_where_it_is() {
        let kept = kept();
        kept.put(&alert(2), &json!({ "at": 2 })).await;
        kept.state.put(SUBJECT, &key_of(4, "a"), b"no frame").unwrap();

        assert_eq!(kept.change_all(mark_even()).await.unwrap(), 1);
        assert_eq!(kept.state.get(SUBJECT, &key_of(4, "a")).unwrap().unwrap(), b"no frame");
        assert!(kept.get("a", 4).await.unwrap_err().contains("damaged"));
    }
}
