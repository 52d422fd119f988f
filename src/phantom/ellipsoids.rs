//! The simplest head: a few ellipsoids of the size of an adult's (brain 1480 mL) with a bleed of known volume, and noise.
//!
//! For tests of the whole path with the hand-set weights, which know no anatomy: here nothing but the bleed has
//! the HU of blood.

use crate::volume::{Grid, Volume};

/// A phantom's scan and the true mask of its bleed, on the same grid.
#[derive(Clone, Debug)]
pub struct Phantom {
    /// The scan in HU.
    pub scan: Volume<f32>,
    /// Where the bleed is.
    pub bleed: Volume<bool>,
    /// Where the brain is (inside of the skull).
    pub brain: Volume<bool>,
}

impl Phantom {
    /// Volume of the bleed in mL: its voxels times the voxel's volume.
    pub fn bleed_ml(&self) -> f64 {
        let voxels = self.bleed.voxels().iter().filter(|&&inside| inside).count();
        voxels as f64 * self.bleed.grid().voxel_mm3() / 1000.0
    }
}

/// An ellipsoid in the head's own millimetres (RAS, the brain's centre at 0).
struct Ellipsoid {
    centre: [f64; 3],
    half_axes: [f64; 3],
}

impl Ellipsoid {
    /// Below 1 inside, 1 on the surface.
    fn distance(&self, p: [f64; 3]) -> f64 {
        (0..3).map(|a| ((p[a] - self.centre[a]) / self.half_axes[a]).powi(2)).sum::<f64>().sqrt()
    }

    fn contains(&self, p: [f64; 3]) -> bool {
        self.distance(p) < 1.0
    }
}

const BRAIN: Ellipsoid = Ellipsoid { centre: [0.0; 3], half_axes: [68.0, 84.0, 62.0] };
const CORTEX: Ellipsoid = Ellipsoid { centre: [0.0; 3], half_axes: [61.0, 77.0, 55.0] };
const SKULL: Ellipsoid = Ellipsoid { centre: [0.0; 3], half_axes: [75.0, 91.0, 69.0] };
const SCALP: Ellipsoid = Ellipsoid { centre: [0.0; 3], half_axes: [81.0, 97.0, 75.0] };
const VENTRICLES: [Ellipsoid; 2] = [
    Ellipsoid { centre: [9.0, 2.0, 10.0], half_axes: [5.0, 26.0, 9.0] },
    Ellipsoid { centre: [-9.0, 2.0, 10.0], half_axes: [5.0, 26.0, 9.0] },
];
/// The bleed, in the left basal ganglia.
const BLEED: Ellipsoid = Ellipsoid { centre: [-30.0, -2.0, 6.0], half_axes: [14.0, 22.0, 15.0] };
/// Deviation of the noise in HU.
const NOISE: f64 = 4.0;

/// The phantom on a grid of one's own; world millimetres are the head's.
pub fn head_on(grid: Grid) -> Phantom {
    let mut scan = Vec::with_capacity(grid.len());
    let (mut bleed, mut brain) = (Vec::with_capacity(grid.len()), Vec::with_capacity(grid.len()));
    for k in 0..grid.shape[2] {
        for j in 0..grid.shape[1] {
            for i in 0..grid.shape[0] {
                let p = grid.affine.apply([i as f64, j as f64, k as f64]);
                let tissue = tissue(p);
                // Air is cut at -1024 by a scanner; everywhere else there is noise.
                let hu = (tissue + NOISE * normal(scan.len() as u64)).round().max(-1024.0);
                scan.push(hu as f32);
                bleed.push(BLEED.contains(p));
                brain.push(BRAIN.contains(p));
            }
        }
    }
    Phantom { scan: Volume::new(grid.clone(), scan), bleed: Volume::new(grid.clone(), bleed), brain: Volume::new(grid, brain) }
}

/// HU at a point of the head, without noise.
fn tissue(p: [f64; 3]) -> f64 {
    let neck = p[2] < -40.0 && (p[0] / 55.0).powi(2) + ((p[1] + 15.0) / 60.0).powi(2) < 1.0;
    if BLEED.contains(p) {
        64.0
    } else if VENTRICLES.iter().any(|v| v.contains(p)) {
        8.0
    } else if CORTEX.contains(p) {
        29.0
    } else if BRAIN.contains(p) {
        37.0
    } else if SKULL.contains(p) {
        1000.0
    } else if SCALP.contains(p) || neck {
        20.0
    } else {
        -1000.0
    }
}

/// A nearly normal value with deviation 1 for each number: the sum of 12 uniform values less 6, from SplitMix64 (Steele et al. 2014).
fn normal(number: u64) -> f64 {
    let uniform = |n: u64| {
        let mut z = (12 * number + n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / (1u64 << 24) as f64
    };
    (0..12).map(uniform).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Affine;

    /// The phantom on a grid of 224 x 224 x 72 voxels of 0.95 x 0.95 x 2.5 mm (x to the left, as scanners store it).
    fn head() -> Phantom {
        let (shape, spacing) = ([224, 224, 72], [0.95, 0.95, 2.5]);
        let matrix = [[-spacing[0], 0.0, 0.0], [0.0, spacing[1], 0.0], [0.0, 0.0, spacing[2]]];
        // The brain's centre lies a little off the grid's centre, as in a patient on the table.
        let origin = [106.0 + 4.0, -106.0 + 6.0, -100.0];
        head_on(Grid { shape, affine: Affine::new(matrix, origin) })
    }

    #[test]
    fn the_bleed_has_the_volume_of_its_ellipsoid_and_lies_on_the_left() {
        let phantom = head();
        let exact = 4.0 / 3.0 * std::f64::consts::PI * BLEED.half_axes.iter().product::<f64>() / 1000.0;
        assert!((phantom.bleed_ml() / exact - 1.0).abs() < 0.01, "{} for {exact}", phantom.bleed_ml());
        let grid = phantom.bleed.grid();
        for (index, _) in phantom.bleed.voxels().iter().enumerate().filter(|(_, inside)| **inside) {
            assert!(grid.world(index)[0] < 0.0, "RAS: the patient's left has negative x");
        }
    }

    #[test]
    fn the_same_phantom_every_time() {
        assert_eq!(head().scan, head().scan);
    }
}
