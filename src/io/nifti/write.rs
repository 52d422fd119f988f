//! From a volume to a file.

use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};

use super::error::NiftiError;
use super::header::Header;
use super::voxels::Voxel;
use crate::io::atomic;
use crate::io::{Error, Result};
use crate::volume::Volume;

/// Voxels that are turned into bytes at a time.
const SLAB: usize = 1 << 16;

/// Writes a volume as a .nii or, where `path` ends so, a compressed .nii.gz file. The header is `header` but for the type of the voxels, slope 1, intercept 0 and
/// the range of display, which is that of the volume; header extensions are not carried over. The same volume gives the same bytes, and the file is there whole or not at all.
///
/// # Errors
/// [`Error::Nifti`] where `path` ends in neither .nii nor .nii.gz, [`Error::Shape`] where the volume is not on the header's grid, and
/// [`Error::Write`] where the file cannot be written.
pub fn write<T: Voxel>(path: impl AsRef<Path>, volume: &Volume<T>, header: &Header) -> Result<()> {
    let path = path.as_ref();
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let compressed = name.ends_with(".nii.gz");
    if !compressed && !name.ends_with(".nii") {
        return Err(Error::Nifti { path: path.to_path_buf(), source: NiftiError::OutputName });
    }
    if volume.grid() != header.grid() {
        return Err(Error::Shape(format!("{}: the volume is not on the grid of its header", path.display())));
    }
    atomic::write(path, |out| {
        if !compressed {
            return write_to(out, volume, header);
        }
        // No time and no name in the gzip header: the same volume gives the same bytes.
        let mut gzip = GzBuilder::new().write(out, Compression::fast());
        write_to(&mut gzip, volume, header)?;
        gzip.finish().map(drop)
    })
}

fn write_to<T: Voxel>(out: &mut dyn Write, volume: &Volume<T>, header: &Header) -> io::Result<()> {
    out.write_all(&header.for_voxels(T::DATA_TYPE, range(volume.voxels())))?;
    let mut bytes = Vec::with_capacity(SLAB * size_of::<T>());
    for slab in volume.voxels().chunks(SLAB) {
        bytes.clear();
        T::append(slab, header.order(), &mut bytes);
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Least and largest finite value; 0 and 0, which leaves the choice to the viewer, where there is none.
fn range<T: Voxel>(voxels: &[T]) -> [f64; 2] {
    let finite = voxels.iter().map(|voxel| voxel.to_f64()).filter(|value| value.is_finite());
    let [low, high] = finite.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)]);
    if low <= high { [low, high] } else { [0.0; 2] }
}
