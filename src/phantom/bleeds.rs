//! Bleeds: where blood lies, how dense it is, what it pushes aside.
//!
//! A bleed is all points whose *level* is below a threshold. The threshold is the quantile of the levels of a fine lattice of points that gives the
//! bleed its volume, so the volume is that which was asked for, whatever the shape and whatever bone, falx or ventricle cuts off.

use super::anatomy::{Anatomy, BrainFields, Displacement, SkullFields};
use super::field::{Lattice, Noise, Vec3, along, direction, dot, ellipsoid, norm, rotation, smooth_step, sub, union};
use crate::random::stream::Random;
use rayon::prelude::*;
use std::sync::Arc;

/// What a bleed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Intracerebral, in basal ganglia or thalamus.
    Deep,
    /// Intracerebral, in a lobe.
    Lobar,
    /// In the cerebellum or the brainstem.
    Infratentorial,
    /// In the ventricles.
    Intraventricular,
    /// Subdural, over the convexity or along the falx.
    Subdural,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 5] = [Kind::Deep, Kind::Lobar, Kind::Infratentorial, Kind::Intraventricular, Kind::Subdural];

    /// The kind's name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Deep => "deep",
            Kind::Lobar => "lobar",
            Kind::Infratentorial => "infratentorial",
            Kind::Intraventricular => "intraventricular",
            Kind::Subdural => "subdural",
        }
    }

    /// The largest volume that there is room for, mL.
    fn most_ml(self) -> f32 {
        match self {
            Kind::Deep => 110.0,
            Kind::Lobar | Kind::Subdural => 150.0,
            Kind::Infratentorial => 45.0,
            Kind::Intraventricular => 80.0,
        }
    }
}

/// Thickness of the dura, mm: blood lies below it.
pub const DURA: f32 = 0.5;
/// A hematoma keeps so far from the surface of its room, mm.
pub const CLEARANCE: f32 = 0.8;

/// Greatest thickness of blood along the falx, mm; more where the skull cuts the sheet short.
const FALX_THICKNESS: f32 = 10.0;

/// No blood of a sheet is further from the surface that it lies on, mm.
const SHEET_REACH: f32 = 40.0;

/// How the blood of a bleed looks.
#[derive(Clone, Debug)]
struct Look {
    hu: f32,
    texture: Noise,
    /// Active bleeding: paler parts where the noise is above the threshold.
    swirl: Option<(Noise, f32, f32)>,
    /// Cells have sunk: above this y the blood is plasma of the second value's HU.
    fluid_level: Option<(f32, f32)>,
    /// Width of the oedema around it in mm, and the HU that it takes.
    oedema: (f32, f32),
}

/// One rounded part of a hematoma.
#[derive(Clone, Debug)]
struct Lobe {
    centre: Vec3,
    half: Vec3,
}

/// Where a hematoma may lie.
#[derive(Clone, Debug)]
pub enum Room {
    /// The cerebrum on one side: -1 left, 1 right.
    Hemisphere(f32),
    /// Below the tentorium.
    PosteriorFossa,
}

#[derive(Clone, Debug)]
enum Shape {
    /// A body of lobes with a rough surface, in its own turned axes.
    Hematoma { turn: [Vec3; 3], lobes: Vec<Lobe>, rough: Noise, rough_mm: f32, fine: Noise, fine_mm: f32, room: Option<Room> },
    /// Blood in the ventricles: around `centre` (casting), or what has sunk to the back.
    Ventricles { rough: Noise, sunk: bool },
    /// A crescent under the inner table around the direction `towards`; `axes` span its surface and have lengths of its two half widths (of a unit sphere).
    Convexity { middle: Vec3, side: f32, towards: Vec3, axes: [Vec3; 2], rough: Noise },
    /// A sheet along the falx, about a y with two half widths, along it and down from the vault; there is none below `floor`.
    Falx { side: f32, y: f32, half: [f32; 2], floor: f32 },
}

