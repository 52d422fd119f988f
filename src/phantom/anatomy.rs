//! The head: one person's measures, drawn from published ranges, and the tissue at every point.
//!
//! Head coordinates are millimetres to the right, front and top of the anterior commissure. Shapes are written for an average head and
//! scaled to the person's.
//!
//! Where the measures come from:
//! - Foramen magnum: 36 to 37 mm long, 29 to 31 mm broad, SD 2 to 3 mm (Abdelaziz et al., Int J Biomed 10:221, 2020).
//! - Volume inside the skull: 1469 (SD 102) mL in men, 1289 (SD 111) mL in women (Matsumae et al., J Neurosurg 84:982, 1996).
//! - Breadth against length of the head: a cephalic index of 0.78 with a deviation of 0.04: chosen, not measured.
//! - Skull: 5 to 9 mm at the vault, without a clear trend by age or sex (Lynnerup et al., Head Face Med 1:13, 2005; De Boer et al., Int J Legal
//!   Med 130:1371, 2016); tables of 1 to 2 mm around the diploe.
//! - Ventricles: about 16 mL in the twenties and 25 mL in the forties, more with age and in men (of Koreans: Neurosci Lett 395:155, 2006);
//!   here from 8 mL to more than 100 mL, as hydrocephalus has.
//! - Fluid around the brain grows from the age of 40 on (Matsumae et al. 1996).
//! - HU: grey matter 32 to 40, white matter 25 to 32, with 5 to 9 between them; cerebrospinal fluid 0 to 15; fat -60 to -120; muscle 40 to 60; compact bone
//!   700 to 1900 (tables of the usual textbooks: Buzug, Computed Tomography, 2008, p. 475; Osborn's Brain, 2017).

use super::field::{
    Lattice, Noise, Vec3, along, cone, cover, dot, ellipsoid, intersection, layer, norm, smooth_step, sub, union,
};
use crate::random::stream::Random;
use bytemuck::{Pod, Zeroable};

/// Sex of a phantom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
}

/// Who the phantom is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Person {
    /// Sex.
    pub sex: Sex,
    /// Age in years.
    pub age: f32,
    /// Volume inside the skull above the foramen magnum, mL.
    pub intracranial_ml: f32,
    /// Loss of brain tissue: 0 none, 1 severe.
    pub atrophy: f32,
}

/// HU of the tissues of one person.
#[derive(Clone, Copy, Debug)]
pub struct Tissues {
    pub fluid: f32,
    pub white: f32,
    pub grey: f32,
    /// Venous blood in the dural sinuses.
    pub sinus: f32,
    /// Falx and tentorium.
    pub dura: f32,
    pub table: f32,
    pub diploe: f32,
}

/// Fields of the skull at a point, mm.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct SkullFields {
    /// Depth below the inner table.
    pub cavity: f32,
    /// Depth below the skull's outer surface, the cavity included.
    pub bone: f32,
    /// Depth below the skin.
    pub skin: f32,
    /// Depth in sinuses and airways.
    pub air: f32,
    /// Height above the tentorium's surface.
    pub tentorium: f32,
    /// Depth in bone without marrow.
    pub dense: f32,
    /// Depth in the orbits.
    pub orbit: f32,
    /// Distance behind the ridge of the petrous bones: the posterior fossa's side.
    pub behind: f32,
}

/// Fields of the brain at a point, mm but where another unit is said.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct BrainFields {
    /// Depth below the pia, sulci left out.
    pub pia: f32,
    /// Distance to the middle surface of the nearest sulcus.
    pub sulcus: f32,
    /// Depth in the lateral and fourth ventricles.
    pub ventricle: f32,
    /// Depth in the outline of the third ventricle, seen from the side.
    pub third: f32,
    /// Distance to the right of the midline surface.
    pub midline: f32,
    /// Depth in the deep nuclei.
    pub nuclei: f32,
    /// HU that white matter has lost (leukoaraiosis).
    pub pale: f32,
    /// Smooth differences of HU in the tissue.
    pub mottle: f32,
    /// Depth in cerebellum and brainstem; negative in the cerebrum.
    pub hindbrain: f32,
    /// Depth in old infarcts.
    pub infarct: f32,
    /// Depth in the corpus callosum and below: no fissure and no falx here.
    pub callosum: f32,
    /// How open the sulci are: 1 on average.
    pub open: f32,
}

impl BrainFields {
    /// Far outside of the brain.
    fn outside(p: Vec3) -> BrainFields {
        let far = -10.0;
        BrainFields {
            pia: far,
            sulcus: 10.0,
            ventricle: far,
            third: far,
            midline: p[0],
            nuclei: far,
            pale: far,
            mottle: far,
            hindbrain: far,
            infarct: far,
            callosum: far,
            open: far,
        }
    }
}

/// Something small and dense (or any small body of one tissue).
#[derive(Clone, Debug)]
struct Body {
    centre: Vec3,
    half: Vec3,
    hu: f32,
}

/// Tissue pushed aside: the place that is seen at a point lies elsewhere in the brain without the bleed.
pub trait Displacement: Sync {
    /// Where the tissue at `p` was before; `skull` has the skull's fields at `p`.
    fn origin(&self, p: Vec3, skull: &SkullFields) -> Vec3;
}

