//! What `ichor weights info` shows.

use super::{InputKind, Weights};
use crate::network::{Activation, Description, Plan};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Everything about a weights file that a person wants to know before using it. `Display` gives lines of text, serde
/// the same as data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The weights' name.
    pub name: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Size of the file.
    pub bytes: usize,
    /// How the file stores values: `F32`, or several with commas.
    pub stored_as: String,
    /// Origin, license and so on, as the file has them.
    pub metadata: BTreeMap<String, String>,
    /// The network.
    pub network: Description,
    /// Number of parameters.
    pub parameters: usize,
    /// The grid (D, H, W) of a pass, which the blocks' figures are for: the template's, a patch's or a slice's.
    pub shape: [usize; 3],
    /// Every block in the order of the forward pass.
    pub blocks: Vec<Block>,
}

/// A block of the network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Block {
    /// Its name.
    pub name: String,
    /// Channels of its output.
    pub channels: usize,
    /// Grid (D, H, W) of its output.
    pub shape: [usize; 3],
    /// Floating-point operations of a pass in 10^9: 2 for each multiply-add, padding taps counted.
    pub gflop: f64,
}

impl Summary {
    /// The summary of some weights.
    pub fn of(weights: &Weights) -> Summary {
        let network = weights.description().clone();
        let shape = match weights.metadata().input {
            InputKind::Template => [128; 3],
            InputKind::TemplatePatches { patch } => [patch; 3],
            InputKind::NativeSlices => [1, 512, 512],
        };
        // Strides are at most 2 and there are at most 7 levels, so 128 fits every network; patches and planar networks
        // are checked at opening.
        let plan = Plan::new(&network, shape).expect("the weights' input fits their network");
        let outputs = plan.blocks.iter().map(|(_, id)| (plan.buffers[*id].channels, plan.buffers[*id].shape));
        let blocks = plan
            .block_flop()
            .into_iter()
            .zip(outputs.chain([(1, shape)]))
            .map(|((name, flop), (channels, shape))| Block { name, channels, shape, gflop: flop as f64 / 1e9 });
        let dtypes: BTreeSet<String> = network.tensors().iter().map(|t| weights.dtype(&t.name).to_string()).collect();
        Summary {
            name: weights.name().to_string(),
            sha256: weights.sha256(),
            bytes: weights.bytes().len(),
            stored_as: Vec::from_iter(dtypes).join(", "),
            metadata: weights.metadata().entries(),
            parameters: network.parameters(),
            shape,
            blocks: blocks.collect(),
            network,
        }
    }
}

/// Numbers of a list with blanks between them.
fn list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")
}

