//! Mutual information of two brains as a smooth function of the pose, with its derivative (Mattes et al., IEEE Trans
//! Med Imaging 22:120, 2003).
//!
//! The joint histogram counts every template voxel that is brain in the template or in the moved scan. A count is a
//! zero-order window along the template's HU and a cubic B-spline along the scan's, so the histogram is differentiable
//! in the scan's HU and, through the trilinear sampler, in the pose. With h(f, m) the counts, N their sum and
//! L = ln(h(f, m) N / (h(f) h(m))):
//!
//! ```text
//! MI  = sum of h L / N
//! dMI = sum of dh (L - MI) / N
//! ```
//!
//! The second line holds for any dh, those that change N included, because the terms from L's own change cancel.
//!
//! Counting only where there is brain has a flaw: two brains that lie side by side, none on the other, tell much about
//! each other (where one is, the other is not), more than two that overlap badly. So [`Domain::Surroundings`] counts empty
//! voxels too, which makes overlap itself worth most. It leads the search to the right place; [`Domain::Brain`], the
//! figure that is reported, has the last word there.

use rayon::prelude::*;

use super::brain::{Brain, HIGHEST_HU, Tissue};
use super::pose::{Lever, Pose, Step};
use crate::volume::{Affine, Grid};

/// Which of the template's voxels the histogram counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Those that are brain in the template or the scan.
    Brain,
    /// As many more, empty in both, as make [`SURROUNDINGS`] times the template's brain in all.
    Surroundings,
}

/// About what a head's bounding box is to its brain.
const SURROUNDINGS: f64 = 4.0;

/// The template's side of the histogram: a bin and a share of brain for each of its voxels.
pub(crate) struct TemplateSamples {
    grid: Grid,
    bins: usize,
    bin: Vec<u8>,
    share: Vec<f32>,
    /// Sum of the shares of each bin's voxels.
    total: Vec<f64>,
    domain: Domain,
}

impl TemplateSamples {
    /// The template as every `stride`-th voxel of `brain` along each axis, with `bins` (at most 256) bins over
    /// 0..100 HU.
    pub(crate) fn new(brain: &Brain, stride: [usize; 3], bins: usize, domain: Domain) -> Self {
        let shape = [0, 1, 2].map(|axis| brain.grid.shape[axis].div_ceil(stride[axis]));
        let mut matrix = [[0.0; 3]; 3];
        (0..3).for_each(|axis| matrix[axis][axis] = stride[axis] as f64);
        let grid = Grid { shape, affine: brain.grid.affine.after(&Affine::new(matrix, [0.0; 3])) };
        let (mut bin, mut share, mut total) = (Vec::with_capacity(grid.len()), Vec::with_capacity(grid.len()), vec![0.0; bins]);
        for k in 0..shape[2] {
            for j in 0..shape[1] {
                for i in 0..shape[0] {
                    let tissue = brain.tissue[brain.grid.index([i * stride[0], j * stride[1], k * stride[2]])];
                    let place = ((tissue.hu / HIGHEST_HU * bins as f32) as usize).min(bins - 1);
                    total[place] += f64::from(tissue.share);
                    bin.push(place as u8);
                    share.push(tissue.share);
                }
            }
        }
        TemplateSamples { grid, bins, bin, share, total, domain }
    }
}

/// The mutual information of a template and a scan's brain.
pub(crate) struct Metric<'a> {
    template: &'a TemplateSamples,
    scan: &'a Brain,
    world_to_scan: Affine,
    lever: Lever,
}

/// The cubic B-spline reaches one bin beyond the lowest and two beyond the highest.
const SPLINE_MARGIN: usize = 4;

/// A template voxel that meets the moved brain.
struct Meeting {
    /// Indices (i, j) of the template's voxel.
    ij: [usize; 2],
    /// The template's bin.
    bin: usize,
    template_share: f32,
    scan: Tissue,
    /// How `scan` changes with the scan's voxel coordinates.
    slope: [Tissue; 3],
}

