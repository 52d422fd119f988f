//! Volumes on voxel grids in the world. Knows nothing of files or networks.
//!
//! World coordinates are RAS millimetres (x grows to the patient's right, y to the front, z to the top),
//! as NIfTI has them. Voxel indices are (i, j, k) and are stored with i fastest.

pub(crate) mod affine;
pub(crate) mod distance;
pub mod morphology;
pub mod orientation;
pub mod resample;

pub use affine::Affine;
pub use orientation::Orientation;

use rayon::prelude::*;

/// A voxel grid in the world: `shape` voxels along i, j and k, placed by `affine`.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Number of voxels along i, j and k.
    pub shape: [usize; 3],
    /// Takes a voxel's indices (i, j, k), at its centre, to RAS millimetres.
    pub affine: Affine,
}

impl Grid {
    /// Number of voxels.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the grid holds no voxel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Volume of one voxel in cubic millimetres: the absolute determinant of the affine.
    pub fn voxel_mm3(&self) -> f64 {
        self.affine.determinant().abs()
    }

    /// Length in millimetres of a step of one voxel along i, j and k.
    pub fn spacing(&self) -> [f64; 3] {
        self.affine.spacing()
    }

    /// Place of voxel (i, j, k) in a volume's voxels.
    pub fn index(&self, [i, j, k]: [usize; 3]) -> usize {
        i + self.shape[0] * (j + self.shape[1] * k)
    }

    /// Indices (i, j, k) of the voxel at a place in a volume's voxels: [`Grid::index`] back.
    pub fn ijk(&self, index: usize) -> [usize; 3] {
        let [ni, nj, _] = self.shape;
        [index % ni, index / ni % nj, index / ni / nj]
    }

    /// Where in the world, in RAS millimetres, the voxel at a place in a volume's voxels has its centre.
    pub fn world(&self, index: usize) -> [f64; 3] {
        self.affine.apply(self.ijk(index).map(|n| n as f64))
    }
}

/// Voxel values on a grid. Stored with i fastest, then j, then k, as NIfTI files are.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume<T> {
    grid: Grid,
    voxels: Vec<T>,
}

impl<T> Volume<T> {
    /// A volume of `voxels`, i fastest.
    ///
    /// # Panics
    /// When the number of voxels is not the grid's.
    pub fn new(grid: Grid, voxels: Vec<T>) -> Self {
        assert_eq!(grid.len(), voxels.len(), "a volume needs one value for each voxel of its grid");
        Volume { grid, voxels }
    }

    /// The grid.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The values, i fastest.
    pub fn voxels(&self) -> &[T] {
        &self.voxels
    }

    /// The values, i fastest, to be changed.
    pub fn voxels_mut(&mut self) -> &mut [T] {
        &mut self.voxels
    }

    /// The values, i fastest.
    pub fn into_voxels(self) -> Vec<T> {
        self.voxels
    }

    /// The value at (i, j, k).
    ///
    /// # Panics
    /// Outside the grid.
    pub fn at(&self, ijk: [usize; 3]) -> &T {
        assert!((0..3).all(|axis| ijk[axis] < self.grid.shape[axis]), "voxel {ijk:?} is outside the grid");
        &self.voxels[self.grid.index(ijk)]
    }

    /// A volume on the same grid with `f` of each value.
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> Volume<U> {
        Volume { grid: self.grid.clone(), voxels: self.voxels.iter().map(f).collect() }
    }
}

impl Volume<bool> {
    /// Number of voxels inside a mask.
    pub fn count(&self) -> usize {
        self.voxels.par_iter().filter(|&&inside| inside).count()
    }

    /// Volume of a mask in mL: voxels times the volume of a voxel, from the affine.
    pub fn volume_ml(&self) -> f64 {
        self.count() as f64 * self.grid.voxel_mm3() / 1000.0
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Affines and masks for the tests of other modules.

    use super::{Affine, Grid, Orientation, Volume};
    use proptest::prelude::*;

    /// A mask on a grid of 2 x 3 x 5 mm voxels.
    pub(crate) fn mask(shape: [usize; 3], inside: impl Fn([usize; 3]) -> bool) -> Volume<bool> {
        let grid = Grid { shape, affine: Affine::new([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 5.0]], [0.0; 3]) };
        let mut voxels = Vec::new();
        for k in 0..shape[2] {
            for j in 0..shape[1] {
                voxels.extend((0..shape[0]).map(|i| inside([i, j, k])));
            }
        }
        Volume::new(grid, voxels)
    }