/// A bleed in place.
#[derive(Clone, Debug)]
pub struct Bleed {
    /// What it is.
    pub kind: Kind,
    /// Its volume in mL, all of it, also what a scan's field of view leaves out.
    pub volume_ml: f64,
    /// Mean HU of its clotted part.
    pub hu: f32,
    /// Its centre of mass, mm in the head (right, front, top of the anterior commissure).
    pub centre: Vec3,
    shape: Shape,
    look: Look,
    threshold: f32,
    /// Where the shape was begun.
    about: Vec3,
    /// No blood is further than this from the centre of mass.
    reach: f32,
    /// The points that gave the volume, each as much of it as any other.
    points: Arc<[Vec3]>,
}

/// A bleed that is to be drawn.
pub struct Order {
    pub kind: Kind,
    pub ml: f32,
    /// Whether it is to be hard to see: faint, pale in parts or layered more often than not, and thin where it is a sheet.
    pub hard: bool,
}

/// What bleeds a head gets: kinds and volumes, the larger first. `hard` changes neither.
pub fn order(random: &mut Random, none_share: f32, range_ml: [f32; 2], kinds: &[Kind], hard: bool) -> Vec<Order> {
    if random.chance(none_share) || kinds.is_empty() {
        return Vec::new();
    }
    let weight = |kind: &Kind| match kind {
        Kind::Deep => 0.33,
        Kind::Lobar => 0.29,
        Kind::Infratentorial => 0.11,
        Kind::Intraventricular => 0.11,
        Kind::Subdural => 0.16,
    };
    let weights: Vec<f32> = kinds.iter().map(weight).collect();
    let mut orders = Vec::new();
    let volume = |random: &mut Random, kind: Kind, most: f32| {
        let most = range_ml[1].min(kind.most_ml()).min(most).max(range_ml[0]);
        random.log_uniform(range_ml[0], most)
    };
    let first = kinds[random.pick(&weights)];
    let ml = volume(random, first, f32::MAX);
    orders.push(Order { kind: first, ml, hard });
    let inside = matches!(first, Kind::Deep | Kind::Infratentorial) || (first == Kind::Lobar && ml > 25.0);
    if inside && kinds.contains(&Kind::Intraventricular) && random.chance(0.35) {
        orders.push(Order { kind: Kind::Intraventricular, ml: volume(random, Kind::Intraventricular, 40.0), hard });
    }
    if random.chance(0.18) {
        for _ in 0..1 + random.pick(&[3.0, 2.0, 1.0]) {
            let kind = kinds[random.pick(&weights)];
            if orders.iter().all(|order| order.kind != Kind::Intraventricular || kind != Kind::Intraventricular) {
                orders.push(Order { kind, ml: volume(random, kind, 12.0), hard });
            }
        }
    }
    orders.sort_by(|a, b| b.ml.total_cmp(&a.ml));
    orders
}

/// The threshold of a bleed, and what it encloses: volume, centre of mass, radius about it, points.
struct Found {
    threshold: f32,
    volume_ml: f64,
    centre: Vec3,
    radius: f32,
    points: Arc<[Vec3]>,
}

/// Threshold of the bleed whose `level` (where there is room, and a value that must be below the threshold) is the lowest: of points
/// `step` apart in a box, as many as the volume of `ml` has. `skip` may leave out whole blocks of points around a centre.
fn threshold(
    (low, high): (Vec3, Vec3),
    step: f32,
    ml: f32,
    level: impl Fn(Vec3) -> Option<f32> + Sync,
    skip: impl Fn(Vec3, f32) -> bool + Sync,
) -> Option<Found> {
    const BLOCK: usize = 4;
    let side = step * BLOCK as f32;
    let blocks = [0, 1, 2].map(|a| ((high[a] - low[a]) / side).ceil().max(1.0) as usize);
    let mut points: Vec<(f32, Vec3)> = (0..blocks.iter().product())
        .into_par_iter()
        .flat_map_iter(|n: usize| {
            let block = [n % blocks[0], n / blocks[0] % blocks[1], n / blocks[0] / blocks[1]];
            let corner = [0, 1, 2].map(|a| low[a] + side * block[a] as f32);
            let skipped = skip(corner.map(|x| x + 0.5 * side), 0.87 * side);
            let level = &level;
            (0..if skipped { 0 } else { BLOCK * BLOCK * BLOCK }).filter_map(move |m| {
                let at = [m % BLOCK, m / BLOCK % BLOCK, m / BLOCK / BLOCK];
                let p = [0, 1, 2].map(|a| corner[a] + step * (at[a] as f32 + 0.5));
                level(p).map(|level| (level, p))
            })
        })
        .collect();
    let each = f64::from(step).powi(3) / 1000.0;
    let wanted = (f64::from(ml) / each).round() as usize;
    let count = wanted.min(points.len());
    if count < 20 {
        return None;
    }
    let (_, &mut (threshold, _), _) = points.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0));
    let sum = points[..count].iter().fold([0.0f64; 3], |sum, (_, p)| [0, 1, 2].map(|a| sum[a] + f64::from(p[a])));
    let centre = sum.map(|s| (s / count as f64) as f32);
    let radius = points[..count].iter().map(|(_, p)| norm(sub(*p, centre))).fold(0.0, f32::max) + step;
    let points = points[..count].iter().map(|(_, p)| *p).collect();
    Some(Found { threshold, volume_ml: count as f64 * each, centre, radius, points })
}

