//! What a CT scanner makes of a head: slices of some thickness, beam hardening, streaks, motion, head rest, noise, a field of view.

use super::anatomy::{AIR, Anatomy, BrainFields, SkullFields};
use super::bleeds::Bleed;
use super::field::{Lattice, Noise, Vec3, along, cover, norm, smooth_step, sub};
use super::noise;
use crate::random::stream::Random;
use crate::volume::{Affine, Grid};
use rayon::prelude::*;

/// A head with its bleeds, ready to be scanned.
pub struct Subject<'a> {
    pub anatomy: &'a Anatomy,
    pub skull: &'a Lattice<SkullFields>,
    pub brain: &'a Lattice<BrainFields>,
    pub bleeds: &'a [Bleed],
}

/// How it is scanned.
pub struct Scan {
    /// Grid of the scan, RAS mm.
    pub grid: Grid,
    /// Takes the scan's world to the head's millimetres.
    pub to_head: Affine,
    /// Slice thickness in mm.
    pub thickness: f64,
    /// Whether only what lies inside the skull is scanned; the rest is 0 HU.
    pub brain_only: bool,
    /// Deviation of the noise in the middle of the head, HU.
    pub noise_hu: f32,
    /// Strength of beam hardening and streaks: 0 none, 1 usual.
    pub artefacts: f32,
    /// Whether the patient moves during the scan.
    pub motion: bool,
    /// Radius in mm of the reconstructed circle about the grid's middle; air beyond.
    pub circle_mm: Option<f32>,
    /// Whether a head rest is in the picture.
    pub head_rest: bool,
    /// Whether values are rounded to whole HU, as scanners store them.
    pub whole: bool,
}

impl Scan {
    /// The middle of the field of view, mm of the scan's world.
    pub fn middle(&self) -> Vec3 {
        self.grid.affine.apply([0, 1, 2].map(|a| (self.grid.shape[a] as f64 - 1.0) / 2.0)).map(|x| x as f32)
    }
}

/// What the scan holds, i fastest.
pub struct Image {
    pub hu: Vec<f32>,
    pub blood: Vec<bool>,
    pub brain: Vec<bool>,
}

/// A line of samples through a voxel across its slice.
struct Slab {
    /// Offset along the slice's normal, mm; whether the sample counts for HU; whether for the labels.
    samples: Vec<(f32, bool, bool)>,
}

impl Slab {
    /// Samples about `step` mm apart over the thickness and the distance between slices.
    fn new(thickness: f32, between: f32, step: f32) -> Slab {
        let length = thickness.max(between);
        let count = (length / step).round().clamp(1.0, 12.0) as usize;
        let samples = (0..count).map(|n| {
            let t = ((n as f32 + 0.5) / count as f32 - 0.5) * length;
            (t, t.abs() <= 0.5 * thickness + 0.01 || count == 1, t.abs() <= 0.5 * between + 0.01 || count == 1)
        });
        Slab { samples: samples.collect() }
    }
}

/// Most HU that the medulla is brighter by in the foramen magnum, with bone all around it (a real head has 52 HU there), and how far above it that begins, mm.
const FORAMEN_HU: f32 = 24.0;
const FORAMEN_REACH: f32 = 22.0;

/// Dark bands and streaks. Points are millimetres of the head.
struct Artefacts {
    strength: f32,
    /// Height, middle and slope of the bands between the petrous bones, and their depth in HU.
    petrous: (f32, f32, f32, f32),
    /// Brightness under the skull from imperfect correction, HU, and the depth in mm over which it falls to a third.
    rim: (f32, f32),
    /// Brightness between the bones of the foramen magnum, HU, and its height.
    foramen: (f32, f32),
    streaks: Vec<(Vec3, f32, Noise)>,
}