/// One person's head.
pub struct Anatomy {
    pub person: Person,
    pub tissues: Tissues,
    /// The person's millimetres for one of the average head.
    scale: Vec3,
    inverse_scale: Vec3,
    mean_scale: f32,
    outline: Noise,
    outline_fine: Noise,
    thickness: Noise,
    bone_texture: Noise,
    cells: Noise,
    flesh: Noise,
    folds: Noise,
    folds_fine: Noise,
    rim_noise: Noise,
    mottle: Noise,
    mottle_wide: Noise,
    speckle: Noise,
    skull_mm: f32,
    scalp_mm: f32,
    fat_mm: f32,
    /// Width of the fluid between brain and skull.
    rim_mm: f32,
    /// Half width of a sulcus at the surface.
    pub sulcus_mm: f32,
    sulcus_depth: f32,
    /// Half width of the interhemispheric fissure.
    fissure_mm: f32,
    falx_mm: f32,
    /// Radius of the foramen magnum, and of the medulla in it.
    canal_mm: f32,
    medulla_mm: f32,
    /// Half width of the third ventricle.
    third_mm: f32,
    /// How far the ventricles' walls lie outside those of an average young person.
    ventricle_mm: f32,
    pale: f32,
    frontal_sinus: f32,
    infarcts: Vec<Body>,
    infarct_hu: f32,
    calcifications: Vec<Body>,
    vessels: f32,
}

/// Axis of one lateral ventricle and its radii (mirrored for the other): frontal horn, body, atrium, occipital horn.
const LATERAL: [(Vec3, f32); 7] = [
    ([11.0, 31.0, 4.0], 2.6),
    ([9.5, 20.0, 13.0], 4.2),
    ([10.0, 2.0, 19.0], 4.4),
    ([13.0, -18.0, 21.0], 4.6),
    ([20.0, -36.0, 15.0], 6.0),
    ([25.0, -47.0, 8.0], 5.5),
    ([22.0, -66.0, 5.0], 2.2),
];
/// Temporal horn, from the atrium.
const TEMPORAL: [(Vec3, f32); 3] = [([25.0, -44.0, 8.0], 4.0), ([33.0, -32.0, -8.0], 2.0), ([32.0, -11.0, -17.0], 1.6)];
/// Head of the caudate nucleus, lentiform nucleus, thalamus (mirrored).
const NUCLEI: [(Vec3, Vec3); 3] =
    [([14.5, 15.0, 8.0], [5.0, 11.0, 9.0]), ([24.5, 0.0, 2.0], [7.0, 18.0, 10.0]), ([12.0, -20.0, 8.0], [9.0, 15.0, 10.0])];
/// Height of the petrous bones' base in the average head.
const PETROUS_BASE: f32 = -52.0;
/// Height of the foramen magnum in the average head.
const FORAMEN: f32 = -62.0;
/// The brain's mask ends so far below the foramen magnum, as brain extraction does.
const CORD: f32 = 18.0;

/// Depth in a chain of rounded cones whose radii are `more` larger than written.
fn chain(p: Vec3, nodes: &[(Vec3, f32)], more: f32) -> f32 {
    let radius = |r: f32| (r + more).max(0.4);
    let parts = nodes.windows(2).map(|pair| cone(p, pair[0].0, pair[1].0, radius(pair[0].1), radius(pair[1].1)));
    parts.fold(f32::MIN, |a, b| union(a, b, 2.0))
}

/// Depth in the bones that are no shell (sphenoid, clivus, petrous and mastoid, condyles, cheek and jaw) at a point of
/// the average head, mirrored to the right.
fn masses(m: Vec3) -> [f32; 10] {
    [
        ellipsoid(m, [0.0, 10.0, -33.0], [17.0, 20.0, 12.0]),
        ellipsoid(m, [0.0, -10.0, -44.0], [14.0, 9.0, 20.0]),
        ellipsoid(m, [50.0, -46.0, -38.0], [16.0, 18.0, 22.0]),
        ellipsoid(m, [32.0, -34.0, -32.0], [26.0, 10.0, 14.0]),
        ellipsoid(m, [20.0, -38.0, -66.0], [9.0, 12.0, 9.0]),
        ellipsoid(m, [40.0, 4.0, -38.0], [10.0, 14.0, 5.0]),
        cone(m, [63.0, -14.0, -42.0], [52.0, 50.0, -48.0], 3.0, 4.5),
        cone(m, [51.0, -12.0, -46.0], [47.0, 2.0, -105.0], 5.5, 5.0),
        ellipsoid(m, [0.0, 42.0, -76.0], [26.0, 28.0, 4.0]),
        ellipsoid(m, [0.0, 63.0, -12.0], [30.0, 8.0, 10.0]),
    ]
}

/// Depth below the skin at a point of the average head that is `scalp` deep in the scalp: face, nose, ears and nape are
/// added.
fn skin(a: Vec3, scalp: f32) -> f32 {
    let m = [a[0].abs(), a[1], a[2]];
    let face =
        union(ellipsoid(m, [0.0, 20.0, -52.0], [64.0, 62.0, 70.0]), ellipsoid(m, [40.0, -5.0, -50.0], [30.0, 40.0, 45.0]), 15.0);
    let nose = cone(m, [0.0, 76.0, -28.0], [0.0, 90.0, -52.0], 6.0, 11.0);
    let ears = ellipsoid(m, [79.0, -32.0 - 0.3 * a[2], -28.0], [3.5, 14.0, 26.0]);
    let nape = cone(a, [0.0, -44.0, -45.0], [0.0, -44.0, -160.0], 50.0, 58.0);
    union(union(scalp, union(face, nape, 15.0), 12.0), union(nose, ears, 3.0), 5.0)
}

