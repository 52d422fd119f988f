//! Volumes on voxel grids in the world. Knows nothing of files or networks.
//!
//! World coordinates are RAS millimetres (x grows to the patient's right, y to the front, z to the top),
//! as NIfTI has them. Voxel indices are (i, j, k) and are stored with i fastest.

pub mod affine;
pub mod distance;
pub mod morphology;
pub mod orientation;
pub mod resample;

pub use affine::Affine;
pub use orientation::Orientation;

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
