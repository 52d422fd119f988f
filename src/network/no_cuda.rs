//! What stands for the CUDA engine in a build without the feature `cuda`: an error that says so.

use crate::network::grade::Grade;
use crate::network::weights::Weights;
use crate::network::{Error, Result};

fn missing() -> Error {
    Error::Device("this build of ichor has no CUDA engine: build it with the feature `cuda`".into())
}

/// The driver, which is not asked.
pub mod driver {
    use crate::network::Result;
    use std::fmt;

    /// A GPU, of which there is none.
    pub enum GpuInfo {}

    impl fmt::Display for GpuInfo {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            match *self {}
        }
    }

    /// # Errors
    /// Always [`crate::network::Error::Device`].
    pub fn list() -> Result<Vec<GpuInfo>> {
        Err(super::missing())
    }

    /// # Errors
    /// Always [`crate::network::Error::Device`].
    pub fn find(_: usize) -> Result<GpuInfo> {
        Err(super::missing())
    }
}

/// An engine, of which there is none.
pub enum CudaEngine {}

impl CudaEngine {
    /// # Errors
    /// Always [`Error::Device`].
    pub fn on_gpu(_: usize, _: &Weights, _: [usize; 3], _: Grade) -> Result<CudaEngine> {
        Err(missing())
    }
}

impl super::LoadedNetwork for CudaEngine {
    fn shape(&self) -> [usize; 3] {
        match *self {}
    }

    fn device(&self) -> String {
        match *self {}
    }

    fn run(&mut self, _: &[f32], _: Option<&[bool]>, _: &mut [f32]) -> Result<()> {
        match *self {}
    }
}
