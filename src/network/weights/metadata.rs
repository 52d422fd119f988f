//! What a weights file says about itself besides the network: the free entries of its `__metadata__`.

use super::WeightsError;
use crate::network::Description;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Origin, license, and what the network expects as its input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Where the weights come from (`origin`).
    pub origin: Option<String>,
    /// Under what terms they may be used (`license`).
    pub license: Option<String>,
    /// What they were trained on (`trained_on`).
    pub trained_on: Option<String>,
    /// The probability above which a voxel is blood, 0 to 1 (`threshold`).
    pub threshold: Option<f32>,
    /// HU are clipped to this range, lower limit first, before they enter the network (`hu_range`, a JSON array).
    pub hu_range: Option<[f32; 2]>,
    /// Blood that is found at the brain mask's edge goes on up to so many mm outside of it, in voxels that bone fills to less than half (`skull_margin_mm`). 0 where the
    /// file says nothing.
    pub skull_margin_mm: f32,
    /// What the network is run on (`input`).
    pub input: InputKind,
    /// Every other entry, kept as it is.
    pub others: BTreeMap<String, String>,
}

/// Widths that a margin at the skull may have: a voxel that bone fills in part is not farther from the brain.
pub(crate) const SKULL_MARGIN_MM: RangeInclusive<f32> = 0.0..=5.0;

/// What a network is run on: the file's `input` entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputKind {
    /// The whole scan in template space: `template`, or no entry.
    #[default]
    Template,
    /// Cubes of the scan in template space, half overlapping, their answers averaged: `template-patches`.
    TemplatePatches {
        /// Side of a cube in voxels, 64 or 32: the `patch` entry.
        patch: usize,
    },
    /// Slices of 512x512 of the brain-extracted scan in its own space, by a 2D network: `native-slices`.
    NativeSlices,
}

impl Metadata {
    /// Reads the entries left after `format` and `network` have been taken out.
    ///
    /// # Errors
    /// [`WeightsError::Metadata`] for an entry that cannot be understood, [`WeightsError::Input`] for an input that the
    /// network cannot take.
    pub(super) fn parse(mut entries: BTreeMap<String, String>, description: &Description) -> Result<Metadata, WeightsError> {
        let input = Self::parse_input(&mut entries)?;
        let metadata = Metadata {
            origin: entries.remove("origin"),
            license: entries.remove("license"),
            trained_on: entries.remove("trained_on"),
            threshold: parse_entry(&mut entries, "threshold", "a number from 0 to 1", |text| {
                text.trim().parse().ok().filter(|value| (0.0..=1.0).contains(value))
            })?,
            hu_range: parse_entry(&mut entries, "hu_range", "two numbers such as [-20, 120], the smaller first", |text| {
                serde_json::from_str(text).ok().filter(|[low, high]: &[f32; 2]| low < high && low.is_finite() && high.is_finite())
            })?,
            skull_margin_mm: parse_entry(&mut entries, "skull_margin_mm", "a number of mm from 0 to 5", |text| {
                text.trim().parse().ok().filter(|mm| SKULL_MARGIN_MM.contains(mm))
            })?
            .unwrap_or(0.0),
            input,
            others: entries,
        };
        metadata.fits(description)?;
        Ok(metadata)
    }

    fn parse_input(entries: &mut BTreeMap<String, String>) -> Result<InputKind, WeightsError> {
        let kinds = "template, template-patches or native-slices";
        let input = parse_entry(entries, "input", kinds, |text| match text {
            "template" => Some(InputKind::Template),
            "template-patches" => Some(InputKind::TemplatePatches { patch: 0 }),
            "native-slices" => Some(InputKind::NativeSlices),
            _ => None,
        })?;
        if input != Some(InputKind::TemplatePatches { patch: 0 }) {
            return Ok(input.unwrap_or_default());
        }
        let wanted = "64 or 32 where input is template-patches";
        let patch = parse_entry(entries, "patch", wanted, |text| match text {
            "64" => Some(64),
            "32" => Some(32),
            _ => None,
        })?;
        let missing = || WeightsError::Metadata { key: "patch", value: String::new(), wanted };
        Ok(InputKind::TemplatePatches { patch: patch.ok_or_else(missing)? })
    }

    /// Checks that the network can take the input.
    fn fits(&self, description: &Description) -> Result<(), WeightsError> {
        match self.input {
            InputKind::NativeSlices if !description.is_planar() => {
                Err(WeightsError::Input("input is native-slices, but the network is not a 2D one".into()))
            }
            InputKind::TemplatePatches { patch } if description.multiple().iter().any(|&side| !patch.is_multiple_of(side)) => {
                Err(WeightsError::Input(format!(
                    "patches of {patch} voxels are no multiple of {:?}, as the network needs",
                    description.multiple()
                )))
            }
            _ => Ok(()),
        }
    }

    /// The entries as the file has them.
    pub(super) fn entries(&self) -> BTreeMap<String, String> {
        let mut entries = self.others.clone();
        let mut put = |key: &str, value: Option<String>| value.map(|value| entries.insert(key.into(), value));
        put("origin", self.origin.clone());
        put("license", self.license.clone());
        put("trained_on", self.trained_on.clone());
        put("threshold", self.threshold.map(|value| value.to_string()));
        put("hu_range", self.hu_range.map(|[low, high]| format!("[{low}, {high}]")));
        put("skull_margin_mm", (self.skull_margin_mm != 0.0).then(|| self.skull_margin_mm.to_string()));
        match self.input {
            InputKind::Template => {}
            InputKind::TemplatePatches { patch } => {
                put("input", Some("template-patches".into()));
                put("patch", Some(patch.to_string()));
            }
            InputKind::NativeSlices => {
                put("input", Some("native-slices".into()));
            }
        }
        entries
    }
}

fn parse_entry<T>(
    entries: &mut BTreeMap<String, String>,
    key: &'static str,
    wanted: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, WeightsError> {
    let Some(value) = entries.remove(key) else { return Ok(None) };
    match parse(&value) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(WeightsError::Metadata { key, value, wanted }),
    }
}
