//! The last answer where memory runs out: a sentence and exit status 1, not an end by a signal. What is large is asked for beforehand, by the library, where it
//! fails alone (one scan of a batch); this is for all the rest.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;

/// The system's allocator, which ends the program with a sentence where it has nothing left.
pub struct Allocator;

/// Says what could not be had and ends the program. Allocates nothing, and does not unwind, which an allocator must not.
#[cold]
fn give_up(bytes: usize) -> ! {
    let mut text = [0; 160];
    let mut rest = &mut text[..];
    // Where there is no room for the sentence, or nobody to read it, the status says the same.
    let _ = writeln!(rest, "ichor: error: {bytes} bytes of memory cannot be had: free some, or use a machine that has more");
    let unused = rest.len();
    let length = text.len() - unused;
    let _ = std::io::stderr().write_all(&text[..length]);
    std::process::exit(1)
}

// SAFETY: each call is passed on as it is, and its answer is the system's; no call unwinds.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        let place = unsafe { System.alloc(layout) };
        if place.is_null() { give_up(layout.size()) } else { place }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let place = unsafe { System.alloc_zeroed(layout) };
        if place.is_null() { give_up(layout.size()) } else { place }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        let place = unsafe { System.realloc(place, layout, size) };
        if place.is_null() { give_up(size) } else { place }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}
