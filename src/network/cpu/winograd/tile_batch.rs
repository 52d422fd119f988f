//! Tiles that are computed together: enough for a good matrix product, few enough for the cache.

use super::transform;
use crate::network::region::Tiling;

/// Tiles that lie side by side along W.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first tile, in tiles from the batch's origin.
    pub position: [usize; 3],
    /// Number of tiles.
    pub len: usize,
    /// Number of tiles of the batch before it.
    pub first: usize,
}

/// Some of the tiles in a box of tiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// First tile of the box, in tiles.
    pub origin: [usize; 3],
    /// Size of the box, in tiles.
    pub size: [usize; 3],
    /// The tiles, in order.
    pub runs: Vec<Run>,
    /// Number of tiles.
    pub tiles: usize,
}

impl Batch {
    /// Gathers the tiles for which `wanted` is true in boxes of at most `size`. Each box is as small as its tiles allow.
    pub fn list(tiling: &Tiling, wanted: impl Fn(usize) -> bool, size: [usize; 3]) -> Vec<Batch> {
        let counts = tiling.counts();
        let boxes = Tiling { shape: counts, tile: size };
        (0..boxes.len()).filter_map(|number| Batch::of(boxes.voxels(number).map(|r| (r.start, r.end)), tiling, &wanted)).collect()
    }

    fn of(bounds: [(usize, usize); 3], tiling: &Tiling, wanted: &impl Fn(usize) -> bool) -> Option<Batch> {
        let [depth, height, width] = bounds;
        let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
        let mut runs: Vec<Run> = Vec::new();
        let mut tiles = 0;
        for d in depth.0..depth.1 {
            for h in height.0..height.1 {
                let mut open = false;
                for w in width.0..width.1 {
                    let position = [d, h, w];
                    if !wanted(tiling.index(position)) {
                        open = false;
                        continue;
                    }
                    match runs.last_mut().filter(|_| open) {
                        Some(run) => run.len += 1,
                        None => runs.push(Run { position, len: 1, first: tiles }),
                    }
                    open = true;
                    tiles += 1;
                    for axis in 0..3 {
                        low[axis] = low[axis].min(position[axis]);
                        high[axis] = high[axis].max(position[axis] + 1);
                    }
                }
            }
        }
        for run in &mut runs {
            run.position = [0, 1, 2].map(|axis| run.position[axis] - low[axis]);
        }
        (tiles > 0).then(|| Batch { origin: low, size: [0, 1, 2].map(|axis| high[axis] - low[axis]), runs, tiles })
    }

    /// Voxels of the input along an axis that the tiles of the box see.
    pub fn extent(size: usize, points: usize) -> usize {
        let step = transform::outputs(points);
        size * step + points - step
    }
}