impl Artefacts {
    fn new(random: &mut Random, anatomy: &Anatomy, strength: f32) -> Artefacts {
        let petrous =
            (random.uniform(-34.0, -28.0), random.uniform(-42.0, -30.0), random.uniform(-0.12, 0.12), random.uniform(4.0, 16.0));
        // Petrous bones, the occipital protuberance, fillings of teeth.
        let sources =
            [[34.0, -36.0, -30.0], [-34.0, -36.0, -30.0], [0.0, -100.0, -18.0], [random.uniform(-15.0, 15.0), 62.0, -80.0]];
        let mut streaks = Vec::new();
        for (n, at) in sources.into_iter().enumerate() {
            let present = random.chance(if n == 3 { 0.4 } else { 0.8 });
            let hu = random.uniform(1.0, 5.0) * if n == 3 { 4.0 } else { 1.0 };
            let noise = Noise::new(random, 0.09);
            if present {
                streaks.push((anatomy.place(at), hu, noise));
            }
        }
        let rim = (random.log_uniform(1.5, 18.0), random.uniform(3.0, 12.0));
        let foramen = (random.uniform(0.0, FORAMEN_HU), anatomy.foramen());
        Artefacts { strength, petrous, rim, foramen, streaks }
    }

    /// HU that they add inside the skin at a point of the head; `cavity` is its depth below the inner table.
    fn at(&self, p: Vec3, cavity: f32) -> f32 {
        let mut hu = 0.0;
        if cavity > -2.0 {
            let (brightness, depth) = self.rim;
            hu += brightness * (-cavity.max(0.0) / depth).exp();
            let (brightness, height) = self.foramen;
            hu += brightness * smooth_step((height + FORAMEN_REACH - p[2]) / FORAMEN_REACH);
            let (height, middle, slope, depth) = self.petrous;
            let z = (p[2] - height) / 9.0;
            if z.abs() < 2.5 && p[0].abs() < 60.0 {
                let y = p[1] - middle - slope * p[0];
                let bell = |centre: f32, width: f32| (-((y - centre) / width).powi(2)).exp();
                let across = 1.0 - smooth_step((p[0].abs() - 25.0) / 30.0);
                hu += depth
                    * (0.4 * bell(-13.0, 5.0) + 0.3 * bell(12.0, 4.0) - bell(0.0, 5.5) - 0.5 * bell(-25.0, 6.0))
                    * (-z * z).exp()
                    * across;
            }
        }
        for (source, strength, noise) in &self.streaks {
            let out = sub(p, *source);
            let z = (out[2] / 6.0).powi(2);
            let r = out[0].hypot(out[1]);
            if z < 6.0 && r > 4.0 && r < 150.0 {
                let angle = [out[0] / r, out[1] / r, 0.06 * out[2]];
                hu += strength * noise.at(angle) * (-z).exp() * (-r / 70.0).exp() * (r / 10.0).min(1.0);
            }
        }
        self.strength * hu
    }
}

/// Where a slice finds the head: two poses that its samples take in turn (the same one twice where nothing moves).
fn poses(random: &mut Random, scan: &Scan, slices: usize) -> Vec<[Affine; 2]> {
    let still = [scan.to_head; 2];
    let mut poses = vec![still; slices];
    if !scan.motion || slices == 0 {
        return poses;
    }
    let jerks = 1 + random.pick(&[2.0, 1.0]);
    for _ in 0..jerks {
        let first = (random.unit() * slices as f32) as usize;
        let length = 1 + (random.unit() * 0.25 * slices as f32) as usize;
        let shift = [random.normal(0.0, 1.5), random.normal(0.0, 1.5), 0.0].map(f64::from);
        let angle = f64::from(random.normal(0.0, 0.02));
        let blur = [random.normal(0.0, 1.0), random.normal(0.0, 1.0), 0.0].map(f64::from);
        let (s, c) = angle.sin_cos();
        let turn = [[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]];
        for pose in poses.iter_mut().skip(first).take(length) {
            let one = Affine::new(turn, shift);
            let other = Affine::new(turn, [shift[0] + blur[0], shift[1] + blur[1], 0.0]);
            *pose = [scan.to_head.after(&one), scan.to_head.after(&other)];
        }
    }
    poses
}

