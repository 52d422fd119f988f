//! Pseudo-random weights and inputs that any language can repeat: FNV-1a of a name seeds SplitMix64.
//!
//! They make tests and benchmarks that need no file, and are what a training begins with. Value `i` of a stream is
//! `u(mix(fnv1a(name) + (i + 1) * 0x9E3779B97F4A7C15))` with `u(h) = (h >> 40) / 2^24`, uniform in [0, 1); all arithmetic
//! is in f64 and rounded to f32 once.

use super::{Metadata, Weights};
use crate::network::Description;
use crate::network::Result;
use crate::network::description::TensorSpec;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Half the width of the biases' distribution.
const BIAS_LIMIT: f64 = 0.1;
/// Upper end of the slopes' distribution.
const SLOPE_LIMIT: f64 = 0.5;

/// Fowler-Noll-Vo hash, variant 1a, 64 bit.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `count` values of the stream `name`, each made from a uniform u in [0, 1).
fn stream(name: &str, count: usize, value: impl Fn(f64) -> f64 + Sync) -> Vec<f32> {
    let seed = fnv1a(name);
    (1..=count as u64)
        .into_par_iter()
        .map(|i| {
            // SplitMix64 (Steele, Lea, Flood 2014).
            let z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let z = z ^ (z >> 31);
            value((z >> 40) as f64 / (1u64 << 24) as f64) as f32
        })
        .collect()
}

/// `count` values uniform in [0, 1).
pub(in crate::network) fn uniform(name: &str, count: usize) -> Vec<f32> {
    stream(name, count, |u| u)
}

/// One tensor: He-uniform kernels (He et al. 2015; limit `sqrt(6 / fan_in)`), biases in [-0.1, 0.1), slopes in [0, 0.5).
fn tensor(seed: &str, spec: &TensorSpec) -> Vec<f32> {
    let TensorSpec { name, shape } = spec;
    let (stream_name, count) = (format!("{seed}/{name}"), shape.iter().product());
    let symmetric = |limit: f64| move |u: f64| (2.0 * u - 1.0) * limit;
    if name.ends_with("/alpha") {
        stream(&stream_name, count, |u| SLOPE_LIMIT * u)
    } else if name.ends_with("/bias") {
        stream(&stream_name, count, symmetric(BIAS_LIMIT))
    } else {
        // An up-convolution's kernel is (kd, kh, kw, out, in); every output sees each input channel once.
        let fan_in: usize = if name.ends_with("/upsample/kernel") { shape[4] } else { shape[..4].iter().product() };
        stream(&stream_name, count, symmetric((6.0 / fan_in as f64).sqrt()))
    }
}

impl Weights {
    /// Pseudo-random weights for a network, the same for the same seed everywhere.
    ///
    /// # Errors
    /// [`crate::network::Error::Description`] for an unusable description.
    pub fn generate(description: &Description, seed: &str) -> Result<Weights> {
        description.validate()?;
        let tensors: BTreeMap<String, Vec<f32>> =
            description.tensors().into_iter().map(|spec| (spec.name.clone(), tensor(seed, &spec))).collect();
        let metadata = Metadata {
            origin: Some(format!("generated from the seed {seed:?}, not trained")),
            license: Some("MIT OR Apache-2.0".into()),
            ..Metadata::default()
        };
        Weights::from_tensors(seed, description, &metadata, &tensors)
    }
}

