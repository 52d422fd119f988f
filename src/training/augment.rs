//! What is done to a sample before the network sees it in training.

use super::config::Samples;
use super::field::Field;
use super::paint;
use super::sample::{Sample, TISSUE_HU};
use crate::random::keyed::Random;
use crate::volume::distance::distance_squared;
use rayon::prelude::*;
use std::sync::OnceLock;

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

/// A voxel of a bleed with probability `bleed`, where there is one, else one of the brain.
fn centre(sample: &Sample, bleed: f64, random: &mut Random) -> [usize; 3] {
    let around_bleed = random.uniform() < bleed;
    let centre = if around_bleed { any_of(&sample.label, random) } else { None };
    let centre = centre.or_else(|| any_of(&sample.mask, random)).unwrap_or(0);
    sample.place(centre)
}

/// A slice of a sample for a 2D network, alone: with probability `bleed` one with blood, each weighted by its area of blood; else one weighted by its area of brain.
pub fn slice(sample: &Sample, bleed: f64, random: &mut Random) -> Sample {
    let [number, ..] = centre(sample, bleed, random);
    let [_, height, width] = sample.shape;
    let voxels = number * height * width..(number + 1) * height * width;
    Sample {
        shape: [1, height, width],
        hu: sample.hu[voxels.clone()].to_vec(),
        label: sample.label[voxels.clone()].to_vec(),
        mask: sample.mask[voxels].to_vec(),
        ..*sample
    }
}

impl Crop {
    /// A cube of `side` voxels (less where the grid is smaller) around a voxel of a bleed with probability `bleed`, else around one of the brain.
    pub fn cube(sample: &Sample, side: usize, bleed: f64, random: &mut Random) -> Crop {
        let centre = centre(sample, bleed, random);
        let shape = sample.shape.map(|length| length.min(side));
        // The voxel may lie anywhere in the middle half of the crop.
        let origin = [0, 1, 2].map(|axis| {
            let before = shape[axis] / 4 + random.below(shape[axis] / 2 + 1);
            centre[axis].saturating_sub(before).min(sample.shape[axis] - shape[axis])
        });
        Crop { origin, shape }
    }

    /// All of a sample.
    pub fn whole(sample: &Sample) -> Crop {
        Crop { origin: [0; 3], shape: sample.shape }
    }
}

/// Voxels from each voxel of the brain to the nearest one outside it, 1 at the surface; 0 outside. Slices of a 2D network are taken alone.
pub fn depths(sample: &Sample) -> Vec<f32> {
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
    /// HU at the lowest voxel, its slice, and the slices over which it falls to nothing.
    base: Option<[f32; 3]>,
    /// Bone in the uppermost slices: how uneven, HU, the highest slice, how many slices it reaches, and over how many it falls to nothing.
    vertex: Option<(Field, [f32; 4])>,
}

/// Voxels between the points at which the thickness of bone is drawn, and the thickness's deviation in voxels.
const BONE_SPACING: usize = 12;
const BONE_VOXELS: f32 = 3.0;
/// Deviation of the thickness from sample to sample, in those of one sample.
const BONE_ALL_OVER: f64 = 0.5;
/// Mean and deviation of what the outermost voxels get, HU, and the least.
const BONE_HU: [f32; 3] = [70.0, 50.0, 15.0];
/// Least and most voxels over which the glow falls to a third.
const GLOW_VOXELS: [f64; 2] = [1.5, 10.0];
/// Least and most slices over which the brightness of the skull base falls to nothing.
const BASE_SLICES: [f64; 2] = [8.0, 28.0];

/// Least and most slices at the vertex that bone reaches, the slices over which it falls to nothing, and the voxels over which it is uneven. In a real head it is
/// 23 HU 6 mm below the vertex and 8 HU at 15 mm.
const VERTEX_SLICES: [f64; 2] = [1.0, 14.0];
const VERTEX_EDGE: [f64; 2] = [2.0, 12.0];
const VERTEX_SPACING: usize = 6;

