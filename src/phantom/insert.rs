//! Bleeds put into a real scan that has none, and things that look like blood and are none.
//!
//! The scan's own noise stays: blood takes the place of the local mean only. Nothing is pushed aside. Voxels that hold neither blood, oedema nor
//! calcification keep their values to the bit.

use super::bleeds::{self, Bleed, CLEARANCE, DURA, Order};
use super::field::{Vec3, along, cover, ellipsoid, norm, sub};
use super::{Kind, Truth};
use crate::random::stream::Random;
use crate::volume::distance::distance_squared;
use crate::volume::{Affine, Grid, Volume};
use crate::{Error, Result};
use rayon::prelude::*;

/// What is put in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Share of scans that get calcifications only.
    pub without_bleed: f32,
    /// Least and greatest volume of a bleed in mL.
    pub volume_ml: [f32; 2],
    /// What bleeds may be. Infratentorial ones are not put in: a scan's mask does not say where its tentorium is.
    pub kinds: Vec<Kind>,
    /// Whether bleeds are to be hard to see, as [`super::Settings::hard`].
    pub hard: bool,
    /// The most calcifications.
    pub calcifications: usize,
}

/// A scan with what was put in.
#[derive(Clone, Debug)]
pub struct Inserted {
    /// HU.
    pub scan: Volume<f32>,
    /// Where more than half of a voxel is blood.
    pub label: Volume<bool>,
    /// The bleeds.
    pub bleeds: Vec<Truth>,
}

/// Below this smoothed HU, deep in the brain, there is a ventricle.
const VENTRICLE_HU: f32 = 16.0;
/// Ventricles lie deeper than this in the brain mask, mm; fissures and cisterns do not.
const VENTRICLE_MM: f32 = 18.0;

/// Blood outside the ventricles keeps so far from the plane of the midline, where the falx is, mm.
const MIDLINE_MM: f32 = 2.0;

/// How often bleeds are drawn anew where none of them fits into the scan.
const ATTEMPTS: usize = 8;

/// The scan's geometry, with values between voxels.
struct Space<'a> {
    grid: &'a Grid,
    to_index: Affine,
}

impl Space<'_> {
    /// The middle of a voxel.
    fn voxel(&self, n: usize) -> Vec3 {
        let [ni, nj, _] = self.grid.shape;
        let ijk = [n % ni, n / ni % nj, n / ni / nj].map(|x| x as f64);
        self.grid.affine.apply(ijk).map(|x| x as f32)
    }

    /// `values` at a point of the world, linear between voxels.
    fn at(&self, values: &[f32], p: Vec3) -> f32 {
        let index = self.to_index.apply(p.map(f64::from));
        let mut base = [0; 3];
        let mut part = [0.0; 3];
        for a in 0..3 {
            let last = self.grid.shape[a] - 1;
            let x = index[a].clamp(0.0, last as f64);
            base[a] = (x as usize).min(last);
            part[a] = (x - base[a] as f64) as f32;
        }
        let mut sum = 0.0;
        for n in 0..8 {
            let d = [n & 1, n >> 1 & 1, n >> 2];
            let weight: f32 = (0..3).map(|a| if d[a] == 1 { part[a] } else { 1.0 - part[a] }).product();
            if weight > 0.0 {
                sum += weight * values[self.grid.index([base[0] + d[0], base[1] + d[1], base[2] + d[2]])];
            }
        }
        sum
    }
}

/// Signed depth in a mask, mm: half a voxel is taken off so that 0 lies between the inner and the outer voxels.
fn signed_depth(mask: &Volume<bool>) -> Vec<f32> {
    let (shape, spacing) = (mask.grid().shape, mask.grid().spacing());
    let outside: Vec<bool> = mask.voxels().iter().map(|inside| !inside).collect();
    let to_outside = distance_squared(&outside, shape, spacing);
    let to_inside = distance_squared(mask.voxels(), shape, spacing);
    let half = 0.5 * spacing[0].min(spacing[1]) as f32;
    to_outside
        .iter()
        .zip(to_inside)
        .map(|(out, inside)| if *out > 0.0 { out.sqrt() - half } else { half - inside.sqrt() })
        .collect()
}

