//! One scan from HU to a hemorrhage mask in its own space.

use crate::memory;
use crate::network::inference::Inference;
use crate::network::sigmoid;
use crate::network::weights::{InputKind, Weights};
use crate::scan::Template;
use crate::scan::brain;
use crate::scan::brain::Missing;
use crate::scan::components::{self, Component};
use crate::scan::hu::{self, Values};
use crate::scan::inverse;
use crate::scan::pitchperfect::normals::Normals;
use crate::scan::pitchperfect::{self, Found};
use crate::scan::postprocess::Postprocessing;
use crate::scan::registration::{self, Registration, RegistrationQuality};
use crate::scan::second_opinion::{self, Method, SecondOpinion};
use crate::scan::skull_margin::SkullMargin;
use crate::scan::space;
use crate::scan::template;
use crate::scan::warnings::{self, Warning};
use crate::scan::{Error, Result};
use crate::volume::orientation::{self, Orientation};
use crate::volume::{Affine, Grid, Volume, morphology, resample};
use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Slices of the 2D network have this many voxels along both sides (Sharrock et al. 2020).
const SLICE_SIDE: usize = 512;
/// Bytes for each voxel of a scan that brain extraction has at once beside it, at least: the scan in another order, its brain alone, and a mask.
const WORKING_BYTES: u64 = 9;

/// A brain mask's corner voxels are no further from the scan's than this share of its smallest spacing: headers are in
/// single precision.
const SAME_PLACE: f64 = 0.01;

/// How the brain of a scan is found.
#[derive(Clone, Debug)]
pub enum BrainSource {
    /// By brain extraction.
    Extract(brain::Options),
    /// It is given, on the scan's points, in any order of axes.
    Mask(Volume<bool>),
    /// The scan holds nothing else: everything that is not 0.
    SkullStripped,
}

/// How HU are found between voxels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Linear, as the released DeepBleed program does.
    #[default]
    Linear,
    /// The nearest voxel's, as the DeepBleed paper says.
    Nearest,
}

impl Interpolation {
    /// A scan on `grid`; `transform` takes the grid's world to the scan's. 0 outside the scan.
    ///
    /// # Errors
    /// As [`resample::linear`].
    pub fn resample(self, scan: &Volume<f32>, grid: &Grid, transform: &Affine) -> Result<Volume<f32>> {
        Ok(match self {
            Interpolation::Linear => resample::linear(scan, grid, transform, 0.0)?,
            Interpolation::Nearest => resample::nearest(scan, grid, transform, 0.0)?,
        })
    }
}

/// What [`segment`] can be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// What finds the hemorrhage.
    pub method: Method,
    /// Whether a second method looks too: PItcHPERFeCT, beside a network.
    pub second_opinion: bool,
    /// Whether components are left out of which the second method sees nothing.
    pub drop_unseen: bool,
    /// What PItcHPERFeCT compares with; the built-in healthy brains if `None`.
    pub normals: Option<Arc<Normals>>,
    /// How the brain is found.
    pub brain: BrainSource,
    /// Whether blood is sought outside the brain mask too.
    pub outside_brain: bool,
    /// How the scan is resampled into template space.
    pub interpolation: Interpolation,
    /// Probability above which a voxel is hemorrhage; the weights' own (else 0.5) if `None`.
    pub threshold: Option<f32>,
    /// What is done to the mask on the scan's grid; nothing by default.
    pub postprocessing: Postprocessing,
    /// Whether the probability comes back to the scan's own grid too.
    pub probability: bool,
    /// Whether a result that cannot be right is kept, in place of an error.
    pub keep_doubtful: bool,
}

impl Options {
    /// The probability above which a voxel is hemorrhage with these weights, or with the method that needs none.
    pub(crate) fn threshold_for(&self, weights: &Weights) -> f32 {
        match self.method {
            Method::Network => self.threshold.or(weights.metadata().threshold).unwrap_or(0.5),
            Method::Pitchperfect => self.threshold.unwrap_or(pitchperfect::CUTOFF),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            method: Method::Network,
            second_opinion: true,
            drop_unseen: false,
            normals: None,
            brain: BrainSource::Extract(brain::Options::default()),
            outside_brain: false,
            interpolation: Interpolation::Linear,
            threshold: None,
            postprocessing: Postprocessing::default(),
            probability: false,
            keep_doubtful: false,
        }
    }
}

/// A scan whose brain alone is left, in the order of axes nearest to RAS.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// HU inside the brain, 0 elsewhere.
    pub masked: Volume<f32>,
    /// The brain.
    pub brain: Volume<bool>,
    /// What blood between brain and bone may fill, where it was asked for.
    pub skull_margin: SkullMargin,
    /// The scan's own grid, with its own order of axes.
    pub own_grid: Grid,
    /// Whether the brain was not sought but given: by a mask, or by a scan that holds nothing else.
    pub given: bool,
    /// What should be known before the result is trusted.
    pub warnings: Vec<Warning>,
    /// Seconds of each stage.
    pub seconds: BTreeMap<String, f64>,
}

impl Prepared {
    /// Fails where one of the warnings is a doubt, so that nothing that comes of the scan can be right. `path` is for the message.
    ///
    /// # Errors
    /// [`Error::Scan`] with the doubt and the way out of it.
    pub fn check(&self, path: &Path) -> Result<()> {
        no_doubt(&self.warnings, self.given, path)
    }
}

/// Fails where one of the warnings is a doubt. Of several the one is told that the others follow from: that of all values, then that of the brain's size.
fn no_doubt(warnings: &[Warning], given: bool, path: &Path) -> Result<()> {
    let rank = |doubt: &&Warning| match doubt {
        Warning::NotHu { inside: false, .. } => 0,
        Warning::BrainVolume { .. } => 1,
        Warning::NotHu { .. } => 2,
        _ => 3,
    };
    match warnings.iter().filter(|warning| warning.is_doubt()).min_by_key(rank) {
        Some(doubt) => Err(Error::Scan { path: path.to_path_buf(), problem: format!("{doubt}; {}", doubt.way_out(given)) }),
        None => Ok(()),
    }
}

/// Network input, output and mask in the space where the network ran.
#[derive(Clone, Debug)]
pub struct NetworkSpace {
    /// The network's input: HU, 0 outside the brain.
    pub input: Volume<f32>,
    /// Probability of hemorrhage; 0 where it was not sought.
    pub probability: Volume<f32>,
    /// Where it is above the threshold.
    pub mask: Volume<bool>,
}

