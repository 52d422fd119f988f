//! The options of a training: one TOML file, every entry of which may be left out.

use crate::network::Loss;
use crate::network::cpu::backward::conv;
use crate::network::weights::InputKind;
use crate::network::weights::metadata::SKULL_MARGIN_MM;
use crate::network::{Activation, Description};
use serde::{Deserialize, Serialize};

/// Everything that a training depends on besides its data. The same config and data give the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What all random numbers begin with.
    pub seed: u64,
    /// License of the weights, for their file.
    pub license: String,
    /// What the samples are, for the weights' file.
    pub trained_on: String,
    /// The probability above which a voxel is hemorrhage, for the weights' file; if not given, that with the best mean Dice of the held-out samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Blood that is found at the brain mask's edge goes on up to so many mm outside of it, in voxels that bone fills to less than half; for the weights' file.
    pub skull_margin_mm: f32,
    /// Weights to begin with, for more training on other samples: a weights file, or `built-in`. If not given, random ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The network.
    pub network: Description,
    /// Where samples come from.
    pub data: Data,
    /// What is done to a sample before the network sees it.
    pub samples: Samples,
    /// How long and how fast it learns.
    pub schedule: Schedule,
    /// The optimiser.
    pub optimiser: Optimiser,
    /// What is made small.
    pub loss: LossParts,
    /// Dropout.
    pub dropout: DropoutPart,
}

/// Where samples come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// Number of samples that are trained on; of a folder of pairs, those that are not held out are, and this is the most of them.
    pub training: usize,
    /// Number of samples that are held out.
    pub held_out: usize,
    /// Slices of generated heads are as thick as one of these, in mm.
    pub thickness_mm: Vec<f64>,
    /// Share of generated heads without a bleed.
    pub without_bleed: f32,
    /// Share of generated heads whose bleeds are hard to see (as with `ichor phantom --hard`).
    pub hard: f64,
    /// Least and greatest volume of a generated bleed in mL.
    pub volume_ml: [f32; 2],
    /// The box around the brain that a sample of a folder is cut to, in voxels of the template.
    pub grid: [usize; 3],
}

/// What is done to a sample before the network sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Samples {
    /// HU are clipped to this range.
    pub hu_range: [f32; 2],
    /// Probability of a left-right flip.
    pub flip: f64,
    /// Probability of an elastic deformation.
    pub elastic: f64,
    /// Deviation of its displacements, in voxels. There is none along z.
    pub elastic_voxels: f64,
    /// Distance of the points that are displaced, in voxels.
    pub elastic_spacing: usize,
    /// Deviation of what all HU are moved by.
    pub hu_offset: f64,
    /// Deviation of what all HU are multiplied with, about 1.
    pub hu_scale: f64,
    /// Probability that the outermost voxels of the brain are left out, as brain extraction does with those that have bone in them.
    pub without_rim: f64,
    /// The most voxels, from the surface, that are left out then.
    pub rim_voxels: usize,
    /// Probability that bone is mixed into the brain's surface, as brain extraction leaves it where slices are thick.
    pub bone_rim: f64,
    /// Probability that the brain is brighter towards its surface, as beam hardening and the blur of the skull make it.
    pub glow: f64,
    /// The most HU that this adds at the surface.
    pub glow_hu: f64,
    /// Probability that what lies at the skull base is brighter than the brain above it, as beam hardening makes the brainstem; for a network in 3D.
    pub base: f64,
    /// The most HU that this adds at the lowest slice.
    pub base_hu: f64,
    /// Probability that bone is in the uppermost slices, as thick slices along the vertex have it; for a network in 3D.
    pub vertex: f64,
    /// The most HU that this adds; uneven.
    pub vertex_hu: f64,
    /// Probability that bleeds are painted into a sample for a network in 3D, others each time it is seen.
    pub painted: f64,
    /// Probability that calcifications are.
    pub calcified: f64,
    /// The contrast of what is no blood is multiplied with a factor between 1 / (1 + this) and 1 + this.
    pub contrast: f64,
    /// The most noise that is added, as its deviation in HU; up to as much comes of each of three widths: of a voxel, of a few, of large parts of the brain.
    pub noise_hu: f64,
    /// Side of the crops that a training begins with, around bleeds as a rule, in voxels.
    pub crop: usize,
    /// Share of crops around a voxel of a bleed, where there is one; the others are around any voxel of the brain. The same for the slices of a 2D network,
    /// which sees single slices in all epochs.
    pub crop_bleed: f64,
    /// Side of a patch network's patches, 64 or 32: all of its training is on such crops. 0 for a network that sees whole volumes.
    pub patch: usize,
}

