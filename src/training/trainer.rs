//! The training itself: epochs of updates, each followed by a look at the held-out samples and a checkpoint.

use super::augment::{self, Crop, Prepared};
use super::checkpoint;
use super::config::Config;
use super::curves;
use super::epoch::Epoch;
use super::given;
use super::optimiser::State;
use super::sample::{Sample, Source};
use crate::io::{atomic, ownership};
use crate::network::Description;
use crate::network::cpu::Instructions;
use crate::network::cpu::backward::head;
use crate::network::cpu::backward::parameters::{Learning, Parameters};
use crate::network::cpu::backward::{Example, Layers, Network};
use crate::network::device::Device;
use crate::network::inference::Inference;
use crate::network::weights::{Metadata, Weights};
use crate::network::{Dropout, Loss};
use crate::random::keyed::{Random, mix};
use crate::{Error, Result, memory};
use ndarray::ArrayView3;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What is multiplied with HU before the network sees them in training. What tells blood from brain is then about 0.2, which biases reach in some hundred updates of
/// the usual rate. A power of 2, and folded into the exported weights without rounding: those take HU.
const SCALE: f32 = 1.0 / 128.0;
/// Bytes for each of a network's parameters that a training has at once, at least.
const PARAMETER_BYTES: u64 = 36;
/// Updates for which the same samples give crops: making a sample takes longer than training on a crop of it.
const CROPS_PER_SAMPLE: usize = 8;
/// Thresholds of the probability among which the best for the held-out samples is taken.
const THRESHOLDS: [f32; 13] = [0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8];

/// What a training says while it goes on.
#[derive(Clone, Debug)]
pub enum Progress<'a> {
    /// An update is done: its number in the epoch, those of the epoch, and its loss.
    Update(usize, usize, f64),
    /// An epoch is done: what came of it, and an estimate of the seconds that are left.
    Epoch(&'a Epoch, f64),
}

/// How a training ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All epochs.
    pub history: Vec<Epoch>,
    /// Whether it stopped before its last epoch because nothing improved.
    pub early: bool,
    /// Seconds by part, of what was done in this run of the program.
    pub seconds: BTreeMap<&'static str, f64>,
}

/// The file of a training from which it goes on.
const CHECKPOINT: &str = "checkpoint";
/// The file that has all options of a training.
const CONFIG: &str = "config.toml";
/// The files of a training.
const FILES: [&str; 6] = [CHECKPOINT, CONFIG, "curves.csv", "curves.png", "last.safetensors", "weights.safetensors"];

/// Sees whether a training of `config` may begin, or go on, in `folder`: no file of its names is somebody else's, or one
/// of `inputs`, which it reads. A `config.toml` that has what this training would write is neither replaced nor refused.
///
/// # Errors
/// [`Error::Scan`] that names the file; [`Error::Read`] and [`Error::Training`] for a checkpoint that cannot be used.
pub fn check_folder(config: &Config, folder: &Path, inputs: &[&Path]) -> Result<()> {
    let path = folder.join(CHECKPOINT);
    // What stands beside a checkpoint is its training's.
    let own = match checkpoint::read(&path, config)? {
        Some(_) => FILES.map(String::from).into(),
        None => ownership::in_the_making(&path),
    };
    let same = has_config(folder, config);
    Ok(ownership::spare(folder, FILES.into_iter().filter(|&name| !(same && name == CONFIG)), &own, inputs)?)
}

/// Whether the folder has these very options.
fn has_config(folder: &Path, config: &Config) -> bool {
    std::fs::read(folder.join(CONFIG)).is_ok_and(|text| text == config.to_toml().as_bytes())
}