/// Mean of `scan` over the 7 x 7 voxels of a slice around each voxel, of those inside `mask`; 0 outside.
fn smoothed(scan: &Volume<f32>, mask: &Volume<bool>) -> Vec<f32> {
    const REACH: usize = 3;
    let [ni, nj, _] = scan.grid().shape;
    let mut means = vec![0.0; scan.voxels().len()];
    let planes = means.par_chunks_mut(ni * nj).zip(scan.voxels().par_chunks(ni * nj)).zip(mask.voxels().par_chunks(ni * nj));
    planes.for_each(|((means, hu), inside)| {
        for n in (0..ni * nj).filter(|&n| inside[n]) {
            let (i, j) = (n % ni, n / ni);
            let (mut sum, mut count) = (0.0, 0.0);
            for j in j.saturating_sub(REACH)..(j + REACH + 1).min(nj) {
                for i in i.saturating_sub(REACH)..(i + REACH + 1).min(ni) {
                    let m = i + ni * j;
                    if inside[m] {
                        sum += hu[m];
                        count += 1.0;
                    }
                }
            }
            means[n] = sum / count;
        }
    });
    means
}

/// Puts bleeds of a seed into a scan; `brain` is its brain mask. The same for any number of threads.
///
/// # Errors
/// [`Error::Phantom`] where scan and mask have different grids, the mask holds less than 300 mL, or no bleed of the kinds asked for fits.
pub fn insert(seed: u64, scan: &Volume<f32>, brain: &Volume<bool>, settings: &Settings) -> Result<Inserted> {
    let grid = scan.grid();
    let head = Head::new(scan, brain)?;
    let mut random = Random::new(seed, 40);
    let mut free = head.depth.clone();
    let bleeds = head.bleeds(&mut random, settings, &mut free);
    if bleeds.is_empty() && settings.without_bleed == 0.0 {
        return Err(problem("no bleed of these kinds and volumes fits into the scan: give other kinds, or other volumes"));
    }
    let marks = head.calcifications(&mut random, settings.calcifications, &free);
    let (hu, label) = Painter::new(&head, &bleeds, &marks).paint(scan);
    let bleeds = bleeds.iter().map(|bleed| Truth {
        kind: bleed.kind,
        volume_ml: bleed.volume_ml,
        hu: bleed.hu,
        centre: bleed.centre.map(f64::from),
        in_view: bleed.share(|p| super::in_grid(grid, &head.space.to_index, p.map(f64::from))),
    });
    Ok(Inserted { bleeds: bleeds.collect(), scan: Volume::new(grid.clone(), hu), label: Volume::new(grid.clone(), label) })
}

fn problem(text: &str) -> Error {
    Error::Phantom(text.into())
}

/// A small dense body.
struct Mark {
    centre: Vec3,
    half: Vec3,
    hu: f32,
}

/// What is known of the head in a scan.
struct Head<'a> {
    space: Space<'a>,
    /// Depth in the brain mask at each voxel, mm.
    depth: Vec<f32>,
    /// Depth in the ventricles at each voxel, mm.
    ventricles: Vec<f32>,
    /// The local mean of HU at each voxel.
    means: Vec<f32>,
    /// The middle of the brain.
    middle: Vec3,
    /// The corners of the box around the brain.
    corners: (Vec3, Vec3),
}