impl Look {
    fn new(random: &mut Random, Order { kind, hard, .. }: &Order, ml: f32) -> Look {
        let (kind, hard) = (*kind, *hard);
        let or_hard = |usual: f32, often: f32| if hard { often } else { usual };
        let faint = random.chance(or_hard(0.22, 0.5));
        let hu = if faint { random.uniform(43.0, 54.0) } else { random.uniform(54.0, 80.0) };
        let texture = Noise::new(random, 5.0);
        let large = kind != Kind::Intraventricular && ml > 4.0;
        let swirl = (large && random.chance(or_hard(0.3, 0.6)))
            .then(|| (Noise::new(random, random_cell(ml)), random.uniform(0.0, 0.8), random.uniform(8.0, 24.0)));
        let fluid_level =
            (large && random.chance(or_hard(0.12, 0.3))).then(|| (random.uniform(-0.5, 0.4), random.uniform(26.0, 42.0)));
        let oedema = match kind {
            Kind::Subdural | Kind::Intraventricular => (0.0, 0.0),
            _ if random.chance(0.75) => (random.uniform(1.5, 5.0) + 0.08 * ml.min(80.0), random.uniform(4.0, 12.0)),
            _ => (0.0, 0.0),
        };
        Look { hu, texture, swirl, fluid_level, oedema }
    }

    /// HU of blood at a point.
    fn at(&self, p: Vec3) -> f32 {
        let mut hu = self.hu + 2.5 * self.texture.at(p);
        if let Some((noise, from, drop)) = &self.swirl {
            hu -= drop * smooth_step((noise.at(p) - from) * 1.5);
        }
        if let Some((y, plasma)) = self.fluid_level {
            hu += (plasma - hu) * smooth_step((p[1] - y) / 2.5 + 0.5);
        }
        hu
    }
}

/// Cell of the noise of a swirl: parts of a third of the bleed's size.
fn random_cell(ml: f32) -> f32 {
    (4.0 * ml.cbrt()).clamp(4.0, 16.0)
}

impl Room {
    /// Depth of a point in the room.
    fn depth(&self, anatomy: &Anatomy, p: Vec3, skull: &SkullFields) -> f32 {
        match self {
            Room::Hemisphere(side) => anatomy.hemisphere(p, skull, *side) - CLEARANCE,
            Room::PosteriorFossa => anatomy.posterior_fossa(p, skull) - CLEARANCE,
        }
    }
}

impl Bleed {
    /// Draws a bleed that is none in the ventricles. `None` where no room was found for it.
    pub fn place(random: &mut Random, order: &Order, anatomy: &Anatomy, skull: &Lattice<SkullFields>) -> Option<Bleed> {
        match order.kind {
            Kind::Subdural if random.chance(0.15) => Bleed::falx(random, order, anatomy, skull),
            Kind::Subdural => Bleed::convexity(random, order, anatomy, skull),
            Kind::Intraventricular => None,
            _ => Bleed::hematoma(random, order, anatomy, skull),
        }
    }