fn grid([d, h, w]: [usize; 3]) -> String {
    format!("{d}x{h}x{w}")
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = &self.network;
        writeln!(f, "{:<12} {}", "name", self.name)?;
        writeln!(f, "{:<12} {}", "SHA-256", self.sha256)?;
        writeln!(f, "{:<12} {} bytes, values as {}", "file", self.bytes, self.stored_as)?;
        for (key, value) in &self.metadata {
            writeln!(f, "{key:<12} {value}")?;
        }
        let convolutions = if network.shared { "one a block, applied several times" } else { "each its own" };
        let activation = match network.activation {
            Activation::Relu => "ReLU",
            Activation::Prelu => "PReLU, a slope per channel",
        };
        writeln!(f, "{:<12} {}, stride {}", "kernel", grid(network.kernel), grid(network.stride))?;
        writeln!(f, "{:<12} {} down, {} up", "channels", list(&network.widths), list(&network.up_widths))?;
        writeln!(f, "{:<12} {} down, {} up; {convolutions}", "convolutions", list(&network.convs), list(&network.up_convs))?;
        writeln!(f, "{:<12} {activation}", "activation")?;
        writeln!(f, "{:<12} {}", "parameters", self.parameters)?;
        writeln!(f)?;
        writeln!(f, "{:<12} {:>8} {:>12} {:>10}", "block", "channels", "grid", "GFLOP")?;
        for Block { name, channels, shape, gflop } in &self.blocks {
            writeln!(f, "{name:<12} {channels:>8} {:>12} {gflop:>10.3}", grid(*shape))?;
        }
        let total: f64 = self.blocks.iter().map(|block| block.gflop).sum();
        writeln!(f, "{:<12} {:>8} {:>12} {total:>10.3}", "all", "", grid(self.shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::weights::Metadata;

    fn deepbleed(metadata: Metadata, kernel: [usize; 3], stride: [usize; 3]) -> Summary {
        let network = Description { kernel, stride, ..Description::deepbleed() };
        let tensors = network.tensors().into_iter().map(|t| (t.name, vec![0.0; t.shape.iter().product()])).collect();
        Summary::of(&Weights::from_tensors("released", &network, &metadata, &tensors).unwrap())
    }

    #[test]
    fn the_released_network_has_the_figures_of_the_design() {
        let metadata = Metadata {
            origin: Some("a test".into()),
            others: [("note".into(), "free text".into())].into(),
            ..Metadata::default()
        };
        let summary = deepbleed(metadata, [5; 3], [2; 3]);
        assert_eq!((summary.parameters, summary.shape, summary.stored_as.as_str()), (22_546_101, [128; 3], "F32"));
        assert!(summary.bytes > 4 * summary.parameters);
        // The 5x5x5 convolutions and the strided one: down_1 has 2 (2 * 125 * 32 * 32 + 8 * 16 * 32) 64^3 = 136.4 * 10^9.
        let figures: Vec<(&str, usize, usize, f64)> =
            summary.blocks.iter().map(|b| (b.name.as_str(), b.channels, b.shape[0], (b.gflop * 10.0).round() / 10.0)).collect();
        assert_eq!(
            figures,
            [
                ("input_layer", 16, 128, 8.4),
                ("down_1", 32, 64, 136.4),
                ("down_2", 64, 32, 101.7),
                ("down_3", 128, 16, 50.9),
                ("down_4", 256, 8, 25.4),
                ("up_4", 256, 16, 201.6),
                ("up_3", 128, 32, 403.7),
                ("up_2", 64, 64, 539.0),
                ("up_1", 32, 128, 541.2),
                ("outblock", 1, 128, 0.3),
            ]
        );
        let text = summary.to_string();
        for wanted in
            ["origin       a test\n", "note         free text\n", "parameters   22546101\n", "5x5x5, stride 2x2x2", "2008.577"]
        {
            assert!(text.contains(wanted), "{wanted:?} should be in\n{text}");
        }
        let data = serde_json::to_value(&summary).unwrap();
        assert_eq!(data["network"]["widths"], serde_json::json!([16, 32, 64, 128, 256]));
        assert_eq!(data["metadata"]["origin"], "a test");
    }

    #[test]
    fn the_grid_is_that_of_the_input() {
        let of = |input, kernel, stride| deepbleed(Metadata { input, ..Metadata::default() }, kernel, stride);
        assert_eq!(of(InputKind::TemplatePatches { patch: 32 }, [5; 3], [2; 3]).shape, [32; 3]);
        let planar = of(InputKind::NativeSlices, [1, 5, 5], [1, 2, 2]);
        assert_eq!(planar.shape, [1, 512, 512]);
        assert_eq!(planar.blocks[4].shape, [1, 32, 32]);
    }

    #[test]
    fn every_network_fits_the_template() {
        let deepest = Description {
            widths: vec![1; 8],
            convs: vec![1; 8],
            up_widths: vec![2; 7],
            up_convs: vec![1; 7],
            ..Description::deepbleed()
        };
        let summary = Summary::of(&Weights::generate(&deepest, "deepest").unwrap());
        assert_eq!(summary.blocks[7].shape, [1; 3]);
    }
}
