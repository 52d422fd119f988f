use super::*;
use crate::network::Activation;
use crate::network::Error;
use crate::network::weights::{InputKind, Weights};
use half::{bf16, f16};
use proptest::prelude::*;
use serde_json::{Value, json};

fn small() -> Description {
    Description {
        kernel: [3; 3],
        stride: [2; 3],
        widths: vec![2, 3],
        convs: vec![1, 2],
        up_widths: vec![4],
        up_convs: vec![1],
        shared: true,
        activation: Activation::Relu,
    }
}

/// Values of every tensor: all different, in all stored types exact.
fn values(description: &Description) -> BTreeMap<String, Vec<f32>> {
    let tensor = |shape: Vec<usize>| (0..shape.iter().product()).map(|i: usize| (i % 251) as f32 / 4.0 - 20.0).collect();
    description.tensors().into_iter().map(|t| (t.name, tensor(t.shape))).collect()
}

fn file() -> Vec<u8> {
    serialize(&small(), &Metadata::default(), &values(&small()), Dtype::F32).unwrap()
}

/// `file` with its header changed; the values stay.
fn with_header(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let file = file();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    change(&mut header);
    let text = serde_json::to_vec(&header).unwrap();
    [&(text.len() as u64).to_le_bytes(), text.as_slice(), &file[8 + length..]].concat()
}

fn error(bytes: impl AsRef<[u8]>) -> WeightsError {
    parse(bytes.as_ref()).err().expect("this file must be refused")
}

/// Asserts the variant (with its fields, where given) of the error for some bytes.
macro_rules! refused {
    ($bytes:expr, $pattern:pat $(if $guard:expr)?) => {
        let found = error(&$bytes);
        let said = format!("{found:?}");
        assert!(matches!(found, $pattern $(if $guard)?), "{said}");
    };
}

#[test]
fn a_file_opens_and_gives_back_what_was_written() {
    let metadata = Metadata {
        origin: Some("a test".into()),
        license: Some("MIT".into()),
        trained_on: Some("nothing".into()),
        threshold: Some(0.35),
        hu_range: Some([-20.0, 120.5]),
        skull_margin_mm: 2.5,
        input: InputKind::TemplatePatches { patch: 32 },
        others: BTreeMap::from([("note".into(), "with \"quotes\" and ümlauts".into())]),
    };
    let tensors = values(&small());
    for dtype in Dtype::ALL {
        let weights = Weights::from_bytes("x", serialize(&small(), &metadata, &tensors, dtype).unwrap()).unwrap();
        assert_eq!(weights.description(), &small());
        assert_eq!(weights.metadata(), &metadata);
        for (name, values) in &tensors {
            assert_eq!(weights.tensor(name).as_ref(), values, "{name} as {dtype}");
            assert_eq!(weights.dtype(name), dtype);
        }
    }
}

#[test]
fn the_same_weights_give_the_same_bytes() {
    let others = (0..20).map(|i| (format!("key {i}"), format!("value {i}"))).collect();
    let metadata = Metadata { others, ..Metadata::default() };
    let bytes = || serialize(&small(), &metadata, &values(&small()), Dtype::BF16).unwrap();
    assert_eq!(bytes(), bytes());
}

#[test]
fn values_are_aligned_and_read_in_place() {
    let bytes = file();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(length % 8, 0);
    // A file that is mapped lies on a page's border, so a tensor is aligned if its offset is.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("small network.v1.safetensors");
    Weights::from_bytes("x", bytes.clone()).unwrap().write(&path).unwrap();
    let weights = Weights::open(&path).unwrap();
    assert_eq!(weights.name(), "small network.v1");
    assert_eq!(weights.bytes(), bytes);
    for spec in small().tensors() {
        assert!(matches!(weights.tensor(&spec.name), std::borrow::Cow::Borrowed(_)), "{}", spec.name);
    }
    weights.release();
    assert_eq!(weights.tensor("down_1/convolution/bias").as_ref(), [-20.0, -19.75, -19.5]);
}

#[test]
fn values_that_are_not_aligned_are_read_all_the_same() {
    let file = file();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap());
    let odd = [&(length + 1).to_le_bytes(), &file[8..8 + length as usize], b" ", &file[8 + length as usize..]].concat();
    let weights = Weights::from_bytes("odd", odd).unwrap();
    for (name, values) in values(&small()) {
        assert_eq!(weights.tensor(&name).as_ref(), values);
    }
}

