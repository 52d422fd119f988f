//! Brain extraction by a deforming surface: BET (Smith, Fast robust automated brain extraction, Human Brain Mapping 2002) as
//! FSL has it, after the CT protocol of Muschelli and others (Validated automatic brain extraction of head CT images,
//! NeuroImage 2015).

use super::coarse::Coarse;
use super::defect;
use super::icosphere::{Icosphere, add, cross, dot, norm, scale, sub, unit};
use super::rasterise::rasterise;
use crate::volume::morphology::{close, fill_holes, keep_largest};
use crate::volume::{Affine, Volume};
use rayon::prelude::*;

/// Fractional intensity of the CT protocol.
const FRACTIONAL_INTENSITY: f64 = 0.01;

/// HU that the protocol keeps.
const TISSUE_HU: std::ops::RangeInclusive<f32> = 0.0..=100.0;

/// Standard deviation in mm of the protocol's Gaussian.
const SIGMA_MM: f64 = 1.0;

/// Steps of the surface.
const ITERATIONS: usize = 1000;

/// How deep below the surface the least and the greatest intensity are looked for, in mm, one sample per mm.
const DEPTHS_MM: (usize, usize) = (7, 3);

/// Radii of curvature in mm between which the smoothing term goes from strong to weak, at smoothness 1.
const RADII_MM: (f64, f64) = (3.33, 10.0);

/// Self-intersection above which a surface is thrown away.
const MAX_INTERSECTION: f64 = 4000.0;

/// Surfaces tried at most, each stiffer than the one before.
const PASSES: i32 = 10;

/// Smoothness of the first run and of the second, which starts at the first one's centre of gravity.
const SMOOTHNESS: [f64; 2] = [1.0, 2.0];

/// Radius in mm of the ball that closes the mask: the protocol's box of five voxels of 1 mm.
const CLOSING_MM: f64 = 2.5;

/// The brain on the coarse grid, or `None` where there is nothing of 0..100 HU to start from, or nothing is left.
///
/// What is inside the surface but not of 0..100 HU is taken out again: on CT the surface lies in the skull rather than on
/// the brain, and bone is the better wall.
pub(super) fn region(coarse: &Coarse) -> Option<Vec<bool>> {
    let image = prepare(coarse);
    let thresholds = Thresholds::of(&image)?;
    let sphere = Icosphere::new(4);
    let mut start = thresholds.start;
    let mut surface = Vec::new();
    for smoothness in SMOOTHNESS {
        surface = settle(&image, &sphere, &thresholds, start, smoothness)?;
        start.centre = centre_of_gravity(&image, &sphere, &surface).unwrap_or(start.centre);
    }
    let grid = image.grid();
    let mut mask = rasterise(grid, &sphere.triangles, &surface)?;
    mask.iter_mut().zip(coarse.volume.voxels()).for_each(|(inside, hu)| *inside &= TISSUE_HU.contains(hu));
    mask = close(&mask, grid.shape, grid.spacing(), CLOSING_MM);
    fill_holes(&mut mask, grid.shape);
    defect::trim(&mut mask, coarse);
    keep_largest(&mut mask, grid.shape);
    mask.contains(&true).then_some(mask)
}

/// The protocol up to BET: 0..100 HU kept, holes in it filled, Gaussian, kept again where tissue is.
fn prepare(coarse: &Coarse) -> Volume<f32> {
    let kept = |hu: &f32| if TISSUE_HU.contains(hu) { *hu } else { 0.0 };
    let tissue = coarse.volume.map(kept);
    let mut inside: Vec<bool> = tissue.voxels().iter().map(|hu| *hu > 0.0).collect();
    fill_holes(&mut inside, tissue.grid().shape);
    let smooth = Coarse { volume: tissue, axes: coarse.axes }.smoothed(SIGMA_MM);
    let masked = smooth.iter().zip(&inside).map(|(hu, inside)| if *inside { *hu } else { 0.0 }).collect();
    Volume::new(coarse.volume.grid().clone(), masked)
}

/// Where a surface starts: a sphere, in RAS mm.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Start {
    centre: [f64; 3],
    radius: f64,
}

/// Intensities that the surface is driven by.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Thresholds {
    /// 2% of the voxels lie below.
    t2: f64,
    /// A tenth of the way from t2 to t98: what lies below is background.
    t: f64,
    /// The brain's median.
    tm: f64,
    /// The sphere of the brain's centre and of its radius.
    start: Start,
}

