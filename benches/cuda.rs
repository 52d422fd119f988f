//! The CUDA engine on the released network: a table of every kernel in its place in a pass, with the bound that it has and the share that it
//! reaches; whole passes; each layer by itself in every way that it can be computed; and passes and kernels under
//! criterion. All times are the GPU's own, by CUDA events.
//!
//! `cargo bench --bench cuda`; ICHOR_GPU=N takes another GPU than the first, ICHOR_SIZE=D,H,W another grid than 128,128,128. On a machine where no
//! GPU can be used it says why and does nothing. In builds with the feature `emulator`, ICHOR_GPU=emulated runs it on the emulated device, to
//! see that it works, with a narrow network and few passes: its times are the host's, and say nothing about a GPU.

use criterion::Criterion;
use ichor::network::cuda::device::{CudaDevice, Launch, Pass, Prepared, Region, Tensor, TensorMap};
use ichor::network::cuda::driver::{Gpu, Limits};
use ichor::network::cuda::{CudaEngine, Grade};
#[cfg(feature = "emulator")]
use ichor::network::emulator::Emulator;
use ichor::network::plan::{Layer, Plan, Step};
use ichor::network::problem::{Backend, Problem};
use ichor::network::weights::{Weights, generate};
use ichor::network::{BufferId, Description, LoadedNetwork as _};
use ichor::network::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What is measured: a GPU, or the emulated device.
enum Unit {
    Gpu(Gpu),
    #[cfg(feature = "emulator")]
    Emulated(Emulator),
}

/// A point in a unit's work.
enum Mark {
    Gpu(ichor::network::cuda::driver::Mark),
    #[cfg(feature = "emulator")]
    Emulated(std::time::Instant),
}

impl Unit {
    fn open(name: &str) -> Result<Unit> {
        #[cfg(feature = "emulator")]
        if name == "emulated" {
            return Ok(Unit::Emulated(Emulator::new(1)));
        }
        let ordinal = name.parse().map_err(|_| Error::Device(format!("ICHOR_GPU is the number of a GPU, not {name:?}")))?;
        Ok(Unit::Gpu(Gpu::new(ordinal)?))
    }

    fn device(&mut self) -> &mut dyn CudaDevice {
        match self {
            Unit::Gpu(gpu) => gpu,
            #[cfg(feature = "emulator")]
            Unit::Emulated(emulator) => emulator,
        }
    }

    /// The network, and the passes for the table.
    fn workload(&self) -> (Description, usize) {
        match self {
            Unit::Gpu(_) => (Description::deepbleed(), 20),
            #[cfg(feature = "emulator")]
            Unit::Emulated(_) => {
                let (widths, up_widths) = (vec![4, 8, 8, 8, 8], vec![16, 16, 16, 8]);
                (Description { widths, up_widths, ..Description::deepbleed() }, 2)
            }
        }
    }

    fn mark(&self) -> Result<Mark> {
        match self {
            Unit::Gpu(gpu) => Ok(Mark::Gpu(gpu.mark()?)),
            #[cfg(feature = "emulator")]
            Unit::Emulated(_) => Ok(Mark::Emulated(std::time::Instant::now())),
        }
    }

    /// What the unit can do at most; of the emulated device nothing is known.
    fn limits(&self) -> Result<Option<Limits>> {
        match self {
            Unit::Gpu(gpu) => gpu.limits().map(Some),
            #[cfg(feature = "emulator")]
            Unit::Emulated(_) => Ok(None),
        }
    }
}

impl Mark {
    fn seconds_until(&self, later: &Mark) -> Result<f64> {
        match (self, later) {
            (Mark::Gpu(from), Mark::Gpu(to)) => from.seconds_until(to),
            #[cfg(feature = "emulator")]
            (Mark::Emulated(from), Mark::Emulated(to)) => Ok(to.duration_since(*from).as_secs_f64()),
            #[cfg(feature = "emulator")]
            _ => Err(Error::Device("two marks of different devices".into())),
        }
    }
}