#[test]
fn debug_names_the_weights_and_leaves_out_their_values() {
    let text = format!("{:?}", Weights::from_bytes("some name", file()).unwrap());
    assert!(text.starts_with("Weights { name: \"some name\", description: Description {"), "{text}");
    assert!(text.contains("metadata: Metadata {") && text.ends_with(", .. }") && !text.contains("bytes"), "{text}");
}

#[test]
fn sha256_is_that_of_the_bytes() {
    // `printf abc | sha256sum` is the standard's example; the file's own sum is taken the same way over its bytes.
    use sha2::{Digest, Sha256};
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(Weights::from_bytes("x", file()).unwrap().sha256(), hex(&file()));
}

#[test]
fn the_safetensors_crate_reads_what_is_written_here() {
    let file = file();
    let read = safetensors::SafeTensors::deserialize(&file).unwrap();
    let specs = small().tensors();
    assert_eq!(read.len(), specs.len());
    for spec in specs {
        let tensor = read.tensor(&spec.name).unwrap();
        assert_eq!(tensor.shape(), spec.shape);
        assert_eq!(tensor.data(), bytemuck::cast_slice::<f32, u8>(&values(&small())[&spec.name]));
    }
}

#[test]
fn what_the_safetensors_crate_writes_is_read_here() {
    use safetensors::tensor::{Dtype, TensorView};
    let tensors = values(&small());
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = small()
        .tensors()
        .into_iter()
        .map(|t| (t.name.clone(), t.shape, tensors[&t.name].iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(n, s, b)| (n.as_str(), TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    let metadata = [("format", FORMAT), ("network", &serde_json::to_string(&small()).unwrap())];
    let metadata = metadata.map(|(k, v)| (k.to_string(), v.to_string())).into_iter().collect();
    let file = safetensors::serialize(views, Some(metadata)).unwrap();
    let weights = Weights::from_bytes("x", file).unwrap();
    assert!(tensors.iter().all(|(name, values)| weights.tensor(name).as_ref() == values));
}

#[test]
fn a_file_without_a_header_is_refused() {
    refused!(b"", WeightsError::TooShort(0));
    refused!(b"1234567", WeightsError::TooShort(7));
}

#[test]
fn a_header_that_is_too_long_is_refused() {
    refused!(((1u64 << 20) + 1).to_le_bytes(), WeightsError::HeaderTooLong(1_048_577));
    refused!(u64::MAX.to_le_bytes(), WeightsError::HeaderTooLong(u64::MAX));
    refused!((1u64 << 20).to_le_bytes(), WeightsError::HeaderCut { .. });
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let file = file();
    let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    for end in 0..file.len() {
        let found = error(&file[..end]);
        let right = match end {
            0..8 => matches!(found, WeightsError::TooShort(_)),
            _ if end < 8 + header => {
                matches!(found, WeightsError::HeaderCut { header: h, rest } if (h as usize, rest) == (header, end - 8))
            }
            _ => {
                matches!(found, WeightsError::Length { expected, found } if (expected, found) == (file.len() - 8 - header, end - 8 - header))
            }
        };
        assert!(right, "cut at {end}: {found:?}");
    }
    refused!([file.as_slice(), b"more"].concat(), WeightsError::Length { expected, found } if found == expected + 4);
}

#[test]
fn a_header_that_is_no_json_is_refused() {
    let file = |text: &[u8]| [&(text.len() as u64).to_le_bytes(), text].concat();
    refused!(file(b"{ hello"), WeightsError::Header(_));
    refused!(file(b"{}{}"), WeightsError::Header(_));
    refused!(file(b"{\"__metadata__\":{\"a\":1}}"), WeightsError::Header(_));
    refused!(file(b"\xff\xfe"), WeightsError::Header(_));
    refused!(with_header(|h| h["input_layer/convolution/bias"]["strides"] = json!(1)), WeightsError::Header(_));
    refused!(with_header(|h| h["input_layer/convolution/bias"]["shape"] = json!([-2])), WeightsError::Header(_));
}

#[test]
fn another_format_is_refused() {
    refused!(with_header(|h| *h = json!({"__metadata__": {}})), WeightsError::NoFormat);
    refused!(with_header(|h| *h = json!({})), WeightsError::NoFormat);
    refused!(with_header(|h| h["__metadata__"]["format"] = json!("ichor-weights-2")), WeightsError::Format(f) if f == "ichor-weights-2");
}

#[test]
fn a_network_that_is_missing_or_unusable_is_refused() {
    let with_network = |network: Value| with_header(move |h| h["__metadata__"]["network"] = json!(network.to_string()));
    refused!(with_header(|h| drop(h["__metadata__"].as_object_mut().unwrap().remove("network"))), WeightsError::NoNetwork);
    refused!(with_network(json!([1, 2])), WeightsError::Network(_));
    let mut network = serde_json::to_value(small()).unwrap();
    network["seed"] = json!("narrow");
    refused!(with_network(network.clone()), WeightsError::Network(said) if said.contains("seed"));
    network.as_object_mut().unwrap().remove("seed");
    network["stride"] = json!([3, 3, 3]);
    refused!(with_network(network), WeightsError::Description(said) if said.contains("stride"));
}

#[test]
fn metadata_that_cannot_be_understood_is_refused() {
    let cases = [
        ("threshold", "half"),
        ("threshold", "-0.1"),
        ("threshold", "1.5"),
        ("threshold", "NaN"),
        ("hu_range", "[120, -20]"),
        ("hu_range", "[5, 5]"),
        ("hu_range", "[-1e39, 80]"),
        ("hu_range", "[0, 1e39]"),
        ("hu_range", "[1]"),
        ("hu_range", "-20..120"),
        ("skull_margin_mm", "-1"),
        ("skull_margin_mm", "5.5"),
        ("skull_margin_mm", "NaN"),
        ("skull_margin_mm", "2 mm"),
        ("input", "slices"),
    ];
    for (entry, text) in cases {
        let bytes = with_header(|h| h["__metadata__"][entry] = json!(text));
        refused!(bytes, WeightsError::Metadata { key, value, .. } if key == entry && value == text);
    }
    for patch in [Some("16"), None] {
        let bytes = with_header(|h| {
            h["__metadata__"]["input"] = json!("template-patches");
            if let Some(patch) = patch {
                h["__metadata__"]["patch"] = json!(patch);
            }
        });
        refused!(bytes, WeightsError::Metadata { key: "patch", .. });
    }
}

#[test]
fn every_kind_of_input_is_read() {
    let with = |input: &str, patch: &str| {
        let bytes = with_header(|h| {
            h["__metadata__"]["input"] = json!(input);
            h["__metadata__"]["patch"] = json!(patch);
        });
        parse(&bytes).unwrap().metadata
    };
    assert_eq!(parse(&file()).unwrap().metadata.input, InputKind::Template);
    let template = with("template", "free text");
    assert_eq!(template.input, InputKind::Template);
    assert_eq!(template.others["patch"], "free text");
    let patches = with("template-patches", "64");
    assert_eq!(patches.input, InputKind::TemplatePatches { patch: 64 });
    assert!(patches.others.is_empty());
    assert_eq!(with("template-patches", "32").input, InputKind::TemplatePatches { patch: 32 });
}

#[test]
fn slices_need_a_planar_network() {
    let metadata = Metadata { input: InputKind::NativeSlices, ..Metadata::default() };
    let planar = Description { kernel: [1, 3, 3], stride: [1, 2, 2], ..small() };
    assert_eq!(parse(&serialize(&planar, &metadata, &values(&planar), Dtype::F32).unwrap()).unwrap().metadata, metadata);
    refused!(serialize(&small(), &metadata, &values(&small()), Dtype::F32).unwrap(), WeightsError::Input(_));
}

#[test]
fn patches_must_fit_the_network() {
    // Six levels: sides must be multiples of 64.
    let deep = Description { widths: vec![1; 7], convs: vec![1; 7], up_widths: vec![2; 6], up_convs: vec![1; 6], ..small() };
    let patches = |patch| Metadata { input: InputKind::TemplatePatches { patch }, ..Metadata::default() };
    let file = |patch| serialize(&deep, &patches(patch), &values(&deep), Dtype::F32).unwrap();
    assert!(parse(&file(64)).is_ok());
    refused!(file(32), WeightsError::Input(said) if said.contains("32"));
}

#[test]
fn a_tensor_that_is_missing_or_unknown_is_named() {
    refused!(
        with_header(|h| drop(h.as_object_mut().unwrap().remove("up_1/upsample/bias"))),
        WeightsError::MissingTensor(name) if name == "up_1/upsample/bias"
    );
    refused!(
        with_header(|h| h["up_1/upsample/alpha"] = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})),
        WeightsError::UnknownTensor(name) if name == "up_1/upsample/alpha"
    );
}

const BIAS: &str = "input_layer/convolution/bias";

#[test]
fn a_tensor_of_another_type_is_named() {
    for found in ["F64", "I32", "f32", ""] {
        let bytes = with_header(|h| h[BIAS]["dtype"] = json!(found));
        refused!(bytes, WeightsError::Dtype { name, dtype } if name == BIAS && dtype == found);
    }
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    for wrong in [vec![3], vec![], vec![2, 1], vec![usize::MAX, usize::MAX]] {
        let bytes = with_header(|h| h[BIAS]["shape"] = json!(wrong));
        refused!(bytes, WeightsError::Shape { name, found, expected } if name == BIAS && found == wrong && expected == [2]);
    }
}

/// The offsets of a tensor in `file`.
fn offsets(name: &str) -> [usize; 2] {
    let file = file();
    let (header, _) = read_header(&file).unwrap();
    header.tensors[name].data_offsets
}

#[test]
fn a_tensor_with_the_wrong_number_of_bytes_is_named() {
    let [begin, end] = offsets(BIAS);
    for wrong in [[begin, end + 4], [begin, end - 1], [end, begin], [usize::MAX, 0], [0, usize::MAX]] {
        let bytes = with_header(|h| h[BIAS]["data_offsets"] = json!(wrong));
        refused!(bytes, WeightsError::Size { name, expected: 8, .. } if name == BIAS);
    }
    refused!(with_header(|h| h[BIAS]["dtype"] = json!("F16")), WeightsError::Size { expected: 4, .. });
}

#[test]
fn tensors_in_the_same_bytes_are_named() {
    let kernel = offsets("input_layer/convolution/kernel");
    let bytes = with_header(|h| h["input_layer/convolution/kernel"]["data_offsets"] = json!([kernel[0] - 4, kernel[1] - 4]));
    refused!(bytes, WeightsError::Overlap(first, second) if first == BIAS && second == "input_layer/convolution/kernel");
}

#[test]
fn bytes_of_no_tensor_are_refused() {
    let bytes = with_header(|h| {
        for (name, tensor) in h.as_object_mut().unwrap() {
            if name.starts_with("up_1/upsample") {
                let [begin, end] = offsets(name);
                tensor["data_offsets"] = json!([begin + 12, end + 12]);
            }
        }
    });
    refused!(bytes, WeightsError::Gap { name, bytes: 12 } if name == "up_1/upsample/bias");
}

#[test]
fn offsets_beyond_the_file_are_refused() {
    let [begin, _] = offsets("up_1/upsample/bias");
    let far = usize::MAX - 8;
    let bytes = with_header(|h| h["up_1/upsample/bias"]["data_offsets"] = json!([far, far + 8]));
    refused!(bytes, WeightsError::Gap { bytes, .. } if bytes == 8 || bytes == far - begin);
}

#[test]
fn a_value_that_is_not_finite_is_named_with_its_index() {
    // Larger than the block that is looked at at once.
    let wide = Description { widths: vec![2, 20], ..small() };
    let good = values(&wide);
    let name = "down_1/convolution/kernel";
    let count = good[name].len();
    assert!(count > 8192);
    for dtype in Dtype::ALL {
        for (index, value) in [(0, f32::NAN), (4095, f32::INFINITY), (4096, f32::NEG_INFINITY), (count - 1, f32::NAN)] {
            let mut tensors = good.clone();
            tensors.get_mut(name).unwrap()[index] = value;
            let found = error(serialize(&wide, &Metadata::default(), &tensors, dtype).unwrap());
            let right = matches!(&found, WeightsError::NotFinite { name: n, index: i, value: v }
                if n == name && *i == index && (*v == value || v.is_nan() && value.is_nan()));
            assert!(right, "{dtype} {index}: {found:?}");
        }
    }
    // Of two in one block, the first is named.
    let mut tensors = good.clone();
    tensors.get_mut(name).unwrap()[5] = f32::NAN;
    tensors.get_mut(name).unwrap()[9] = f32::INFINITY;
    let bytes = serialize(&wide, &Metadata::default(), &tensors, Dtype::F32).unwrap();
    refused!(bytes, WeightsError::NotFinite { index: 5, .. });
    // The largest finite values are not refused; one too large for half precision is.
    let mut tensors = good.clone();
    tensors.get_mut(name).unwrap()[7] = f32::MAX;
    tensors.get_mut(name).unwrap()[8] = f32::MIN_POSITIVE / 8.0;
    assert!(parse(&serialize(&wide, &Metadata::default(), &tensors, Dtype::F32).unwrap()).is_ok());
    refused!(serialize(&wide, &Metadata::default(), &tensors, Dtype::F16).unwrap(), WeightsError::NotFinite { index: 7, .. });
}

#[test]
fn tensors_that_do_not_fit_the_description_are_not_written() {
    let write = |change: fn(&mut BTreeMap<String, Vec<f32>>)| {
        let mut tensors = values(&small());
        change(&mut tensors);
        serialize(&small(), &Metadata::default(), &tensors, Dtype::F32).unwrap_err()
    };
    assert!(matches!(write(|t| drop(t.remove(BIAS))), WeightsError::MissingTensor(name) if name == BIAS));
    assert!(matches!(write(|t| drop(t.insert("x".into(), vec![]))), WeightsError::UnknownTensor(name) if name == "x"));
    assert!(
        matches!(write(|t| t.get_mut(BIAS).unwrap().push(0.0)), WeightsError::Values { name, found: 3, expected: 2 } if name == BIAS)
    );
    let bad = Description { widths: vec![2], ..small() };
    assert!(matches!(serialize(&bad, &Metadata::default(), &values(&small()), Dtype::F32), Err(WeightsError::Description(_))));
}

#[test]
fn an_error_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.safetensors");
    std::fs::write(&path, &file()[..500]).unwrap();
    let said = Weights::open(&path).unwrap_err().to_string();
    assert!(said.starts_with(&format!("{}: is cut off", path.display())), "{said}");
    assert!(matches!(Weights::open(directory.path()), Err(Error::File(crate::io::Error::Read { .. }))));
    assert!(matches!(Weights::open(directory.path().join("none")), Err(Error::File(crate::io::Error::Read { .. }))));
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(Weights::open(&path), Err(Error::Weights { source: WeightsError::TooShort(0), .. })));
    assert!(Weights::from_bytes("embedded", b"".as_slice()).unwrap_err().to_string().starts_with("embedded: "));
}

