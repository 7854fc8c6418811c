//! The allocator, and how many bytes of it are in use. What the process takes by the system's count is more, and says little: what is freed
//! stays with the allocator, thread by thread, until it is used again or given back.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

/// Bytes that one thread has taken or given back before all hear of it: what is told is wrong by no more for each thread.
const UNTOLD: i64 = 16 << 10;

thread_local! {
    /// Needs no destructor, so it is there for whatever a thread does last.
    static OWN: Cell<i64> = const { Cell::new(0) };
}

static ALL: AtomicI64 = AtomicI64::new(0);

/// Batches come and go by the megabyte: the system's allocator gives such memory back each time and faults it in anew. Huge
/// pages are not asked for (a feature of the crate): faulting one in holds a worker for several milliseconds on some virtual machines.
pub struct Counted;

fn count(bytes: i64) {
    OWN.with(|own| {
        let sum = own.get() + bytes;
        if sum.abs() < UNTOLD {
            own.set(sum);
        } else {
            own.set(0);
            ALL.fetch_add(sum, Ordering::Relaxed);
        }
    });
}

/// Bytes in use, roughly; 0 if the process has another allocator.
pub fn used() -> usize {
    usize::try_from(ALL.load(Ordering::Relaxed)).unwrap_or(0)
}

// SAFETY: all is MiMalloc's; only sizes are noted, which allocates nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.realloc(at, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_known_and_what_is_given_back_is_not_used() {
        let large = Layout::from_size_align(1 << 20, 8).expect("a layout");
        // The tests have another allocator: nobody else counts.
        // SAFETY: what is taken is given back as it was taken.
        unsafe {
            let at = Counted.alloc(large);
            assert_eq!(used(), 1 << 20);
            let at = Counted.realloc(at, large, 2 << 20);
            assert_eq!(used(), 2 << 20);
            let twice = Layout::from_size_align(2 << 20, 8).expect("a layout");
            Counted.dealloc(at, twice);
            let zeroed = Counted.alloc_zeroed(large);
            assert_eq!(used(), 1 << 20);
            Counted.dealloc(zeroed, large);
        }
        assert_eq!(used(), 0);
    }
}
