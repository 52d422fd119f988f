//! Head phantoms: CTs of heads that nobody has, with bleeds whose place and volume are known.
//!
//! A phantom is made from a seed alone: a person (`anatomy`: measures, tissues, atrophy, old infarcts, calcifications), bleeds of given volumes with
//! what they push aside (`bleeds`), and a scan of both (`scanner`, `noise`). Shapes are functions of space, evaluated at samples through each voxel,
//! so that any grid can be asked for. The same seed and settings give the same bytes on any number of threads.

mod anatomy;
mod bleeds;
pub mod ellipsoids;
mod field;
pub mod insert;
mod noise;
mod scanner;

#[cfg(test)]
mod tests;

pub use anatomy::{Person, Sex};
pub use bleeds::Kind;

use crate::random::stream::Random;
use crate::volume::{Affine, Grid, Volume};
use crate::{Error, Result};
use anatomy::{Anatomy, BrainFields, SkullFields};
use bleeds::{Bleed, MassEffect, Order};
use field::{Lattice, Vec3};

/// Number of the generator: another one makes other phantoms of the same seed. To be raised with every change to what a seed gives.
pub(crate) const REVISION: u32 = 5;

/// What is asked of a phantom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The scan's grid in RAS mm. The brain's middle (the anterior commissure, but for the patient's position) lies at 0. Its planes of i and j are the slices: a
    /// sheared affine is a tilted gantry.
    pub grid: Grid,
    /// Slice thickness in mm, across the planes of i and j. May be more or less than their distance.
    pub thickness: f64,
    /// Whether only the brain is wanted: 0 HU outside its mask, as the network's input has it, and no blur in the slice's plane, which would mix that 0 in. Faster.
    pub brain_only: bool,
    /// Share of phantoms without a bleed.
    pub without_bleed: f32,
    /// Least and greatest volume of a bleed in mL; volumes are uniform in the logarithm.
    pub volume_ml: [f32; 2],
    /// What bleeds may be.
    pub kinds: Vec<Kind>,
    /// Whether bleeds are to be hard to see: half of them faint, most of the larger ones pale in parts, many layered, subdural ones thin.
    pub hard: bool,
    /// Least and greatest deviation of the noise, HU, in the middle of the head.
    pub noise_hu: [f32; 2],
    /// Strength of beam hardening and streaks: 0 none, 1 usual.
    pub artefacts: f32,
    /// Share of phantoms that move during the scan.
    pub motion: f32,
    /// Share of phantoms of which the field of view cuts off a part.
    pub cut: f32,
    /// How crooked patients lie: deviation of each of three angles in degrees. Shifts in mm are as large.
    pub crooked: f32,
}

impl Settings {
    /// A head CT as scanners make it: 512 x 512 voxels of 0.45 mm, 30 slices of 5 mm.
    pub fn ct() -> Settings {
        Settings::new(ct_grid([512, 512, 30], [0.45, 0.45, 5.0], 0.0), 5.0)
    }

    /// The brain alone at 1.5 mm, RAS, 96 x 112 x 112 voxels down to the cord, as the network sees a scan with slices of `thickness` mm.
    pub fn network(thickness: f64) -> Settings {
        let matrix = [[1.5, 0.0, 0.0], [0.0, 1.5, 0.0], [0.0, 0.0, 1.5]];
        let grid = Grid { shape: [96, 112, 112], affine: Affine::new(matrix, [-71.25, -102.25, -87.0]) };
        Settings { brain_only: true, cut: 0.0, crooked: 3.0, ..Settings::new(grid, thickness) }
    }

    /// The usual settings on a grid of one's own.
    pub fn new(grid: Grid, thickness: f64) -> Settings {
        Settings {
            grid,
            thickness,
            brain_only: false,
            without_bleed: 0.25,
            volume_ml: [0.5, 150.0],
            kinds: Kind::ALL.to_vec(),
            hard: false,
            noise_hu: [1.0, 5.0],
            artefacts: 1.0,
            motion: 0.1,
            cut: 0.05,
            crooked: 4.0,
        }
    }

