//! The CPU engine on the released network at 128x128x128: a table of each layer by itself in every way that it can be
//! computed, one of all layers within a pass, then the whole pass and each layer under criterion.
//!
//! `cargo bench --bench cpu`; ICHOR_INSTRUCTIONS=avx2 (or portable) forces a set of instructions, ICHOR_THREADS a number of threads.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ichor::network::cpu::{CpuEngine, CpuOptions, Instructions};
use ichor::network::plan::Plan;
use ichor::network::problem::{Backend, Prepared, Problem, Way};
use ichor::network::weights::{Weights, generate};
use ichor::network::{Description, LoadedNetwork as _};
use std::hint::black_box;
use std::time::{Duration, Instant};

const SHAPE: [usize; 3] = [128; 3];
/// The grid of a network whose layers are measured by themselves.
const SMALL: [usize; 3] = [64; 3];
/// Passes for the table.
const PASSES: usize = 15;

fn engine() -> CpuEngine {
    let weights = Weights::generate(&Description::deepbleed(), "bench").expect("the released network's description is valid");
    let variable = |name| std::env::var(name).ok();
    let options = CpuOptions {
        threads: variable("ICHOR_THREADS").map(|n| n.parse().expect("ICHOR_THREADS is a number above 0")),
        instructions: variable("ICHOR_INSTRUCTIONS")
            .map(|name| name.parse::<Instructions>().expect("ICHOR_INSTRUCTIONS is known")),
    };
    CpuEngine::with_options(&weights, SHAPE, &options).expect("there is memory for the released network")
}

/// Most floating-point operations a second of one thread: independent fused multiply-adds on registers alone.
fn peak(instructions: Instructions) -> Option<f64> {
    let once = || match instructions {
        // SAFETY: the engine uses these instructions, so the processor has them.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => Some(unsafe { x86::multiply_adds_512() }),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => Some(unsafe { x86::multiply_adds_256() }),
        _ => None,
    };
    let timed = || {
        let begin = Instant::now();
        once().map(|flop| flop / begin.elapsed().as_secs_f64())
    };
    (0..20).map(|_| timed()).fold(None, |best, new| best.max_by(new))
}

trait MaxBy {
    fn max_by(self, other: Self) -> Self;
}