/// Trains a network, or goes on where the training in `folder` was stopped or, with more epochs than it had, has ended. The first `held_out` samples of the source are held out.
///
/// The folder gets `weights.safetensors` (the averaged weights of the epoch with the least held-out loss), `last.safetensors` (those of the last epoch),
/// `curves.csv`, `curves.png`, `config.toml` and `checkpoint`. Everything but the seconds in it is the same for the same config and source. It runs on the current rayon pool.
///
/// # Errors
/// As [`check_folder`]; [`Error::Training`] for too few samples, another config's checkpoint, and a training that has diverged; whatever the source reports; [`Error::Write`].
pub fn train(config: &Config, source: &dyn Source, folder: &Path, mut say: impl FnMut(Progress)) -> Result<Outcome> {
    let problem = |text: String| Error::Training { path: folder.to_path_buf(), problem: text };
    config.check().map_err(problem)?;
    if source.len() <= config.data.held_out {
        return Err(problem(format!(
            "there are {} samples, of which {} are held out: none is left",
            source.len(),
            config.data.held_out
        )));
    }
    // The weights, their average, the optimiser's two memories, the gradient, and the checkpoint's bytes.
    let parameters = config.network.parameters() as u64;
    memory::check(PARAMETER_BYTES * parameters, || format!("the training of a network of {parameters} parameters"))?;
    std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
    check_folder(config, folder, &[])?;
    let (state, mut history) = begun(config, folder)?;
    let shape = source.sample(0)?.shape;
    let mut trainer = Trainer {
        config,
        source,
        state,
        learning: Parameters::learning(&config.network),
        shape,
        networks: BTreeMap::new(),
        samples: BTreeMap::new(),
        instructions: Instructions::best(),
        pack_seconds: 0.0,
    };
    let losses = |history: &[Epoch]| -> Vec<f64> { history.iter().map(|epoch| epoch.held_out_loss).collect() };
    match history.len() {
        done if done == 0 || config.schedule.stops(&losses(&history)) => {}
        done if done < config.schedule.epochs => {
            log::info!("the training goes on after {done} of {} epochs", config.schedule.epochs)
        }
        done => log::info!("all {done} epochs are done: with more schedule.epochs the training goes on"),
    }
    let mut early = false;
    while history.len() < config.schedule.epochs {
        let losses = losses(&history);
        if config.schedule.stops(&losses) {
            early = true;
            break;
        }
        let start = Instant::now();
        let mut row = trainer.epoch(history.len(), &mut say)?;
        let (weights, threshold) = trainer.look(&mut row)?;
        row.threshold = threshold;
        if !row.loss.is_finite() || !row.held_out_loss.is_finite() {
            return Err(problem(
                "the training has diverged: begin anew with a lower schedule.rate, optimiser.clip or .muon".into(),
            ));
        }
        row.seconds = start.elapsed().as_secs_f64();
        weights.write(folder.join("last.safetensors"))?;
        if losses.iter().all(|&loss| row.held_out_loss < loss) {
            weights.write(folder.join("weights.safetensors"))?;
        }
        history.push(row);
        curves::write(folder, &history)?;
        checkpoint::write(&folder.join(CHECKPOINT), config, &trainer.state, &history)?;
        ownership::end(&folder.join(CHECKPOINT))?;
        let recent = &history[history.len().saturating_sub(5)..];
        let each = recent.iter().map(|row| row.seconds).sum::<f64>() / recent.len() as f64;
        say(Progress::Epoch(history.last().expect("it was just pushed"), each * (config.schedule.epochs - history.len()) as f64));
    }
    let mut seconds: BTreeMap<&'static str, f64> = BTreeMap::from([("packing", trainer.pack_seconds)]);
    for (part, value) in trainer.networks.values().flat_map(|network| network.seconds()) {
        *seconds.entry(part).or_default() += value;
    }
    Ok(Outcome { history, early, seconds })
}

/// The training that was stopped in a folder, or a new one.
fn begun(config: &Config, folder: &Path) -> Result<(State, Vec<Epoch>)> {
    let checkpoint_path = folder.join(CHECKPOINT);
    let begun = match checkpoint::read(&checkpoint_path, config)? {
        Some(found) => found,
        None => {
            let first = State::new(first_weights(config)?);
            ownership::begin(&checkpoint_path, &FILES.map(String::from).into())?;
            (first, vec![])
        }
    };
    if !has_config(folder, config) {
        atomic::write(folder.join(CONFIG), |file| file.write_all(config.to_toml().as_bytes()))?;
    }
    Ok(begun)
}