/// A device that keeps what an engine prepares on it, and times the passes that the engine runs.
#[derive(Clone)]
struct Probe {
    unit: Arc<Mutex<Unit>>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// The pass that was prepared last: that of the engine's grade.
    pass: Pass,
    /// Before and after the pass that was started last.
    marks: Option<[Mark; 2]>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no other thread uses the probe")
}

impl CudaDevice for Probe {
    fn name(&self) -> String {
        lock(&self.unit).device().name()
    }

    fn capability(&self) -> (u32, u32) {
        lock(&self.unit).device().capability()
    }

    fn processors(&self) -> usize {
        lock(&self.unit).device().processors()
    }

    fn tensor_map(&self, tensor: &Tensor) -> Result<TensorMap> {
        lock(&self.unit).device().tensor_map(tensor)
    }

    fn allocate(&mut self, bytes: usize) -> Result<Region> {
        lock(&self.unit).device().allocate(bytes)
    }

    fn upload(&mut self, region: Region, data: &[u8]) -> Result<()> {
        lock(&self.unit).device().upload(region, data)
    }

    fn download(&mut self, region: Region, data: &mut [u8]) -> Result<()> {
        lock(&self.unit).device().download(region, data)
    }

    unsafe fn launch(&mut self, launch: &Launch) -> Result<()> {
        // SAFETY: as the caller says.
        unsafe { lock(&self.unit).device().launch(launch) }
    }

    unsafe fn prepare(&mut self, pass: &Pass) -> Result<Box<dyn Prepared>> {
        lock(&self.seen).pass = pass.clone();
        // SAFETY: as the caller says.
        let inner = unsafe { lock(&self.unit).device().prepare(pass)? };
        Ok(Box::new(TimedPass { inner, probe: self.clone() }))
    }
}

struct TimedPass {
    inner: Box<dyn Prepared>,
    probe: Probe,
}

impl Prepared for TimedPass {
    fn input(&mut self, n: usize) -> &mut [u8] {
        self.inner.input(n)
    }

    fn start(&mut self) -> Result<()> {
        let before = lock(&self.probe.unit).mark()?;
        self.inner.start()?;
        let after = lock(&self.probe.unit).mark()?;
        lock(&self.probe.seen).marks = Some([before, after]);
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        self.inner.wait()
    }

    fn output(&self, n: usize) -> &[u8] {
        self.inner.output(n)
    }
}

/// An engine of one grade on a probe.
struct Bench {
    probe: Probe,
    engine: CudaEngine,
    plan: Plan,
    grade: Grade,
    /// Passes for the table.
    passes: usize,
    input: Vec<f32>,
    mask: Vec<bool>,
    logits: Vec<f32>,
    /// The kernels alone, without the copies in and out: on the unit's memory as the last whole pass left it.
    kernels: Box<dyn Prepared>,
    pass: Pass,
}

impl Bench {
    fn new(probe: &Probe, weights: &Weights, shape: [usize; 3], grade: Grade, passes: usize) -> Result<Bench> {
        let mut engine = CudaEngine::on(Box::new(probe.clone()), weights, shape, grade)?;
        let pass = lock(&probe.seen).pass.clone();
        let input = generate::ct_input("bench", shape);
        let mask = input.iter().map(|&hu| hu != 0.0).collect();
        let mut logits = vec![0.0; input.len()];
        engine.run(&input, None, &mut logits)?;
        let alone = Pass { launches: pass.launches.clone(), ..Pass::default() };
        // SAFETY: the engine's own launches, on memory that lives as long as its device.
        let kernels = unsafe { probe.clone().prepare(&alone)? };
        let plan = Plan::new(weights.description(), shape)?;
        Ok(Bench { probe: probe.clone(), engine, plan, grade, passes, input, mask, logits, kernels, pass })
    }

