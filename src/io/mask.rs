//! Masks in NIfTI files, told from scans: what holds the values of a CT is no mask, whatever it is given for.

use crate::io::nifti;
use crate::io::{Error, Result};
use crate::volume::Volume;
use crate::words::counted;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A mask with several labels.
#[derive(Clone, Debug)]
pub struct Mask {
    /// What is inside: all labels.
    pub inside: Volume<bool>,
    /// The different values above 0, ascending; one in most masks, none in an empty one.
    pub labels: Vec<f32>,
}

/// A scaling in the header may leave a rounding of so much.
const ROUNDING: f32 = 1e-3;
/// So many different values above 0 are those of labels, wherever they lie.
const FEW_VALUES: usize = 16;
/// Where there are more, regions of one value are labels: at least so large a share of neighbours are equal. In a CT
/// hardly any are.
const EQUAL_NEIGHBOURS: f64 = 0.5;
/// A soft mask is decided nearly everywhere: of its voxels above the first value, at least so large a share is above
/// the second.
const SOFT: ([f32; 2], f64) = ([0.1, 0.75], 0.5);
/// Different values are counted up to so many.
const MOST_COUNTED: usize = 1000;

/// Reads a mask: 0 outside and above it inside, of one value (1, 255, ..) or of whole numbers that are labels.
///
/// # Errors As [`nifti::read`]; [`Error::Scan`] for values that no mask has: below 0, not a number, so many that they
/// are those of a scan, or those of a probability, which must be cut first. The sentence names the values and what to
/// give.
pub fn read(path: &Path) -> Result<Mask> {
    let volume = nifti::read(path)?.volume;
    match Values::of(&volume) {
        values if values.is_mask(&volume) => Ok(values.mask(&volume)),
        values => Err(values.problem(path, "give a mask of the hemorrhage, such as NAME_ich.nii.gz of `ichor segment`")),
    }
}

/// Reads a brain mask: as [`read`], and soft ones with values from 0 to 1, which are cut at one half.
///
/// # Errors
/// As [`read`], and [`Error::Scan`] for a mask without a voxel inside.
pub fn read_brain(path: &Path) -> Result<Volume<bool>> {
    let volume = nifti::read(path)?.volume;
    let values = Values::of(&volume);
    let mask = if values.is_mask(&volume) {
        values.mask(&volume).inside
    } else if values.is_soft(&volume) {
        volume.map(|&value| value > 0.5)
    } else {
        return Err(values.problem(path, "give the mask of the scan's brain, such as `ichor brain SCAN -o MASK` makes it"));
    };
    if !mask.voxels().contains(&true) {
        let problem = "it holds no brain: no voxel is above 0; give the mask of the scan's brain".into();
        return Err(Error::Scan { path: path.to_path_buf(), problem });
    }
    Ok(mask)
}

/// What values a volume holds.
struct Values {
    not_finite: usize,
    least: f32,
    greatest: f32,
    /// Whether 0 is among them.
    nothing: bool,
    /// Different finite values other than 0, ascending, whole where they are within a rounding; at most
    /// [`MOST_COUNTED`] of them.
    different: Vec<f32>,
}

impl Values {
    fn of(volume: &Volume<f32>) -> Values {
        let finite = || volume.voxels().iter().copied().filter(|value| value.is_finite());
        let least = finite().fold(f32::INFINITY, f32::min);
        let greatest = finite().fold(f32::NEG_INFINITY, f32::max);
        let mut values = Values { not_finite: 0, least, greatest, nothing: false, different: Vec::new() };
        let rounding = values.rounding();
        let mut seen = HashSet::new();
        let mut last = f32::NAN;
        for &value in volume.voxels() {
            // Most voxels have their neighbour's value.
            if value == last {
                continue;
            }
            last = value;
            if !value.is_finite() {
                values.not_finite += 1;
                continue;
            }
            let value = if (value - value.round()).abs() < rounding { value.round() } else { value };
            if value == 0.0 {
                values.nothing = true;
            } else if seen.len() < MOST_COUNTED {
                seen.insert(value.to_bits());
            }
        }
        values.different = seen.into_iter().map(f32::from_bits).collect();
        values.different.sort_by(f32::total_cmp);
        values
    }

