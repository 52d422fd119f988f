//! A GPU, by the CUDA driver. The driver is loaded at run time, so the same program starts where there is none.

use super::device::{CudaDevice, Launch, Pass, Prepared, Region, Tensor, TensorMap};
use crate::network::{Error, Result};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};
use cudarc::driver::{CudaContext, CudaEvent, CudaFunction, CudaGraph, CudaModule, CudaStream, DriverError, result};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The oldest driver interface that runs kernels of CUDA 13 (driver 580).
const OLDEST_DRIVER: i32 = 13000;

/// The architectures that the kernels of this build are compiled for, with commas, the oldest first (build.rs).
const ARCHITECTURES: &str = env!("ICHOR_ARCHITECTURES");

#[cfg(ichor_fatbin)]
fn fatbin() -> Result<&'static [u8]> {
    Ok(include_bytes!(concat!(env!("OUT_DIR"), "/ichor.fatbin")))
}

#[cfg(not(ichor_fatbin))]
fn fatbin() -> Result<&'static [u8]> {
    Err(Error::Device(concat!("this build of ichor has no CUDA kernels: ", env!("ICHOR_NO_FATBIN")).into()))
}

/// A GPU that is there, whether or not this build can use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its name.
    pub name: String,
    /// Compute capability: major and minor.
    pub capability: (i32, i32),
    /// Its memory in bytes.
    pub memory: usize,
    /// Its multiprocessors.
    pub processors: i32,
}

impl fmt::Display for GpuInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.capability;
        write!(f, "{}, compute capability {major}.{minor}, {} MiB", self.name, self.memory >> 20)
    }
}

/// The GPUs of this machine, in the order of their ordinals.
///
/// # Errors
/// [`Error::Device`] saying why CUDA cannot be used here: no kernels in this build, no driver, a driver that is too old.
pub fn list() -> Result<Vec<GpuInfo>> {
    fatbin()?;
    check_driver()?;
    let count = CudaContext::device_count().map_err(|e| failed("cannot count the GPUs", e))?;
    (0..count)
        .map(|ordinal| {
            let attempt = || {
                let device = result::device::get(ordinal)?;
                // SAFETY: `device` came from the driver just now.
                unsafe {
                    Ok(GpuInfo {
                        name: result::device::get_name(device)?,
                        capability: (
                            result::device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                            result::device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
                        ),
                        memory: result::device::total_mem(device)?,
                        processors: result::device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
                    })
                }
            };
            attempt().map_err(|e| failed(&format!("cannot ask GPU {ordinal}"), e))
        })
        .collect()
}

/// GPU number `ordinal`.
///
/// # Errors
/// [`Error::Device`] as [`list`], where there is no such GPU, and where this build has no kernels for it.
pub fn find(ordinal: usize) -> Result<GpuInfo> {
    let mut gpus = list()?;
    if ordinal >= gpus.len() {
        return Err(Error::Device(match gpus.len() {
            0 => "this machine has no NVIDIA GPU".into(),
            1 => format!("there is no GPU {ordinal}: this machine has 1, number 0"),
            count => format!("there is no GPU {ordinal}: this machine has {count}, numbers 0 to {}", count - 1),
        }));
    }
    let info = gpus.swap_remove(ordinal);
    if !runs_on(ARCHITECTURES, info.capability) {
        let (major, minor) = info.capability;
        let problem = format!(
            "{} has compute capability {major}.{minor}, for which this build has no kernels: they are for {ARCHITECTURES}",
            info.name
        );
        return Err(Error::Device(problem));
    }
    Ok(info)
}

/// Whether kernels that are compiled for `architectures` run on a GPU of a compute capability. Code runs where the major number
/// is its own and the minor no less; that of an architecture with an `a` on its own GPUs alone. The last has PTX besides, where
/// it has no `a`: what is newer compiles it.
fn runs_on(architectures: &str, (major, minor): (i32, i32)) -> bool {
    let own = 10 * major + minor;
    let no_newer = |name: &str| name.parse().is_ok_and(|number: i32| number <= own);
    let has_code = |name: &str| match name.strip_suffix('a') {
        Some(only) => only.parse() == Ok(own),
        None => no_newer(name) && name.starts_with(&major.to_string()),
    };
    architectures.split(',').any(has_code) || architectures.rsplit(',').next().is_some_and(no_newer)
}

