//! What all targets share: every input is held to a limit of memory, and a panic ends the process
//! even where the server would have caught it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub use commonwatch;
pub use libfuzzer_sys;

/// What one input may hold at once. Inputs are a few kilobytes, and the bodies that `amplify` makes
/// of them one megabyte, so this is generous; what believes a length goes far past it.
const INPUT_BYTES_MAX: usize = 64 << 20;

/// Counts what is held.
struct Counted;

static HELD: AtomicUsize = AtomicUsize::new(0);
static HELD_MAX: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn grow(n_bytes: usize) {
    let held = HELD.fetch_add(n_bytes, Ordering::Relaxed) + n_bytes;
    if held > HELD_MAX.load(Ordering::Relaxed) {
        HELD_MAX.store(usize::MAX, Ordering::Relaxed);
        eprintln!("== the input holds more than {INPUT_BYTES_MAX} bytes ({n_bytes} at once)");
        eprintln!("{}", std::backtrace::Backtrace::force_capture());
        std::process::abort();
    }
}

/// Feeds a target one input.
pub fn feed(run: fn(&[u8]), input: &[u8]) {
    static IS_WARM: AtomicBool = AtomicBool::new(false);
    if !IS_WARM.swap(true, Ordering::Relaxed) {
        let abort = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !commonwatch::base::shield::is_up() {
                abort(panic);
            }
        }));
        // What is made once for the whole process is not the first input's.
        run(b"");
        run(b"0");
    }
    HELD_MAX.store(HELD.load(Ordering::Relaxed) + INPUT_BYTES_MAX, Ordering::Relaxed);
    run(input);
    HELD_MAX.store(usize::MAX, Ordering::Relaxed);
}

/// Makes a binary of a target in `commonwatch::fuzzing`.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| {
            $crate::feed($crate::commonwatch::fuzzing::$name, input)
        });
    };
}