impl Meeting {
    /// How much this voxel counts: the chance that it is brain in one or the other.
    fn weight(&self) -> f32 {
        self.template_share + (1.0 - self.template_share) * self.scan.share
    }
}

impl<'a> Metric<'a> {
    /// The metric of `scan` against `template`; `None` where the scan's affine is singular.
    pub(crate) fn new(template: &'a TemplateSamples, scan: &'a Brain, lever: Lever) -> Option<Self> {
        Some(Metric { template, scan, world_to_scan: scan.grid.affine.inverse()?, lever })
    }

    /// Mutual information in nats.
    pub(crate) fn value(&self, pose: &Pose) -> f64 {
        Information::new(&self.histogram(&self.index_map(pose)), self.template.bins).mutual
    }

    /// Mutual information in nats and its derivative by a [`Step`] from `pose`.
    pub(crate) fn value_and_gradient(&self, pose: &Pose) -> (f64, Step) {
        let map = self.index_map(pose);
        let information = Information::new(&self.histogram(&map), self.template.bins);
        let parts = self.slices(|k| self.slice_gradient(&map, k, &information));
        let mut by_scan_index = [[0.0; 4]; 3];
        for part in parts {
            for r in 0..3 {
                (0..4).for_each(|c| by_scan_index[r][c] += part[r][c]);
            }
        }
        // From derivatives by scan voxel coordinates and template indices to those by millimetres.
        let inward = self.world_to_scan.matrix();
        let place = &self.template.grid.affine.rows;
        let centre = pose.centre();
        let mut by_rows = [[0.0; 4]; 3];
        for r in 0..3 {
            let force: [f64; 4] = std::array::from_fn(|c| (0..3).map(|s| inward[s][r] * by_scan_index[s][c]).sum());
            for c in 0..3 {
                by_rows[r][c] = (0..4).map(|n| force[n] * place[c][n]).sum::<f64>() - force[3] * centre[c];
            }
            by_rows[r][3] = force[3];
        }
        (information.mutual, pose.gradient(&by_rows, &self.lever))
    }

    /// `f` of each slice of the template, in order.
    fn slices<T: Send>(&self, f: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
        (0..self.template.grid.shape[2]).into_par_iter().map(f).collect()
    }

    /// Takes indices of the template to voxel coordinates of the scan.
    fn index_map(&self, pose: &Pose) -> Affine {
        self.world_to_scan.after(&pose.affine()).after(&self.template.grid.affine)
    }

    /// Calls `f` with every voxel of slice `k` of the template that meets the scan's brain.
    #[inline(always)]
    fn each_meeting(&self, map: &Affine, k: usize, mut f: impl FnMut(Meeting)) {
        let [ni, nj, _] = self.template.grid.shape;
        let shape = self.scan.grid.shape;
        let stride = [shape[0], shape[0] * shape[1]];
        let last_cell = shape.map(|side| side as i32 - 2);
        let step = map.rows.map(|r| r[0]);
        for j in 0..nj {
            let start = map.apply([0.0, j as f64, k as f64]);
            let row = self.template.grid.index([0, j, k]);
            let (first, last) = inside(start, step, shape, ni);
            let (start, step) = (start.map(|x| x as f32), step.map(|x| x as f32));
            for i in first..last {
                let p = [0, 1, 2].map(|axis| start[axis] + i as f32 * step[axis]);
                // The cast is a floor: `inside` keeps every coordinate at 0 or above. On a line that runs along a face of the grid,
                // single precision may put a point on the last centre, whose cell is the one before.
                let base = [0, 1, 2].map(|axis| (p[axis] as i32).min(last_cell[axis]));
                let t = [0, 1, 2].map(|axis| p[axis] - base[axis] as f32);
                let corner = base[0] as usize + stride[0] * base[1] as usize + stride[1] * base[2] as usize;
                let (scan, slope) = trilinear(&self.scan.tissue[corner..], stride, t);
                if scan.share > 0.0 {
                    let bin = usize::from(self.template.bin[row + i]);
                    f(Meeting { ij: [i, j], bin, template_share: self.template.share[row + i], scan, slope });
                }
            }
        }
    }