/// Checks that there is a driver and that it is new enough.
fn check_driver() -> Result<()> {
    // SAFETY: looks for the library only.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::Device("there is no NVIDIA driver on this machine (libcuda was not found)".into()));
    }
    result::init().map_err(|e| failed("the NVIDIA driver does not start", e))?;
    let mut version = 0;
    // SAFETY: writes one integer.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(|e| failed("the NVIDIA driver names no version", e))?;
    check_version(version)
}

/// Checks a driver's version, 1000 times the major plus 10 times the minor number of the CUDA that it knows.
fn check_version(version: i32) -> Result<()> {
    if version < OLDEST_DRIVER {
        return Err(Error::Device(format!(
            "the NVIDIA driver is too old: it knows CUDA {}.{}, and ichor needs 13.0 (driver 580 or later)",
            version / 1000,
            version % 1000 / 10
        )));
    }
    Ok(())
}

/// What was tried, the driver's error by name, and what to do about it.
fn failed(what: &str, error: DriverError) -> Error {
    let advice = match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => ": the GPU's memory is used up; free some, or take a smaller grid or another GPU",
        CUresult::CUDA_ERROR_NO_DEVICE => ": the driver finds no GPU",
        CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE => ": another process holds the GPU",
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => ": this build has no kernels for the GPU",
        CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
        | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
        | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
        | CUresult::CUDA_ERROR_LAUNCH_FAILED
        | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT => ": the GPU is lost to this process, which must be started again",
        _ => "",
    };
    // The driver's own name for it would have to be asked from a driver, which there may not be.
    Error::Device(format!("{what}: {:?}{advice}", error.0))
}

/// What a GPU's passes share with it. Memory is freed when the last of them is dropped.
struct Inner {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    allocations: Mutex<Vec<u64>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nothing can be done about an error here; the context records it.
        self.context.record_err(self.stream.synchronize());
        for address in self.allocations.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // SAFETY: allocated by `allocate`, freed once, and no work is under way.
            self.context.record_err(unsafe { result::free_sync(address) });
        }
    }
}

impl Inner {
    fn enqueue(&self, function: &CudaFunction, launch: &Launch) -> std::result::Result<(), DriverError> {
        // The driver copies the argument during the call, and reads it as a structure of 8-byte words.
        let mut argument = vec![0u64; launch.arguments.len().div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut argument)[..launch.arguments.len()].copy_from_slice(&launch.arguments);
        let mut parameters = [argument.as_mut_ptr().cast::<c_void>()];
        // SAFETY: the kernel takes this one argument; the caller answers for the addresses in it.
        unsafe {
            result::launch_kernel(
                function.cu_function(),
                (launch.grid[0], launch.grid[1], 1),
                (launch.threads, 1, 1),
                launch.shared,
                self.stream.cu_stream(),
                &mut parameters,
            )
        }
    }
}

/// A GPU with a stream of its own.
pub struct Gpu {
    inner: Arc<Inner>,
    module: Arc<CudaModule>,
    functions: HashMap<&'static str, CudaFunction>,
    name: String,
    info: GpuInfo,
}

impl Gpu {
    /// GPU number `ordinal`.
    ///
    /// # Errors
    /// [`Error::Device`] as [`list`], and where there is no such GPU or it cannot run the kernels of this build.
    pub fn new(ordinal: usize) -> Result<Gpu> {
        let kernels = fatbin()?;
        let info = find(ordinal)?;
        let what = format!("cannot use GPU {ordinal} ({})", info.name);
        let attempt = || {
            let context = CudaContext::new(ordinal)?;
            // SAFETY: streams are ordered by this module itself; it uses none of cudarc's tracked buffers.
            unsafe { context.disable_event_tracking() };
            let stream = context.new_stream()?;
            let module = context.load_module(Ptx::from_binary(kernels.to_vec()))?;
            Ok(Gpu {
                inner: Arc::new(Inner { context, stream, allocations: Mutex::default() }),
                module,
                functions: HashMap::new(),
                name: format!("cuda:{ordinal} {}", info.name),
                info: info.clone(),
            })
        };
        attempt().map_err(|e| failed(&what, e))
    }

