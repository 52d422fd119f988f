//! Activations and gradients in memory: channels in blocks of 16, as the fast engine keeps them, but a concatenation is stored as such.

use crate::network::Result;
use crate::network::cpu::layout::Blocks;
use crate::network::cpu::memory::Block;
use crate::network::cpu::simd::LANES;

/// Values of `channels` channels on a grid: blocks `[D][H][W][16]`; places without a channel hold 0.
pub struct Values {
    /// Grid (D, H, W).
    pub shape: [usize; 3],
    /// Number of channels.
    pub channels: usize,
    memory: Block,
}

impl Values {
    /// Zeros.
    ///
    /// # Errors
    /// [`crate::network::Error::Memory`] where memory runs out.
    pub fn new(shape: [usize; 3], channels: usize) -> Result<Values> {
        let memory = Block::new(channels.div_ceil(LANES) * Blocks::block_len(shape))?;
        Ok(Values { shape, channels, memory })
    }

    /// Number of voxels.
    pub fn voxels(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of blocks of 16 channels.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// All values, block after block.
    pub fn all(&self) -> &[f32] {
        self.memory.values()
    }

    /// All values, to be changed.
    pub fn all_mut(&mut self) -> &mut [f32] {
        self.memory.values_mut()
    }

    /// The vectors of a block.
    pub fn block(&self, block: usize) -> &[[f32; LANES]] {
        let len = Blocks::block_len(self.shape);
        self.all()[block * len..][..len].as_chunks().0
    }

    /// The vectors of a block, to be changed.
    pub fn block_mut(&mut self, block: usize) -> &mut [[f32; LANES]] {
        let len = Blocks::block_len(self.shape);
        self.all_mut()[block * len..][..len].as_chunks_mut().0
    }

    /// The blocks as the engine's kernels take them, to be read only.
    pub fn places(&self) -> Blocks {
        self.blocks_at(self.all().as_ptr().cast_mut())
    }

    /// The blocks as the engine's kernels take them, to be written.
    pub fn places_mut(&mut self) -> Blocks {
        let first = self.all_mut().as_mut_ptr();
        self.blocks_at(first)
    }

    fn blocks_at(&self, first: *mut f32) -> Blocks {
        let len = Blocks::block_len(self.shape);
        let places = (0..self.blocks()).map(|block| first.wrapping_add(block * len)).collect();
        Blocks { shape: self.shape, planes: self.shape[0], places }
    }

    #[cfg(test)]
    /// (C, D, H, W), W fastest, without the places that hold no channel.
    pub fn to_channels(&self) -> Vec<f32> {
        (0..self.channels).flat_map(|c| self.block(c / LANES).iter().map(move |vector| vector[c % LANES])).collect()
    }

    #[cfg(test)]
    /// Takes the values of (C, D, H, W), W fastest.
    pub fn set_channels(&mut self, values: &[f32]) {
        let voxels = self.voxels();
        for (c, channel) in values.chunks_exact(voxels).enumerate() {
            self.block_mut(c / LANES).iter_mut().zip(channel).for_each(|(vector, &value)| vector[c % LANES] = value);
        }
    }
}

/// `values` of the channels in places of whole blocks, 0 where there is no channel.
pub fn padded(values: &[f32]) -> Vec<f32> {
    let mut padded = values.to_vec();
    padded.resize(values.len().next_multiple_of(LANES), 0.0);
    padded
}
