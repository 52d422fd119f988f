//! Samples: what a source gives for a number, how it is kept, and what is done to it before the network sees it.

use super::config::Samples;
use super::random::Random;
use crate::io::atomic;
use crate::pipeline::space;
use crate::volume::Volume;
use crate::volume::distance::distance_squared;
use crate::{Error, Result};
use ndarray::ArrayView3;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// A brain on the network's grid with what is to be found in it. Arrays are (D, H, W) = (i, j, k), W fastest; those for a 2D network (k, i, j).
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The grid: multiples of what the network needs.
    pub shape: [usize; 3],
    /// Whether it is for a 2D network.
    pub planar: bool,
    /// Volume of a voxel in mL.
    pub voxel_ml: f64,
    /// Whole HU; 0 outside of the brain.
    pub hu: Vec<i16>,
    /// Where blood is.
    pub label: Vec<bool>,
    /// Where the brain is.
    pub mask: Vec<bool>,
}

impl Sample {
    /// A sample of a scan in the network's space with its label and brain, for a network in 3D.
    ///
    /// # Panics
    /// Where the grids differ in size.
    pub fn volume(scan: &Volume<f32>, label: &Volume<bool>, brain: &Volume<bool>) -> Sample {
        Sample::of(space::view(scan), space::view(label), space::view(brain), false, scan.grid().voxel_mm3() / 1000.0)
    }

    /// A sample of a scan's own slices, axes in the order nearest to RAS, for a 2D network.
    ///
    /// # Panics
    /// Where the grids differ in size.
    pub fn slices(scan: &Volume<f32>, label: &Volume<bool>, brain: &Volume<bool>) -> Sample {
        let order = [2, 0, 1];
        let (scan_view, label) = (space::view(scan).permuted_axes(order), space::view(label).permuted_axes(order));
        Sample::of(scan_view, label, space::view(brain).permuted_axes(order), true, scan.grid().voxel_mm3() / 1000.0)
    }

    fn of(scan: ArrayView3<f32>, label: ArrayView3<bool>, brain: ArrayView3<bool>, planar: bool, voxel_ml: f64) -> Sample {
        assert_eq!((scan.dim(), scan.dim()), (label.dim(), brain.dim()), "scan, label and brain have the same grid");
        let (depth, height, width) = scan.dim();
        let hu = scan.iter().zip(brain).map(|(hu, &inside)| if inside { hu.round() as i16 } else { 0 }).collect();
        let label = label.iter().zip(brain).map(|(&label, &inside)| label && inside).collect();
        Sample { shape: [depth, height, width], planar, voxel_ml, hu, label, mask: brain.iter().copied().collect() }
    }
}

/// Where samples come from. All have the same grid; those for a 2D network may have different numbers of slices.
pub trait Source: Sync {
    /// Number of samples, numbered from 0.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the samples depend on, so that those of others are not taken for them.
    fn key(&self) -> String;

    /// A sample, the same at every call.
    ///
    /// # Errors
    /// Whatever keeps it from being read or made.
    fn sample(&self, number: usize) -> Result<Sample>;
}

/// A sample as the network sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The grid.
    pub shape: [usize; 3],
    /// HU clipped to the config's range, 0 outside of the brain.
    pub hu: Vec<f32>,
    /// Where blood is.
    pub label: Vec<bool>,
    /// Where the brain is.
    pub mask: Vec<bool>,
}

/// A box of the sample's grid: its first voxel and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First voxel.
    pub origin: [usize; 3],
    /// Size.
    pub shape: [usize; 3],
}

/// A voxel of those that are flagged, each as likely as any other; `None` where there is none.
fn any_of(flags: &[bool], random: &mut Random) -> Option<usize> {
    let count = flags.iter().filter(|&&flag| flag).count();
    if count == 0 {
        return None;
    }
    flags.iter().enumerate().filter(|&(_, &flag)| flag).nth(random.below(count)).map(|(place, _)| place)
}

impl Crop {
    /// A voxel of a bleed with probability `bleed`, where there is one, else one of the brain.
    fn centre(sample: &Sample, bleed: f64, random: &mut Random) -> [usize; 3] {
        let around_bleed = random.uniform() < bleed;
        let centre = if around_bleed { any_of(&sample.label, random) } else { None };
        let centre = centre.or_else(|| any_of(&sample.mask, random)).unwrap_or(0);
        let [_, height, width] = sample.shape;
        [centre / (height * width), centre / width % height, centre % width]
    }