    /// What is no more than a rounding: less where the value inside is itself small.
    fn rounding(&self) -> f32 {
        ROUNDING * self.greatest.clamp(0.0, 1.0)
    }

    /// Whether no mask can have them: not a number, or below 0.
    fn are_impossible(&self) -> bool {
        self.not_finite > 0 || self.least < -self.rounding()
    }

    fn is_mask(&self, volume: &Volume<f32>) -> bool {
        if self.are_impossible() {
            return false;
        }
        let whole = self.different.iter().all(|value| value.fract() == 0.0);
        match self.different.len() {
            0 => true,
            // A scaling may have made anything of the value inside.
            1 => whole || self.nothing,
            count => whole && (count <= FEW_VALUES || equal_neighbours(volume) >= EQUAL_NEIGHBOURS),
        }
    }

    fn is_soft(&self, volume: &Volume<f32>) -> bool {
        let ([some, most], share) = SOFT;
        let above = |limit: f32| volume.voxels().iter().filter(|&&value| value > limit).count() as f64;
        !self.are_impossible() && self.greatest <= 1.0 + ROUNDING && above(most) >= share * above(some)
    }

    fn mask(self, volume: &Volume<f32>) -> Mask {
        // A value that is nearly 0 is 0; the least one inside may be small by its scaling.
        let least = self.different.first().map_or(0.5, |&value| (0.5 * value).min(0.5));
        Mask { inside: volume.map(|&value| value > least), labels: self.different }
    }

    fn problem(&self, path: &Path, advice: &str) -> Error {
        let (least, greatest) = (self.least, self.greatest);
        let count = self.different.len() + usize::from(self.nothing);
        let count = if self.different.len() < MOST_COUNTED {
            counted(count, "different value")
        } else {
            "very many different values".into()
        };
        let found = match self.not_finite {
            0 if count.starts_with('1') && least == greatest => format!("every voxel is {least}"),
            0 => format!("it holds {count} from {least} to {greatest}"),
            _ => "it holds values that are no numbers (NaN or infinite)".into(),
        };
        let like = match (self.not_finite, least < -self.rounding(), greatest <= 1.0 + ROUNDING) {
            (1.., ..) => "",
            (_, true, _) => ", as a scan does",
            (_, false, true) => ", as a probability does: cut it at its threshold first",
            (_, false, false) => ", as an image does",
        };
        let problem = format!("it is no mask: {found}{like}; a mask is 0 outside and 1 (or a label) inside: {advice}");
        Error::Scan { path: path.to_path_buf(), problem }
    }
}