/// An input for tests, (D, H, W) with W fastest: uniform 0..80 HU inside an ellipsoid of 0.8 of the grid, 0 outside.
pub fn ct_input(seed: &str, shape: [usize; 3]) -> Vec<f32> {
    let mut values = stream(&format!("{seed}/input"), shape.iter().product(), |u| u * 80.0);
    let coordinate = |index: usize, side: usize| (index as f64 + 0.5) / side as f64 * 2.0 - 1.0;
    let [_, height, width] = shape;
    for (index, value) in values.iter_mut().enumerate() {
        let position = [index / (height * width), index / width % height, index % width];
        let [d, h, w] = [0, 1, 2].map(|axis| coordinate(position[axis], shape[axis]).powi(2));
        if d + h + w >= 0.64 {
            *value = 0.0;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Activation;
    use sha2::{Digest, Sha256};

    fn hex(digest: impl AsRef<[u8]>) -> String {
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// SHA-256 over name and little-endian values of every tensor, names in order.
    fn fingerprint(weights: &Weights) -> String {
        let mut names: Vec<String> = weights.description().tensors().into_iter().map(|t| t.name).collect();
        names.sort();
        let mut hash = Sha256::new();
        for name in names {
            hash.update(&name);
            weights.tensor(&name).iter().for_each(|value| hash.update(value.to_le_bytes()));
        }
        hex(hash.finalize())
    }

    /// The networks whose reference outputs the design names, with fingerprints of their weights as numpy makes them by
    /// the same formula.
    #[test]
    fn weights_are_those_of_the_reference_generator() {
        let narrow = Description { widths: vec![16, 8, 8, 12, 20], up_widths: vec![24, 16, 16, 32], ..Description::deepbleed() };
        let paper = Description {
            widths: vec![4, 8, 16, 32, 64],
            up_widths: vec![64, 32, 16, 8],
            shared: false,
            activation: Activation::Prelu,
            ..Description::deepbleed()
        };
        let planar = Description { kernel: [1, 5, 5], stride: [1, 2, 2], ..Description::deepbleed() };
        let cases = [
            (narrow, "narrow", "93f222d65a4969faa8c32ba659e311b1df9e00049391f263df857f106f668fec"),
            (paper, "paper_prelu", "ea9eca05a41fa354442b7f2d1d53ebcf0355a4e2086b67357dded054c71bfc85"),
            (planar, "planar_2d", "4d30d8c67a3c00313a3d43de76340ef50eb2d83a4ddd3f0b64710af597ab893d"),
        ];
        for (description, seed, expected) in cases {
            assert_eq!(fingerprint(&Weights::generate(&description, seed).unwrap()), expected, "{seed}");
        }
    }

    #[test]
    fn single_values_are_those_of_the_reference_generator() {
        // By hand: splitmix64(fnv1a64("narrow/outblock/binary/kernel") + ..), limit sqrt(6 / 2).
        let narrow = Description { widths: vec![16, 8, 8, 12, 20], up_widths: vec![24, 16, 16, 32], ..Description::deepbleed() };
        let weights = Weights::generate(&narrow, "narrow").unwrap();
        let bits: Vec<u32> = weights.tensor("outblock/binary/kernel").iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [0x3f46_17d9, 0xbf93_e9b2]);
        assert_eq!(weights.tensor("up_3/upsample/kernel")[1535].to_bits(), 0x3ed1_fda0);
    }

    #[test]
    fn the_input_is_that_of_the_reference_generator() {
        let input = ct_input("narrow", [5, 4, 6]);
        assert_eq!([0, 50, 63].map(|i: usize| input[i].to_bits()), [0, 0x40d2_68d8, 0x429c_4392]);
        let mut hash = Sha256::new();
        input.iter().for_each(|value| hash.update(value.to_le_bytes()));
        assert_eq!(hex(hash.finalize()), "5a39a037f48e345eff7aec223acc7ff0a5a5770f98c9a44734fbd8d653a65a42");
    }

    #[test]
    fn the_weights_say_what_they_are() {
        let description = Description {
            widths: vec![2, 1],
            convs: vec![1, 1],
            up_widths: vec![3],
            up_convs: vec![1],
            ..Description::deepbleed()
        };
        let weights = Weights::generate(&description, "a seed").unwrap();
        assert_eq!(weights.metadata().origin.as_deref(), Some("generated from the seed \"a seed\", not trained"));
        assert_eq!(weights.metadata().license.as_deref(), Some("MIT OR Apache-2.0"));
    }

    #[test]
    fn an_unusable_description_is_refused() {
        let bad = Description { up_widths: vec![1], ..Description::deepbleed() };
        assert!(matches!(Weights::generate(&bad, "x"), Err(crate::network::Error::Description(_))));
    }
}
