//! From bytes to a scan. Nothing is allocated that the file could not fill.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::NiftiError;
use super::gzip::{self, Members, Next};
use super::header::{self, Header, Layout, Version};
use super::{Scan, Warning};
use crate::io::Error;
use crate::memory;
use crate::volume::Volume;

/// The most that deflate can compress: 258 bytes by 2 bits (RFC 1951: a length and a distance code of one bit each).
const DEFLATE_LIMIT: u64 = 1032;

/// Bytes that are read and converted at a time; a multiple of every voxel's size.
const SLAB: usize = 1 << 20;

/// The most that is read behind the voxels, of the gzip member that they end in.
const MOST_PADDING: u64 = 1 << 16;

/// Reads a scan from a .nii, .nii.gz, .hdr or .img file; the other file of a pair is looked for beside it. Whether a file is compressed
/// is told from its content, not from its name.
///
/// # Errors
/// [`Error::Nifti`], naming `path`.
pub fn read(path: impl AsRef<Path>) -> crate::io::Result<Scan> {
    let path = path.as_ref();
    read_path(path).map_err(|source| Error::Nifti { path: path.to_path_buf(), source })
}

/// Reads a scan from the bytes of a .nii or .nii.gz file.
///
/// # Errors
/// What is wrong with the bytes.
pub fn read_bytes(bytes: &[u8]) -> Result<Scan, NiftiError> {
    read_single(Source::new(bytes, bytes.len() as u64)?)
}

fn read_path(path: &Path) -> Result<Scan, NiftiError> {
    match pair(path)? {
        None => read_single(Source::open(path)?),
        Some((header, image)) => read_pair(Source::open(&header)?, Source::open(&image)?),
    }
}

/// The files that [`read`] reads for `path`: header and image of a pair, else the file alone.
pub fn files(path: &Path) -> Vec<PathBuf> {
    match pair(path) {
        Ok(Some((header, image))) => vec![header, image],
        _ => vec![path.to_path_buf()],
    }
}

fn read_single(mut source: Source) -> Result<Scan, NiftiError> {
    let (header, layout) = read_header(&mut source)?;
    if !layout.single_file {
        return Err(NiftiError::HeaderOnly);
    }
    read_voxels(source, header, layout)
}

fn read_pair(mut source: Source, image: Source) -> Result<Scan, NiftiError> {
    let (header, mut layout) = read_header(&mut source)?;
    if layout.single_file {
        return Err(NiftiError::NotAPair);
    }
    layout.warnings.extend(source.finish()?);
    read_voxels(image, header, layout)
}

/// Header and image file where the name is one of a pair's.
fn pair(path: &Path) -> Result<Option<(PathBuf, PathBuf)>, NiftiError> {
    let (stem, compressed) = match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("gz") => (path.with_extension(""), true),
        _ => (path.to_path_buf(), false),
    };
    let is = |extension: &str| stem.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension));
    let other = match () {
        _ if is("hdr") => "img",
        _ if is("img") => "hdr",
        _ => return Ok(None),
    };
    let plain = stem.with_extension(other);
    let gzip = stem.with_extension(format!("{other}.gz"));
    let candidates = if compressed { [gzip, plain.clone()] } else { [plain.clone(), gzip] };
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    match (other, found) {
        ("img", Some(image)) => Ok(Some((path.to_path_buf(), image))),
        (_, Some(header)) => Ok(Some((header, path.to_path_buf()))),
        // A wrong name is told from a missing half by the file itself being there.
        (_, None) if !path.exists() => Ok(None),
        ("img", None) => Err(NiftiError::MissingImage(plain)),
        (_, None) => Err(NiftiError::MissingHeader(plain)),
    }
}

fn read_header(source: &mut Source) -> Result<(Header, Layout), NiftiError> {
    let mut bytes = vec![0; Version::Two.header_size()];
    let mut found = source.fill(&mut bytes[..4])?;
    if source.stored == 0 {
        return Err(NiftiError::Empty);
    }
    if found < 4 {
        return Err(NiftiError::ShortHeader { found: found as u64 });
    }
    let (version, order) = header::version_and_order([bytes[0], bytes[1], bytes[2], bytes[3]])?;
    bytes.truncate(version.header_size());
    found += source.fill(&mut bytes[4..])?;
    if found < bytes.len() {
        return Err(NiftiError::ShortHeader { found: found as u64 });
    }
    Header::parse(bytes, version, order)
}

/// The voxels, from a source that stands behind the header, or at the start of an image file.
fn read_voxels(mut source: Source, header: Header, mut layout: Layout) -> Result<Scan, NiftiError> {
    let voxels = header.grid().len();
    let size = layout.data_type.size();
    let mut left = voxels * size;
    let needed = layout.offset + left as u64;
    source.can_hold(needed)?;
    let mut values = Vec::new();
    if !memory::can_have(4 * voxels as u64) {
        return Err(NiftiError::Memory { voxels });
    }
    values.try_reserve_exact(voxels).map_err(|_| NiftiError::Memory { voxels })?;
    let mut slab = vec![0; SLAB.min(left)];
    let mut found = source.skip_to(layout.offset)?;
    while left > 0 && found >= layout.offset {
        let wanted = &mut slab[..SLAB.min(left)];
        let read = source.fill(wanted)?;
        found += read as u64;
        if read < wanted.len() {
            break;
        }
        layout.data_type.decode(wanted, header.order(), layout.scaling, &mut values);
        left -= read;
    }
    if left > 0 {
        return Err(NiftiError::Truncated { needed, found });
    }
    layout.warnings.extend(source.finish()?);
    let not_finite = values.iter().filter(|value| !value.is_finite()).count();
    let volume = Volume::new(header.grid().clone(), values);
    Ok(Scan { volume, header, not_finite, warnings: layout.warnings })
}

