//! Export of weights as ONNX, so that other runtimes can check them, and import of such files.
//!
//! The graph takes `input` (1, 1, D, H, W) in HU, 0 outside of the brain, sides that are multiples of what the network needs, and gives `logits` of the same
//! shape. It is made from the same [`Plan`] that the engines run. Initialisers have the names of the weights file, with ONNX's order of axes; the weights file's
//! metadata are the model's, so that [`import`] can make the same weights of it again.
//!
//! ONNX is protocol buffers; the few messages needed are written and read here, with their field numbers from `onnx.proto3` (ONNX 1.12, IR version 8).

use super::{Metadata, Weights, WeightsError};
use crate::network::plan::Layer;
use crate::network::{Description, Plan, Step};
use crate::network::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Version of the operators: the first with all that are used in their present form.
const OPSET: u64 = 13;
const IR_VERSION: u64 = 8;
/// ONNX's number of f32 among its types of elements.
const FLOAT: u64 = 1;
/// The order of axes of input and logits, for the people who run an exported network: beside both, and among the model's metadata.
pub const AXES: &str = "axes (1, 1, D, H, W): D, H, W (depth, height, width) are the axes i, j, k of the NIfTI grid in template space, W = k fastest in memory";
/// The metadata's name for [`AXES`].
const AXES_ENTRY: &str = "axes";

/// A message as it is written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, &value.0)
    }
}

/// A graph that grows.
#[derive(Default)]
struct Graph {
    nodes: Vec<Message>,
    initialisers: Vec<Message>,
}

impl Graph {
    /// A node with attributes that are lists of integers. Gives the name of its output.
    fn node(&mut self, operation: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[usize])]) -> String {
        let mut node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
        node = node.text(2, output).text(3, output).text(4, operation);
        for (name, values) in attributes {
            let (field, kind) = if *name == "axis" { (3, 2) } else { (8, 7) };
            let attribute = values.iter().fold(Message::default().text(1, name), |a, &value| a.number(field, value as u64));
            node = node.message(5, attribute.number(20, kind));
        }
        self.nodes.push(node);
        output.to_string()
    }

    fn initialiser(&mut self, name: &str, dims: &[usize], values: impl Iterator<Item = f32>) {
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        let tensor = dims.iter().fold(Message::default(), |tensor, &dim| tensor.number(1, dim as u64));
        self.initialisers.push(tensor.number(2, FLOAT).text(8, name).bytes(9, &bytes));
    }

    /// `act(operation(x))` of a layer.
    fn layer(&mut self, operation: &str, layer: &Layer, x: &str, output: &str, attributes: &[(&str, &[usize])]) -> String {
        let [kernel, bias] = ["kernel", "bias"].map(|part| format!("{}/{part}", layer.convolution));
        let z = self.node(operation, &[x, &kernel, &bias], &format!("{output}/before"), attributes);
        match &layer.slopes {
            Some(slopes) => self.node("PRelu", &[&z, slopes], &format!("{output}/activated"), &[]),
            None => self.node("Relu", &[&z], &format!("{output}/activated"), &[]),
        }
    }
}

/// Where a value of ONNX's order of axes lies in the weights file's, and the shape in that order.
///
/// A kernel (kd, kh, kw, a, b) is (b, a, kd, kh, kw) in ONNX, for both kinds of convolutions; slopes (C) are (C, 1, 1, 1).
fn onnx_shape(name: &str, shape: &[usize]) -> Vec<usize> {
    match *shape {
        [kd, kh, kw, a, b] => vec![b, a, kd, kh, kw],
        [channels] if name.ends_with("/alpha") => vec![channels, 1, 1, 1],
        _ => shape.to_vec(),
    }
}

/// For each value in ONNX's order its place in the weights file's.
fn places(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [kd, kh, kw, a, b] => {
            let taps = kd * kh * kw;
            (0..a * b * taps).map(|n| (n % taps * a + n / taps % a) * b + n / (taps * a)).collect()
        }
        _ => (0..shape.iter().product()).collect(),
    }
}

