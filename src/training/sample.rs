//! Samples: what a source gives for a number, and how it is kept.

use crate::io::atomic;
use crate::scan::space;
use crate::volume::Volume;
use crate::{Error, Result};
use ndarray::ArrayView3;
use std::path::{Path, PathBuf};

/// About the mean of grey and white matter: HU about which contrasts are changed.
pub const TISSUE_HU: f32 = 33.0;

/// A brain on the network's grid with what is to be found in it. Arrays are (D, H, W) = (i, j, k), W fastest; those for a 2D network (k, i, j).
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The grid: multiples of what the network needs.
    pub shape: [usize; 3],
    /// Whether it is for a 2D network.
    pub planar: bool,
    /// Volume of a voxel in mL.
    pub voxel_ml: f64,
    /// Whole HU; 0 outside of the brain.
    pub hu: Vec<i16>,
    /// Where blood is.
    pub label: Vec<bool>,
    /// Where the brain is.
    pub mask: Vec<bool>,
}

impl Sample {
    /// A sample of a scan in the network's space with its label and brain, for a network in 3D.
    ///
    /// # Panics
    /// Where the grids differ in size.
    pub fn volume(scan: &Volume<f32>, label: &Volume<bool>, brain: &Volume<bool>) -> Sample {
        Sample::of(space::view(scan), space::view(label), space::view(brain), false, scan.grid().voxel_mm3() / 1000.0)
    }

    /// A sample of a scan's own slices, axes in the order nearest to RAS, for a 2D network.
    ///
    /// # Panics
    /// Where the grids differ in size.
    pub fn slices(scan: &Volume<f32>, label: &Volume<bool>, brain: &Volume<bool>) -> Sample {
        let order = [2, 0, 1];
        let (scan_view, label) = (space::view(scan).permuted_axes(order), space::view(label).permuted_axes(order));
        Sample::of(scan_view, label, space::view(brain).permuted_axes(order), true, scan.grid().voxel_mm3() / 1000.0)
    }

    fn of(scan: ArrayView3<f32>, label: ArrayView3<bool>, brain: ArrayView3<bool>, planar: bool, voxel_ml: f64) -> Sample {
        assert_eq!((scan.dim(), scan.dim()), (label.dim(), brain.dim()), "scan, label and brain have the same grid");
        let (depth, height, width) = scan.dim();
        let hu = scan.iter().zip(brain).map(|(hu, &inside)| if inside { hu.round() as i16 } else { 0 }).collect();
        let label = label.iter().zip(brain).map(|(&label, &inside)| label && inside).collect();
        Sample { shape: [depth, height, width], planar, voxel_ml, hu, label, mask: brain.iter().copied().collect() }
    }

    /// Number of the voxel at (d, h, w).
    pub(super) fn voxel(&self, [d, h, w]: [usize; 3]) -> usize {
        (d * self.shape[1] + h) * self.shape[2] + w
    }

    /// (d, h, w) of a voxel.
    pub(super) fn place(&self, voxel: usize) -> [usize; 3] {
        let [_, height, width] = self.shape;
        [voxel / (height * width), voxel / width % height, voxel % width]
    }
}

/// Where samples come from. All have the same grid; those for a 2D network may have different numbers of slices.
pub trait Source: Sync {
    /// Number of samples, numbered from 0.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the samples depend on, so that those of others are not taken for them.
    fn key(&self) -> String;

    /// A sample, the same at every call.
    ///
    /// # Errors
    /// Whatever keeps it from being read or made.
    fn sample(&self, number: usize) -> Result<Sample>;
}

/// Keeps the samples of a source in a folder, two bytes a voxel.
pub struct Cache<S> {
    source: S,
    folder: PathBuf,
}

/// Added to HU so that they are not below 0, and the flags above them.
const ZERO_HU: i32 = 4096;
const LABEL: u16 = 1 << 14;
const MASK: u16 = 1 << 15;
/// What a cached sample's file begins with.
const MAGIC: &[u8; 8] = b"ichorsm2";

