//! Parts of a grid as sets of tiles: which of them a pass needs, and which see nothing but background.

use std::ops::Range;

/// A grid cut into tiles; those at the far ends may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// The grid (D, H, W).
    pub shape: [usize; 3],
    /// Size of a tile.
    pub tile: [usize; 3],
}

impl Tiling {
    /// Number of tiles along each axis.
    pub fn counts(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.shape[axis].div_ceil(self.tile[axis]))
    }

    /// Number of tiles.
    pub fn len(&self) -> usize {
        self.counts().iter().product()
    }

    /// Whether there is no tile.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of the tile at `position` (in tiles).
    pub fn index(&self, [d, h, w]: [usize; 3]) -> usize {
        let [_, height, width] = self.counts();
        (d * height + h) * width + w
    }

    /// Where a tile is, in tiles.
    pub fn position(&self, index: usize) -> [usize; 3] {
        let [_, height, width] = self.counts();
        [index / (height * width), index / width % height, index % width]
    }

    /// The voxels of a tile.
    pub fn voxels(&self, index: usize) -> [Range<usize>; 3] {
        let position = self.position(index);
        [0, 1, 2].map(|axis| {
            let begin = position[axis] * self.tile[axis];
            begin..(begin + self.tile[axis]).min(self.shape[axis])
        })
    }
}