impl Anatomy {
    /// A person drawn from `random`.
    pub fn new(random: &mut Random) -> Anatomy {
        let sex = if random.chance(0.5) { Sex::Female } else { Sex::Male };
        let age = random.uniform(25.0, 92.0);
        let intracranial_ml = match sex {
            Sex::Male => random.normal(1469.0, 102.0),
            Sex::Female => random.normal(1289.0, 111.0),
        };
        let atrophy = (random.normal((age - 35.0) / 70.0, 0.2)).clamp(0.0, 1.0);
        let white = random.uniform(26.0, 31.0);
        let tissues = Tissues {
            fluid: random.uniform(3.0, 10.0),
            white,
            grey: white + random.uniform(5.5, 8.5),
            sinus: random.uniform(42.0, 66.0),
            dura: random.uniform(42.0, 62.0),
            table: random.uniform(1150.0, 1650.0),
            diploe: random.uniform(300.0, 750.0),
        };
        let mut noise = |cell: f32| Noise::new(random, cell);
        let (outline, outline_fine, thickness) = (noise(48.0), noise(15.0), noise(26.0));
        let (bone_texture, cells, flesh) = (noise(2.2), noise(3.2), noise(8.0));
        let (folds, folds_fine, rim_noise) = (noise(13.0), noise(7.0), noise(20.0));
        let (mottle, mottle_wide, speckle) = (noise(9.0), noise(35.0), noise(2.5));
        let hydrocephalus = if random.chance(0.06) { random.uniform(2.0, 7.0) } else { 0.0 };
        let mut anatomy = Anatomy {
            person: Person { sex, age, intracranial_ml, atrophy },
            tissues,
            scale: [1.0; 3],
            inverse_scale: [1.0; 3],
            mean_scale: 1.0,
            outline,
            outline_fine,
            thickness,
            bone_texture,
            cells,
            flesh,
            folds,
            folds_fine,
            rim_noise,
            mottle,
            mottle_wide,
            speckle,
            skull_mm: random.normal(6.6, 0.9),
            scalp_mm: random.uniform(3.5, 7.0),
            fat_mm: random.uniform(1.0, 4.0),
            rim_mm: random.uniform(0.0, 1.3) + 3.0 * atrophy * random.uniform(0.0, 1.0),
            sulcus_mm: random.uniform(0.35, 0.9) + 1.3 * atrophy * random.uniform(0.5, 1.0),
            sulcus_depth: random.uniform(11.0, 19.0),
            fissure_mm: random.uniform(0.8, 1.5) + 1.5 * atrophy * random.uniform(0.3, 1.0),
            falx_mm: random.uniform(0.4, 0.9),
            canal_mm: random.uniform(13.5, 16.5),
            medulla_mm: random.uniform(6.5, 9.0),
            third_mm: random.uniform(1.0, 1.9) + 2.2 * atrophy * random.uniform(0.4, 1.0) + 0.35 * hydrocephalus,
            ventricle_mm: random.uniform(-1.8, 0.4) + 4.0 * atrophy * random.uniform(0.4, 1.0) + hydrocephalus,
            pale: 7.0 * ((age - 45.0) / 50.0 * random.uniform(0.0, 1.5)).clamp(0.0, 1.0),
            frontal_sinus: random.uniform(0.3, 1.3),
            infarcts: Vec::new(),
            infarct_hu: random.uniform(9.0, 20.0),
            calcifications: Vec::new(),
            vessels: random.uniform(36.0, 48.0),
        };
        anatomy.fit_scale(random);
        anatomy.age_marks(random);
        anatomy
    }

    /// Sets the scale so that the cavity above the foramen magnum has the person's volume.
    fn fit_scale(&mut self, random: &mut Random) {
        const STEP: f32 = 6.0;
        let mut nodes = 0u32;
        for k in 0..25 {
            for j in 0..34 {
                for i in 0..25 {
                    let p = [-72.0 + STEP * i as f32, -109.0 + STEP * j as f32, FORAMEN + STEP * (k as f32 + 0.5)];
                    nodes += u32::from(self.cavity(p)[0] > 0.0);
                }
            }
        }
        let volume = nodes as f32 * STEP.powi(3) / 1000.0;
        let mean = (self.person.intracranial_ml / volume).cbrt();
        // Breadth against length, volume kept.
        let index = 1.0 + random.normal(0.0, 0.04 / 0.78) / 2.0;
        let height = 1.0 + random.normal(0.0, 0.02);
        let rest = mean / (height).sqrt();
        self.scale = [rest * index, rest / index, mean * height];
        self.inverse_scale = self.scale.map(f32::recip);
        self.mean_scale = mean;
    }

