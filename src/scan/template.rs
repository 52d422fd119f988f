//! ichor's own template: an adult brain on CT, drawn from published measures by ellipsoids.
//!
//! It stands in for a template made of many scans where the user brings none. Where its measures come from is in
//! `docs/registration.md`.

use std::sync::LazyLock;

use rayon::prelude::*;

use crate::volume::{Affine, Grid, Volume};

/// HU of cerebrospinal fluid.
const FLUID: f32 = 6.0;
/// HU of the mixture of fluid, vessels and gyral crowns along the surface.
const RIM: f32 = 16.0;
/// HU of grey matter.
const GREY: f32 = 37.0;
/// HU of white matter.
const WHITE: f32 = 30.0;

/// The grid of the network's input: 128 x 128 x 128 voxels of 1.5 mm, RAS, first voxel at (-90, -125, -71) mm.
pub(crate) fn grid() -> Grid {
    let step = 1.5;
    let matrix = [[step, 0.0, 0.0], [0.0, step, 0.0], [0.0, 0.0, step]];
    Grid { shape: [128; 3], affine: Affine::new(matrix, [-90.0, -125.0, -71.0]) }
}

/// The built-in template: HU of the brain, 0 outside, on 128^3 voxels of 1.5 mm.
///
/// The same in both hemispheres, with its centre of mass at the grid's centre. Drawn on the first call.
pub fn built_in() -> Volume<f32> {
    static TEMPLATE: LazyLock<Volume<f32>> = LazyLock::new(draw);
    TEMPLATE.clone()
}

/// The place of the anterior commissure, RAS mm. The ellipsoids' coordinates begin there; it is where it must be for the
/// brain's centre of mass to lie at the grid's centre.
const COMMISSURE: [f32; 3] = [5.25, -7.0, 12.5];

/// An ellipsoid, and its mirror image in the midline plane: centre and half axes in millimetres.
struct Ellipsoid {
    centre: [f32; 3],
    half: [f32; 3],
}

impl Ellipsoid {
    const fn new(centre: [f32; 3], half: [f32; 3]) -> Self {
        Ellipsoid { centre, half }
    }

    /// Depth of a point below the surface in millimetres, to first order; negative outside.
    fn depth(&self, p: [f32; 3]) -> f32 {
        let (mut level, mut slope) = (0.0, 0.0);
        for ((p, centre), half) in p.into_iter().zip(self.centre).zip(self.half) {
            let x = (p - centre) / half;
            level += x * x;
            slope += (x / half).powi(2);
        }
        let level = level.sqrt();
        (1.0 - level) * level / slope.sqrt().max(1e-6)
    }
}

/// One hemisphere, before its base is cut off; the other is its mirror image.
const HEMISPHERE: Ellipsoid = Ellipsoid::new([22.0, -19.0, 14.0], [44.5, 80.5, 58.0]);
/// Height of the cerebrum's base: the floor of the anterior fossa, and the tentorium.
const BASE: f32 = -20.0;
const TEMPORAL_LOBE: Ellipsoid = Ellipsoid::new([40.0, -14.0, -20.0], [23.0, 38.0, 21.0]);
const CEREBELLUM: Ellipsoid = Ellipsoid::new([14.0, -64.0, -31.0], [37.0, 29.0, 23.0]);
const BRAINSTEM: Ellipsoid = Ellipsoid::new([0.0, -31.0, -32.0], [15.0, 16.0, 36.0]);

/// Fluid inside the brain.
const SPACES: [Ellipsoid; 9] = [
    // Lateral ventricle: frontal horn, body, atrium with the occipital horn, temporal horn.
    Ellipsoid::new([9.0, 22.0, 12.0], [6.0, 15.0, 8.0]),
    Ellipsoid::new([11.0, -8.0, 21.0], [7.0, 26.0, 6.0]),
    Ellipsoid::new([24.0, -46.0, 12.0], [7.0, 20.0, 9.0]),
    Ellipsoid::new([32.0, -20.0, -16.0], [3.0, 14.0, 3.0]),
    // Third and fourth ventricle.
    Ellipsoid::new([0.0, -14.0, 2.0], [2.5, 15.0, 11.0]),
    Ellipsoid::new([0.0, -46.0, -32.0], [6.0, 5.0, 10.0]),
    // Sylvian fissure, suprasellar and quadrigeminal cisterns.
    Ellipsoid::new([46.0, 0.0, 2.0], [13.0, 22.0, 3.0]),
    Ellipsoid::new([0.0, 4.0, -20.0], [11.0, 9.0, 8.0]),
    Ellipsoid::new([0.0, -43.0, -4.0], [12.0, 6.0, 6.0]),
];

/// Deep grey matter: head of the caudate nucleus, lentiform nucleus, thalamus.
const NUCLEI: [Ellipsoid; 3] = [
    Ellipsoid::new([14.0, 14.0, 8.0], [5.0, 12.0, 9.0]),
    Ellipsoid::new([25.0, 0.0, 2.0], [8.0, 19.0, 11.0]),
    Ellipsoid::new([12.0, -20.0, 8.0], [10.0, 15.0, 10.0]),
];

/// 0 well outside, 1 well inside a surface, and a straight edge of two millimetres between.
fn inside(depth: f32) -> f32 {
    (0.5 + 0.5 * depth).clamp(0.0, 1.0)
}