/// HU of the head rest at a point of the scanner and how much of a small box it fills: a shell of plastic open to the front, foam inside it.
fn head_rest(p: Vec3, width: f32) -> f32 {
    let [x, y] = [p[0] / 112.0, (p[1] + 8.0) / 122.0];
    let depth = (1.0 - x.hypot(y)) * 115.0;
    let open = cover(-38.0 - p[1] - 0.15 * p[0], 4.0);
    let shell = super::field::layer(depth, 1.3, width);
    let foam = cover(depth - 1.0, width) * cover(14.0 - depth, 4.0) * cover(-70.0 - p[1], 6.0);
    AIR + open * (1180.0 * shell + 35.0 * foam)
}

/// A voxel's mean over its samples.
#[derive(Default)]
struct Sum {
    hu: f32,
    hu_samples: f32,
    blood: f32,
    brain: f32,
    label_samples: f32,
}

/// HU and share of blood of a small box of width `width` at a point of the head whose skull fields are known.
fn sample(subject: &Subject, p: Vec3, fields: &SkullFields, width: f32, brain_only: bool) -> (f32, f32) {
    let cavity = fields.cavity;
    let within = cover(cavity, width);
    let outside = if within < 1.0 && !brain_only { subject.anatomy.outside(p, fields, width) } else { 0.0 };
    if within == 0.0 {
        return (outside, 0.0);
    }
    let brain = subject.brain.at(p);
    let mut hu = subject.anatomy.inside(p, fields, &brain, width);
    let mut share = 0.0f32;
    for bleed in subject.bleeds {
        let depth = bleed.depth(p, subject.anatomy, fields, &brain);
        if depth > -width {
            let blood = cover(depth, width);
            hu += (bleed.blood_hu(p) - hu) * blood;
            share = share.max(blood);
        }
        if depth < 0.0 && depth > -20.0 && brain.pia > 0.0 && brain.ventricle < 0.0 {
            hu = hu.min((hu - bleed.oedema(depth)).max(subject.anatomy.tissues.fluid + 6.0));
        }
    }
    if within < 1.0 && !brain_only {
        // Bone against the brain: its outer surface lies deeper than this box, so `outside` is bone.
        hu = outside + (hu - outside) * within;
    }
    (hu, share)
}

/// Deviation in mm of the blur in the plane of a slice: a standard reconstruction for the brain halves the contrast at 2.2 to 4.7 line pairs per cm with it.
const BLUR_MM: [f32; 2] = [0.4, 0.85];

/// Where a map takes a point.
fn place(map: &Affine, p: Vec3) -> Vec3 {
    map.rows.map(|r| r[0] as f32 * p[0] + r[1] as f32 * p[1] + r[2] as f32 * p[2] + r[3] as f32)
}

/// Scans a head. The same for any number of threads.
pub fn scan(subject: &Subject, scan: &Scan, seed: u64) -> Image {
    let scanner = Scanner::new(subject, scan, seed);
    let mut image = scanner.slices();
    scanner.finish(&mut image);
    image
}

/// A scan that is being made.
struct Scanner<'a> {
    subject: &'a Subject<'a>,
    scan: &'a Scan,
    /// From a voxel to the next along i and j, mm.
    along_i: Vec3,
    along_j: Vec3,
    /// The slices' normal, of length 1.
    normal: Vec3,
    /// Over how many mm an edge goes from one side to the other.
    width: f32,
    /// How far a slice, and what it stands for, reaches to both sides of its middle, mm.
    reach: f32,
    slab: Slab,
    artefacts: Artefacts,
    blur_mm: f32,
    poses: Vec<[Affine; 2]>,
    middle: Vec3,
    /// Noise of a deviation of 1; empty where there is none.
    grain: Vec<f32>,
}

