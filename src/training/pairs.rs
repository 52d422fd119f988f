//! Samples from a folder of NIfTI pairs: scans with masks of their hemorrhage.

use super::sample::{Sample, Source};
use crate::io::{mask, nifti};
use crate::scan::brain;
use crate::scan::registration;
use crate::scan::segment::{self, BrainSource, Prepared};
use crate::scan::space;
use crate::volume::orientation::{self, Orientation};
use crate::volume::{Affine, Grid, Volume, resample};
use crate::{Error, Result, memory};
use std::path::{Path, PathBuf};

/// Pairs `NAME.nii.gz` and `NAME_label.nii.gz` (or `.nii`) in a folder, in the order of their names. Each scan is prepared as `segment` does it: clamp, brain extraction,
/// registration to the template, resampling.
pub struct Pairs {
    pairs: Vec<[PathBuf; 2]>,
    template: Volume<f32>,
    shape: Option<[usize; 3]>,
}

const EXTENSIONS: [&str; 2] = [".nii.gz", ".nii"];
const LABEL: &str = "_label";

impl Pairs {
    /// The pairs of a folder, at most `most` of them: to be cut to `shape` voxels around the brain in the space of `template`, or, with none, as their own slices for
    /// a 2D network.
    ///
    /// # Errors
    /// [`Error::Read`] where the folder cannot be read, [`Error::Training`] where it holds no pair.
    pub fn open(folder: &Path, template: Volume<f32>, shape: Option<[usize; 3]>, most: usize) -> Result<Pairs> {
        let mut names: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(Error::read(folder))? {
            names.push(entry.map_err(Error::read(folder))?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        let mut pairs = Vec::new();
        for name in &names {
            let Some((stem, extension)) = EXTENSIONS.iter().find_map(|end| Some((name.strip_suffix(end)?, end))) else {
                continue;
            };
            if stem.ends_with(LABEL) {
                continue;
            }
            let label = EXTENSIONS.iter().map(|end| format!("{stem}{LABEL}{end}")).find(|label| names.contains(label));
            if let Some(label) = label {
                pairs.push([folder.join(format!("{stem}{extension}")), folder.join(label)]);
            }
        }
        if pairs.is_empty() {
            let problem = "holds no pair NAME.nii.gz and NAME_label.nii.gz (or .nii)".into();
            return Err(Error::Training { path: folder.to_path_buf(), problem });
        }
        pairs.truncate(most);
        Ok(Pairs { pairs, template, shape })
    }
}

impl Source for Pairs {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn key(&self) -> String {
        format!("pairs {:?} {:?} {:?}", self.shape, self.pairs, self.template.grid())
    }

    fn sample(&self, number: usize) -> Result<Sample> {
        let [scan, label] = &self.pairs[number];
        let volume = nifti::read(scan)?.volume;
        let marked = on_scan(label, &mask::read(label)?.inside, volume.grid())?;
        let prepared = segment::prepare(volume, &BrainSource::Extract(brain::Options::default()), scan)?;
        let (grid, to_scan) = match self.shape {
            Some(_) => {
                let found = registration::register(&prepared.masked, &self.template, &registration::Options::default());
                (self.template.grid().clone(), found.map_err(Error::registration(scan))?.template_to_scan)
            }
            None => (segment::slice_grid(prepared.masked.grid()), Affine::IDENTITY),
        };
        let (hu, label, brain) = resampled(&prepared, &marked, &grid, &to_scan)?;
        Ok(match self.shape {
            Some(shape) => {
                memory::check(4 * shape.iter().product::<usize>() as u64, || format!("a sample of {shape:?} voxels"))?;
                cut(&hu, &label, &brain, shape)
            }
            None => Sample::slices(&hu, &label, &brain),
        })
    }
}

/// A label's corner voxels are no further from the scan's than this share of its smallest spacing: more than the
/// rounding of headers, less than any other voxel.
const SAME_PLACE: f64 = 0.1;

/// The label on its scan's grid, whatever the rounding of its own header and the order of its axes.
fn on_scan(path: &Path, label: &Volume<bool>, scan: &Grid) -> Result<Volume<bool>> {
    orientation::onto_same_points(label, scan, SAME_PLACE).ok_or_else(|| {
        let apart = match orientation::distance_of_points(label.grid(), scan) {
            Some(mm) => format!("its header places a corner voxel {mm:.2} mm from where that of its scan does"),
            None => format!("it has {:?} voxels, its scan {:?}", label.grid().shape, scan.shape),
        };
        Error::Training { path: path.to_path_buf(), problem: format!("{apart}: a label lies on its scan's grid") }
    })
}

/// A prepared scan, the label on the scan's own grid, and the brain, on the network's grid; a voxel of it is blood where more than half of it is.
pub(super) fn resampled(
    prepared: &Prepared,
    label: &Volume<bool>,
    grid: &Grid,
    to_scan: &Affine,
) -> Result<(Volume<f32>, Volume<bool>, Volume<bool>)> {
    let share = label.map(|&inside| f32::from(u8::from(inside)));
    let share = if Orientation::of(&share.grid().affine) == Orientation::RAS { share } else { orientation::to_ras(&share) };
    let hu = resample::linear(&prepared.masked, grid, to_scan, 0.0)?;
    let brain = resample::nearest(&prepared.brain, grid, to_scan, false)?;
    let label = resample::linear(&share, grid, to_scan, 0.0)?.map(|&share| share > 0.5);
    Ok((hu, label, brain))
}

/// The box of `shape` voxels around the middle of the brain, in the network's order; beyond the volumes there is nothing.
fn cut(hu: &Volume<f32>, label: &Volume<bool>, brain: &Volume<bool>, shape: [usize; 3]) -> Sample {
    let voxel_ml = hu.grid().voxel_mm3() / 1000.0;
    let (hu, label, brain) = (space::view(hu), space::view(label), space::view(brain));
    let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
    for ((i, j, k), _) in brain.indexed_iter().filter(|&(_, &inside)| inside) {
        for (axis, at) in [i, j, k].into_iter().enumerate() {
            low[axis] = low[axis].min(at);
            high[axis] = high[axis].max(at);
        }
    }
    // In voxels of the volume, below 0 where the box begins before it.
    let origin =
        [0, 1, 2].map(|axis| (low[axis].min(high[axis]) as isize + high[axis] as isize + 1 - shape[axis] as isize).div_euclid(2));
    let mut sample = Sample { shape, planar: false, voxel_ml, hu: vec![], label: vec![], mask: vec![] };
    for voxel in 0..shape.iter().product::<usize>() {
        let within = [voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1], voxel % shape[2]];
        let at = [0, 1, 2].map(|axis| (origin[axis] + within[axis] as isize) as usize);
        let inside = brain.get(at).copied().unwrap_or(false);
        sample.hu.push(if inside { hu[at].round() as i16 } else { 0 });
        sample.label.push(inside && label[at]);
        sample.mask.push(inside);
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Grid;

    fn volume<T: Copy>(shape: [usize; 3], value: impl Fn([usize; 3]) -> T) -> Volume<T> {
        let grid = Grid { shape, affine: Affine::IDENTITY };
        let voxels = (0..grid.len()).map(|n| value(grid.ijk(n))).collect();
        Volume::new(grid, voxels)
    }

    #[test]
    fn the_box_is_around_the_brain() {
        let shape = [20, 8, 12];
        let inside = |[i, j, k]: [usize; 3]| (10..14).contains(&i) && (2..6).contains(&j) && (0..4).contains(&k);
        let hu = volume(shape, |[i, j, k]| (100 * i + 10 * j + k) as f32);
        let label = volume(shape, |at| at[0] == 11);
        let sample = cut(&hu, &label, &volume(shape, inside), [8, 8, 16]);
        // The middle of 10..14 is that of 8..16; along the others 0..8 and -6..10.
        for (voxel, &mask) in sample.mask.iter().enumerate() {
            let [i, j, k] = [voxel / 128 + 8, voxel / 16 % 8, (voxel % 16).wrapping_sub(6)];
            assert_eq!(mask, inside([i, j, k]));
            let expected = if mask { 100 * i + 10 * j + k } else { 0 };
            assert_eq!((sample.hu[voxel], sample.label[voxel]), (expected as i16, mask && i == 11));
        }
    }

    #[test]
    fn a_label_on_other_points_than_its_scan_is_refused() {
        let label = volume([2, 3, 4], |[i, j, k]| i + j + k == 0);
        let scan = Grid { shape: [2, 3, 4], affine: Affine::IDENTITY };
        assert_eq!(on_scan(Path::new("a_label.nii"), &label, &scan).unwrap(), label);
        // The same points from the other side of i, and points half a voxel away.
        let turned = |x: f64| Affine::new([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [x, 0.0, 0.0]);
        let on = |x| on_scan(Path::new("a_label.nii"), &label, &Grid { affine: turned(x), ..scan.clone() });
        assert_eq!(on(1.0).unwrap().voxels().iter().position(|&blood| blood), Some(1));
        let said = on(1.5).unwrap_err().to_string();
        assert!(said.starts_with("a_label.nii: its header places a corner voxel 0.50 mm from"), "{said}");
        let other = Grid { shape: [2, 3, 5], ..scan.clone() };
        assert!(on_scan(Path::new("a_label.nii"), &label, &other).unwrap_err().to_string().contains("[2, 3, 4] voxels"));
    }

    #[test]
    fn a_folder_without_pairs_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.nii.gz"), b"").unwrap();
        std::fs::write(folder.path().join("b_label.nii.gz"), b"").unwrap();
        let open = || Pairs::open(folder.path(), volume([1; 3], |_| 0.0), Some([16; 3]), 100);
        assert!(matches!(open(), Err(Error::Training { .. })));
        std::fs::write(folder.path().join("a_label.nii"), b"").unwrap();
        assert_eq!(open().unwrap().pairs, [["a.nii.gz", "a_label.nii"].map(|name| folder.path().join(name))]);
    }
}
