//! The bytes of a file, mapped or held.

use memmap2::Mmap;
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// Bytes of a file, mapped or held.
pub(super) enum Bytes {
    Mapped(Mmap),
    Held(Cow<'static, [u8]>),
}

impl Bytes {
    /// Maps a regular file; anything else (a pipe would never end) is refused.
    pub(super) fn map(path: &Path) -> io::Result<Bytes> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let file = File::open(path)?;
        // SAFETY: the map is read-only and seen as plain bytes, for which every value is valid. Nobody may cut the file
        // while it is mapped, which no program can rule out; `Weights::open` says so to its users.
        Ok(Bytes::Mapped(unsafe { Mmap::map(&file)? }))
    }

    /// Gives mapped pages back to the operating system until they are read again.
    pub(super) fn release(&self) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = self {
            // SAFETY: the map is a read-only map of a file, so a dropped page comes back with the same bytes when it is read.
            let dropped = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            // It is advice: where it is refused, the pages stay, which does no harm.
            dropped.ok();
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Held(bytes) => bytes,
        }
    }
}