impl<'a> Scanner<'a> {
    fn new(subject: &'a Subject, scan: &'a Scan, seed: u64) -> Scanner<'a> {
        let matrix = scan.grid.affine.matrix();
        let [along_i, along_j, along_k] = [0, 1, 2].map(|c| [0, 1, 2].map(|r| matrix[r][c] as f32));
        let cross = [
            along_i[1] * along_j[2] - along_i[2] * along_j[1],
            along_i[2] * along_j[0] - along_i[0] * along_j[2],
            along_i[0] * along_j[1] - along_i[1] * along_j[0],
        ];
        let normal = cross.map(|x| x / norm(cross));
        let between = super::field::dot(normal, along_k).abs();
        // Edges are as sharp as a reconstruction's finest pixels.
        let width = norm(along_i).max(norm(along_j)).max(0.7);
        let mut random = Random::new(seed, 20);
        let artefacts = Artefacts::new(&mut random, subject.anatomy, scan.artefacts);
        let blur_mm = random.uniform(BLUR_MM[0], BLUR_MM[1]);
        let poses = poses(&mut random, scan, scan.grid.shape[2]);
        let grain = if scan.noise_hu > 0.0 {
            let spacing = [f64::from(norm(along_i)), f64::from(norm(along_j))];
            noise::texture(seed, 1000, scan.grid.shape, spacing, scan.thickness / f64::from(between))
        } else {
            Vec::new()
        };
        Scanner {
            subject,
            scan,
            along_i,
            along_j,
            normal,
            width,
            reach: 0.5 * (scan.thickness as f32).max(between),
            slab: Slab::new(scan.thickness as f32, between, (1.1 * width).clamp(1.4, 2.0)),
            artefacts,
            blur_mm,
            poses,
            middle: scan.middle(),
            grain,
        }
    }

    /// The slices before blur, noise and rounding.
    fn slices(&self) -> Image {
        let (len, [ni, nj, _]) = (self.scan.grid.len(), self.scan.grid.shape);
        let mut image = Image { hu: vec![0.0; len], blood: vec![false; len], brain: vec![false; len] };
        let hu = image.hu.par_chunks_mut(ni.max(1));
        let rows = hu.zip(image.blood.par_chunks_mut(ni.max(1))).zip(image.brain.par_chunks_mut(ni.max(1)));
        rows.enumerate().for_each(|(row, ((hu, blood), brain))| {
            let (j, k) = (row % nj, row / nj);
            let start = self.scan.grid.affine.apply([0.0, j as f64, k as f64]).map(|x| x as f32);
            for i in 0..ni {
                (hu[i], blood[i], brain[i]) = self.voxel(along(start, i as f32, self.along_i), k);
            }
        });
        image
    }

    /// HU at a point of the world in slice k, and whether more than half of what the voxel stands for is blood, and
    /// brain.
    fn voxel(&self, world: Vec3, k: usize) -> (f32, bool, bool) {
        let (scan, subject) = (self.scan, self.subject);
        let centre = place(&self.poses[k][0], world);
        let fields = subject.skull.at(centre);
        let far = if scan.brain_only { fields.cavity } else { fields.skin };
        let sum = if far < -(self.reach + self.width + 3.0) {
            Sum { hu: if scan.brain_only { 0.0 } else { AIR }, hu_samples: 1.0, ..Sum::default() }
        } else {
            self.sum(world, k)
        };
        let mut value = sum.hu / sum.hu_samples;
        let labels = sum.label_samples.max(1.0);
        let (blood, brain) = (sum.blood / labels > 0.5, sum.brain / labels > 0.5);
        if scan.brain_only && !brain {
            return (0.0, blood, brain);
        }
        if scan.head_rest && value < -300.0 {
            value = value.max(head_rest(sub(world, [self.middle[0], 0.0, 0.0]), self.width));
        }
        if scan.artefacts > 0.0 && fields.skin > 0.0 {
            value += self.artefacts.at(centre, fields.cavity);
        }
        (value, blood, brain)
    }

    /// The samples of the voxel at a point of the world in slice k.
    fn sum(&self, world: Vec3, k: usize) -> Sum {
        let (subject, width) = (self.subject, self.width);
        let mut sum = Sum::default();
        for (n, &(t, for_hu, for_label)) in self.slab.samples.iter().enumerate() {
            let p = place(&self.poses[k][n % 2], along(world, t, self.normal));
            let fields = subject.skull.at(p);
            let (value, share) = sample(subject, p, &fields, width, self.scan.brain_only);
            if for_hu {
                sum.hu += value;
                sum.hu_samples += 1.0;
            }
            if for_label {
                sum.blood += share;
                sum.brain += cover(subject.anatomy.brain_mask(p, &fields), width);
                sum.label_samples += 1.0;
            }
        }
        sum
    }

    /// Blurs the slices, adds noise, cuts the circle of the reconstruction and rounds.
    fn finish(&self, image: &mut Image) {
        let (scan, brain) = (self.scan, &image.brain);
        let [ni, nj, _] = scan.grid.shape;
        let spacing = [norm(self.along_i), norm(self.along_j)];
        let rough = texture_strength(scan);
        image.hu.par_chunks_mut((ni * nj).max(1)).enumerate().for_each(|(k, slice)| {
            if !scan.brain_only {
                let blurred = noise::blurred(slice, [ni, nj], spacing, self.blur_mm);
                slice.copy_from_slice(&blurred);
            }
            for (n, hu) in slice.iter_mut().enumerate() {
                let voxel = k * ni * nj + n;
                if scan.brain_only && !brain[voxel] {
                    continue;
                }
                let world = scan.grid.affine.apply([n % ni, n / ni, k].map(|x| x as f64)).map(|x| x as f32);
                if !self.grain.is_empty() {
                    *hu += rough(place(&self.poses[k][0], world), *hu) * self.grain[voxel];
                }
                if let Some(radius) = scan.circle_mm
                    && norm([world[0] - self.middle[0], world[1] - self.middle[1], 0.0]) > radius
                {
                    *hu = AIR - 24.0;
                }
                *hu = if scan.whole { hu.round() } else { *hu }.clamp(-1024.0, 3071.0);
            }
        });
    }
}

