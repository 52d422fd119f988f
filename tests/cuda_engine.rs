//! The CUDA engine as a whole: on the emulated device, and on a GPU where there is one.

mod support;

use ichor::network::cuda::device::{CudaDevice, Launch, Pass, Prepared, Region, Tensor, TensorMap};
use ichor::network::cuda::{CudaEngine, Grade};
use ichor::network::emulator::Emulator;
use ichor::network::weights::{Weights, generate};
use ichor::network::{Activation, Description, LoadedNetwork as _};
use ichor::network::{Error, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once};

/// Of the largest logit: f32 sums and f32 storage.
const EXACT_TOLERANCE: f64 = 1e-4;
/// Of the largest logit: f16 storage between layers.
const FAST_TOLERANCE: f64 = 1e-2;
/// Share of voxels that a fast pass may move across probability 0.5.
const FAST_MOVED: f64 = 5e-4;

/// The devices of this machine: the emulated one poses as a Hopper GPU and as an older one, so that both paths are taken.
fn devices() -> Vec<Box<dyn CudaDevice>> {
    let posing = |capability| Box::new(Emulator::posing_as(capability, 17)) as Box<dyn CudaDevice>;
    support::devices::all(|| [(9, 0), (8, 0)].map(posing).into())
}

/// A network of two levels with uneven widths: small enough to be emulated in seconds.
fn small(kernel: [usize; 3], stride: [usize; 3], activation: Activation) -> Description {
    Description {
        kernel,
        stride,
        widths: vec![3, 9, 5],
        convs: vec![1, 2, 1],
        up_widths: vec![11, 7],
        up_convs: vec![2, 1],
        shared: activation == Activation::Relu,
        activation,
    }
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(f64::from(value.abs())))
}

fn error(actual: &[f32], truth: &[f32]) -> f64 {
    actual.iter().zip(truth).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max) / largest(truth)
}

fn truth(weights: &Weights, shape: [usize; 3], input: &[f32]) -> Vec<f32> {
    let mut logits = vec![0.0; input.len()];
    ichor::network::reference::ReferenceEngine::new(weights, shape).unwrap().run(input, None, &mut logits).unwrap();
    logits
}

#[test]
fn both_grades_agree_with_the_reference() {
    for (description, shape) in [
        (small([5; 3], [2; 3], Activation::Relu), [8, 12, 20]),
        (small([1, 5, 5], [1, 2, 2], Activation::Prelu), [3, 12, 20]),
        (small([3, 1, 7], [2, 1, 2], Activation::Prelu), [4, 3, 36]),
    ] {
        let weights = Weights::generate(&description, "engine").unwrap();
        let input = generate::ct_input("engine", shape);
        let expected = truth(&weights, shape, &input);
        for (grade, tolerance) in [(Grade::Exact, EXACT_TOLERANCE), (Grade::Fast, FAST_TOLERANCE)] {
            for device in devices() {
                let mut engine = CudaEngine::on(device, &weights, shape, grade).unwrap();
                let mut logits = vec![0.0; input.len()];
                // Twice: nothing of a pass may leak into the next.
                for _ in 0..2 {
                    engine.run(&input, None, &mut logits).unwrap();
                    let error = error(&logits, &expected);
                    assert!(error <= tolerance, "{grade:?} {shape:?} on {}: {error:e}", engine.device());
                }
            }
        }
    }
}

#[test]
fn the_wanted_logits_have_the_same_bits_when_the_rest_is_skipped() {
    let shape = [12, 16, 40];
    let voxels = shape.iter().product::<usize>();
    let weights = Weights::generate(&small([3; 3], [2; 3], Activation::Relu), "skipping").unwrap();
    let input = generate::ct_input("skipping", shape);
    let mask: Vec<bool> =
        (0..voxels).map(|v| v % shape[2] < 9 && v / shape[2] % shape[1] > 10 && v / shape[2] / shape[1] < 3).collect();
    for grade in [Grade::Exact, Grade::Fast] {
        for device in devices() {
            let mut engine = CudaEngine::on(device, &weights, shape, grade).unwrap();
            let (mut dense, mut sparse) = (vec![0.0; voxels], vec![0.0; voxels]);
            // Other input first: what is skipped must not be needed.
            let other: Vec<f32> = input.iter().map(|hu| 80.0 - hu).collect();
            engine.run(&input, None, &mut dense).unwrap();
            engine.run(&other, None, &mut sparse).unwrap();
            engine.run(&input, Some(&mask), &mut sparse).unwrap();
            for v in 0..voxels {
                let expected = if mask[v] { dense[v] } else { f32::NEG_INFINITY };
                assert_eq!(sparse[v].to_bits(), expected.to_bits(), "{grade:?} voxel {v}");
            }
        }
    }
}