    fn hematoma(random: &mut Random, order: &Order, anatomy: &Anatomy, skull: &Lattice<SkullFields>) -> Option<Bleed> {
        let radius = 10.0 * (order.ml * 3.0 / (4.0 * std::f32::consts::PI)).cbrt();
        let side = random.side();
        let mut centre = None;
        for _ in 0..60 {
            let (at, room) = match order.kind {
                Kind::Deep => {
                    let nuclei = [[26.0, -2.0, 4.0], [14.0, -19.0, 8.0], [15.0, 13.0, 9.0]];
                    let at = nuclei[random.pick(&[0.55, 0.35, 0.1])];
                    ([side * at[0], at[1], at[2]], Room::Hemisphere(side))
                }
                Kind::Infratentorial if random.chance(0.2) => ([0.0, -26.0, -26.0], Room::PosteriorFossa),
                Kind::Infratentorial => ([side * random.uniform(4.0, 32.0), -62.0, -32.0], Room::PosteriorFossa),
                _ => {
                    let at = [side * random.uniform(8.0, 60.0), random.uniform(-92.0, 55.0), random.uniform(-32.0, 66.0)];
                    (at, Room::Hemisphere(side))
                }
            };
            let spread = if order.kind == Kind::Infratentorial { 6.0 } else { 4.0 };
            let at = along(anatomy.place(at), 1.0, [0; 3].map(|_| random.uniform(-spread, spread)));
            let least = if order.kind == Kind::Lobar { 4.0 + 0.5 * radius } else { (0.35 * radius).max(2.0) };
            let depth = room.depth(anatomy, at, &skull.at(at));
            let most = if order.kind == Kind::Lobar { 10.0 + 1.1 * radius } else { f32::MAX };
            if depth > least.min(28.0) && depth < most {
                centre = Some((at, room));
                break;
            }
        }
        let (centre, room) = centre?;
        let free = |p: Vec3| room.depth(anatomy, p, &skull.at(p));
        Bleed::hematoma_at(random, order, centre, Some(room.clone()), free)
    }

    /// A hematoma about a centre, where `free` says how deep a point lies in its room.
    pub fn hematoma_at(
        random: &mut Random,
        order: &Order,
        centre: Vec3,
        room: Option<Room>,
        free: impl Fn(Vec3) -> f32 + Sync,
    ) -> Option<Bleed> {
        let radius = 10.0 * (order.ml * 3.0 / (4.0 * std::f32::consts::PI)).cbrt();
        let axis = direction(random);
        let turn = rotation(axis, random.uniform(0.0, 3.0));
        let half = [random.uniform(0.65, 1.0), random.uniform(0.9, 1.45), random.uniform(0.75, 1.2)].map(|x| x * radius);
        let mut lobes = vec![Lobe { centre: [0.0; 3], half }];
        for _ in 0..random.pick(&[3.0, 2.0, 2.0, 1.0]) {
            let r = radius * random.uniform(0.3, 0.65);
            let out = direction(random).map(|x| x * radius * random.uniform(0.7, 1.1));
            lobes.push(Lobe { centre: out, half: [r, r, r] });
        }
        let (rough, fine) = (Noise::new(random, 0.75 * radius), Noise::new(random, 0.3 * radius));
        let (rough_mm, fine_mm) = (radius * random.uniform(0.05, 0.2), radius * random.uniform(0.0, 0.07));
        let mut look = Look::new(random, order, order.ml);
        // Fluid levels are drawn as a height in the bleed.
        look.fluid_level = look.fluid_level.map(|(y, plasma)| (centre[1] + y * radius, plasma));
        let bleed = Bleed {
            kind: order.kind,
            volume_ml: 0.0,
            hu: look.hu,
            centre,
            shape: Shape::Hematoma { turn, lobes, rough, rough_mm, fine, fine_mm, room },
            look,
            threshold: 0.0,
            about: centre,
            reach: 0.0,
            points: Arc::default(),
        };
        let level = |p: Vec3| (free(p) > 0.0).then(|| bleed.level(p));
        let far = |p: Vec3, size: f32| norm(sub(p, centre)) > 2.1 * radius + size;
        let (low, high) = (centre.map(|x| x - 2.1 * radius), centre.map(|x| x + 2.1 * radius));
        let found = threshold((low, high), radius / 13.0, order.ml, level, far)?;
        Some(bleed.fitted(found))
    }