    /// Old infarcts and calcifications.
    fn age_marks(&mut self, random: &mut Random) {
        let old = ((self.person.age - 50.0) / 40.0).clamp(0.0, 1.0);
        if random.chance(0.05 + 0.2 * old) {
            // A territory at the cortex.
            let centre = [random.side() * random.uniform(28.0, 48.0), random.uniform(-75.0, 30.0), random.uniform(-5.0, 45.0)];
            let half = [0; 3].map(|_| random.uniform(8.0, 24.0));
            self.infarcts.push(Body { centre, half, hu: 0.0 });
        }
        while self.infarcts.len() < 5 && random.chance(0.15 + 0.35 * old) {
            // Lacunes in the basal ganglia, the thalamus and the white matter beside the ventricles.
            let centre = [random.side() * random.uniform(10.0, 30.0), random.uniform(-35.0, 20.0), random.uniform(-2.0, 28.0)];
            let r = random.uniform(1.5, 5.0);
            self.infarcts.push(Body { centre, half: [r, r * random.uniform(0.8, 1.6), r], hu: 0.0 });
        }
        let mut calcify = |chance: f32, bodies: &mut dyn FnMut(&mut Random) -> Vec<Body>| {
            if random.chance(chance) {
                self.calcifications.extend(bodies(random));
            }
        };
        calcify(0.35 + 0.4 * old, &mut |random| {
            let r = random.uniform(1.2, 3.2);
            vec![Body {
                centre: [0.0, random.uniform(-36.0, -32.0), 4.0],
                half: [r, r * random.uniform(0.8, 1.5), r],
                hu: random.uniform(90.0, 420.0),
            }]
        });
        calcify(0.35 + 0.45 * old, &mut |random| {
            let size = random.uniform(1.5, 4.0);
            let mut bodies = Vec::new();
            for side in [-1.0, 1.0] {
                for _ in 0..1 + random.pick(&[1.0, 1.0, 1.0]) {
                    let centre = [side * random.uniform(20.0, 25.0), random.uniform(-46.0, -38.0), random.uniform(7.0, 15.0)];
                    let half = [0; 3].map(|_| size * random.uniform(0.5, 1.2));
                    bodies.push(Body { centre, half, hu: random.uniform(80.0, 500.0) });
                }
            }
            bodies
        });
        calcify(0.05 + 0.2 * old, &mut |random| {
            let hu = random.uniform(50.0, 140.0);
            let r = random.uniform(2.0, 5.0);
            let at = [0; 3].map(|_| random.uniform(-2.0, 2.0));
            let body = |side: f32| Body { centre: along([side * 19.0, -1.0, 1.0], 1.0, at), half: [0.7 * r, 1.4 * r, r], hu };
            vec![body(-1.0), body(1.0)]
        });
        calcify(0.1 + 0.3 * old, &mut |random| {
            (0..1 + random.pick(&[2.0, 1.0, 1.0]))
                .map(|_| Body {
                    centre: [random.uniform(-1.0, 1.0), random.uniform(-20.0, 48.0), random.uniform(45.0, 66.0)],
                    half: [random.uniform(0.8, 2.2), random.uniform(2.0, 9.0), random.uniform(2.0, 7.0)],
                    hu: random.uniform(90.0, 600.0),
                })
                .collect()
        });
    }

    /// A point in the average head.
    fn average(&self, p: Vec3) -> Vec3 {
        [p[0] * self.inverse_scale[0], p[1] * self.inverse_scale[1], p[2] * self.inverse_scale[2]]
    }

    /// A point of the average head in the person's.
    pub fn place(&self, a: Vec3) -> Vec3 {
        [a[0] * self.scale[0], a[1] * self.scale[1], a[2] * self.scale[2]]
    }

    /// In the average head: depth below the inner table, height above the tentorium, distance behind the petrous ridge.
    fn cavity(&self, a: Vec3) -> [f32; 3] {
        let [_, y, z] = a;
        let x = a[0].abs();
        // The skull is broadest behind the ears.
        let egg = 1.0 - 0.11 * smooth_step((y + 45.0) / 115.0);
        let vault = ellipsoid([x / egg, y, z], [0.0, -19.0, 10.0], [69.0, 84.0, 64.0]);
        // The floor of the anterior fossa, higher over the orbits.
        let floor = z + 24.0 - 7.0 * (-((x - 26.0).powi(2) + (y - 42.0).powi(2)) / 300.0).exp();
        let upper = intersection(vault, floor, 8.0);
        let middle = ellipsoid([x, y, z], [36.0, -9.0, -20.0], [26.0, 33.0, 23.0]);
        let posterior = ellipsoid([x, y, z], [0.0, -63.0, -28.0], [56.0, 38.0, 31.0]);
        let stem = cone(a, [0.0, -27.0, -18.0], [0.0, -36.0, -62.0], 20.0, self.canal_mm + 1.0);
        let canal = cone(a, [0.0, -36.0, -62.0], [0.0, -48.0, -150.0], self.canal_mm, 11.0);
        let fossae = union(union(middle, posterior, 6.0), union(stem, canal, 6.0), 6.0);
        let (dx, dy) = (x - 10.0, y + 22.0);
        let (along_ridge, across) = (0.92 * dx - 0.39 * dy, 0.39 * dx + 0.92 * dy);
        let top = -15.0 - 0.08 * along_ridge - z;
        // Its base lies above the foramen magnum, which is an oval of its own.
        let base = z - PETROUS_BASE;
        let petrous =
            (0.62 * top - 0.75 * across.abs()).min(15.0 - across.abs()).min(along_ridge + 2.0).min(60.0 - along_ridge).min(base);
        let cavity = intersection(union(upper, fossae, 6.0), -petrous, 5.0);
        // The wall is uneven; deep inside and far outside that makes no difference.
        let near = 1.0 - smooth_step((cavity.abs() - 10.0) / 8.0);
        let cavity = if near > 0.0 { cavity + near * (1.1 * self.outline.at(a) + 0.2 * self.outline_fine.at(a)) } else { cavity };
        let r = (a[0] * a[0] + (0.75 * (y + 45.0)).powi(2) + 16.0).sqrt();
        [cavity, z - (7.0 - 0.4 * r), -across]
    }

