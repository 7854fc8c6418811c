//! How much memory an input may take.
//!
//! libFuzzer's own limits know one size for all inputs; a length in a short input that reserves a few megabytes stays below it.
//! Here every input has its own: a constant, and so much per byte.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Most bytes that may be held at once: a constant, and so many per byte of input.
pub struct Bound {
    pub constant: usize,
    pub factor: usize,
}

/// Until it is dropped, the bound holds.
pub struct Bounded;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

impl Bound {
    pub fn begin(&self, length: usize) -> Bounded {
        MOST.store(HELD.load(Relaxed) + self.constant + self.factor * length, Relaxed);
        Bounded
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        MOST.store(usize::MAX, Relaxed);
    }
}

/// The system's allocator, which libFuzzer watches, with a count of what is held.
pub struct Counted;

fn take(size: usize) {
    let held = HELD.fetch_add(size, Relaxed) + size;
    if held > MOST.load(Relaxed) {
        // What is told takes memory, too.
        let most = MOST.swap(usize::MAX, Relaxed);
        eprintln!("{held} bytes are held where {most} are allowed; the last {size} by:\n{}", Backtrace::capture());
        std::process::abort();
    }
}

// Safety: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match size.checked_sub(layout.size()) {
            Some(more) => take(more),
            None => drop(HELD.fetch_sub(layout.size() - size, Relaxed)),
        }
        unsafe { System.realloc(pointer, layout, size) }
    }
}