/// How long and how fast it learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Most epochs.
    pub epochs: usize,
    /// Fewest epochs before an early stop.
    pub least_epochs: usize,
    /// It stops when the moving average of the held-out loss has not improved for so many epochs; so many are averaged.
    pub patience: usize,
    /// Epochs at the beginning that see crops; later ones see whole volumes.
    pub crop_epochs: usize,
    /// Updates of the weights in an epoch of whole volumes. In one of crops there are so many more that it sees as many voxels.
    pub updates: usize,
    /// Samples of an update, whose gradients are averaged.
    pub batch: usize,
    /// The same for updates from crops.
    pub crop_batch: usize,
    /// The learning rate after the first updates.
    pub rate: f64,
    /// Updates over which the rate grows to [`Schedule::rate`].
    pub warm_up: usize,
    /// The rate at the end, to which it falls as a half wave of the cosine.
    pub last_rate: f64,
}

/// The optimiser: Adam (Kingma and Ba 2015), and for the kernels between hidden channels Muon (Jordan et al. 2024) where it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Optimiser {
    /// Decay of the gradient's moving average.
    pub beta1: f64,
    /// Decay of its square's moving average.
    pub beta2: f64,
    /// Added to the root of the latter.
    pub epsilon: f64,
    /// Longer gradients are shortened to this norm.
    pub clip: f64,
    /// Decay of the moving average of the weights, which is what is kept of a training; lower during its first updates.
    pub average: f64,
    /// Singular values of Muon's steps, in learning rates times the greatest one that a kernel begins with; 0 for Adam alone.
    pub muon: f64,
    /// Decay of the gradient's moving average for Muon.
    pub momentum: f64,
}

/// Factors of the loss's parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossParts {
    /// Of 1 less soft Dice.
    pub dice: f64,
    /// Of the cross-entropy.
    pub cross_entropy: f64,
}

/// Dropout of the deepest blocks' outputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DropoutPart {
    /// The share of values that are dropped.
    pub rate: f64,
    /// Number of levels, from the deepest up, whose blocks' outputs are dropped out.
    pub levels: usize,
}

/// Longest side of a grid that is trained on, in voxels.
const LONGEST_SIDE: usize = 1024;
/// Most epochs, updates and samples: beyond it nobody would see the end.
const MOST_COUNT: usize = 1_000_000;

impl Default for Config {
    fn default() -> Self {
        Config {
            seed: 1,
            license: "unknown".into(),
            trained_on: "unknown".into(),
            threshold: None,
            skull_margin_mm: 0.0,
            from: None,
            network: Description {
                widths: vec![4, 8, 16, 32, 64],
                up_widths: vec![64, 32, 16, 8],
                activation: Activation::Prelu,
                ..Description::deepbleed()
            },
            data: Data::default(),
            samples: Samples::default(),
            schedule: Schedule::default(),
            optimiser: Optimiser::default(),
            loss: LossParts::default(),
            dropout: DropoutPart::default(),
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Data {
            training: 900,
            held_out: 16,
            thickness_mm: vec![2.5, 3.5, 5.0, 7.5],
            without_bleed: 0.15,
            hard: 0.5,
            volume_ml: [0.5, 150.0],
            grid: [112, 128, 112],
        }
    }
}

impl Default for Samples {
    fn default() -> Self {
        Samples {
            hu_range: [-20.0, 120.0],
            flip: 0.5,
            elastic: 0.3,
            elastic_voxels: 1.5,
            elastic_spacing: 16,
            hu_offset: 2.0,
            hu_scale: 0.03,
            without_rim: 0.4,
            rim_voxels: 3,
            bone_rim: 0.35,
            glow: 0.6,
            glow_hu: 30.0,
            base: 0.5,
            base_hu: 30.0,
            vertex: 0.4,
            vertex_hu: 60.0,
            painted: 0.5,
            calcified: 0.3,
            contrast: 0.5,
            noise_hu: 4.0,
            crop: 64,
            crop_bleed: 0.75,
            patch: 0,
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            epochs: 200,
            least_epochs: 200,
            patience: 10,
            crop_epochs: 10,
            updates: 32,
            batch: 1,
            crop_batch: 2,
            rate: 1e-3,
            warm_up: 50,
            last_rate: 2e-5,
        }
    }
}

impl Default for Optimiser {
    fn default() -> Self {
        Optimiser { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, clip: 1.0, average: 0.998, muon: 0.0, momentum: 0.95 }
    }
}

impl Default for LossParts {
    fn default() -> Self {
        LossParts { dice: 1.0, cross_entropy: 3.0 }
    }
}

impl Default for DropoutPart {
    fn default() -> Self {
        DropoutPart { rate: 0.1, levels: 1 }
    }
}

impl From<LossParts> for Loss {
    fn from(parts: LossParts) -> Loss {
        Loss { dice: parts.dice, cross_entropy: parts.cross_entropy }
    }
}

impl Config {
    /// The config as TOML, every entry in it.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a config is numbers, lists and tables")
    }