impl Thresholds {
    /// Smith 2002, section 2.1. `None` for an image of one value.
    fn of(image: &Volume<f32>) -> Option<Thresholds> {
        let (t2, t98) = robust_range(image.voxels())?;
        let t = t2 + 0.1 * (t98 - t2);
        let grid = image.grid();
        let (mut sum, mut weights, mut count) = ([0.0; 3], 0.0, 0usize);
        for_each_voxel(image, |place, value| {
            if value > t {
                let weight = value.min(t98) - t2;
                sum = add(sum, scale(place, weight));
                weights += weight;
                count += 1;
            }
        });
        if count == 0 || weights <= 0.0 {
            return None;
        }
        let centre = scale(sum, 1.0 / weights);
        let radius = (0.75 * count as f64 * grid.voxel_mm3() / std::f64::consts::PI).cbrt();
        let mut within = Vec::new();
        for_each_voxel(image, |place, value| {
            if value > t2 && value <= t98 && norm(sub(place, centre)) < radius {
                within.push(value);
            }
        });
        let middle = within.len() / 2;
        let tm = (!within.is_empty()).then(|| *within.select_nth_unstable_by(middle, f64::total_cmp).1)?;
        Some(Thresholds { t2, t, tm, start: Start { centre, radius } })
    }
}

/// Calls `f` with the place in RAS mm and the value of every voxel.
fn for_each_voxel(image: &Volume<f32>, mut f: impl FnMut([f64; 3], f64)) {
    for (n, &value) in image.voxels().iter().enumerate() {
        f(image.grid().world(n), value as f64);
    }
}

/// The values that 2% and 98% of the voxels lie below, by a histogram of 1000 bins. `None` for an image of one value.
fn robust_range(values: &[f32]) -> Option<(f64, f64)> {
    let (low, high) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    if low >= high {
        return None;
    }
    let (low, width) = (low as f64, (high as f64 - low as f64) / 1000.0);
    let mut bins = [0usize; 1000];
    values.iter().for_each(|v| bins[(((*v as f64 - low) / width) as usize).min(999)] += 1);
    let part = values.len() as f64 * 0.02;
    let beyond = |bin: &usize, seen: &mut f64| {
        *seen += bins[*bin] as f64;
        *seen > part
    };
    let (mut low_tail, mut high_tail) = (0.0, 0.0);
    let below = (0..1000).find(|bin| beyond(bin, &mut low_tail))?;
    let above = (0..1000).rev().find(|bin| beyond(bin, &mut high_tail))?;
    Some((low + below as f64 * width, low + (above + 1) as f64 * width))
}

/// The surface after all steps: stiffer again and again until it does not cut itself.
fn settle(
    image: &Volume<f32>,
    sphere: &Icosphere,
    thresholds: &Thresholds,
    start: Start,
    smoothness: f64,
) -> Option<Vec<[f64; 3]>> {
    let to_voxels = image.grid().affine.inverse()?;
    let first: Vec<[f64; 3]> = sphere.vertices.iter().map(|v| add(start.centre, scale(*v, start.radius / 2.0))).collect();
    let mut surface = first.clone();
    for pass in 0..PASSES {
        let stiffness = if pass == 0 { 1.0 } else { 10f64.powi(pass + 1) };
        surface.copy_from_slice(&first);
        let mut edge = mean_edge(sphere, &surface);
        for iteration in 0..ITERATIONS {
            if iteration == 50 || iteration % 100 == 0 {
                edge = mean_edge(sphere, &surface);
            }
            let normals = normals(sphere, &surface);
            let step = Step { thresholds, edge, smoothness, stiffness };
            surface = (0..surface.len())
                .into_par_iter()
                .with_min_len(256)
                .map(|v| {
                    let around = sphere.neighbours[v].iter().fold([0.0; 3], |sum, n| add(sum, surface[*n as usize]));
                    let to_mean = sub(scale(around, 1.0 / sphere.neighbours[v].len() as f64), surface[v]);
                    let depths = depths(image, &to_voxels, surface[v], normals[v], thresholds);
                    add(surface[v], step.update(to_mean, normals[v], depths))
                })
                .collect();
        }
        if self_intersection(sphere, &surface, &first) <= MAX_INTERSECTION {
            break;
        }
    }
    surface.iter().all(|v| v.iter().all(|x| x.is_finite())).then_some(surface)
}

/// What moves all vertices alike.
struct Step<'a> {
    thresholds: &'a Thresholds,
    /// Mean distance of neighbours in mm.
    edge: f64,
    /// Multiplies the radii of curvature.
    smoothness: f64,
    /// Multiplies the smoothing of hollows.
    stiffness: f64,
}

