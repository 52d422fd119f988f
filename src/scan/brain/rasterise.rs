//! The voxels inside a closed triangle mesh.

use super::icosphere::{cross, sub};
use crate::volume::Grid;
use rayon::prelude::*;

/// Rows lie this far, in voxels, beside the voxels' centres, so that none meets a corner or an edge of round coordinates.
const OFF_CENTRE: [f64; 2] = [1.234_567e-6, 2.718_281e-6];

/// Voxels of `grid` whose centres lie inside the mesh of `triangles` over `vertices` (RAS mm): where a row along i has
/// crossed more triangles inward than outward, or the reverse. A mesh that cuts itself is inside wherever it winds.
/// `None` when the grid's affine has no inverse.
pub(super) fn rasterise(grid: &Grid, triangles: &[[u32; 3]], vertices: &[[f64; 3]]) -> Option<Vec<bool>> {
    let to_voxels = grid.affine.inverse()?;
    let [ni, nj, nk] = grid.shape;
    let places: Vec<[f64; 3]> = vertices.iter().map(|v| to_voxels.apply(*v)).collect();
    let mut crossings: Vec<Vec<(f64, i32)>> = vec![Vec::new(); nj * nk];
    for triangle in triangles {
        cross_rows(triangle.map(|v| places[v as usize]), [nj, nk], &mut crossings);
    }
    let mut mask = vec![false; grid.len()];
    mask.par_chunks_mut(ni.max(1)).zip(crossings.par_iter_mut()).for_each(|(row, crossings)| {
        crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut winding = 0;
        for pair in crossings.windows(2) {
            winding += pair[0].1;
            if winding != 0 {
                let from = pair[0].0.ceil().clamp(0.0, ni as f64) as usize;
                let to = pair[1].0.ceil().clamp(0.0, ni as f64) as usize;
                row[from..to].fill(true);
            }
        }
    });
    Some(mask)
}

/// Adds where each row along i crosses a triangle (voxel coordinates), and in which sense.
fn cross_rows([a, b, c]: [[f64; 3]; 3], [nj, nk]: [usize; 2], crossings: &mut [Vec<(f64, i32)>]) {
    let normal = cross(sub(b, a), sub(c, a));
    if normal[0] == 0.0 || !normal.iter().all(|x| x.is_finite()) {
        return;
    }
    let range = |axis: usize, count: usize| {
        let (low, high) = (a[axis].min(b[axis]).min(c[axis]), a[axis].max(b[axis]).max(c[axis]));
        (low - 1.0).ceil().clamp(0.0, count as f64) as usize..(high + 1.0).clamp(0.0, count as f64) as usize
    };
    // Twice the signed area, in (j, k), of the triangle of an edge and the row.
    let side = |p: [f64; 3], q: [f64; 3], [j, k]: [f64; 2]| (q[1] - p[1]) * (k - p[2]) - (q[2] - p[2]) * (j - p[1]);
    for k in range(2, nk) {
        for j in range(1, nj) {
            let row = [j as f64 + OFF_CENTRE[0], k as f64 + OFF_CENTRE[1]];
            let sides = [side(a, b, row), side(b, c, row), side(c, a, row)];
            if sides.iter().all(|s| *s > 0.0) || sides.iter().all(|s| *s < 0.0) {
                let i = a[0] - (normal[1] * (row[0] - a[1]) + normal[2] * (row[1] - a[2])) / normal[0];
                crossings[j + nj * k].push((i, if normal[0] > 0.0 { 1 } else { -1 }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::icosphere::{Icosphere, add, scale};
    use super::*;
    use crate::volume::Affine;

    #[test]
    fn a_sphere_has_its_volume_and_place() {
        let sphere = Icosphere::new(4);
        let centre = [5.0, -3.0, 11.0];
        let vertices: Vec<[f64; 3]> = sphere.vertices.iter().map(|v| add(centre, scale(*v, 20.0))).collect();
        // Turned, stretched and left-handed.
        let affine = Affine::new([[-0.8, 0.3, 0.0], [0.3, 0.8, 0.0], [0.0, 0.0, 2.0]], [20.0, -40.0, -15.0]);
        let grid = Grid { shape: [60, 70, 30], affine };
        let mask = rasterise(&grid, &sphere.triangles, &vertices).unwrap();
        let mut sum = [0.0; 3];
        for (n, _) in mask.iter().enumerate().filter(|(_, inside)| **inside) {
            let place = grid.affine.apply([n % 60, n / 60 % 70, n / 60 / 70].map(|x| x as f64));
            sum = add(sum, place);
            assert!((0..3).map(|a| (place[a] - centre[a]).powi(2)).sum::<f64>() < 20.0 * 20.0);
        }
        let count = mask.iter().filter(|inside| **inside).count() as f64;
        let volume = count * grid.voxel_mm3();
        let ball = 4.0 / 3.0 * std::f64::consts::PI * 8000.0;
        assert!((volume / ball - 1.0).abs() < 0.01, "{volume} {ball}");
        assert!((0..3).all(|a| (sum[a] / count - centre[a]).abs() < 0.1));
    }

    #[test]
    fn a_mesh_beyond_the_grid_is_cut() {
        let sphere = Icosphere::new(2);
        let grid = Grid { shape: [4, 5, 6], affine: Affine::IDENTITY };
        let around: Vec<[f64; 3]> = sphere.vertices.iter().map(|v| scale(*v, 50.0)).collect();
        assert!(rasterise(&grid, &sphere.triangles, &around).unwrap().iter().all(|inside| *inside));
        let beside: Vec<[f64; 3]> = around.iter().map(|v| add(*v, [0.0, 100.0, 0.0])).collect();
        assert!(!rasterise(&grid, &sphere.triangles, &beside).unwrap().contains(&true));
    }
}
