//! The devices that the tests of the CUDA kernels run on.

use ichor::network::cuda::{CudaDevice, driver};

/// The emulated devices, and the first GPU where there is one. Where ICHOR_GPU_ONLY is set, the GPU alone: a machine
/// without one is a failure then, for nothing would be tested.
pub fn all(emulated: impl FnOnce() -> Vec<Box<dyn CudaDevice>>) -> Vec<Box<dyn CudaDevice>> {
    let gpu_only = std::env::var_os("ICHOR_GPU_ONLY").is_some();
    let mut all = if gpu_only { Vec::new() } else { emulated() };
    match driver::Gpu::new(0) {
        Ok(gpu) => all.push(Box::new(gpu)),
        Err(reason) if gpu_only => panic!("ICHOR_GPU_ONLY is set, and no GPU can be used: {reason}"),
        Err(reason) => println!("not on a GPU: {reason}"),
    }
    assert!(!all.is_empty(), "there is no device to test on");
    all
}
