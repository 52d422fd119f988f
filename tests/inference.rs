//! Volumes of any size: padding, slices in batches, patches, against single passes put together by hand.

use ichor::network::device::Device;
use ichor::network::inference::Inference;
use ichor::network::sigmoid;
use ichor::network::weights::{InputKind, Metadata, Weights, generate};
use ichor::network::{Activation, Description};
use ndarray::{Array3, ArrayView3, s};
use std::collections::BTreeMap;

fn narrow(kernel: [usize; 3], stride: [usize; 3]) -> Description {
    Description {
        kernel,
        stride,
        widths: vec![3, 4],
        convs: vec![1, 2],
        up_widths: vec![5],
        up_convs: vec![1],
        shared: true,
        activation: Activation::Relu,
    }
}

fn generated(description: &Description, input: InputKind, hu_range: Option<[f32; 2]>) -> Weights {
    let source = Weights::generate(description, "inference").unwrap();
    let tensors: BTreeMap<String, Vec<f32>> =
        description.tensors().into_iter().map(|t| (t.name.clone(), source.tensor(&t.name).into_owned())).collect();
    let metadata = Metadata { input, hu_range, ..Metadata::default() };
    Weights::from_tensors("generated", description, &metadata, &tensors).unwrap()
}

fn volume(shape: [usize; 3]) -> Array3<f32> {
    Array3::from_shape_vec(shape, generate::ct_input("inference", shape)).unwrap()
}

fn logits(weights: &Weights, input: ArrayView3<f32>, needed: Option<ArrayView3<bool>>) -> Array3<f32> {
    Inference::new(weights, Device::Reference, 2).logits(input, needed).unwrap()
}

#[test]
fn an_odd_volume_is_padded_at_the_far_end_and_cropped() {
    let weights = generated(&narrow([3; 3], [2; 3]), InputKind::Template, None);
    let input = volume([5, 7, 6]);
    let mut padded = Array3::zeros([6, 8, 6]);
    padded.slice_mut(s![..5, ..7, ..]).assign(&input);
    let whole = logits(&weights, padded.view(), None);
    assert_eq!(logits(&weights, input.view(), None), whole.slice(s![..5, ..7, ..]));
}

#[test]
fn slices_of_a_2d_network_do_not_see_one_another() {
    let weights = generated(&narrow([1, 3, 3], [1, 2, 2]), InputKind::NativeSlices, None);
    // More than one batch, and a last one that is not full.
    let input = volume([6, 8, 10]);
    let together = logits(&weights, input.view(), None);
    for d in 0..6 {
        let alone = logits(&weights, input.slice(s![d..d + 1, .., ..]), None);
        assert_eq!(together.slice(s![d..d + 1, .., ..]), alone, "slice {d}");
    }
    let needed = Array3::from_shape_fn([6, 8, 10], |(d, h, _)| d == 5 && h == 2);
    let some = logits(&weights, input.view(), Some(needed.view()));
    for (at, &needed) in needed.indexed_iter() {
        assert_eq!(some[at], if needed { together[at] } else { f32::NEG_INFINITY });
    }
}

#[test]
fn probabilities_of_patches_are_averaged() {
    let description = narrow([3; 3], [2; 3]);
    let whole = generated(&description, InputKind::Template, None);
    let patches = generated(&description, InputKind::TemplatePatches { patch: 32 }, None);
    let input = volume([40, 32, 30]);
    let mut padded = Array3::zeros([48, 32, 32]);
    padded.slice_mut(s![..40, .., ..30]).assign(&input);
    // Two patches along the first axis, half overlapping; one along the others.
    let [first, second] =
        [0, 16].map(|d| logits(&whole, padded.slice(s![d..d + 32, .., ..]), None).mapv(|l| f64::from(sigmoid(l))));
    let found = logits(&patches, input.view(), None);
    for ((d, h, w), &logit) in found.indexed_iter() {
        let parts = [(d < 32).then(|| first[[d, h, w]]), (d >= 16).then(|| second[[d - 16, h, w]])];
        let given: Vec<f64> = parts.into_iter().flatten().collect();
        let mean = given.iter().sum::<f64>() / given.len() as f64;
        assert!((f64::from(sigmoid(logit)) - mean).abs() < 1e-6, "{:?}: {} for {mean}", (d, h, w), sigmoid(logit));
    }
    let needed = Array3::from_shape_fn([40, 32, 30], |(d, _, w)| d > 35 && w < 4);
    let some = logits(&patches, input.view(), Some(needed.view()));
    for (at, &needed) in needed.indexed_iter() {
        assert_eq!(some[at], if needed { found[at] } else { f32::NEG_INFINITY });
    }
}

#[test]
fn hu_are_clipped_where_the_weights_say_so() {
    let description = narrow([3; 3], [2; 3]);
    let plain = generated(&description, InputKind::Template, None);
    let clipping = generated(&description, InputKind::Template, Some([10.0, 40.0]));
    let input = volume([4, 6, 4]);
    let expected = logits(&plain, input.mapv(|hu| hu.clamp(10.0, 40.0)).view(), None);
    assert_eq!(logits(&clipping, input.view(), None), expected);
    assert_ne!(logits(&plain, input.view(), None), expected);
}

#[test]
fn empty_volumes_and_other_masks_are_refused() {
    let weights = generated(&narrow([3; 3], [2; 3]), InputKind::Template, None);
    let mut inference = Inference::new(&weights, Device::Reference, 1);
    assert!(inference.logits(Array3::zeros([0, 4, 4]).view(), None).is_err());
    let mask = Array3::from_elem([4, 4, 5], true);
    assert!(inference.logits(Array3::zeros([4, 4, 4]).view(), Some(mask.view())).is_err());
}