    /// Marks the end of all that was started so far, for [`Mark::seconds_until`]; does not wait for it.
    ///
    /// # Errors
    /// [`Error::Device`] with what the driver reports.
    pub fn mark(&self) -> Result<Mark> {
        let event = self.inner.stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
        event.map(Mark).map_err(|e| self.failed("cannot record an event", e))
    }

    /// What the GPU can do at most, by its clocks as the driver tells them.
    ///
    /// # Errors
    /// [`Error::Device`] with what the driver reports.
    pub fn limits(&self) -> Result<Limits> {
        let device = self.inner.context.cu_device();
        let ask = |attribute| {
            // SAFETY: the device is the context's.
            let value = unsafe { result::device::get_attribute(device, attribute) };
            value.map(f64::from).map_err(|e| self.failed("cannot ask for the GPU's limits", e))
        };
        let capability = 10.0 * ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?
            + ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let clock = 1e3 * ask(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?;
        let flop_per_second = clock * ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let (fma, tensor) = flop_per_clock(capability as u32);
        // Memory moves data twice a clock.
        let memory_clock = 2e3 * ask(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?;
        let bandwidth = memory_clock * ask(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)? / 8.0;
        Ok(Limits { fma: fma * flop_per_second, tensor: tensor * flop_per_second, bandwidth })
    }

    fn failed(&self, what: &str, error: DriverError) -> Error {
        failed(&format!("{}: {what}", self.name), error)
    }

    /// The kernel of a launch, allowed as much shared memory as it wants.
    fn function(&mut self, launch: &Launch) -> Result<CudaFunction> {
        if let Some(function) = self.functions.get(launch.kernel) {
            return Ok(function.clone());
        }
        let attempt = || {
            let function = self.module.load_function(launch.kernel)?;
            let device = self.inner.context.cu_device();
            // SAFETY: the device is the context's.
            let most = unsafe {
                result::device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?
            };
            function.set_attribute(sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, most)?;
            Ok(function)
        };
        let function: CudaFunction = attempt().map_err(|e| self.failed(&format!("cannot load kernel {}", launch.kernel), e))?;
        self.functions.insert(launch.kernel, function.clone());
        Ok(function)
    }
}

/// The most that a GPU can do, in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Operations in f32, two for each fused multiply-add.
    pub fma: f64,
    /// Operations on tensor cores, f16 with f32 sums, dense.
    pub tensor: f64,
    /// Bytes from and to its memory.
    pub bandwidth: f64,
}

/// Operations of a multiprocessor in a clock: f32, and f16 on tensor cores with f32 sums (CUDA programming guide, "Arithmetic
/// Instructions", and the architectures' white papers).
fn flop_per_clock(capability: u32) -> (f64, f64) {
    match capability {
        ..80 => (128.0, 1024.0),
        80 => (128.0, 2048.0),
        81..90 => (256.0, 1024.0), // half of it on GeForce cards
        90..100 => (256.0, 4096.0),
        100..120 => (256.0, 8192.0),
        _ => (256.0, 1024.0),
    }
}

/// A point in the work of a [`Gpu`]: a CUDA event.
pub struct Mark(CudaEvent);

impl Mark {
    /// Seconds on the GPU from this mark to a later one of the same GPU; waits for both.
    ///
    /// # Errors
    /// [`Error::Device`] with what the driver reports.
    pub fn seconds_until(&self, later: &Mark) -> Result<f64> {
        let milliseconds = self.0.elapsed_ms(&later.0).map_err(|e| failed("cannot time the GPU", e))?;
        Ok(f64::from(milliseconds) / 1e3)
    }
}

fn fits(region: Region, bytes: usize) -> Result<()> {
    if bytes <= region.bytes {
        return Ok(());
    }
    Err(Error::Device(format!("{bytes} bytes do not fit a region of {} bytes of device memory", region.bytes)))
}

impl CudaDevice for Gpu {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn capability(&self) -> (u32, u32) {
        (self.info.capability.0.unsigned_abs(), self.info.capability.1.unsigned_abs())
    }

    fn processors(&self) -> usize {
        self.info.processors.unsigned_abs() as usize
    }

    fn tensor_map(&self, tensor: &Tensor) -> Result<TensorMap> {
        tensor.check()?;
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        let (sides, tile) = (tensor.sides.map(|side| side as u64), tensor.tile.map(|side| side as u32));
        // SAFETY: all arrays have the length that the rank says; the driver checks the rest.
        let code = unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut map,
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                4,
                tensor.region.address as *mut c_void,
                sides.as_ptr(),
                tensor.strides().as_ptr(),
                tile.as_ptr(),
                [1u32; 4].as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        code.result().map_err(|e| self.failed("cannot make a tensor map", e))?;
        Ok(map.opaque)
    }