/// The result of [`segment`].
#[derive(Clone, Debug)]
pub struct Segmentation {
    /// The hemorrhage, on the scan's own grid.
    pub mask: Volume<bool>,
    /// The brain, on the scan's own grid.
    pub brain: Volume<bool>,
    /// The hemorrhage's connected components, the largest first.
    pub components: Vec<Component>,
    /// What a second method says, where it was asked.
    pub second_opinion: Option<SecondOpinion>,
    /// The components of which the second method sees nothing, on the scan's own grid, where there are any.
    pub unseen: Option<Volume<bool>>,
    /// Probability of hemorrhage on the scan's own grid, where it was asked for.
    pub probability: Option<Volume<f32>>,
    /// The network's space: the template's, or the scan's slices for a 2D network.
    pub network: NetworkSpace,
    /// How the scan lies on the template; `None` for a network that works in the scan's own space.
    pub registration: Option<Registration>,
    /// The threshold that was used.
    pub threshold: f32,
    /// What should be known before the result is trusted.
    pub warnings: Vec<Warning>,
    /// Seconds of each stage.
    pub seconds: BTreeMap<String, f64>,
}

impl Segmentation {
    /// Number of voxels of the hemorrhage.
    pub fn voxels(&self) -> usize {
        self.mask.count()
    }

    /// Whether the result cannot be right and was kept all the same ([`Options::keep_doubtful`]).
    pub fn is_doubtful(&self) -> bool {
        self.warnings.iter().any(Warning::is_doubt)
    }

    /// Volume of the hemorrhage in mL: voxels times the volume of a voxel, from the affine.
    pub fn volume_ml(&self) -> f64 {
        self.mask.volume_ml()
    }

    /// How well the scan lies on the template.
    pub fn quality(&self) -> Option<RegistrationQuality> {
        self.registration.as_ref().map(Registration::quality)
    }
}

/// Finds the brain of a scan: axes in the order nearest to RAS, clamp, brain mask, 0 outside of it.
///
/// `path` is for the messages.
///
/// # Errors
/// [`Error::Scan`] where the scan is empty, no brain is found, or the brain mask has another grid than the scan.
pub fn prepare(scan: Volume<f32>, source: &BrainSource, path: &Path) -> Result<Prepared> {
    prepare_with_margin(scan, source, 0.0, path)
}

/// As [`prepare`], with the margin at the skull, so many mm wide.
fn prepare_with_margin(scan: Volume<f32>, source: &BrainSource, margin_mm: f32, path: &Path) -> Result<Prepared> {
    let problem = |problem: String| Error::Scan { path: path.to_path_buf(), problem };
    let voxels = scan.grid().len() as u64;
    memory::check(WORKING_BYTES * voxels, || format!("{}: the work on its {voxels} voxels", path.display()))?;
    let mut seconds = BTreeMap::new();
    let start = Instant::now();
    let own_grid = scan.grid().clone();
    // From here on nothing depends on the order of the axes in the file.
    let mut scan = to_ras(scan);
    let values: Values = hu::clamp(&mut scan);
    let skull_stripped = matches!(source, BrainSource::SkullStripped);
    let mut warnings = Vec::new();
    let thickest = scan.grid().spacing().into_iter().fold(0.0, f64::max);
    if thickest > warnings::THICKEST_SLICE_MM {
        warnings.push(Warning::ThickSlices { mm: thickest });
    }

    let mut missing = None;
    let brain = match source {
        BrainSource::Extract(options) => {
            let found = brain::extract(&scan, options).map_err(|error| {
                // Where the values are no HU, that is why.
                no_doubt(&values.warnings(true), false, path).err().unwrap_or_else(|| problem(error.to_string()))
            })?;
            warnings.extend(brain_doubts(&found));
            missing = found.missing;
            found.mask
        }
        BrainSource::Mask(mask) => match orientation::onto_same_points(mask, &own_grid, SAME_PLACE) {
            Some(mask) => to_ras(mask),
            None => {
                return Err(problem(format!(
                    "the brain mask has another grid: {:?} voxels for the scan's {:?}, or another affine",
                    mask.grid().shape,
                    own_grid.shape
                )));
            }
        },
        BrainSource::SkullStripped => filled(scan.map(|&hu| hu != 0.0)),
    };
    let brain_ml = brain.volume_ml();
    if brain_ml == 0.0 {
        return Err(problem("there is no brain in it: every voxel is outside the brain mask".into()));
    }
    if !(warnings::BRAIN_ML[0]..=warnings::BRAIN_ML[1]).contains(&brain_ml) {
        warnings.push(Warning::BrainVolume { ml: brain_ml });
    }
    if !skull_stripped {
        warnings.extend(cut_sides(&brain));
    }
    warnings.extend(missing.map(|Missing { band, fill }| Warning::Missing { band, fill }));
    let of_values = values.warnings(!skull_stripped && missing.is_none());
    if !of_values.iter().any(Warning::is_doubt) {
        warnings.extend(inside_doubt(&scan, &brain));
    }
    warnings.extend(of_values);
    warnings.extend(contrast_or_kernel(&scan, &brain));

    let skull_margin = SkullMargin::of(&scan, margin_mm);
    let mut masked = scan;
    if let Some(fill) = missing.and_then(|missing| missing.fill) {
        // What is missing inside the brain is not known: 0, as outside.
        masked.voxels_mut().par_iter_mut().filter(|hu| **hu == fill).for_each(|hu| *hu = 0.0);
    }
    masked.voxels_mut().par_iter_mut().zip(brain.voxels()).filter(|(_, inside)| !**inside).for_each(|(hu, _)| *hu = 0.0);
    seconds.insert("brain".into(), start.elapsed().as_secs_f64());
    let given = !matches!(source, BrainSource::Extract(_));
    Ok(Prepared { masked, brain, skull_margin, own_grid, given, warnings, seconds })
}

/// Warnings for a brain that brain extraction found where there may be none: by the bone that covers it and by its shape.
fn brain_doubts(found: &brain::Extraction) -> Vec<Warning> {
    let mut doubts = Vec::new();
    if found.bone_cover < warnings::BONE_COVER {
        doubts.push(Warning::LittleBone { share: found.bone_cover });
    }
    let is_cut = found.cut_cm2.iter().flatten().any(|cm2| *cm2 > warnings::CUT_CM2);
    if let Some(reason) = found.shape.as_ref().and_then(|shape| shape_doubt(shape, is_cut)) {
        doubts.push(Warning::BrainShape { reason });
    }
    doubts
}

