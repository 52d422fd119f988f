//! Blocks of memory for activations and packed weights.

use crate::memory::{self, OutOfMemory};
use crate::network::{Error, Result};
use memmap2::{MmapMut, MmapOptions};

/// f32 in fresh pages of the operating system: zero, and not resident before they are touched. Large pages where the system has them.
pub struct Block {
    map: MmapMut,
    len: usize,
}

impl Block {
    /// Room for `len` f32.
    ///
    /// # Errors
    /// [`Error::Memory`] where the system has not that much memory.
    pub fn new(len: usize) -> Result<Block> {
        let bytes = len.saturating_mul(size_of::<f32>()).max(1);
        let too_much = || Error::from(OutOfMemory { what: "a network's values on this grid".into(), bytes: bytes as u64 });
        if !memory::has(bytes as u64) {
            return Err(too_much());
        }
        let map = MmapOptions::new().len(bytes).map_anon().map_err(|_| too_much())?;
        // Fewer misses of the address cache; where it is not possible nothing but speed is lost.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Block { map, len })
    }

    /// The values.
    pub fn values(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.map)[..self.len]
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.map)[..self.len]
    }
}