impl<'a> Head<'a> {
    fn new(scan: &'a Volume<f32>, brain: &Volume<bool>) -> Result<Head<'a>> {
        let grid = scan.grid();
        let to_index = grid.affine.inverse().ok_or_else(|| problem("the scan's affine is singular"))?;
        if brain.grid() != grid {
            return Err(problem("the brain mask has another grid than the scan"));
        }
        if brain.volume_ml() < 300.0 {
            return Err(problem("the brain mask holds less than 300 mL: there is no room for a bleed"));
        }
        let space = Space { grid, to_index };
        let depth = signed_depth(brain);
        let means = smoothed(scan, brain);
        let ventricles = ventricles(brain, &depth, &means);
        let (mut low, mut high, mut sum, mut count) = ([f32::MAX; 3], [f32::MIN; 3], [0.0f64; 3], 0.0);
        for n in (0..depth.len()).filter(|&n| brain.voxels()[n]) {
            let p = space.voxel(n);
            for a in 0..3 {
                (low[a], high[a], sum[a]) = (low[a].min(p[a]), high[a].max(p[a]), sum[a] + f64::from(p[a]));
            }
            count += 1.0;
        }
        let middle = sum.map(|x| (x / count) as f32);
        Ok(Head { space, depth, ventricles, means, middle, corners: (low, high) })
    }

    /// Draws bleeds where there is room; `free` is the depth in what they may fill, and becomes that in what they
    /// leave.
    fn bleeds(&self, random: &mut Random, settings: &Settings, free: &mut [f32]) -> Vec<Bleed> {
        let kinds: Vec<Kind> = settings.kinds.iter().copied().filter(|&kind| kind != Kind::Infratentorial).collect();
        let mut bleeds: Vec<Bleed> = Vec::new();
        for _ in 0..ATTEMPTS {
            let orders = bleeds::order(random, settings.without_bleed, settings.volume_ml, &kinds, settings.hard);
            for order in &orders {
                let Some(bleed) = self.place(random, order, free) else { continue };
                // What the next one may not touch.
                free.par_iter_mut()
                    .enumerate()
                    .filter(|(_, free)| **free > 0.0)
                    .for_each(|(n, free)| *free = free.min(-self.depth_of(&bleed, self.space.voxel(n))));
                bleeds.push(bleed);
            }
            // Where nothing of what was asked for has found room, something else is asked for.
            if orders.is_empty() || !bleeds.is_empty() {
                break;
            }
        }
        bleeds
    }

    fn place(&self, random: &mut Random, order: &Order, free: &[f32]) -> Option<Bleed> {
        let (middle, corners) = (self.middle, self.corners);
        let room = |p: Vec3, side: f32| self.in_hemisphere(self.space.at(free, p), p, side);
        match order.kind {
            Kind::Subdural => {
                // The mask ends at the dura.
                let wall = |p: Vec3| self.space.at(&self.depth, p) + DURA;
                Bleed::convexity_in(random, order, middle, corners, wall, |p, side| room(p, side) + DURA)
            }
            Kind::Intraventricular => {
                let within = |p: Vec3| self.space.at(&self.ventricles, p).min(self.space.at(free, p));
                Bleed::in_ventricles(random, order, middle, corners, within)
            }
            Kind::Deep | Kind::Lobar | Kind::Infratentorial => hematoma(random, order, middle, corners, room),
        }
    }

    /// Depth of a point in the hemisphere of a side (-1 left, 1 right), where it lies `depth` mm deep in the brain.
    fn in_hemisphere(&self, depth: f32, p: Vec3, side: f32) -> f32 {
        depth.min(side * (p[0] - self.middle[0]) - MIDLINE_MM)
    }

    /// Depth of a point in a bleed. What is not in the ventricles stays in the hemisphere in which it was measured.
    fn depth_of(&self, bleed: &Bleed, p: Vec3) -> f32 {
        let wall = self.space.at(&self.depth, p);
        let side = (bleed.centre[0] - self.middle[0]).signum();
        let room = self.in_hemisphere(wall, p, side);
        match bleed.kind {
            Kind::Subdural => bleed.sheet_depth(p, room, wall + DURA),
            Kind::Intraventricular => bleed.depth_in(p, self.space.at(&self.ventricles, p)),
            Kind::Deep | Kind::Lobar | Kind::Infratentorial => bleed.depth_in(p, room - CLEARANCE),
        }
    }

    /// Small dense bodies away from blood.
    fn calcifications(&self, random: &mut Random, most: usize, free: &[f32]) -> Vec<Mark> {
        let (low, high) = self.corners;
        let wanted = (random.unit() * (most + 1) as f32) as usize;
        let mut marks = Vec::new();
        for _ in 0..60 * wanted {
            if marks.len() == wanted {
                break;
            }
            let centre = [0, 1, 2].map(|a| random.uniform(low[a], high[a]));
            let half = [0; 3].map(|_| random.uniform(1.0, 4.0));
            let hu = random.log_uniform(60.0, 400.0);
            if self.space.at(free, centre) > 6.0 {
                marks.push(Mark { centre, half, hu });
            }
        }
        marks
    }
}

/// Paints bleeds and calcifications into voxels.
struct Painter<'a> {
    head: &'a Head<'a>,
    bleeds: &'a [Bleed],
    marks: &'a [Mark],
    /// Over how many mm a surface goes from one side to the other.
    width: f32,
    /// Samples of a voxel, and the way from its first to its last face, across its slice.
    samples: usize,
    across: Vec3,
}

/// What is in a voxel: shares, and the HU of what is there.
#[derive(Default)]
struct Mixture {
    blood: f32,
    blood_hu: f32,
    /// HU that oedema takes away.
    oedema: f32,
    mark: f32,
    mark_hu: f32,
}

