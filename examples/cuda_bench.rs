//! Times whole passes of the released network's form on a CUDA device, both grades, generated weights.
//!
//! usage: cuda_bench cuda[:N]|emulated D,H,W PASSES
//!
//! A pass is timed on the host from the start of the copy in to the end of the copy out: what a caller waits for.

use ichor::cuda::{Device, Engine, Grade, driver::Gpu};
use ichor::network::{Description, Engine as _, Plan};
use ichor::weights::{Weights, generate};
use ichor::{Error, Result};
use std::time::Instant;

fn device(name: &str) -> Result<Box<dyn Device>> {
    #[cfg(feature = "emulator")]
    if name == "emulated" {
        return Ok(Box::new(ichor::emulator::Emulator::new(1)));
    }
    let ordinal = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse().ok()),
        None => None,
    };
    let ordinal = ordinal.ok_or_else(|| Error::Device(format!("{name}: no CUDA device of this build")))?;
    Ok(Box::new(Gpu::new(ordinal)?))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, shape, passes] = arguments.as_slice() else {
        return Err("usage: cuda_bench cuda[:N]|emulated D,H,W PASSES".into());
    };
    let sides = shape.split(',').map(str::parse).collect::<std::result::Result<Vec<usize>, _>>()?;
    let shape: [usize; 3] = sides.try_into().map_err(|_| "the grid is D,H,W")?;
    let passes = passes.parse::<usize>()?.max(1);

    let description = Description::deepbleed();
    let plan = Plan::new(&description, shape)?;
    let flop: u64 = plan.steps.iter().map(|step| plan.flop(step)).sum();
    let weights = Weights::generate(&description, "bench")?;
    let input = generate::ct_input("bench", shape);
    let mask: Vec<bool> = input.iter().map(|hu| *hu > 0.0).collect();
    let mut logits = vec![0.0; input.len()];
    println!("grade\tregion\tms (median of {passes})\tms (least)\tTFLOP/s of the dense network");
    for grade in [Grade::Exact, Grade::Fast] {
        let mut engine = Engine::on(device(name)?, &weights, shape, grade)?;
        for (region, needed) in [("all", None), ("mask", Some(mask.as_slice()))] {
            engine.run(&input, needed, &mut logits)?;
            let mut times = Vec::with_capacity(passes);
            for _ in 0..passes {
                let begin = Instant::now();
                engine.start(&input, needed)?;
                engine.finish(&mut logits)?;
                times.push(begin.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            let median = times[passes / 2];
            println!("{grade:?}\t{region}\t{median:.3}\t{:.3}\t{:.1}", times[0], flop as f64 / median / 1e9);
        }
    }
    Ok(())
}