    fn convexity(random: &mut Random, order: &Order, anatomy: &Anatomy, skull: &Lattice<SkullFields>) -> Option<Bleed> {
        let middle = anatomy.place([0.0, -20.0, 8.0]);
        let wall = |p: Vec3| skull.at(p).cavity;
        let free = |p: Vec3, side: f32| anatomy.hemisphere(p, &skull.at(p), side);
        let bounds = (anatomy.place([-75.0, -110.0, -60.0]), anatomy.place([75.0, 70.0, 80.0]));
        Bleed::convexity_in(random, order, middle, bounds, wall, free)
    }

    /// A subdural bleed around a head's `middle`, in a box; `wall` says how deep a point lies below the inner table and `free` how deep in the hemisphere of a
    /// side.
    pub fn convexity_in(
        random: &mut Random,
        order: &Order,
        middle: Vec3,
        (low, high): (Vec3, Vec3),
        wall: impl Fn(Vec3) -> f32 + Sync,
        free: impl Fn(Vec3, f32) -> f32 + Sync,
    ) -> Option<Bleed> {
        let side = random.side();
        let towards = [side * random.uniform(0.75, 1.0), random.uniform(-0.6, 0.6), random.uniform(-0.1, 0.7)];
        let towards = towards.map(|x| x / norm(towards));
        // Greatest thickness; thin ones are the hard ones, so they are common. Up to 10 mm count as thin (Bullock et al., Surgical management of acute
        // subdural hematomas, 2006).
        let thickness = random.log_uniform(2.5, if order.hard { 8.0 } else { 16.0 }).max(0.12 * order.ml);
        // The crescent's mean thickness is half of its greatest; its surface lies about 70 mm from the middle.
        let area = order.ml * 1000.0 / (0.5 * thickness) / (70.0 * 70.0 * std::f32::consts::PI);
        let long = (area * random.uniform(1.0, 2.2)).sqrt().clamp(0.2, 1.25);
        let short = (area / long).clamp(0.15, 0.95);
        let front = [-side * towards[1], side * towards[0], 0.0];
        let front = front.map(|x| x / norm(front).max(1e-3));
        let up = [
            towards[1] * front[2] - towards[2] * front[1],
            towards[2] * front[0] - towards[0] * front[2],
            towards[0] * front[1] - towards[1] * front[0],
        ];
        let axes = [front.map(|x| x / long), up.map(|x| x / short)];
        let look = Look::new(random, order, order.ml);
        let bleed = Bleed {
            kind: order.kind,
            volume_ml: 0.0,
            hu: look.hu,
            centre: [0.0; 3],
            shape: Shape::Convexity { middle, side, towards, axes, rough: Noise::new(random, 14.0) },
            look: Look { fluid_level: None, ..look },
            threshold: 0.0,
            about: middle,
            reach: 0.0,
            points: Arc::default(),
        };
        let level = |p: Vec3| bleed.sheet_level(p, free(p, side) - DURA, wall(p));
        let far = |p: Vec3, size: f32| {
            let depth = wall(p);
            depth < -size || depth > 30.0 + size || side * (p[0] - middle[0]) < -size
        };
        let step = (thickness / 3.0).clamp(0.8, 1.6);
        let found = threshold((low, high), step, order.ml, level, far)?;
        Some(bleed.fitted(found))
    }