    /// A cube of `side` voxels (less where the grid is smaller) around a voxel of a bleed with probability `bleed`, else around one of the brain.
    pub fn cube(sample: &Sample, side: usize, bleed: f64, random: &mut Random) -> Crop {
        let centre = Crop::centre(sample, bleed, random);
        let shape = sample.shape.map(|length| length.min(side));
        // The voxel may lie anywhere in the middle half of the crop.
        let origin = [0, 1, 2].map(|axis| {
            let before = shape[axis] / 4 + random.below(shape[axis] / 2 + 1);
            centre[axis].saturating_sub(before).min(sample.shape[axis] - shape[axis])
        });
        Crop { origin, shape }
    }

    /// A slice of a sample for a 2D network: with probability `bleed` one with blood, each weighted by its area of blood; else one weighted by its area of brain.
    pub fn slice(sample: &Sample, bleed: f64, random: &mut Random) -> Crop {
        let [slice, ..] = Crop::centre(sample, bleed, random);
        Crop { origin: [slice, 0, 0], shape: [1, sample.shape[1], sample.shape[2]] }
    }

    /// All of a sample.
    pub fn whole(sample: &Sample) -> Crop {
        Crop { origin: [0; 3], shape: sample.shape }
    }
}

/// Two smooth values at each place: normal at the points of a coarse grid, linear between them.
struct Field {
    spacing: f64,
    counts: [usize; 3],
    points: Vec<[f32; 2]>,
}

impl Field {
    fn draw(shape: [usize; 3], spacing: usize, deviation: f64, random: &mut Random) -> Field {
        let counts = shape.map(|side| side.div_ceil(spacing) + 1);
        let mut normal = || (deviation * random.normal()) as f32;
        let points = (0..counts.iter().product()).map(|_| [normal(), normal()]).collect();
        Field { spacing: spacing as f64, counts, points }
    }

    fn at(&self, place: [usize; 3]) -> [f32; 2] {
        let mut cell = [0; 3];
        let mut share = [0.0f32; 3];
        for axis in 0..3 {
            let p = place[axis] as f64 / self.spacing;
            cell[axis] = p as usize;
            share[axis] = p.fract() as f32;
        }
        let mut sum = [0.0f32; 2];
        for corner in 0..8usize {
            let step = [corner >> 2, corner >> 1 & 1, corner & 1];
            let weight: f32 = (0..3).map(|axis| if step[axis] == 1 { share[axis] } else { 1.0 - share[axis] }).product();
            let index = |axis: usize| (cell[axis] + step[axis]).min(self.counts[axis] - 1);
            let point = self.points[(index(0) * self.counts[1] + index(1)) * self.counts[2] + index(2)];
            sum[0] += weight * point[0];
            sum[1] += weight * point[1];
        }
        sum
    }
}

/// Voxels from each voxel of the brain to the nearest one outside it, 1 at the surface; 0 outside. Slices of a 2D network are taken alone.
fn depths(sample: &Sample) -> Vec<f32> {
    let [depth, height, width] = sample.shape;
    let outside: Vec<bool> = sample.mask.iter().map(|&inside| !inside).collect();
    let apart = if sample.planar { 1e6 } else { 1.0 };
    distance_squared(&outside, [width, height, depth], [1.0, 1.0, apart]).into_par_iter().map(f32::sqrt).collect()
}

/// What makes a brain's surface bright: bone that brain extraction has left there, thicker in some parts than in others and brightest outside, and the blur and
/// the beam hardening of the skull, which reach further.
struct Rim {
    /// Thickness and brightness of bone at each place, about those of the whole surface.
    bone: Option<(Field, [f32; 2])>,
    /// HU at the surface, and the voxels over which it falls to a third.
    glow: Option<[f32; 2]>,
}

/// Voxels between the points at which the thickness of bone is drawn, and the thickness's deviation in voxels.
const BONE_SPACING: usize = 12;
const BONE_VOXELS: f32 = 3.0;
/// Deviation of the thickness from sample to sample, in those of one sample.
const BONE_ALL_OVER: f64 = 0.5;
/// Mean and deviation of what the outermost voxels get, HU, and the least.
const BONE_HU: [f32; 3] = [70.0, 50.0, 15.0];
/// Least and most voxels over which the glow falls to a third.
const GLOW_VOXELS: [f64; 2] = [1.5, 6.0];