    /// The fields of the skull at a point.
    pub fn skull(&self, p: Vec3) -> SkullFields {
        let a = self.average(p);
        let [cavity, tentorium, behind] = self.cavity(a);
        let [_, y, z] = a;
        let m = [a[0].abs(), y, z];
        let shell = cavity + self.skull_thickness(a) / self.mean_scale;
        let maxillary = ellipsoid(m, [27.0, 36.0, -56.0], [14.0, 16.0, 15.0]);
        let orbit = ellipsoid(m, [31.0 - 0.25 * (55.0 - y).max(0.0), 44.0, -29.0], [18.0, 27.0, 17.0]);
        let shells = (maxillary + 1.6).max((orbit + 2.2).min(66.0 - y));
        let bone = masses(m).into_iter().fold(shell, |a, b| union(a, b, 2.0)).max(shells).min(-orbit);
        let air = self.airways(a, maxillary).into_iter().fold(f32::MIN, f32::max).min(-cavity - 1.2);
        let dense = ellipsoid(m, [32.0, -34.0, -29.0], [15.0, 8.0, 8.0]);
        let scalp = bone.max(shell) + (self.scalp_mm + 0.8 * self.outline_fine.at(a)) / self.mean_scale;
        let skin = skin(a, scalp);
        let s = self.mean_scale;
        SkullFields {
            cavity: cavity * s,
            bone: bone * s,
            skin: skin * s,
            air: air * s,
            tentorium: tentorium * s,
            dense: dense * s,
            orbit: orbit * s,
            behind: behind * s,
        }
    }

    /// Thickness of the skull in mm at a point of the average head.
    fn skull_thickness(&self, a: Vec3) -> f32 {
        let [x, y, z] = [a[0].abs(), a[1], a[2]];
        let low = smooth_step((-18.0 - z) / 22.0);
        let temple = (-((y + 8.0).powi(2) / 900.0 + (z + 2.0).powi(2) / 500.0)).exp() * smooth_step((x - 45.0) / 15.0);
        let protuberance = (-(x.powi(2) / 200.0 + (z + 16.0).powi(2) / 250.0)).exp() * smooth_step((-70.0 - y) / 20.0);
        let thick = (self.skull_mm + 0.9 * self.thickness.at(a)) * (1.0 - 0.45 * temple) + 5.0 * protuberance + 2.0 * low;
        let neck = smooth_step((FORAMEN - 6.0 - z) / 6.0);
        thick * (1.0 - 0.35 * neck)
    }

    /// Depth in each sinus and airway at a point of the average head, where it is `maxillary` deep in that sinus.
    fn airways(&self, a: Vec3, maxillary: f32) -> [f32; 8] {
        let m = [a[0].abs(), a[1], a[2]];
        let cells = self.cells.at(a);
        // Air cells are parted by thin walls: where the noise is near 0.
        let walls = 1.6 * cells.abs() - 0.7;
        let septum = m[0] - 1.3;
        [
            maxillary,
            ellipsoid(m, [0.0, 40.0, -54.0], [11.0, 34.0, 21.0]).min(septum).min(3.0 * cells.abs() - 0.6),
            ellipsoid(m, [9.0, 36.0, -33.0], [8.0, 22.0, 9.0]).min(walls),
            ellipsoid(m, [8.0, 12.0, -33.0], [7.0, 9.0, 8.0]).min(septum),
            ellipsoid(m, [13.0, 67.0, -3.0], [12.0 * self.frontal_sinus, 3.8, 12.0 * self.frontal_sinus]).min(septum),
            ellipsoid(m, [52.0, -46.0, -40.0], [12.0, 14.0, 18.0]).min(walls),
            cone(m, [50.0, -22.0, -32.0], [90.0, -24.0, -32.0], 3.2, 4.0),
            ellipsoid(m, [0.0, 2.0, -76.0], [12.0, 9.0, 26.0]),
        ]
    }

    /// The fields of the skull where only those of its inside count; the others are far outside.
    pub fn skull_inside(&self, p: Vec3) -> SkullFields {
        let [cavity, tentorium, behind] = self.cavity(self.average(p)).map(|x| x * self.mean_scale);
        let far = -1e3;
        SkullFields { cavity, bone: far, skin: 1e3, air: far, tentorium, dense: far, orbit: far, behind }
    }

    /// The fields of the brain at a point; `skull` has those of the skull.
    pub fn brain(&self, p: Vec3, skull: &Lattice<SkullFields>, displacement: &dyn Displacement) -> BrainFields {
        let here = skull.at(p);
        if here.cavity < -8.0 {
            return BrainFields::outside(p);
        }
        let p = displacement.origin(p, &here);
        let moved = skull.at(p);
        let a = self.average(p);
        let s = self.mean_scale;
        let [x, y, z] = a;
        let m = [x.abs(), y, z];
        let atrophy = self.person.atrophy;
        let (cavity, tentorium, behind) = (moved.cavity, moved.tentorium, moved.behind);

        let uneven = self.rim_noise.at(a);
        let rim = self.rim_mm * (1.0 + 0.45 * uneven) + 1.5 * atrophy * smooth_step((y - 10.0) / 40.0);
        let hind_side = intersection(-tentorium, behind, 2.0);
        let stem = self.stem(a);
        let hindbrain = self.cerebellum(a, cavity, hind_side, rim).max(stem);
        let cerebrum = (cavity - rim.max(0.4)).min(-hind_side - 1.2);
        let pia = cerebrum.min(-self.cisterns(m, stem)).max(hindbrain);

        let folded = hindbrain <= 0.0 && pia < 1.3 * self.sulcus_depth;
        let (sulcus, open) = if folded { self.sulcus(a, cavity / s) } else { (9.0, 1.0) };

        let walls = self.ventricle_mm + 0.35 * self.rim_noise.at(along(a, 1.0, [60.0; 3]));
        let tall = [m[0], y, 14.0 + (z - 14.0) * 0.85];
        let lateral = chain(tall, &LATERAL, walls).min(m[0] - 0.7);
        let temporal = chain(m, &TEMPORAL, 0.6 * walls);
        let fourth = ellipsoid(m, [0.0, -45.0, -32.0], [5.5 + walls.max(-2.0), 4.5, 9.0]);
        let ventricle = lateral.max(temporal).max(fourth) * s;
        let third = ellipsoid([0.0, y, z], [0.0, -12.0, 2.0], [100.0, 15.0, 11.0]) * s;
        let nuclei = NUCLEI.iter().map(|(centre, half)| ellipsoid(m, *centre, *half)).fold(f32::MIN, f32::max) * s;
        let pale = self.pale * (-(-ventricle).max(0.0) / 7.0).exp() * (0.75 + 0.3 * uneven).max(0.0);
        let mottle = 0.7 * self.mottle.at(a) + 0.6 * self.mottle_wide.at(a);
        let infarct = self.infarct(a);
        let callosum = ellipsoid([0.0, y, z], [0.0, -12.0, 6.0], [100.0, 42.0, 24.0]) * s;
        let midline = x * s - 0.5 * self.outline.at([7.0, y, z]) - 0.3;
        BrainFields { pia, sulcus, ventricle, third, midline, nuclei, pale, mottle, hindbrain, infarct, callosum, open }
    }

