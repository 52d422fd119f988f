//! Where bone is missing: the skull's shape is carried on over the hole.

use super::coarse::Coarse;
use super::icosphere::{Icosphere, dot, norm, sub, unit};
use super::skull::{BONE_HU, p};
use rayon::prelude::*;

/// How far beyond the soft tissue bone is looked for, in mm.
const BONE_WITHIN_MM: f64 = 6.0;

/// How far brain may bulge out of a hole before it is cut, in mm.
const BULGE_MM: f64 = 2.0;

/// Least thickness of what covers the brain where bone is missing (skin, galea, dura), in mm.
const COVER_MM: f64 = 8.0;

/// Lowest direction, as the height of its unit vector, in which a hole counts as a defect; the foramen magnum lies below.
const LOWEST: f64 = -0.3;

/// What a ray from the brain's centre meets where it leaves the region.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Bone,
    Hole,
    FieldOfView,
}

pub(super) fn trim(region: &mut [bool], coarse: &Coarse) {
    let grid = coarse.volume.grid();
    let [ni, nj, nk] = grid.shape;
    let Some(to_voxels) = grid.affine.inverse() else { return };
    let centre = centre(region, grid.shape).map(|v| grid.affine.apply(v));
    let Some(centre) = centre else { return };
    let sphere = Icosphere::new(4);
    let farthest = {
        let corners = (0..8).map(|c| grid.affine.apply([c & 1, c >> 1 & 1, c >> 2].map(|x| x as f64).into_iter().zip([ni, nj, nk]).map(|(x, n)| x * n as f64).collect::<Vec<_>>().try_into().unwrap()));
        corners.map(|c: [f64; 3]| norm(sub(c, centre))).fold(0.0, f64::max).min(300.0)
    };
    let step = 0.75;
    let voxel = |direction: [f64; 3], radius: f64| -> Option<usize> {
        let v = to_voxels.apply([0, 1, 2].map(|a| centre[a] + direction[a] * radius)).map(f64::round);
        ((0..3).all(|a| v[a] >= 0.0 && v[a] < grid.shape[a] as f64)).then(|| grid.index(v.map(|x| x as usize)))
    };
    let ends: Vec<(f64, End)> = sphere
        .vertices
        .par_iter()
        .map(|&direction| {
            let steps = (farthest / step) as usize;
            let last = (0..steps).rev().find(|&n| voxel(direction, n as f64 * step).is_some_and(|v| region[v])).unwrap_or(0);
            let radius = last as f64 * step;
            let mut end = End::Hole;
            for n in 1..=(BONE_WITHIN_MM / step) as usize {
                match voxel(direction, radius + n as f64 * step) {
                    None => { end = End::FieldOfView; break }
                    Some(v) if coarse.volume.voxels()[v] >= BONE_HU => { end = End::Bone; break }
                    Some(_) => {}
                }
            }
            (radius, end)
        })
        .collect();
    let holes: Vec<usize> = (0..ends.len()).filter(|&v| ends[v].1 == End::Hole && sphere.vertices[v][2] > LOWEST).collect();
    if std::env::var("TALK").is_ok() { eprintln!("holes {}", holes.len()); }
    if holes.is_empty() { return }
    // harmonic
    let mut radii: Vec<f64> = ends.iter().map(|e| e.0).collect();
    let known = ends.iter().filter(|e| e.1 == End::Bone).map(|e| e.0).sum::<f64>() / ends.iter().filter(|e| e.1 == End::Bone).count().max(1) as f64;
    let free: Vec<usize> = (0..ends.len()).filter(|&v| ends[v].1 != End::Bone).collect();
    free.iter().for_each(|&v| radii[v] = known);
    for _ in 0..400 {
        for &v in &free {
            radii[v] = sphere.neighbours[v].iter().map(|n| radii[*n as usize]).sum::<f64>() / sphere.neighbours[v].len() as f64;
        }
    }
    let limits: Vec<([f64; 3], f64)> = holes.iter().map(|&v| (sphere.vertices[v], (radii[v] + p("BULGE", BULGE_MM)).max(ends[v].0 - p("COVER", COVER_MM)))).collect();
    let lowest = limits.iter().map(|l| l.1).fold(f64::INFINITY, f64::min);
    region.par_chunks_mut(ni).enumerate().for_each(|(row, region)| {
        for (i, inside) in region.iter_mut().enumerate().filter(|(_, inside)| **inside) {
            let from = sub(grid.affine.apply([i as f64, (row % nj) as f64, (row / nj) as f64]), centre);
            let radius = norm(from);
            if radius <= lowest { continue }
            let direction = unit(from);
            let (mut best, mut limit) = (0.9986, f64::INFINITY);
            for (d, l) in &limits {
                let cos = dot(direction, *d);
                if cos > best { best = cos; limit = *l; }
            }
            *inside = radius <= limit;
        }
    });
}

/// Mean place of the mask's voxels, in voxels.
fn centre(mask: &[bool], [ni, nj, _]: [usize; 3]) -> Option<[f64; 3]> {
    let (mut sum, mut count) = ([0.0f64; 3], 0usize);
    for (row, voxels) in mask.chunks(ni).enumerate() {
        for (i, _) in voxels.iter().enumerate().filter(|(_, inside)| **inside) {
            count += 1;
            sum = [sum[0] + i as f64, sum[1] + (row % nj) as f64, sum[2] + (row / nj) as f64];
        }
    }
    (count > 0).then(|| sum.map(|s| s / count as f64))
}