    /// Seconds of the pass that was started last.
    fn seconds(&self) -> Result<f64> {
        match &lock(&self.probe.seen).marks {
            Some([before, after]) => before.seconds_until(after),
            None => Err(Error::Device("no pass was started".into())),
        }
    }

    /// Seconds of a pass from the copy in to the copy out.
    fn whole(&mut self, masked: bool) -> Result<f64> {
        let mask = masked.then_some(self.mask.as_slice());
        self.engine.run(&self.input, mask, &mut self.logits)?;
        self.seconds()
    }

    /// Seconds of a pass's kernels.
    fn kernels(&mut self) -> Result<f64> {
        self.kernels.start()?;
        self.kernels.wait()?;
        self.seconds()
    }

    /// Seconds of each launch within a pass, with inputs and weights as cold as they really are.
    fn launches(&mut self) -> Result<Vec<f64>> {
        let mut unit = lock(&self.probe.unit);
        let mut marks = vec![unit.mark()?];
        for launch in &self.pass.launches {
            // SAFETY: the engine's own launches, on memory that lives as long as its device.
            unsafe { unit.device().launch(launch)? };
            marks.push(unit.mark()?);
        }
        marks.windows(2).map(|pair| pair[0].seconds_until(&pair[1])).collect()
    }

    /// The step of the plan that each launch belongs to. A step begins with a kernel of its name; what follows with another name
    /// finishes it.
    fn steps(&self) -> Vec<usize> {
        let mut next = 0;
        let steps = self.pass.launches.iter().map(|launch| {
            let begins = match self.plan.steps.get(next) {
                Some(Step::Input { .. }) => launch.kernel.starts_with("input_") || launch.kernel.starts_with("conv_"),
                Some(Step::Conv { .. }) => launch.kernel.starts_with("conv_"),
                Some(Step::Down { .. }) => launch.kernel.starts_with("down_"),
                Some(Step::Up { .. }) => launch.kernel.starts_with("up_"),
                Some(Step::Head { .. }) => launch.kernel.starts_with("head_"),
                None => false,
            };
            next += usize::from(begins);
            next - 1
        });
        let steps: Vec<usize> = steps.collect();
        assert_eq!(steps.last().map(|last| last + 1), Some(self.plan.steps.len()), "every step has its launches");
        steps
    }

    /// Bytes that a step must move if it reads and writes everything once: activations, weights in the storage of activations.
    fn bytes(&self, step: &Step) -> u64 {
        let size = if self.grade == Grade::Exact { 4 } else { 2 };
        let voxels = |id: BufferId| self.plan.buffers[id].shape.iter().product::<usize>();
        let values = |id: BufferId| self.plan.buffers[id].channels * voxels(id);
        let weights = |layer: &Layer| layer.kernel.iter().product::<usize>() * layer.inputs * layer.outputs;
        let grid = self.plan.shape.iter().product::<usize>();
        let bytes = match step {
            Step::Input { layer, output } => 4 * grid + size * (values(*output) + weights(layer)),
            Step::Down { layer, input, output } => size * (values(*input) + values(*output) + weights(layer)),
            Step::Up { layer, input, output, .. } => size * (values(*input) + layer.outputs * voxels(*output) + weights(layer)),
            Step::Conv { layer, input, residual, output } => {
                size * (values(*input) + residual.map_or(0, values) + values(*output) + weights(layer))
            }
            Step::Head { input, .. } => size * values(*input) + 4 * grid,
        };
        bytes as u64
    }

    /// Seconds that a step takes at least, and what takes them.
    fn bound(&self, step: &Step, limits: &Limits) -> (f64, &'static str) {
        let tensor = self.grade == Grade::Fast && !matches!(step, Step::Head { .. });
        let (peak, pipe) = if tensor { (limits.tensor, "tensor") } else { (limits.fma, "fma") };
        let work = self.plan.flop(step) as f64 / peak;
        let memory = self.bytes(step) as f64 / limits.bandwidth;
        if work > memory { (work, pipe) } else { (memory, "memory") }
    }