/// What of a shape no brain has.
fn shape_doubt(shape: &brain::Shape, is_cut: bool) -> Option<String> {
    let [longest, _, shortest] = shape.axes_mm;
    if shape.solidity < warnings::SOLIDITY {
        let (fills, least) = (100.0 * shape.solidity, 100.0 * warnings::SOLIDITY);
        return Some(format!("it fills {fills:.0}% of an ellipsoid of its extent, where a brain fills {least:.0}% at least"));
    }
    if longest > warnings::LONGEST_MM {
        return Some(format!("it is {longest:.0} mm long, where brains have up to 200 mm"));
    }
    (!is_cut && shortest < warnings::FLATTEST * longest)
        .then(|| format!("it is whole and {shortest:.0} mm thick, with a length of {longest:.0} mm"))
}

/// The doubt that the values inside the brain are HU: by their median, without voxels of 0, which may stand for what is missing, and by
/// how many are as bright as bone.
fn inside_doubt(scan: &Volume<f32>, brain: &Volume<bool>) -> Option<Warning> {
    let inside = scan.voxels().par_iter().zip(brain.voxels()).filter(|(hu, inside)| **inside && **hu != 0.0);
    let mut values: Vec<f32> = inside.map(|(hu, _)| *hu).collect();
    if values.is_empty() {
        return None;
    }
    let bright = values.par_iter().filter(|hu| **hu > warnings::BRIGHT_HU).count() as f64 / values.len() as f64;
    let middle = values.len() / 2;
    let median = *values.select_nth_unstable_by(middle, f32::total_cmp).1;
    let [least, most] = warnings::BRAIN_HU;
    let [few, many] = warnings::USUAL_BRAIN_HU;
    let sure = !(least..=most).contains(&median) || bright > warnings::BRIGHT_SHARE;
    let reason = if !(least..=most).contains(&median) {
        format!(
            "the median inside the brain is {median:.0}, where brains have 20 to 45 HU: grey values of a window, another scale or an offset"
        )
    } else if bright > warnings::BRIGHT_SHARE {
        format!("{:.0}% of what was taken for the brain are above {:.0}", 100.0 * bright, warnings::BRIGHT_HU)
    } else if !(few..=many).contains(&median) {
        format!(
            "the median inside the brain is {median:.0}, where brains have 20 to 45 HU: an offset or another scale is suspected"
        )
    } else {
        return None;
    };
    Some(Warning::NotHu { reason, sure, inside: true })
}

/// A mask with its holes filled: voxels of 0 HU inside a brain are part of it.
fn filled(mut mask: Volume<bool>) -> Volume<bool> {
    let shape = mask.grid().shape;
    morphology::fill_holes(mask.voxels_mut(), shape);
    mask
}

/// The volume in the order of axes nearest to RAS; as it is where it has that order.
fn to_ras<T: Copy + Send + Sync>(volume: Volume<T>) -> Volume<T> {
    if Orientation::of(&volume.grid().affine) == Orientation::RAS { volume } else { orientation::to_ras(&volume) }
}

/// A scan that waits for the network, with the options that it was made ready with: [`make_ready`] makes it,
/// [`find_blood`] takes it.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// The scan's file, for messages.
    path: PathBuf,
    options: Options,
    brain: Volume<bool>,
    skull_margin: SkullMargin,
    own_grid: Grid,
    /// The network's input, and where blood is sought in it; everywhere if `None`.
    input: Volume<f32>,
    sought: Option<Volume<bool>>,
    /// Takes the network's world to the scan's.
    to_scan: Affine,
    registration: Option<Registration>,
    /// What PItcHPERFeCT found, where it was asked.
    pitchperfect: Option<OwnSpace>,
    /// Whether the template is the built-in one, in which places have names.
    places: bool,
    /// Where the brain's halves meet: x (RAS mm) in the template, or in the scan where there is no registration.
    midline: f64,
    warnings: Vec<Warning>,
    seconds: BTreeMap<String, f64>,
}

/// What PItcHPERFeCT found, in the built-in template's world.
#[derive(Clone, Debug)]
struct OwnSpace {
    found: Found,
    /// Takes that world to the scan's.
    to_scan: Affine,
}

impl OwnSpace {
    /// The transform from the scan's world to its own.
    fn to_own(&self) -> Result<Affine> {
        self.to_scan.inverse().ok_or_else(|| Error::Shape("the registration is not invertible".into()))
    }

    /// Its mask, and what it sees at all, on the grid of the scan's brain.
    fn on_scan(&self, brain: &Volume<bool>) -> Result<(Volume<bool>, Volume<bool>)> {
        let to_own = self.to_own()?;
        let on_scan = |mask: &Volume<bool>| inverse::mask_on(mask, brain.grid(), &to_own, Some(brain));
        let seen = self.found.probability.map(|&probability| probability > second_opinion::SEEN);
        Ok((on_scan(&self.found.mask), on_scan(&seen)))
    }
}

/// Segments one scan: brain, registration to `template`, network, threshold, inverse transform.
///
/// The brain mask bounds the search in both spaces, unless `outside_brain` is asked for. The mask comes back by linear interpolation of the
/// template-space mask, cut at one half (what ANTs calls a generic label); where the weights ask for it, blood at the brain's edge then goes on between brain and bone.
/// So does the network's probability, where the options ask for it.
///
/// # Errors
/// As [`prepare`], [`registration::register`] and the device.
pub fn segment(
    scan: Volume<f32>,
    template: &Volume<f32>,
    options: &Options,
    inference: &mut Inference,
    path: &Path,
) -> Result<Segmentation> {
    find_blood(make_ready(scan, template, options, inference.weights(), path)?, inference)
}

