//! The features of PItcHPERFeCT (Muschelli et al. 2017, section 2.5), each a function of the brain: E are the voxels that
//! count, v is HU there and 0 elsewhere ([`Brain`]). Each gives a value for each of the voxels asked for.

use super::brain::{Brain, sum};
use rayon::prelude::*;

/// HU of blood: the range of the feature `thresh`.
const BLOOD_HU: [f32; 2] = [40.0, 80.0];
/// Voxels of a neighbourhood: 3 x 3 x 3.
const NEIGHBOURS: f32 = 27.0;
/// A variance below this share of the squared mean is rounding, and there is neither skew nor kurtosis.
const NO_VARIANCE: f32 = 1e-10;

/// What the 27 voxels around each voxel have.
#[derive(Debug, PartialEq)]
pub struct Moments {
    /// `moment1`, HU: the mean of v, zeros outside E counted.
    pub mean: Vec<f32>,
    /// `moment2`, HU^2: m2, the mean squared difference from it.
    pub variance: Vec<f32>,
    /// `skew`: m3 / m2^1.5; 0 where all are equal.
    pub skew: Vec<f32>,
    /// `kurtosis`: m4 / m2^2, 3 for a normal distribution; 0 where all are equal.
    pub kurtosis: Vec<f32>,
    /// `pct_zero_neighbor`: the share with v = 0.
    pub zeros: Vec<f32>,
}

/// `moment1`, `moment2`, `skew`, `kurtosis` and `pct_zero_neighbor` at the voxels `at`: of the 27 voxels around each, with
/// a divisor of 27.
pub fn moments(brain: &Brain, at: &[u32]) -> Moments {
    let each: Vec<[f32; 5]> = at.par_iter().map(|&voxel| moments_of(&neighbours(brain, brain.values(), voxel))).collect();
    let [mean, variance, skew, kurtosis, zeros] = [0, 1, 2, 3, 4].map(|n| each.par_iter().map(|all| all[n]).collect());
    Moments { mean, variance, skew, kurtosis, zeros }
}

fn moments_of(values: &[f32; 27]) -> [f32; 5] {
    let mean = values.iter().sum::<f32>() / NEIGHBOURS;
    let (mut m2, mut m3, mut m4, mut zeros) = (0.0, 0.0, 0.0, 0.0);
    for &value in values {
        let d = value - mean;
        let square = d * d;
        m2 += square;
        m3 += square * d;
        m4 += square * square;
        zeros += f32::from(u8::from(value == 0.0));
    }
    let [m2, m3, m4, zeros] = [m2, m3, m4, zeros].map(|sum| sum / NEIGHBOURS);
    let varies = m2 > NO_VARIANCE * mean * mean;
    let [skew, kurtosis] = if varies { [m3 / (m2 * m2.sqrt()), m4 / (m2 * m2)] } else { [0.0; 2] };
    [mean, m2, skew, kurtosis, zeros]
}

/// The values of the 27 voxels around `voxel`; 0 beyond the grid.
fn neighbours(brain: &Brain, values: &[f32], voxel: u32) -> [f32; 27] {
    let [ni, nj, nk] = brain.grid().shape;
    let [i, j, k] = brain.grid().ijk(voxel as usize);
    let mut found = [0.0; 27];
    if i > 0 && j > 0 && k > 0 && i + 1 < ni && j + 1 < nj && k + 1 < nk {
        for (n, three) in found.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let first = i - 1 + ni * (j + n % 3 - 1 + nj * (k + n / 3 - 1));
            three.copy_from_slice(&values[first..first + 3]);
        }
        return found;
    }
    for (n, value) in found.iter_mut().enumerate() {
        let [i, j, k] = [i + n % 3, j + n / 3 % 3, k + n / 9];
        if i > 0 && j > 0 && k > 0 && i <= ni && j <= nj && k <= nk {
            *value = values[brain.grid().index([i - 1, j - 1, k - 1])];
        }
    }
    found
}

/// `value`, HU: v.
pub fn value(brain: &Brain, at: &[u32]) -> Vec<f32> {
    at.par_iter().map(|&voxel| brain.values()[voxel as usize]).collect()
}

/// `thresh`: 1 where v is from 40 to 80 HU, as blood is, else 0.
pub fn is_bright(brain: &Brain, at: &[u32]) -> Vec<f32> {
    at.par_iter().map(|&voxel| bright(brain.values()[voxel as usize])).collect()
}

