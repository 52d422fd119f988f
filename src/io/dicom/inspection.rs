//! What lies in a study, which series would be used and why: for `ichor inspect`.

use super::series::Series;
use super::slice::Unreadable;
use super::study::{PAGE, Study};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A study, its series in the order of preference.
#[derive(Clone, Debug, Serialize)]
pub struct StudyInspection {
    /// The folder that holds all of its files.
    pub folder: String,
    /// StudyInstanceUID; empty where it is not known.
    pub study_instance_uid: String,
    /// StudyDescription.
    pub description: String,
    /// The series, or parts of series that are scans of their own, the one to use first.
    pub series: Vec<SeriesInspection>,
    /// What to give to `--series` for the one that is used; `None` where none can be.
    pub used: Option<String>,
    /// Why none can be used.
    pub problem: Option<String>,
    /// Files that are no CT images of a series: how many of each kind.
    pub no_images: BTreeMap<String, usize>,
    /// Pages of text of class CT, which are no slices: their files.
    pub pages_of_text: Vec<String>,
    /// Files that cannot be read, each with the reason.
    pub unreadable: Vec<String>,
    /// Files of no bytes or cut at their beginning.
    pub cut_at_the_beginning: Vec<String>,
}

/// A series.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesInspection {
    /// What to give to `--series` for it.
    pub select: String,
    /// SeriesInstanceUID.
    pub series_instance_uid: String,
    /// SeriesNumber.
    pub series_number: Option<i64>,
    /// SeriesDescription.
    pub description: String,
    /// BodyPartExamined.
    pub body_part: String,
    /// ImageType.
    pub image_type: Vec<String>,
    /// Slices, each place once.
    pub slices: usize,
    /// Smallest and largest distance of slices, in mm.
    pub gap_mm: Option<[f64; 2]>,
    /// SliceThickness in mm, the smallest and the largest.
    pub thickness_mm: Option<[f64; 2]>,
    /// Columns and rows.
    pub size: [usize; 2],
    /// Distance of columns and of rows, in mm.
    pub pixel_mm: [f64; 2],
    /// Width and height of the images, in mm.
    pub field_of_view_mm: [f64; 2],
    /// Length along the normal, in mm.
    pub length_mm: f64,
    /// ConvolutionKernel.
    pub kernel: String,
    /// soft, unknown or sharp.
    pub kernel_kind: &'static str,
    /// What says that contrast agent was given.
    pub contrast: Option<String>,
    /// Angle in degrees between the way from slice to slice and the slices' normal.
    pub tilt_degrees: f64,
    /// When it was acquired, as DICOM writes dates and times; empty where it is not known.
    pub acquired: String,
    /// Whether it is the one that is used.
    pub used: bool,
    /// Why it is used, or the first rule that decides against it.
    pub reason: String,
    /// What is doubtful about it.
    pub doubts: Vec<String>,
}

/// Looks at a study; `wanted` as for [`Study::choose`].
pub fn inspect(study: &Study, wanted: Option<&str>) -> StudyInspection {
    let all = study.series();
    let chosen = study.choose_from(&all, wanted);
    let best = chosen.as_ref().ok();
    let is_best = |series: &Series| best.is_some_and(|best| best.handle(&all) == series.handle(&all));
    let series = all.iter().map(|series| {
        let used = is_best(series);
        let reason = match (used, wanted) {
            (true, Some(_)) => "asked for".into(),
            (true, None) if all.len() == 1 => "the only series".into(),
            (true, None) => "first by the rules".into(),
            (false, Some(_)) if best.is_some() => "not asked for".into(),
            (false, _) => match best.or(all.first()).filter(|first| first.handle(&all) != series.handle(&all)) {
                Some(first) => series.loses_by(first),
                None => String::new(),
            },
        };
        let doubts = if used { best.map(|best| best.doubts.clone()) } else { None };
        SeriesInspection::of(series, &all, used, reason, doubts.unwrap_or_else(|| series.doubts.clone()))
    });
    let identity = study.images.first().map(|image| &image.identity);
    let unread = study.broken.iter().chain(&study.others).map(|(_, unreadable)| unreadable.study_uid.clone());
    let mut no_images: BTreeMap<String, usize> = BTreeMap::new();
    for what in study.kinds().filter(|what| what != PAGE) {
        *no_images.entry(what).or_default() += 1;
    }
    let is_page = |file: &&(PathBuf, Unreadable)| study.is_page_of_text(&file.1);
    let (pages, unreadable): (Vec<_>, Vec<_>) = study.broken.iter().partition(is_page);
    let pages = pages.into_iter().chain(study.others.iter().filter(is_page));
    StudyInspection {
        folder: study.folder.display().to_string(),
        study_instance_uid: identity
            .map(|identity| identity.study_uid.clone())
            .or_else(|| unread.into_iter().find(|uid| !uid.is_empty()))
            .unwrap_or_default(),
        description: identity.map(|identity| identity.study_description.clone()).unwrap_or_default(),
        series: series.collect(),
        used: best.map(|best| best.handle(&all)),
        problem: chosen.as_ref().err().map(ToString::to_string),
        no_images,
        pages_of_text: pages.map(|(path, _)| path.display().to_string()).collect(),
        unreadable: unreadable.iter().map(|(path, file)| file.error.clone().of(path).to_string()).collect(),
        cut_at_the_beginning: study.short.iter().map(|path| path.display().to_string()).collect(),
    }
}

impl SeriesInspection {
    fn of(series: &Series, all: &[Series], used: bool, reason: String, doubts: Vec<String>) -> SeriesInspection {
        let identity = &series.identity;
        let first = &series.slices[0];
        let last = &series.slices[series.slices.len() - 1];
        let normal = first.normal();
        let height = |position: [f64; 3]| (0..3).map(|n| (position[n] - first.position[n]) * normal[n]).sum::<f64>();
        let range = |values: Vec<f64>| {
            let least = values.iter().copied().reduce(f64::min)?;
            Some([least, values.iter().copied().reduce(f64::max)?])
        };
        let rise = height(last.position);
        let way = (0..3).map(|n| (last.position[n] - first.position[n]).powi(2)).sum::<f64>();
        SeriesInspection {
            select: series.handle(all),
            series_instance_uid: identity.series_uid.clone(),
            series_number: identity.series_number,
            description: identity.description.clone(),
            body_part: identity.body_part.clone(),
            image_type: identity.image_type.clone(),
            slices: series.slices.len(),
            gap_mm: range(series.slices.windows(2).map(|pair| height(pair[1].position) - height(pair[0].position)).collect()),
            thickness_mm: range(series.slices.iter().filter_map(|slice| slice.thickness).collect()),
            size: [first.columns, first.rows],
            pixel_mm: [first.spacing[1], first.spacing[0]],
            field_of_view_mm: series.field_of_view(),
            length_mm: series.length(),
            kernel: identity.kernel.join(" "),
            kernel_kind: series.kernel().name(),
            contrast: series.contrast_agent(),
            tilt_degrees: (way - rise * rise).max(0.0).sqrt().atan2(rise.abs()).to_degrees(),
            acquired: series.slices.iter().map(|slice| slice.acquisition_time.clone()).min().unwrap_or_default(),
            used,
            reason,
            doubts,
        }
    }
}