    /// Prints whole passes and each step with its bound.
    fn table(&mut self) -> Result<()> {
        let (name, limits) = {
            let mut unit = lock(&self.probe.unit);
            (unit.device().name(), unit.limits()?)
        };
        println!("\n## {name}, {:?}, {:?} grade, {} passes\n", self.plan.shape, self.grade, self.passes);
        if let Some(limits) = &limits {
            println!(
                "limits by its clocks: {:.1} TFLOP/s f32, {:.0} TFLOP/s f16 on tensor cores, {:.2} TB/s\n",
                limits.fma / 1e12,
                limits.tensor / 1e12,
                limits.bandwidth / 1e12
            );
        }
        let flop: u64 = self.plan.steps.iter().map(|step| self.plan.flop(step)).sum();
        println!("| pass | best ms | median ms | GFLOP/s dense-equivalent |\n|---|---|---|---|");
        let mut pass = |what: &str, one: &mut dyn FnMut(&mut Bench) -> Result<f64>| -> Result<()> {
            let mut seconds = (0..self.passes).map(|_| one(self)).collect::<Result<Vec<f64>>>()?;
            seconds.sort_by(f64::total_cmp);
            let (best, median) = (seconds[0], seconds[self.passes / 2]);
            println!("| {what} | {:.3} | {:.3} | {:.0} |", 1e3 * best, 1e3 * median, flop as f64 / median / 1e9);
            Ok(())
        };
        pass("masked, with copies", &mut |bench| bench.whole(true))?;
        pass("dense, with copies", &mut |bench| bench.whole(false))?;
        pass("dense, kernels alone", &mut |bench| bench.kernels())?;

        let rounds = (0..self.passes).map(|_| self.launches()).collect::<Result<Vec<_>>>()?;
        let mut seconds = vec![0.0; self.plan.steps.len()];
        let mut kernels = vec![Vec::new(); self.plan.steps.len()];
        let mut by_kernel: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
        for (launch, step) in self.steps().into_iter().enumerate() {
            let mut times: Vec<f64> = rounds.iter().map(|round| round[launch]).collect();
            times.sort_by(f64::total_cmp);
            let (kernel, time) = (self.pass.launches[launch].kernel, times[self.passes / 2]);
            seconds[step] += time;
            kernels[step].push(kernel);
            let (count, total) = by_kernel.entry(kernel).or_default();
            (*count, *total) = (*count + 1, *total + time);
        }
        println!(
            "\n| layer | kernels | GFLOP | MB | us | GFLOP/s | GB/s | bound us | by | share |\n|---|---|---|---|---|---|---|---|---|---|"
        );
        for (number, step) in self.plan.steps.iter().enumerate() {
            let (flop, bytes, seconds) = (self.plan.flop(step) as f64, self.bytes(step) as f64, seconds[number]);
            let bound = limits.as_ref().map_or("| | ".into(), |limits| {
                let (least, pipe) = self.bound(step, limits);
                format!("{:.1} | {pipe} | {:.0}%", 1e6 * least, 100.0 * least / seconds)
            });
            println!(
                "| {} | {} | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} | {bound} |",
                step.name(),
                kernels[number].join(", "),
                flop / 1e9,
                bytes / 1e6,
                1e6 * seconds,
                flop / seconds / 1e9,
                bytes / seconds / 1e9
            );
        }
        // `scripts/sass-report --measured` reads this one.
        println!("\n| kernel | launches | us |\n|---|---|---|");
        for (kernel, (count, seconds)) in by_kernel {
            println!("| {kernel} | {count} | {:.1} |", 1e6 * seconds);
        }
        Ok(())
    }