/// The first half of [`segment`], all that comes before the network: brain, registration, resampling.
///
/// # Errors
/// As [`prepare`] and [`registration::register`].
pub(crate) fn make_ready(
    scan: Volume<f32>,
    template: &Volume<f32>,
    options: &Options,
    weights: &Weights,
    path: &Path,
) -> Result<Ready> {
    // With blood sought outside of the brain the network's answer stands there.
    let margin_mm =
        if options.outside_brain || options.method != Method::Network { 0.0 } else { weights.metadata().skull_margin_mm };
    let Prepared { masked, brain, skull_margin, own_grid, given, mut warnings, mut seconds } =
        prepare_with_margin(scan, &options.brain, margin_mm, path)?;
    if !options.keep_doubtful {
        no_doubt(&warnings, given, path)?;
    }
    // The network's grid, and the rigid transform from its world to the scan's.
    let start = Instant::now();
    let in_slices = weights.metadata().input == InputKind::NativeSlices && options.method == Method::Network;
    let registration = if in_slices { None } else { Some(registered(&masked, template, path)?) };
    let (grid, to_scan) = match &registration {
        Some(registration) => {
            if registration.is_poor() {
                warnings.push(Warning::PoorRegistration {
                    overlap: registration.overlap,
                    mutual_information: registration.mutual_information,
                    brain_ml: brain.volume_ml(),
                });
            }
            if !options.keep_doubtful {
                no_doubt(&warnings, given, path)?;
            }
            (template.grid().clone(), registration.template_to_scan)
        }
        None => (slice_grid(masked.grid()), Affine::IDENTITY),
    };
    seconds.insert("registration".into(), start.elapsed().as_secs_f64());

    let start = Instant::now();
    let input = options.interpolation.resample(&masked, &grid, &to_scan)?;
    let sought = if options.outside_brain { None } else { Some(resample::nearest(&brain, &grid, &to_scan, false)?) };
    seconds.insert("resampling".into(), start.elapsed().as_secs_f64());
    let places = registration.is_some() && *template == template::built_in();
    let start = Instant::now();
    let known = registration.as_ref().filter(|_| places).map(|registration| registration.template_to_scan);
    let pitchperfect = ask_pitchperfect(&masked, &brain, known, options, path)?;
    if pitchperfect.is_some() {
        seconds.insert("pitchperfect".into(), start.elapsed().as_secs_f64());
    }
    let midline = match &registration {
        Some(_) => components::midline(template, |&hu| hu > 0.0),
        None => components::midline(&brain, |&inside| inside),
    };
    // A mask of the brain is not needed any more, and not copied.
    let options = Options { brain: BrainSource::SkullStripped, normals: None, ..*options };
    let path = path.to_path_buf();
    Ok(Ready {
        path,
        options,
        brain,
        skull_margin,
        own_grid,
        input,
        sought,
        to_scan,
        registration,
        pitchperfect,
        places,
        midline,
        warnings,
        seconds,
    })
}

/// The brain of a scan on the brain of a template.
fn registered(masked: &Volume<f32>, template: &Volume<f32>, path: &Path) -> Result<Registration> {
    let found = registration::register(masked, template, &registration::Options::default());
    found.map_err(Error::registration(path))
}

