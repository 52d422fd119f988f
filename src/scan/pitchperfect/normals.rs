//! Mean and standard deviation of healthy brains, place by place: what the feature `zscore_template` compares with.
//!
//! The images that the original compares with are not published. These are made of scans without blood, by
//! `ichor pitchperfect normals`; the built-in ones of generated heads (docs/pitchperfect.md). They are of `win_z`, not of HU:
//! scanners and generated heads differ by an offset and in contrast, and a brain's own middle values take both out.

use super::brain::Brain;
use super::features::winsorised_z_score;
use crate::io::atomic;
use crate::scan::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// What a file of them begins with.
const FORMAT: &str = "ichor-normals-1";
/// The cells: 20 x 24 x 23 of 8 mm. The midline plane of the built-in template lies between two of them.
const SHAPE: [usize; 3] = [20, 24, 23];
/// Side of a cell in mm.
const CELL_MM: f64 = 8.0;
/// Centre of the first cell, RAS mm in the world of the built-in template.
const FIRST: [f64; 3] = [-70.75, -121.75, -67.75];
/// Voxels of 1 mm that a cell must have had from all heads together; a cell with fewer has the values of the whole brain.
const FEWEST: f64 = 200.0;
/// Longest file that is read, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// The least standard deviation.
const LEAST_DEVIATION: f64 = 0.1;
/// What `zscore_template` is of the z-score at the same place: this times it, and this added. The coefficient of the model is
/// of z-scores by the original's images, in which a brain varies more and lies lower than in these. Chosen on generated heads
/// and on bleeds put into a real head (docs/pitchperfect.md).
const CALIBRATION: [f32; 2] = [0.9, -1.8];

/// The built-in ones.
const BUILT_IN: &str = include_str!("normals.json");

/// Mean and standard deviation of `win_z` in cells of the template's world.
#[derive(Clone, Debug, PartialEq)]
pub struct Normals {
    heads: usize,
    /// i fastest.
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// How they lie in a file: hundredths.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    heads: usize,
    mean_hundredths: Vec<i16>,
    deviation_hundredths: Vec<u16>,
}