impl Rim {
    fn draw(shape: [usize; 3], options: &Samples, random: &mut Random) -> Rim {
        let bone = (random.uniform() < options.bone_rim).then(|| {
            let all_over = [0; 2].map(|_| (BONE_ALL_OVER * random.normal()) as f32);
            (Field::draw(shape, BONE_SPACING, 1.0, random), all_over)
        });
        let glow = (random.uniform() < options.glow)
            .then(|| [random.range(0.0, options.glow_hu), random.range(GLOW_VOXELS[0], GLOW_VOXELS[1])].map(|x| x as f32));
        Rim { bone, glow }
    }

    /// HU that a voxel of the brain gets, so many voxels from the surface.
    fn hu(&self, at: [usize; 3], depth: f32) -> f32 {
        let bone = self.bone.as_ref().map_or(0.0, |(field, all_over)| {
            let [thickness, brightness] = field.at(at);
            let thickness = thickness + all_over[0];
            let share = 1.0 - (depth - 1.0) / (BONE_VOXELS * thickness);
            let [mean, deviation, least] = BONE_HU;
            if thickness > 0.0 { share.max(0.0) * (mean + deviation * (brightness + all_over[1])).max(least) } else { 0.0 }
        });
        bone + self.glow.map_or(0.0, |[hu, voxels]| hu * (-(depth - 1.0) / voxels).exp())
    }
}

/// A sample as it is.
pub fn plain(sample: &Sample, options: &Samples) -> Seen {
    let hu = sample.hu.iter().map(|&hu| f32::from(hu).clamp(options.hu_range[0], options.hu_range[1])).collect();
    Seen { shape: sample.shape, hu, label: sample.label.clone(), mask: sample.mask.clone() }
}

/// A crop of a sample, at random flipped left to right, deformed, and of other HU.
pub fn augmented(sample: &Sample, crop: Crop, options: &Samples, random: &mut Random) -> Seen {
    let flip = random.uniform() < options.flip;
    let elastic = (random.uniform() < options.elastic)
        .then(|| Field::draw(sample.shape, options.elastic_spacing, options.elastic_voxels, random));
    let offset = (options.hu_offset * random.normal()) as f32;
    let scale = (1.0 + options.hu_scale * random.normal()) as f32;
    let left_out = if random.uniform() < options.without_rim { 1 + random.below(options.rim_voxels) } else { 0 } as f32;
    let rim = Rim::draw(sample.shape, options, random);
    let depths = depths(sample);
    // The axes of i, which is left to right, and j.
    let [left, front] = if sample.planar { [1, 2] } else { [0, 1] };
    let [_, height, width] = sample.shape;
    let [low, high] = options.hu_range;
    let place = |at: [usize; 3]| (at[0] * height + at[1]) * width + at[2];
    let inside = |at: [usize; 3]| depths[place(at)] > left_out;
    let rim_hu = |at: [usize; 3]| if inside(at) { rim.hu(at, depths[place(at)] - left_out) } else { 0.0 };
    let voxels: Vec<(f32, bool, bool)> = (0..crop.shape.iter().product::<usize>())
        .into_par_iter()
        .map(|voxel| {
            let within = [voxel / (crop.shape[1] * crop.shape[2]), voxel / crop.shape[2] % crop.shape[1], voxel % crop.shape[2]];
            let mut at = [0, 1, 2].map(|axis| crop.origin[axis] + within[axis]);
            if flip {
                // The crop is mirrored in itself: what it is around stays in it.
                at[left] = crop.origin[left] + crop.shape[left] - 1 - within[left];
            }
            let Some(elastic) = &elastic else {
                let place = place(at);
                return (f32::from(sample.hu[place]) + rim_hu(at), sample.label[place], inside(at));
            };
            let moved = elastic.at(at);
            let last = [left, front].map(|axis| sample.shape[axis] - 1);
            let [i, j] = [0, 1].map(|n| (at[[left, front][n]] as f32 + moved[n]).clamp(0.0, last[n] as f32));
            let of = |i: usize, j: usize| {
                let mut at = at;
                (at[left], at[front]) = (i.min(last[0]), j.min(last[1]));
                at
            };
            let hu = |i: usize, j: usize| f32::from(sample.hu[place(of(i, j))]);
            let (near_i, near_j, si, sj) = (i as usize, j as usize, i.fract(), j.fract());
            let along_j = |i: usize| (1.0 - sj) * hu(i, near_j) + sj * hu(i, near_j + 1);
            let nearest = of(i.round() as usize, j.round() as usize);
            let hu = (1.0 - si) * along_j(near_i) + si * along_j(near_i + 1);
            (hu + rim_hu(nearest), sample.label[place(nearest)], inside(nearest))
        })
        .collect();
    Seen {
        shape: crop.shape,
        hu: voxels.par_iter().map(|&(hu, _, mask)| if mask { (hu * scale + offset).clamp(low, high) } else { 0.0 }).collect(),
        label: voxels.iter().map(|&(_, label, mask)| label && mask).collect(),
        mask: voxels.iter().map(|&(_, _, mask)| mask).collect(),
    }
}