/// What PItcHPERFeCT finds in a scan, where it is the method or is asked beside a network; `known` takes the built-in
/// template's world to the scan's, where that was found already.
fn ask_pitchperfect(
    masked: &Volume<f32>,
    brain: &Volume<bool>,
    known: Option<Affine>,
    options: &Options,
    path: &Path,
) -> Result<Option<OwnSpace>> {
    let cutoff = match options.method {
        Method::Pitchperfect => options.threshold.unwrap_or(pitchperfect::CUTOFF),
        Method::Network if options.second_opinion => pitchperfect::CUTOFF,
        Method::Network => return Ok(None),
    };
    let find = || {
        let to_scan = match known {
            Some(to_scan) => to_scan,
            None => registered(masked, &template::built_in(), path)?.template_to_scan,
        };
        let normals = options.normals.as_deref().unwrap_or_else(|| Normals::built_in());
        Ok(OwnSpace { found: pitchperfect::find(masked, brain, &to_scan, normals, cutoff)?, to_scan })
    };
    match find() {
        // A second opinion that there is not is no reason to have none at all.
        Err(error) if options.method == Method::Network && !options.drop_unseen => {
            log::debug!("{}: no second opinion: {error}", path.display());
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// The second half of [`segment`]: network, threshold, inverse transform.
///
/// # Errors
/// Those of the device; [`Error::Scan`] where the result cannot be right and is not to be kept.
pub(crate) fn find_blood(ready: Ready, inference: &mut Inference) -> Result<Segmentation> {
    let Ready { path, options, brain, skull_margin, own_grid, input, sought, to_scan, registration, midline, .. } = ready;
    let (mut warnings, mut seconds) = (ready.warnings, ready.seconds);
    let threshold = options.threshold_for(inference.weights());
    let to_network = to_scan.inverse().ok_or_else(|| Error::Shape("the registration is not invertible".into()))?;

    // The method's own space, and the transform that takes the scan's world to it.
    let (network, to_found) = match (options.method, &ready.pitchperfect) {
        (Method::Pitchperfect, Some(own)) => {
            let Found { input, probability, mask } = own.found.clone();
            (NetworkSpace { input, probability, mask }, own.to_own()?)
        }
        _ => {
            let start = Instant::now();
            let network = run_network(inference, input, sought.as_ref(), threshold)?;
            seconds.insert("network".into(), start.elapsed().as_secs_f64());
            (network, to_network)
        }
    };

    let start = Instant::now();
    let within = (!options.outside_brain).then_some(&brain);
    let mut own = inverse::mask_on(&network.mask, brain.grid(), &to_found, within);
    options.postprocessing.apply(&mut own, within);
    skull_margin.add_to(&mut own, &brain);
    let beside = ready.pitchperfect.as_ref().filter(|_| options.method == Method::Network);
    let (second, seen) = beside.map(|second| second.on_scan(&brain)).transpose()?.unzip();
    if let (Some(seen), true) = (&seen, options.drop_unseen) {
        second_opinion::drop_unseen(&mut own, seen);
    }
    let components = components::find(&own, registration.is_some().then_some(&to_network), midline, seen.as_ref());
    let opinion = second.as_ref().map(|second| SecondOpinion::of(Method::Pitchperfect, &own, second));
    warnings.extend(opinion.as_ref().and_then(|opinion| opinion.warning(own.volume_ml(), &components, ready.places)));
    let unseen = seen.as_ref().and_then(|seen| second_opinion::unseen(&own, seen));
    let probability = options.probability.then(|| probability_on(&network.probability, brain.grid(), &to_found, within));
    let probability = probability.transpose()?.map(|values| orientation::from_ras(&values, &own_grid));
    if let Some(share) = share_on_edge(&own, &brain)
        && share > warnings::EDGE_SHARE
    {
        warnings.push(Warning::OnBrainEdge { share });
    }
    let share = own.count() as f64 / brain.count().max(1) as f64;
    if share > warnings::BLOOD_SHARE[0] {
        warnings.push(Warning::MuchBlood { share });
    }
    let (mask, brain) = (orientation::from_ras(&own, &own_grid), orientation::from_ras(&brain, &own_grid));
    let unseen = unseen.map(|unseen| orientation::from_ras(&unseen, &own_grid));
    seconds.insert("inverse".into(), start.elapsed().as_secs_f64());
    warnings.sort_by_key(Warning::number);
    let found = Segmentation {
        mask,
        brain,
        components,
        second_opinion: opinion,
        unseen,
        probability,
        network,
        registration,
        threshold,
        warnings,
        seconds,
    };
    if !options.keep_doubtful {
        no_doubt(&found.warnings, false, &path)?;
    }
    Ok(found)
}

/// A pass of the network over its input, within what is `sought`: probability, and where it is above `threshold`.
fn run_network(
    inference: &mut Inference,
    input: Volume<f32>,
    sought: Option<&Volume<bool>>,
    threshold: f32,
) -> Result<NetworkSpace> {
    let grid = input.grid().clone();
    let logits = network_logits(inference, &input, sought)?;
    // p > t exactly where logit > ln(t / (1 - t)); for 0.5 that is 0.
    let limit = (f64::from(threshold) / (1.0 - f64::from(threshold))).ln() as f32;
    let mask = space::from_network(logits.mapv(|logit| logit > limit).view(), grid.clone());
    let probability = space::from_network(logits.mapv(sigmoid).view(), grid);
    Ok(NetworkSpace { input, probability, mask })
}

/// A probability on the scan's grid, 0 where blood was not sought.
fn probability_on(
    probability: &Volume<f32>,
    grid: &Grid,
    to_found: &Affine,
    within: Option<&Volume<bool>>,
) -> Result<Volume<f32>> {
    let mut values = resample::linear(probability, grid, to_found, 0.0)?;
    if let Some(within) = within {
        values.voxels_mut().par_iter_mut().zip(within.voxels()).filter(|(_, inside)| !**inside).for_each(|(p, _)| *p = 0.0);
    }
    Ok(values)
}

/// Logits (i, j, k) of a volume in the network's space. A 2D network sees the slices along k.
fn network_logits(inference: &mut Inference, input: &Volume<f32>, sought: Option<&Volume<bool>>) -> Result<Array3<f32>> {
    if !inference.weights().description().is_planar() {
        let sought = sought.map(space::to_network);
        return Ok(inference.logits(space::to_network(input).view(), sought.as_ref().map(|s| s.view()))?);
    }
    // (i, j, k) -> (k, i, j) and back.
    let slices = |view: ArrayView3<f32>| view.permuted_axes([2, 0, 1]).as_standard_layout().into_owned();
    let sought = sought.map(|s| space::view(s).permuted_axes([2, 0, 1]).as_standard_layout().into_owned());
    let logits = inference.logits(slices(space::view(input)).view(), sought.as_ref().map(|s| s.view()))?;
    Ok(logits.permuted_axes([1, 2, 0]).as_standard_layout().into_owned())
}

/// The shape (D, H, W) of the volumes that a network with these weights gets; slices of a 2D network are as many as a scan
/// has.
pub fn network_shape(weights: &Weights, template: &Template) -> [usize; 3] {
    match weights.metadata().input {
        InputKind::NativeSlices => [usize::MAX, SLICE_SIDE, SLICE_SIDE],
        InputKind::Template | InputKind::TemplatePatches { .. } => template.volume.grid().shape,
    }
}

/// The same slices with 512x512 voxels over the same field of view.
pub(crate) fn slice_grid(grid: &Grid) -> Grid {
    let [ni, nj, nk] = grid.shape;
    let (si, sj) = (ni as f64 / SLICE_SIDE as f64, nj as f64 / SLICE_SIDE as f64);
    // Voxel edges coincide: centre n of the new row lies at (n + 1/2) s - 1/2 of the old one.
    let scale = Affine::new([[si, 0.0, 0.0], [0.0, sj, 0.0], [0.0, 0.0, 1.0]], [(si - 1.0) / 2.0, (sj - 1.0) / 2.0, 0.0]);
    Grid { shape: [SLICE_SIDE, SLICE_SIDE, nk], affine: grid.affine.after(&scale) }
}

/// Warnings for brain in the outermost layers of a grid whose axes are in the order nearest to RAS.
fn cut_sides(brain: &Volume<bool>) -> Vec<Warning> {
    let names = [["left", "right"], ["back", "front"], ["lower", "upper"]];
    let areas = brain::cut_areas(brain);
    let cut = names.iter().flatten().zip(areas.iter().flatten()).filter(|(_, cm2)| **cm2 > warnings::CUT_CM2);
    cut.map(|(&side, &cm2)| Warning::BrainCut { side, cm2 }).collect()
}

/// Warning for a scan whose values inside the brain look like contrast agent or a bone kernel.
fn contrast_or_kernel(scan: &Volume<f32>, brain: &Volume<bool>) -> Option<Warning> {
    let noise = hu::noise(scan, brain)?;
    if noise > warnings::BONE_KERNEL_HU {
        return Some(Warning::ContrastOrKernel { reason: format!("noise of {noise:.0} HU inside the brain") });
    }
    let bright =
        scan.voxels().par_iter().zip(brain.voxels()).filter(|(hu, inside)| **inside && (110.0..400.0).contains(*hu)).count();
    let ml = bright as f64 * scan.grid().voxel_mm3() / 1000.0;
    (ml > warnings::CONTRAST_ML)
        .then(|| Warning::ContrastOrKernel { reason: format!("{ml:.1} mL of 110 to 400 HU inside the brain") })
}

/// Share of a mask's surface (faces between voxels, by area) that it has in common with the edge of the brain; `None` for an empty mask.
fn share_on_edge(mask: &Volume<bool>, brain: &Volume<bool>) -> Option<f64> {
    let shape = mask.grid().shape;
    let spacing = mask.grid().spacing();
    let areas = [spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]];
    let (mut surface, mut on_edge) = (0.0, 0.0);
    let steps = [1, shape[0], shape[0] * shape[1]];
    for (index, _) in mask.voxels().iter().enumerate().filter(|(_, inside)| **inside) {
        let at = mask.grid().ijk(index);
        for axis in 0..3 {
            let below = (at[axis] > 0).then(|| index - steps[axis]);
            let above = (at[axis] + 1 < shape[axis]).then(|| index + steps[axis]);
            for neighbour in [below, above] {
                if neighbour.is_none_or(|n| !mask.voxels()[n]) {
                    surface += areas[axis];
                    if neighbour.is_none_or(|n| !brain.voxels()[n]) {
                        on_edge += areas[axis];
                    }
                }
            }
        }
    }
    (surface > 0.0).then(|| on_edge / surface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::mask;

    #[test]
    fn a_cut_brain_is_told_by_its_side() {
        // 12 x 12 voxels of 2 x 3 mm in the topmost layer: 8.64 cm2.
        let inside = |n: usize| (1..13).contains(&n);
        let brain = mask([14, 14, 4], |[i, j, k]| inside(i) && inside(j) && k > 0);
        assert_eq!(cut_sides(&brain), [Warning::BrainCut { side: "upper", cm2: 8.64 }]);
        let brain = mask([14, 14, 4], |[i, j, k]| i < 13 && inside(j) && k > 0 && k < 3);
        assert!(cut_sides(&brain).is_empty(), "3.6 cm2 on the left are less than the limit");
    }

    #[test]
    fn the_share_on_the_edge_counts_faces_by_area() {
        let brain = mask([4, 4, 4], |[_, _, k]| k < 3);
        // One voxel below the brain's upper edge: of 2 (6 + 10 + 15) mm2, 6 lie on it.
        let bleed = mask([4, 4, 4], |at| at == [1, 1, 2]);
        assert_eq!(share_on_edge(&bleed, &brain), Some(6.0 / 62.0));
        assert_eq!(share_on_edge(&mask([4, 4, 4], |_| false), &brain), None);
        // The grid's end is the brain's: three faces of a voxel in a corner, one along each axis.
        for corner in [[0; 3], [3; 3]] {
            assert_eq!(share_on_edge(&mask([4, 4, 4], |at| at == corner), &mask([4, 4, 4], |_| true)), Some(0.5));
        }
    }

    #[test]
    fn slices_keep_their_field_of_view() {
        let grid = mask([256, 128, 3], |_| false).grid().clone();
        let slices = slice_grid(&grid);
        // The outer edges of the first and last voxels stay where they were.
        assert_eq!(slices.affine.apply([-0.5, -0.5, 0.0]), grid.affine.apply([-0.5, -0.5, 0.0]));
        assert_eq!(slices.affine.apply([511.5, 511.5, 2.0]), grid.affine.apply([255.5, 127.5, 2.0]));
    }

    /// A brain of 35 HU, as large as the grid, and its mask.
    fn block() -> (Volume<f32>, Volume<bool>) {
        let brain = mask([60, 50, 40], |_| true);
        (brain.map(|_| 35.0), brain)
    }

    #[test]
    fn a_brain_mask_is_on_the_scans_points() {
        let (scan, brain) = block();
        let moved = |mm: f64| {
            let mut mask = brain.clone();
            let grid = mask.grid().clone();
            let shift = Affine::new(Affine::IDENTITY.matrix(), [mm, 0.0, 0.0]);
            mask = Volume::new(Grid { affine: shift.after(&grid.affine), ..grid }, mask.into_voxels());
            prepare(scan.clone(), &BrainSource::Mask(mask), std::path::Path::new("scan.nii"))
        };
        // The smallest spacing is 2 mm.
        assert_eq!(moved(0.01).unwrap().brain, brain);
        assert!(moved(0.1).unwrap_err().to_string().contains("the brain mask has another grid"));
        assert!(moved(60.0).is_err());
        let nothing = BrainSource::Mask(brain.map(|_| false));
        let error = prepare(scan, &nothing, std::path::Path::new("scan.nii")).unwrap_err().to_string();
        assert!(error.contains("there is no brain in it"), "{error}");
    }

    #[test]
    fn a_scan_of_the_brain_alone_ends_where_the_brain_does() {
        let (scan, brain) = block();
        let numbers = |source| {
            let prepared = prepare(scan.clone(), &source, std::path::Path::new("scan.nii")).unwrap();
            prepared.warnings.iter().filter(|warning| matches!(warning, Warning::BrainCut { .. })).count()
        };
        assert_eq!(numbers(BrainSource::SkullStripped), 0);
        assert_eq!(numbers(BrainSource::Mask(brain.clone())), 6);
    }

    #[test]
    fn slices_above_the_limit_are_thick() {
        let is_thick = |mm: f64| {
            let (scan, _) = block();
            let affine = Affine::new([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, mm]], [0.0; 3]);
            let scan = Volume::new(Grid { affine, ..scan.grid().clone() }, scan.into_voxels());
            let prepared = prepare(scan, &BrainSource::SkullStripped, Path::new("scan.nii")).unwrap();
            prepared.warnings.iter().any(|warning| matches!(warning, Warning::ThickSlices { .. }))
        };
        assert_eq!([is_thick(7.0), is_thick(7.5)], [false, true]);
    }

    #[test]
    fn of_several_doubts_the_one_is_told_that_the_others_follow_from() {
        let not_hu = |inside: bool| Warning::NotHu { reason: format!("inside {inside}"), sure: true, inside };
        let order = [not_hu(false), Warning::BrainVolume { ml: 100.0 }, not_hu(true), Warning::LittleBone { share: 0.1 }];
        for (first, doubt) in order.iter().enumerate() {
            let doubts: Vec<Warning> = order[first..].iter().rev().cloned().collect();
            let error = no_doubt(&doubts, false, Path::new("scan.nii")).unwrap_err().to_string();
            assert!(error.contains(&doubt.to_string()), "{error}");
        }
        assert!(no_doubt(&[Warning::ThickSlices { mm: 9.0 }], false, Path::new("scan.nii")).is_ok());
    }

    #[test]
    fn a_shape_that_no_brain_has_is_told() {
        let doubt = |solidity: f64, axes_mm: [f64; 3], is_cut: bool| shape_doubt(&brain::Shape { solidity, axes_mm }, is_cut);
        let size = [180.0, 140.0, 120.0];
        assert_eq!(doubt(0.93, size, false), None);
        // Each just on its limit.
        assert_eq!(doubt(0.55, [400.0, 300.0, 160.0], false), None);
        let hollow = "it fills 50% of an ellipsoid of its extent, where a brain fills 55% at least";
        assert_eq!(doubt(0.5, size, true).unwrap(), hollow);
        let long = "it is 401 mm long, where brains have up to 200 mm";
        assert_eq!(doubt(0.9, [401.0, 300.0, 200.0], true).unwrap(), long);
        // A flat one may be cut by the field of view.
        let flat = "it is whole and 60 mm thick, with a length of 200 mm";
        assert_eq!(doubt(0.9, [200.0, 140.0, 60.0], false).unwrap(), flat);
        assert_eq!(doubt(0.9, [200.0, 140.0, 60.0], true), None);
    }

    #[test]
    fn a_brain_is_doubted_by_its_bone_and_by_its_shape_where_it_is_whole() {
        let numbers = |bone_cover: f64, cut: f64| -> Vec<u8> {
            let (_, mask) = block();
            let shape = Some(brain::Shape { solidity: 0.9, axes_mm: [200.0, 140.0, 60.0] });
            let cut_cm2 = [[0.0; 2], [0.0; 2], [cut, 0.0]];
            let found = brain::Extraction { volume_ml: mask.volume_ml(), mask, cut_cm2, bone_cover, shape, missing: None };
            brain_doubts(&found).iter().map(Warning::number).collect()
        };
        // 8 cm2 of the lowest slice are the spinal canal, 9 are a cut brain.
        assert!(numbers(0.5, 9.0).is_empty());
        assert_eq!(numbers(0.49, 9.0), [10]);
        assert_eq!(numbers(0.5, 8.0), [13]);
        assert_eq!(numbers(0.49, 8.0), [10, 13]);
    }

    #[test]
    fn values_that_no_brain_has_are_doubted() {
        // 900 voxels are inside; `hu` gets their numbers, and none for a voxel outside.
        let doubt = |hu: &dyn Fn(Option<usize>) -> f32| -> Option<bool> {
            let brain = mask([10, 10, 10], |[i, _, _]| i > 0);
            let number = |n: usize| (!n.is_multiple_of(10)).then(|| n / 10 * 9 + n % 10 - 1);
            let scan = Volume::new(brain.grid().clone(), (0..1000).map(|n| hu(number(n))).collect());
            inside_doubt(&scan, &brain).map(|doubt| matches!(doubt, Warning::NotHu { sure: true, inside: true, .. }))
        };
        // The median alone: possible, usual, and just on each limit.
        for (hu, expected) in [
            (-5.5, Some(true)),
            (-5.0, Some(false)),
            (9.5, Some(false)),
            (10.0, None),
            (35.0, None),
            (46.0, None),
            (46.5, Some(false)),
            (70.0, Some(false)),
            (70.5, Some(true)),
        ] {
            assert_eq!(doubt(&|_| hu), expected, "{hu}");
        }
        // What may stand for missing values, what lies outside, and what is far off in a few voxels say nothing.
        assert_eq!(doubt(&|_| 0.0), None);
        assert_eq!(doubt(&|n| if n.is_some_and(|n| n < 600) { 0.0 } else { 35.0 }), None);
        assert_eq!(doubt(&|n| if n.is_none() { 1000.0 } else { 35.0 }), None);
        assert_eq!(doubt(&|n| if n.is_some_and(|n| n < 100) { -50.0 } else { 35.0 }), None);
        // A twentieth may be as bright as bone.
        let bright = |count: usize, hu: f32| doubt(&|n| if n.is_some_and(|n| n < count) { hu } else { 35.0 });
        assert_eq!([bright(45, 251.0), bright(46, 250.0), bright(46, 251.0)], [None, None, Some(true)]);
    }

    #[test]
    fn contrast_agent_and_bone_kernels_are_told_by_what_is_inside_the_brain() {
        // `hu` gets the voxels' places and the numbers of those inside.
        let reason = |hu: &dyn Fn([usize; 3], usize) -> f32| {
            let brain = mask([20, 20, 20], |[i, _, _]| i < 19);
            let grid = brain.grid().clone();
            let value = |[i, j, k]: [usize; 3]| hu([i, j, k], i + 19 * (j + 20 * k));
            let voxels = (0..grid.len()).map(|n| value(grid.ijk(n))).collect();
            match contrast_or_kernel(&Volume::new(grid, voxels), &brain) {
                Some(Warning::ContrastOrKernel { reason }) => reason,
                other => format!("{other:?}"),
            }
        };
        // A voxel is 0.03 mL, and 5 mL are allowed.
        let bright = |count: usize, bright: f32| reason(&|[i, _, _], n| if i < 19 && n < count { bright } else { 35.0 });
        let told = "5.0 mL of 110 to 400 HU inside the brain";
        assert_eq!([bright(167, 110.0), bright(167, 399.0)], [told, told]);
        assert_eq!([bright(166, 110.0), bright(167, 109.0), bright(167, 400.0)], ["None", "None", "None"]);
        assert_eq!(reason(&|[i, _, _], _| if i == 19 { 200.0 } else { 35.0 }), "None");
        let noisy = |apart: f32| reason(&|[i, _, _], _| if i.is_multiple_of(2) { 30.0 } else { 30.0 + apart });
        assert_eq!([noisy(10.0), noisy(40.0)], ["None", "noise of 42 HU inside the brain"]);
    }

    /// What [`prepare`] makes of a scan with this brain.
    fn prepared(scan: &Volume<f32>, brain: &Volume<bool>) -> Prepared {
        prepare(scan.clone(), &BrainSource::Mask(brain.clone()), Path::new("scan.nii")).unwrap()
    }

    #[test]
    fn outside_the_brain_a_prepared_scan_is_0_and_its_axes_are_in_the_nearest_order() {
        let (scan, _) = block();
        let part = mask([60, 50, 40], |[i, ..]| i < 20);
        let masked = prepared(&scan, &part);
        assert!(masked.given && masked.brain == part);
        assert!(masked.masked.voxels().iter().zip(part.voxels()).all(|(&hu, &inside)| hu == if inside { 35.0 } else { 0.0 }));
        // The same scan with its first axis the other way round in the file.
        let flip = Affine::new([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [59.0, 0.0, 0.0]);
        let grid = Grid { affine: part.grid().affine.after(&flip), ..part.grid().clone() };
        let turned = |at: usize| part.voxels()[at - at % 60 + 59 - at % 60];
        let turned = Volume::new(grid.clone(), (0..grid.len()).map(turned).collect());
        let flipped = prepared(&Volume::new(grid.clone(), scan.voxels().to_vec()), &turned);
        assert_eq!((&flipped.brain, &flipped.masked), (&masked.brain, &masked.masked));
        assert_eq!(flipped.own_grid, grid);
    }

    #[test]
    fn volume_and_values_of_a_brain_that_is_alone_are_doubted() {
        let told = |hu: f32, slices: usize| {
            let scan = mask([60, 50, 40], |[.., k]| k < slices).map(|&inside| if inside { hu } else { 0.0 });
            let found = prepare(scan, &BrainSource::SkullStripped, Path::new("scan.nii")).unwrap().warnings;
            let volume = found.iter().any(|warning| matches!(warning, Warning::BrainVolume { .. }));
            (volume, found.iter().any(|warning| matches!(warning, Warning::NotHu { inside: true, .. })))
        };
        // A slice has 90 mL, a brain 800 to 2000.
        for (hu, slices, expected) in [
            (35.0, 8, (true, false)),
            (35.0, 9, (false, false)),
            (35.0, 22, (false, false)),
            (35.0, 23, (true, false)),
            (60.0, 9, (false, true)),
        ] {
            assert_eq!(told(hu, slices), expected, "{hu} HU, {slices} slices");
        }
    }

    /// A bleed of 75 HU in a brain of 35 that fills the grid, ready for the network.
    fn ready(options: &Options) -> Ready {
        let inside = |n: usize| (6..14).contains(&n);
        let bleed = mask([20, 20, 20], |at| at.into_iter().all(inside));
        let brain = bleed.map(|_| true);
        Ready {
            path: "scan.nii".into(),
            options: Options { brain: BrainSource::SkullStripped, ..options.clone() },
            skull_margin: SkullMargin::of(&brain.map(|_| 35.0), 0.0),
            own_grid: brain.grid().clone(),
            input: bleed.map(|&blood| if blood { 75.0 } else { 35.0 }),
            sought: None,
            to_scan: Affine::IDENTITY,
            registration: None,
            pitchperfect: None,
            places: false,
            midline: 20.0,
            warnings: vec![Warning::ThickSlices { mm: 9.0 }, Warning::BrainVolume { ml: 700.0 }],
            seconds: BTreeMap::new(),
            brain,
        }
    }

    fn find(ready: Ready) -> Result<Segmentation> {
        let weights = Weights::hand_set();
        find_blood(ready, &mut Inference::new(&weights, crate::Device::Cpu, 1))
    }

    /// The warnings for blood at the brain's edge and for much of it.
    fn edge_and_much(found: &Segmentation) -> [bool; 2] {
        let is = |what: fn(&Warning) -> bool| found.warnings.iter().any(what);
        [is(|w| matches!(w, Warning::OnBrainEdge { .. })), is(|w| matches!(w, Warning::MuchBlood { .. }))]
    }

    #[test]
    fn what_the_network_finds_is_the_mask_within_the_brain() {
        let whole = find(ready(&Options::default())).unwrap();
        // The corners of the bleed have a mean below that of blood; its faces have one within.
        assert!(whole.mask.voxels()[10 + 20 * (10 + 20 * 10)] && !whole.mask.voxels()[6 + 20 * (6 + 20 * 6)]);
        assert_eq!(whole.voxels(), whole.mask.count());
        assert!((whole.volume_ml() - 0.03 * whole.mask.count() as f64).abs() < 1e-9, "{}", whole.volume_ml());
        assert!(whole.quality().is_none() && whole.probability.is_none() && !whole.is_doubtful());
        assert_eq!(edge_and_much(&whole), [false, false]);
        assert!(whole.warnings.is_sorted_by_key(Warning::number) && whole.warnings.len() == 2);
        // Half of the bleed is outside of the brain.
        for outside_brain in [false, true] {
            let options = Options { outside_brain, probability: true, ..Options::default() };
            let half = mask([20, 20, 20], |[i, ..]| i < 10);
            let found = find(Ready { brain: half.clone(), ..ready(&options) }).unwrap();
            let within = |blood: &bool, inside: &bool| *blood && (*inside || outside_brain);
            let expected = whole.mask.voxels().iter().zip(half.voxels()).map(|(blood, inside)| within(blood, inside));
            assert!(found.mask.voxels().iter().copied().eq(expected), "{outside_brain}");
            let probability = found.probability.as_ref().unwrap();
            assert_eq!(probability.voxels()[12 + 20 * (10 + 20 * 10)] > 0.5, outside_brain);
            assert!(probability.voxels()[8 + 20 * (10 + 20 * 10)] > 0.5);
        }
        // A higher threshold leaves less.
        let options = Options { threshold: Some(0.9999), ..Options::default() };
        assert!(find(ready(&options)).unwrap().voxels() < whole.voxels());
    }

    #[test]
    fn much_blood_and_blood_at_the_brains_edge_are_told() {
        let blood = find(ready(&Options::default())).unwrap().mask;
        // A brain of the blood and so many other voxels, from the grid's first one on.
        let brain = |others: usize| {
            let mut left = others;
            let mut take = |&blood: &bool| {
                let other = !blood && left > 0;
                left -= usize::from(other);
                blood || other
            };
            let voxels = blood.voxels().iter().map(&mut take).collect();
            Volume::new(blood.grid().clone(), voxels)
        };
        let of = |others: usize, keep_doubtful: bool| {
            find(Ready { brain: brain(others), ..ready(&Options { keep_doubtful, ..Options::default() }) })
        };
        let count = blood.count();
        assert!(!edge_and_much(&of(4 * count, false).unwrap())[1], "a fifth is just on the limit");
        assert!(edge_and_much(&of(4 * count - 1, false).unwrap())[1]);
        assert!(!of(2 * count, false).unwrap().is_doubtful());
        let error = of(0, false).unwrap_err().to_string();
        assert!(error.contains("100% of the brain were taken for hemorrhage"), "{error}");
        let kept = of(0, true).unwrap();
        assert!(kept.is_doubtful() && edge_and_much(&kept) == [true, true], "{:?}", kept.warnings);
    }

    #[test]
    fn a_prepared_scan_that_cannot_be_right_is_told() {
        let (scan, brain) = block();
        let with = |warnings| Prepared { warnings, ..prepared(&scan, &brain) }.check(Path::new("scan.nii"));
        assert!(with(vec![Warning::BrainVolume { ml: 700.0 }]).is_ok());
        let error = with(vec![Warning::BrainVolume { ml: 100.0 }]).unwrap_err().to_string();
        assert!(error.contains("100 mL"), "{error}");
    }

    #[test]
    fn what_the_second_method_sees_at_all_is_above_its_limit() {
        let brain = mask([4, 4, 4], |at| at != [3, 3, 3]);
        let found = mask([4, 4, 4], |[i, ..]| i == 0);
        let seen = second_opinion::SEEN;
        let probability = mask([4, 4, 4], |[.., k]| k > 0).map(|&above| if above { seen + 0.01 } else { seen });
        let own = OwnSpace { found: Found { input: probability.clone(), probability, mask: found }, to_scan: Affine::IDENTITY };
        let (second, sees) = own.on_scan(&brain).unwrap();
        assert_eq!(second, mask([4, 4, 4], |[i, ..]| i == 0));
        assert_eq!(sees, mask([4, 4, 4], |at| at[2] > 0 && at != [3, 3, 3]));
    }

    #[test]
    fn no_second_method_looks_where_none_was_asked_for() {
        let (scan, brain) = block();
        let options = Options { second_opinion: false, ..Options::default() };
        assert!(ask_pitchperfect(&scan, &brain, None, &options, Path::new("scan.nii")).unwrap().is_none());
    }
}
