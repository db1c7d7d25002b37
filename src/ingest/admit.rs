//! The one place where "slow down" is said.
//!
//! A request reserves the bytes it is about to hold, encoded and decoded, before it holds them, and
//! gives them back when it is answered. When all requests together, or those of one credential,
//! would hold more than their limit, the request is refused with the time to come back; it never
//! waits here, so a slow disk shows to senders at once instead of as memory. What storage's own
//! marks refuse arrives as `AppendError` and is mapped in `error`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use super::error::IngestError;
use super::limits::Limits;
use crate::base::units::HumanSize;

/// A group commit takes some milliseconds, so a second is ample to see bytes in flight shrink.
const RETRY_AFTER_S: u32 = 1;

/// Accounts for the bytes of all requests under way; cloning costs one counter.
#[derive(Debug, Clone)]
pub struct Admit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    all_max: HumanSize,
    credential_max: HumanSize,
    all_used: AtomicUsize,
    gauge: Gauge,
    /// By name; the names are those of the configuration, so there are few.
    by_credential: Mutex<HashMap<Arc<str>, Arc<AtomicUsize>>>,
}

impl Admit {
    /// Returns an account with nothing in flight that nobody watches.
    pub fn new(limits: &Limits) -> Self {
        Self::with_gauge(limits, Gauge::default())
    }

    /// Returns an account with nothing in flight; `gauge` shows what is.
    pub fn with_gauge(limits: &Limits, gauge: Gauge) -> Self {
        let inner = Inner {
            all_max: limits.bytes_in_flight,
            credential_max: limits.bytes_in_flight_per_credential,
            all_used: AtomicUsize::new(0),
            gauge,
            by_credential: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Opens the account of one request; it holds nothing yet.
    pub fn enter(&self, credential: &Arc<str>) -> Permit {
        let mut by_credential = self.inner.by_credential.lock();
        let used = match by_credential.get(credential) {
            Some(used) => Arc::clone(used),
            None => Arc::clone(by_credential.entry(Arc::clone(credential)).or_default()),
        };
        drop(by_credential);
        Permit { inner: Arc::clone(&self.inner), credential_used: used, n_bytes: 0 }
    }

    /// Returns the bytes of all requests under way.
    pub fn in_flight_bytes(&self) -> usize {
        self.inner.all_used.load(Ordering::Relaxed)
    }
}

/// The bytes that one request holds; given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    inner: Arc<Inner>,
    credential_used: Arc<AtomicUsize>,
    n_bytes: usize,
}

impl Permit {
    /// Reserves `n_bytes` more, or says when to come back; then nothing is reserved.
    pub fn grow(&mut self, n_bytes: usize) -> Result<(), IngestError> {
        let inner = &self.inner;
        reserve(&inner.all_used, n_bytes, inner.all_max, "limits.bytes_in_flight")?;
        let limit = "limits.bytes_in_flight_per_credential";
        if let Err(error) = reserve(&self.credential_used, n_bytes, inner.credential_max, limit) {
            inner.all_used.fetch_sub(n_bytes, Ordering::AcqRel);
            return Err(error);
        }
        self.n_bytes += n_bytes;
        inner.gauge.inc_by(as_i64(n_bytes));
        Ok(())
    }

    /// Says that `n_bytes` are held, which decoding has shown: gives back what is too much, and
    /// counts what was not foreseen, past the limits if need be, so that others are refused.
    pub fn hold(&mut self, n_bytes: usize) {
        let n_more = n_bytes.saturating_sub(self.n_bytes);
        self.inner.all_used.fetch_add(n_more, Ordering::AcqRel);
        self.credential_used.fetch_add(n_more, Ordering::AcqRel);
        self.inner.gauge.inc_by(as_i64(n_more));
        self.n_bytes += n_more;
        self.shrink_to(n_bytes);
    }

    /// Gives back all but `n_bytes`, once less is held; never reserves more.
    fn shrink_to(&mut self, n_bytes: usize) {
        let n_back = self.n_bytes.saturating_sub(n_bytes);
        self.inner.all_used.fetch_sub(n_back, Ordering::AcqRel);
        self.credential_used.fetch_sub(n_back, Ordering::AcqRel);
        self.n_bytes -= n_back;
        self.inner.gauge.dec_by(as_i64(n_back));
    }

    /// Returns the bytes reserved.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

fn as_i64(n_bytes: usize) -> i64 {
    i64::try_from(n_bytes).unwrap_or(i64::MAX)
}

fn reserve(
    used: &AtomicUsize,
    n_bytes: usize,
    max: HumanSize,
    limit: &'static str,
) -> Result<(), IngestError> {
    let fits = |used: usize| used.checked_add(n_bytes).filter(|sum| *sum <= max.bytes());
    match used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
        Ok(_) => Ok(()),
        Err(used_bytes) => {
            Err(IngestError::Overloaded { used_bytes, max, limit, retry_after_s: RETRY_AFTER_S })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(all: u64, credential: u64) -> Admit {
        Admit::new(&Limits {
            bytes_in_flight: HumanSize(all),
            bytes_in_flight_per_credential: HumanSize(credential),
            ..Limits::default()
        })
    }

    #[test]
    fn bytes_come_back_when_the_request_is_answered() {
        let admit = admit(100, 100);
        let mut permit = admit.enter(&Arc::from("a"));

        permit.grow(60).unwrap();
        permit.grow(40).unwrap();

        assert_eq!((admit.in_flight_bytes(), permit.n_bytes()), (100, 100));
        permit.hold(10);
        assert_eq!((admit.in_flight_bytes(), permit.n_bytes()), (10, 10));
        permit.hold(130);
        assert_eq!((admit.in_flight_bytes(), permit.n_bytes()), (130, 130), "what is, is counted");
        assert!(admit.enter(&Arc::from("b")).grow(1).is_err());
        drop(permit);
        assert_eq!(admit.in_flight_bytes(), 0);
    }

    #[test]
    fn one_credential_cannot_take_it_all() {
        let admit = admit(100, 50);
        let (mut a, mut b) = (admit.enter(&Arc::from("a")), admit.enter(&Arc::from("b")));
        let mut a_too = admit.enter(&Arc::from("a"));
        a.grow(50).unwrap();

        let error = a_too.grow(1).unwrap_err();

        assert_eq!(error.reason(), "limits.bytes_in_flight_per_credential");
        assert_eq!(admit.in_flight_bytes(), 50, "a refused reservation holds nothing");
        b.grow(50).unwrap();
    }

    #[test]
    fn all_together_have_a_limit() {
        let admit = admit(100, 100);
        let (mut a, mut b) = (admit.enter(&Arc::from("a")), admit.enter(&Arc::from("b")));
        a.grow(70).unwrap();

        let error = b.grow(40).unwrap_err();

        assert_eq!(
            error.to_string(),
            "requests under way hold 70 of 100B (limits.bytes_in_flight): come back in 1 s"
        );
        assert_eq!(error.retry_after_s(), Some(1));
        assert!(b.grow(usize::MAX).is_err());
    }
}
