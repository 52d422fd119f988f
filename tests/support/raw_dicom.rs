//! DICOM series written from a function of place, with the `dicom` crates: every geometry that a test needs can be chosen.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use ichor::phantom::ellipsoids::Phantom;
use std::path::Path;

/// The items of a sequence that must be there.
pub fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.element(tag).unwrap().items().unwrap()
}

/// A text that must be there, without what fills it.
pub fn text(object: &InMemDicomObject, tag: Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().trim_end_matches(['\0', ' ']).to_string()
}

/// A series of slices. Millimetres and directions are LPS, as in DICOM.
#[derive(Clone)]
pub struct RawSeries {
    pub columns: usize,
    pub rows: usize,
    /// Distance of rows and of columns.
    pub spacing: [f64; 2],
    pub along_row: [f64; 3],
    pub along_column: [f64; 3],
    /// Centre of the first pixel of each slice.
    pub positions: Vec<[f64; 3]>,
    /// Attributes in place of the usual ones, or besides them; an empty value leaves the attribute out.
    pub texts: Vec<(Tag, VR, String)>,
}

impl RawSeries {
    /// Axial slices of 64 x 56 pixels of 2 mm, at these heights.
    pub fn axial(heights: &[f64]) -> RawSeries {
        RawSeries {
            columns: 64,
            rows: 56,
            spacing: [2.0, 2.0],
            along_row: [1.0, 0.0, 0.0],
            along_column: [0.0, 1.0, 0.0],
            positions: heights.iter().map(|&z| [-63.0, -55.0, z]).collect(),
            texts: Vec::new(),
        }
    }

    /// The same with the gantry tilted: slices are turned about their own left-right axis, whose heights these are, and moved along the table.
    pub fn tilted(heights: &[f64], degrees: f64) -> RawSeries {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let positions = heights.iter().map(|&z| [-63.0, -55.0 * cosine, z + 55.0 * sine]).collect();
        RawSeries { along_column: [0.0, cosine, -sine], positions, ..RawSeries::axial(heights) }
    }

    pub fn with(mut self, tag: Tag, vr: VR, text: &str) -> RawSeries {
        self.texts.push((tag, vr, text.into()));
        self
    }

    /// Where a pixel lies, in LPS mm.
    pub fn place(&self, slice: usize, row: usize, column: usize) -> [f64; 3] {
        let (down, right) = (row as f64 * self.spacing[0], column as f64 * self.spacing[1]);
        [0, 1, 2].map(|n| self.positions[slice][n] + down * self.along_column[n] + right * self.along_row[n])
    }

    /// HU of a slice's pixels, row by row.
    pub fn pixels(&self, slice: usize, hu: &dyn Fn([f64; 3]) -> f64) -> Vec<i16> {
        let pixel = |n: usize| hu(self.place(slice, n / self.columns, n % self.columns)).round() as i16;
        (0..self.rows * self.columns).map(pixel).collect()
    }

    /// One slice as a data set; stored values are signed, HU + 24.
    pub fn object(&self, slice: usize, hu: &dyn Fn([f64; 3]) -> f64) -> InMemDicomObject {
        let join = |values: &[f64]| values.iter().map(|value| format!("{value:.9}")).collect::<Vec<_>>().join("\\");
        let orientation = [self.along_row, self.along_column].concat();
        let series = self.texts.iter().find(|(tag, ..)| *tag == tags::SERIES_INSTANCE_UID).map_or("2.25.30", |(.., uid)| uid);
        let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
        let whole = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
        let stored: Vec<u8> = self.pixels(slice, hu).iter().flat_map(|hu| (hu + 24).to_le_bytes()).collect();
        let mut object = InMemDicomObject::from_element_iter([
            text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            text(tags::SOP_INSTANCE_UID, VR::UI, &format!("{series}.{}", slice + 1)),
            text(tags::MODALITY, VR::CS, "CT"),
            text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL"),
            text(tags::PATIENT_ID, VR::LO, "phantom"),
            text(tags::STUDY_INSTANCE_UID, VR::UI, "2.25.20"),
            text(tags::SERIES_INSTANCE_UID, VR::UI, series),
            text(tags::INSTANCE_NUMBER, VR::IS, &format!("{}", slice + 1)),
            text(tags::IMAGE_POSITION_PATIENT, VR::DS, &join(&self.positions[slice])),
            text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &join(&orientation)),
            text(tags::PIXEL_SPACING, VR::DS, &join(&self.spacing)),
            text(tags::RESCALE_SLOPE, VR::DS, "1"),
            text(tags::RESCALE_INTERCEPT, VR::DS, "-24"),
            whole(tags::ROWS, self.rows as u16),
            whole(tags::COLUMNS, self.columns as u16),
            whole(tags::SAMPLES_PER_PIXEL, 1),
            whole(tags::BITS_ALLOCATED, 16),
            whole(tags::BITS_STORED, 16),
            whole(tags::HIGH_BIT, 15),
            whole(tags::PIXEL_REPRESENTATION, 1),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::from(stored)),
        ]);
        for (tag, vr, value) in &self.texts {
            if value.is_empty() {
                object.remove_element(*tag);
            } else {
                object.put(text(*tag, *vr, value));
            }
        }
        object
    }

    /// Writes one file for each slice, with names that do not tell their order.
    pub fn write(&self, folder: &Path, hu: &dyn Fn([f64; 3]) -> f64) {
        std::fs::create_dir_all(folder).unwrap();
        for slice in 0..self.positions.len() {
            let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
            let file = self.object(slice, hu).with_meta(meta).unwrap();
            let series = file.element(tags::SERIES_INSTANCE_UID).unwrap().to_str().unwrap().into_owned();
            file.write_to_file(folder.join(format!("{series}_{}", slice * 7 % 101))).unwrap();
        }
    }
}

/// HU of a head as a field of place in LPS mm, which DICOM slices are written from.
pub fn field_of(head: &Phantom) -> impl Fn([f64; 3]) -> f64 {
    let grid = head.scan.grid();
    let to_index = grid.affine.inverse().unwrap();
    move |[x, y, z]| {
        let at = to_index.apply([-x, -y, z]).map(f64::round);
        let inside = (0..3).all(|axis| at[axis] >= 0.0 && at[axis] < grid.shape[axis] as f64);
        if inside { f64::from(*head.scan.at(at.map(|n| n as usize))) } else { -1000.0 }
    }
}