impl<'a> Painter<'a> {
    fn new(head: &'a Head, bleeds: &'a [Bleed], marks: &'a [Mark]) -> Painter<'a> {
        let axes = [0, 1, 2].map(|c| head.space.grid.affine.matrix().map(|row| row[c] as f32));
        let width = norm(axes[0]).max(norm(axes[1])).max(0.7);
        let samples = (norm(axes[2]) / 1.4).round().clamp(1.0, 8.0) as usize;
        Painter { head, bleeds, marks, width, samples, across: axes[2] }
    }

    /// HU, and where more than half of a voxel is blood.
    fn paint(&self, scan: &Volume<f32>) -> (Vec<f32>, Vec<bool>) {
        let Head { space, depth, means, .. } = self.head;
        let mut label = vec![false; depth.len()];
        let mut hu = scan.voxels().to_vec();
        hu.par_iter_mut().zip(&mut label).enumerate().filter(|(n, _)| depth[*n] > -2.0).for_each(|(n, (hu, label))| {
            let mixture = self.mixture(space.voxel(n));
            *label = mixture.blood > 0.5;
            if mixture.oedema > 0.0 && means[n] > VENTRICLE_HU + 4.0 {
                *hu -= mixture.oedema * (1.0 - mixture.blood);
            }
            if mixture.blood > 0.0 {
                *hu += mixture.blood * (mixture.blood_hu - means[n]);
            }
            if mixture.mark > 0.0 {
                *hu += mixture.mark.min(1.0) * (mixture.mark_hu - *hu);
            }
        });
        (hu, label)
    }

    /// What is put into the voxel around a point.
    fn mixture(&self, centre: Vec3) -> Mixture {
        let mut mixture = Mixture::default();
        let samples = self.samples as f32;
        for sample in 0..self.samples {
            let p = along(centre, (sample as f32 + 0.5) / samples - 0.5, self.across);
            let mut share = 0.0f32;
            for bleed in self.bleeds {
                let deep = self.head.depth_of(bleed, p);
                let here = cover(deep, self.width);
                if here > share {
                    mixture.blood_hu = mixture.blood_hu.max(bleed.blood_hu(centre));
                    share = here;
                }
                if deep < 0.0 {
                    mixture.oedema = mixture.oedema.max(bleed.oedema(deep));
                }
            }
            mixture.blood += share / samples;
            for mark in self.marks {
                let here = cover(ellipsoid(p, mark.centre, mark.half), self.width);
                if here > 0.0 {
                    mixture.mark += here / samples;
                    mixture.mark_hu = mark.hu;
                }
            }
        }
        mixture
    }
}

/// Depth in the ventricles: dark and deep in the brain.
fn ventricles(brain: &Volume<bool>, depth: &[f32], means: &[f32]) -> Vec<f32> {
    let dark = depth
        .iter()
        .zip(means)
        .zip(brain.voxels())
        .map(|((&deep, &hu), &inside)| inside && deep > VENTRICLE_MM && hu < VENTRICLE_HU);
    signed_depth(&Volume::new(brain.grid().clone(), dark.collect()))
}

/// A hematoma deep in the brain or near its surface, in one hemisphere.
fn hematoma(
    random: &mut Random,
    order: &Order,
    middle: Vec3,
    (low, high): (Vec3, Vec3),
    room: impl Fn(Vec3, f32) -> f32 + Sync,
) -> Option<Bleed> {
    let radius = 10.0 * (order.ml * 3.0 / (4.0 * std::f32::consts::PI)).cbrt();
    let side = random.side();
    for _ in 0..200 {
        let p = [0, 1, 2].map(|a| random.uniform(low[a], high[a]));
        let free = room(p, side);
        let good = match order.kind {
            // Basal ganglia and thalamus: around the middle of the brain, to the side.
            Kind::Deep => free > 6.0 && norm(sub(p, along(middle, 22.0 * side, [1.0, 0.0, 0.0]))) < 18.0,
            _ => free > 3.0 + 0.45 * radius && free < 12.0 + 1.1 * radius && p[2] > middle[2] - 25.0,
        };
        if good {
            return Bleed::hematoma_at(random, order, p, None, |p| room(p, side) - CLEARANCE);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::{self, ct_grid};

    fn settings(kind: Kind) -> Settings {
        Settings { without_bleed: 0.0, volume_ml: [6.0, 25.0], kinds: vec![kind], hard: false, calcifications: 3 }
    }

    /// A head without a bleed, and its brain.
    fn head() -> (Volume<f32>, Volume<bool>) {
        let grid = ct_grid([110, 130, 60], [1.5, 1.5, 2.8], 12.0);
        let head = phantom::generate(8, &phantom::Settings { without_bleed: 1.0, ..phantom::Settings::new(grid, 2.8) }).unwrap();
        (head.scan, head.brain)
    }

    #[test]
    fn voxels_away_from_what_is_put_in_keep_their_bits_and_the_volume_is_the_drawn_one() {
        let (scan, brain) = head();
        let border = signed_depth(&brain);
        for (kind, seed) in [(Kind::Lobar, 1), (Kind::Deep, 2), (Kind::Subdural, 3), (Kind::Intraventricular, 4)] {
            // The depth under the skull is known to half a voxel only: sheets must be thick beside that.
            let range = if kind == Kind::Subdural { [60.0, 80.0] } else { [6.0, 25.0] };
            let put = insert(seed, &scan, &brain, &Settings { calcifications: 0, volume_ml: range, ..settings(kind) }).unwrap();
            let drawn: f64 = put.bleeds.iter().map(|bleed| bleed.volume_ml).sum();
            let label = put.label.volume_ml();
            assert!((label / drawn - 1.0).abs() < 0.08, "{kind:?}: {label} mL for {drawn}");
            let grid = scan.grid();
            let [ni, nj, _] = grid.shape;
            let near = distance_squared(put.label.voxels(), grid.shape, grid.spacing());
            let mut changed = 0;
            for (n, (before, after)) in scan.voxels().iter().zip(put.scan.voxels()).enumerate() {
                changed += usize::from(before != after);
                // Oedema is at most 5 mm and 0.08 mm for each mL wide. The edge of a subdural bleed is thinner than half a voxel: blood at the border, no label.
                let may_change = near[n] < 14f32.powi(2) || (kind == Kind::Subdural && border[n] < 4.0);
                assert!(before == after || may_change, "{kind:?}: voxel {:?}", [n % ni, n / ni % nj, n / ni / nj]);
            }
            assert!(changed >= put.label.count() * 9 / 10);
            assert!(put.label.voxels().iter().zip(brain.voxels()).all(|(blood, inside)| !blood || *inside));
        }
    }

    #[test]
    fn a_large_deep_bleed_ends_at_the_midline_as_its_volume_does() {
        let (scan, brain) = head();
        for seed in 0..4 {
            let large = Settings { calcifications: 0, volume_ml: [70.0, 100.0], ..settings(Kind::Deep) };
            let put = insert(seed, &scan, &brain, &large).unwrap();
            let drawn: f64 = put.bleeds.iter().map(|bleed| bleed.volume_ml).sum();
            let label = put.label.volume_ml();
            assert!((label / drawn - 1.0).abs() < 0.05, "seed {seed}: {label} mL for {drawn}");
        }
    }

    #[test]
    fn what_a_slab_of_a_head_shows_of_a_bleed_is_told() {
        let (scan, brain) = head();
        // Twelve slices from the middle: the brain goes on above and below.
        let [ni, nj, _] = scan.grid().shape;
        let affine = scan.grid().affine.after(&Affine::new(Affine::IDENTITY.matrix(), [0.0, 0.0, 26.0]));
        let grid = Grid { shape: [ni, nj, 12], affine };
        let part = 26 * ni * nj..38 * ni * nj;
        let slab = Volume::new(grid.clone(), scan.voxels()[part.clone()].to_vec());
        let brain = Volume::new(grid, brain.voxels()[part].to_vec());
        let mut cut = 0;
        for seed in 0..6 {
            let large = Settings { calcifications: 0, volume_ml: [20.0, 30.0], ..settings(Kind::Lobar) };
            let put = insert(seed, &slab, &brain, &large).unwrap();
            let shown: f64 = put.bleeds.iter().map(|bleed| bleed.volume_ml * bleed.in_view).sum();
            assert!((put.label.volume_ml() / shown - 1.0).abs() < 0.1, "seed {seed}: {} mL for {shown}", put.label.volume_ml());
            cut += usize::from(put.bleeds.iter().any(|bleed| bleed.in_view < 0.95));
        }
        assert!(cut > 0);
    }

    #[test]
    fn without_a_bleed_only_calcifications_are_put_in() {
        let (scan, brain) = head();
        let put =
            insert(5, &scan, &brain, &Settings { without_bleed: 1.0, calcifications: 40, ..settings(Kind::Lobar) }).unwrap();
        assert_eq!((put.label.count(), put.bleeds.len()), (0, 0));
        let brighter = scan.voxels().iter().zip(put.scan.voxels()).filter(|(before, after)| **after > **before + 20.0).count();
        assert!((1..scan.voxels().len() / 200).contains(&brighter), "{brighter}");
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let (scan, brain) = head();
        let other = Volume::new(ct_grid([4; 3], [1.0; 3], 0.0), vec![true; 64]);
        let empty = brain.map(|_| false);
        for mask in [&other, &empty] {
            assert!(matches!(insert(1, &scan, mask, &settings(Kind::Lobar)), Err(Error::Phantom(_))));
        }
        assert!(matches!(insert(1, &scan, &brain, &settings(Kind::Infratentorial)), Err(Error::Phantom(_))));
    }
}