/// Keeps what is logged, for each thread (and so each test) on its own.
struct Log;

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        LOGGED.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// What this thread logged since it asked last.
fn logged() -> Vec<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| log::set_logger(&Log).expect("no other logger"));
    log::set_max_level(log::LevelFilter::Warn);
    LOGGED.take()
}

/// Where the fast grade asks for more shared memory than compute capability 7.5 has, the engine says so and computes in f32.
#[test]
fn a_kernel_too_large_for_the_fast_grade_is_computed_in_f32() {
    let shape = [2, 8, 16];
    let weights = Weights::generate(&small([1, 7, 7], [1, 2, 2], Activation::Relu), "wide").unwrap();
    let input = generate::ct_input("wide", shape);
    let expected = truth(&weights, shape, &input);
    logged();
    for (capability, exact) in [((7, 5), true), ((8, 6), false)] {
        let device = Box::new(Emulator::posing_as(capability, 5));
        let mut engine = CudaEngine::on(device, &weights, shape, Grade::Fast).unwrap();
        let mut logits = vec![0.0; input.len()];
        engine.run(&input, None, &mut logits).unwrap();
        assert_eq!(error(&logits, &expected) <= EXACT_TOLERANCE, exact, "{capability:?}");
        assert_eq!(logged().iter().any(|line| line.contains("shared memory")), exact, "{capability:?}");
    }
}

#[test]
fn what_does_not_fit_f16_is_computed_in_f32() {
    let shape = [4, 8, 16];
    let description = small([3; 3], [2; 3], Activation::Relu);
    let seed = Weights::generate(&description, "large").unwrap();
    let input: Vec<f32> = generate::ct_input("large", shape).iter().map(|hu| hu * 1000.0).collect();
    let expected = truth(&seed, shape, &input);
    logged();
    for device in devices() {
        let mut engine = CudaEngine::on(device, &seed, shape, Grade::Fast).unwrap();
        let mut logits = vec![0.0; input.len()];
        engine.run(&input, None, &mut logits).unwrap();
        assert!(largest(&expected) > 65504.0, "the case must overflow");
        assert_eq!(logged(), ["a value does not fit f16: the pass is done again in f32"]);
        assert!(error(&logits, &expected) <= EXACT_TOLERANCE);
    }
    // A weight that does not fit is seen when the engine is made, in every kind of layer that has weights in f16.
    let input = generate::ct_input("large", shape);
    for layer in ["input_layer/convolution", "down_1/downsample", "down_1/convolution", "up_1/upsample"] {
        let mut tensors: BTreeMap<String, Vec<f32>> =
            description.tensors().into_iter().map(|t| (t.name.clone(), seed.tensor(&t.name).into_owned())).collect();
        tensors.get_mut(&format!("{layer}/kernel")).unwrap()[3] = 1e5;
        let weights = Weights::from_tensors("large", &description, seed.metadata(), &tensors).unwrap();
        let expected = truth(&weights, shape, &input);
        for device in devices() {
            let mut engine = CudaEngine::on(device, &weights, shape, Grade::Fast).unwrap();
            assert_eq!(logged(), ["large: a weight does not fit f16; every pass is done in f32"], "{layer}");
            let mut logits = vec![0.0; input.len()];
            engine.run(&input, None, &mut logits).unwrap();
            assert!(error(&logits, &expected) <= EXACT_TOLERANCE, "{layer}");
        }
    }
}