/// HU of the brain at a point, mm to the right, front and top of the anterior commissure; 0 outside.
fn hounsfield([x, y, z]: [f32; 3]) -> f32 {
    // Everything is the same on both sides.
    let p = [x.abs(), y, z];
    let cerebrum = HEMISPHERE.depth(p).min(z - BASE).max(TEMPORAL_LOBE.depth(p));
    let cerebellum = CEREBELLUM.depth(p);
    let hindbrain = cerebellum.max(BRAINSTEM.depth(p));
    let depth = cerebrum.max(hindbrain);
    if depth <= 0.0 {
        return 0.0;
    }
    // From the surface inward: fluid and crowns for 3 mm, the convoluted cortex down to 16 mm, white matter.
    // Each of the two parts has a surface of its own, so that the rim between them draws the tentorium.
    let mut hu = RIM + (GREY - RIM) * inside(depth - 3.0);
    hu += (WHITE - GREY) * inside((depth - 16.0) / 4.0) * inside(cerebrum);
    for nucleus in &NUCLEI {
        hu += (GREY + 1.0 - hu) * inside(nucleus.depth(p));
    }
    // The interhemispheric fissure, where no corpus callosum bridges it.
    let callosum = Ellipsoid::new([0.0, -10.0, 10.0], [30.0, 44.0, 19.0]).depth(p);
    hu += (FLUID - hu) * inside(1.8 - p[0]) * inside(-callosum) * inside(z - BASE) * 0.8;
    for space in &SPACES {
        hu += (FLUID - hu) * inside(space.depth(p));
    }
    hu
}

fn draw() -> Volume<f32> {
    let grid = grid();
    let [ni, nj, _] = grid.shape;
    let mut voxels = vec![0.0; grid.len()];
    voxels.par_chunks_mut(ni).enumerate().for_each(|(row, values)| {
        let (j, k) = (row % nj, row / nj);
        // The midline plane lies between the two middle voxels of a row: one half is drawn, the other is its mirror image.
        for i in 0..ni / 2 {
            let p = grid.affine.apply([i as f64, j as f64, k as f64]);
            let hu = hounsfield([0, 1, 2].map(|axis| p[axis] as f32 - COMMISSURE[axis]));
            values[i] = hu;
            values[ni - 1 - i] = hu;
        }
    });
    Volume::new(grid, voxels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HU at a point, mm from the anterior commissure.
    fn at(p: [f64; 3]) -> f32 {
        let template = built_in();
        let p = [0, 1, 2].map(|axis| p[axis] + f64::from(COMMISSURE[axis]));
        let index = template.grid().affine.inverse().unwrap().apply(p).map(|x| x.round() as usize);
        *template.at(index)
    }

    #[test]
    fn lies_on_the_networks_grid() {
        let template = built_in();
        assert_eq!(template.grid().shape, [128, 128, 128]);
        assert_eq!(template.grid().affine.apply([0.0; 3]), [-90.0, -125.0, -71.0]);
        assert_eq!(template.grid().affine.apply([127.0; 3]), [100.5, 65.5, 119.5]);
    }

    #[test]
    fn is_as_large_as_an_adult_brain() {
        let template = built_in();
        let inside: Vec<[f64; 3]> = template
            .voxels()
            .iter()
            .enumerate()
            .filter(|(_, v)| **v > 0.0)
            .map(|(n, _)| template.grid().affine.apply([n % 128, n / 128 % 128, n / 16384].map(|x| x as f64)))
            .collect();
        let millilitres = inside.len() as f64 * template.grid().voxel_mm3() / 1000.0;
        assert!((1350.0..1600.0).contains(&millilitres), "{millilitres} mL");
        let centre = [0, 1, 2].map(|axis| inside.iter().map(|p| p[axis]).sum::<f64>() / inside.len() as f64);
        for (got, want) in centre.iter().zip(template.grid().affine.apply([63.5; 3])) {
            assert!((got - want).abs() < 0.75, "{centre:?}");
        }
        let extent = [0, 1, 2].map(|axis| {
            let values = inside.iter().map(|p| p[axis]);
            values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min)
        });
        for (got, want) in extent.iter().zip([132.0, 160.0, 140.0]) {
            assert!((got - want).abs() <= 4.0, "{extent:?}");
        }
    }

    #[test]
    fn is_the_same_in_both_hemispheres_and_not_front_to_back() {
        let template = built_in();
        let mut differs = 0;
        for k in 0..128 {
            for j in 0..128 {
                for i in 0..128 {
                    assert_eq!(template.at([i, j, k]), template.at([127 - i, j, k]));
                    differs += usize::from((template.at([i, j, k]) - template.at([i, 127 - j, k])).abs() > 10.0);
                }
            }
        }
        assert!(differs > 10_000);
    }

    #[test]
    fn tissues_have_their_hounsfield_units() {
        assert!((28.0..33.0).contains(&at([30.0, -30.0, 35.0])), "white matter");
        assert!((35.0..39.0).contains(&at([12.0, -20.0, 8.0])), "thalamus");
        assert!(at([11.0, -8.0, 21.0]) < 8.0, "lateral ventricle");
        assert!(at([-11.0, -8.0, 21.0]) < 8.0, "the other lateral ventricle");
        assert!((33.0..39.0).contains(&at([25.0, -65.0, -32.0])), "cerebellum");
        assert!(at([0.0, 40.0, 40.0]) < 14.0, "interhemispheric fissure");
        assert_eq!(at([80.0, 0.0, 0.0]), 0.0, "outside");
        assert!(built_in().voxels().iter().all(|v| (0.0..=40.0).contains(v)));
    }
}
