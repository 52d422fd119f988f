//! What the CUDA engine needs of a device: memory, launches, and a pass prepared once. A GPU is one ([`super::driver`]), the emulator another.

use crate::network::{Error, Result};

/// One kernel launch: everything but the device. Launchers make it; they allocate nothing and wait for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The kernel's name in `kernels/`.
    pub kernel: &'static str,
    /// Blocks along x and y.
    pub grid: [u32; 2],
    /// Threads of a block, along x.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// The bytes of the kernel's one argument.
    pub arguments: Vec<u8>,
}

impl Launch {
    pub(super) fn new(
        kernel: &'static str,
        grid: [u32; 2],
        threads: u32,
        shared: u32,
        arguments: &impl bytemuck::NoUninit,
    ) -> Launch {
        Launch { kernel, grid, threads, shared, arguments: bytemuck::bytes_of(arguments).to_vec() }
    }
}

/// A part of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The device's address.
    pub address: u64,
    /// Its size.
    pub bytes: usize,
}

/// An f16 tensor of four dimensions, the first of them fastest and no gaps, and the boxes in which it is copied into shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Where it is.
    pub region: Region,
    /// Its sides.
    pub sides: [usize; 4],
    /// The sides of a box.
    pub tile: [usize; 4],
}

/// A [`Tensor`] as the device's copy engine takes it: an opaque part of a kernel's arguments.
pub type TensorMap = [u64; 16];

impl Tensor {
    /// Bytes from one row, plane and volume to the next.
    pub(crate) fn strides(&self) -> [u64; 3] {
        let row = 2 * self.sides[0] as u64;
        let plane = row * self.sides[1] as u64;
        [row, plane, plane * self.sides[2] as u64]
    }

    /// Checks what every device wants (CUDA driver API, cuTensorMapEncodeTiled).
    pub(crate) fn check(&self) -> Result<()> {
        let reason = if 2 * self.sides.iter().product::<usize>() > self.region.bytes {
            "it does not fit its memory"
        } else if !self.region.address.is_multiple_of(16) || !self.strides()[0].is_multiple_of(16) {
            "its address and its rows must be multiples of 16 bytes"
        } else if self.tile.iter().any(|side| !(1..=256).contains(side)) || !self.tile[0].is_multiple_of(8) {
            "a box has 1 to 256 elements along each side, and its rows are multiples of 16 bytes"
        } else {
            return Ok(());
        };
        Err(Error::Device(format!("no tensor map for sides {:?}, boxes {:?}: {reason}", self.sides, self.tile)))
    }
}

/// A pass as it is done each time: copies in, launches, copies out.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Filled from the host before the launches.
    pub inputs: Vec<Region>,
    /// In their order.
    pub launches: Vec<Launch>,
    /// Copied to the host after the launches.
    pub outputs: Vec<Region>,
}

/// A device with memory of its own. What it allocates lives as long as the device.
pub trait CudaDevice: Send {
    /// The device in words.
    fn name(&self) -> String;

    /// Its compute capability: major and minor.
    fn capability(&self) -> (u32, u32);

    /// The number of its multiprocessors.
    fn processors(&self) -> usize;

    /// What kernels need to copy boxes of a tensor.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] where the copy engine cannot take such a tensor.
    fn tensor_map(&self, tensor: &Tensor) -> Result<TensorMap>;

    /// Allocates memory, aligned to 256 bytes; its content is undefined.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] where the memory is used up.
    fn allocate(&mut self, bytes: usize) -> Result<Region>;

    /// Copies `data` to the beginning of `region` and waits for it.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] where `data` is larger than the region, and whatever the device reports.
    fn upload(&mut self, region: Region, data: &[u8]) -> Result<()>;

    /// Fills `data` from the beginning of `region`, after all launches have ended.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] where `data` is larger than the region, and whatever the device reports.
    fn download(&mut self, region: Region, data: &mut [u8]) -> Result<()>;

    /// Launches a kernel; returns before it has ended.
    ///
    /// # Safety
    /// The addresses in the arguments must be of this device and hold what the kernel reads and writes by its documentation.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] with what the device reports.
    unsafe fn launch(&mut self, launch: &Launch) -> Result<()>;

    /// Prepares a pass (on a GPU: captures it in a CUDA graph, with pinned host memory for inputs and outputs).
    ///
    /// # Safety
    /// As [`CudaDevice::launch`], for as long as the pass is started.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] with what the device reports.
    unsafe fn prepare(&mut self, pass: &Pass) -> Result<Box<dyn Prepared>>;
}

/// A prepared pass. Starting and waiting allocate nothing.
pub trait Prepared: Send {
    /// Host memory of the n-th input, to fill before [`Prepared::start`].
    fn input(&mut self, n: usize) -> &mut [u8];

    /// Starts the pass; returns before it has ended.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] with what the device reports.
    fn start(&mut self) -> Result<()>;

    /// Waits for the end of the pass.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] with what the device reports.
    fn wait(&mut self) -> Result<()>;

    /// Host memory of the n-th output, filled once [`Prepared::wait`] has returned.
    fn output(&self, n: usize) -> &[u8];
}