    /// Depth in the brainstem, mm, at a point of the average head.
    fn stem(&self, a: Vec3) -> f32 {
        let axis = [
            ([0.0, -19.0, 2.0], 13.0),
            ([0.0, -25.0, -24.0], 14.5),
            ([0.0, -35.0, -58.0], self.medulla_mm),
            ([0.0, -48.0, -150.0], 5.5),
        ];
        chain(a, &axis, -0.8 * self.person.atrophy) * self.mean_scale
    }

    /// Depth in the cerebellum, mm, at a point of the average head: it fills the posterior fossa behind the brainstem
    /// but for a `rim` of fluid; a valley parts the hemispheres below.
    fn cerebellum(&self, a: Vec3, cavity: f32, hind_side: f32, rim: f32) -> f32 {
        let atrophy = self.person.atrophy;
        let valley = ellipsoid(a, [0.0, -92.0, -46.0], [5.0, 12.0, 24.0]);
        let cerebellum = ellipsoid(a, [0.0, -66.0, -24.0], [60.0, 37.0, 36.0]).min(-valley) * self.mean_scale;
        intersection(cerebellum + 1.0 - atrophy, cavity - 1.5 - 0.6 * rim, 3.0).min(hind_side - 1.4 - atrophy)
    }

    /// Depth in the cisterns, mm, at a point of the average head, mirrored to the right, that is `stem` mm deep in the
    /// brainstem.
    fn cisterns(&self, m: Vec3, stem: f32) -> f32 {
        let (s, atrophy, [_, y, z]) = (self.mean_scale, self.person.atrophy, m);
        let wide = 0.5 + 1.7 * atrophy;
        let sylvian = [m[0], y, z - 0.3 * (-2.0 - y)];
        let cisterns = [
            ellipsoid(m, [0.0, 7.0, -18.0], [10.0 + atrophy, 9.0, 10.0]),
            ellipsoid(m, [0.0, -43.0, -3.0], [11.0, 4.0 + atrophy, 6.0]),
            // Around the midbrain.
            (-stem / s).min(1.6 + 1.2 * atrophy + stem / s).min(z + 24.0).min(3.0 - z),
            ellipsoid(sylvian, [51.0, -3.0, 0.0], [13.0, 20.0, wide + 0.6]),
            ellipsoid(sylvian, [39.0, -3.0, 3.0], [wide, 20.0, 12.0]),
        ];
        cisterns.into_iter().fold(f32::MIN, f32::max) * s
    }

    /// Depth in old infarcts, mm, at a point of the average head.
    fn infarct(&self, a: Vec3) -> f32 {
        let depth = self.infarcts.iter().map(|body| {
            let size = body.half[0].min(body.half[1]).min(body.half[2]);
            let depth = ellipsoid(a, body.centre, body.half);
            if depth < -size { depth } else { depth + 0.22 * size * self.mottle.at(along(a, 1.0, [-80.0; 3])) }
        });
        depth.fold(-20.0, f32::max) * self.mean_scale
    }

    /// In the average head: distance to the middle surface of the nearest sulcus, and how open it is.
    fn sulcus(&self, a: Vec3, cavity: f32) -> (f32, f32) {
        // Sulci run nearly straight inward: the noise is that of the place where the way out from a spine of the hemisphere meets the surface.
        let spine = [a[0].signum() * 14.0, a[1].clamp(-62.0, 24.0), 6.0];
        let out = sub(a, spine);
        let radius = norm(out).max(6.0);
        let stretch = radius / (radius + cavity.max(0.0));
        let surface = along(spine, 1.0 / stretch, out);
        let surface = along(surface, 0.25, sub(a, surface));
        let (value, slope) = self.folds.value_and_gradient(surface);
        let (fine, fine_slope) = self.folds_fine.value_and_gradient(surface);
        let slope = norm(along(slope, 0.45, fine_slope)).max(0.03);
        let open = (0.9 + 0.6 * self.mottle_wide.at(along(a, 1.0, [0.0, 0.0, 90.0]))).clamp(0.15, 2.2);
        let distance = ((value + 0.45 * fine) / slope * stretch).clamp(-9.0, 9.0);
        // Near the spine the way out has no direction: no sulcus reaches there.
        let deep = 9.0 * smooth_step((0.6 - stretch) * 5.0);
        (distance.abs().max(deep) * self.mean_scale, open)
    }