/// What a training begins with.
fn first_weights(config: &Config) -> Result<Parameters> {
    let Some(name) = &config.from else { return Ok(Parameters::initial(&config.network, config.seed)?) };
    let weights = given::open(name)?;
    let problem = |problem: String| Error::Training { path: name.into(), problem };
    if *weights.description() != config.network {
        let network = toml::to_string(weights.description()).expect("a description is numbers, lists and text");
        return Err(problem(format!(
            "is of another network than the options' [network]; to begin with it give there\n{network}"
        )));
    }
    if weights.metadata().hu_range != Some(config.samples.hu_range) {
        return Err(problem(match weights.metadata().hu_range {
            Some([low, high]) => format!("takes HU from {low} to {high}: give samples.hu_range = [{low:?}, {high:?}]"),
            None => "takes HU that are not clipped, and training clips them: it is no weights file to begin with".into(),
        }));
    }
    let tensors = config.network.tensors().into_iter().map(|spec| (spec.name.clone(), weights.tensor(&spec.name).into_owned()));
    let mut parameters = Parameters::of(&config.network, &tensors.collect());
    scale_input(&mut parameters, &config.network, 1.0 / SCALE);
    Ok(parameters)
}

/// Changes weights so that they give for `input` what they gave for `input * scale`.
///
/// A network of convolutions, PReLUs and sums whose input and biases are multiplied with a positive number gives that many times the output. So the biases are
/// divided by it and the last kernel is multiplied with it; for a power of 2 nothing is rounded.
fn scale_input(parameters: &mut Parameters, network: &Description, scale: f32) {
    for spec in network.tensors() {
        let values = parameters.tensor_mut(&spec.name);
        if spec.name == "outblock/binary/kernel" {
            values.iter_mut().for_each(|value| *value *= scale);
        } else if spec.name.ends_with("/bias") && spec.name != "outblock/binary/bias" {
            values.iter_mut().for_each(|value| *value /= scale);
        }
    }
}

/// What of a sample the network sees in training.
#[derive(Clone, Copy, PartialEq)]
enum View {
    Whole,
    /// A crop of so many voxels a side.
    Cube(usize),
    /// One slice, for a 2D network.
    Slice,
}

struct Trainer<'a> {
    config: &'a Config,
    source: &'a dyn Source,
    state: State,
    /// How each tensor of the network learns.
    learning: Vec<Learning>,
    /// Grid of the samples.
    shape: [usize; 3],
    /// Buffers for each grid that is trained on.
    networks: BTreeMap<[usize; 3], Network>,
    /// The samples of the last update, by their index.
    samples: BTreeMap<usize, Prepared>,
    instructions: Instructions,
    pack_seconds: f64,
}