    /// What is wrong with it, for a person.
    ///
    /// # Errors
    /// A sentence that names the entry.
    pub fn check(&self) -> std::result::Result<(), String> {
        self.network.validate().map_err(|error| error.to_string())?;
        need(
            conv::can(self.network.kernel),
            &format!("network.kernel is {:?}, but training takes kernels of 5 taps, or 1, along each axis", self.network.kernel),
        )?;
        need(self.data.training > 0 && self.data.held_out > 0, "data.training and data.held_out must be at least 1")?;
        need(self.threshold.is_none_or(|threshold| (0.0..1.0).contains(&threshold)), "threshold must lie between 0 and 1")?;
        need(SKULL_MARGIN_MM.contains(&self.skull_margin_mm), "skull_margin_mm must lie between 0 and 5")?;
        self.data.check()?;
        self.samples.check(&self.network)?;
        self.check_shares()?;
        self.check_sides()?;
        self.schedule.check()?;
        self.optimiser.check()?;
        need(
            self.loss.dice >= 0.0 && self.loss.cross_entropy >= 0.0 && self.loss.dice + self.loss.cross_entropy > 0.0,
            "loss.dice and .cross_entropy must not be below 0, nor both 0",
        )
    }

    fn check_shares(&self) -> std::result::Result<(), String> {
        let s = &self.samples;
        let shares = [
            s.flip,
            s.elastic,
            s.without_rim,
            s.bone_rim,
            s.glow,
            s.base,
            s.vertex,
            s.painted,
            s.calcified,
            s.crop_bleed,
            self.dropout.rate,
            f64::from(self.data.without_bleed),
            self.data.hard,
        ];
        need(
            shares.iter().all(|share| (0.0..=1.0).contains(share)),
            "samples.flip, .elastic, .without_rim, .bone_rim, .glow, .base, .vertex, .painted, .calcified, .crop_bleed, dropout.rate, data.without_bleed and .hard must lie between 0 and 1",
        )?;
        need(self.dropout.rate < 1.0, "dropout.rate must be below 1")
    }

    fn check_sides(&self) -> std::result::Result<(), String> {
        let s = &self.samples;
        need(
            self.data.grid.iter().chain([&s.crop]).all(|&side| side <= LONGEST_SIDE),
            &format!("samples.crop and the sides of data.grid must be at most {LONGEST_SIDE}"),
        )?;
        let multiple = self.network.multiple();
        need(fits(self.data.grid, multiple), &format!("data.grid must be a multiple of {multiple:?}, as the network needs"))
    }

    /// What the trained network is run on.
    pub fn input(&self) -> InputKind {
        match self.samples.patch {
            0 if self.network.is_planar() => InputKind::NativeSlices,
            0 => InputKind::Template,
            patch => InputKind::TemplatePatches { patch },
        }
    }
}

/// An error that says `what` must be, where it is not.
fn need(good: bool, what: &str) -> std::result::Result<(), String> {
    if good { Ok(()) } else { Err(what.to_string()) }
}

/// Whether a grid has sides that the network can halve as often as it does.
fn fits(sides: [usize; 3], multiple: [usize; 3]) -> bool {
    (0..3).all(|axis| sides[axis] > 0 && sides[axis].is_multiple_of(multiple[axis]))
}

impl Data {
    fn check(&self) -> std::result::Result<(), String> {
        let thickness = &self.thickness_mm;
        need(
            !thickness.is_empty() && thickness.iter().all(|mm| (0.05..=50.0).contains(mm)),
            "data.thickness_mm must have a value, each from 0.05 to 50",
        )?;
        let [least, most] = self.volume_ml;
        need(
            0.1 <= least && least <= most && most <= 150.0,
            "data.volume_ml must be two volumes from 0.1 to 150, the smaller first",
        )
    }
}