    fn check(&self) -> Result<()> {
        let problem = |text: String| Err(Error::Phantom(text));
        if self.grid.is_empty() || self.grid.len() as u64 > crate::io::nifti::MAX_VOXELS {
            return problem(format!(
                "a scan of {:?} voxels cannot be made: 1 to {} voxels can",
                self.grid.shape,
                crate::io::nifti::MAX_VOXELS
            ));
        }
        // The values, the label and the brain.
        crate::memory::check(6 * self.grid.len() as u64, || format!("a scan of {:?} voxels", self.grid.shape))?;
        let spacing = self.grid.spacing();
        let small = |mm: f64| !(0.05..=50.0).contains(&mm);
        if spacing.into_iter().any(small) || self.grid.affine.inverse().is_none() || self.grid.voxel_mm3() < 1e-6 {
            return problem(format!("voxels of {spacing:?} mm cannot be made: 0.05 to 50 mm can, along three directions"));
        }
        if small(self.thickness) {
            return problem(format!("a slice thickness of {} mm cannot be made: 0.05 to 50 mm can", self.thickness));
        }
        let [low, high] = self.volume_ml;
        if !(0.1..=150.0).contains(&low) || !(low..=150.0).contains(&high) {
            return problem(format!("bleeds of {low} to {high} mL cannot be made: 0.1 to 150 mL can"));
        }
        let shares = [self.without_bleed, self.motion, self.cut];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return problem("shares (without a bleed, motion, cut) must lie between 0 and 1".into());
        }
        let [quiet, loud] = self.noise_hu;
        if !(0.0..=100.0).contains(&quiet) || !(quiet..=100.0).contains(&loud) || !(0.0..=10.0).contains(&self.artefacts) {
            return problem("noise must lie between 0 and 100 HU, artefacts between 0 and 10 times the usual".into());
        }
        if !(0.0..=30.0).contains(&self.crooked) {
            return problem(format!("patients that lie {} degrees crooked cannot be made: 0 to 30 degrees can", self.crooked));
        }
        Ok(())
    }
}

/// A grid as scanners make it, about the head's middle: i to the patient's left, j to the back, k to the top. With a gantry tilted by `tilt` degrees (top
/// towards the patient's feet when positive), the slices are inclined and the table moves along z between them, so the grid is sheared.
pub fn ct_grid(shape: [usize; 3], spacing: [f64; 3], tilt: f64) -> Grid {
    let (s, c) = tilt.to_radians().sin_cos();
    let matrix = [[-spacing[0], 0.0, 0.0], [0.0, -spacing[1] * c, 0.0], [0.0, spacing[1] * s, spacing[2]]];
    // The head's middle in millimetres: the brain reaches from -62 (foramen magnum) to 74 above the commissure, from -103 to 65 along y.
    let middle = [0.0, -16.0, 4.0];
    let half = shape.map(|side| (side as f64 - 1.0) / 2.0);
    let offset = Affine::new(matrix, [0.0; 3]).apply(half);
    Grid { shape, affine: Affine::new(matrix, [0, 1, 2].map(|a| middle[a] - offset[a])) }
}

/// A bleed of a phantom.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// What it is.
    pub kind: Kind,
    /// Its drawn volume in mL. All of it, also what the field of view leaves out; parts of two bleeds never overlap by more than touching hematomas do.
    pub volume_ml: f64,
    /// Mean HU of its clotted part.
    pub hu: f32,
    /// Its centre of mass in the scan's world, RAS mm.
    pub centre: [f64; 3],
    /// Share of its volume that the field of view shows, 0 to 1: what lies inside the grid's voxels, and inside the
    /// reconstructed circle where there is one.
    pub in_view: f64,
}

/// Whether a point of the world lies in a voxel of a grid; `to_index` is the inverse of the grid's affine.
fn in_grid(grid: &Grid, to_index: &Affine, point: [f64; 3]) -> bool {
    let index = to_index.apply(point);
    (0..3).all(|axis| (-0.5..=grid.shape[axis] as f64 - 0.5).contains(&index[axis]))
}

/// A phantom: a scan with its labels.
#[derive(Clone, Debug)]
pub struct Head {
    /// HU.
    pub scan: Volume<f32>,
    /// Where more than half of a voxel is blood.
    pub label: Volume<bool>,
    /// The inside of the skull, down to 18 mm below the foramen magnum.
    pub brain: Volume<bool>,
    /// The bleeds.
    pub bleeds: Vec<Truth>,
    /// Who it is.
    pub person: Person,
    /// Slice thickness in mm.
    pub thickness: f64,
}

