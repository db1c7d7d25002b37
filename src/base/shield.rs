//! Libraries that read files and messages panic on some damaged ones. Behind the shield such a panic
//! is an error of the one call that met it.
//!
//! For foreign code alone: a panic of our own is a bug and shall be heard of. The panic is still
//! printed, so that what is damaged can be looked for.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Foreign code panicked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{library} met a fault in itself, as it does on damaged bytes: {reason}")]
pub struct Panicked {
    library: &'static str,
    reason: String,
}

/// Runs `work`, which is `library`'s; nothing that it touched may be used after an error.
pub fn shield<T>(library: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    DEPTH.set(DEPTH.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Panicked { library, reason: text.unwrap_or("no reason given").to_owned() }
    })
}

/// Returns true while the current thread runs behind a shield: a panic now is none of ours.
pub fn is_up() -> bool {
    DEPTH.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_shield_comes_down() {
        let error = shield("a library", || assert!(!is_up(), "it is up")).unwrap_err();

        assert!(error.to_string().ends_with("damaged bytes: it is up"), "{error}");
        assert!(!is_up());
        assert_eq!(shield("a library", || 5), Ok(5));
    }
}
