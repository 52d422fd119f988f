//! Where bone is missing (a craniotomy, a fontanelle), the skull's shape is carried on over the hole.
//!
//! Rays from the brain's centre end on bone, in a hole or at the border of the field of view. The distance of bone is carried on
//! over the holes by the mean of the neighbouring directions (Laplace's equation on the sphere), which over a hole in a
//! round skull gives the round skull; what lies beyond is the scalp that the hole let in.

use super::coarse::{BONE_HU, Coarse};
use super::icosphere::{Icosphere, add, dot, norm, scale, sub, unit};
use crate::volume::{Affine, Grid};
use rayon::prelude::*;

/// How far beyond the soft tissue bone is looked for, in mm.
const BONE_WITHIN_MM: f64 = 6.0;

/// How far the brain may stand out of a hole before anything is cut, in mm.
const MARGIN_MM: f64 = 2.0;

/// Most that is cut, in mm: skin, galea and dura. A brain that bulges out of a hole is covered by no more.
const COVER_MM: f64 = 8.0;

/// Lowest height of a ray's unit vector at which a hole is a defect of the vault; lower down lies the foramen magnum.
const LOWEST: f64 = -0.3;

/// Length of a step along a ray, in mm: half a block.
const STEP_MM: f64 = 0.75;

/// Longest ray in mm: no head is larger.
const RAY_MM: f64 = 200.0;

/// Times that each free direction takes the mean of its neighbours: enough to cross a large hole (about 30 directions).
const SWEEPS: usize = 400;

/// Cosine of the angle (3 degrees) up to which a direction stands for those around it; neighbours are 4.3 degrees apart.
const COS_NEAR: f64 = 0.9986;

/// What a ray meets where it leaves the region for the last time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Bone,
    Hole,
    FieldOfView,
}

/// Takes out of the region what lies in a hole of the vault beyond the skull's shape.
pub(super) fn trim(region: &mut [bool], coarse: &Coarse) {
    let grid = coarse.volume.grid();
    let (Some(to_voxels), Some(centre)) = (grid.affine.inverse(), centre(region, grid)) else { return };
    let sphere = Icosphere::new(4);
    let ends: Vec<(f64, End)> =
        sphere.vertices.par_iter().map(|direction| end_of_ray(region, coarse, &to_voxels, centre, *direction)).collect();
    let holes: Vec<usize> = (0..ends.len()).filter(|&v| ends[v].1 == End::Hole && sphere.vertices[v][2] > LOWEST).collect();
    let bone: Vec<f64> = ends.iter().filter(|end| end.1 == End::Bone).map(|end| end.0).collect();
    if holes.is_empty() || bone.is_empty() {
        return;
    }
    let radii = carried_on(&sphere, &ends, bone.iter().sum::<f64>() / bone.len() as f64);
    let limit = |v: usize| (radii[v] + MARGIN_MM).max(ends[v].0 - COVER_MM);
    let limits: Vec<([f64; 3], f64)> = holes.iter().map(|&v| (sphere.vertices[v], limit(v))).collect();
    let least = limits.iter().map(|limit| limit.1).fold(f64::INFINITY, f64::min);
    let [ni, nj, _] = grid.shape;
    region.par_chunks_mut(ni).enumerate().for_each(|(row, region)| {
        for (i, inside) in region.iter_mut().enumerate().filter(|(_, inside)| **inside) {
            let from = sub(grid.affine.apply([i as f64, (row % nj) as f64, (row / nj) as f64]), centre);
            let radius = norm(from);
            if radius > least {
                *inside = radius <= limit_towards(unit(from), &limits);
            }
        }
    });
}

/// The limit of the direction nearest to `direction`, infinite where none is near.
fn limit_towards(direction: [f64; 3], limits: &[([f64; 3], f64)]) -> f64 {
    let mut nearest = (COS_NEAR, f64::INFINITY);
    for (other, limit) in limits {
        let cosine = dot(direction, *other);
        if cosine > nearest.0 {
            nearest = (cosine, *limit);
        }
    }
    nearest.1
}

/// Where a ray leaves the region for the last time, in mm from the centre, and what it meets there.
fn end_of_ray(region: &[bool], coarse: &Coarse, to_voxels: &Affine, centre: [f64; 3], direction: [f64; 3]) -> (f64, End) {
    let grid = coarse.volume.grid();
    let block = |step: usize| {
        let place = to_voxels.apply(add(centre, scale(direction, step as f64 * STEP_MM))).map(f64::round);
        let within = (0..3).all(|a| place[a] >= 0.0 && place[a] < grid.shape[a] as f64);
        within.then(|| grid.index(place.map(|x| x as usize)))
    };
    let last = (0..(RAY_MM / STEP_MM) as usize).rev().find(|&step| block(step).is_some_and(|block| region[block])).unwrap_or(0);
    let mut end = End::Hole;
    for step in last + 1..=last + (BONE_WITHIN_MM / STEP_MM) as usize {
        match block(step) {
            None => {
                end = End::FieldOfView;
                break;
            }
            Some(block) if coarse.volume.voxels()[block] >= BONE_HU => {
                end = End::Bone;
                break;
            }
            Some(_) => {}
        }
    }
    (last as f64 * STEP_MM, end)
}