/// Deviation of the noise at a point of the head: greatest in the middle, greater at the skull base, where the head takes more of the beam.
fn texture_strength(scan: &Scan) -> impl Fn(Vec3, f32) -> f32 + Sync {
    let middle = scan.noise_hu;
    move |p, hu| {
        let r = (p[0] / 75.0).powi(2) + ((p[1] + 19.0) / 92.0).powi(2);
        let base = 1.0 + 0.5 * smooth_step((-15.0 - p[2]) / 30.0);
        let air = if hu < -500.0 { 0.6 } else { 1.0 };
        middle * base * air * (1.0 - 0.35 * r.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_foramen_magnum_has_its_width_and_is_bright_inside() {
        let mut brightest = 0.0f32;
        for seed in 0..20 {
            let anatomy = Anatomy::new(&mut Random::new(seed, 0));
            let middle = [0.0, anatomy.place([0.0, -36.0, 0.0])[1], anatomy.foramen()];
            let open = |x: i32, y: i32| anatomy.skull_inside([x as f32, y as f32, middle[2]]).cavity > 0.0;
            let widths: Vec<usize> = (-80..20).map(|y| (-40..40).filter(|&x| open(x, y)).count()).collect();
            let (width, area) = (widths.iter().max().copied().unwrap_or(0), widths.iter().sum::<usize>());
            let length = (-80..20).filter(|&y| open(0, y)).count();
            assert!((26..42).contains(&length) && (26..42).contains(&width), "{length} x {width} mm, seed {seed}");
            assert!((550..1200).contains(&area), "{area} mm2, seed {seed}");
            // Deep inside, so that nothing of the brightness under the skull is left.
            let artefacts = Artefacts::new(&mut Random::new(seed, 20), &anatomy, 1.0);
            let hu = artefacts.at(middle, 1e3);
            assert!((0.0..=FORAMEN_HU).contains(&hu), "{hu} HU, seed {seed}");
            brightest = brightest.max(hu);
        }
        assert!(brightest > 0.5 * FORAMEN_HU, "{brightest}");
    }
}