/// The bytes of an ONNX file with the weights and their network.
///
/// # Errors
/// [`Error::Description`] for a network that has no plan.
pub fn export(weights: &Weights) -> Result<Vec<u8>> {
    let description = weights.description();
    let plan = Plan::new(description, description.multiple())?;
    let mut graph = Graph::default();
    for spec in description.tensors() {
        let values = weights.tensor(&spec.name);
        let order = places(&spec.shape);
        graph.initialiser(&spec.name, &onnx_shape(&spec.name, &spec.shape), order.into_iter().map(|place| values[place]));
    }
    let mut input = "input".to_string();
    if let Some([low, high]) = weights.metadata().hu_range {
        graph.initialiser("hu_range/low", &[], [low].into_iter());
        graph.initialiser("hu_range/high", &[], [high].into_iter());
        input = graph.node("Clip", &["input", "hu_range/low", "hu_range/high"], "clipped", &[]);
    }
    let mut buffers: Vec<String> = Vec::new();
    for (number, step) in plan.steps.iter().enumerate() {
        let name = format!("step_{number}");
        let same = |layer: &Layer| layer.kernel.map(|side| side / 2).repeat(2);
        let stride = |layer: &Layer| layer.kernel;
        let output = match step {
            Step::Input { layer, .. } => {
                let y = graph.layer("Conv", layer, &input, &name, &[("kernel_shape", &layer.kernel), ("pads", &same(layer))]);
                graph.node("Add", &[&y, &input], &name, &[])
            }
            Step::Down { layer, input, .. } => graph.layer(
                "Conv",
                layer,
                &buffers[*input],
                &name,
                &[("kernel_shape", &layer.kernel), ("strides", &stride(layer))],
            ),
            Step::Up { layer, input, skip, .. } => {
                let attributes: [(&str, &[usize]); 2] = [("kernel_shape", &layer.kernel), ("strides", &stride(layer))];
                let y = graph.layer("ConvTranspose", layer, &buffers[*input], &name, &attributes);
                graph.node("Concat", &[&y, &buffers[*skip]], &name, &[("axis", &[1])])
            }
            Step::Conv { layer, input, residual, .. } => {
                let attributes: [(&str, &[usize]); 2] = [("kernel_shape", &layer.kernel), ("pads", &same(layer))];
                let y = graph.layer("Conv", layer, &buffers[*input], &name, &attributes);
                residual.map_or(y.clone(), |residual| graph.node("Add", &[&y, &buffers[residual]], &name, &[]))
            }
            Step::Head { hidden, binary, input } => {
                let y = graph.layer("Conv", hidden, &buffers[*input], &name, &[("kernel_shape", &[1, 1, 1])]);
                let [kernel, bias] = ["kernel", "bias"].map(|part| format!("{}/{part}", binary.convolution));
                graph.node("Conv", &[&y, &kernel, &bias], "logits", &[("kernel_shape", &[1, 1, 1])])
            }
        };
        buffers.push(output);
    }
    let value = |name: &str| {
        let one = || Message::default().number(1, 1);
        let shape =
            ["depth", "height", "width"].iter().fold(Message::default().message(1, one()).message(1, one()), |shape, axis| {
                shape.message(1, Message::default().text(2, axis))
            });
        let tensor = Message::default().number(1, FLOAT).message(2, shape);
        Message::default().text(1, name).message(2, Message::default().message(1, tensor)).text(3, AXES)
    };
    let message = graph.nodes.into_iter().fold(Message::default(), |m, node| m.message(1, node)).text(2, "V-Net");
    let message = graph.initialisers.into_iter().fold(message, |m, tensor| m.message(5, tensor));
    let message = message.message(11, value("input")).message(12, value("logits"));
    let model = Message::default().number(1, IR_VERSION).text(2, "ichor").text(3, env!("CARGO_PKG_VERSION")).message(7, message);
    let mut model = model.message(8, Message::default().text(1, "").number(2, OPSET));
    let mut entries = weights.metadata().entries();
    entries.insert("network".into(), serde_json::to_string(description).expect("a description has string keys"));
    entries.entry(AXES_ENTRY.into()).or_insert_with(|| AXES.into());
    for (key, value) in entries {
        model = model.message(14, Message::default().text(1, &key).text(2, &value));
    }
    Ok(model.0)
}

/// The fields of a message that are bytes, with their numbers; `None` where it is damaged.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    fn varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let len = match key & 7 {
            0 => {
                // A number: nothing here is read from one.
                varint(&mut bytes)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (taken, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        found.push((key >> 3, taken));
    }
    Some(found)
}

/// The parts of a message with a field number.
fn parts(bytes: &[u8], number: u64) -> Option<Vec<&[u8]>> {
    Some(fields(bytes)?.into_iter().filter(|(field, _)| *field == number).map(|(_, part)| part).collect())
}

fn text(bytes: &[u8], number: u64) -> Option<String> {
    let last = parts(bytes, number)?.pop().unwrap_or_default();
    String::from_utf8(last.to_vec()).ok()
}

/// The weights of an ONNX file that [`export`] made.
///
/// # Errors
/// [`Error::File`] where it cannot be read, [`Error::Weights`] where it is not such a file or anything in it is wrong.
pub fn import(path: &Path) -> Result<Weights> {
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    let wrong = |source| Error::Weights { path: path.to_path_buf(), source };
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (description, metadata, tensors) = parse(&bytes).ok_or_else(|| wrong(WeightsError::NotOnnx))??;
    Weights::from_tensors(&name, &description, &metadata, &tensors).map_err(|error| match error {
        Error::Weights { source, .. } => wrong(source),
        other => other,
    })
}