impl Samples {
    fn check(&self, network: &Description) -> std::result::Result<(), String> {
        let s = self;
        need(
            s.hu_range[0] < s.hu_range[1]
                && s.hu_range[0] <= 0.0
                && s.hu_range[1] > 0.0
                && s.hu_range.iter().all(|hu| hu.is_finite()),
            "samples.hu_range must begin at or below 0 and end above it",
        )?;
        need(s.elastic_spacing > 0 && s.rim_voxels > 0, "samples.elastic_spacing and .rim_voxels must be at least 1")?;
        need(
            [s.glow_hu, s.base_hu, s.vertex_hu, s.noise_hu].iter().all(|hu| (0.0..=1000.0).contains(hu)),
            "samples.glow_hu, .base_hu, .vertex_hu and .noise_hu must lie between 0 and 1000",
        )?;
        need(
            [s.elastic_voxels, s.hu_offset, s.hu_scale].iter().all(|deviation| (0.0..=1000.0).contains(deviation)),
            "samples.elastic_voxels, .hu_offset and .hu_scale must lie between 0 and 1000",
        )?;
        need((0.0..=10.0).contains(&s.contrast), "samples.contrast must lie between 0 and 10")?;
        let multiple = network.multiple();
        need(fits([s.crop; 3], multiple), &format!("samples.crop must be a multiple of {multiple:?}, as the network needs"))?;
        need(
            s.patch == 0 || ((s.patch == 32 || s.patch == 64) && fits([s.patch; 3], multiple)),
            "samples.patch must be 0, 32 or 64, a multiple of what the network needs",
        )?;
        need(s.patch == 0 || !network.is_planar(), "samples.patch is for networks in 3D")
    }
}

impl Optimiser {
    fn check(&self) -> std::result::Result<(), String> {
        let o = self;
        let decays = [o.beta1, o.beta2, o.average, o.momentum];
        need(
            decays.iter().all(|decay| (0.0..1.0).contains(decay)),
            "optimiser.beta1, .beta2, .average and .momentum must lie between 0 and 1",
        )?;
        need(o.clip > 0.0 && o.epsilon > 0.0 && o.epsilon.is_finite(), "optimiser.clip and .epsilon must be above 0")?;
        need(o.muon >= 0.0 && o.muon.is_finite(), "optimiser.muon must not be below 0")
    }
}

impl Schedule {
    fn check(&self) -> std::result::Result<(), String> {
        let t = self;
        need(
            t.epochs > 0 && t.updates > 0 && t.batch > 0 && t.crop_batch > 0,
            "schedule.epochs, .updates, .batch and .crop_batch must be at least 1",
        )?;
        let counts = [t.epochs, t.least_epochs, t.patience, t.crop_epochs, t.updates, t.batch, t.crop_batch, t.warm_up];
        need(
            counts.iter().all(|&count| count <= MOST_COUNT),
            &format!("all of [schedule] that is counted must be at most {MOST_COUNT}"),
        )?;
        need(t.patience > 0, "schedule.patience must be at least 1")?;
        need(
            t.rate > 0.0 && t.last_rate >= 0.0 && t.rate.is_finite() && t.last_rate.is_finite(),
            "schedule.rate must be above 0, .last_rate not below",
        )
    }

    /// The learning rate of an update, counted from 0, of `total`.
    pub fn rate_at(&self, update: usize, total: usize) -> f64 {
        if update < self.warm_up {
            return self.rate * (update + 1) as f64 / self.warm_up as f64;
        }
        let done = (update - self.warm_up) as f64 / (total.saturating_sub(self.warm_up)).max(1) as f64;
        self.last_rate + (self.rate - self.last_rate) * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
    }