    /// The joint histogram, one row for each of the template's bins.
    fn histogram(&self, map: &Affine) -> Vec<f64> {
        let bins = self.template.bins;
        let width = bins + SPLINE_MARGIN;
        let parts = self.slices(|k| {
            let mut counts = vec![0.0_f32; bins * width];
            let mut met = vec![0.0_f32; bins];
            self.each_meeting(map, k, |meeting| {
                let (first, window) = spline(meeting.scan.hu, bins);
                let weight = meeting.weight();
                let row = meeting.bin * width + first;
                for (count, w) in counts[row..row + 4].iter_mut().zip(window) {
                    *count += weight * w;
                }
                met[meeting.bin] += meeting.template_share;
            });
            (counts, met)
        });
        let mut counts = vec![0.0; bins * width];
        let mut alone = self.template.total.clone();
        for (part, met) in &parts {
            counts.iter_mut().zip(part).for_each(|(c, p)| *c += f64::from(*p));
            alone.iter_mut().zip(met).for_each(|(a, m)| *a -= f64::from(*m));
        }
        // Template brain that meets none of the scan's lies at 0 HU of the scan.
        let (first, window) = spline(0.0, bins);
        for (bin, &alone) in alone.iter().enumerate() {
            for (n, w) in window.into_iter().enumerate() {
                // Rounding may leave a trace below 0 where a bin's voxels all meet the scan.
                counts[bin * width + first + n] += alone.max(0.0) * f64::from(w);
            }
        }
        if self.template.domain == Domain::Surroundings {
            let all = SURROUNDINGS * self.template.total.iter().sum::<f64>();
            let empty = (all - counts.iter().sum::<f64>()).max(0.0);
            for (n, w) in window.into_iter().enumerate() {
                counts[first + n] += empty * f64::from(w);
            }
        }
        counts
    }

    /// The derivative of the mutual information by scan voxel coordinates, times the template's indices (i, j, k, 1),
    /// summed over the meetings of slice `k`.
    fn slice_gradient(&self, map: &Affine, k: usize, information: &Information) -> [[f64; 4]; 3] {
        let bins = self.template.bins;
        // Among surroundings, a voxel that becomes brain is one empty voxel less.
        let by_empty = match self.template.domain {
            Domain::Brain => 0.0,
            Domain::Surroundings => spline(0.0, bins).1.iter().zip(&information.gain).map(|(w, gain)| w * gain).sum::<f32>(),
        };
        let mut sum = [[0.0; 4]; 3];
        self.each_meeting(map, k, |meeting| {
            let (first, window) = spline(meeting.scan.hu, bins);
            let row = meeting.bin * (bins + SPLINE_MARGIN) + first;
            let gain = &information.gain[row..row + 4];
            let slope = spline_slope(meeting.scan.hu, bins);
            let by_hu = meeting.weight() * (0..4).map(|n| slope[n] * gain[n]).sum::<f32>();
            let by_weight = (0..4).map(|n| window[n] * gain[n]).sum::<f32>() - by_empty;
            let by_share = (1.0 - meeting.template_share) * by_weight;
            for (sum, slope) in sum.iter_mut().zip(meeting.slope) {
                let force = f64::from(by_hu * slope.hu + by_share * slope.share);
                sum[0] += force * meeting.ij[0] as f64;
                sum[1] += force * meeting.ij[1] as f64;
                sum[3] += force;
            }
        });
        sum.iter_mut().for_each(|row| row[2] = row[3] * k as f64);
        sum
    }
}