type Parsed = (Description, Metadata, BTreeMap<String, Vec<f32>>);

/// `None` where the bytes are no ONNX file, or none of a network that ichor knows.
fn parse(bytes: &[u8]) -> Option<std::result::Result<Parsed, Error>> {
    let mut entries = BTreeMap::new();
    for entry in parts(bytes, 14)? {
        entries.insert(text(entry, 1)?, text(entry, 2)?);
    }
    // What `export` says of the axes is no entry of the weights file.
    if entries.get(AXES_ENTRY).is_some_and(|axes| axes == AXES) {
        entries.remove(AXES_ENTRY);
    }
    let description: Description = serde_json::from_str(&entries.remove("network")?).ok()?;
    let wrong = |source| Error::Weights { path: "ONNX".into(), source };
    if let Err(error) = description.validate() {
        return Some(Err(error));
    }
    let metadata = match Metadata::parse(entries, &description) {
        Ok(metadata) => metadata,
        Err(error) => return Some(Err(wrong(error))),
    };
    let graph = parts(bytes, 7)?.pop()?;
    let mut found: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for tensor in parts(graph, 5)? {
        let raw = parts(tensor, 9)?.pop().unwrap_or_default();
        found.insert(text(tensor, 8)?, raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect());
    }
    let mut tensors = BTreeMap::new();
    for spec in description.tensors() {
        // Of a tensor that is missing or of another size, what makes the weights says so.
        let Some(values) = found.remove(&spec.name) else { continue };
        let order = places(&spec.shape);
        let values = if values.len() == order.len() {
            let mut sorted = vec![0.0; values.len()];
            order.into_iter().zip(&values).for_each(|(place, &value)| sorted[place] = value);
            sorted
        } else {
            values
        };
        tensors.insert(spec.name, values);
    }
    Some(Ok((description, metadata, tensors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Activation;

    fn weights() -> Weights {
        let description = Description {
            widths: vec![2, 3],
            convs: vec![1, 2],
            up_widths: vec![5],
            up_convs: vec![1],
            shared: false,
            activation: Activation::Prelu,
            ..Description::deepbleed()
        };
        let generated = Weights::generate(&description, "onnx").unwrap();
        let tensors =
            description.tensors().into_iter().map(|t| (t.name.clone(), generated.tensor(&t.name).into_owned())).collect();
        let metadata = Metadata {
            hu_range: Some([-20.0, 120.0]),
            threshold: Some(0.4),
            origin: Some("a test".into()),
            ..Metadata::default()
        };
        Weights::from_tensors("onnx", &description, &metadata, &tensors).unwrap()
    }

    #[test]
    fn import_gives_what_was_exported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("onnx.onnx");
        let exported = weights();
        std::fs::write(&path, export(&exported).unwrap()).unwrap();
        assert_eq!(import(&path).unwrap().bytes(), exported.bytes());
        // The order of axes stands beside input and logits (field 3 of a ValueInfoProto), and among the metadata.
        let bytes = export(&exported).unwrap();
        let graph = parts(&bytes, 7).unwrap()[0];
        for field in [11, 12] {
            assert_eq!(text(parts(graph, field).unwrap()[0], 3).unwrap(), AXES);
        }
        assert!(parts(&bytes, 14).unwrap().iter().any(|entry| text(entry, 2).unwrap() == AXES));
    }

    #[test]
    fn a_kernels_axes_are_turned() {
        // (kd, kh, kw, in, out) = (1, 1, 2, 3, 2): value of tap k from c to n is 100 k + 10 c + n.
        let shape = [1, 1, 2, 3, 2];
        let values: Vec<usize> = (0..12).map(|n| 100 * (n / 6) + 10 * (n / 2 % 3) + n % 2).collect();
        let turned: Vec<usize> = places(&shape).into_iter().map(|place| values[place]).collect();
        assert_eq!(turned, [0, 100, 10, 110, 20, 120, 1, 101, 11, 111, 21, 121]);
        assert_eq!(onnx_shape("a/kernel", &shape), [2, 3, 1, 1, 2]);
    }

    #[test]
    fn cut_or_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("onnx.onnx");
        let bytes = export(&weights()).unwrap();
        for bytes in [&bytes[..bytes.len() / 2], &bytes[..20], b"", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(import(&path), Err(Error::Weights { source: WeightsError::NotOnnx, .. })));
        }
        assert!(matches!(import(&folder.path().join("none")), Err(Error::File(crate::io::Error::Read { .. }))));
    }
}