    /// Whether a training stops after these held-out losses, one for each epoch.
    pub fn stops(&self, losses: &[f64]) -> bool {
        if losses.len() < self.least_epochs.max(self.patience) {
            return false;
        }
        let averages: Vec<f64> = losses.windows(self.patience).map(|w| w.iter().sum::<f64>() / w.len() as f64).collect();
        let best = averages.iter().copied().fold(f64::INFINITY, f64::min);
        let last = averages.iter().position(|&average| average == best).unwrap_or(0);
        averages.len() - 1 - last >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(path: &Path) -> crate::Result<Config> {
        Config::load(Some(path), None, path.parent().unwrap())
    }

    #[test]
    fn a_config_is_read_as_it_was_written() {
        let config = Config { seed: 5, schedule: Schedule { epochs: 7, ..Schedule::default() }, ..Config::default() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config.to_toml()).unwrap();
        assert_eq!(read(&path).unwrap(), config);
        std::fs::write(&path, "[schedule]\nepochs = 3\n").unwrap();
        assert_eq!(read(&path).unwrap().schedule.epochs, 3);
    }

    #[test]
    fn the_options_in_the_docs_are_those_that_there_are() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let files = [docs.clone(), docs.join("context")].into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let files: Vec<_> =
            files.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some("toml".as_ref())).collect();
        assert!(files.len() >= 4, "{files:?}");
        files.iter().for_each(|path| drop(read(path).unwrap()));
        // The last block of options in docs/training.md says that they are the defaults.
        let text = std::fs::read_to_string(docs.join("training.md")).unwrap();
        let options = text.rsplit_once("```toml").unwrap().1.split_once("```").unwrap().0;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, options).unwrap();
        assert_eq!(read(&path).unwrap(), Config::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        for (text, word) in [
            ("[schedule]\nepoch = 3", "epoch"),
            ("[samples]\ncrop = 50", "samples.crop"),
            ("[samples]\npatch = 48", "samples.patch"),
            (
                "[network]\nkernel = [1, 5, 5]\nstride = [1, 2, 2]\nwidths = [4, 8]\nconvs = [1, 1]\nup_widths = [8]\nup_convs = [1]\nshared = true\nactivation = \"relu\"\n[samples]\npatch = 64",
                "samples.patch",
            ),
            ("threshold = 1.5", "threshold"),
            ("skull_margin_mm = 6.0", "skull_margin_mm"),
            ("[optimiser]\nbeta1 = 1.0", "beta1"),
            ("[optimiser]\nmuon = -1.0", "optimiser.muon"),
            ("[dropout]\nrate = 1.0", "dropout.rate"),
            ("[data]\nheld_out = 0", "held_out"),
            ("[data]\ngrid = [8, 16, 16]", "data.grid"),
            ("[schedule]\nbatch = 0", "batch"),
            ("[schedule]\nepochs = 2000000", "[schedule]"),
            ("[network]\nkernel = [3, 3, 3]", "network.kernel is [3, 3, 3]"),
            ("[network]\nkernel = [5, 5, 7]", "network.kernel"),
            ("[data]\nvolume_ml = [5.0, 1.0]", "data.volume_ml"),
            ("[data]\nthickness_mm = [0.0]", "data.thickness_mm"),
            ("[data]\ngrid = [112, 128, 112000]", "data.grid"),
            ("[samples]\nhu_offset = nan", "samples.elastic_voxels, .hu_offset"),
            ("[loss]\ndice = 0.0\ncross_entropy = 0.0", "loss.dice"),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = read(&path).unwrap_err().to_string();
            assert!(said.contains(word) && said.contains("config.toml"), "{said}");
        }
    }

    #[test]
    fn the_rate_grows_and_falls() {
        let schedule = Schedule { warm_up: 10, rate: 1.0, last_rate: 0.1, ..Schedule::default() };
        assert!((schedule.rate_at(0, 110) - 0.1).abs() < 1e-12);
        assert!((schedule.rate_at(10, 110) - 1.0).abs() < 1e-12);
        assert!((schedule.rate_at(60, 110) - 0.55).abs() < 1e-12);
        assert!((schedule.rate_at(110, 110) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn it_stops_when_the_average_no_longer_falls() {
        let schedule = Schedule { patience: 3, least_epochs: 0, ..Schedule::default() };
        let falling: Vec<f64> = (0..20).map(|n| 1.0 / f64::from(n + 1)).collect();
        assert!(!schedule.stops(&falling));
        // Averages of three: best at the third loss, then worse three times.
        assert!(!schedule.stops(&[3.0, 2.0, 1.0, 3.0, 3.0]));
        assert!(schedule.stops(&[3.0, 2.0, 1.0, 3.0, 3.0, 3.0]));
        assert!(!Schedule { least_epochs: 7, ..schedule }.stops(&[3.0, 2.0, 1.0, 3.0, 3.0, 3.0]));
    }
}
