//! Which device runs the network, and loading an engine there.

use crate::network::LoadedNetwork;
pub use crate::network::grade::Grade;
use crate::network::weights::Weights;
use crate::network::{Error, Result};
use crate::network::{cpu, cuda, reference};
use crate::words::counted;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// A device by the name that `--device` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The fast engine on the CPU, also where there is a GPU: to start one takes about as long as a scan's pass on two CPU cores (docs/kernels.md).
    Auto,
    /// The fast engine on the CPU.
    Cpu,
    /// The naive operations on the CPU: the definition of right, and slow.
    Reference,
    /// The `N`-th NVIDIA GPU.
    Cuda(usize),
    /// The CUDA kernels on the emulated device, for tests: slow.
    #[cfg(feature = "emulator")]
    Emulated,
}

/// A device and whether it can run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    /// The device.
    pub device: Device,
    /// What it is, or why it cannot run here.
    pub detail: std::result::Result<String, String>,
}

/// The devices' names, for messages.
const NAMES: &str = if cfg!(feature = "emulator") {
    "auto, cpu, reference, cuda, cuda:N and emulated"
} else {
    "auto, cpu, reference, cuda and cuda:N (emulated: in builds with the feature emulator)"
};

/// Order of the emulated device's threads.
#[cfg(feature = "emulator")]
const EMULATED_SEED: u64 = 1;

impl Device {
    /// All devices that ichor knows and whether they can run here.
    pub fn all(threads: usize) -> Vec<Availability> {
        let mut all = vec![
            Availability {
                device: Device::Cpu,
                detail: Ok(format!("{}, {}", counted(threads, "thread"), cpu::Instructions::best())),
            },
            Availability { device: Device::Reference, detail: Ok("plain loops in double precision, for checking".into()) },
        ];
        #[cfg(feature = "emulator")]
        all.push(Availability {
            device: Device::Emulated,
            detail: Ok("the CUDA kernels under checks on the CPU, for tests".into()),
        });
        match cuda::driver::list() {
            Ok(gpus) => all.extend(
                gpus.into_iter()
                    .enumerate()
                    .map(|(number, gpu)| Availability { device: Device::Cuda(number), detail: Ok(gpu.to_string()) }),
            ),
            Err(reason) => all.push(Availability { device: Device::Cuda(0), detail: Err(reason.to_string()) }),
        }
        all
    }

    /// Whether the device computes in several grades; the others compute in f32 alone.
    pub fn has_grades(self) -> bool {
        match self {
            Device::Auto | Device::Cpu | Device::Reference => false,
            Device::Cuda(_) => true,
            #[cfg(feature = "emulator")]
            Device::Emulated => true,
        }
    }

    /// Whether the device is there and this build can use it; nothing is loaded. For a command to ask before it reads
    /// its first scan, so that it fails once and not for each of them.
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] with the reason and what can be given instead.
    pub fn check(self) -> Result<()> {
        match self {
            Device::Cuda(number) => cuda::driver::find(number).map(|_| ()).map_err(|error| {
                Error::Device(format!(
                    "--device {self} cannot be used: {error}; --device cpu works everywhere, `ichor devices` lists all"
                ))
            }),
            _ => Ok(()),
        }
    }

    /// Loads `weights` for passes on a grid of `shape` (D, H, W) with `threads` threads (on the CPU) in `grade` (on a CUDA device).
    ///
    /// # Errors
    /// [`crate::network::Error::Device`] where the device cannot run here or has no such grade, [`crate::network::Error::Shape`] for a grid that the network
    /// cannot have.
    pub fn load(
        self,
        weights: &Weights,
        shape: [usize; 3],
        threads: usize,
        grade: Grade,
    ) -> Result<Box<dyn LoadedNetwork + Send>> {
        if grade != Grade::Exact && !self.has_grades() {
            return Err(Error::Device(format!("{self} computes in f32 alone: another grade needs a CUDA device")));
        }
        let options = cpu::CpuOptions { threads: NonZeroUsize::new(threads), ..cpu::CpuOptions::default() };
        match self {
            Device::Auto | Device::Cpu => Ok(Box::new(cpu::CpuEngine::with_options(weights, shape, &options)?)),
            Device::Reference => Ok(Box::new(reference::ReferenceEngine::new(weights, shape)?)),
            Device::Cuda(number) => Ok(Box::new(cuda::CudaEngine::on_gpu(number, weights, shape, grade)?)),
            #[cfg(feature = "emulator")]
            Device::Emulated => {
                let device = Box::new(crate::network::emulator::Emulator::new(EMULATED_SEED));
                Ok(Box::new(cuda::CudaEngine::on(device, weights, shape, grade)?))
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Auto => write!(f, "auto"),
            Device::Cpu => write!(f, "cpu"),
            Device::Reference => write!(f, "reference"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
            #[cfg(feature = "emulator")]
            Device::Emulated => write!(f, "emulated"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "reference" => Ok(Device::Reference),
            "cuda" => Ok(Device::Cuda(0)),
            #[cfg(feature = "emulator")]
            "emulated" => Ok(Device::Emulated),
            _ => match name.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(number)) => Ok(Device::Cuda(number)),
                _ => Err(format!("the devices are {NAMES}")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for name in ["auto", "cpu", "reference", "cuda:0", "cuda:3"] {
            assert_eq!(name.parse::<Device>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for name in ["gpu", "cuda:", "cuda:x", ""] {
            assert!(name.parse::<Device>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_grade_that_a_device_does_not_have_is_refused() {
        let weights = Weights::hand_set();
        for device in [Device::Auto, Device::Cpu, Device::Reference] {
            let error = device.load(&weights, [16; 3], 1, Grade::Fast).err().expect("refused").to_string();
            assert!(error.contains("f32 alone"), "{error}");
        }
    }
}