    /// Height of the person's foramen magnum.
    pub fn foramen(&self) -> f32 {
        self.scale[2] * FORAMEN
    }

    /// Depth in the part of the skull's inside that counts as brain, for the skull's fields at a point.
    pub fn brain_mask(&self, p: Vec3, skull: &SkullFields) -> f32 {
        skull.cavity.min(p[2] - self.foramen() + CORD)
    }

    /// HU of what lies outside the inner table.
    pub fn outside(&self, p: Vec3, skull: &SkullFields, width: f32) -> f32 {
        let skin = skull.skin;
        let covered = cover(skin, width);
        if covered == 0.0 {
            return AIR;
        }
        let a = self.average(p);
        let flesh = self.flesh.at([a[0], a[1], 0.5 * a[2]]);
        // Muscle with fat between its bellies; under the skin a layer of fat.
        let mut hu = if flesh > 1.3 { FAT + 40.0 } else { 52.0 + 6.0 * flesh };
        let fat = cover(skin - 2.0, width) * (1.0 - cover(skin - 2.0 - self.fat_mm - 1.0, width));
        hu += (FAT - hu) * fat;
        let m = [a[0].abs(), a[1], a[2]];
        let orbit = skull.orbit;
        if orbit > -width {
            hu += (self.orbit(m, width) - hu) * cover(orbit, width);
        }
        let bone = cover(skull.bone, width);
        if bone > 0.0 {
            hu += (self.bone(a, skull, width) - hu) * bone;
        }
        hu += (AIR - hu) * cover(skull.air, width);
        AIR + (hu - AIR) * covered
    }

    /// Globe, lens, optic nerve and muscles in the fat of an orbit; a point of the average head, mirrored to the right.
    fn orbit(&self, m: Vec3, width: f32) -> f32 {
        let mut hu = FAT;
        let globe = [31.0, 60.0, -29.0];
        let apex = [20.0, 24.0, -27.0];
        let nerve = cone(m, globe, apex, 2.2, 2.0);
        let medial = cone(m, [19.5, 58.0, -29.0], apex, 1.6, 1.4);
        let side = cone(m, [43.0, 57.0, -29.0], apex, 1.6, 1.4);
        let above = cone(m, [31.0, 58.0, -17.0], apex, 1.8, 1.4).max(cone(m, [31.0, 58.0, -41.0], apex, 1.8, 1.4));
        hu += (48.0 - hu) * cover(nerve.max(medial).max(side).max(above), width);
        let depth = 12.0 - norm(sub(m, globe));
        hu += (50.0 - hu) * cover(depth, width);
        hu += (12.0 - hu) * cover(depth - 1.2, width);
        hu + (85.0 - hu) * cover(ellipsoid(m, [31.0, 69.0, -29.0], [4.5, 2.0, 4.5]), width)
    }

    /// HU of bone: two tables and the diploe between them.
    fn bone(&self, a: Vec3, skull: &SkullFields, width: f32) -> f32 {
        let (outer, inner) = (skull.bone, -skull.cavity);
        let table = 1.7_f32.min(0.32 * (outer + inner));
        let marrow =
            cover(outer - table, width.max(1.0)) * cover(inner - table, width.max(1.0)) * (1.0 - cover(skull.dense, 4.0));
        let texture = self.bone_texture.at(a);
        let hard = self.tissues.table + 350.0 * cover(skull.dense, 4.0) + 60.0 * texture;
        hard + (self.tissues.diploe + 130.0 * texture - hard) * marrow
    }

    /// HU of what lies inside the inner table, without blood.
    pub fn inside(&self, p: Vec3, skull: &SkullFields, fields: &BrainFields, width: f32) -> f32 {
        let t = &self.tissues;
        let s = self.mean_scale;
        let a = self.average(p);
        let (cavity, tentorium, behind) = (skull.cavity, skull.tentorium, skull.behind);
        let (pia, midline, callosum) = (fields.pia, fields.midline, fields.callosum);
        let hind = fields.hindbrain;
        let supra = cover(tentorium.max(-behind), width);

        // Sulci: widest at the surface, closed at their depth.
        let left = 1.0 - pia / self.sulcus_depth;
        let half = self.sulcus_mm * left.min(1.0) * fields.open;
        let sulcus = if left > 0.0 && hind < 0.0 { layer(fields.sulcus, half, width) } else { 0.0 };
        let ribbon = if left > -0.15 { pia.min(fields.sulcus.abs() - half.max(0.0)) } else { pia };
        // The medial surface is cortex too, above the corpus callosum.
        let medial = midline.abs() - self.fissure_mm;
        let ribbon = if callosum < 0.0 && hind < 0.0 { ribbon.min(medial) } else { ribbon };
        let grey = 1.0 - cover(ribbon - 2.9, width.max(1.2));
        let nuclei = cover(fields.nuclei, width.max(2.0));
        let white = t.white - fields.pale;
        let mut hu = white + (t.grey - white) * grey;
        hu += (t.grey + 0.8 - hu) * nuclei;
        // The cerebellum's folia are finer than CT shows.
        let cerebellum = t.white + 0.75 * (t.grey - t.white);
        if hind > -2.0 {
            let folia = 1.5 * self.folds_fine.at([0.4 * a[0], a[1], 1.6 * a[2]]);
            hu += (cerebellum + folia - hu) * cover(hind, width.max(2.0));
        }
        hu += fields.mottle;
        hu += (self.infarct_hu - hu) * cover(fields.infarct, width.max(2.5));
        hu = t.fluid + (hu - t.fluid) * cover(pia, width) * (1.0 - sulcus);

        let ventricle = cover(fields.ventricle, width);
        hu += (t.fluid - hu) * ventricle.max(layer(midline, self.third_mm, width) * cover(fields.third, width));
        let fissure = supra * (1.0 - cover(callosum, width.max(2.0)));
        if fissure > 0.0 && midline.abs() < 12.0 {
            let depth = 1.0 + 0.5 * self.folds.at([0.0, p[1], p[2]]).clamp(-1.4, 1.4);
            hu += (t.fluid - hu) * 0.9 * layer(midline, self.fissure_mm * depth, width) * fissure;
            // The falx is narrow in front and reaches the tentorium behind.
            let reach = 26.0 + 0.55 * (20.0 - a[1]).max(0.0);
            let falx = layer(midline, self.falx_mm, width) * cover(reach - cavity, 3.0) * fissure * cover(cavity + 1.0, width);
            hu += (t.dura - hu) * falx;
        }
        if tentorium.abs() < 8.0 && behind > -3.0 {
            let opening = (p[0] / (17.0 * s)).powi(2) + ((p[1] / s + 28.0) / 24.0).powi(2);
            let sheet = layer(tentorium, 0.7, width) * cover(behind, 3.0) * smooth_step((opening - 1.0) * 4.0);
            hu += (t.dura - hu) * sheet;
        }
        hu = self.vessels(p, skull, midline, width, hu);
        for body in &self.calcifications {
            let out = sub(a, body.centre);
            let near = 3.0 + body.half[0].max(body.half[1]).max(body.half[2]);
            if dot(out, out) < near * near {
                let depth = ellipsoid(a, body.centre, body.half);
                let rough = depth + 0.35 * body.half[0] * self.speckle.at(a);
                hu += (body.hu - hu) * cover(rough, width);
            }
        }
        hu
    }