impl Normals {
    /// Those of generated heads.
    pub fn built_in() -> &'static Normals {
        static NORMALS: LazyLock<Normals> =
            LazyLock::new(|| Normals::parse(BUILT_IN.as_bytes()).expect("the built-in file was tested"));
        &NORMALS
    }

    /// Those in a file that [`Normals::write`] made.
    ///
    /// # Errors
    /// [`Error::Scan`] where the file cannot be read or is none.
    pub fn read(path: &Path) -> Result<Normals> {
        let problem = |problem: String| Error::Scan { path: path.to_path_buf(), problem };
        let length = fs::metadata(path).map_err(|error| problem(error.to_string()))?.len();
        if length > MOST_BYTES {
            return Err(problem("it is no file of normals: it is too long; ichor pitchperfect normals makes one".into()));
        }
        let text = fs::read(path).map_err(|error| problem(error.to_string()))?;
        Normals::parse(&text)
            .map_err(|why| problem(format!("it is no file of normals: {why}; ichor pitchperfect normals makes one")))
    }

    fn parse(text: &[u8]) -> std::result::Result<Normals, String> {
        let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let cells: usize = SHAPE.iter().product();
        if file.format != FORMAT {
            return Err(format!("its format is {:?}, not {FORMAT:?}", file.format));
        }
        if [file.mean_hundredths.len(), file.deviation_hundredths.len()] != [cells; 2] {
            return Err(format!("it has not {cells} values of each kind"));
        }
        if file.deviation_hundredths.contains(&0) {
            return Err("a standard deviation is 0".into());
        }
        Ok(Normals {
            heads: file.heads,
            mean: file.mean_hundredths.into_iter().map(|value| f32::from(value) / 100.0).collect(),
            deviation: file.deviation_hundredths.into_iter().map(|value| f32::from(value) / 100.0).collect(),
        })
    }

    /// Writes a file of them.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.to_json();
        Ok(atomic::write(path, |file| writeln!(file, "{text}"))?)
    }

    /// The text of a file of them.
    pub(super) fn to_json(&self) -> String {
        let file = File {
            format: FORMAT.into(),
            heads: self.heads,
            mean_hundredths: self.mean.iter().map(|&value| (value * 100.0).round() as i16).collect(),
            deviation_hundredths: self.deviation.iter().map(|&value| (value * 100.0).round() as u16).collect(),
        };
        serde_json::to_string(&file).expect("numbers and text")
    }

    /// How many heads they were made of.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// `zscore_template`: 0.9 (win_z - mean) / SD - 1.8, with mean and SD of healthy brains' `win_z` at the same place, linear
    /// between the centres of the cells. `win_z` is that of the voxels `at`.
    pub(super) fn z_score(&self, brain: &Brain, win_z: &[f32], at: &[u32]) -> Vec<f32> {
        let [times, plus] = CALIBRATION;
        let score = |(&voxel, win_z): (&u32, &f32)| {
            let [mean, deviation] = self.at(brain.grid().world(voxel as usize));
            times * (win_z - mean) / deviation + plus
        };
        at.par_iter().zip(win_z).map(score).collect()
    }

    /// Mean and standard deviation at a point, RAS mm; beyond the outermost centres these go on.
    fn at(&self, p: [f64; 3]) -> [f32; 2] {
        let place: [f32; 3] =
            std::array::from_fn(|axis| (((p[axis] - FIRST[axis]) / CELL_MM) as f32).clamp(0.0, (SHAPE[axis] - 1) as f32));
        let base: [usize; 3] = std::array::from_fn(|axis| (place[axis] as usize).min(SHAPE[axis] - 2));
        let part: [f32; 3] = std::array::from_fn(|axis| place[axis] - base[axis] as f32);
        let first = base[0] + SHAPE[0] * (base[1] + SHAPE[1] * base[2]);
        let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
        let of = |values: &[f32]| {
            let row = |from: usize| mix(values[from], values[from + 1], part[0]);
            let slice = |from: usize| mix(row(from), row(from + SHAPE[0]), part[1]);
            mix(slice(first), slice(first + SHAPE[0] * SHAPE[1]), part[2])
        };
        [of(&self.mean), of(&self.deviation)]
    }
}

/// Sums over healthy brains, of which [`Normals`] come.
#[derive(Debug)]
pub struct Sums {
    heads: usize,
    /// Number of voxels, sum of `win_z` and of its squares in each cell.
    cells: Vec<[f64; 3]>,
}

impl Default for Sums {
    fn default() -> Sums {
        Sums { heads: 0, cells: vec![[0.0; 3]; SHAPE.iter().product()] }
    }
}

impl Sums {
    /// Adds a brain.
    pub fn add(&mut self, brain: &Brain) {
        self.heads += 1;
        for (&voxel, win_z) in brain.voxels().iter().zip(winsorised_z_score(brain, brain.voxels())) {
            let p = brain.grid().world(voxel as usize);
            let cell: [f64; 3] = std::array::from_fn(|axis| ((p[axis] - FIRST[axis]) / CELL_MM).round());
            if (0..3).all(|axis| (0.0..SHAPE[axis] as f64).contains(&cell[axis])) {
                let [i, j, k] = cell.map(|index| index as usize);
                let win_z = f64::from(win_z);
                let sums = &mut self.cells[i + SHAPE[0] * (j + SHAPE[1] * k)];
                [1.0, win_z, win_z * win_z].iter().zip(sums).for_each(|(value, sum)| *sum += value);
            }
        }
    }