    fn falx(random: &mut Random, order: &Order, anatomy: &Anatomy, skull: &Lattice<SkullFields>) -> Option<Bleed> {
        let side = random.side();
        let half = [random.uniform(20.0, 50.0), random.uniform(18.0, 38.0)];
        // Half an ellipse, from the inner table down; the mean thickness is half of the greatest.
        let thickness = |half: [f32; 2], ml: f32| ml * 1000.0 / (0.25 * std::f32::consts::PI * half[0] * half[1]);
        // More blood reaches further, and what does not fit then is not drawn.
        let wider = (thickness(half, order.ml) / FALX_THICKNESS).sqrt().max(1.0);
        let half = [(wider * half[0]).min(60.0), (wider * half[1]).min(45.0)];
        let ml = order.ml * (FALX_THICKNESS / thickness(half, order.ml)).min(1.0);
        let look = Look::new(random, order, ml);
        let [left, right] = if side > 0.0 { [-2.0, 1.3 * SHEET_REACH] } else { [-1.3 * SHEET_REACH, 2.0] };
        let (low, high) = (anatomy.place([left, -110.0, -20.0]), anatomy.place([right, 70.0, 80.0]));
        let bleed = Bleed {
            kind: order.kind,
            volume_ml: 0.0,
            hu: look.hu,
            centre: [0.0; 3],
            shape: Shape::Falx { side, y: random.uniform(-75.0, 25.0), half, floor: low[2] },
            look: Look { fluid_level: None, ..look },
            threshold: 0.0,
            about: anatomy.place([0.0, -20.0, 8.0]),
            reach: 0.0,
            points: Arc::default(),
        };
        let step = 0.7;
        let level = |p: Vec3| {
            // The sheet lies along the planes of points: each line of them is moved across it by another part of a step.
            let part = (0.618 * p[1] / step + 0.755 * p[2] / step).rem_euclid(1.0) - 0.5;
            let p = [p[0] + step * part, p[1], p[2]];
            let (room, wall) = bleed.sheet_room(p, anatomy, &skull.at(p));
            bleed.sheet_level(p, room, wall)
        };
        let far = |p: Vec3, size: f32| (p[0] - side * 0.5 * SHEET_REACH).abs() > 0.5 * SHEET_REACH + 2.0 + size;
        let found = threshold((low, high), step, ml, level, far)?;
        Some(bleed.fitted(found))
    }

    /// Draws blood in ventricles that a box holds: about `about` or, sunk, at their back. `free` says how deep a point lies in a ventricle without other
    /// blood. `None` where there is hardly a ventricle.
    pub fn in_ventricles(
        random: &mut Random,
        order: &Order,
        about: Vec3,
        (low, high): (Vec3, Vec3),
        free: impl Fn(Vec3) -> f32 + Sync,
    ) -> Option<Bleed> {
        let sunk = order.ml < 15.0 && random.chance(0.45);
        let look = Look::new(random, order, order.ml);
        let bleed = Bleed {
            kind: order.kind,
            volume_ml: 0.0,
            hu: look.hu,
            centre: about,
            shape: Shape::Ventricles { rough: Noise::new(random, 8.0), sunk },
            look,
            threshold: 0.0,
            about,
            reach: 0.0,
            points: Arc::default(),
        };
        let level = |p: Vec3| (free(p) > 0.0).then(|| bleed.level(p));
        let far = |p: Vec3, size: f32| free(p) < -size - 1.0;
        let found = threshold((low, high), 0.75, order.ml, level, far)?;
        Some(bleed.fitted(found))
    }

    fn fitted(mut self, found: Found) -> Bleed {
        (self.threshold, self.volume_ml, self.centre, self.reach) =
            (found.threshold, found.volume_ml, found.centre, found.radius);
        self.points = found.points;
        self
    }

    /// Share of its volume that lies where `inside` holds, 0 to 1.
    pub fn share(&self, inside: impl Fn(Vec3) -> bool) -> f64 {
        let within = self.points.iter().filter(|&&p| inside(p)).count();
        within as f64 / self.points.len().max(1) as f64
    }

    /// How far from the bleed's heart a point is, mm; blood is where it is below the threshold.
    fn level(&self, p: Vec3) -> f32 {
        match &self.shape {
            Shape::Hematoma { turn, lobes, rough, rough_mm, fine, fine_mm, .. } => {
                let out = sub(p, self.about);
                let local = turn.map(|row| dot(row, out));
                let blend = 0.35 * lobes[0].half[0];
                let depth = lobes
                    .iter()
                    .map(|lobe| ellipsoid(local, lobe.centre, lobe.half))
                    .fold(f32::MIN / 2.0, |a, b| union(a, b, blend));
                -(depth + rough_mm * rough.at(p) + fine_mm * fine.at(p))
            }
            Shape::Ventricles { rough, sunk: true } => p[1] + 1.2 * rough.at(p),
            Shape::Ventricles { rough, sunk: false } => norm(sub(p, self.about)) + 5.0 * rough.at(p),
            Shape::Convexity { .. } | Shape::Falx { .. } => f32::MAX,
        }
    }

