//! Locks between processes: who writes a file that others may write at the same time.

use crate::io::{Error, Result};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// So long is waited for a process that writes the same file, where the caller cannot go on without.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// The right to write a file: an advisory lock of the operating system on the hidden sibling `.NAME.lock`, which is
/// removed when it is given back. The end of a process, by a kill too, gives back what it held.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// Holds the lock; `None` on a file system that has no locks.
    file: Option<File>,
}

impl Lock {
    /// Takes the lock of the file at `path`, which need not be there.
    ///
    /// On a file system without locks nobody can be kept away: a message says so once, and the work goes on.
    ///
    /// # Errors
    /// [`Error::Write`], naming `path`, where another process holds the lock for longer than `patience`, or where the
    /// folder cannot be written.
    pub(crate) fn of(path: &Path, patience: Duration) -> Result<Lock> {
        let name = path.file_name().unwrap_or_default();
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".lock");
        let lock = path.with_file_name(hidden);
        let start = Instant::now();
        loop {
            let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
            let file = opened.map_err(Error::write(path))?;
            match file.try_lock() {
                // Who held it may have removed the file that was opened here: then it locks nothing.
                Ok(()) if is_at(&file, &lock) => return Ok(Lock { path: lock, file: Some(file) }),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    warn_once(&lock, &error);
                    return Ok(Lock { path: lock, file: None });
                }
            }
            if start.elapsed() >= patience {
                let seconds = patience.as_secs();
                let problem = format!(
                    "another process has held {} for {seconds} s: wait until it has ended, or end it, and try again",
                    lock.display()
                );
                return Err(Error::write(path)(io::Error::new(io::ErrorKind::TimedOut, problem)));
            }
            sleep(PAUSE);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is held: nobody else can have locked it. Where it cannot be removed it does no harm.
        let _ = std::fs::remove_file(&self.path);
        self.file.take();
    }
}

fn warn_once(lock: &Path, error: &io::Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        log::warn!(
            "{}: this file system has no locks ({error}): do not write into one folder by several processes at the same time",
            lock.display()
        );
    });
}

/// Whether the open file is the one at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: io::Result<std::fs::Metadata>| metadata.ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let open = identity(file.metadata());
    open.is_some() && open == identity(std::fs::metadata(path))
}

/// Where an open file cannot be removed by another process, it is the one at its path.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_holds_it_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        let first = Lock::of(&path, Duration::ZERO).unwrap();
        let refused = Lock::of(&path, Duration::from_millis(30)).unwrap_err().to_string();
        assert!(refused.contains("table.csv: cannot be written") && refused.contains("another process"), "{refused}");
        drop(first);
        drop(Lock::of(&path, Duration::ZERO).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// Each reads a number, waits and writes the next: without the lock numbers would be lost. The file of the lock
    /// comes and goes meanwhile.
    #[test]
    fn many_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let lock = Lock::of(&path, PATIENCE).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
                        let number = std::fs::read_to_string(&path).map_or(0, |text| text.parse::<u32>().unwrap());
                        std::fs::write(&path, (number + 1).to_string()).unwrap();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "200");
    }

    #[test]
    fn what_cannot_be_locked_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = Lock::of(&folder.path().join("missing/table.csv"), Duration::ZERO).unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{error}");
    }
}