impl MaxBy for Option<f64> {
    fn max_by(self, other: Self) -> Self {
        [self, other].into_iter().flatten().reduce(f64::max)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::black_box;
    use std::arch::x86_64::*;

    const ROUNDS: usize = 1_000_000;

    #[target_feature(enable = "avx512f")]
    pub fn multiply_adds_512() -> f64 {
        let factor = _mm512_set1_ps(black_box(0.999));
        let mut sums = [factor; 16];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
        (ROUNDS * 16 * 16 * 2) as f64
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn multiply_adds_256() -> f64 {
        let factor = _mm256_set1_ps(black_box(0.999));
        let mut sums = [factor; 12];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
        (ROUNDS * 12 * 8 * 2) as f64
    }
}

/// Prints each step's best time of several passes, with the operations a second that it stands for and that it really does, both counted for a
/// dense pass.
fn table(engine: &mut CpuEngine, input: &[f32], needed: Option<&[bool]>, logits: &mut [f32]) {
    let mut best = vec![f64::INFINITY; engine.plan().steps.len()];
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let begin = Instant::now();
        engine.run(input, needed, logits).expect("input and logits have the engine's size");
        passes.push(begin.elapsed().as_secs_f64());
        best.iter_mut().zip(engine.step_seconds()).for_each(|(best, new)| *best = best.min(*new));
    }
    passes.sort_by(f64::total_cmp);
    let peak = peak(engine.instructions()).map(|peak| peak * engine.threads() as f64);
    println!(
        "{}, {}: best pass {:.4} s, median {:.4} s",
        engine.device(),
        if needed.is_some() { "masked" } else { "dense" },
        passes[0],
        passes[PASSES / 2]
    );
    if let Some(peak) = peak {
        println!(
            "peak of {} threads {:.0} GFLOP/s (multiply-adds on registers, one thread measured)",
            engine.threads(),
            peak / 1e9
        );
    }
    println!(
        "| layer | GFLOP | ms | GFLOP/s dense-equivalent | GFLOP/s of matrix products | share of peak |\n|---|---|---|---|---|---|"
    );
    let products = engine.product_flop();
    for ((step, &seconds), products) in engine.plan().steps.iter().zip(&best).zip(products) {
        // What is done along with another step leaves next to nothing of its own.
        if seconds < 3e-4 && products.is_none() {
            println!("| {} | {:.1} | within another layer | | | |", step.name(), engine.plan().flop(step) as f64 / 1e9);
            continue;
        }
        let flop = engine.plan().flop(step) as f64;
        let real = products.map_or(flop, |products| products as f64);
        let share = peak.map_or("".into(), |peak| format!("{:.0}%", 100.0 * real / seconds / peak));
        let rate = |flop: f64| format!("{:.0}", flop / seconds / 1e9);
        println!("| {} | {:.1} | {:.2} | {} | {} | {share} |", step.name(), flop / 1e9, 1e3 * seconds, rate(flop), rate(real));
    }
}

/// Launches of a layer by itself.
const LAUNCHES: usize = 3;

/// Prints the best time of each layer by itself, on one thread and a grid of [`SMALL`], in every way that there is.
fn alone(description: &Description, instructions: Instructions) {
    let plan = Plan::new(description, SMALL).expect("the released network takes the grid");
    println!("\neach layer by itself, {instructions}, 1 thread, {SMALL:?}");
    println!("| layer | way | ms | GFLOP/s dense-equivalent | the engine's |\n|---|---|---|---|---|");
    let mut backend = Backend::Cpu(instructions);
    for (number, step) in plan.steps.iter().enumerate() {
        if plan.steps[..number].iter().any(|before| before.name() == step.name()) {
            continue;
        }
        let problem = Problem::of_step(&plan, step, 1);
        let best = problem.best_way(&backend);
        // Small batches are for tests.
        let ways = problem.ways(&backend).into_iter().filter(|way| !matches!(way, Way::Transforms { batch: Some(_), .. }));
        for way in ways {
            let mut prepared = problem.prepare(&mut backend, way, None).expect("there is memory for a layer");
            let seconds = fastest(prepared.as_mut());
            let (ms, rate, mark) = (1e3 * seconds, problem.flop() as f64 / seconds / 1e9, if way == best { "yes" } else { "" });
            println!("| {} | {way:?} | {ms:.2} | {rate:.0} | {mark} |", step.name());
        }
    }
}

fn fastest(prepared: &mut dyn Prepared) -> f64 {
    let launch = |_| {
        let begin = Instant::now();
        prepared.launch().expect("a prepared layer can be launched");
        begin.elapsed().as_secs_f64()
    };
    (0..=LAUNCHES).map(launch).fold(f64::INFINITY, f64::min)
}

fn benches(c: &mut Criterion) {
    let mut engine = engine();
    alone(&engine.plan().description, engine.instructions());
    let input = generate::ct_input("bench", SHAPE);
    let mask: Vec<bool> = input.iter().map(|&hu| hu != 0.0).collect();
    let mut logits = vec![0.0; input.len()];
    table(&mut engine, &input, None, &mut logits);
    table(&mut engine, &input, Some(&mask), &mut logits);
    let steps: Vec<(String, u64)> = {
        let plan: &Plan = engine.plan();
        plan.steps.iter().enumerate().map(|(n, step)| (format!("{n:02} {}", step.name()), plan.flop(step))).collect()
    };

    let mut group = c.benchmark_group("pass");
    group.sample_size(10).throughput(Throughput::Elements(steps.iter().map(|s| s.1).sum()));
    group.bench_function("dense", |b| b.iter(|| engine.run(&input, None, &mut logits)));
    group.bench_function("masked", |b| b.iter(|| engine.run(&input, Some(&mask), &mut logits)));
    group.finish();

    let mut group = c.benchmark_group("layer");
    group.sample_size(10);
    for (number, (name, flop)) in steps.iter().enumerate() {
        group.throughput(Throughput::Elements(*flop));
        // A layer is timed within whole passes: that is where its weights and inputs are as cold as they really are.
        group.bench_function(name, |b| {
            b.iter_custom(|passes| {
                let mut total = Duration::ZERO;
                for _ in 0..passes {
                    engine.run(&input, None, &mut logits).expect("input and logits have the engine's size");
                    // Steps that are done along with another take no time; criterion wants some.
                    total += Duration::from_secs_f64(engine.step_seconds()[number]).max(Duration::from_nanos(1));
                }
                total
            });
        });
    }
    group.finish();
}

criterion_group!(cpu, benches);
criterion_main!(cpu);