    fn allocate(&mut self, bytes: usize) -> Result<Region> {
        let attempt = || {
            self.inner.context.bind_to_thread()?;
            // SAFETY: the content is undefined, as the trait says. The driver refuses 0 bytes.
            unsafe { result::malloc_sync(bytes.max(1)) }
        };
        let address = attempt().map_err(|e| self.failed(&format!("cannot allocate {bytes} bytes"), e))?;
        self.inner.allocations.lock().unwrap_or_else(PoisonError::into_inner).push(address);
        Ok(Region { address, bytes })
    }

    fn upload(&mut self, region: Region, data: &[u8]) -> Result<()> {
        fits(region, data.len())?;
        let attempt = || {
            self.inner.context.bind_to_thread()?;
            self.inner.stream.synchronize()?;
            // SAFETY: the region is of this device and large enough.
            unsafe { result::memcpy_htod_sync(region.address, data) }
        };
        attempt().map_err(|e| self.failed("cannot copy to the GPU", e))
    }

    fn download(&mut self, region: Region, data: &mut [u8]) -> Result<()> {
        fits(region, data.len())?;
        let mut attempt = || {
            self.inner.context.bind_to_thread()?;
            self.inner.stream.synchronize()?;
            // SAFETY: the region is of this device and large enough.
            unsafe { result::memcpy_dtoh_sync(data, region.address) }
        };
        attempt().map_err(|e| self.failed("cannot copy from the GPU", e))
    }

    unsafe fn launch(&mut self, launch: &Launch) -> Result<()> {
        let function = self.function(launch)?;
        let attempt = || {
            self.inner.context.bind_to_thread()?;
            self.inner.enqueue(&function, launch)
        };
        attempt().map_err(|e| self.failed(&format!("cannot launch kernel {}", launch.kernel), e))
    }

    unsafe fn prepare(&mut self, pass: &Pass) -> Result<Box<dyn Prepared>> {
        // Modules load kernels lazily, which a capture does not allow: all are loaded before.
        let functions = pass.launches.iter().map(|launch| self.function(launch)).collect::<Result<Vec<_>>>()?;
        let attempt = || {
            let context = &self.inner.context;
            context.bind_to_thread()?;
            let pinned = |regions: &[Region]| -> std::result::Result<Vec<_>, _> {
                regions.iter().map(|region| Pinned::new(context, region.bytes)).collect()
            };
            let (inputs, mut outputs) = (pinned(&pass.inputs)?, pinned(&pass.outputs)?);
            let stream = &self.inner.stream;
            stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
            let mut record = || {
                for (region, host) in pass.inputs.iter().zip(&inputs) {
                    // SAFETY: the pinned memory lives as long as the graph.
                    unsafe { result::memcpy_htod_async(region.address, host.bytes(), stream.cu_stream())? };
                }
                for (function, launch) in functions.iter().zip(&pass.launches) {
                    self.inner.enqueue(function, launch)?;
                }
                for (region, host) in pass.outputs.iter().zip(&mut outputs) {
                    // SAFETY: as above.
                    unsafe { result::memcpy_dtoh_async(host.bytes_mut(), region.address, stream.cu_stream())? };
                }
                Ok(())
            };
            let recorded = record();
            // A capture must end even where it failed.
            let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0));
            recorded?;
            let graph = graph?.ok_or(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED))?;
            graph.upload()?;
            stream.synchronize()?;
            Ok(GpuPass { graph, inputs, outputs, inner: self.inner.clone(), name: self.name.clone() })
        };
        let prepared = attempt().map_err(|e| self.failed("cannot prepare the pass", e))?;
        Ok(Box::new(prepared))
    }
}

/// Page-locked host memory, which the GPU copies from and to by itself.
struct Pinned {
    pointer: *mut u8,
    bytes: usize,
    context: Arc<CudaContext>,
}