    /// All 48 orders and directions of three axes.
    pub(crate) fn signed_permutations() -> Vec<Orientation> {
        let mut all = Vec::new();
        for axis in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for signs in 0..8 {
                all.push(Orientation { axis, flipped: [0, 1, 2].map(|n| signs >> n & 1 == 1) });
            }
        }
        all
    }

    /// Voxel-to-world affines of scans: any order and direction of axes, oblique by up to 20 degrees, sheared by a gantry's tilt.
    pub(crate) fn affine() -> impl Strategy<Value = Affine> {
        let angle = -0.35..0.35_f64;
        let spacing = 0.3..6.0_f64;
        let offset = -200.0..200.0_f64;
        (
            proptest::sample::select(signed_permutations()),
            [spacing.clone(), spacing.clone(), spacing],
            [angle.clone(), angle.clone(), angle],
            -0.3..0.3_f64,
            [offset.clone(), offset.clone(), offset],
        )
            .prop_map(|(orientation, spacing, angles, shear, offset)| {
                let mut matrix = [[0.0; 3]; 3];
                for voxel in 0..3 {
                    let sign = if orientation.flipped[voxel] { -1.0 } else { 1.0 };
                    matrix[orientation.axis[voxel]][voxel] = sign * spacing[voxel];
                }
                let mut affine = Affine::new(matrix, [0.0; 3]);
                affine = Affine::new([[1.0, 0.0, 0.0], [0.0, 1.0, shear], [0.0, 0.0, 1.0]], [0.0; 3]).after(&affine);
                for (axis, angle) in angles.into_iter().enumerate() {
                    affine = rotation(axis, angle).after(&affine);
                }
                Affine::new(affine.matrix(), offset)
            })
    }

    /// Rotation about a world axis by an angle in radians, counterclockwise seen from the axis's end.
    pub(crate) fn rotation(axis: usize, angle: f64) -> Affine {
        let (sine, cosine) = angle.sin_cos();
        let (b, c) = ((axis + 1) % 3, (axis + 2) % 3);
        let mut affine = Affine::IDENTITY;
        affine.rows[b][b] = cosine;
        affine.rows[c][c] = cosine;
        affine.rows[b][c] = -sine;
        affine.rows[c][b] = sine;
        affine
    }

    /// Sum of the squares of the differences of all entries.
    pub(crate) fn sum_of_squares(one: &Affine, other: &Affine) -> f64 {
        let (one, other) = (one.rows.as_flattened(), other.rows.as_flattened());
        one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        // 0.5 x 0.25 x 2 mm voxels, left-handed.
        let affine = Affine::new([[0.0, 0.25, 0.0], [0.3, 0.0, 0.0], [0.4, 0.0, 2.0]], [1.0, 2.0, 3.0]);
        Grid { shape: [2, 3, 4], affine }
    }

    #[test]
    fn a_grid_knows_its_sizes() {
        let grid = grid();
        assert_eq!(grid.len(), 24);
        assert!(!grid.is_empty());
        assert!(Grid { shape: [2, 0, 4], ..grid.clone() }.is_empty());
        let expected = [0.5, 0.25, 2.0];
        assert!(grid.spacing().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{:?}", grid.spacing());
        // Sheared: less than the product of the spacings. Left-handed: positive none the less.
        assert!((grid.voxel_mm3() - 0.3 * 0.25 * 2.0).abs() < 1e-12);
        assert!(grid.affine.determinant() < 0.0);
    }

    #[test]
    fn voxels_are_stored_with_i_fastest() {
        let volume = Volume::new(grid(), (0..24).collect());
        assert_eq!([*volume.at([0, 0, 0]), *volume.at([1, 0, 0]), *volume.at([0, 1, 0]), *volume.at([0, 0, 1])], [0, 1, 2, 6]);
        assert_eq!(*volume.at([1, 2, 3]), 23);
        assert_eq!(volume.grid().index([1, 2, 3]), 23);
        assert!((0..24).all(|n| volume.grid().index(volume.grid().ijk(n)) == n && *volume.at(volume.grid().ijk(n)) == n));
        assert_eq!(volume.grid().world(23), volume.grid().affine.apply([1.0, 2.0, 3.0]));
    }

    #[test]
    fn values_can_be_changed_mapped_and_taken() {
        let mut volume = Volume::new(grid(), vec![1_u8; 24]);
        volume.voxels_mut()[5] = 7;
        let doubled = volume.map(|&value| 2.0 * f32::from(value));
        assert_eq!((doubled.grid(), doubled.voxels()[5], doubled.voxels()[6]), (&grid(), 14.0, 2.0));
        assert_eq!(volume.into_voxels()[4..7], [1, 7, 1]);
    }

    #[test]
    fn a_mask_knows_its_volume() {
        let mask = Volume::new(grid(), (0..24).map(|n| n % 3 == 0).collect());
        assert_eq!(mask.count(), 8);
        // Sheared and left-handed: 8 voxels of 0.15 mm3.
        assert!((mask.volume_ml() - 8.0 * 0.15 / 1000.0).abs() < 1e-12);
        assert_eq!(mask.map(|_| false).volume_ml(), 0.0);
    }

    #[test]
    #[should_panic(expected = "one value for each voxel")]
    fn a_volume_of_the_wrong_length_is_refused() {
        Volume::new(grid(), vec![0; 23]);
    }

    #[test]
    fn no_voxel_is_outside() {
        let volume = Volume::new(grid(), vec![0; 24]);
        for ijk in [[2, 0, 0], [0, 3, 0], [0, 0, 4]] {
            // Two of these would be some other voxel's place.
            let outcome = std::panic::catch_unwind(|| *volume.at(ijk));
            assert!(outcome.is_err(), "{ijk:?}");
        }
    }
}
