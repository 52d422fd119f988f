//! How a service that must answer fast uses the CUDA engine. Two engines take turns: while one computes, the next scan is copied to the other, so that
//! copy-in, pass and copy-out of a row of scans overlap. After the start nothing is allocated on the GPU, and only `finish` waits for it.
//!
//! `cargo run --release --example service` answers eight generated scans with a small generated network on the first GPU; with the feature
//! `emulator`, on the emulated device where no GPU can be used.

use ichor::network::Description;
use ichor::network::Result;
use ichor::network::cuda::{CudaEngine, Grade};
use ichor::network::weights::{Weights, generate};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A real service has the template's grid, 128 voxels a side; this one is small enough for the emulated device.
const SHAPE: [usize; 3] = [16, 16, 32];
const SCANS: usize = 8;

/// A scan in template space as a client sends it: HU, 0 outside the brain, W fastest.
struct Request {
    number: usize,
    scan: Vec<f32>,
    sent: Instant,
}

/// The network's logits, or why there are none.
struct Answer {
    number: usize,
    logits: Result<Vec<f32>>,
    latency: Duration,
}

impl Request {
    fn answer(self, logits: Result<Vec<f32>>) -> Answer {
        Answer { number: self.number, logits, latency: self.sent.elapsed() }
    }
}

/// Answers requests in their order until no more can come. One thread does this for each GPU.
fn serve(mut engines: [CudaEngine; 2], requests: &mpsc::Receiver<Request>, answers: &mpsc::Sender<Answer>) {
    // The pass under way: the engine that does it, and for whom.
    let mut under_way: Option<(usize, Request)> = None;
    loop {
        // An answer that is on its way does not wait for the next request.
        let next = if under_way.is_some() { requests.try_recv().ok() } else { requests.recv().ok() };
        if next.is_none() && under_way.is_none() {
            return;
        }
        let idle = under_way.as_ref().map_or(0, |(busy, _)| 1 - busy);
        let started = next.map(|request| {
            // Copies the scan to pinned memory and returns: the GPU does the rest after the pass that is under way, or beside it.
            let outcome = engines[idle].start(&request.scan, None);
            (request, outcome)
        });
        // A client that does not wait for its answer any more is none of our business: `send` may fail.
        if let Some((busy, request)) = under_way.take() {
            let mut logits = vec![0.0; request.scan.len()];
            let outcome = engines[busy].finish(&mut logits).map(|()| logits);
            let _ = answers.send(request.answer(outcome));
        }
        match started {
            Some((request, Ok(()))) => under_way = Some((idle, request)),
            // The scan has another size (Error::Shape), or the GPU is lost (Error::Device): then the process must be started again.
            Some((request, Err(error))) => drop(answers.send(request.answer(Err(error)))),
            None => {}
        }
    }
}

fn load(weights: &Weights) -> Result<CudaEngine> {
    // `CudaEngine::on_gpu` takes another GPU than the first. Out of memory, no driver, a driver that is too old: the error says which.
    let engine = CudaEngine::new(weights, SHAPE, Grade::Fast);
    #[cfg(feature = "emulator")]
    let engine = engine.or_else(|reason| {
        println!("on the emulated device: {reason}");
        CudaEngine::on(Box::new(ichor::network::emulator::Emulator::new(1)), weights, SHAPE, Grade::Fast)
    });
    engine
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let small =
        Description { widths: vec![4, 8], convs: vec![1, 1], up_widths: vec![12], up_convs: vec![1], ..Description::deepbleed() };
    let weights = Weights::generate(&small, "service")?;
    let engines = [load(&weights)?, load(&weights)?];
    let (send_request, requests) = mpsc::channel();
    let (send_answer, answers) = mpsc::channel();
    let service = std::thread::spawn(move || serve(engines, &requests, &send_answer));
    for number in 0..SCANS {
        let scan = generate::ct_input(&format!("scan {number}"), SHAPE);
        send_request.send(Request { number, scan, sent: Instant::now() })?;
    }
    drop(send_request);
    for answer in answers {
        let inside = answer.logits?.iter().filter(|&&logit| logit > 0.0).count();
        println!("scan {}: {inside} voxels above 0.5, {:.2} ms", answer.number, 1e3 * answer.latency.as_secs_f64());
    }
    service.join().map_err(|_| "the service has panicked")?;
    Ok(())
}