#[test]
#[should_panic(expected = "no tensor \"down_9/convolution/bias\"")]
fn asking_for_a_tensor_that_the_network_has_not_is_a_mistake_of_the_program() {
    Weights::from_bytes("x", file()).unwrap().tensor("down_9/convolution/bias");
}

fn descriptions() -> impl Strategy<Value = Description> {
    (1..=3usize).prop_flat_map(|levels| {
        let list = |from: usize, to: usize, count: usize| prop::collection::vec(from..=to, count);
        let blocks = (list(1, 4, levels + 1), list(1, 3, levels), list(1, 4, levels), list(1, 3, levels));
        let kernel = prop::sample::select(vec![[3, 3, 3], [1, 5, 5], [5, 3, 1]]);
        let stride = prop::sample::select(vec![[2, 2, 2], [1, 2, 2]]);
        let act = prop::sample::select(vec![Activation::Relu, Activation::Prelu]);
        (blocks, kernel, stride, any::<bool>(), act).prop_map(move |(blocks, kernel, stride, shared, activation)| {
            let (widths, convs, more, up_convs): (Vec<usize>, Vec<usize>, Vec<usize>, Vec<usize>) = blocks;
            let up_widths = more.iter().enumerate().map(|(i, more)| widths[levels - 1 - i] + more).collect();
            let convs = [vec![1], convs].concat();
            Description { kernel, stride, widths, convs, up_widths, up_convs, shared, activation }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_network_comes_back(description in descriptions(), seed in "[a-z]{1,8}", dtype in prop::sample::select(Dtype::ALL.to_vec())) {
        let weights = Weights::generate(&description, &seed).unwrap();
        let tensors: BTreeMap<_, _> =
            description.tensors().into_iter().map(|t| (t.name.clone(), weights.tensor(&t.name).into_owned())).collect();
        let read = Weights::from_bytes("x", serialize(&description, weights.metadata(), &tensors, dtype).unwrap()).unwrap();
        prop_assert_eq!(read.description(), &description);
        prop_assert_eq!(read.metadata(), weights.metadata());
        for (name, values) in tensors {
            for (&read, value) in read.tensor(&name).iter().zip(values) {
                let rounded = match dtype {
                    Dtype::F32 => value,
                    Dtype::F16 => f16::from_f32(value).to_f32(),
                    Dtype::BF16 => bf16::from_f32(value).to_f32(),
                };
                prop_assert_eq!(read, rounded);
            }
        }
    }

    #[test]
    fn a_damaged_byte_never_panics(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = file();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        if let Ok(layout) = parse(&bytes) {
            // What is accepted is complete: every tensor of the network can be read.
            for spec in layout.description.tensors() {
                let entry = layout.entry(&spec.name);
                prop_assert_eq!(bytes[entry.range.clone()].len(), spec.shape.iter().product::<usize>() * entry.dtype.size());
            }
        }
    }
}