    /// Dural sinuses and the large arteries, over `hu`.
    fn vessels(&self, p: Vec3, skull: &SkullFields, midline: f32, width: f32, hu: f32) -> f32 {
        let (cavity, tentorium, behind) = (skull.cavity, skull.tentorium, skull.behind);
        let s = self.mean_scale;
        let mut depth = f32::MIN;
        if cavity < 9.0 && midline.abs() < 7.0 && tentorium > -4.0 {
            // The superior sagittal sinus: a triangle at the midline, wider at the back.
            let size = 2.0 + 0.035 * (50.0 - p[1] / s).clamp(0.0, 130.0);
            depth = (size - cavity).min(0.75 * (size - cavity + 0.6 - midline.abs() * 1.1)).min(cavity + 1.0);
        }
        if cavity < 9.0 && behind > 0.0 && tentorium.abs() < 7.0 && p[1] < -35.0 * s {
            depth = depth.max(2.7 - (tentorium + 0.5).hypot(cavity - 2.0));
        }
        let straight = 2.2 - midline.hypot(tentorium - 1.0);
        if p[1] < -48.0 * s && straight > -4.0 {
            depth = depth.max(straight);
        }
        let hu = hu + (self.tissues.sinus - hu) * cover(depth, width);
        let m = [p[0].abs() / s, p[1] / s, p[2] / s];
        if m[2] > 45.0 || m[2] < -75.0 || m[0] > 45.0 || m[1] < -40.0 {
            return hu;
        }
        let basilar = cone(m, [0.0, -9.0, -38.0], [0.0, -6.0, -17.0], 1.6, 1.6);
        let vertebral = cone(m, [10.0, -31.0, -66.0], [0.0, -11.0, -38.0], 1.8, 1.6);
        let carotid = cone(m, [7.0, 4.0, -24.0], [8.0, 5.0, -14.0], 2.0, 1.7);
        let cerebral = cone(m, [8.0, 5.0, -14.0], [37.0, -2.0, -8.0], 1.5, 1.1);
        hu + (self.vessels - hu) * cover(basilar.max(vertebral).max(carotid).max(cerebral), width)
    }

    /// Whether a point lies in the cerebrum's half of the cavity on one side (-1 left, 1 right) by at least some distance: the least of the distances to
    /// inner table, falx and tentorium.
    pub fn hemisphere(&self, p: Vec3, skull: &SkullFields, side: f32) -> f32 {
        skull.cavity.min(side * p[0] - 1.0).min(skull.tentorium.max(-skull.behind) - 1.0)
    }

    /// The same for the posterior fossa.
    pub fn posterior_fossa(&self, p: Vec3, skull: &SkullFields) -> f32 {
        let above_foramen = p[2] - self.foramen();
        skull.cavity.min(-skull.tentorium - 1.0).min(skull.behind - 1.0).min(above_foramen)
    }

    /// A place in a lateral ventricle, or in the fourth.
    pub fn ventricle(&self, random: &mut Random) -> Vec3 {
        let side = random.side();
        let places = [[side * 11.0, 5.0, 18.0], [side * 22.0, -42.0, 10.0], [0.0, -45.0, -32.0], [side * 10.0, 22.0, 10.0]];
        self.place(places[random.pick(&[0.35, 0.4, 0.1, 0.15])])
    }

    /// A direction from the head's middle to a point, of length 1.
    pub fn outward(&self, p: Vec3) -> Vec3 {
        let out = sub(p, self.place([0.0, -20.0, 8.0]));
        let length = dot(out, out).sqrt().max(1e-3);
        out.map(|x| x / length)
    }
}

/// HU of air.
pub const AIR: f32 = -1000.0;
/// HU of fat.
const FAT: f32 = -95.0;