/// Keeps the samples of a source in a folder, two bytes a voxel.
pub struct Cache<S> {
    source: S,
    folder: PathBuf,
}

/// Added to HU so that they are not below 0, and the flags above them.
const ZERO_HU: i32 = 4096;
const LABEL: u16 = 1 << 14;
const MASK: u16 = 1 << 15;
/// What a cached sample's file begins with.
const MAGIC: &[u8; 8] = b"ichorsm2";

impl<S: Source> Cache<S> {
    /// A cache in a folder of its own in `folder`; both are made if they are not there.
    ///
    /// # Errors
    /// [`Error::Write`] where they cannot be made.
    pub fn new(source: S, folder: &Path) -> Result<Cache<S>> {
        let folder = folder.join(format!("{:08x}", crc32c::crc32c(source.key().as_bytes())));
        std::fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
        Ok(Cache { source, folder })
    }
}

impl<S: Source> Source for Cache<S> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn key(&self) -> String {
        self.source.key()
    }

    fn sample(&self, number: usize) -> Result<Sample> {
        let path = self.folder.join(format!("{number:06}.sample"));
        // What is not whole was not written by this program: it is made anew.
        if let Some(sample) = std::fs::read(&path).ok().and_then(|bytes| unpack(&bytes)) {
            return Ok(sample);
        }
        let sample = self.source.sample(number)?;
        atomic::write(&path, |file| file.write_all(&pack(&sample)))?;
        // The same as from the file, whatever the source's HU are.
        Ok(unpack(&pack(&sample)).expect("what has just been packed"))
    }
}

fn pack(sample: &Sample) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    sample.shape.iter().for_each(|&side| bytes.extend((side as u64).to_le_bytes()));
    bytes.extend(u64::from(sample.planar).to_le_bytes());
    bytes.extend(sample.voxel_ml.to_le_bytes());
    for ((&hu, &label), &mask) in sample.hu.iter().zip(&sample.label).zip(&sample.mask) {
        let value = (i32::from(hu) + ZERO_HU).clamp(0, 2 * ZERO_HU - 1) as u16;
        let flags = if label { LABEL } else { 0 } | if mask { MASK } else { 0 };
        bytes.extend((value | flags).to_le_bytes());
    }
    bytes
}