impl Step<'_> {
    /// How a vertex moves: Smith 2002, section 2.3. `to_mean` goes to the mean of its neighbours, `normal` outward,
    /// `depths` are the least and the greatest intensity below it.
    fn update(&self, to_mean: [f64; 3], normal: [f64; 3], depths: Option<(f64, f64)>) -> [f64; 3] {
        let along = dot(to_mean, normal);
        let normal_part = scale(normal, along);
        let u1 = scale(sub(to_mean, normal_part), 0.5);
        let (narrow, wide) = (RADII_MM.0 * self.smoothness, RADII_MM.1 * self.smoothness);
        let (e, f) = ((1.0 / narrow + 1.0 / wide) / 2.0, 6.0 / (1.0 / narrow - 1.0 / wide));
        let mut weight = 0.5 * (1.0 + (f * (2.0 * along.abs() / (self.edge * self.edge) - e)).tanh());
        if along > 0.0 {
            weight = (weight * self.stiffness).min(1.0);
        }
        let u2 = scale(normal_part, weight);
        let u3 = depths.map_or([0.0; 3], |(least, greatest)| scale(normal, 0.05 * self.edge * self.pull(least, greatest)));
        add(u1, add(u2, u3))
    }

    /// The intensity term, positive where the surface is to grow.
    fn pull(&self, least: f64, greatest: f64) -> f64 {
        let t2 = self.thresholds.t2;
        let local = t2 + FRACTIONAL_INTENSITY.powf(0.275) * (greatest - t2);
        let contrast = if greatest > t2 { greatest - t2 } else { 1.0 };
        2.0 * (least - local) / contrast
    }
}

/// The least intensity over the first 7 mm below a vertex and the greatest over 3 mm, within the thresholds; `None` where
/// that leaves the image.
fn depths(
    image: &Volume<f32>,
    to_voxels: &Affine,
    vertex: [f64; 3],
    normal: [f64; 3],
    thresholds: &Thresholds,
) -> Option<(f64, f64)> {
    let sample = |depth: usize| {
        let place = to_voxels.apply(sub(vertex, scale(normal, depth as f64))).map(f64::round);
        let shape = image.grid().shape;
        let within = (0..3).all(|a| place[a] >= 0.0 && place[a] < shape[a] as f64);
        within.then(|| image.voxels()[image.grid().index(place.map(|x| x as usize))] as f64)
    };
    let (mut least, mut greatest) = (thresholds.tm, thresholds.t);
    for depth in 1..=DEPTHS_MM.0 {
        let value = sample(depth)?;
        least = least.min(value);
        if depth < DEPTHS_MM.1 {
            greatest = greatest.max(value);
        }
    }
    Some((least.max(thresholds.t2), greatest.min(thresholds.tm)))
}

/// Mean distance of neighbouring vertices.
fn mean_edge(sphere: &Icosphere, surface: &[[f64; 3]]) -> f64 {
    let (mut sum, mut count) = (0.0, 0usize);
    for (vertex, neighbours) in surface.iter().zip(&sphere.neighbours) {
        sum += neighbours.iter().map(|n| norm(sub(surface[*n as usize], *vertex))).sum::<f64>();
        count += neighbours.len();
    }
    sum / count as f64
}

/// Outward unit normals: the sum of the triangles around each vertex, weighted by area.
fn normals(sphere: &Icosphere, surface: &[[f64; 3]]) -> Vec<[f64; 3]> {
    let mut sums = vec![[0.0; 3]; surface.len()];
    for triangle in &sphere.triangles {
        let [a, b, c] = triangle.map(|v| surface[v as usize]);
        let normal = cross(sub(b, a), sub(c, a));
        triangle.iter().for_each(|v| sums[*v as usize] = add(sums[*v as usize], normal));
    }
    sums.into_iter().map(unit).collect()
}

/// FSL's measure of self-intersection: over pairs that are no neighbours but closer than the mean edge l, the squared
/// difference of their distance (in l) from that on the sphere at the start (in its l).
fn self_intersection(sphere: &Icosphere, surface: &[[f64; 3]], first: &[[f64; 3]]) -> f64 {
    let (edge, first_edge) = (mean_edge(sphere, surface), mean_edge(sphere, first));
    let of = |a: usize| {
        let others = (a + 1..surface.len()).filter(|b| sphere.neighbours[a].binary_search(&(*b as u32)).is_err());
        others
            .filter_map(|b| {
                let distance = norm(sub(surface[a], surface[b]));
                (distance < edge).then(|| (distance / edge - norm(sub(first[a], first[b])) / first_edge).powi(2))
            })
            .sum::<f64>()
    };
    // Summed in the order of the vertices, so that threads do not change the result.
    let parts: Vec<f64> = (0..surface.len()).into_par_iter().map(of).collect();
    parts.iter().sum()
}