/// Share of the pairs of neighbours along i, both above 0, that are equal; 1 where there is none. Pairs of the most
/// frequent value are left out: the air of an image may be all one value too.
fn equal_neighbours(volume: &Volume<f32>) -> f64 {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    volume.voxels().iter().filter(|&&value| value > 0.0).for_each(|value| *counts.entry(value.to_bits()).or_default() += 1);
    let usual = counts.into_iter().max_by_key(|&(bits, count)| (count, bits)).map(|(bits, _)| f32::from_bits(bits));
    let (mut pairs, mut equal) = (0_usize, 0_usize);
    for row in volume.voxels().chunks(volume.grid().shape[0].max(1)) {
        for pair in row.windows(2).filter(|pair| pair[0] > 0.0 && pair[1] > 0.0 && pair.iter().any(|&value| Some(value) != usual))
        {
            pairs += 1;
            equal += usize::from(pair[0] == pair[1]);
        }
    }
    if pairs == 0 { 1.0 } else { equal as f64 / pairs as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::{Affine, Grid};

    /// Values on 20 x 20 x 10 voxels by their place.
    fn written(folder: &tempfile::TempDir, value: impl Fn([usize; 3]) -> f32) -> std::path::PathBuf {
        let path = folder.path().join("given.nii");
        let grid = Grid { shape: [20, 20, 10], affine: Affine::IDENTITY };
        let places = (0..grid.len()).map(|n| [n % 20, n / 20 % 20, n / 400]);
        let header = nifti::Header::for_grid(&grid).unwrap();
        nifti::write(&path, &Volume::new(grid, places.map(value).collect()), &header).unwrap();
        path
    }

    /// A number from 0 to 1 that looks like chance.
    fn noise([i, j, k]: [usize; 3]) -> f32 {
        ((i * 7919 + j * 104_729 + k * 1_299_709) % 1009) as f32 / 1009.0
    }

    fn inside([i, j, k]: [usize; 3]) -> bool {
        (5..15).contains(&i) && (4..16).contains(&j) && (2..8).contains(&k)
    }

    #[test]
    fn what_masks_are_stored_as_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let expected = 10 * 12 * 6;
        let count = |mask: &Volume<bool>| mask.voxels().iter().filter(|&&inside| inside).count();
        // One value, also as a scaling in the header leaves it.
        for value in [1.0, 255.0, 7.0, 0.999_9, 1.000_1, 0.003_921_57, 0.000_02, 0.4] {
            let path = written(&folder, |at| if inside(at) { value } else { 0.0 });
            assert_eq!(
                (count(&read(&path).unwrap().inside), count(&read_brain(&path).unwrap())),
                (expected, expected),
                "{value}"
            );
        }
        let labels = written(&folder, |at| if inside(at) { (1 + at[0] % 3) as f32 } else { 0.0 });
        let mask = read(&labels).unwrap();
        assert_eq!((count(&mask.inside), &mask.labels[..]), (expected, &[1.0, 2.0, 3.0][..]));
        // Regions of many labels, as an atlas has.
        let atlas = written(&folder, |[_, j, k]| (1 + j / 2 + 10 * k) as f32);
        assert_eq!(read(&atlas).unwrap().labels.len(), 100);
        let all = written(&folder, |_| 1.0);
        assert_eq!(count(&read(&all).unwrap().inside), 4000);
        let none = written(&folder, |_| 0.0);
        assert_eq!(count(&read(&none).unwrap().inside), 0);
        assert!(read_brain(&none).unwrap_err().to_string().contains("given.nii: it holds no brain"));
    }

    #[test]
    fn scans_and_probabilities_are_no_masks() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |value: &dyn Fn([usize; 3]) -> f32, what: &str| {
            let path = written(&folder, value);
            for error in [read(&path).err(), read_brain(&path).err()] {
                let said = error.map_or_else(|| format!("it is taken, for {what}"), |error| error.to_string());
                assert!(said.contains("given.nii: it is no mask") && said.contains(what) && said.contains("give "), "{said}");
            }
        };
        let hu = |at| if inside(at) { (20.0 + 40.0 * noise(at)).round() } else { -1000.0 };
        refused(&hu, "from -1000 to 60, as a scan does");
        refused(&|at| if inside(at) { 60.0 } else { -5.0 }, "2 different values from -5 to 60");
        // A brain alone, a window of it as a picture has it, HU plus 1024, and one between 0 and 1.
        refused(&|at| hu(at).max(0.0), "from 0 to 60, as an image does");
        refused(&|at| (255.0 * noise(at)).round(), "as an image does");
        refused(&|at| hu(at) + 1024.0, "from 24 to 1084");
        refused(&|at| if inside(at) { 0.3 + 0.3 * noise(at) } else { 0.0 }, "as a probability does");
        refused(&|at| if at == [0, 0, 0] { f32::NAN } else { 1.0 }, "no numbers (NaN or infinite)");
        refused(&|_| 0.4, "every voxel is 0.4, as a probability does");
    }

    #[test]
    fn a_soft_brain_mask_is_cut_at_one_half_and_a_soft_hemorrhage_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(&folder, |at| match at[0] {
            0..5 => 0.0,
            5 => 0.25 + 0.01 * at[1] as f32,
            6 => 0.51 + 0.01 * at[1] as f32,
            _ => 1.0,
        });
        assert_eq!(read_brain(&path).unwrap().voxels().iter().filter(|&&inside| inside).count(), 14 * 200);
        assert!(read(&path).unwrap_err().to_string().contains("cut it at its threshold first"));
    }
}