impl Trainer<'_> {
    /// What of a sample an epoch sees.
    fn view(&self, epoch: usize) -> View {
        match self.config.samples.patch {
            _ if self.config.network.is_planar() => View::Slice,
            0 if epoch < self.config.schedule.crop_epochs => View::Cube(self.config.samples.crop),
            0 => View::Whole,
            patch => View::Cube(patch),
        }
    }

    /// Samples of an update.
    fn batch(&self, epoch: usize) -> usize {
        let schedule = &self.config.schedule;
        if matches!(self.view(epoch), View::Cube(_)) { schedule.crop_batch } else { schedule.batch }
    }

    /// Updates in an epoch: about the same time for crops and for whole volumes.
    fn updates(&self, epoch: usize) -> usize {
        let parts = match self.view(epoch) {
            View::Cube(side) => self.shape.iter().map(|&length| length as f64 / length.min(side) as f64).product(),
            View::Whole | View::Slice => 1.0,
        };
        let schedule = &self.config.schedule;
        (((schedule.updates * schedule.batch) as f64 * parts) as usize).div_ceil(self.batch(epoch))
    }

    /// Updates of an epoch for which the same samples are taken.
    fn uses(&self, epoch: usize) -> usize {
        if self.view(epoch) == View::Whole { 1 } else { CROPS_PER_SAMPLE }
    }

    /// Number of the `index`-th sample of the training: passes over all of them, each in an order of its own.
    fn number(&self, index: usize) -> usize {
        let held_out = self.config.data.held_out;
        let count = self.source.len() - held_out;
        let mut order: Vec<usize> = (0..count).collect();
        let mut random = Random::new(self.config.seed).derive(1).derive((index / count) as u64);
        for place in (1..count).rev() {
            order.swap(place, random.below(place + 1));
        }
        held_out + order[index % count]
    }

    /// Does the updates of an epoch, counted from 0.
    fn epoch(&mut self, epoch: usize, say: &mut impl FnMut(Progress)) -> Result<Epoch> {
        let config = self.config;
        let schedule = &config.schedule;
        let total = (0..schedule.epochs).map(|epoch| self.updates(epoch)).sum();
        let first: usize = (0..epoch).map(|e| self.updates(e).div_ceil(self.uses(e)) * self.batch(e)).sum();
        let done: usize = (0..epoch).map(|e| self.updates(e)).sum();
        let (updates, batch, view, uses) = (self.updates(epoch), self.batch(epoch), self.view(epoch), self.uses(epoch));
        let mut row = Epoch { epoch: epoch + 1, ..Epoch::default() };
        let mut finite = 0;
        for update in 0..updates {
            let group = update / uses;
            let indices: Vec<usize> = (0..batch).map(|b| first + group * batch + b).collect();
            self.fetch(&indices)?;
            row.rate = schedule.rate_at(done + update, total);
            let (loss, norm) = self.update(&indices, view, (done + update) as u64, row.rate)?;
            row.loss += loss / updates as f64;
            if norm.is_finite() {
                row.gradient += norm;
                finite += 1;
            } else {
                // What a pass does not compute keeps old values, and those must be finite.
                self.networks.clear();
                log::warn!("update {} of epoch {}: the gradient is not finite, the update is left out", update + 1, epoch + 1);
            }
            say(Progress::Update(update + 1, updates, loss));
        }
        row.gradient /= f64::from(finite.max(1));
        row.updates = self.state.updates;
        Ok(row)
    }

    /// Has the samples of an update in memory, and no others.
    fn fetch(&mut self, indices: &[usize]) -> Result<()> {
        self.samples.retain(|index, _| indices.contains(index));
        for &index in indices {
            if !self.samples.contains_key(&index) {
                let number = self.number(index);
                let sample = self.source.sample(number)?;
                self.check(number, &sample)?;
                let mut random = Random::new(self.config.seed).derive(4).derive(index as u64);
                self.samples.insert(index, Prepared::painted(sample, &self.config.samples, &mut random));
            }
        }
        Ok(())
    }

    fn check(&self, number: usize, sample: &Sample) -> Result<()> {
        // Slices are seen one by one: there may be any number of them.
        let first = usize::from(sample.planar);
        if sample.shape[first..] != self.shape[first..] {
            return Err(Error::Shape(format!("sample {number} has {:?} voxels, the first one {:?}", sample.shape, self.shape)));
        }
        if sample.planar != self.config.network.is_planar() {
            return Err(Error::Shape("slices are for a 2D network, volumes for one in 3D".into()));
        }
        Ok(())
    }

    /// One update from some samples: the mean loss and the gradient's norm.
    fn update(&mut self, indices: &[usize], view: View, number: u64, rate: f64) -> Result<(f64, f64)> {
        let config = self.config;
        let start = Instant::now();
        let layers = Layers::new(&config.network, &self.state.weights, self.instructions)?;
        self.pack_seconds += start.elapsed().as_secs_f64();
        let mut gradient = Parameters::zeros(&config.network);
        let mut mean = 0.0;
        for (place, index) in indices.iter().enumerate() {
            let prepared = &self.samples[index];
            let sample = prepared.sample();
            let mut random = Random::new(config.seed).derive(2).derive(number).derive(place as u64);
            let (samples, bleed) = (&config.samples, config.samples.crop_bleed);
            let mut seen = match view {
                View::Cube(side) => {
                    let crop = Crop::cube(sample, side, bleed, &mut random);
                    augment::augmented(prepared, crop, samples, &mut random)
                }
                View::Slice => {
                    let slice = Prepared::new(augment::slice(sample, bleed, &mut random));
                    augment::augmented(&slice, Crop::whole(slice.sample()), samples, &mut random)
                }
                View::Whole => augment::augmented(prepared, Crop::whole(sample), samples, &mut random),
            };
            seen.hu.iter_mut().for_each(|hu| *hu *= SCALE);
            let network = match self.networks.entry(seen.shape) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(Network::new(&config.network, seen.shape, self.instructions)?)
                }
            };
            let key = random.bits();
            let limit = (config.dropout.rate * (1u64 << 32) as f64) as u64;
            let keep = |buffer: usize, voxel: usize, channel: usize| {
                mix(key ^ mix(((buffer as u64) << 48) ^ ((channel as u64) << 36) ^ voxel as u64)) >> 32 >= limit
            };
            let dropout = (config.dropout.rate > 0.0 && config.dropout.levels > 0).then_some(Dropout {
                rate: config.dropout.rate,
                levels: config.dropout.levels,
                keep: &keep,
            });
            let example = Example { input: &seen.hu, label: &seen.label, mask: &seen.mask };
            let loss = Loss::from(config.loss);
            mean +=
                network.gradient(&layers, &self.state.weights, example, &loss, dropout, &mut gradient)? / indices.len() as f64;
        }
        gradient.values_mut().iter_mut().for_each(|value| *value /= indices.len() as f32);
        Ok((mean, self.state.update(&gradient, rate, &self.learning, &config.optimiser)))
    }

    /// Looks at the held-out samples with the averaged weights, by the very path that segments scans. Gives the weights and the best threshold.
    fn look(&self, row: &mut Epoch) -> Result<(Weights, f32)> {
        let config = self.config;
        let threads = rayon::current_num_threads();
        let weights = self.export(None)?;
        let mut inference = Inference::new(&weights, Device::Cpu, threads);
        let mut dice = [0.0; THRESHOLDS.len()];
        let mut false_ml = [0.0; THRESHOLDS.len()];
        let mut bleeds = 0;
        for number in 0..config.data.held_out {
            let sample = self.source.sample(number)?;
            self.check(number, &sample)?;
            // Every other one as training sees it, the same in each epoch: of brains without a bright rim alone, too low a threshold would be chosen.
            let mut random = Random::new(config.seed).derive(3).derive(number as u64);
            let seen = match number % 2 {
                0 => augment::plain(&sample, &config.samples),
                _ => {
                    let whole = Crop::whole(&sample);
                    augment::augmented(&Prepared::new(sample.clone()), whole, &config.samples, &mut random)
                }
            };
            let [d, h, w] = seen.shape;
            let view = ArrayView3::from_shape((d, h, w), &seen.hu).expect("a sample has a value for each voxel");
            let mask = ArrayView3::from_shape((d, h, w), &seen.mask).expect("a sample has a value for each voxel");
            let logits = inference.logits(view, Some(mask))?;
            let logits = logits.as_slice().expect("a new array is in standard layout");
            let mut by_logit = vec![0.0; logits.len()];
            row.held_out_loss +=
                head::loss(&config.loss.into(), logits, &seen.label, &seen.mask, &mut by_logit) / config.data.held_out as f64;
            let label = seen.label.iter().filter(|&&label| label).count();
            bleeds += usize::from(label > 0);
            for (place, threshold) in THRESHOLDS.iter().enumerate() {
                let limit = (threshold / (1.0 - threshold)).ln();
                let found = logits.iter().filter(|&&logit| logit > limit).count();
                let both = logits.iter().zip(&seen.label).filter(|&(&logit, &label)| label && logit > limit).count();
                if label > 0 {
                    dice[place] += 2.0 * both as f64 / (found + label) as f64;
                } else {
                    false_ml[place] += found as f64 * sample.voxel_ml;
                }
            }
        }
        let best = (0..THRESHOLDS.len()).fold(0, |best, place| if dice[place] > dice[best] { place } else { best });
        row.held_out_dice = dice[best] / bleeds.max(1) as f64;
        row.false_ml = false_ml[best] / (config.data.held_out - bleeds).max(1) as f64;
        let threshold = config.threshold.unwrap_or(THRESHOLDS[best]);
        Ok((self.export(Some(threshold))?, threshold))
    }

    /// The averaged weights as a weights file has them: for HU as they are.
    fn export(&self, threshold: Option<f32>) -> Result<Weights> {
        let config = self.config;
        let mut parameters = self.state.average.clone();
        scale_input(&mut parameters, &config.network, SCALE);
        let from = config.from.as_ref().map(|name| format!(", from {name}")).unwrap_or_default();
        let metadata = Metadata {
            origin: Some(format!("trained by ichor {}, seed {}{from}", env!("CARGO_PKG_VERSION"), config.seed)),
            license: Some(config.license.clone()),
            trained_on: Some(config.trained_on.clone()),
            threshold,
            hu_range: Some(config.samples.hu_range),
            skull_margin_mm: config.skull_margin_mm,
            input: config.input(),
            others: BTreeMap::from([("training".to_string(), config.to_toml())]),
        };
        Ok(Weights::from_tensors("trained", &config.network, &metadata, &parameters.tensors())?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Data, DropoutPart, Optimiser, Samples, Schedule};
    use super::*;
    use crate::network::Activation;
    use crate::training::testing::Balls;

    const SOURCE: Balls = Balls::CUBE;

    fn config(epochs: usize) -> Config {
        Config {
            network: Description {
                widths: vec![4, 8, 8],
                convs: vec![1, 1, 1],
                up_widths: vec![12, 8],
                up_convs: vec![1, 1],
                activation: Activation::Prelu,
                ..Description::deepbleed()
            },
            data: Data { training: 6, held_out: 2, ..Data::default() },
            samples: Samples {
                crop: 16,
                elastic: 0.5,
                without_rim: 0.0,
                bone_rim: 0.0,
                glow: 0.0,
                base: 0.0,
                vertex: 0.0,
                ..Samples::default()
            },
            schedule: Schedule { epochs, crop_epochs: 1, updates: 3, batch: 2, rate: 5e-3, warm_up: 2, ..Schedule::default() },
            dropout: DropoutPart { rate: 0.1, levels: 1 },
            ..Config::default()
        }
    }

    /// The same with both optimisers: Muon for what it takes, Adam for the rest.
    fn both_optimisers(epochs: usize) -> Config {
        let config = config(epochs);
        Config { optimiser: Optimiser { muon: 1.0, ..config.optimiser }, ..config }
    }

    fn run(config: &Config, folder: &Path, threads: usize) -> Outcome {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(config, &SOURCE, folder, |_| {})).unwrap()
    }

    #[test]
    fn the_loss_falls_and_the_balls_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let schedule = Schedule { epochs: 3, crop_epochs: 0, updates: 10, rate: 1e-2, ..config(3).schedule };
        let history =
            run(&Config { schedule, threshold: Some(0.5), skull_margin_mm: 1.5, ..config(3) }, folder.path(), 2).history;
        assert!(history[2].loss < 0.7 * history[0].loss, "{history:?}");
        assert!(history[2].held_out_loss < 0.95 * history[0].held_out_loss, "{history:?}");
        assert!(history[2].held_out_dice > 0.6, "{history:?}");
        let weights = Weights::open(folder.path().join("weights.safetensors")).unwrap();
        let Metadata { hu_range, threshold, skull_margin_mm, .. } = weights.metadata();
        assert_eq!((*hu_range, *threshold, *skull_margin_mm), (Some([-20.0, 120.0]), Some(0.5), 1.5));
        assert!(weights.metadata().others["training"].contains("warm_up = 2"));
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads_and_another_does_not() {
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let bytes = |n: usize| std::fs::read(folders[n].path().join("weights.safetensors")).unwrap();
        run(&both_optimisers(2), folders[0].path(), 1);
        run(&both_optimisers(2), folders[1].path(), 3);
        run(&Config { seed: 2, ..both_optimisers(2) }, folders[2].path(), 2);
        assert_eq!(bytes(0), bytes(1));
        assert_ne!(bytes(0), bytes(2));
    }

    #[test]
    fn a_training_that_was_stopped_goes_on_as_if_it_had_not_been() {
        let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
        let whole = run(&both_optimisers(3), folders[0].path(), 2).history;
        // Stopped in the middle of the second epoch: the first one's checkpoint is there.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut epochs = 0;
            pool.install(|| {
                train(&both_optimisers(3), &SOURCE, folders[1].path(), |progress| match progress {
                    Progress::Epoch(..) => epochs += 1,
                    Progress::Update(update, ..) => assert!(epochs == 0 || update < 2, "stopped"),
                })
            })
        }));
        assert!(stopped.is_err());
        let resumed = run(&both_optimisers(3), folders[1].path(), 2).history;
        let without_seconds =
            |history: &[Epoch]| history.iter().map(|row| Epoch { seconds: 0.0, ..row.clone() }).collect::<Vec<_>>();
        assert_eq!(without_seconds(&whole), without_seconds(&resumed));
        let bytes = |n: usize, name: &str| std::fs::read(folders[n].path().join(name)).unwrap();
        for name in ["weights.safetensors", "last.safetensors"] {
            assert_eq!(bytes(0, name), bytes(1, name));
        }
        for name in ["curves.csv", "curves.png", "config.toml", "checkpoint"] {
            assert!(folders[1].path().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_finished_training_is_extended() {
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let read = |n: usize, name: &str| std::fs::read(folders[n].path().join(name)).unwrap();
        let first = run(&config(2), folders[0].path(), 2).history;
        let last = read(0, "last.safetensors");
        // The same command changes nothing.
        assert_eq!(run(&config(2), folders[0].path(), 2).history, first);
        assert_eq!(read(0, "last.safetensors"), last);
        let longer = Config { license: "MIT".into(), threshold: Some(0.35), ..config(4) };
        let history = run(&longer, folders[0].path(), 2).history;
        assert_eq!((history.len(), &history[..2]), (4, &first[..]));
        let weights = Weights::open(folders[0].path().join("last.safetensors")).unwrap();
        assert_eq!((weights.metadata().license.as_deref(), weights.metadata().threshold), (Some("MIT"), Some(0.35)));
        assert_ne!(weights.bytes(), last);
        // As one that was stopped after the third epoch, and as one that was extended twice: what was done decides, not how often it was begun.
        run(&config(2), folders[1].path(), 1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.install(|| {
                train(&longer, &SOURCE, folders[1].path(), |progress| {
                    assert!(!matches!(progress, Progress::Epoch(row, _) if row.epoch == 3), "stopped");
                })
            })
        }));
        assert!(stopped.is_err());
        run(&longer, folders[1].path(), 2);
        assert_eq!(read(0, "last.safetensors"), read(1, "last.safetensors"));
        // Fewer epochs than there are: nothing is done, and nothing is lost.
        assert_eq!(run(&config(1), folders[0].path(), 2).history.len(), 4);
        assert_eq!(read(0, "last.safetensors"), read(1, "last.safetensors"));
    }

    #[test]
    fn the_exported_network_gives_the_trained_ones_logits() {
        let config = config(1);
        let mut state = State::new(Parameters::initial(&config.network, 4).unwrap());
        // Biases that are not 0, so that the scale matters.
        state.average.values_mut().iter_mut().filter(|value| **value == 0.0).for_each(|value| *value = 0.1);
        let instructions = Instructions::best();
        let (samples, networks) = (BTreeMap::new(), BTreeMap::new());
        let trainer = Trainer {
            config: &config,
            source: &SOURCE,
            state,
            learning: Parameters::learning(&config.network),
            shape: [32; 3],
            networks,
            samples,
            instructions,
            pack_seconds: 0.0,
        };
        let seen = augment::plain(&SOURCE.sample(0).unwrap(), &config.samples);
        let weights = trainer.export(Some(0.5)).unwrap();
        let view = ArrayView3::from_shape((32, 32, 32), &seen.hu).unwrap();
        let exported = Inference::new(&weights, Device::Cpu, 2).logits(view, None).unwrap();
        let mut network = Network::new(&config.network, [32; 3], instructions).unwrap();
        let layers = Layers::new(&config.network, &trainer.state.average, instructions).unwrap();
        let scaled: Vec<f32> = seen.hu.iter().map(|hu| hu * SCALE).collect();
        network.forward(&layers, &trainer.state.average, &scaled, &vec![true; scaled.len()], None);
        crate::network::cpu::backward::testing::assert_close(network.logits(), exported.as_slice().unwrap(), 1e-4);
    }

    #[test]
    fn a_training_begins_with_the_weights_that_it_is_given() {
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        run(&config(1), folders[0].path(), 2);
        let path = folders[0].path().join("weights.safetensors");
        let given = Weights::open(&path).unwrap();
        // A rate of next to nothing leaves the weights as they were.
        let schedule = Schedule { rate: 1e-12, last_rate: 1e-12, ..config(1).schedule };
        let from = Some(path.display().to_string());
        run(&Config { from: from.clone(), schedule, ..config(1) }, folders[1].path(), 2);
        let trained = Weights::open(folders[1].path().join("weights.safetensors")).unwrap();
        for spec in given.description().tensors() {
            crate::network::cpu::backward::testing::assert_close(&trained.tensor(&spec.name), &given.tensor(&spec.name), 1e-6);
        }
        assert!(trained.metadata().origin.as_ref().unwrap().ends_with(&format!(", from {}", path.display())));
        // Another network, other HU, no file.
        let refused = |config: Config| match train(&config, &SOURCE, folders[2].path(), |_| {}) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it was trained"),
        };
        let other = Description { up_convs: vec![2, 1], ..config(1).network };
        assert!(refused(Config { from: from.clone(), network: other, ..config(1) }).contains("up_convs = [1, 1]"));
        let samples = Samples { hu_range: [-10.0, 90.0], ..config(1).samples };
        assert!(refused(Config { from, samples, ..config(1) }).contains("samples.hu_range = [-20.0, 120.0]"));
        refused(Config { from: Some("no such file".into()), ..config(1) });
    }

    #[test]
    fn a_planar_network_learns_from_slices() {
        let source = Balls { shape: [8, 32, 32], planar: true, ..Balls::CUBE };
        let network = Description { kernel: [1, 5, 5], stride: [1, 2, 2], ..config(1).network };
        let schedule = Schedule { epochs: 3, updates: 20, rate: 1e-2, ..config(1).schedule };
        let folder = tempfile::tempdir().unwrap();
        let history = train(&Config { network, schedule, ..config(1) }, &source, folder.path(), |_| {}).unwrap().history;
        assert!(history[2].loss < 0.7 * history[0].loss, "{history:?}");
        let weights = Weights::open(folder.path().join("weights.safetensors")).unwrap();
        assert_eq!(weights.metadata().input, crate::network::weights::InputKind::NativeSlices);
    }

    #[test]
    fn samples_of_the_other_kind_of_network_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let source = Balls { planar: true, ..Balls::CUBE };
        assert!(matches!(train(&config(1), &source, folder.path(), |_| {}), Err(Error::Shape(_))));
    }

    #[test]
    fn each_pass_sees_every_sample_once() {
        let config = config(1);
        let state = State::new(Parameters::initial(&config.network, 4).unwrap());
        let (samples, networks) = (BTreeMap::new(), BTreeMap::new());
        let instructions = Instructions::best();
        let trainer = Trainer {
            config: &config,
            source: &SOURCE,
            state,
            learning: Parameters::learning(&config.network),
            shape: [32; 3],
            networks,
            samples,
            instructions,
            pack_seconds: 0.0,
        };
        for pass in 0..3 {
            let mut seen: Vec<usize> = (0..6).map(|n| trainer.number(pass * 6 + n)).collect();
            seen.sort();
            assert_eq!(seen, [2, 3, 4, 5, 6, 7]);
        }
    }

    #[test]
    fn too_few_samples_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: Data { held_out: 8, ..Data::default() }, ..config(1) };
        assert!(matches!(train(&config, &SOURCE, folder.path(), |_| {}), Err(Error::Training { .. })));
    }
}