/// The distances of bone, carried on over the directions that meet none; these start at `mean`.
fn carried_on(sphere: &Icosphere, ends: &[(f64, End)], mean: f64) -> Vec<f64> {
    let mut radii: Vec<f64> = ends.iter().map(|(radius, end)| if *end == End::Bone { *radius } else { mean }).collect();
    let free: Vec<usize> = (0..ends.len()).filter(|&v| ends[v].1 != End::Bone).collect();
    for _ in 0..SWEEPS {
        for &v in &free {
            let neighbours = &sphere.neighbours[v];
            radii[v] = neighbours.iter().map(|n| radii[*n as usize]).sum::<f64>() / neighbours.len() as f64;
        }
    }
    radii
}

/// Mean place of a mask's voxels in RAS mm, `None` for an empty one.
fn centre(mask: &[bool], grid: &Grid) -> Option<[f64; 3]> {
    let (mut sum, mut count) = ([0.0; 3], 0usize);
    for (n, _) in mask.iter().enumerate().filter(|(_, inside)| **inside) {
        count += 1;
        sum = add(sum, grid.ijk(n).map(|x| x as f64));
    }
    (count > 0).then(|| grid.affine.apply(scale(sum, 1.0 / count as f64)))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{BRAIN, SKULL, ellipsoid, grid, places, scan, tissue};
    use super::*;

    const HOLE: [f64; 3] = [-55.0, 10.0, 40.0];

    fn in_hole(p: [f64; 3]) -> bool {
        norm(sub(p, HOLE)) < 25.0
    }

    /// A head whose skull has a hole, filled with soft tissue `thick` mm beyond the brain, and a region that leaks into it.
    fn leaking(thick: f64) -> (Coarse, Vec<bool>) {
        let leak = |p: [f64; 3]| in_hole(p) && ellipsoid(p, BRAIN.map(|a| a + thick)) < 1.0;
        let head = scan(&grid(), |p| match tissue(p) {
            _ if leak(p) => 35.0,
            1000.0 if in_hole(p) => -1000.0,
            hu => hu,
        });
        let region = places(&grid()).map(|p| ellipsoid(p, BRAIN) < 1.0 || leak(p)).collect();
        (Coarse::of(&head), region)
    }

    /// Voxels of a region that lie beyond the brain enlarged by `thick` mm.
    fn beyond(region: &[bool], thick: f64) -> usize {
        let far = |p: [f64; 3]| ellipsoid(p, BRAIN.map(|a| a + thick)) > 1.0;
        places(&grid()).zip(region).filter(|(p, inside)| **inside && far(*p)).count()
    }

    fn brain_kept(region: &[bool]) -> f64 {
        let inside = |p: [f64; 3]| ellipsoid(p, BRAIN) < 1.0;
        let kept = places(&grid()).zip(region).filter(|(p, v)| inside(*p) && **v).count();
        kept as f64 / places(&grid()).filter(|p| inside(*p)).count() as f64
    }

    #[test]
    fn scalp_in_a_hole_is_cut_and_the_brain_is_not() {
        let (coarse, mut region) = leaking(SKULL);
        let before = beyond(&region, 4.0);
        trim(&mut region, &coarse);
        assert!(before > 400, "{before}");
        assert!(beyond(&region, 4.0) * 20 < before, "{} of {before}", beyond(&region, 4.0));
        assert!(brain_kept(&region) > 0.999, "{}", brain_kept(&region));
    }

    #[test]
    fn a_bulging_brain_loses_its_cover_only() {
        let (coarse, mut region) = leaking(20.0);
        let kept = |region: &[bool]| beyond(region, 4.0) - beyond(region, 9.0);
        let (before, far) = (kept(&region), beyond(&region, 15.0));
        trim(&mut region, &coarse);
        assert!(kept(&region) * 4 > before * 3, "{} of {before}", kept(&region));
        assert!(beyond(&region, 15.0) * 5 < far, "{} of {far}", beyond(&region, 15.0));
    }

    #[test]
    fn a_whole_skull_and_no_skull_leave_the_region_as_it_is() {
        let whole = Coarse::of(&scan(&grid(), tissue));
        let none = Coarse::of(&scan(&grid(), |p| if ellipsoid(p, BRAIN) < 1.0 { 35.0 } else { -1000.0 }));
        let region: Vec<bool> = places(&grid()).map(|p| ellipsoid(p, BRAIN) < 1.0).collect();
        for coarse in [whole, none] {
            let mut trimmed = region.clone();
            trim(&mut trimmed, &coarse);
            assert!(trimmed == region);
        }
        let mut empty = vec![false; region.len()];
        trim(&mut empty, &Coarse::of(&scan(&grid(), tissue)));
        assert!(!empty.contains(&true));
    }

    #[test]
    fn distances_are_carried_on_over_a_hole() {
        // Bone at 50 + 10 z, but for a hole around the x axis.
        let sphere = Icosphere::new(4);
        let ends: Vec<(f64, End)> = sphere
            .vertices
            .iter()
            .map(|v| if v[0] > 0.8 { (90.0, End::Hole) } else { (50.0 + 10.0 * v[2], End::Bone) })
            .collect();
        let radii = carried_on(&sphere, &ends, 50.0);
        for (radius, v) in radii.iter().zip(&sphere.vertices) {
            // z is no solution of Laplace's equation on the sphere (its Laplacian is -2 z), but close to one over this cap.
            assert!((radius - (50.0 + 10.0 * v[2])).abs() < 1.0, "{radius} at {v:?}");
        }
    }
}
