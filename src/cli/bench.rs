//! `ichor bench`

use super::{load_weights, peak_resident_bytes, with_threads};
use crate::cli::arguments::Bench;
use crate::cli::talk::{self, say};
use ichor::io::mask;
use ichor::network::Plan;
use ichor::network::weights::generate;
use ichor::scan::space;
use ichor::words::counted;
use ichor::{Error, Result};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Serialize)]
struct Figures {
    weights: String,
    device: String,
    threads: usize,
    size: [usize; 3],
    mask_share: Option<f64>,
    gflop: f64,
    load_seconds: f64,
    seconds: Vec<f64>,
    median_seconds: f64,
    dense_gflop_per_second: f64,
    peak_resident_bytes: Option<u64>,
    ichor_version: &'static str,
}

pub fn run(arguments: &Bench) -> Result<ExitCode> {
    let figures = with_threads(arguments.run.threads, |threads| measure(arguments, threads))??;
    if arguments.json {
        talk::lines(&serde_json::to_string_pretty(&figures).expect("figures are numbers and text"));
        return Ok(ExitCode::SUCCESS);
    }
    say!("{} on {}, {}", figures.weights, figures.device, counted(figures.threads, "thread"));
    say!("grid {:?}, {:.1} GFLOP dense, loaded in {:.3} s", figures.size, figures.gflop, figures.load_seconds);
    if let Some(share) = figures.mask_share {
        say!("the answer inside a mask of {:.1}% of the grid", 100.0 * share);
    }
    say!(
        "{}, median {:.4} s: {:.1} GFLOP/s dense-equivalent",
        counted(figures.seconds.len(), "pass"),
        figures.median_seconds,
        figures.dense_gflop_per_second
    );
    if let Some(bytes) = figures.peak_resident_bytes {
        say!("peak resident {:.0} MB", bytes as f64 / 1e6);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(arguments: &Bench, threads: usize) -> Result<Figures> {
    let weights = load_weights(arguments.weights.weights.as_deref())?;
    let size = arguments.size;
    let plan = Plan::new(weights.description(), size)?;
    let mask = match &arguments.mask {
        Some(path) => {
            let mask = mask::read_brain(path)?;
            if mask.grid().shape != size {
                let problem = format!("the mask has {:?} voxels, the passes {size:?}: give --size the mask's", mask.grid().shape);
                return Err(Error::Scan { path: path.clone(), problem });
            }
            Some(space::to_network(&mask))
        }
        None => None,
    };
    let start = Instant::now();
    let mut engine = arguments.run.device.load(&weights, size, threads, arguments.run.grade.into())?;
    let load_seconds = start.elapsed().as_secs_f64();

    log::debug!("{}: loaded in {load_seconds:.3} s", engine.device());
    let mut input = generate::ct_input("bench", size);
    let mask: Option<Vec<bool>> = mask.map(|mask| mask.into_iter().collect());
    if let Some(mask) = &mask {
        // As the pipeline makes it: nothing outside the brain.
        input.iter_mut().zip(mask).filter(|(_, inside)| !**inside).for_each(|(hu, _)| *hu = 0.0);
    }
    let mut logits = vec![0.0; input.len()];
    engine.run(&input, mask.as_deref(), &mut logits)?;
    let mut seconds = Vec::new();
    for _ in 0..arguments.repeat {
        let start = Instant::now();
        engine.run(&input, mask.as_deref(), &mut logits)?;
        let taken = start.elapsed().as_secs_f64();
        log::debug!("pass {} of {}: {taken:.4} s", seconds.len() + 1, arguments.repeat);
        seconds.push(taken);
    }
    let mut sorted = seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let median_seconds = sorted[sorted.len() / 2];
    let gflop = plan.steps.iter().map(|step| plan.flop(step)).sum::<u64>() as f64 / 1e9;
    Ok(Figures {
        weights: weights.name().into(),
        device: engine.device(),
        threads,
        size,
        mask_share: mask.map(|mask| mask.iter().filter(|&&inside| inside).count() as f64 / mask.len() as f64),
        gflop,
        load_seconds,
        seconds,
        median_seconds,
        dense_gflop_per_second: gflop / median_seconds,
        peak_resident_bytes: peak_resident_bytes(),
        ichor_version: env!("CARGO_PKG_VERSION"),
    })
}