/// Trilinear interpolation and its slope along i, j and k at `t` (0..1 each) in the cell whose first corner is the first
/// of `tissue`, in a grid with `stride` voxels from one j and k to the next.
#[inline(always)]
fn trilinear(tissue: &[Tissue], [dj, dk]: [usize; 2], t: [f32; 3]) -> (Tissue, [Tissue; 3]) {
    // Four lanes: HU and share of two voxels that are neighbours along i. These mix along j and k at once, i comes last.
    let pair = |offset: usize| {
        let [a, b] = [tissue[offset], tissue[offset + 1]];
        [a.hu, a.share, b.hu, b.share]
    };
    let (e00, e10, e01, e11) = (pair(0), pair(dj), pair(dk), pair(dk + dj));
    let less = |a: [f32; 4], b: [f32; 4]| -> [f32; 4] { std::array::from_fn(|n| a[n] - b[n]) };
    let along = |a: [f32; 4], slope: [f32; 4], t: f32| -> [f32; 4] { std::array::from_fn(|n| a[n] + slope[n] * t) };
    let (j0, j1) = (less(e10, e00), less(e11, e01));
    let (y0, y1) = (along(e00, j0, t[1]), along(e01, j1, t[1]));
    let k = less(y1, y0);
    let j = along(j0, less(j1, j0), t[2]);
    let value = along(y0, k, t[2]);
    let across = |v: [f32; 4]| Tissue { hu: v[0] + (v[2] - v[0]) * t[0], share: v[1] + (v[3] - v[1]) * t[0] };
    (across(value), [Tissue { hu: value[2] - value[0], share: value[3] - value[1] }, across(j), across(k)])
}

/// The indices `first..last` of a line of `count` points, `start + n step`, that lie between the outermost voxel centres
/// of a grid of `shape`.
fn inside(start: [f64; 3], step: [f64; 3], shape: [usize; 3], count: usize) -> (usize, usize) {
    let (mut first, mut last) = (0.0_f64, count as f64 - 1.0);
    for axis in 0..3 {
        let high = shape[axis] as f64 - 1.0;
        if step[axis].abs() < 1e-12 {
            if !(0.0..high).contains(&start[axis]) {
                return (0, 0);
            }
        } else {
            let (a, b) = (-start[axis] / step[axis], (high - start[axis]) / step[axis]);
            // A hair inside, so that rounding puts no point on the last centre or beyond: its cell has no far corner.
            first = first.max(a.min(b) + 1e-3);
            last = last.min(a.max(b) - 1e-3);
        }
    }
    let (first, last) = (first.ceil(), last.floor());
    if first > last { (0, 0) } else { (first as usize, last as usize + 1) }
}

/// The first scan bin that `hu` counts in and the four weights of the cubic B-spline from there on.
fn spline(hu: f32, bins: usize) -> (usize, [f32; 4]) {
    let (first, t) = spline_place(hu, bins);
    let s = 1.0 - t;
    let sixth = 1.0 / 6.0;
    let middle = |t: f32| (4.0 - 6.0 * t * t + 3.0 * t * t * t) * sixth;
    (first, [s * s * s * sixth, middle(t), middle(s), t * t * t * sixth])
}

/// The derivatives of [`spline`]'s weights by HU.
fn spline_slope(hu: f32, bins: usize) -> [f32; 4] {
    let (_, t) = spline_place(hu, bins);
    let s = 1.0 - t;
    let scale = bins as f32 / HIGHEST_HU;
    let middle = |t: f32| (-2.0 * t + 1.5 * t * t) * scale;
    [-0.5 * s * s * scale, middle(t), -middle(s), 0.5 * t * t * scale]
}

/// The first of the four bins that `hu` (0..100) counts in and the place, 0..1, between the second and the third.
fn spline_place(hu: f32, bins: usize) -> (usize, f32) {
    let place = hu / HIGHEST_HU * bins as f32;
    let first = (place as usize).min(bins);
    (first, place - first as f32)
}

/// Mutual information and what one more count in a bin changes of it.
struct Information {
    mutual: f64,
    /// (L - MI) / N of each bin.
    gain: Vec<f32>,
}