#[test]
fn wrong_use_is_an_error() {
    let weights = Weights::generate(&small([3; 3], [2; 3], Activation::Relu), "wrong").unwrap();
    for (device, second) in devices().into_iter().zip(devices()) {
        assert!(CudaEngine::on(second, &weights, [4, 8, 15], Grade::Exact).is_err(), "no multiple of the stride");
        let mut engine = CudaEngine::on(device, &weights, [4, 8, 16], Grade::Exact).unwrap();
        let mut logits = vec![0.0; 512];
        assert!(engine.finish(&mut logits).is_err(), "nothing was started");
        assert!(engine.start(&[0.0; 511], None).is_err());
        assert!(engine.start(&[0.0; 512], Some(&[true; 511])).is_err());
        assert!(engine.run(&[0.0; 512], None, &mut logits[1..]).is_err());
        engine.start(&[0.0; 512], None).unwrap();
        assert!(engine.start(&[0.0; 512], None).is_err(), "a pass is under way");
        engine.finish(&mut logits).unwrap();
    }
}

/// What a device may refuse, and at which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Memory ends after so many allocations.
    Memory(usize),
    /// The pass cannot be prepared.
    Prepare,
    /// No pass can be started.
    Start,
    /// A pass that was started fails.
    Wait,
}

/// A device that fails as it is told to, as a GPU may.
struct Faulty {
    inner: Box<dyn CudaDevice>,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Fault {
    fn error(self) -> Error {
        Error::Device(format!("injected: {self:?}"))
    }
}

fn fails(fault: &Mutex<Option<Fault>>, at: Fault) -> Result<()> {
    if *fault.lock().unwrap() == Some(at) { Err(at.error()) } else { Ok(()) }
}

impl CudaDevice for Faulty {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn capability(&self) -> (u32, u32) {
        self.inner.capability()
    }

    fn processors(&self) -> usize {
        self.inner.processors()
    }

    fn tensor_map(&self, tensor: &Tensor) -> Result<TensorMap> {
        self.inner.tensor_map(tensor)
    }

    fn allocate(&mut self, bytes: usize) -> Result<Region> {
        if let Some(Fault::Memory(left)) = &mut *self.fault.lock().unwrap() {
            *left = left.checked_sub(1).ok_or_else(|| Fault::Memory(0).error())?;
        }
        self.inner.allocate(bytes)
    }

    fn upload(&mut self, region: Region, data: &[u8]) -> Result<()> {
        self.inner.upload(region, data)
    }

    fn download(&mut self, region: Region, data: &mut [u8]) -> Result<()> {
        self.inner.download(region, data)
    }

    unsafe fn launch(&mut self, launch: &Launch) -> Result<()> {
        // SAFETY: as the caller says.
        unsafe { self.inner.launch(launch) }
    }

    unsafe fn prepare(&mut self, pass: &Pass) -> Result<Box<dyn Prepared>> {
        fails(&self.fault, Fault::Prepare)?;
        // SAFETY: as the caller says.
        let inner = unsafe { self.inner.prepare(pass)? };
        Ok(Box::new(FaultyPass { inner, fault: self.fault.clone() }))
    }
}

struct FaultyPass {
    inner: Box<dyn Prepared>,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Prepared for FaultyPass {
    fn input(&mut self, n: usize) -> &mut [u8] {
        self.inner.input(n)
    }

    fn start(&mut self) -> Result<()> {
        fails(&self.fault, Fault::Start)?;
        self.inner.start()
    }

    fn wait(&mut self) -> Result<()> {
        self.inner.wait()?;
        fails(&self.fault, Fault::Wait)
    }

    fn output(&self, n: usize) -> &[u8] {
        self.inner.output(n)
    }
}

#[test]
fn what_the_device_reports_reaches_the_caller() {
    let shape = [4, 8, 16];
    let weights = Weights::generate(&small([3; 3], [2; 3], Activation::Relu), "faults").unwrap();
    let input = generate::ct_input("faults", shape);
    for (grade, number) in [Grade::Exact, Grade::Fast].into_iter().flat_map(|grade| (0..devices().len()).map(move |n| (grade, n)))
    {
        let load = |fault: Option<Fault>| {
            let fault = Arc::new(Mutex::new(fault));
            let device = Faulty { inner: devices().swap_remove(number), fault: fault.clone() };
            CudaEngine::on(Box::new(device), &weights, shape, grade).map(|engine| (engine, fault))
        };
        // Memory that ends anywhere is an error, until there is enough.
        let enough = (0..1000).find(|&count| match load(Some(Fault::Memory(count))) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.to_string(), "injected: Memory(0)");
                false
            }
        });
        assert!(enough.is_some_and(|count| count > 10), "{enough:?} allocations");
        assert_eq!(load(Some(Fault::Prepare)).err().unwrap().to_string(), "injected: Prepare");