    /// Share of its greatest thickness that a sheet has at a point `wall` mm below the inner table; 0 or less beyond its edge.
    fn sheet(&self, p: Vec3, wall: f32) -> f32 {
        match &self.shape {
            Shape::Convexity { middle, side, towards, axes, rough } => {
                let out = sub(p, *middle);
                if side * out[0] < 0.0 {
                    return 0.0;
                }
                let out = out.map(|x| x / norm(out).max(1e-3));
                let off = sub(out, *towards);
                let r = dot(off, axes[0]).powi(2) + dot(off, axes[1]).powi(2);
                if r >= 1.0 || dot(out, *towards) < 0.0 {
                    return 0.0;
                }
                (1.0 - r) * (1.0 + 0.15 * rough.at(p))
            }
            Shape::Falx { side, y, half, floor } => {
                if side * p[0] < 0.0 {
                    return 0.0;
                }
                // The skull base is near the midline's wall too, and has no falx.
                1.0 - ((p[1] - y) / half[0]).powi(2) - (wall / half[1]).powi(2) - ((floor + 10.0 - p[2]).max(0.0) / 10.0).powi(2)
            }
            _ => 0.0,
        }
    }

    /// Level of a point in a sheet: the thickness that the whole sheet must have for the point to be inside. `room` is its depth in the room, `wall` below
    /// the inner table. `None` where no sheet reaches.
    fn sheet_level(&self, p: Vec3, room: f32, wall: f32) -> Option<f32> {
        let from_wall = self.wall_distance(p, wall);
        if room <= 0.0 || from_wall > SHEET_REACH {
            return None;
        }
        let share = self.sheet(p, wall);
        (share > 0.02).then(|| from_wall.max(0.0) / share)
    }

    /// Distance of a point from the surface that a sheet lies on.
    fn wall_distance(&self, p: Vec3, wall: f32) -> f32 {
        match &self.shape {
            Shape::Falx { side, .. } => side * p[0] - 1.2,
            _ => wall - DURA,
        }
    }

    /// Depth of a point in the room of a sheet, and below the inner table.
    fn sheet_room(&self, p: Vec3, anatomy: &Anatomy, skull: &SkullFields) -> (f32, f32) {
        match &self.shape {
            Shape::Falx { side, .. } | Shape::Convexity { side, .. } => {
                (anatomy.hemisphere(p, skull, *side) - DURA, skull.cavity)
            }
            _ => (0.0, 0.0),
        }
    }

    /// Depth of a point in a sheet.
    pub fn sheet_depth(&self, p: Vec3, room: f32, wall: f32) -> f32 {
        let from_wall = self.wall_distance(p, wall);
        if room < -3.0 || from_wall > (1.4 * self.threshold + 3.0).min(SHEET_REACH) {
            return -1e3;
        }
        let share = self.sheet(p, wall);
        if share <= 0.02 { -1e3 } else { room.min(self.threshold * share - from_wall) }
    }

    /// Depth of a point in a hematoma, or in blood of the ventricles, whose room it lies `room` deep in.
    pub fn depth_in(&self, p: Vec3, room: f32) -> f32 {
        let out = sub(p, self.centre);
        if dot(out, out) > (self.reach + self.look.oedema.0 + 2.0).powi(2) {
            return -1e3;
        }
        room.min(self.threshold - self.level(p))
    }

    /// Depth of a point in the blood, mm; negative outside. `fields` are those of skull and brain at the point.
    pub fn depth(&self, p: Vec3, anatomy: &Anatomy, skull: &SkullFields, fields: &BrainFields) -> f32 {
        match &self.shape {
            Shape::Hematoma { room, .. } => {
                let free = room.as_ref().map_or(f32::MAX, |room| room.depth(anatomy, p, skull));
                self.depth_in(p, free)
            }
            Shape::Ventricles { .. } => {
                let room = fields.ventricle;
                if room < -3.0 { room } else { self.depth_in(p, room) }
            }
            Shape::Convexity { .. } | Shape::Falx { .. } => {
                let (room, wall) = self.sheet_room(p, anatomy, skull);
                self.sheet_depth(p, room, wall)
            }
        }
    }

    /// HU of its blood at a point.
    pub fn blood_hu(&self, p: Vec3) -> f32 {
        self.look.at(p)
    }