impl Pinned {
    fn new(context: &Arc<CudaContext>, bytes: usize) -> std::result::Result<Pinned, DriverError> {
        // SAFETY: filled with zeros before it is read. Flag 0: cached, as the host reads it.
        let pointer = unsafe { result::malloc_host(bytes.max(1), 0)? }.cast::<u8>();
        // SAFETY: just allocated with this size.
        unsafe { pointer.write_bytes(0, bytes) };
        Ok(Pinned { pointer, bytes, context: context.clone() })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: allocated with this size and initialised.
        unsafe { std::slice::from_raw_parts(self.pointer, self.bytes) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: allocated with this size and initialised.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.context.record_err(self.context.bind_to_thread());
        // SAFETY: allocated by `new`, freed once; the pass that copied it has been waited for.
        self.context.record_err(unsafe { result::free_host(self.pointer.cast()) });
    }
}

/// A pass as a CUDA graph.
struct GpuPass {
    graph: CudaGraph,
    inputs: Vec<Pinned>,
    outputs: Vec<Pinned>,
    inner: Arc<Inner>,
    name: String,
}

// SAFETY: driver handles may be used from any thread once the context is bound, which every call does; `&mut` keeps uses apart.
unsafe impl Send for GpuPass {}

impl Drop for GpuPass {
    fn drop(&mut self) {
        self.inner.context.record_err(self.inner.stream.synchronize());
    }
}

impl Prepared for GpuPass {
    fn input(&mut self, n: usize) -> &mut [u8] {
        self.inputs[n].bytes_mut()
    }

    fn start(&mut self) -> Result<()> {
        self.graph.launch().map_err(|e| failed(&format!("{}: cannot start the pass", self.name), e))
    }

    fn wait(&mut self) -> Result<()> {
        self.inner.stream.synchronize().map_err(|e| failed(&format!("{}: the pass failed", self.name), e))
    }

    fn output(&self, n: usize) -> &[u8] {
        self.outputs[n].bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_run_on_the_gpus_that_they_are_compiled_for_and_the_last_on_newer_ones() {
        let all = "75,80,86,89,90a,100,120";
        for (architectures, runs, does_not) in [
            (all, &[(7, 5), (8, 0), (8, 7), (8, 9), (9, 0), (10, 3), (12, 0), (12, 1), (13, 0)][..], &[(7, 0), (11, 0)][..]),
            ("90a", &[(9, 0)], &[(8, 9), (9, 1), (10, 0)]),
            ("80", &[(8, 0), (8, 6), (9, 0), (12, 0)], &[(7, 5)]),
            ("86,90a", &[(8, 6), (8, 9), (9, 0)], &[(8, 0), (10, 0)]),
        ] {
            for &capability in runs {
                assert!(runs_on(architectures, capability), "{architectures} on {capability:?}");
            }
            for &capability in does_not {
                assert!(!runs_on(architectures, capability), "{architectures} on {capability:?}");
            }
        }
    }

    #[test]
    fn an_old_driver_is_named_with_what_is_needed() {
        assert!(check_version(13000).is_ok() && check_version(13020).is_ok());
        let error = check_version(12080).unwrap_err().to_string();
        assert!(error.contains("knows CUDA 12.8") && error.contains("driver 580 or later"), "{error}");
    }

    #[test]
    fn what_the_driver_reports_comes_with_advice() {
        for (code, advice) in [
            (CUresult::CUDA_ERROR_OUT_OF_MEMORY, "smaller grid"),
            (CUresult::CUDA_ERROR_NO_DEVICE, "finds no GPU"),
            (CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernels for the GPU"),
            (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "must be started again"),
            (CUresult::CUDA_ERROR_LAUNCH_FAILED, "must be started again"),
            (CUresult::CUDA_ERROR_ECC_UNCORRECTABLE, "must be started again"),
        ] {
            let error = failed("cuda:1: the pass failed", DriverError(code)).to_string();
            assert!(error.starts_with(&format!("cuda:1: the pass failed: {code:?}: ")) && error.contains(advice), "{error}");
        }
    }

    #[test]
    fn a_machine_without_gpu_says_why() {
        // On a machine with a GPU and a build with kernels there is nothing to say.
        if let Err(error) = list() {
            let said = error.to_string();
            let reasons = ["no CUDA kernels", "no NVIDIA driver", "driver is too old", "driver does not start", "cannot count"];
            assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
            assert_eq!(Gpu::new(0).err().expect("no GPU can be used").to_string(), said);
        }
    }
}
