//! The emulated device: the CUDA kernels compiled for the host, run one block at a time with every thread a fiber.
//!
//! It is there to find bugs where there is no GPU. Reading memory that was never written, touching memory out of bounds, two threads
//! touching the same word with no barrier between, a barrier that not all threads reach, an asynchronous copy that was not waited for: each stops the
//! launch with an error that names kernel, block and thread. The order of threads and blocks is drawn from a seed.
//! `docs/kernels.md` says what it cannot see.

use crate::network::cuda::device::{CudaDevice, Launch, Pass, Prepared, Region, Tensor, TensorMap};
use crate::network::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

#[repr(C)]
struct Opaque {
    _private: [u8; 0],
}

/// Declares the C interface of `device.cpp` twice: as linked functions, and as a table of pointers that another build can fill.
macro_rules! interface {
    ($($symbol:ident = $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        mod linked {
            use super::*;
            unsafe extern "C" {
                $(pub fn $symbol($($argument: $type),*) $(-> $result)?;)*
            }
        }

        #[derive(Clone, Copy)]
        struct Interface {
            $($name: unsafe extern "C" fn($($type),*) $(-> $result)?,)*
        }

        impl Interface {
            const LINKED: Interface = Interface { $($name: linked::$symbol,)* };

            /// The interface of a shared library made of the same sources.
            fn of(library: &libloading::Library) -> std::result::Result<Interface, libloading::Error> {
                // SAFETY: the library was made of the same sources, so its symbols have these types.
                unsafe { Ok(Interface { $($name: *library.get(stringify!($symbol))?,)* }) }
            }
        }
    };
}

interface! {
    ichor_emulator_create = create(seed: u64) -> *mut Opaque;
    ichor_emulator_destroy = destroy(device: *mut Opaque);
    ichor_emulator_error = error(device: *const Opaque) -> *const c_char;
    ichor_emulator_allocate = allocate(device: *mut Opaque, bytes: usize) -> u64;
    ichor_emulator_upload = upload(device: *mut Opaque, to: u64, from: *const c_void, bytes: usize) -> c_int;
    ichor_emulator_download = download(device: *mut Opaque, to: *mut c_void, from: u64, bytes: usize) -> c_int;
    ichor_emulator_launch = launch(
        device: *mut Opaque,
        name: *const c_char,
        grid: *const u32,
        threads: u32,
        shared: usize,
        arguments: *const c_void,
        size: usize
    ) -> c_int;
}

/// The interface in use: the linked one, or that of the shared library that ICHOR_EMULATOR_LIBRARY names. `scripts/mutate-kernels` runs
/// the tests with changed kernels that way, without building them again.
fn interface() -> Interface {
    static CHOSEN: OnceLock<Interface> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let Some(path) = std::env::var_os("ICHOR_EMULATOR_LIBRARY") else { return Interface::LINKED };
        let load = || {
            // SAFETY: the library's initialisers only fill its list of kernels.
            let library = unsafe { libloading::Library::new(&path)? };
            let interface = Interface::of(&library)?;
            // The functions are called until the program ends.
            std::mem::forget(library);
            Ok(interface)
        };
        load().unwrap_or_else(|error: libloading::Error| panic!("ICHOR_EMULATOR_LIBRARY: {error}"))
    })
}

/// The C++ side, used by one thread at a time.
struct Inner {
    device: *mut Opaque,
    interface: Interface,
}

// SAFETY: the C++ object has no tie to the thread that made it; `Mutex` lets one thread in at a time.
unsafe impl Send for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: made by ichor_emulator_create and destroyed once.
        unsafe { (self.interface.destroy)(self.device) }
    }
}

impl Inner {
    fn check(&self, good: c_int) -> Result<()> {
        if good != 0 {
            return Ok(());
        }
        // SAFETY: the text lives until the next call, and it is copied here.
        let text = unsafe { CStr::from_ptr((self.interface.error)(self.device)) };
        Err(Error::Device(format!("emulated device: {}", text.to_string_lossy())))
    }

    fn upload(&mut self, region: Region, data: &[u8]) -> Result<()> {
        // SAFETY: `data` is valid for its length; the device checks the address.
        let good = unsafe { (self.interface.upload)(self.device, region.address, data.as_ptr().cast(), data.len()) };
        self.check(good)
    }

    fn download(&mut self, region: Region, data: &mut [u8]) -> Result<()> {
        // SAFETY: `data` is valid for its length; the device checks the address.
        let good = unsafe { (self.interface.download)(self.device, data.as_mut_ptr().cast(), region.address, data.len()) };
        self.check(good)
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        let name = CString::new(launch.kernel).expect("a kernel's name has no zero byte");
        let grid = [launch.grid[0], launch.grid[1], 1];
        // Arguments are read as structures of 8-byte words.
        let mut arguments = vec![0u64; launch.arguments.len().div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut arguments)[..launch.arguments.len()].copy_from_slice(&launch.arguments);
        // SAFETY: all pointers are valid during the call; the device checks name, sizes and every access of the kernel.
        let good = unsafe {
            (self.interface.launch)(
                self.device,
                name.as_ptr(),
                grid.as_ptr(),
                launch.threads,
                launch.shared as usize,
                arguments.as_ptr().cast(),
                launch.arguments.len(),
            )
        };
        self.check(good)
    }
}

