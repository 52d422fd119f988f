//! The hand-set weights: not trained, no hemorrhage detector, a fixture of tests. They answer one question exactly:
//! **does the mean of the 5x5x5 voxels around here lie within 50 to 90 HU?**
//!
//! With them the whole path from a scan to a volume can be tested: [`rule`] computes the right mask by a simple loop.
//!
//! With S the sum of the 125 voxels (0 outside the grid), L = 125 * 50 - 1/2 and U = 125 * 90 + 1/2, the network's logit is
//!
//! ```text
//! input_layer   y0 = relu(S / 128) + x        y1 = relu(0) + x        (x, the input, is added to each channel)
//! down_1        nothing: all weights are 0
//! up_1          [0, y0, y1]: the up-convolution and the convolution are 0, skip and residual connection pass y0 and y1
//! outblock      h0 = relu(y0 - y1 - L / 128 + 8)        h1 = relu(y0 - y1 - (L + U) / 256)
//!               logit = h0 - 2 h1 - 8  =  max(min(S - L, U - S) / 128, -8 or lower)
//! ```
//!
//! a tent over S that is above 0 exactly where L < S < U. For whole HU, S is never L or U, and every value of the
//! network is a multiple of 1/256 below 2^16, so f32 arithmetic is exact in any order: the mask is the rule's, bit for
//! bit.

use super::{Metadata, Weights};
use crate::network::{Activation, Description};
use std::collections::BTreeMap;

/// The band of the mean, limits included, in HU: blood has 55 to 75, brain about 35.
pub(crate) const BAND: [f32; 2] = [50.0, 90.0];
/// Side of the cube whose mean is taken, in voxels.
const SIDE: usize = 5;
/// Voxels of the cube.
const VOXELS: f32 = (SIDE * SIDE * SIDE) as f32;
/// The sum's limits: half a HU beyond the band, so that no sum of whole HU lies on them.
const LOWER: f32 = VOXELS * BAND[0] - 0.5;
const UPPER: f32 = VOXELS * BAND[1] + 0.5;
/// The logit is the sum's distance from the limits divided by this: a power of two, so exact, and close to the mean in HU.
const SCALE: f32 = 128.0;
/// The logit far below the band is minus this.
const DEPTH: f32 = 8.0;

/// The smallest network that does it: 2 channels for y0 and y1, one level below the top because there must be one.
fn description() -> Description {
    Description {
        kernel: [SIDE; 3],
        stride: [2; 3],
        widths: vec![2, 1],
        convs: vec![1, 1],
        up_widths: vec![3],
        up_convs: vec![1],
        shared: true,
        activation: Activation::Relu,
    }
}

impl Weights {
    /// The hand-set weights (see [`mod@crate::network::weights::hand_set`]): not trained, no hemorrhage detector.
    pub fn hand_set() -> Weights {
        let description = description();
        let mut tensors: BTreeMap<String, Vec<f32>> =
            description.tensors().into_iter().map(|t| (t.name, vec![0.0; t.shape.iter().product()])).collect();
        let mut set = |name: &str, values: Vec<f32>| tensors.insert(name.into(), values);
        // (kd, kh, kw, 1, 2): y0 gets every tap, y1 none.
        set("input_layer/convolution/kernel", [1.0 / SCALE, 0.0].repeat(SIDE * SIDE * SIDE));
        // (1, 1, 1, 3, 2): of the channels 0, y0, y1, both h0 and h1 take y0 - y1.
        set("outblock/final/kernel", vec![0.0, 0.0, 1.0, 1.0, -1.0, -1.0]);
        set("outblock/final/bias", vec![DEPTH - LOWER / SCALE, -(LOWER + UPPER) / (2.0 * SCALE)]);
        set("outblock/binary/kernel", vec![1.0, -2.0]);
        set("outblock/binary/bias", vec![-DEPTH]);
        let metadata = Metadata {
            origin: Some(format!(
                "hand-set weights: not trained, finds voxels whose 5x5x5 mean is between {} and {} HU; \
                 not a hemorrhage detector",
                BAND[0], BAND[1]
            )),
            license: Some("MIT OR Apache-2.0".into()),
            trained_on: Some("nothing: set by formula".into()),
            threshold: Some(0.5),
            ..Metadata::default()
        };
        Weights::from_tensors("hand-set", &description, &metadata, &tensors).expect("the hand-set weights fit their network")
    }
}

