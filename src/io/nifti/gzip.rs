//! A gzip file as `gzip -d` reads it: members one after another (RFC 1952, 2.2), zeros between and behind them, and whatever else follows ignored.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The first two bytes of a member.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes that are looked at to tell what follows a member: up to the name of the first extra field.
const LOOK: usize = 14;

/// What follows the member that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    End,
    /// Bytes that no member begins with, or zeros to the end.
    Junk,
    /// Another member; `block` where it says to be one of a block-compressed file (BGZF: its extra field `BC`).
    Member {
        /// Whether it is such a block.
        block: bool,
    },
}

/// Decompresses member after member. It ends where no further member begins, and errors where a member is damaged.
pub(super) struct Members<R: BufRead> {
    /// `None` only while one member is taken for the next.
    decoder: Option<GzDecoder<Ahead<R>>>,
    /// Whether the present member has ended well: its checksum and length are right.
    ended: bool,
    /// What came after the present member, once it has ended.
    next: Next,
    /// Whether a member has followed another that was no block of a block-compressed file.
    several: bool,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(reader: R) -> Self {
        let decoder = GzDecoder::new(Ahead { reader, held: Vec::new() });
        Members { decoder: Some(decoder), ended: false, next: Next::End, several: false }
    }

    /// Whether more than one member was read, in a file that is not block-compressed.
    pub(super) fn several(&self) -> bool {
        self.several
    }

    /// What follows the present member, which is read to its end, so that its checksum is compared; [`None`] where more than `most` bytes of it are left.
    ///
    /// # Errors
    /// Where the member is damaged, and what the reader reports.
    pub(super) fn finish(&mut self, most: u64) -> io::Result<Option<Next>> {
        let mut rest = [0; 1 << 12];
        let mut read = 0;
        while !self.ended {
            match self.read_member(&mut rest) {
                Ok(count) => read += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if read > most {
                return Ok(None);
            }
        }
        Ok(Some(self.next))
    }

    /// Bytes of the present member; none at its end.
    fn read_member(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let decoder = self.decoder.as_mut().expect("there is one between two calls");
        let count = decoder.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            let ahead = decoder.get_mut();
            let zeros = ahead.skip_zeros()?;
            self.next = match ahead.look()? {
                [] if zeros == 0 => Next::End,
                // Blocks say their own length in a field `BC` of the extra fields (bit 2 of the flags).
                found if found.starts_with(&MAGIC) => {
                    Next::Member { block: found.get(3).is_some_and(|flags| flags & 4 != 0) && found.get(12..14) == Some(b"BC") }
                }
                _ => Next::Junk,
            };
            self.ended = true;
        }
        Ok(count)
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.ended {
                let Next::Member { block } = self.next else { return Ok(0) };
                self.several |= !block;
                let ahead = self.decoder.take().expect("there is one between two calls").into_inner();
                self.decoder = Some(GzDecoder::new(ahead));
                self.ended = false;
            }
            let count = self.read_member(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
        }
    }
}

/// A reader whose next bytes can be looked at before they are read.
struct Ahead<R> {
    reader: R,
    held: Vec<u8>,
}

impl<R: BufRead> Ahead<R> {
    /// The next bytes, [`LOOK`] of them where there are as many.
    fn look(&mut self) -> io::Result<&[u8]> {
        while self.held.len() < LOOK {
            let mut byte = [0];
            match self.reader.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => self.held.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.held)
    }

    /// Reads zeros as far as there are any, and gives their number.
    fn skip_zeros(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let found = match self.fill_buf() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let zeros = found.iter().take_while(|&&byte| byte == 0).count();
            let all = zeros == found.len();
            self.consume(zeros);
            skipped += zeros as u64;
            if !all || zeros == 0 {
                return Ok(skipped);
            }
        }
    }
}

impl<R: BufRead> Read for Ahead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.held.is_empty() { self.reader.fill_buf() } else { Ok(&self.held) }
    }

    fn consume(&mut self, count: usize) {
        if self.held.is_empty() {
            self.reader.consume(count);
        } else {
            self.held.drain(..count);
        }
    }
}