        let (mut engine, fault) = load(None).unwrap();
        let mut expected = vec![0.0; input.len()];
        engine.run(&input, None, &mut expected).unwrap();
        for failure in [Fault::Start, Fault::Wait] {
            let mut logits = vec![0.0; input.len()];
            *fault.lock().unwrap() = Some(failure);
            // As often as it is tried: nothing panics, nothing is left under way.
            for _ in 0..2 {
                assert_eq!(engine.run(&input, None, &mut logits).unwrap_err().to_string(), format!("injected: {failure:?}"));
            }
            // Where the device works again, so does the engine.
            *fault.lock().unwrap() = None;
            engine.run(&input, None, &mut logits).unwrap();
            assert_eq!(logits, expected);
        }
    }
}

#[test]
fn engines_of_one_process_do_not_disturb_one_another() {
    let shape = [4, 8, 16];
    let weights = Weights::generate(&small([3; 3], [2; 3], Activation::Relu), "several").unwrap();
    let inputs: Vec<Vec<f32>> = (0..4).map(|n| generate::ct_input(&format!("several {n}"), shape)).collect();
    for number in 0..devices().len() {
        let load = || CudaEngine::on(devices().swap_remove(number), &weights, shape, Grade::Fast).unwrap();
        let run = |engine: &mut CudaEngine, input: &[f32]| {
            let mut logits = vec![0.0; input.len()];
            engine.run(input, None, &mut logits).map(|()| logits).unwrap()
        };
        let mut alone = load();
        let expected: Vec<Vec<f32>> = inputs.iter().map(|input| run(&mut alone, input)).collect();
        // Two that take turns, each pass started before the one before it is finished.
        let mut pair = [load(), load()];
        let mut found = vec![vec![0.0; inputs[0].len()]; inputs.len()];
        for n in 0..=inputs.len() {
            if let Some(input) = inputs.get(n) {
                pair[n % 2].start(input, None).unwrap();
            }
            if n > 0 {
                pair[(n - 1) % 2].finish(&mut found[n - 1]).unwrap();
            }
        }
        assert_eq!(found, expected);
        // On threads of their own.
        std::thread::scope(|scope| {
            let threads: Vec<_> = inputs.iter().map(|input| scope.spawn(|| run(&mut load(), input))).collect();
            let found: Vec<Vec<f32>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert_eq!(found, expected);
        });
    }
}

/// The reference outputs; the emulated device does those that take it seconds, or all where ICHOR_EMULATE_ALL is set.
#[test]
fn reference_outputs() {
    for case in support::oracle::cases() {
        let (weights, input) = (case.weights(), case.input());
        for (grade, tolerance) in [(Grade::Exact, EXACT_TOLERANCE), (Grade::Fast, FAST_TOLERANCE)] {
            for device in devices() {
                let emulated = device.name().starts_with("emulated");
                if emulated && case.file != support::oracle::SMALLEST && std::env::var_os("ICHOR_EMULATE_ALL").is_none() {
                    continue;
                }
                let mut engine = CudaEngine::on(device, &weights, case.shape, grade).unwrap();
                let mut logits = vec![0.0; input.len()];
                let begin = std::time::Instant::now();
                engine.run(&input, None, &mut logits).unwrap();
                println!("{} {grade:?}: {:?}", case.file, begin.elapsed());
                let moved = case.check(&format!("{grade:?} on {}", engine.device()), &logits, tolerance);
                assert!(grade == Grade::Exact || moved as f64 <= FAST_MOVED * input.len() as f64, "{}: {moved}", case.file);
            }
        }
    }
}
