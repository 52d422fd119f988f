//! What a V-Net is: widths, repeats, activation, kernel and stride. One description covers all networks of the DeepBleed paper.

use crate::network::{Error, Result};
use serde::{Deserialize, Serialize};

/// The activation after every convolution but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x where x > 0, else slope * x with one slope per channel (He et al. 2015, equation 1).
    Prelu,
}

/// A V-Net (Milletari et al. 2016, figure 2; Sharrock et al. 2020, figure 1), as the `network` entry of a weights file has it.
///
/// Level 0 is the input's grid, level `l` is `stride`^l times smaller. With L levels below the top there are
/// the blocks `input_layer`, `down_1` .. `down_L`, `up_L` .. `up_1` and `outblock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Kernel of the "same" convolutions along the three axes: 5, 5, 5, or 1, 5, 5 for the 2D network. Odd, at most 7.
    pub kernel: [usize; 3],
    /// Kernel and stride of the down- and up-convolutions: 2, 2, 2, or 1, 2, 2 for the 2D network.
    pub stride: [usize; 3],
    /// Channels of `input_layer`, `down_1` .. `down_L`.
    pub widths: Vec<usize>,
    /// Convolutions in `input_layer` (always 1), `down_1` .. `down_L`.
    pub convs: Vec<usize>,
    /// Channels of `up_L` .. `up_1`, after the skip connection has been joined to the up-convolution's output.
    pub up_widths: Vec<usize>,
    /// Convolutions in `up_L` .. `up_1`.
    pub up_convs: Vec<usize>,
    /// Whether a block's convolutions are one layer applied several times (as in the released DeepBleed weights).
    pub shared: bool,
    /// The activation.
    pub activation: Activation,
}

/// Most channels that a description may ask for in a layer: beyond it no machine could hold a pass.
const MOST_CHANNELS: usize = 2048;
/// Most convolutions in a block.
const MOST_CONVS: usize = 16;
/// Most levels below the top.
const MOST_LEVELS: usize = 7;
/// Channels between the two 1x1x1 convolutions of `outblock`.
pub const HEAD_CHANNELS: usize = 2;

/// A tensor that a network needs: its name in the weights file and its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name, such as `down_1/convolution/kernel`.
    pub name: String,
    /// The shape: (kd, kh, kw, in, out) for a convolution's kernel, (kd, kh, kw, out, in) for an up-convolution's, (out) for a bias or slopes.
    pub shape: Vec<usize>,
}

impl Description {
    /// The network of the released DeepBleed weights.
    pub fn deepbleed() -> Self {
        Description {
            kernel: [5; 3],
            stride: [2; 3],
            widths: vec![16, 32, 64, 128, 256],
            convs: vec![1, 2, 3, 3, 3],
            up_widths: vec![256, 128, 64, 32],
            up_convs: vec![3, 3, 2, 1],
            shared: true,
            activation: Activation::Relu,
        }
    }

    /// Number of levels below the top: the number of `down` blocks.
    pub(crate) fn levels(&self) -> usize {
        self.widths.len() - 1
    }

    /// Whether the slices along the first axis are independent of one another (the 2D network).
    pub fn is_planar(&self) -> bool {
        self.kernel[0] == 1 && self.stride[0] == 1
    }

    /// What the sides of the grid must be multiples of: stride to the power of the number of levels.
    pub fn multiple(&self) -> [usize; 3] {
        self.stride.map(|s| s.pow(self.levels() as u32))
    }

    /// The grid at a level, for an input of `shape` (a multiple of [`Description::multiple`]).
    pub(crate) fn level_shape(&self, shape: [usize; 3], level: usize) -> [usize; 3] {
        [0, 1, 2].map(|axis| shape[axis] / self.stride[axis].pow(level as u32))
    }

    /// Channels of the up-convolution in the `index`-th up block (`up_L` is 0): its width less the skip connection's.
    pub(crate) fn upsampled_channels(&self, index: usize) -> usize {
        self.up_widths[index] - self.widths[self.levels() - 1 - index]
    }

    /// Name of the `index`-th convolution of a block, without `/kernel` or `/bias`.
    pub(crate) fn convolution_name(&self, block: &str, index: usize) -> String {
        if self.shared { format!("{block}/convolution") } else { format!("{block}/convolution_{index}") }
    }

    /// Name of the `index`-th activation of a block, without `/alpha`.
    pub(crate) fn activation_name(&self, block: &str, index: usize) -> String {
        if self.shared { format!("{block}/activation") } else { format!("{block}/activation_{index}") }
    }