/// `pct_thresh`: the mean of `thresh` over the 27 voxels around.
pub fn bright_neighbours(brain: &Brain, at: &[u32]) -> Vec<f32> {
    let share = |&voxel: &u32| neighbours(brain, brain.values(), voxel).iter().map(|&hu| bright(hu)).sum::<f32>() / NEIGHBOURS;
    at.par_iter().map(share).collect()
}

fn bright(hu: f32) -> f32 {
    f32::from(u8::from((BLOOD_HU[0]..=BLOOD_HU[1]).contains(&hu)))
}

/// `zscore1`, `zscore2`, `zscore3` for axis 0, 1, 2: (v - mean) / SD over E within the sagittal, coronal or axial slice that
/// the voxel lies in; the SD has the divisor n - 1. 0 in a slice of one voxel, or of equal ones.
pub fn slice_z_score(brain: &Brain, axis: usize, at: &[u32]) -> Vec<f32> {
    let grid = brain.grid();
    let side = grid.shape[axis];
    // Sums over each slice of this axis: by axial slices, then these in order, so that threads change nothing.
    let sums = |term: &(dyn Fn(usize, f32) -> f64 + Sync)| -> Vec<f64> {
        let [ni, nj, nk] = grid.shape;
        let one = |k: usize| {
            let mut sums = vec![0.0; side];
            for index in ni * nj * k..ni * nj * (k + 1) {
                if brain.inside()[index] {
                    let slice = grid.ijk(index)[axis];
                    sums[slice] += term(slice, brain.values()[index]);
                }
            }
            sums
        };
        let parts: Vec<Vec<f64>> = (0..nk).into_par_iter().map(one).collect();
        (0..side).map(|slice| parts.iter().map(|part| part[slice]).sum()).collect()
    };
    let counts = sums(&|_, _| 1.0);
    let means: Vec<f64> = sums(&|_, hu| f64::from(hu)).iter().zip(&counts).map(|(sum, n)| sum / n).collect();
    let squares = sums(&|slice, hu| (f64::from(hu) - means[slice]).powi(2));
    let deviations: Vec<f64> = squares.iter().zip(&counts).map(|(sum, n)| (sum / (n - 1.0)).sqrt()).collect();
    let score = |&voxel: &u32| {
        let slice = grid.ijk(voxel as usize)[axis];
        z_score(brain.values()[voxel as usize], means[slice], deviations[slice])
    };
    at.par_iter().map(score).collect()
}

fn z_score(hu: f32, mean: f64, deviation: f64) -> f32 {
    let score = ((f64::from(hu) - mean) / deviation) as f32;
    if score.is_finite() { score } else { 0.0 }
}

/// `win_z`: (v - mean) / SD, both of E's values clamped at their 20% and 80% quantiles (linear between order statistics), v
/// itself not. Blood changes neither, so that it stands out however much there is of it.
pub fn winsorised_z_score(brain: &Brain, at: &[u32]) -> Vec<f32> {
    let mut values = brain.inner_values();
    if values.is_empty() {
        return vec![0.0; at.len()];
    }
    let [low, high] = [0.2, 0.8].map(|share| quantile(&mut values, share));
    // What was selected lies in an order that the thread count does not change: the selection is sequential.
    let clamp = |hu: f64| hu.clamp(low, high);
    let count = values.len() as f64;
    let mean = sum(&values, clamp) / count;
    let deviation = (sum(&values, |hu| (clamp(hu) - mean).powi(2)) / (count - 1.0)).sqrt();
    at.par_iter().map(|&voxel| z_score(brain.values()[voxel as usize], mean, deviation)).collect()
}

/// The quantile of a share, linear between the two nearest order statistics, as numpy's and R's default.
fn quantile(values: &mut [f32], share: f64) -> f64 {
    let place = share * (values.len() - 1) as f64;
    let below = place as usize;
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    f64::from(low) + (place - below as f64) * f64::from(high - low)
}

/// `dist_centroid`, mm: the distance from E's centroid.
pub fn distance_to_centroid(brain: &Brain, at: &[u32]) -> Vec<f32> {
    let grid = brain.grid();
    // Sums of indices are whole numbers, so that their order does not matter.
    let add = |a: [u64; 3], b: [u64; 3]| [0, 1, 2].map(|axis| a[axis] + b[axis]);
    let place = |&voxel: &u32| grid.ijk(voxel as usize).map(|index| index as u64);
    let sums = brain.voxels().par_iter().map(place).reduce(|| [0; 3], add);
    let centroid = grid.affine.apply(sums.map(|sum| sum as f64 / brain.voxels().len().max(1) as f64));
    let distance = |&voxel: &u32| {
        let p = grid.world(voxel as usize);
        (0..3).map(|axis| (p[axis] - centroid[axis]).powi(2)).sum::<f64>().sqrt() as f32
    };
    at.par_iter().map(distance).collect()
}