impl Information {
    /// From joint counts with one row for each of the template's `bins`.
    fn new(counts: &[f64], bins: usize) -> Self {
        let width = counts.len() / bins;
        let rows: Vec<f64> = counts.chunks(width).map(|row| row.iter().sum()).collect();
        let columns: Vec<f64> = (0..width).map(|m| counts.iter().skip(m).step_by(width).sum()).collect();
        let total: f64 = rows.iter().sum();
        let mut mutual = 0.0;
        let mut gain = vec![0.0; counts.len()];
        for (f, row) in counts.chunks(width).enumerate() {
            for (m, &count) in row.iter().enumerate() {
                // A bin that nothing counts in has no derivative either: no window reaches it.
                if count > 0.0 {
                    let information = (count * total / (rows[f] * columns[m])).ln();
                    mutual += count * information / total;
                    gain[f * width + m] = information;
                }
            }
        }
        Information { mutual, gain: gain.into_iter().map(|g| ((g - mutual) / total) as f32).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::template;
    use crate::volume::Volume;

    /// A box of tissue whose HU changes smoothly along all axes, on a turned grid.
    fn box_of_tissue(shape: [usize; 3], affine: Affine) -> Brain {
        let grid = Grid { shape, affine };
        let mut voxels = vec![0.0; grid.len()];
        for k in 2..shape[2] - 2 {
            for j in 2..shape[1] - 2 {
                for i in 2..shape[0] - 2 {
                    let p = grid.affine.apply([i as f64, j as f64, k as f64]).map(|x| x as f32);
                    voxels[grid.index([i, j, k])] = 40.0 + 15.0 * (0.2 * p[0]).sin() + 10.0 * (0.15 * p[1] + 0.1 * p[2]).cos();
                }
            }
        }
        Brain::new(&Volume::new(grid, voxels), 0.0).unwrap()
    }

    const LEVER: Lever = [20.0, 20.0, 20.0];

    #[test]
    fn derivative_agrees_with_finite_differences() {
        let straight = Affine::new([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], [-30.0, -30.0, -30.0]);
        let turned = Affine::new([[-0.0, 2.0, 0.0], [2.2, 0.0, 0.3], [0.0, -0.2, 2.5]], [-28.0, -31.0, -29.0]);
        let scan = box_of_tissue([30, 28, 26], turned).smoothed(2.0);
        let pose = Pose::new([1.0, 2.0, -1.0], [3.0, 0.0, 2.0], [0.1, -0.15, 0.2]);
        for domain in [Domain::Brain, Domain::Surroundings] {
            let template = TemplateSamples::new(&box_of_tissue([31, 29, 30], straight).smoothed(2.0), [1, 2, 1], 24, domain);
            let metric = Metric::new(&template, &scan, LEVER).unwrap();
            let (value, gradient) = metric.value_and_gradient(&pose);
            assert_eq!(value, metric.value(&pose));
            let steepness = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            for n in 0..6 {
                // The sampler has kinks at cell borders; over a tenth of a voxel they average out.
                let mut step = [0.0; 6];
                step[n] = 0.1;
                let ahead = metric.value(&pose.moved(&step, &LEVER));
                step[n] = -0.1;
                let difference = (ahead - metric.value(&pose.moved(&step, &LEVER))) / 0.2;
                let error = (gradient[n] - difference).abs();
                assert!(error < 0.02 * steepness, "{domain:?} {n}: {} and {difference}", gradient[n]);
            }
        }
    }

    #[test]
    fn surroundings_make_overlap_worth_more_than_lying_side_by_side() {
        let brain = Brain::new(&template::built_in(), 6.0).unwrap();
        let (centre, lever) = (brain.centre(), brain.lever(brain.centre()));
        let turned = Pose::new(centre, centre, [0.5, 0.5, 0.5]);
        let beside = Pose::new(centre, [centre[0] + 70.0, centre[1] - 90.0, centre[2]], [0.0; 3]);
        let better = |domain: Domain| {
            let template = TemplateSamples::new(&brain, [1; 3], 32, domain);
            let metric = Metric::new(&template, &brain, lever).unwrap();
            metric.value(&turned) - metric.value(&beside)
        };
        assert!(better(Domain::Surroundings) > 0.0);
        assert!(better(Domain::Brain) < 0.0);
    }

    #[test]
    fn a_line_along_the_last_face_stays_in_the_grid() {
        // So close to the last centres, and so nearly parallel to them, that single precision rounds onto them.
        let straight = Affine::new([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]], [-30.0, -30.0, -30.0]);
        let scan = box_of_tissue([24, 24, 24], straight).smoothed(2.0);
        let high = scan.grid.shape.map(|side| side as f64 - 1.0);
        let template = TemplateSamples::new(&box_of_tissue([24, 24, 24], straight).smoothed(2.0), [1; 3], 24, Domain::Brain);
        let metric = Metric::new(&template, &scan, LEVER).unwrap();
        for axis in 1..3 {
            let mut rows = Affine::IDENTITY.rows;
            rows[axis] = [1e-9, 0.0, 0.0, high[axis] - 1e-7];
            let onto_face = Affine { rows };
            (0..template.grid.shape[2])
                .for_each(|k| metric.each_meeting(&onto_face, k, |meeting| assert!(meeting.scan.hu >= 0.0)));
        }
    }

    #[test]
    fn is_highest_where_a_brain_lies_on_itself_and_low_far_away() {
        let brain = Brain::new(&template::built_in(), 6.0).unwrap();
        let template = TemplateSamples::new(&brain, [1; 3], 32, Domain::Brain);
        let centre = brain.centre();
        let metric = Metric::new(&template, &brain, brain.lever(centre)).unwrap();
        let here = Pose::new(centre, centre, [0.0; 3]);
        let best = metric.value(&here);
        for n in 0..6 {
            for length in [-8.0, 8.0] {
                let mut step = [0.0; 6];
                step[n] = length;
                let there = metric.value(&here.moved(&step, &brain.lever(centre)));
                assert!(there < 0.9 * best, "component {n}: {there} of {best}");
            }
        }
        let beyond = Pose::new(centre, [1000.0, 0.0, 0.0], [0.0; 3]);
        let (value, gradient) = metric.value_and_gradient(&beyond);
        assert!(value.abs() < 1e-9 && gradient == [0.0; 6], "{value} {gradient:?}");
    }

    #[test]
    fn spline_weights_sum_to_one_and_move_with_the_value() {
        for n in 0..=1000 {
            let hu = n as f32 * 0.1;
            let (first, window) = spline(hu, 32);
            assert!((window.iter().sum::<f32>() - 1.0).abs() < 1e-6 && first + 4 <= 32 + SPLINE_MARGIN);
            // The weights' centre is the value, one bin in.
            let centre: f32 = window.iter().enumerate().map(|(m, w)| (first + m) as f32 * w).sum();
            assert!((centre - 1.0 - hu * 0.32).abs() < 1e-4);
            assert!(spline_slope(hu, 32).iter().sum::<f32>().abs() < 1e-6);
        }
        let (ahead, behind) = (spline(40.01, 32).1, spline(39.99, 32).1);
        let slope = spline_slope(40.0, 32);
        for n in 0..4 {
            assert!((slope[n] - (ahead[n] - behind[n]) / 0.02).abs() < 1e-3);
        }
    }

    #[test]
    fn a_line_is_cut_where_it_leaves_the_grid() {
        assert_eq!(inside([-2.5, 1.0, 1.0], [1.0, 0.0, 0.0], [5, 3, 3], 20), (3, 7));
        assert_eq!(inside([6.5, 1.0, 1.0], [-1.0, 0.0, 0.0], [5, 3, 3], 20), (3, 7));
        assert_eq!(inside([0.5, 4.0, 1.0], [1.0, 0.0, 0.0], [5, 3, 3], 20), (0, 0));
        assert_eq!(inside([0.5, 0.5, 0.5], [0.1, 0.1, 0.2], [5, 3, 3], 4), (0, 4));
        assert_eq!(inside([9.0, 0.5, 0.5], [1.0, 0.0, 0.0], [5, 3, 3], 4), (0, 0));
    }
}