impl Rim {
    fn draw(sample: &Sample, options: &Samples, random: &mut Random) -> Rim {
        let shape = sample.shape;
        let bone = (random.uniform() < options.bone_rim).then(|| {
            let all_over = [0; 2].map(|_| (BONE_ALL_OVER * random.normal()) as f32);
            (Field::draw(shape, BONE_SPACING, 1.0, random), all_over)
        });
        let glow = (random.uniform() < options.glow)
            .then(|| [random.range(0.0, options.glow_hu), random.range(GLOW_VOXELS[0], GLOW_VOXELS[1])].map(|x| x as f32));
        let base = (!sample.planar && random.uniform() < options.base).then(|| {
            let lowest = (0..shape[2]).find(|&k| sample.mask.iter().skip(k).step_by(shape[2]).any(|&inside| inside)).unwrap_or(0);
            [random.range(0.0, options.base_hu) as f32, lowest as f32, random.range(BASE_SLICES[0], BASE_SLICES[1]) as f32]
        });
        // Nothing is drawn where there is none: trainings from before this option give the same bytes with 0.
        let vertex = (!sample.planar && options.vertex > 0.0 && random.uniform() < options.vertex).then(|| {
            let highest =
                (0..shape[2]).rev().find(|&k| sample.mask.iter().skip(k).step_by(shape[2]).any(|&inside| inside)).unwrap_or(0);
            let [slices, edge] = [VERTEX_SLICES, VERTEX_EDGE].map(|[least, most]| random.range(least, most) as f32);
            (
                Field::draw(shape, VERTEX_SPACING, 0.7, random),
                [random.range(0.0, options.vertex_hu) as f32, highest as f32, slices, edge],
            )
        });
        Rim { bone, glow, base, vertex }
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
        // Bone and fluid lie around the brainstem: what is bright there is its inside.
        let base = self.base.map_or(0.0, |[hu, lowest, slices]| {
            let share = 1.0 - (at[2] as f32 - lowest) / slices;
            hu * share.max(0.0) * (1.0 - (-0.5 * depth).exp())
        });
        // Thick slices at the vertex lie along the bone: a share of it is in all of the slice.
        let vertex = self.vertex.as_ref().map_or(0.0, |(field, [hu, highest, slices, edge])| {
            let share = (slices - (highest - at[2] as f32)) / edge;
            hu * share.clamp(0.0, 1.0) * (1.0 + field.at(at)[0]).max(0.0)
        });
        bone + base + vertex + self.glow.map_or(0.0, |[hu, voxels]| hu * (-(depth - 1.0) / voxels).exp())
    }
}

/// Noise that is added to HU: of single voxels, of the few voxels that a CT's filter spreads it over, and of large parts of the brain, as beam hardening shades them.
struct Noise {
    key: u64,
    white: f32,
    fields: [Field; 2],
}

/// Voxels between the points at which the wider two are drawn.
const NOISE_SPACING: [usize; 2] = [3, 24];

impl Noise {
    fn draw(shape: [usize; 3], most: f64, random: &mut Random) -> Noise {
        // Squared: much noise is seldom.
        let mut deviation = || most * random.uniform().powi(2);
        let [white, few, wide] = [deviation(), deviation(), deviation()];
        let fields = [Field::draw(shape, NOISE_SPACING[0], few, random), Field::draw(shape, NOISE_SPACING[1], wide, random)];
        Noise { key: random.bits(), white: white as f32, fields }
    }

    fn hu(&self, at: [usize; 3], voxel: usize) -> f32 {
        let white = Random::new(self.key).derive(voxel as u64).normal() as f32;
        self.white * white + self.fields.iter().map(|field| field.at(at)[0]).sum::<f32>()
    }
}

/// A sample in memory, with what all that is seen of it has in common.
pub struct Prepared {
    sample: Sample,
    /// Computed when they are first asked for: of a scan's many slices most are never seen.
    depths: OnceLock<Vec<f32>>,
}