impl Head {
    /// Volume of the label in mL: its voxels times the voxel's volume.
    pub fn label_ml(&self) -> f64 {
        self.label.volume_ml()
    }
}

/// The phantom of a seed.
///
/// # Errors
/// [`Error::Phantom`] for settings that no scan can have.
pub fn generate(seed: u64, settings: &Settings) -> Result<Head> {
    settings.check()?;
    let anatomy = Anatomy::new(&mut Random::new(seed, 0));
    let mut random = Random::new(seed, 1);
    let cut = random.chance(settings.cut);
    let pose = pose(&mut random, settings, cut);
    let to_head = pose.inverse().ok_or_else(|| Error::Phantom("the pose has no inverse".into()))?;

    // Bleeds are placed in the whole head, whatever the scan shows of it.
    let (low, high) = (anatomy.place([-76.0, -112.0, -84.0]), anatomy.place([76.0, 72.0, 84.0]));
    let coarse_skull = Lattice::new(low, high, 3.0, |p| anatomy.skull_inside(p));
    let mut random = Random::new(seed, 2);
    let orders = bleeds::order(&mut random, settings.without_bleed, settings.volume_ml, &settings.kinds, settings.hard);
    let solid: Vec<Bleed> = orders.iter().filter_map(|order| Bleed::place(&mut random, order, &anatomy, &coarse_skull)).collect();
    let shares = solid.iter().map(|_| random.uniform(0.35, 0.9)).collect();
    let effect = MassEffect { bleeds: &solid, anatomy: &anatomy, shares };
    let ventricular = orders.iter().find(|order| order.kind == Kind::Intraventricular);
    let coarse_brain = (settings.brain_only || ventricular.is_some())
        .then(|| Lattice::new(low, high, 3.0, |p| anatomy.brain(p, &coarse_skull, &effect)));
    let mut bleeds = solid.clone();
    if let (Some(order), Some(fields)) = (ventricular, &coarse_brain) {
        bleeds.extend(in_ventricles(&mut random, order, &anatomy, &solid, (&coarse_skull, fields)));
    }

    // What a scan shows of a whole head is drawn finer: voxels of half a millimetre would show the facets of 3 mm.
    let fine = (!settings.brain_only).then(|| {
        let (low, high) = bounds(&settings.grid, &to_head, settings);
        let [si, sj, _] = settings.grid.spacing();
        let step = if si.min(sj) < 1.0 { 2.0 } else { 3.0 };
        let skull = Lattice::new(low, high, step, |p| anatomy.skull(p));
        let brain = Lattice::new(low, high, step, |p| anatomy.brain(p, &skull, &effect));
        (skull, brain)
    });
    let (skull, brain) = match (&fine, &coarse_brain) {
        (Some((skull, brain)), _) => (skull, brain),
        (None, Some(brain)) => (&coarse_skull, brain),
        (None, None) => unreachable!("the brain's lattice is made where no finer one is"),
    };

    let subject = scanner::Subject { anatomy: &anatomy, skull, brain, bleeds: &bleeds };
    let mut random = Random::new(seed, 3);
    let scan = scanner::Scan {
        grid: settings.grid.clone(),
        to_head,
        thickness: settings.thickness,
        brain_only: settings.brain_only,
        noise_hu: random.uniform(settings.noise_hu[0], settings.noise_hu[1]),
        artefacts: settings.artefacts * random.uniform(0.3, 1.2),
        motion: random.chance(settings.motion),
        circle_mm: (cut && random.chance(0.5)).then(|| random.uniform(95.0, 115.0)),
        head_rest: random.chance(0.85),
        whole: !settings.brain_only,
    };
    let image = scanner::scan(&subject, &scan, seed);
    let grid = &settings.grid;
    let to_index = grid.affine.inverse().ok_or_else(|| Error::Phantom("the grid's affine has no inverse".into()))?;
    let middle = scan.middle();
    let seen = |p: Vec3| {
        let world = pose.apply(p.map(f64::from));
        let [x, y] = [0, 1].map(|axis| world[axis] as f32 - middle[axis]);
        in_grid(grid, &to_index, world) && scan.circle_mm.is_none_or(|radius| x.hypot(y) <= radius)
    };
    let bleeds = bleeds.iter().map(|bleed| Truth {
        kind: bleed.kind,
        volume_ml: bleed.volume_ml,
        hu: bleed.hu,
        centre: pose.apply(bleed.centre.map(f64::from)),
        in_view: bleed.share(seen),
    });
    Ok(Head {
        scan: Volume::new(grid.clone(), image.hu),
        label: Volume::new(grid.clone(), image.blood),
        brain: Volume::new(grid.clone(), image.brain),
        bleeds: bleeds.collect(),
        person: anatomy.person,
        thickness: settings.thickness,
    })
}