/// What the network with the hand-set weights answers, by a simple loop: true where the mean of the 5x5x5 voxels
/// around a voxel, with 0 HU outside the grid, lies in the band of blood.
///
/// `input` has the D*H*W values of `shape` (D, H, W) in HU, W fastest. For whole HU the network's mask is exactly this;
/// for others it may differ where the sum is within rounding of a limit.
///
/// # Panics
/// Where `input` has another length than `shape`.
pub fn rule(input: &[f32], shape: [usize; 3]) -> Vec<bool> {
    assert_eq!(input.len(), shape.iter().product::<usize>(), "the input has the length of its shape");
    let [depth, height, width] = shape;
    let around = |index: usize, side: usize| index.saturating_sub(SIDE / 2)..(index + SIDE / 2 + 1).min(side);
    let mut mask = Vec::with_capacity(input.len());
    for d in 0..depth {
        for h in 0..height {
            for w in 0..width {
                let mut sum = 0.0;
                for z in around(d, depth) {
                    for y in around(h, height) {
                        for x in around(w, width) {
                            sum += f64::from(input[(z * height + y) * width + x]);
                        }
                    }
                }
                mask.push(f64::from(LOWER) < sum && sum < f64::from(UPPER));
            }
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::reference::{add, broadcast_channels, concatenate, conv, down, prelu, up};
    use crate::network::weights::generate::uniform;
    use ndarray::{Array4, Array5};

    /// The forward pass of the hand-set network, layer by layer.
    fn logits(input: &[f32], shape: [usize; 3]) -> Vec<f32> {
        let weights = Weights::hand_set();
        let specs = weights.description().tensors();
        let kernel = |name: &str| {
            let spec = specs.iter().find(|t| t.name == format!("{name}/kernel")).unwrap();
            let shape: [usize; 5] = spec.shape.clone().try_into().unwrap();
            Array5::from_shape_vec(shape, weights.tensor(&spec.name).into_owned()).unwrap()
        };
        let bias = |name: &str| weights.tensor(&format!("{name}/bias")).into_owned();
        let relu = |x: Array4<f32>| {
            let channels = x.dim().0;
            prelu(x, &vec![0.0; channels])
        };
        let convolution = |x: &Array4<f32>, name: &str| conv(x.view(), kernel(name).view(), &bias(name));

        let x = Array4::from_shape_vec([1, shape[0], shape[1], shape[2]], input.to_vec()).unwrap();
        let top = add(relu(convolution(&x, "input_layer/convolution")), broadcast_channels(x.view(), 2).view());
        let below = relu(down(top.view(), kernel("down_1/downsample").view(), &bias("down_1/downsample")));
        let below = add(relu(convolution(&below, "down_1/convolution")), below.view());
        let raised = relu(up(below.view(), kernel("up_1/upsample").view(), &bias("up_1/upsample")));
        let joined = concatenate(raised.view(), top.view());
        let joined = add(relu(convolution(&joined, "up_1/convolution")), joined.view());
        let hidden = relu(convolution(&joined, "outblock/final"));
        convolution(&hidden, "outblock/binary").into_iter().collect()
    }

    /// Asserts that the network's mask is the rule's; gives the number of voxels in it.
    fn agrees(input: &[f32], shape: [usize; 3]) -> usize {
        let expected = rule(input, shape);
        let found: Vec<bool> = logits(input, shape).iter().map(|&logit| logit > 0.0).collect();
        assert!(found == expected, "the network and the rule differ");
        expected.iter().filter(|&&inside| inside).count()
    }

    #[test]
    fn the_network_answers_the_rule_on_whole_hu() {
        let shape = [12, 16, 14];
        let count = shape.iter().product();
        // Smooth fields that cross both limits, from air to metal, and noise around the middle of the band and around its limits.
        for (seed, centre, noise) in
            [("air", -900.0, 300.0), ("fat", -60.0, 200.0), ("brain", 35.0, 40.0), ("bone", 1500.0, 3000.0)]
        {
            let input: Vec<f32> = uniform(seed, count).iter().map(|u| (centre + noise * (u - 0.5)).round()).collect();
            agrees(&input, shape);
        }
        for centre in [BAND[0], BAND[1]] {
            let input: Vec<f32> = uniform("limit", count).iter().map(|u| (centre + 20.0 * (u - 0.5)).round()).collect();
            let inside = agrees(&input, shape);
            assert!(inside > count / 20 && inside < count * 19 / 20, "{inside} of {count} are inside: the case tests little");
        }
        let ramp: Vec<f32> = (0..count).map(|i| (i / (16 * 14) * 20) as f32 - 70.0).collect();
        assert!(agrees(&ramp, shape) > 0);
    }

    #[test]
    fn the_limits_of_the_band_belong_to_it() {
        // The cube around voxel (2, 2, 2) with one voxel of another value: one HU moves the mean over the limit.
        let shape = [6; 3];
        let centre = 2 * 36 + 2 * 6 + 2;
        // Half a HU puts the sum just on the limit, where the logit is 0.
        let cases = [
            (50.0, 0.0, true),
            (50.0, -0.5, false),
            (50.0, -1.0, false),
            (90.0, 0.0, true),
            (90.0, 0.5, false),
            (90.0, 1.0, false),
        ];
        for (value, change, inside) in cases {
            let mut input = vec![value; 216];
            input[7] += change;
            assert_eq!(rule(&input, shape)[centre], inside, "{value} {change}");
            agrees(&input, shape);
        }
    }

    #[test]
    fn outside_the_grid_there_is_0_hu() {
        // 27 of the corner's 125 voxels lie in the grid, 64 of those around the next voxel along the diagonal (number 43).
        let shape = [6; 3];
        let mask = rule(&[232.0; 216], shape);
        assert!(mask[0] && mask[215], "27 * 232 / 125 = 50.1 HU is in the band");
        assert!(!mask[43], "64 * 232 / 125 = 118.8 HU is above it");
        assert!(!rule(&[231.0; 216], shape)[0], "27 * 231 / 125 = 49.9 HU is below it");
        agrees(&[232.0; 216], shape);
    }

    #[test]
    fn the_logit_is_the_distance_from_the_limits() {
        let shape = [6; 3];
        let centre = 2 * 36 + 2 * 6 + 2;
        let at = |value: f32| logits(&[value; 216], shape)[centre];
        assert_eq!(at(0.0), -8.0);
        assert_eq!(at(-1024.0), -8.0);
        assert_eq!(at(50.0), 0.5 / 128.0);
        assert_eq!(at(70.0), 2500.5 / 128.0);
        assert_eq!(at(90.0), 0.5 / 128.0);
        assert_eq!(at(3071.0), (11250.5 - 125.0 * 3071.0) / 128.0);
    }

    #[test]
    fn the_weights_say_what_they_are_and_are_small() {
        let weights = Weights::hand_set();
        assert!(weights.metadata().origin.as_ref().unwrap().contains("not trained"));
        assert_eq!(weights.metadata().license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(
            (weights.metadata().trained_on.as_deref(), weights.metadata().threshold),
            (Some("nothing: set by formula"), Some(0.5))
        );
        assert!(weights.bytes().len() < 8192, "{}", weights.bytes().len());
    }
}