    /// The same under criterion.
    fn criterion(&mut self, criterion: &mut Criterion) {
        let grade = format!("{:?}", self.grade).to_lowercase();
        let timed = |passes: u64, one: &mut dyn FnMut() -> Result<f64>| {
            let total: f64 = (0..passes).map(|_| one().unwrap_or_else(|error| panic!("{error}"))).sum();
            Duration::from_secs_f64(total).max(Duration::from_nanos(1))
        };
        let mut group = criterion.benchmark_group(format!("{grade}/pass"));
        group.sample_size(10);
        group.bench_function("masked", |b| b.iter_custom(|passes| timed(passes, &mut || self.whole(true))));
        group.bench_function("dense", |b| b.iter_custom(|passes| timed(passes, &mut || self.whole(false))));
        group.bench_function("kernels", |b| b.iter_custom(|passes| timed(passes, &mut || self.kernels())));
        group.finish();
        let mut group = criterion.benchmark_group(format!("{grade}/kernel"));
        group.sample_size(10);
        for (launch, step) in self.steps().into_iter().enumerate() {
            let name = format!("{launch:02} {} {}", self.plan.steps[step].name(), self.pass.launches[launch].kernel);
            group.bench_function(name, |b| b.iter_custom(|passes| timed(passes, &mut || Ok(self.launches()?[launch]))));
        }
        group.finish();
    }
}

/// Prints the best time of each layer by itself, in every way that the grade has. Each has a device of its own, which
/// gives its memory back.
fn alone(name: &str, plan: &Plan, grade: Grade, passes: usize) -> Result<()> {
    println!("\n| layer by itself | way | best us | GFLOP/s | the engine's |\n|---|---|---|---|---|");
    for (number, step) in plan.steps.iter().enumerate() {
        if plan.steps[..number].iter().any(|before| before.name() == step.name()) {
            continue;
        }
        let problem = Problem::of_step(plan, step, 1).rounded();
        let probe = Probe { unit: Arc::new(Mutex::new(Unit::open(name)?)), seen: Arc::default() };
        let mut backend = Backend::Cuda(Box::new(probe.clone()), grade);
        let best = problem.best_way(&backend);
        let mut ways = problem.ways(&backend);
        if !ways.contains(&best) {
            ways.push(best);
        }
        for way in ways {
            let mut prepared = problem.prepare(&mut backend, way, None)?;
            let mut seconds = f64::INFINITY;
            for _ in 0..=passes {
                let before = lock(&probe.unit).mark()?;
                prepared.launch()?;
                let after = lock(&probe.unit).mark()?;
                seconds = seconds.min(before.seconds_until(&after)?);
            }
            let (us, rate, mark) = (1e6 * seconds, problem.flop() as f64 / seconds / 1e9, if way == best { "yes" } else { "" });
            println!("| {} | {way:?} | {us:.1} | {rate:.0} | {mark} |", step.name());
        }
    }
    Ok(())
}

fn shape() -> Result<[usize; 3]> {
    let Ok(text) = std::env::var("ICHOR_SIZE") else { return Ok([128; 3]) };
    let sides: Vec<usize> = text.split(',').map_while(|side| side.parse().ok()).collect();
    sides.try_into().map_err(|_| Error::Shape(format!("ICHOR_SIZE is D,H,W, not {text:?}")))
}

fn main() -> Result<()> {
    let name = std::env::var("ICHOR_GPU").unwrap_or_else(|_| "0".into());
    let unit = match Unit::open(&name) {
        Ok(unit) => unit,
        Err(reason) => {
            println!("nothing is measured: {reason}");
            return Ok(());
        }
    };
    let (description, passes) = unit.workload();
    let probe = Probe { unit: Arc::new(Mutex::new(unit)), seen: Arc::default() };
    let weights = Weights::generate(&description, "bench")?;
    // Some 60 kernels, each within whole passes: a second for each is enough.
    let quick = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let mut criterion = quick.configure_from_args();
    for grade in [Grade::Fast, Grade::Exact] {
        let mut bench = Bench::new(&probe, &weights, shape()?, grade, passes)?;
        bench.table()?;
        alone(&name, &bench.plan, grade, passes)?;
        bench.criterion(&mut criterion);
    }
    criterion.final_summary();
    Ok(())
}