/// Centre of gravity, by intensity, of the image inside a surface.
fn centre_of_gravity(image: &Volume<f32>, sphere: &Icosphere, surface: &[[f64; 3]]) -> Option<[f64; 3]> {
    let inside = rasterise(image.grid(), &sphere.triangles, surface)?;
    let (mut sum, mut weights, mut n) = ([0.0; 3], 0.0, 0);
    for_each_voxel(image, |place, value| {
        if inside[n] {
            sum = add(sum, scale(place, value));
            weights += value;
        }
        n += 1;
    });
    (weights > 0.0).then(|| scale(sum, 1.0 / weights))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Grid;

    const THRESHOLDS: Thresholds = Thresholds { t2: 10.0, t: 14.0, tm: 40.0, start: Start { centre: [0.0; 3], radius: 50.0 } };

    fn close_to(a: [f64; 3], b: [f64; 3], tolerance: f64) -> bool {
        norm(sub(a, b)) < tolerance
    }

    /// A grid of 2 x 2 x 3 mm around 0, its first axis to the left.
    fn grid() -> Grid {
        let affine = Affine::new([[-2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]], [69.3, -70.1, -67.2]);
        Grid { shape: [70, 70, 46], affine }
    }

    fn ball(centre: [f64; 3], radius: f64, value: f32) -> Volume<f32> {
        let mut image = Volume::new(grid(), vec![0.0; grid().len()]);
        let mut inside = Vec::new();
        for_each_voxel(&image, |place, _| inside.push(norm(sub(place, centre)) < radius));
        image.voxels_mut().iter_mut().zip(inside).for_each(|(v, inside)| *v = if inside { value } else { 0.0 });
        image
    }

    #[test]
    fn two_percent_lie_beyond_each_end_of_the_robust_range() {
        let values: Vec<f32> = (0..=10_000).map(|n| n as f32 / 10.0).collect();
        let (t2, t98) = robust_range(&values).unwrap();
        assert!((t2 - 20.0).abs() <= 1.0 && (t98 - 980.0).abs() <= 1.0, "{t2} {t98}");
        assert_eq!(robust_range(&[3.0; 10]), None);
    }

    #[test]
    fn the_start_is_the_centre_and_the_radius_of_a_ball() {
        let (centre, radius) = ([6.0, -4.0, 9.0], 40.0);
        let found = Thresholds::of(&ball(centre, radius, 50.0)).unwrap();
        assert!(close_to(found.start.centre, centre, 0.3), "{found:?}");
        assert!((found.start.radius / radius - 1.0).abs() < 0.01, "{found:?}");
        assert_eq!(found.t2, 0.0);
        assert!((found.t / 5.0 - 1.0).abs() < 0.01 && found.tm == 50.0, "{found:?}");
        assert_eq!(Thresholds::of(&ball(centre, 0.0, 50.0)), None);
    }

    #[test]
    fn a_vertex_moves_by_the_three_terms() {
        let normal = [0.0, 0.0, 1.0];
        let step = |smoothness, stiffness| Step { thresholds: &THRESHOLDS, edge: 4.0, smoothness, stiffness };
        // Tangential part alone: half of it.
        assert!(close_to(step(1.0, 1.0).update([3.0, -1.0, 0.0], normal, None), [1.5, -0.5, 0.0], 1e-12));
        // Normal part of 0.8 inward: curvature 2 * 0.8 / 16 = 0.1, the gentle radius of 10 mm, where the weight is
        // (1 + tanh(-3)) / 2; of 2.4 inward: 0.3, close to the sharp one of 3.33 mm, where it is (1 + tanh(3)) / 2.
        let weight = |s: f64| step(1.0, 1.0).update([0.0, 0.0, -s], normal, None)[2] / -s;
        assert!((weight(0.8) - 0.5 * (1.0 + (-3.0f64).tanh())).abs() < 1e-9, "{}", weight(0.8));
        assert!((weight(8.0 / 3.33) - 0.5 * (1.0 + 3.0f64.tanh())).abs() < 1e-9);
        // Twice the smoothness: the radii are 6.66 and 20, so half the curvature gives the same weight.
        assert!((step(2.0, 1.0).update([0.0, 0.0, -0.4], normal, None)[2] / -0.4 - weight(0.8)).abs() < 1e-9);
        // Stiffness multiplies hollows only, up to 1.
        assert_eq!(step(1.0, 100.0).update([0.0, 0.0, -0.8], normal, None)[2], -0.8 * weight(0.8));
        assert!((step(1.0, 100.0).update([0.0, 0.0, 0.8], normal, None)[2] - 0.8 * 100.0 * weight(0.8)).abs() < 1e-9);
        assert_eq!(step(1.0, 1e6).update([0.0, 0.0, 0.8], normal, None)[2], 0.8);
        // Intensity: least 30, greatest 38: local threshold 10 + 0.01^0.275 * 28 = 17.89, pull 2 * 12.11 / 28.
        let local = 10.0 + 0.01f64.powf(0.275) * 28.0;
        let moved = step(1.0, 1.0).update([0.0; 3], normal, Some((30.0, 38.0)));
        assert!(close_to(moved, [0.0, 0.0, 0.05 * 4.0 * 2.0 * (30.0 - local) / 28.0], 1e-12));
        assert!(step(1.0, 1.0).update([0.0; 3], normal, Some((12.0, 38.0)))[2] < 0.0, "below the threshold it draws back");
        assert_eq!(step(1.0, 1.0).pull(10.0, 10.0), 0.0, "no contrast, no division by 0");
    }

    #[test]
    fn depths_are_looked_for_inward_within_their_reach() {
        // A line of 20 voxels of 1 mm: 20 up to the eighth, then 18, 19, .. 29.
        let affine = Affine::IDENTITY;
        let line: Vec<f32> = (0..20).map(|k| if k < 8 { 20.0 } else { 10.0 + k as f32 }).collect();
        let image = Volume::new(Grid { shape: [1, 1, 20], affine }, line);
        let to_voxels = image.grid().affine.inverse().unwrap();
        let wide = Thresholds { t2: 0.0, t: 0.0, tm: 1000.0, ..THRESHOLDS };
        let at = |z: f64, thresholds: Thresholds| depths(&image, &to_voxels, [0.0, 0.0, z], [0.0, 0.0, 1.0], &thresholds);
        // From 19: 28, 27, .. 22 at 1 to 7 mm; the greatest is that of 1 mm.
        assert_eq!(at(19.0, wide), Some((22.0, 28.0)));
        // From 14: 23, 22, 21, 20, 19, 18, then 20.
        assert_eq!(at(14.0, wide), Some((18.0, 23.0)));
        // Never above the median, never below t2.
        assert_eq!(at(19.0, Thresholds { tm: 25.0, ..wide }), Some((22.0, 25.0)));
        assert_eq!(at(14.0, Thresholds { t2: 19.5, ..wide }), Some((19.5, 23.0)));
        assert_eq!(at(6.0, wide), None, "7 mm below the vertex lie outside the image");
    }

    #[test]
    fn a_sphere_does_not_cut_itself_and_a_folded_one_does() {
        let sphere = Icosphere::new(4);
        let first: Vec<[f64; 3]> = sphere.vertices.iter().map(|v| scale(*v, 30.0)).collect();
        assert_eq!(self_intersection(&sphere, &first, &first), 0.0);
        let larger: Vec<[f64; 3]> = first.iter().map(|v| scale(*v, 2.0)).collect();
        assert_eq!(self_intersection(&sphere, &larger, &first), 0.0);
        // The upper half pressed down onto the lower one: opposite vertices come close.
        let folded: Vec<[f64; 3]> = first.iter().map(|v| [v[0], v[1], -v[2].abs()]).collect();
        assert!(self_intersection(&sphere, &folded, &first) > MAX_INTERSECTION);
    }

    #[test]
    fn normals_of_a_sphere_point_outward() {
        let sphere = Icosphere::new(3);
        let surface: Vec<[f64; 3]> = sphere.vertices.iter().map(|v| add([5.0, 6.0, 7.0], scale(*v, 30.0))).collect();
        assert!(normals(&sphere, &surface).iter().zip(&sphere.vertices).all(|(n, v)| close_to(*n, *v, 0.03)));
    }

    #[test]
    fn the_surface_settles_on_a_ball() {
        let (centre, radius) = ([3.0, -5.0, 2.0], 45.0);
        let image = ball(centre, radius, 50.0);
        let sphere = Icosphere::new(3);
        let thresholds = Thresholds::of(&image).unwrap();
        let surface = settle(&image, &sphere, &thresholds, thresholds.start, 1.0).unwrap();
        let distances = surface.iter().map(|v| norm(sub(*v, centre)));
        let (least, most) = distances.fold((f64::INFINITY, 0.0f64), |(l, m), d| (l.min(d), m.max(d)));
        assert!(least > radius - 4.0 && most < radius + 4.0, "{least} {most}");
        let found = centre_of_gravity(&image, &sphere, &surface).unwrap();
        assert!(close_to(found, centre, 0.5), "{found:?}");
    }
}