/// `flipped_value`, HU: v minus v of the voxel on the other side, mirrored at the middle of the grid's first axis.
pub fn flipped_difference(brain: &Brain, at: &[u32]) -> Vec<f32> {
    let ni = brain.grid().shape[0];
    let difference = |&voxel: &u32| {
        let (i, row) = (voxel as usize % ni, voxel as usize / ni * ni);
        brain.values()[row + i] - brain.values()[row + ni - 1 - i]
    };
    at.par_iter().map(difference).collect()
}

/// The mean over the 27 voxels around each voxel of a grid of this shape; 0 counts beyond it.
pub fn mean_of_27(values: &[f32], shape: [usize; 3]) -> Vec<f32> {
    let [ni, nj, nk] = shape;
    let mut means = vec![0.0; values.len()];
    means.par_chunks_mut(ni.max(1)).enumerate().for_each(|(row, means)| {
        let (j, k) = (row % nj, row / nj);
        let mut sums = vec![0.0; ni + 2];
        for k in k.saturating_sub(1)..(k + 2).min(nk) {
            for j in j.saturating_sub(1)..(j + 2).min(nj) {
                sums[1..=ni].iter_mut().zip(&values[ni * (j + nj * k)..]).for_each(|(sum, value)| *sum += value);
            }
        }
        for (mean, three) in means.iter_mut().zip(sums.windows(3)) {
            *mean = (three[0] + three[1] + three[2]) / NEIGHBOURS;
        }
    });
    means
}

#[cfg(test)]
mod tests {
    use super::super::brain::testing::block;
    use super::*;

    /// A brain of 40 HU, one voxel of which has 67.
    fn with_one_bright_voxel() -> Brain {
        block([9, 9, 5], 2.0, 1, |at| if at == [4, 4, 2] { 67.0 } else { 40.0 })
    }

    fn index(brain: &Brain, ijk: [usize; 3]) -> u32 {
        brain.grid().index(ijk) as u32
    }

