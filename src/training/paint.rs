//! Bleeds and calcifications that are painted into a sample, others at each time it is seen: a generated head has one bleed or a few, and making one takes longer
//! than an update of the weights.

use super::config::Samples;
use super::field::Field;
use super::sample::{Sample, TISSUE_HU};
use crate::random::keyed::Random;

/// Bleeds of a sample that gets any.
const BLEEDS: [usize; 2] = [1, 3];
/// Least and greatest volume of a body of blood in mL; each order of magnitude is as likely as another.
const BODY_ML: [f64; 2] = [0.3, 50.0];
/// Share of the bleeds that lie along the brain's surface, as subdural ones do.
const ALONG_SURFACE: f64 = 0.35;
/// Least and greatest radius and thickness of such a layer, in voxels.
const LAYER_RADIUS: [f64; 2] = [10.0, 40.0];
const LAYER_THICKNESS: [f64; 2] = [1.5, 8.0];
/// HU of blood: from faint to clotted.
const BLOOD_HU: [f64; 2] = [44.0, 82.0];
/// How much of the contrast of the tissue that it lies in is seen through it, as its noise.
const SHINE: f32 = 0.4;
/// Share of the bodies with oedema, the least and the greatest width of it in radii, and of what it takes off in HU.
const OEDEMA: f64 = 0.4;
const OEDEMA_WIDTH: [f64; 2] = [0.2, 0.7];
const OEDEMA_HU: [f64; 2] = [4.0, 12.0];
/// Most calcifications of a sample that gets any, their radius in voxels and what they add in HU.
const CALCIFICATIONS: usize = 4;
const CALCIFICATION_RADIUS: [f64; 2] = [0.7, 2.5];
const CALCIFICATION_HU: [f64; 2] = [30.0, 200.0];
/// The cord's slices have less than this share of the area of the largest: nothing that is painted has its centre there, so that what is bright between the bones is
/// no hemorrhage.
const CORD_AREA: f64 = 0.1;

/// A sample for a network in 3D with what chance puts into it; `None` where that is nothing. `depths` has the voxels from each voxel of the brain to its surface.
pub fn painted(sample: &Sample, depths: &[f32], options: &Samples, random: &mut Random) -> Option<Sample> {
    let bleeds = random.uniform() < options.painted;
    let calcified = random.uniform() < options.calcified;
    let lowest = above_cord(sample);
    let inside: Vec<usize> =
        (0..sample.mask.len()).filter(|&voxel| sample.mask[voxel] && voxel % sample.shape[2] >= lowest).collect();
    if inside.is_empty() || !(bleeds || calcified) {
        return None;
    }
    let mut sample = sample.clone();
    if bleeds {
        for _ in 0..BLEEDS[0] + random.below(BLEEDS[1] - BLEEDS[0] + 1) {
            let centre = inside[random.below(inside.len())];
            if random.uniform() < ALONG_SURFACE {
                layer(&mut sample, depths, centre, random);
            } else {
                body(&mut sample, centre, random);
            }
        }
    }
    if calcified {
        for _ in 0..1 + random.below(CALCIFICATIONS) {
            let centre = sample.place(inside[random.below(inside.len())]);
            let radius = random.range(CALCIFICATION_RADIUS[0], CALCIFICATION_RADIUS[1]);
            let added = random.range(CALCIFICATION_HU[0], CALCIFICATION_HU[1]);
            around(&mut sample, centre, radius + 1.0, |_, from, hu, label| {
                let share = (radius - length(from) + 0.5).clamp(0.0, 1.0);
                (hu + (share * added) as f32, label)
            });
        }
    }
    Some(sample)
}

/// The lowest slice above the cord.
fn above_cord(sample: &Sample) -> usize {
    let slices = sample.shape[2];
    let mut area = vec![0usize; slices];
    sample.mask.iter().enumerate().filter(|&(_, &inside)| inside).for_each(|(voxel, _)| area[voxel % slices] += 1);
    let largest = area.iter().copied().max().unwrap_or(0);
    area.iter().position(|&area| area as f64 >= CORD_AREA * largest as f64).unwrap_or(0)
}