impl<S: Source> Cache<S> {
    /// A cache in a folder of its own in `folder`; both are made if they are not there.
    ///
    /// # Errors
    /// [`Error::Write`] where they cannot be made.
    pub fn new(source: S, folder: &Path) -> Result<Cache<S>> {
        let folder = folder.join(format!("{:08x}", crc32c::crc32c(source.key().as_bytes())));
        std::fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
        Ok(Cache { source, folder })
    }
}

impl<S: Source> Source for Cache<S> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn key(&self) -> String {
        self.source.key()
    }

    fn sample(&self, number: usize) -> Result<Sample> {
        let path = self.folder.join(format!("{number:06}.sample"));
        let bytes = std::fs::read(&path).unwrap_or_default();
        if let Some(sample) = unpack(&bytes) {
            return Ok(sample);
        }
        // What is not whole is made anew; what is no sample at all is somebody else's.
        if !bytes.starts_with(&MAGIC[..MAGIC.len().min(bytes.len())]) {
            let problem = "it would be replaced, and is no sample of a training: give another --cache, or move it away".into();
            return Err(Error::Scan { path, problem });
        }
        let sample = self.source.sample(number)?;
        atomic::write(&path, |file| file.write_all(&pack(&sample)))?;
        // The same as from the file, whatever the source's HU are.
        Ok(unpack(&pack(&sample)).expect("what has just been packed"))
    }
}

fn pack(sample: &Sample) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    sample.shape.iter().for_each(|&side| bytes.extend((side as u64).to_le_bytes()));
    bytes.extend(u64::from(sample.planar).to_le_bytes());
    bytes.extend(sample.voxel_ml.to_le_bytes());
    for ((&hu, &label), &mask) in sample.hu.iter().zip(&sample.label).zip(&sample.mask) {
        let value = (i32::from(hu) + ZERO_HU).clamp(0, 2 * ZERO_HU - 1) as u16;
        let flags = if label { LABEL } else { 0 } | if mask { MASK } else { 0 };
        bytes.extend((value | flags).to_le_bytes());
    }
    bytes
}

fn unpack(bytes: &[u8]) -> Option<Sample> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sides, rest) = rest.split_at_checked(24)?;
    let (planar, rest) = rest.split_first_chunk::<8>()?;
    let (voxel_ml, values) = rest.split_first_chunk::<8>()?;
    let mut shape = [0; 3];
    for (side, bytes) in shape.iter_mut().zip(sides.chunks_exact(8)) {
        *side = usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()?;
    }
    let voxels = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side))?;
    if voxels.checked_mul(2)? != values.len() {
        return None;
    }
    let values: Vec<u16> = values.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Some(Sample {
        shape,
        planar: u64::from_le_bytes(*planar) != 0,
        voxel_ml: f64::from_le_bytes(*voxel_ml),
        hu: values.iter().map(|&value| (i32::from(value & (LABEL - 1)) - ZERO_HU) as i16).collect(),
        label: values.iter().map(|&value| value & LABEL != 0).collect(),
        mask: values.iter().map(|&value| value & MASK != 0).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::testing::Balls;

    #[test]
    fn the_cache_gives_what_the_source_gave() {
        let folder = tempfile::tempdir().unwrap();
        let source = Balls { shape: [16, 16, 32], ..Balls::CUBE };
        let expected = source.sample(1).unwrap();
        let cache = Cache::new(source, folder.path()).unwrap();
        assert_eq!(cache.sample(1).unwrap(), expected);
        assert_eq!(cache.sample(1).unwrap(), expected);
        // Half a file is made anew.
        let path = cache.folder.join("000001.sample");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..100]).unwrap();
        assert_eq!(cache.sample(1).unwrap(), expected);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        // What is none is somebody else's.
        std::fs::write(&path, "notes").unwrap();
        let said = cache.sample(1).unwrap_err().to_string();
        assert!(said.contains("000001.sample: it would be replaced") && said.contains("--cache"), "{said}");
        std::fs::write(&path, "").unwrap();
        assert_eq!(cache.sample(1).unwrap(), expected);
        // Those of another source are not taken for its own.
        let other = Balls { shape: [16; 3], ..Balls::CUBE };
        assert_eq!(Cache::new(other, folder.path()).unwrap().sample(1).unwrap().shape, [16; 3]);
    }
}
