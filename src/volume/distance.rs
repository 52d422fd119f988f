//! Exact Euclidean distances on a voxel grid, in millimetres.

use rayon::prelude::*;

/// Squared distance in mm² from the centre of every voxel to that of the nearest `true` voxel; infinite where there is none.
///
/// `mask` has `shape` voxels, i fastest; `spacing` is the length of a step along each axis in mm. Axes count as
/// perpendicular. Nothing lies beyond the grid. One pass per axis over lower envelopes of parabolas
/// (Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions, 2012, section 2), so the time does not
/// depend on the distances.
///
/// # Panics
/// When `mask` has not the length that `shape` says.
pub fn distance_squared(mask: &[bool], shape: [usize; 3], spacing: [f64; 3]) -> Vec<f32> {
    let [ni, nj, nk] = shape;
    assert_eq!(mask.len(), ni * nj * nk, "a mask needs one value for each voxel of its shape");
    if mask.is_empty() {
        return Vec::new();
    }
    let [si, sj, sk] = spacing.map(|s| s as f32);
    let plane = ni * nj;
    let mut squared = vec![f32::INFINITY; mask.len()];
    squared.par_chunks_mut(plane).zip(mask.par_chunks(plane)).for_each(|(squared, mask)| {
        for (squared, mask) in squared.chunks_mut(ni).zip(mask.chunks(ni)) {
            along_row(squared, mask, si);
        }
        let mut envelope = Envelope::new(nj);
        let mut line = vec![0.0; nj];
        for i in 0..ni {
            (0..nj).for_each(|j| line[j] = squared[i + ni * j]);
            envelope.transform(&mut line, sj);
            (0..nj).for_each(|j| squared[i + ni * j] = line[j]);
        }
    });
    if nk == 1 {
        return squared;
    }
    // Lines along k are taken for one j at a time into a buffer [j][i][k], so that threads write apart.
    let mut lines = vec![0.0f32; mask.len()];
    lines.par_chunks_mut(ni * nk).enumerate().for_each(|(j, lines)| {
        let mut envelope = Envelope::new(nk);
        for k in 0..nk {
            let row = &squared[ni * (j + nj * k)..][..ni];
            (0..ni).for_each(|i| lines[i * nk + k] = row[i]);
        }
        lines.chunks_mut(nk).for_each(|line| envelope.transform(line, sk));
    });
    squared.par_chunks_mut(plane).enumerate().for_each(|(k, squared)| {
        for j in 0..nj {
            (0..ni).for_each(|i| squared[i + ni * j] = lines[(j * ni + i) * nk + k]);
        }
    });
    squared
}

/// Squared distances along one row of a mask.
fn along_row(squared: &mut [f32], mask: &[bool], spacing: f32) {
    let mut last = None;
    for (i, &inside) in mask.iter().enumerate() {
        last = if inside { Some(i) } else { last };
        if let Some(from) = last {
            squared[i] = ((i - from) as f32 * spacing).powi(2);
        }
    }
    let mut next = None;
    for (i, &inside) in mask.iter().enumerate().rev() {
        next = if inside { Some(i) } else { next };
        if let Some(from) = next {
            squared[i] = squared[i].min(((from - i) as f32 * spacing).powi(2));
        }
    }
}

/// The lower envelope of the parabolas of one line.
struct Envelope {
    /// Vertex (a whole number of steps) and height (mm²) of each parabola of the envelope.
    parabolas: Vec<(f32, f32)>,
    /// Where each parabola of the envelope begins to be the lowest, in steps.
    starts: Vec<f32>,
}

impl Envelope {
    fn new(length: usize) -> Self {
        Envelope { parabolas: Vec::with_capacity(length), starts: Vec::with_capacity(length) }
    }

    /// `line[q]` becomes the minimum over p of `line[p] + ((q - p) spacing)^2`.
    fn transform(&mut self, line: &mut [f32], spacing: f32) {
        self.parabolas.clear();
        self.starts.clear();
        // Lengths in steps are exact, so that what is rounded does not depend on where along the line it lies.
        let curvature = spacing * spacing;
        for (p, &height) in line.iter().enumerate().filter(|(_, height)| height.is_finite()) {
            let vertex = p as f32;
            let mut start = f32::NEG_INFINITY;
            while let Some(&(other, lowest)) = self.parabolas.last() {
                start = ((height - lowest) / (curvature * (vertex - other)) + vertex + other) / 2.0;
                if self.starts.last().is_some_and(|&s| start > s) {
                    break;
                }
                self.parabolas.pop();
                self.starts.pop();
                start = f32::NEG_INFINITY;
            }
            self.parabolas.push((vertex, height));
            self.starts.push(start);
        }
        if self.parabolas.is_empty() {
            return;
        }
        let mut n = 0;
        for (q, value) in line.iter_mut().enumerate() {
            let x = q as f32;
            while n + 1 < self.starts.len() && self.starts[n + 1] <= x {
                n += 1;
            }
            let (vertex, height) = self.parabolas[n];
            *value = ((x - vertex) * spacing).powi(2) + height;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(mask: &[bool], [ni, nj, nk]: [usize; 3], spacing: [f64; 3]) -> Vec<f32> {
        let place = |n: usize| [n % ni, n / ni % nj, n / ni / nj].map(|x| x as f64);
        assert_eq!(mask.len(), ni * nj * nk);
        (0..mask.len())
            .map(|n| {
                let squared = |m: usize| (0..3).map(|a| ((place(n)[a] - place(m)[a]) * spacing[a]).powi(2)).sum::<f64>() as f32;
                (0..mask.len()).filter(|&m| mask[m]).map(squared).fold(f32::INFINITY, f32::min)
            })
            .collect()
    }

    #[test]
    fn a_single_voxel_is_a_cone() {
        let mut mask = vec![false; 5 * 4 * 3];
        mask[2 + 5 * (1 + 4)] = true;
        let squared = distance_squared(&mask, [5, 4, 3], [0.5, 2.0, 3.0]);
        assert_eq!(squared[2 + 5 * (1 + 4)], 0.0);
        assert_eq!(squared[0], 1.0 + 4.0 + 9.0);
        assert_eq!(squared[4 + 5 * (3 + 4 * 2)], 1.0 + 16.0 + 9.0);
    }

    #[test]
    fn nothing_is_infinitely_far() {
        assert!(distance_squared(&[false; 24], [2, 3, 4], [1.0; 3]).iter().all(|d| *d == f32::INFINITY));
        assert!(distance_squared(&[], [0, 3, 4], [1.0; 3]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_the_nearest_of_all(shape in prop::array::uniform3(1usize..7), seed in any::<u64>(), density in 1u64..60,
                                     spacing in prop::array::uniform3(0.3f64..5.0)) {
            let mut state = seed;
            let mask: Vec<bool> = (0..shape.iter().product()).map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) % 100 < density
            }).collect();
            for (fast, plain) in distance_squared(&mask, shape, spacing).iter().zip(plain(&mask, shape, spacing)) {
                prop_assert!(*fast == plain || (fast - plain).abs() <= 1e-4 * plain, "{fast} {plain}");
            }
        }
    }
}