    /// Checks that the description is one that the plan and every back end can run.
    ///
    /// # Errors
    /// [`Error::Description`] naming the entry that is wrong.
    pub(crate) fn validate(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Description(what));
        if !self.kernel.iter().all(|k| k % 2 == 1 && *k <= 7) {
            return wrong(format!("kernel {:?}: each side must be 1, 3, 5 or 7", self.kernel));
        }
        if !self.stride.iter().all(|s| (1..=2).contains(s)) {
            return wrong(format!("stride {:?}: each side must be 1 or 2", self.stride));
        }
        if self.widths.len() < 2 || self.widths.len() > MOST_LEVELS + 1 {
            return wrong(format!("widths has {} entries: 2 to {} are possible", self.widths.len(), MOST_LEVELS + 1));
        }
        let levels = self.levels();
        if self.convs.len() != levels + 1 || self.up_widths.len() != levels || self.up_convs.len() != levels {
            return wrong(format!(
                "with {} widths there must be {} convs, {levels} up_widths and {levels} up_convs, not {}, {} and {}",
                levels + 1,
                levels + 1,
                self.convs.len(),
                self.up_widths.len(),
                self.up_convs.len()
            ));
        }
        if self.convs[0] != 1 {
            return wrong(format!("convs begins with {}: the input layer has exactly 1 convolution", self.convs[0]));
        }
        if !self.convs.iter().chain(&self.up_convs).all(|n| (1..=MOST_CONVS).contains(n)) {
            return wrong(format!("every block must have 1 to {MOST_CONVS} convolutions"));
        }
        if !self.widths.iter().chain(&self.up_widths).all(|c| (1..=MOST_CHANNELS).contains(c)) {
            return wrong(format!("every width must be 1 to {MOST_CHANNELS} channels"));
        }
        for (index, &up) in self.up_widths.iter().enumerate() {
            let level = levels - index;
            let skip = self.widths[level - 1];
            if up <= skip {
                return wrong(format!(
                    "up_{level} has {up} channels, of which {skip} come from the skip connection: none is left for the up-convolution"
                ));
            }
        }
        Ok(())
    }

    /// Every tensor that the network needs, in the order of the forward pass.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut list = Tensors { prelu: self.activation == Activation::Prelu, specs: Vec::new() };
        let body = |list: &mut Tensors, block: &str, channels: usize, count: usize| {
            for index in 0..if self.shared { 1 } else { count } {
                list.convolution(&self.convolution_name(block, index), self.kernel, [channels, channels], channels);
                list.activation(&self.activation_name(block, index), channels);
            }
        };
        list.convolution("input_layer/convolution", self.kernel, [1, self.widths[0]], self.widths[0]);
        list.activation("input_layer/activation", self.widths[0]);
        for level in 1..=self.levels() {
            let (block, channels) = (format!("down_{level}"), self.widths[level]);
            list.convolution(&format!("{block}/downsample"), self.stride, [self.widths[level - 1], channels], channels);
            list.activation(&format!("{block}/downsample_activation"), channels);
            body(&mut list, &block, channels, self.convs[level]);
        }
        let mut below = self.widths[self.levels()];
        for (index, &channels) in self.up_widths.iter().enumerate() {
            let (block, half) = (format!("up_{}", self.levels() - index), self.upsampled_channels(index));
            list.convolution(&format!("{block}/upsample"), self.stride, [half, below], half);
            list.activation(&format!("{block}/upsample_activation"), half);
            body(&mut list, &block, channels, self.up_convs[index]);
            below = channels;
        }
        list.convolution("outblock/final", [1; 3], [below, HEAD_CHANNELS], HEAD_CHANNELS);
        list.activation("outblock/final_activation", HEAD_CHANNELS);
        list.convolution("outblock/binary", [1; 3], [HEAD_CHANNELS, 1], 1);
        list.specs
    }

    /// Number of parameters: the values of all tensors.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|t| t.shape.iter().product::<usize>()).sum()
    }
}

struct Tensors {
    prelu: bool,
    specs: Vec<TensorSpec>,
}

impl Tensors {
    fn convolution(&mut self, name: &str, kernel: [usize; 3], channels: [usize; 2], bias: usize) {
        let shape = kernel.iter().chain(&channels).copied().collect();
        self.specs.push(TensorSpec { name: format!("{name}/kernel"), shape });
        self.specs.push(TensorSpec { name: format!("{name}/bias"), shape: vec![bias] });
    }

    fn activation(&mut self, name: &str, channels: usize) {
        if self.prelu {
            self.specs.push(TensorSpec { name: format!("{name}/alpha"), shape: vec![channels] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deepbleed_has_the_published_number_of_parameters() {
        // DESIGN: counted on the released network.
        assert_eq!(Description::deepbleed().parameters(), 22_546_101);
    }

    #[test]
    fn every_wrong_entry_is_named() {
        let good = Description::deepbleed();
        good.validate().unwrap();
        type Spoil = fn(&mut Description);
        let cases: [(&str, Spoil); 9] = [
            ("kernel", |d| d.kernel[1] = 4),
            ("kernel", |d| d.kernel[2] = 9),
            ("stride", |d| d.stride[0] = 3),
            ("stride", |d| d.stride[0] = 0),
            ("widths", |d| d.widths.truncate(1)),
            ("convs", |d| d.convs[0] = 2),
            ("convolutions", |d| d.up_convs[3] = 0),
            ("width", |d| d.up_widths[0] = 1 << 40),
            ("up_4", |d| d.up_widths[0] = 128),
        ];
        for (word, spoil) in cases {
            let mut bad = good.clone();
            spoil(&mut bad);
            let said = bad.validate().unwrap_err().to_string();
            assert!(said.contains(word), "{said:?} should name {word}");
        }
    }
}