/// A file or bytes in memory, decompressed where compressed.
struct Source<'a> {
    reader: Reader<'a>,
    /// Bytes as stored.
    stored: u64,
    /// Bytes given so far.
    position: u64,
}

enum Reader<'a> {
    Plain(Box<dyn BufRead + 'a>),
    Gzip(Box<Members<Box<dyn BufRead + 'a>>>),
}

impl<'a> Source<'a> {
    fn open(path: &Path) -> Result<Source<'static>, NiftiError> {
        // Before opening: opening a pipe would wait for its writer.
        let metadata = fs::metadata(path).map_err(NiftiError::Read)?;
        if !metadata.is_file() {
            return Err(NiftiError::NotAFile);
        }
        let file = File::open(path).map_err(NiftiError::Read)?;
        Source::new(BufReader::with_capacity(1 << 17, file), metadata.len())
    }

    fn new(mut reader: impl BufRead + 'a, stored: u64) -> Result<Source<'a>, NiftiError> {
        let compressed = reader.fill_buf().map_err(NiftiError::Read)?.starts_with(&gzip::MAGIC);
        let reader: Box<dyn BufRead + 'a> = Box::new(reader);
        let reader = if compressed { Reader::Gzip(Box::new(Members::new(reader))) } else { Reader::Plain(reader) };
        Ok(Source { reader, stored, position: 0 })
    }

    fn compressed(&self) -> bool {
        matches!(self.reader, Reader::Gzip(_))
    }

    /// Whether so many bytes can come out at all.
    fn can_hold(&self, needed: u64) -> Result<(), NiftiError> {
        if self.compressed() && needed > self.stored.saturating_mul(DEFLATE_LIMIT) {
            return Err(NiftiError::Overstated { needed, compressed: self.stored });
        }
        if !self.compressed() && needed > self.stored {
            return Err(NiftiError::Truncated { needed, found: self.stored });
        }
        Ok(())
    }

    /// Fills `buffer` as far as there are bytes and returns how many there were.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, NiftiError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = match &mut self.reader {
                Reader::Plain(reader) => reader.read(&mut buffer[filled..]),
                Reader::Gzip(members) => members.read(&mut buffer[filled..]),
            };
            match read {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                // A gzip stream that just stops: the caller knows what is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) if self.compressed() => return Err(NiftiError::Gzip(error)),
                Err(error) => return Err(NiftiError::Read(error)),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }

    /// Reads up to byte `offset`, and returns the byte reached.
    fn skip_to(&mut self, offset: u64) -> Result<u64, NiftiError> {
        let mut rest = vec![0; 1 << 12];
        while self.position < offset {
            let step = (offset - self.position).min(rest.len() as u64) as usize;
            if self.fill(&mut rest[..step])? < step {
                break;
            }
        }
        Ok(self.position)
    }

    /// Reads the end of the gzip member that was read last, where its checksum is compared, and says what else the gzip file has. Padding behind what was
    /// wanted is allowed, but not followed for ever; what follows the member is no part of the image, and may be anything.
    fn finish(self) -> Result<Vec<Warning>, NiftiError> {
        let Reader::Gzip(mut members) = self.reader else { return Ok(Vec::new()) };
        let next = members.finish(MOST_PADDING).map_err(NiftiError::Gzip)?;
        let mut warnings = Vec::new();
        if members.several() || next == Some(Next::Member { block: false }) {
            warnings.push(Warning::SeveralMembers);
        }
        if next == Some(Next::Junk) {
            warnings.push(Warning::BehindGzip);
        }
        Ok(warnings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file on a disk that answers with an error before every read, once each.
    struct Failing {
        errors: Vec<io::ErrorKind>,
    }

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if let Some(kind) = self.errors.pop() {
                return Err(kind.into());
            }
            buffer.fill(7);
            Ok(buffer.len())
        }
    }

    fn source(compressed: bool, errors: Vec<io::ErrorKind>) -> Source<'static> {
        let file: Box<dyn BufRead> = Box::new(BufReader::new(Failing { errors }));
        let reader = if compressed { Reader::Gzip(Box::new(Members::new(file))) } else { Reader::Plain(file) };
        Source { reader, stored: 100, position: 0 }
    }

    #[test]
    fn an_interrupted_read_is_tried_again() {
        let mut source = source(false, vec![io::ErrorKind::Interrupted; 2]);
        let mut buffer = [0; 5];
        assert_eq!(source.fill(&mut buffer).unwrap(), 5);
        assert_eq!((buffer, source.position), ([7; 5], 5));
    }

    #[test]
    fn a_failing_disk_is_no_damaged_compression() {
        let kind = io::ErrorKind::TimedOut;
        assert!(matches!(source(false, vec![kind]).fill(&mut [0; 5]), Err(NiftiError::Read(error)) if error.kind() == kind));
        let kind = io::ErrorKind::InvalidInput;
        assert!(matches!(source(true, vec![kind]).fill(&mut [0; 5]), Err(NiftiError::Gzip(error)) if error.kind() == kind));
    }

    #[test]
    fn what_a_file_can_hold() {
        let (plain, compressed) = (source(false, vec![]), source(true, vec![]));
        assert!(plain.can_hold(100).is_ok());
        assert!(matches!(plain.can_hold(101), Err(NiftiError::Truncated { needed: 101, found: 100 })));
        assert!(compressed.can_hold(103_200).is_ok());
        let error = compressed.can_hold(103_201);
        assert!(matches!(error, Err(NiftiError::Overstated { needed: 103_201, compressed: 100 })));
    }
}
