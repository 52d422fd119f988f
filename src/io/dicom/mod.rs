//! CT series in DICOM files: found by content, one chosen by rules, corrected for gantry tilt and unequal spacing. The rules and formulas: `docs/dicom.md`.
//!
//! The way of a series: [`study::find`] reads the attributes of all files and sorts them into studies; [`Study::choose`] splits a study into series and takes one; `convert`
//! reads its pixels into a [`Stack`], shears it (`tilt`) and resamples it (`spacing`). [`onto_slices`] goes the way back, for masks on the slices as they were.

mod attributes;
mod character_set;
mod content;
mod data_set;
mod derived;
mod elements;
mod error;
mod file;
pub mod inspection;
mod jpegls;
mod pixels;
mod rle;
pub mod segmentation;
mod series;
mod slice;
pub(crate) mod spacing;
mod stack;
mod stacks;
pub mod structured_report;
pub mod study;
mod summary;
pub(crate) mod tilt;
mod words;

pub use derived::Algorithm;
pub use error::DicomError;
pub use file::is_dicom;
pub use series::{LEAST_SLICES, Series};
pub use slice::{Identity, Image, Slice, Unreadable, read as read_image};
pub use stack::Stack;
pub use study::Study;
pub use summary::Summary;

use crate::io::{Error, Result};
use crate::volume::{Grid, Volume};
use file::File;
use pixels::Layout;
use rayon::prelude::*;
use spacing::Spacing;
use std::path::Path;
use tilt::Tilt;

/// A series that has become a volume.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The series: its slices as they lie in their files, for outputs on them.
    pub series: Series,
    /// The volume's grid, whose axes are perpendicular to each other.
    pub grid: Grid,
    /// What was done about the gantry's tilt.
    pub tilt: Option<Tilt>,
    /// What was done about unequal distances of slices.
    pub spacing: Option<Spacing>,
}

impl Summary {
    /// The summary of a conversion.
    pub fn of(converted: &Converted) -> Summary {
        let Converted { series, grid, tilt, spacing } = converted;
        let identity: &Identity = &series.identity;
        Summary {
            series_instance_uid: identity.series_uid.clone(),
            study_instance_uid: identity.study_uid.clone(),
            series_number: identity.series_number,
            series_description: identity.description.clone(),
            modality: "CT".into(),
            image_type: identity.image_type.clone(),
            manufacturer: identity.manufacturer.clone(),
            manufacturers_model_name: identity.model.clone(),
            body_part_examined: identity.body_part.clone(),
            convolution_kernel: identity.kernel.clone(),
            kvp: identity.kvp,
            slice_thickness: series.slices[0].thickness,
            slices: series.slices.len(),
            shape: grid.shape,
            spacing: grid.spacing(),
            tilt_corrected: tilt.map(|tilt| tilt.degrees),
            tilt_added: tilt.map(|tilt| tilt.added),
            unequal_spacing_corrected: spacing.map(|spacing| [spacing.smallest, spacing.largest]),
            choice: series.choice.clone(),
            doubts: series.doubts.clone(),
            ichor_version: env!("CARGO_PKG_VERSION").into(),
            notice: "For research use only, not for diagnosis.".into(),
        }
    }
}

/// Reads a series into a volume of HU: sorted, sheared where the gantry was tilted, resampled where slices are not equally far apart. HU that are whole numbers in the files
/// are rounded to whole numbers again.
///
/// # Errors
/// As [`Stack::read`], [`tilt::correct`] and [`spacing::regularise`].
pub(crate) fn convert(mut series: Series) -> std::result::Result<(Volume<f32>, Converted), DicomError> {
    let mut stack = Stack::read(&series)?;
    series.doubts.append(&mut stack.notes);
    let Corrected { volume, tilt, spacing } = correct(stack)?;
    let grid = volume.grid().clone();
    Ok((volume, Converted { series, grid, tilt, spacing }))
}

/// What [`correct`] gives.
#[derive(Clone, Debug)]
pub struct Corrected {
    /// The volume, on a grid whose axes are perpendicular to each other.
    pub volume: Volume<f32>,
    /// What was done about the gantry's tilt.
    pub tilt: Option<Tilt>,
    /// What was done about unequal distances of slices.
    pub spacing: Option<Spacing>,
}

/// Both corrections.
///
/// # Errors
/// Where the slices lie on no stack that can be made regular.
pub fn correct(mut stack: Stack) -> std::result::Result<Corrected, DicomError> {
    let whole = stack.hu.par_iter().all(|hu| hu.fract() == 0.0);
    let round = |stack: &mut Stack| {
        if whole {
            stack.hu.par_iter_mut().for_each(|hu| *hu = hu.round());
        }
    };
    let tilt = tilt::correct(&mut stack)?;
    round(&mut stack);
    let (distance, spacing) = spacing::regularise(&mut stack)?;
    round(&mut stack);
    Ok(Corrected { volume: stack.into_volume(distance), tilt, spacing })
}

/// A mask put back onto slices as they lie in their files: for each slice its pixels row by row, in DICOM's order, each with the value of the voxel whose centre is nearest to
/// the pixel's centre in the world; false outside of the mask's grid. Tilt and spacing need no thought: a corrected grid tells the truth about where its voxels are.
///
/// # Errors
/// [`Error::Shape`] where the mask's affine is singular.
pub fn onto_slices(slices: &[Slice], mask: &Volume<bool>) -> Result<Vec<Vec<bool>>> {
    let grid = mask.grid();
    let to_index = grid.affine.inverse().ok_or_else(|| Error::Shape("the mask's affine is singular".into()))?;
    let on_slice = |slice: &Slice| {
        let map = to_index.after(&slice.affine());
        let mut pixels = vec![false; slice.rows * slice.columns];
        for (n, pixel) in pixels.iter_mut().enumerate() {
            let index =
                map.apply([(n % slice.columns) as f64, (n / slice.columns) as f64, 0.0]).map(|index| (index + 0.5).floor());
            if (0..3).all(|axis| index[axis] >= 0.0 && index[axis] < grid.shape[axis] as f64) {
                *pixel = *mask.at(index.map(|index| index as usize));
            }
        }
        pixels
    };
    Ok(slices.par_iter().map(on_slice).collect())
}

/// Reads one DICOM file from memory, attributes and pixels: HU of each of its slices, rows from the last to the first. For tests and fuzzing; series are read by `convert`.
///
/// # Errors
/// What is wrong with the bytes.
pub fn read_bytes(bytes: &[u8]) -> std::result::Result<Vec<Vec<f32>>, DicomError> {
    let mut file = File::from_bytes(bytes)?;
    let attributes = file.attributes()?;
    let image = slice::from_attributes(&attributes, Path::new("memory"))?;
    let layout = Layout::of(&attributes)?;
    let pixels = file.pixels(&attributes, &layout)?;
    let mut all = Vec::new();
    for slice in &image.slices {
        let mut hu = vec![0.0; slice.rows * slice.columns];
        stack::read_slice(slice, &pixels, &layout, &mut hu)?;
        all.push(hu);
    }
    Ok(all)
}
