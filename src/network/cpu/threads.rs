//! Threads that go through a pass together: every thread runs the same code, shares out the items of each loop, and waits for the others
//! at its end.
//!
//! Which thread does an item is not fixed, but what an item computes is, so results have the same bits for any number of threads.

use crate::memory;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the threads of a pass share.
struct Shared {
    /// Their number; 0 until all have been started.
    threads: AtomicUsize,
    arrived: AtomicUsize,
    round: AtomicUsize,
    panicked: AtomicBool,
    /// The next item of the loop that is being done.
    next: AtomicUsize,
}

/// One thread of a team.
pub struct Worker<'a> {
    shared: &'a Shared,
    /// Number of this thread, from 0.
    pub index: usize,
}

/// How often a waiting thread looks again before it lets others have the processor.
const SPINS: usize = 10_000;

/// Runs `work` on `threads` threads (the caller's is one of them) and returns when all have ended. Where the system gives fewer threads, on those that it gives.
pub fn run(threads: usize, work: impl Fn(&mut Worker) + Sync) {
    let shared = Shared {
        threads: AtomicUsize::new(0),
        arrived: AtomicUsize::new(0),
        round: AtomicUsize::new(0),
        panicked: AtomicBool::new(false),
        next: AtomicUsize::new(0),
    };
    let member = |index| {
        let _guard = PanicGuard(&shared);
        while shared.threads.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        work(&mut Worker { shared: &shared, index });
    };
    std::thread::scope(|scope| {
        let start = |index| {
            memory::check_threads(1).is_ok() && std::thread::Builder::new().spawn_scoped(scope, move || member(index)).is_ok()
        };
        let started = 1 + (1..threads).take_while(|&index| start(index)).count();
        shared.threads.store(started, Ordering::Release);
        member(0);
    });
}

/// Tells the other threads of a panic, so that they do not wait for ever.
struct PanicGuard<'a>(&'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::Release);
        }
    }
}

impl Worker<'_> {
    /// Calls `body` with 0 .. `items`, each on one of the threads; returns when all items are done. Every thread of the team must make the
    /// same calls in the same order.
    pub fn for_each(&mut self, items: usize, mut body: impl FnMut(usize)) {
        loop {
            let item = self.shared.next.fetch_add(1, Ordering::Relaxed);
            if item >= items {
                break;
            }
            body(item);
        }
        self.wait();
    }

    /// Waits until every thread of the team is here.
    fn wait(&self) {
        let Shared { threads, arrived, round, panicked, next } = self.shared;
        let current = round.load(Ordering::Acquire);
        if arrived.fetch_add(1, Ordering::AcqRel) + 1 == threads.load(Ordering::Relaxed) {
            arrived.store(0, Ordering::Relaxed);
            next.store(0, Ordering::Relaxed);
            round.store(current + 1, Ordering::Release);
            return;
        }
        let mut spins = 0;
        while round.load(Ordering::Acquire) == current {
            assert!(!panicked.load(Ordering::Acquire), "another thread of the engine has panicked");
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_of_every_loop_is_done_once_and_before_the_next_loop() {
        for threads in [1, 2, 5] {
            let counts: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            run(threads, |worker| {
                for round in 0..50 {
                    worker.for_each(counts.len(), |item| {
                        counts[item].fetch_add(1, Ordering::Relaxed);
                    });
                    worker.for_each(1, |_| assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == round + 1)));
                }
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 50));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_instead_of_a_wait_for_ever() {
        let result = std::panic::catch_unwind(|| run(3, |worker| worker.for_each(3, |item| assert_ne!(item, 1))));
        assert!(result.is_err());
    }
}