/// Blood in the ventricles, near the first bleed that may have broken into them and where that has left room.
fn in_ventricles(
    random: &mut Random,
    order: &Order,
    anatomy: &Anatomy,
    solid: &[Bleed],
    (skull, brain): (&Lattice<SkullFields>, &Lattice<BrainFields>),
) -> Option<Bleed> {
    let near = solid.iter().find(|bleed| bleed.kind != Kind::Subdural).map(|bleed| bleed.centre);
    let about = near.unwrap_or_else(|| anatomy.ventricle(random));
    let free = |p: Vec3| {
        let (skull, brain) = (skull.at(p), brain.at(p));
        let taken = solid.iter().map(|bleed| bleed.depth(p, anatomy, &skull, &brain)).fold(f32::MIN, f32::max);
        brain.ventricle.min(-taken)
    };
    let bounds = (anatomy.place([-50.0, -80.0, -50.0]), anatomy.place([50.0, 45.0, 45.0]));
    Bleed::in_ventricles(random, order, about, bounds, free)
}

/// How the patient lies: takes the head's millimetres to the scan's. With `cut`, so far off that a part is out of the field of view.
fn pose(random: &mut Random, settings: &Settings, cut: bool) -> Affine {
    let angles = [0; 3].map(|_| f64::from(random.normal(0.0, settings.crooked)).to_radians());
    let mut shift = [0; 3].map(|_| f64::from(random.normal(0.0, settings.crooked)));
    if cut {
        shift[random.pick(&[1.0, 1.0, 2.0])] += f64::from(random.side() * random.uniform(15.0, 45.0));
    }
    let mut pose = Affine::IDENTITY;
    for (axis, angle) in angles.into_iter().enumerate() {
        let (s, c) = angle.sin_cos();
        let (b, d) = ((axis + 1) % 3, (axis + 2) % 3);
        let mut turn = Affine::IDENTITY;
        (turn.rows[b][b], turn.rows[d][d], turn.rows[b][d], turn.rows[d][b]) = (c, c, -s, s);
        pose = turn.after(&pose);
    }
    Affine::new(pose.matrix(), shift)
}

/// The box of the head that the scan can see.
fn bounds(grid: &Grid, to_head: &Affine, settings: &Settings) -> (Vec3, Vec3) {
    // Beyond this there is air at the sides, and neck or table at the ends.
    let (least, most): (Vec3, Vec3) = ([-105.0, -140.0, -190.0], [105.0, 125.0, 110.0]);
    let (mut low, mut high) = ([f32::MAX; 3], [f32::MIN; 3]);
    for n in 0..8 {
        let corner = [0, 1, 2].map(|a| if n >> a & 1 == 1 { grid.shape[a] as f64 - 0.5 } else { -0.5 });
        let p = to_head.apply(grid.affine.apply(corner));
        for a in 0..3 {
            low[a] = low[a].min(p[a] as f32);
            high[a] = high[a].max(p[a] as f32);
        }
    }
    // Slices reach half their thickness further, and a moving patient a few millimetres.
    let margin = 8.0 + 0.5 * settings.thickness as f32;
    let low = [0, 1, 2].map(|a| (low[a] - margin).clamp(least[a], most[a] - 6.0));
    (low, [0, 1, 2].map(|a| (high[a] + margin).clamp(low[a] + 6.0, most[a])))
}