fn unpack(bytes: &[u8]) -> Option<Sample> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sides, rest) = rest.split_at_checked(24)?;
    let (planar, rest) = rest.split_first_chunk::<8>()?;
    let (voxel_ml, values) = rest.split_first_chunk::<8>()?;
    let mut shape = [0; 3];
    for (side, bytes) in shape.iter_mut().zip(sides.chunks_exact(8)) {
        *side = usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()?;
    }
    let voxels = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side))?;
    if voxels.checked_mul(2)? != values.len() {
        return None;
    }
    let values: Vec<u16> = values.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Some(Sample {
        shape,
        planar: u64::from_le_bytes(*planar) != 0,
        voxel_ml: f64::from_le_bytes(*voxel_ml),
        hu: values.iter().map(|&value| (i32::from(value & (LABEL - 1)) - ZERO_HU) as i16).collect(),
        label: values.iter().map(|&value| value & LABEL != 0).collect(),
        mask: values.iter().map(|&value| value & MASK != 0).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::testing::Balls;

    fn options() -> Samples {
        Samples {
            flip: 0.0,
            elastic: 0.0,
            hu_offset: 0.0,
            hu_scale: 0.0,
            without_rim: 0.0,
            bone_rim: 0.0,
            glow: 0.0,
            ..Samples::default()
        }
    }

    #[test]
    fn without_chance_a_sample_is_seen_as_it_is() {
        let sample = Balls { shape: [16, 32, 16], ..Balls::CUBE }.sample(0).unwrap();
        let seen = augmented(&sample, Crop::whole(&sample), &options(), &mut Random::new(1));
        assert_eq!(seen, plain(&sample, &options()));
        assert!(seen.label.iter().any(|&label| label) && seen.hu.iter().all(|hu| (-20.0..=120.0).contains(hu)));
    }

    #[test]
    fn a_flip_mirrors_the_first_axis() {
        let sample = Balls { shape: [16; 3], ..Balls::CUBE }.sample(3).unwrap();
        let flipped = Samples { flip: 1.0, ..options() };
        let seen = augmented(&sample, Crop::whole(&sample), &flipped, &mut Random::new(1));
        let at = |d: usize, rest: usize| d * 256 + rest;
        for (d, rest) in (0..16).flat_map(|d| (0..256).map(move |rest| (d, rest))) {
            let (there, here) = (at(15 - d, rest), at(d, rest));
            assert_eq!((seen.hu[here], seen.label[here]), (plain(&sample, &options()).hu[there], sample.label[there]));
        }
    }

    #[test]
    fn a_deformation_moves_nothing_along_z() {
        // The sample's values are the number of the plane: they stay where they are.
        let shape = [16, 16, 16];
        let hu: Vec<i16> = (0..4096).map(|voxel| (voxel % 16) as i16).collect();
        let sample =
            Sample { shape, planar: false, voxel_ml: 1.0, hu: hu.clone(), label: vec![false; 4096], mask: vec![true; 4096] };
        let options = Samples { elastic: 1.0, elastic_voxels: 3.0, ..options() };
        let seen = augmented(&sample, Crop::whole(&sample), &options, &mut Random::new(1));
        seen.hu.iter().zip(&hu).for_each(|(seen, &hu)| assert!((seen - f32::from(hu)).abs() < 1e-4));
        // Along the first axis it does move.
        let hu: Vec<i16> = (0..4096).map(|voxel| (voxel / 256) as i16).collect();
        let sample = Sample { hu: hu.clone(), ..sample };
        let seen = augmented(&sample, Crop::whole(&sample), &options, &mut Random::new(1));
        assert!(seen.hu.iter().zip(&hu).any(|(seen, &hu)| (seen - f32::from(hu)).abs() > 1.0));
        // Of a sample for a 2D network the first axis is z.
        let sample = Sample { planar: true, ..sample };
        let seen = augmented(&sample, Crop::whole(&sample), &options, &mut Random::new(1));
        seen.hu.iter().zip(&hu).for_each(|(seen, &hu)| assert!((seen - f32::from(hu)).abs() < 1e-4));
    }

    #[test]
    fn without_its_rim_a_brain_is_smaller_by_a_voxel_on_each_side() {
        let shape = [8, 8, 8];
        let within = |voxel: usize| [voxel / 64, voxel / 8 % 8, voxel % 8].iter().all(|x| (2..6).contains(x));
        let mask: Vec<bool> = (0..512).map(within).collect();
        let sample = Sample { shape, planar: false, voxel_ml: 1.0, hu: vec![30; 512], label: mask.clone(), mask };
        let options = Samples { without_rim: 1.0, rim_voxels: 1, ..options() };
        for (planar, left) in [(false, 8), (true, 16)] {
            let seen = augmented(&Sample { planar, ..sample.clone() }, Crop::whole(&sample), &options, &mut Random::new(1));
            assert_eq!(seen.mask.iter().filter(|&&inside| inside).count(), left);
            assert_eq!((&seen.label, seen.hu.iter().filter(|&&hu| hu != 0.0).count()), (&seen.mask, left));
            assert!(seen.mask[(3 * 8 + 3) * 8 + 3] && !seen.mask[(3 * 8 + 2) * 8 + 3]);
        }
    }

    #[test]
    fn bone_lies_along_the_surface_and_fades_inwards() {
        let shape = [24, 24, 24];
        let within = |voxel: usize| [voxel / 576, voxel / 24 % 24, voxel % 24].iter().all(|x| (2..22).contains(x));
        let mask: Vec<bool> = (0..shape.iter().product()).map(within).collect();
        let hu = mask.iter().map(|&inside| if inside { 30 } else { 0 }).collect();
        let sample = Sample { shape, planar: false, voxel_ml: 1.0, hu, label: vec![false; mask.len()], mask };
        let seen = augmented(&sample, Crop::whole(&sample), &Samples { bone_rim: 1.0, ..options() }, &mut Random::new(1));
        let mean = |depth: usize| {
            let layer =
                |voxel: usize| [voxel / 576, voxel / 24 % 24, voxel % 24].iter().map(|&x| (x - 1).min(22 - x)).min().unwrap();
            let values: Vec<f32> = (0..seen.hu.len()).filter(|&v| within(v) && layer(v) == depth).map(|v| seen.hu[v]).collect();
            values.iter().sum::<f32>() / values.len() as f32
        };
        assert!(mean(1) > mean(2) && mean(2) > mean(3) && mean(3) > 30.0, "{} {} {}", mean(1), mean(2), mean(3));
        assert!(mean(9) < 30.5, "{}", mean(9));
        assert_eq!(seen.mask, sample.mask);
        assert!(seen.hu.iter().zip(&seen.mask).all(|(&hu, &inside)| inside == (hu != 0.0)));
        // The glow is the same all around and reaches further; with a part of the rim left out it begins at what is left.
        let options = Samples { glow: 1.0, glow_hu: 20.0, without_rim: 1.0, rim_voxels: 1, ..options() };
        let seen = augmented(&sample, Crop::whole(&sample), &options, &mut Random::new(2));
        let row = &seen.hu[(12 * 24 + 12) * 24..][..24];
        assert_eq!((row[2], row[21]), (0.0, 0.0));
        assert!(row[3] > row[4] && row[4] > row[5] && row[5] > 30.0 && row[3] <= 50.0, "{row:?}");
        assert_eq!((row[3], row[4]), (row[20], row[19]));
    }

    #[test]
    fn slices_with_blood_are_drawn_as_often_as_asked_for() {
        let sample = Balls { shape: [32, 16, 16], planar: true, ..Balls::CUBE }.sample(2).unwrap();
        let mut random = Random::new(1);
        let mut with_blood = |bleed: f64| {
            let drawn = (0..200).filter(|_| {
                let crop = Crop::slice(&sample, bleed, &mut random);
                assert_eq!((crop.shape, crop.origin[1], crop.origin[2]), ([1, 16, 16], 0, 0));
                augmented(&sample, crop, &options(), &mut random).label.iter().any(|&label| label)
            });
            drawn.count()
        };
        assert_eq!(with_blood(1.0), 200);
        let seldom = with_blood(0.0);
        assert!((20..180).contains(&seldom), "{seldom} of 200 slices of the brain have blood");
    }

    #[test]
    fn crops_lie_inside_and_around_the_bleed() {
        let sample = Balls { shape: [48, 32, 64], ..Balls::CUBE }.sample(5).unwrap();
        let mut random = Random::new(2);
        for _ in 0..50 {
            let crop = Crop::cube(&sample, 32, 1.0, &mut random);
            assert!((0..3).all(|axis| crop.origin[axis] + crop.shape[axis] <= sample.shape[axis]), "{crop:?}");
            let seen = augmented(&sample, crop, &Samples { flip: 0.5, ..options() }, &mut random);
            assert_eq!(seen.hu.len(), 32 * 32 * 32);
            assert!(seen.label.iter().any(|&label| label), "{crop:?}");
        }
    }

    #[test]
    fn the_cache_gives_what_the_source_gave() {
        let folder = tempfile::tempdir().unwrap();
        let source = Balls { shape: [16, 16, 32], ..Balls::CUBE };
        let expected = source.sample(1).unwrap();
        let cache = Cache::new(source, folder.path()).unwrap();
        assert_eq!(cache.sample(1).unwrap(), expected);
        assert_eq!(cache.sample(1).unwrap(), expected);
        // Half a file is made anew.
        let path = cache.folder.join("000001.sample");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..100]).unwrap();
        assert_eq!(cache.sample(1).unwrap(), expected);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        // Those of another source are not taken for its own.
        let other = Balls { shape: [16; 3], ..Balls::CUBE };
        assert_eq!(Cache::new(other, folder.path()).unwrap().sample(1).unwrap().shape, [16; 3]);
    }
}