fn length(vector: [f64; 3]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Changes HU and label of the brain's voxels within a distance along each axis. `change` gets the place, that from the centre, and both values.
fn around(
    sample: &mut Sample,
    centre: [usize; 3],
    reach: f64,
    mut change: impl FnMut([usize; 3], [f64; 3], f32, bool) -> (f32, bool),
) {
    let reach = reach.ceil() as usize;
    let range = |axis: usize| centre[axis].saturating_sub(reach)..(centre[axis] + reach + 1).min(sample.shape[axis]);
    let ranges = [range(0), range(1), range(2)];
    for at in ranges[0].clone().flat_map(|d| ranges[1].clone().map(move |h| (d, h))) {
        for w in ranges[2].clone() {
            let at = [at.0, at.1, w];
            let voxel = sample.voxel(at);
            if sample.mask[voxel] {
                let from = [0, 1, 2].map(|axis| at[axis] as f64 - centre[axis] as f64);
                let (hu, label) = change(at, from, f32::from(sample.hu[voxel]), sample.label[voxel]);
                sample.hu[voxel] = hu.round() as i16;
                sample.label[voxel] = label;
            }
        }
    }
}

/// Blood's HU and label at a voxel that it fills to `share`.
fn mixed(share: f32, blood: f32, hu: f32, label: bool) -> (f32, bool) {
    let shine = (SHINE * (hu - TISSUE_HU)).clamp(-8.0, 8.0);
    (hu + share * (blood + shine - hu), label || share >= 0.5)
}

/// An ellipsoid with a rough surface and uneven blood, with or without oedema.
fn body(sample: &mut Sample, centre: usize, random: &mut Random) {
    let ml = BODY_ML[0] * (BODY_ML[1] / BODY_ML[0]).powf(random.uniform());
    let radius = (ml / sample.voxel_ml * 3.0 / (4.0 * std::f64::consts::PI)).cbrt();
    let stretch = [0; 3].map(|_| (0.3 * random.normal()).clamp(-0.5, 0.5).exp());
    let axes = turned(random);
    let spacing = (radius * random.range(0.4, 1.2)).max(2.0) as usize;
    let roughness = Field::draw(sample.shape, spacing, random.range(0.05, 0.3), random);
    let texture = Field::draw(sample.shape, (spacing / 2).max(2), random.range(0.0, 7.0), random);
    let blood = random.range(BLOOD_HU[0], BLOOD_HU[1]) as f32;
    let oedema = (random.uniform() < OEDEMA)
        .then(|| [random.range(OEDEMA_WIDTH[0], OEDEMA_WIDTH[1]), random.range(OEDEMA_HU[0], OEDEMA_HU[1])]);
    let centre = sample.place(centre);
    around(sample, centre, 2.0 * radius + 2.0, |at, from, hu, label| {
        let along = axes.map(|axis| (0..3).map(|n| axis[n] * from[n]).sum::<f64>());
        // 1 at the surface.
        let level = length([0, 1, 2].map(|n| along[n] / (radius * stretch[n]))) + f64::from(roughness.at(at)[0]);
        let share = ((1.0 - level) * radius + 0.5).clamp(0.0, 1.0) as f32;
        let less = oedema.map_or(0.0, |[width, less]| less * ((1.0 + width - level) / width).clamp(0.0, 1.0));
        let tissue = if label { hu } else { hu - less as f32 };
        mixed(share, blood + texture.at(at)[0], tissue, label)
    });
}

/// A layer from the surface inwards, thickest in its middle.
fn layer(sample: &mut Sample, depths: &[f32], near: usize, random: &mut Random) {
    // From there outwards, to the last voxel of the brain.
    let start = sample.place(near);
    let out = [0, 1, 2].map(|axis| start[axis] as f64 - sample.shape[axis] as f64 / 2.0);
    let step = length(out).max(1.0);
    let centre = (0..sample.shape.iter().sum())
        .map_while(|distance: usize| {
            let at = [0, 1, 2].map(|axis| (start[axis] as f64 + out[axis] / step * distance as f64).round());
            let at = (0..3).all(|axis| (0.0..sample.shape[axis] as f64).contains(&at[axis])).then(|| at.map(|x| x as usize))?;
            sample.mask[sample.voxel(at)].then_some(at)
        })
        .last()
        .unwrap_or(start);
    let radius = random.range(LAYER_RADIUS[0], LAYER_RADIUS[1]);
    let thickness = random.range(LAYER_THICKNESS[0], LAYER_THICKNESS[1]);
    let uneven = Field::draw(sample.shape, 6, 0.15, random);
    let texture = Field::draw(sample.shape, 4, random.range(0.0, 6.0), random);
    let blood = random.range(BLOOD_HU[0], BLOOD_HU[1]) as f32;
    let shape = sample.shape;
    around(sample, centre, radius, |at, from, hu, label| {
        let depth = depths[(at[0] * shape[1] + at[1]) * shape[2] + at[2]];
        let here = thickness * (1.0 - (length(from) / radius).powi(2) + f64::from(uneven.at(at)[0]));
        let share = (here - f64::from(depth) + 0.5).clamp(0.0, 1.0) as f32;
        mixed(share, blood + texture.at(at)[0], hu, label)
    });
}

/// Three directions at right angles, each as likely as any other.
fn turned(random: &mut Random) -> [[f64; 3]; 3] {
    // A unit quaternion (Shoemake 1992).
    let q = [0; 4].map(|_| random.normal());
    let norm = q.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-9);
    let [w, x, y, z] = q.map(|v| v / norm);
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
        [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
        [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::augment::depths;

    fn brain() -> Sample {
        let shape = [48, 56, 48];
        let inside = |voxel: usize| {
            let at = [voxel / (56 * 48), voxel / 48 % 56, voxel % 48];
            (0..3).map(|n| ((at[n] as f64 + 0.5) / shape[n] as f64 * 2.0 - 1.0).powi(2)).sum::<f64>() < 0.9
        };
        let mask: Vec<bool> = (0..48 * 56 * 48).map(inside).collect();
        let hu = mask.iter().map(|&inside| if inside { 33 } else { 0 }).collect();
        Sample { shape, planar: false, voxel_ml: 0.003_375, hu, label: vec![false; mask.len()], mask }
    }

    fn options(painted: f64, calcified: f64) -> Samples {
        Samples { painted, calcified, ..Samples::default() }
    }

    #[test]
    fn painted_blood_is_bright_labelled_and_inside() {
        let sample = brain();
        let depths = depths(&sample);
        for seed in 0..20 {
            let seen = painted(&sample, &depths, &options(1.0, 0.0), &mut Random::new(seed)).unwrap();
            let blood = seen.label.iter().filter(|&&label| label).count();
            assert!(blood > 20 && blood < sample.mask.len() / 2, "{blood} voxels, seed {seed}");
            let mut sum = [0.0; 2];
            for voxel in 0..seen.mask.len() {
                assert!(seen.mask[voxel] || (seen.hu[voxel] == 0 && !seen.label[voxel]));
                if seen.label[voxel] {
                    sum = [sum[0] + f64::from(seen.hu[voxel]), sum[1] + 1.0];
                }
            }
            assert!((40.0..85.0).contains(&(sum[0] / sum[1])), "mean {} HU, seed {seed}", sum[0] / sum[1]);
            assert_eq!(seen.mask, sample.mask);
        }
    }

    #[test]
    fn a_layer_begins_at_the_surface_and_is_as_thick_as_drawn() {
        let sample = brain();
        let depths = depths(&sample);
        for seed in 0..20 {
            let mut seen = sample.clone();
            layer(&mut seen, &depths, sample.voxel([30, 20, 20]), &mut Random::new(seed));
            let deepest = (0..seen.label.len()).filter(|&v| seen.label[v]).map(|v| depths[v]).fold(0.0, f32::max);
            assert!((1.0..=12.0).contains(&deepest), "{deepest}");
            let at_surface = (0..seen.label.len()).filter(|&v| seen.label[v] && depths[v] == 1.0).count();
            assert!(at_surface > 10, "{at_surface}");
        }
    }

    #[test]
    fn from_the_middle_of_the_grid_no_way_leads_out_and_the_search_ends() {
        let mut sample = brain();
        let (depths, middle) = (depths(&sample), sample.voxel([24, 28, 24]));
        layer(&mut sample, &depths, middle, &mut Random::new(1));
        assert!(sample.mask.iter().zip(&sample.label).all(|(&inside, &label)| inside || !label));
    }

    #[test]
    fn calcifications_are_small_bright_and_no_blood() {
        let sample = brain();
        let seen = painted(&sample, &depths(&sample), &options(0.0, 1.0), &mut Random::new(4)).unwrap();
        assert!(!seen.label.contains(&true));
        let bright = seen.hu.iter().filter(|&&hu| hu > 40).count();
        assert!((1..400).contains(&bright), "{bright}");
    }

    #[test]
    fn no_centre_lies_in_the_cord() {
        // A cord of 5 x 5 voxels below a brain.
        let mut sample = brain();
        for voxel in 0..sample.mask.len() {
            let at = sample.place(voxel);
            sample.mask[voxel] =
                if at[2] < 16 { (22..27).contains(&at[0]) && (26..31).contains(&at[1]) } else { sample.mask[voxel] };
        }
        assert_eq!(above_cord(&sample), 16);
        let depths = depths(&sample);
        // The cord has 1 in 150 of the voxels: of 200 samples some would have a calcification in it.
        for seed in 0..200 {
            let seen = painted(&sample, &depths, &options(0.0, 1.0), &mut Random::new(seed)).unwrap();
            let lowest = (0..seen.hu.len()).filter(|&voxel| seen.hu[voxel] > 40).map(|voxel| sample.place(voxel)[2]).min();
            assert!(lowest.is_some_and(|lowest| lowest + 4 > 16), "{lowest:?}, seed {seed}");
        }
    }

    #[test]
    fn without_chance_nothing_is_painted() {
        let sample = brain();
        assert_eq!(painted(&sample, &depths(&sample), &options(0.0, 0.0), &mut Random::new(4)), None);
    }
}