    /// Mean and standard deviation of each cell over the voxels of all heads, both hemispheres taken together: a
    /// generated or a single head is not the same on both sides by chance alone.
    pub fn normals(&self) -> Normals {
        let [ni, nj, _] = SHAPE;
        let add = |a: [f64; 3], b: [f64; 3]| [0, 1, 2].map(|n| a[n] + b[n]);
        let whole = self.cells.iter().fold([0.0; 3], |sum, &cell| add(sum, cell));
        let of = |cell: usize| {
            let mirrored = cell / ni * ni + (ni - 1 - cell % ni);
            let both = add(self.cells[cell], self.cells[mirrored]);
            let [count, sum, squares] = if both[0] < FEWEST { whole } else { both };
            let mean = sum / count.max(1.0);
            let variance = (squares / count.max(1.0) - mean * mean).max(0.0);
            [mean as f32, variance.sqrt().max(LEAST_DEVIATION) as f32]
        };
        let cells: Vec<[f32; 2]> = (0..ni * nj * SHAPE[2]).map(of).collect();
        Normals {
            heads: self.heads,
            mean: cells.iter().map(|cell| cell[0]).collect(),
            deviation: cells.iter().map(|cell| cell[1]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::brain::testing::block;
    use super::*;

    /// Cells of these means and a deviation of 2.
    fn normals(mean: impl Fn([usize; 3]) -> f32) -> Normals {
        let cells = SHAPE.iter().product();
        let ijk = |n: usize| [n % SHAPE[0], n / SHAPE[0] % SHAPE[1], n / SHAPE[0] / SHAPE[1]];
        Normals { heads: 3, mean: (0..cells).map(|n| mean(ijk(n))).collect(), deviation: vec![2.0; cells] }
    }

    #[test]
    fn values_lie_between_the_centres_of_cells_and_go_on_beyond_them() {
        let normals = normals(|[i, j, k]| i as f32 + 10.0 * j as f32 + 100.0 * k as f32);
        let [x, y, z] = FIRST;
        for (p, mean) in [
            ([x, y, z], 0.0),
            ([x + 4.0, y, z], 0.5),
            ([x + 8.0, y + 16.0, z + 4.0], 71.0),
            ([x - 50.0, y, z], 0.0),
            ([x + 500.0, y, z], 19.0),
        ] {
            assert_eq!(normals.at(p), [mean, 2.0], "{p:?}");
        }
    }

    #[test]
    fn means_and_deviations_are_those_of_all_voxels_of_a_cell() {
        // Values of two kinds along i, with the mean 35 and the deviation 5: win_z is -1 or 1, but for the divisor n - 1.
        let brain = block([21, 21, 21], 1.0, 0, |[i, ..]| if i % 2 == 0 { 30.0 } else { 40.0 });
        let mut sums = Sums::default();
        sums.add(&brain);
        sums.add(&brain);
        let normals = sums.normals();
        assert_eq!(normals.heads(), 2);
        let [mean, deviation] = normals.at([10.0; 3]);
        assert!(mean.abs() < 0.2 && (deviation - 1.0).abs() < 0.02, "{mean} {deviation}");
        // Mirrored at the midline plane.
        let mirrored = normals.at([10.5 - 10.0, 10.0, 10.0]);
        assert!((mirrored[0] - mean).abs() < 1e-6 && (mirrored[1] - deviation).abs() < 1e-6);
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("normals.json");
        let normals = normals(|[i, ..]| i as f32 / 4.0 - 2.0);
        normals.write(&path).unwrap();
        assert_eq!(Normals::read(&path).unwrap(), normals);
        let text = fs::read_to_string(&path).unwrap();
        for (from, to) in [("ichor-normals-1", "other"), ("[200,200,", "[200,0,"), ("[200,200,", "[200,"), ("{", "[")] {
            assert!(text.contains(from));
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let said = Normals::read(&path).unwrap_err().to_string();
            assert!(said.contains("normals.json: it is no file of normals"), "{said}");
        }
    }

    #[test]
    fn the_built_in_ones_are_those_of_healthy_brains() {
        let normals = Normals::built_in();
        assert!(normals.heads() >= 30);
        // The ventricles are darker than the thalamus beside them.
        let [ventricle, thalamus] = [[16.0, -15.0, 33.5], [17.0, -27.0, 20.5]].map(|p| normals.at(p)[0]);
        assert!(ventricle < thalamus, "{ventricle} {thalamus}");
    }
}