    fn close(got: &[f32], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-4 * expected.abs().max(1.0), "{got} for {expected}");
        }
    }

    #[test]
    fn moments_by_hand() {
        let brain = with_one_bright_voxel();
        // In the middle 26 voxels of 40 and one of 67: the mean is 41, the differences are -1 and 26. At the corner of what
        // counts (2 to 6, 2 to 6, 1 to 3) eight voxels have 40 and 19 have 0.
        let found = moments(&brain, &[index(&brain, [4, 4, 2]), index(&brain, [2, 2, 1])]);
        let middle = [-1.0_f64, 26.0].map(|d| [2, 3, 4].map(|power| d.powi(power)));
        let [m2, m3, m4] = [0, 1, 2].map(|n| (26.0 * middle[0][n] + middle[1][n]) / 27.0);
        let mean = 320.0_f64 / 27.0;
        let corner = |power: i32| (8.0 * (40.0 - mean).powi(power) + 19.0 * (-mean).powi(power)) / 27.0;
        close(&found.mean, &[41.0, mean]);
        close(&found.variance, &[m2, corner(2)]);
        close(&found.skew, &[m3 / m2.powf(1.5), corner(3) / corner(2).powf(1.5)]);
        close(&found.kurtosis, &[m4 / (m2 * m2), corner(4) / corner(2).powi(2)]);
        close(&found.zeros, &[0.0, 19.0 / 27.0]);
        close(&bright_neighbours(&brain, &[index(&brain, [4, 4, 2]), index(&brain, [2, 2, 1])]), &[1.0, 8.0 / 27.0]);
    }

    #[test]
    fn equal_values_have_neither_skew_nor_kurtosis() {
        let brain = block([9, 9, 7], 1.0, 0, |_| 33.3);
        let found = moments(&brain, &[index(&brain, [4, 4, 3])]);
        assert_eq!([found.skew[0], found.kurtosis[0], found.zeros[0]], [0.0; 3]);
        assert!(found.variance[0] < 1e-8);
    }

    #[test]
    fn the_edge_of_the_grid_is_as_zeros_beyond_it() {
        // The lowest slice counts, for the erosion is within slices.
        let brain = block([5, 5, 3], 1.0, 0, |_| 54.0);
        let found = moments(&brain, &[index(&brain, [2, 2, 0]), index(&brain, [1, 1, 0])]);
        close(&found.mean, &[54.0 * 18.0 / 27.0, 54.0 * 8.0 / 27.0]);
        close(&found.zeros, &[9.0 / 27.0, 19.0 / 27.0]);
    }

    #[test]
    fn blood_is_from_40_to_80() {
        let hu = [39.9, 40.0, 80.0, 80.1];
        let brain = block([6, 3, 1], 1.0, 0, |[i, ..]| hu[i.clamp(1, 4) - 1]);
        assert_eq!(brain.voxels().len(), 4);
        assert_eq!(is_bright(&brain, brain.voxels()), [0.0, 1.0, 1.0, 0.0]);
        assert_eq!(value(&brain, brain.voxels()), hu);
    }

    #[test]
    fn z_scores_are_of_the_slice_of_their_axis() {
        // Along each axis the values 10, 20, 30 of three slices; across them all are equal but for one voxel.
        for axis in 0..3 {
            let rim = if axis == 2 { 0 } else { 1 };
            let brain = block([5, 5, 3], 1.0, 0, |at| 10.0 * (at[axis] + 1 - rim) as f32 + f32::from(u8::from(at == [2, 2, 1])));
            let scores = slice_z_score(&brain, axis, brain.voxels());
            for (&voxel, &score) in brain.voxels().iter().zip(&scores) {
                // Nine voxels in a slice; the odd one is 8/9 above the mean, the others are 1/9 below it; SD 1/3.
                let at = brain.grid().ijk(voxel as usize);
                let odd = [2, 2, 1];
                let expected = if at == odd { 8.0 / 3.0 } else { -1.0 / 3.0 };
                let expected = if at[axis] == odd[axis] { expected } else { 0.0 };
                assert!((score - expected).abs() < 1e-5, "axis {axis}, {at:?}: {score}");
            }
        }
    }

    #[test]
    fn the_winsorised_score_by_hand() {
        // Eleven values 0, 10, .. 100: the quantiles are 20 and 80, the mean is 50; clamped there are three times 20 and 80.
        let brain = block([13, 3, 1], 1.0, 0, |[i, ..]| 10.0 * (i.clamp(1, 11) - 1) as f32);
        let squares = 2.0 * (3.0 * 900.0 + 400.0 + 100.0);
        let deviation = (squares / 10.0_f64).sqrt();
        let expected: Vec<f64> = (0..11).map(|n| (10.0 * f64::from(n) - 50.0) / deviation).collect();
        close(&winsorised_z_score(&brain, brain.voxels()), &expected);
        assert_eq!(quantile(&mut [4.0, 1.0, 2.0, 8.0], 0.2), 1.6);
    }

    #[test]
    fn the_distance_is_in_millimetres_and_the_mirror_left_to_right() {
        let brain = block([9, 5, 3], 2.0, 0, |[i, ..]| i as f32);
        let at = [index(&brain, [1, 2, 1]), index(&brain, [4, 3, 2]), index(&brain, [7, 2, 1])];
        close(&distance_to_centroid(&brain, &at), &[6.0, 8.0_f64.sqrt(), 6.0]);
        assert_eq!(flipped_difference(&brain, &at), [-6.0, 0.0, 6.0]);
    }

    #[test]
    fn the_mean_of_27_is_that_of_a_plain_loop() {
        let shape = [4, 3, 5];
        let values: Vec<f32> = (0..60).map(|n| ((n * 37) % 11) as f32).collect();
        let means = mean_of_27(&values, shape);
        let at = |i: i32, j: i32, k: i32| {
            let inside = (0..4).contains(&i) && (0..3).contains(&j) && (0..5).contains(&k);
            if inside { values[(i + 4 * (j + 3 * k)) as usize] } else { 0.0 }
        };
        for (n, mean) in means.iter().enumerate() {
            let [i, j, k] = [n % 4, n / 4 % 3, n / 12].map(|x| x as i32);
            let around = (0..27).map(|m| at(i + m % 3 - 1, j + m / 3 % 3 - 1, k + m / 9 - 1)).sum::<f32>();
            assert!((mean - around / 27.0).abs() < 1e-5);
        }
    }
}