/// Multiprocessors that the emulated device says it has: few, so that kernels whose blocks do several tiles each do several.
const PROCESSORS: usize = 3;

/// First word of the emulated device's tensor maps; the others are address, sides, strides and box, as `async.cpp` reads them.
const TENSOR_MAP: u64 = 0x006d_6170_2074_6d61;

/// The emulated device.
pub struct Emulator {
    inner: Arc<Mutex<Inner>>,
    capability: (u32, u32),
}

impl Emulator {
    /// A device of compute capability 9.0 whose threads and blocks run in an order drawn from `seed`.
    pub fn new(seed: u64) -> Emulator {
        Emulator::posing_as((9, 0), seed)
    }

    /// A device that says it has another compute capability, so that the paths for it are taken. It executes every kernel.
    pub fn posing_as(capability: (u32, u32), seed: u64) -> Emulator {
        let interface = interface();
        // SAFETY: no precondition.
        let device = unsafe { (interface.create)(seed) };
        Emulator { inner: Arc::new(Mutex::new(Inner { device, interface })), capability }
    }
}

/// Runs `work` with the device. A panic of another thread leaves the device usable: its state is all on the C++ side.
fn with<T>(device: &Mutex<Inner>, work: impl FnOnce(&mut Inner) -> T) -> T {
    work(&mut device.lock().unwrap_or_else(PoisonError::into_inner))
}

fn fits(region: Region, bytes: usize) -> Result<()> {
    if bytes <= region.bytes {
        return Ok(());
    }
    Err(Error::Device(format!("{bytes} bytes do not fit a region of {} bytes of device memory", region.bytes)))
}

impl CudaDevice for Emulator {
    fn name(&self) -> String {
        "emulated CUDA device".into()
    }

    fn capability(&self) -> (u32, u32) {
        self.capability
    }

    fn processors(&self) -> usize {
        PROCESSORS
    }

    fn tensor_map(&self, tensor: &Tensor) -> Result<TensorMap> {
        tensor.check()?;
        let mut map = [0; 16];
        map[0] = TENSOR_MAP;
        map[1] = tensor.region.address;
        map[2..6].copy_from_slice(&tensor.sides.map(|side| side as u64));
        map[6..9].copy_from_slice(&tensor.strides());
        map[9..13].copy_from_slice(&tensor.tile.map(|side| side as u64));
        Ok(map)
    }

    fn allocate(&mut self, bytes: usize) -> Result<Region> {
        // SAFETY: the device checks the size.
        let address = with(&self.inner, |device| unsafe { (device.interface.allocate)(device.device, bytes) });
        if address == 0 {
            return Err(Error::Device(format!("emulated device: no memory is left for {bytes} bytes")));
        }
        Ok(Region { address, bytes })
    }

    fn upload(&mut self, region: Region, data: &[u8]) -> Result<()> {
        fits(region, data.len())?;
        with(&self.inner, |device| device.upload(region, data))
    }

    fn download(&mut self, region: Region, data: &mut [u8]) -> Result<()> {
        fits(region, data.len())?;
        with(&self.inner, |device| device.download(region, data))
    }

    unsafe fn launch(&mut self, launch: &Launch) -> Result<()> {
        with(&self.inner, |device| device.launch(launch))
    }

    unsafe fn prepare(&mut self, pass: &Pass) -> Result<Box<dyn Prepared>> {
        let host = |regions: &[Region]| regions.iter().map(|region| vec![0; region.bytes]).collect();
        Ok(Box::new(EmulatedPass {
            device: self.inner.clone(),
            inputs: host(&pass.inputs),
            outputs: host(&pass.outputs),
            pass: pass.clone(),
        }))
    }
}

/// A pass that is kept as its list.
struct EmulatedPass {
    device: Arc<Mutex<Inner>>,
    pass: Pass,
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
}

impl Prepared for EmulatedPass {
    fn input(&mut self, n: usize) -> &mut [u8] {
        &mut self.inputs[n]
    }

    fn start(&mut self) -> Result<()> {
        with(&self.device, |device| {
            for (region, data) in self.pass.inputs.iter().zip(&self.inputs) {
                device.upload(*region, data)?;
            }
            for launch in &self.pass.launches {
                device.launch(launch)?;
            }
            for (region, data) in self.pass.outputs.iter().zip(&mut self.outputs) {
                device.download(*region, data)?;
            }
            Ok(())
        })
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    fn output(&self, n: usize) -> &[u8] {
        &self.outputs[n]
    }
}