    /// HU that oedema takes from tissue that lies `depth` (negative) below the bleed's surface.
    pub fn oedema(&self, depth: f32) -> f32 {
        let (width, drop) = self.look.oedema;
        if width == 0.0 || depth < -width { 0.0 } else { drop * smooth_step((1.0 + depth / width) * 1.6) }
    }
}

/// The tissue that bleeds push aside.
pub struct MassEffect<'a> {
    pub bleeds: &'a [Bleed],
    pub anatomy: &'a Anatomy,
    /// Share of each bleed's volume that pushes; the rest has parted the tissue.
    pub shares: Vec<f32>,
}

impl Displacement for MassEffect<'_> {
    fn origin(&self, p: Vec3, skull: &SkullFields) -> Vec3 {
        let mut from = p;
        let cavity = skull.cavity;
        for (bleed, share) in self.bleeds.iter().zip(&self.shares) {
            match &bleed.shape {
                Shape::Hematoma { .. } => {
                    let out = sub(p, bleed.centre);
                    let r = norm(out).max(1e-3);
                    let volume = bleed.volume_ml as f32 * 1000.0 * 3.0 / (4.0 * std::f32::consts::PI) * share;
                    // A ball's volume comes in at its centre; everything moves out, less the farther, and not at all at bone, falx and tentorium.
                    let before = (r.powi(3) - volume).max(0.0).cbrt();
                    let held = smooth_step(cavity / 16.0) * if p[0] * bleed.centre[0] < 0.0 { 0.7 } else { 1.0 };
                    let below = |z: f32| z < 0.0;
                    let parted = below(skull.tentorium) && skull.behind > 0.0;
                    let held = if parted == (bleed.kind == Kind::Infratentorial) { held } else { 0.15 * held };
                    from = along(from, (before - r) / r * held, out);
                }
                Shape::Convexity { .. } => {
                    let thickness = bleed.threshold * bleed.sheet(p, cavity).max(0.0);
                    let fade = (1.0 - cavity / 75.0).clamp(0.0, 1.0);
                    from = along(from, thickness * fade, self.anatomy.outward(p));
                }
                Shape::Ventricles { .. } | Shape::Falx { .. } => {}
            }
        }
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    #[test]
    fn blood_along_the_falx_has_the_drawn_volume_and_a_possible_thickness() {
        for seed in 0..4 {
            let anatomy = Anatomy::new(&mut Random::new(seed, 0));
            let [low, high] = [[-76.0, -112.0, -84.0], [76.0, 72.0, 84.0]].map(|corner| anatomy.place(corner));
            let skull = Lattice::new(low, high, 3.0, |p| anatomy.skull_inside(p));
            for (ml, most) in [(2.0, 2.0), (20.0, 20.0), (150.0, 25.0)] {
                let order = Order { kind: Kind::Subdural, ml, hard: false };
                let bleed = Bleed::falx(&mut Random::new(seed, 2), &order, &anatomy, &skull).unwrap();
                // Fine across the sheet, which lies along the grid.
                let step = [0.1, 2.0, 2.0];
                let (mut inside, mut reach) = (0, 0.0f32);
                let count = [0, 1, 2].map(|axis| ((high[axis] - low[axis]) / step[axis]) as usize);
                for n in 0..count.iter().product() {
                    let at = [n % count[0], n / count[0] % count[1], n / count[0] / count[1]];
                    let p = [0, 1, 2].map(|axis| low[axis] + step[axis] * (at[axis] as f32 + 0.5));
                    if p[0].abs() < 45.0 && bleed.depth(p, &anatomy, &skull.at(p), &BrainFields::zeroed()) > 0.0 {
                        inside += 1;
                        reach = reach.max(p[0].abs());
                    }
                }
                let counted = f64::from(inside) * f64::from(step.iter().product::<f32>()) / 1000.0;
                assert!((counted / bleed.volume_ml - 1.0).abs() < 0.04, "seed {seed}: {counted} mL of {}", bleed.volume_ml);
                assert!(bleed.volume_ml > f64::from(ml.min(15.0)) * 0.99 && bleed.volume_ml < most * 1.01);
                assert!(reach < 25.0, "seed {seed}: {reach} mm");
            }
        }
    }
}