impl Prepared {
    /// A sample as it is.
    pub fn new(sample: Sample) -> Prepared {
        Prepared { sample, depths: OnceLock::new() }
    }

    /// A sample with what chance paints into it.
    pub fn painted(sample: Sample, options: &Samples, random: &mut Random) -> Prepared {
        let mut prepared = Prepared::new(sample);
        // What is painted is round where voxels are cubes: those of a scan's own slices are not.
        if !prepared.sample.planar
            && let Some(painted) = paint::painted(&prepared.sample, prepared.depths(), options, random)
        {
            prepared.sample = painted;
        }
        prepared
    }

    fn depths(&self) -> &[f32] {
        self.depths.get_or_init(|| depths(&self.sample))
    }

    /// The sample.
    pub fn sample(&self) -> &Sample {
        &self.sample
    }
}

/// A sample as it is.
pub fn plain(sample: &Sample, options: &Samples) -> Seen {
    let hu = sample.hu.iter().map(|&hu| f32::from(hu).clamp(options.hu_range[0], options.hu_range[1])).collect();
    Seen { shape: sample.shape, hu, label: sample.label.clone(), mask: sample.mask.clone() }
}

/// A crop of a sample, at random flipped left to right, deformed, and of other HU.
pub fn augmented(prepared: &Prepared, crop: Crop, options: &Samples, random: &mut Random) -> Seen {
    let (sample, depths) = (&prepared.sample, prepared.depths());
    let flip = random.uniform() < options.flip;
    let elastic = (random.uniform() < options.elastic)
        .then(|| Field::draw(sample.shape, options.elastic_spacing, options.elastic_voxels, random));
    let offset = (options.hu_offset * random.normal()) as f32;
    let scale = (1.0 + options.hu_scale * random.normal()) as f32;
    let left_out = if random.uniform() < options.without_rim { 1 + random.below(options.rim_voxels) } else { 0 } as f32;
    let rim = Rim::draw(sample, options, random);
    let contrast = (1.0 + options.contrast).powf(random.range(-1.0, 1.0)) as f32;
    let noise = (options.noise_hu > 0.0).then(|| Noise::draw(sample.shape, options.noise_hu, random));
    // The axes of i, which is left to right, and j.
    let [left, front] = if sample.planar { [1, 2] } else { [0, 1] };
    let [low, high] = options.hu_range;
    let place = |at: [usize; 3]| sample.voxel(at);
    let inside = |at: [usize; 3]| depths[place(at)] > left_out;
    // What a voxel gets that has these HU there.
    let changed = |at: [usize; 3], hu: f32| {
        let place = place(at);
        let hu = if sample.label[place] { hu } else { TISSUE_HU + (hu - TISSUE_HU) * contrast };
        hu + rim.hu(at, depths[place] - left_out) + noise.as_ref().map_or(0.0, |noise| noise.hu(at, place))
    };
    // `None` outside of the brain.
    let voxels: Vec<Option<(f32, bool)>> = (0..crop.shape.iter().product::<usize>())
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
                return inside(at).then(|| (changed(at, f32::from(sample.hu[place])), sample.label[place]));
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
            inside(nearest).then(|| {
                let hu = (1.0 - si) * along_j(near_i) + si * along_j(near_i + 1);
                (changed(nearest, hu), sample.label[place(nearest)])
            })
        })
        .collect();
    Seen {
        shape: crop.shape,
        hu: voxels.iter().map(|voxel| voxel.map_or(0.0, |(hu, _)| (hu * scale + offset).clamp(low, high))).collect(),
        label: voxels.iter().map(|voxel| voxel.is_some_and(|(_, label)| label)).collect(),
        mask: voxels.iter().map(Option::is_some).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::sample::Source;
    use crate::training::testing::Balls;
    use std::ops::Range;

    fn options() -> Samples {
        Samples {
            flip: 0.0,
            elastic: 0.0,
            hu_offset: 0.0,
            hu_scale: 0.0,
            without_rim: 0.0,
            bone_rim: 0.0,
            glow: 0.0,
            base: 0.0,
            vertex: 0.0,
            contrast: 0.0,
            noise_hu: 0.0,
            ..Samples::default()
        }
    }

    #[test]
    fn without_chance_a_sample_is_seen_as_it_is() {
        let sample = Balls { shape: [16, 32, 16], ..Balls::CUBE }.sample(0).unwrap();
        let seen = augmented(&Prepared::new(sample.clone()), Crop::whole(&sample), &options(), &mut Random::new(1));
        assert_eq!(seen, plain(&sample, &options()));
        assert!(seen.label.iter().any(|&label| label) && seen.hu.iter().all(|hu| (-20.0..=120.0).contains(hu)));
    }

    #[test]
    fn a_flip_mirrors_the_first_axis() {
        let sample = Balls { shape: [16; 3], ..Balls::CUBE }.sample(3).unwrap();
        let flipped = Samples { flip: 1.0, ..options() };
        let seen = augmented(&Prepared::new(sample.clone()), Crop::whole(&sample), &flipped, &mut Random::new(1));
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
        let seen = augmented(&Prepared::new(sample.clone()), Crop::whole(&sample), &options, &mut Random::new(1));
        seen.hu.iter().zip(&hu).for_each(|(seen, &hu)| assert!((seen - f32::from(hu)).abs() < 1e-4));
        // Along the first axis it does move.
        let hu: Vec<i16> = (0..4096).map(|voxel| (voxel / 256) as i16).collect();
        let sample = Sample { hu: hu.clone(), ..sample };
        let seen = augmented(&Prepared::new(sample.clone()), Crop::whole(&sample), &options, &mut Random::new(1));
        assert!(seen.hu.iter().zip(&hu).any(|(seen, &hu)| (seen - f32::from(hu)).abs() > 1.0));
        // Of a sample for a 2D network the first axis is z.
        let sample = Sample { planar: true, ..sample };
        let seen = augmented(&Prepared::new(sample.clone()), Crop::whole(&sample), &options, &mut Random::new(1));
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
            let seen = augmented(
                &Prepared::new(Sample { planar, ..sample.clone() }),
                Crop::whole(&sample),
                &options,
                &mut Random::new(1),
            );
            assert_eq!(seen.mask.iter().filter(|&&inside| inside).count(), left);
            assert_eq!((&seen.label, seen.hu.iter().filter(|&&hu| hu != 0.0).count()), (&seen.mask, left));
            assert!(seen.mask[(3 * 8 + 3) * 8 + 3] && !seen.mask[(3 * 8 + 2) * 8 + 3]);
        }
    }

    /// A cube of 20 voxels of 30 HU in one of 24, and the voxels from its surface of each of its own, 1 at the surface.
    fn cube() -> (Sample, impl Fn(usize) -> Option<usize>) {
        let shape = [24, 24, 24];
        let depth = |voxel: usize| {
            let at = [voxel / 576, voxel / 24 % 24, voxel % 24];
            at.iter().all(|x| (2..22).contains(x)).then(|| at.iter().map(|&x| (x - 1).min(22 - x)).min().unwrap())
        };
        let mask: Vec<bool> = (0..shape.iter().product()).map(|voxel| depth(voxel).is_some()).collect();
        let hu = mask.iter().map(|&inside| if inside { 30 } else { 0 }).collect();
        (Sample { shape, planar: false, voxel_ml: 1.0, hu, label: vec![false; mask.len()], mask }, depth)
    }

    /// Mean HU of the flagged voxels.
    fn mean(seen: &Seen, flagged: impl Fn(usize) -> bool) -> f32 {
        let values: Vec<f32> = (0..seen.hu.len()).filter(|&voxel| flagged(voxel)).map(|voxel| seen.hu[voxel]).collect();
        values.iter().sum::<f32>() / values.len() as f32
    }

    #[test]
    fn bone_lies_along_the_surface_and_fades_inwards() {
        let (sample, depth) = cube();
        let prepared = Prepared::new(sample);
        let options = Samples { bone_rim: 1.0, ..options() };
        let mut some = false;
        for seed in 0..10 {
            let seen = augmented(&prepared, Crop::whole(prepared.sample()), &options, &mut Random::new(seed));
            let at = |layer: usize| mean(&seen, |voxel| depth(voxel) == Some(layer));
            assert!(at(1) >= at(2) && at(2) >= at(3), "{} {} {}", at(1), at(2), at(3));
            assert!(at(9) < 32.0, "{}", at(9));
            some |= at(1) > 40.0;
            assert_eq!(seen.mask, prepared.sample().mask);
            assert!(seen.hu.iter().zip(&seen.mask).all(|(&hu, &inside)| inside == (hu != 0.0)));
        }
        assert!(some, "no sample has bone");
    }

    #[test]
    fn the_glow_begins_at_what_is_left_of_the_rim_and_falls_inwards() {
        let (sample, depth) = cube();
        let prepared = Prepared::new(sample);
        let options = Samples { glow: 1.0, glow_hu: 20.0, without_rim: 1.0, rim_voxels: 1, ..options() };
        let mut brightest = 0.0f32;
        for seed in 0..10 {
            let seen = augmented(&prepared, Crop::whole(prepared.sample()), &options, &mut Random::new(seed));
            let layers: Vec<f32> = (1..=10).map(|layer| mean(&seen, |voxel| depth(voxel) == Some(layer))).collect();
            assert_eq!(layers[0], 0.0);
            assert!(layers[1..].windows(2).all(|pair| pair[0] > pair[1]) && layers[9] >= 30.0, "{layers:?}");
            brightest = brightest.max(layers[1]);
        }
        assert!((35.0..=50.0).contains(&brightest), "{brightest}");
    }

    #[test]
    fn bone_at_the_vertex_is_in_the_uppermost_slices_alone() {
        let (sample, _) = cube();
        let options = Samples { vertex: 1.0, vertex_hu: 60.0, ..options() };
        let mut most = 0.0f32;
        for seed in 0..20 {
            let seen = augmented(&Prepared::new(sample.clone()), Crop::whole(&sample), &options, &mut Random::new(seed));
            let plain = plain(&sample, &options);
            let highest =
                (0..seen.mask.len()).filter(|&voxel| seen.mask[voxel]).map(|voxel| voxel % sample.shape[2]).max().unwrap();
            for voxel in (0..seen.mask.len()).filter(|&voxel| seen.mask[voxel]) {
                let added = seen.hu[voxel] - plain.hu[voxel];
                assert!(added >= 0.0 && (added == 0.0 || highest - voxel % sample.shape[2] < 14), "{added} HU, seed {seed}");
                most = most.max(added);
            }
        }
        assert!(most > 30.0, "{most}");
    }

    #[test]
    fn the_skull_base_is_bright_inside_and_only_there() {
        let (sample, depth) = cube();
        let options = Samples { base: 1.0, base_hu: 30.0, ..options() };
        let seen = |sample: &Sample, seed: u64| {
            augmented(&Prepared::new(sample.clone()), Crop::whole(sample), &options, &mut Random::new(seed))
        };
        let mut brightest = 0.0f32;
        for seed in 0..10 {
            let seen = seen(&sample, seed);
            // The slices' number is the last; the brain's lowest is 2, and 5 the lowest with voxels 4 from the surface.
            let at = |k: usize, layer: usize| mean(&seen, |voxel| voxel % 24 == k && depth(voxel) == Some(layer));
            let slices: Vec<f32> = (5..12).map(|k| at(k, 4)).collect();
            assert!(slices.windows(2).all(|pair| pair[0] >= pair[1]) && slices[6] < slices[0], "{slices:?}");
            assert!(at(5, 1) < slices[0], "what lies at the surface is less bright");
            brightest = brightest.max(slices[0]);
        }
        assert!((40.0..60.0).contains(&brightest), "{brightest}");
        let planar = Sample { planar: true, ..sample };
        assert_eq!(seen(&planar, 1), plain(&planar, &options));
    }

    #[test]
    fn contrast_is_that_of_tissue_and_blood_stays() {
        let shape = [8, 8, 8];
        let label: Vec<bool> = (0..512).map(|voxel| voxel % 8 == 3).collect();
        let hu = label.iter().enumerate().map(|(n, &blood)| if blood { 60 } else { 23 + 20 * (n as i16 % 2) }).collect();
        let sample = Sample { shape, planar: false, voxel_ml: 1.0, hu, label, mask: vec![true; 512] };
        let prepared = Prepared::new(sample);
        let options = Samples { contrast: 1.0, ..options() };
        let spans: Vec<f32> = (0..20)
            .map(|seed| {
                let seen = augmented(&prepared, Crop::whole(prepared.sample()), &options, &mut Random::new(seed));
                assert!(seen.hu.iter().zip(&seen.label).all(|(&hu, &blood)| (hu == 60.0) == blood));
                let tissue = |end: fn(f32, f32) -> f32| seen.hu.iter().filter(|&&hu| hu != 60.0).copied().reduce(end).unwrap();
                let (low, high) = (tissue(f32::min), tissue(f32::max));
                assert!((low + high - 66.0).abs() < 1e-3, "about 33 HU");
                high - low
            })
            .collect();
        assert!(spans.iter().all(|span| (10.0..=40.0).contains(span)), "{spans:?}");
        assert!(spans.iter().any(|&span| span < 15.0) && spans.iter().any(|&span| span > 30.0), "{spans:?}");
    }

    #[test]
    fn noise_is_within_its_bounds_about_what_was_there() {
        let shape = [32, 32, 32];
        let mask: Vec<bool> = (0..32 * 32 * 32).map(|voxel| voxel % 32 > 3).collect();
        let hu = mask.iter().map(|&inside| if inside { 33 } else { 0 }).collect();
        let sample = Sample { shape, planar: false, voxel_ml: 1.0, hu, label: vec![false; mask.len()], mask };
        let prepared = Prepared::new(sample);
        let options = Samples { noise_hu: 5.0, ..options() };
        let deviations: Vec<f64> = (0..10)
            .map(|seed| {
                let seen = augmented(&prepared, Crop::whole(prepared.sample()), &options, &mut Random::new(seed));
                assert!(seen.hu.iter().zip(&seen.mask).all(|(&hu, &inside)| inside || hu == 0.0));
                let values: Vec<f64> = seen.hu.iter().zip(&seen.mask).filter(|v| *v.1).map(|v| f64::from(*v.0) - 33.0).collect();
                (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt()
            })
            .collect();
        // Three widths of at most 5 HU.
        assert!(deviations.iter().all(|&deviation| deviation < 12.0), "{deviations:?}");
        assert!(deviations.iter().any(|&deviation| deviation > 1.0), "{deviations:?}");
    }

    #[test]
    fn slices_with_blood_are_drawn_as_often_as_asked_for() {
        let sample = Balls { shape: [32, 16, 16], planar: true, ..Balls::CUBE }.sample(2).unwrap();
        let mut random = Random::new(1);
        let mut with_blood = |bleed: f64| {
            let drawn = (0..200).filter(|_| {
                let slice = slice(&sample, bleed, &mut random);
                assert_eq!((slice.shape, slice.planar, slice.voxel_ml), ([1, 16, 16], true, sample.voxel_ml));
                let is = |voxels: Range<usize>| {
                    sample.hu[voxels.clone()] == slice.hu
                        && sample.label[voxels.clone()] == slice.label
                        && sample.mask[voxels] == slice.mask
                };
                assert!((0..32).any(|number| is(number * 256..(number + 1) * 256)));
                slice.label.iter().any(|&label| label)
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
            let seen = augmented(&Prepared::new(sample.clone()), crop, &Samples { flip: 0.5, ..options() }, &mut random);
            assert_eq!(seen.hu.len(), 32 * 32 * 32);
            assert!(seen.label.iter().any(|&label| label), "{crop:?}");
        }
    }
}
