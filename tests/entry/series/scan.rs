//! Sound series: slices of a field of HU that is linear in the place, so that every way of putting them together rightly gives the field again, and every flip, shift,
//! stretch or mixture does not.

use super::choices::Choices;
use super::files::{Element, File, Syntax, Value};
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use ichor::volume::Volume;

/// The largest difference in HU of a voxel from the field: stored values are whole, and each correction rounds to whole HU again.
const TOLERANCE: f64 = 2.1;

/// A series as a scanner makes it. Millimetres and directions are those of DICOM (LPS).
#[derive(Clone, Debug)]
pub struct Scan {
    rows: usize,
    columns: usize,
    spacing: [f64; 2],
    along_row: [f64; 3],
    along_column: [f64; 3],
    /// The way from a slice to the next one of a distance of 1 mm along the table.
    table: [f64; 3],
    /// Where each slice lies along the table.
    pub heights: Vec<f64>,
    intercept: i32,
    signed: bool,
    syntax: Syntax,
    /// Added to the field: another scan has other values at the same place.
    pub offset: f64,
}

impl Scan {
    pub fn draw(choices: &mut Choices) -> Scan {
        let (x, y, z) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        let minus = |v: [f64; 3]| v.map(|c: f64| -c);
        // On the back or the face, head or feet first, coronal; a gantry tilted by 15 and -20 degrees.
        let (cosine, sine) = (15_f64.to_radians().cos(), 15_f64.to_radians().sin());
        let (other_cosine, other_sine) = (20_f64.to_radians().cos(), 20_f64.to_radians().sin());
        let (along_row, along_column, table) = [
            (x, y, z),
            (x, y, minus(z)),
            (minus(x), minus(y), z),
            (minus(x), y, minus(z)),
            (x, minus(z), y),
            (x, [0.0, cosine, -sine], z),
            (x, [0.0, other_cosine, other_sine], z),
        ][choices.below(7)];
        let count = 6 + choices.below(5);
        let gap = [5.0, 2.5, 3.0][choices.below(3)];
        // Thin slices below, thick ones above, as heads are scanned.
        let thick = if choices.below(4) == 3 { count / 2 } else { count };
        let height = |n: usize| gap * n as f64 + gap * n.saturating_sub(thick) as f64;
        let (intercept, signed) = [(-1024, false), (0, true), (-24, true)][choices.below(3)];
        Scan {
            rows: 5 + choices.below(3),
            columns: 8 + choices.below(3),
            spacing: [1.0 + 0.5 * choices.below(3) as f64, 1.5 + 0.25 * choices.below(3) as f64],
            along_row,
            along_column,
            table,
            heights: (0..count).map(height).collect(),
            intercept,
            signed,
            syntax: [Syntax::Explicit, Syntax::Implicit, Syntax::BigEndian][choices.below(3)],
            offset: 0.0,
        }
    }

    /// The smallest distance of neighbours along the table.
    pub fn gap(&self) -> f64 {
        self.heights.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min)
    }

    fn position(&self, slice: usize) -> [f64; 3] {
        [0, 1, 2].map(|n| [-9.0, -7.0, -11.0][n] + self.heights[slice] * self.table[n])
    }

    fn place(&self, slice: usize, row: usize, column: usize) -> [f64; 3] {
        let (down, right) = (row as f64 * self.spacing[0], column as f64 * self.spacing[1]);
        let position = self.position(slice);
        [0, 1, 2].map(|n| position[n] + down * self.along_column[n] + right * self.along_row[n])
    }

    fn field(&self, [x, y, z]: [f64; 3]) -> f64 {
        3.0 * x + 5.0 * y + 4.0 * z + self.offset
    }

    fn is_tilted(&self) -> bool {
        (0..3).map(|n| self.along_column[n] * self.table[n]).sum::<f64>().abs() > 1e-6
    }

    /// One file for each slice, with names that do not tell their order.
    pub fn files(&self) -> Vec<File> {
        (0..self.heights.len()).map(|slice| self.file(slice)).collect()
    }

    fn file(&self, slice: usize) -> File {
        let join = |values: &[f64]| values.iter().map(|value| format!("{value:.6}")).collect::<Vec<_>>().join("\\");
        let orientation = [self.along_row, self.along_column].concat();
        let pixel = |n: usize| {
            // Air in a corner: where no padding is named, the least value of a tilted series counts as such, and is not interpolated.
            let air = n == 0 && self.is_tilted();
            let hu = if air { -1000 } else { self.field(self.place(slice, n / self.columns, n % self.columns)).round() as i32 };
            (hu - self.intercept) as u16
        };
        let bits = if self.signed { 16 } else { 12 };
        let text = |tag, vr, text: &str| Element::text(tag, vr, text);
        let number = Element::number;
        let elements = vec![
            text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL"),
            text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            text(tags::SOP_INSTANCE_UID, VR::UI, &format!("2.25.30.{}", slice + 1)),
            text(tags::ACQUISITION_TIME, VR::TM, &format!("1200{slice:02}")),
            text(tags::MODALITY, VR::CS, "CT"),
            text(tags::SERIES_DESCRIPTION, VR::LO, "Head"),
            text(tags::PATIENT_ID, VR::LO, "p1"),
            text(tags::SLICE_THICKNESS, VR::DS, &format!("{}", self.gap())),
            text(tags::CONVOLUTION_KERNEL, VR::SH, "STANDARD"),
            text(tags::STUDY_INSTANCE_UID, VR::UI, "2.25.20"),
            text(tags::SERIES_INSTANCE_UID, VR::UI, "2.25.30"),
            text(tags::SERIES_NUMBER, VR::IS, "2"),
            text(tags::ACQUISITION_NUMBER, VR::IS, "1"),
            text(tags::INSTANCE_NUMBER, VR::IS, &format!("{}", slice + 1)),
            text(tags::IMAGE_POSITION_PATIENT, VR::DS, &join(&self.position(slice))),
            text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &join(&orientation)),
            text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "2.25.40"),
            text(tags::SLICE_LOCATION, VR::DS, &format!("{:.3}", self.heights[slice])),
            number(tags::SAMPLES_PER_PIXEL, 1),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
            number(tags::ROWS, self.rows as u16),
            number(tags::COLUMNS, self.columns as u16),
            text(tags::PIXEL_SPACING, VR::DS, &join(&self.spacing)),
            number(tags::BITS_ALLOCATED, 16),
            number(tags::BITS_STORED, bits),
            number(tags::HIGH_BIT, bits - 1),
            number(tags::PIXEL_REPRESENTATION, self.signed.into()),
            text(tags::RESCALE_INTERCEPT, VR::DS, &self.intercept.to_string()),
            text(tags::RESCALE_SLOPE, VR::DS, "1"),
            Element {
                tag: tags::PIXEL_DATA,
                vr: VR::OW,
                value: Value::Numbers((0..self.rows * self.columns).map(pixel).collect()),
            },
        ];
        let name = format!("IM{:03}", slice * 7 % 101);
        File { name, elements, syntax: self.syntax, says: self.syntax, cut: None, slice: Some(slice) }
    }

    /// What is wrong with `volume` as the volume of these slices: `Ok` where each of their pixels has a voxel at its place, each voxel near them the field's value, and
    /// the volume does not go on beyond them.
    pub fn check(&self, volume: &Volume<f32>, slices: &[usize]) -> Result<(), String> {
        let grid = volume.grid();
        let to_index = grid.affine.inverse().expect("a grid's affine is invertible");
        // Shearing leaves padding beside the first and the last row, and there is air in a corner.
        let margin = usize::from(self.is_tilted());
        for &slice in slices {
            for (row, column) in
                (margin..self.rows - margin).flat_map(|row| (margin..self.columns).map(move |column| (row, column)))
            {
                let [x, y, z] = self.place(slice, row, column);
                let index = to_index.apply([-x, -y, z]);
                let nearest = index.map(f64::round);
                if !(0..3).all(|n| nearest[n] >= 0.0 && nearest[n] < grid.shape[n] as f64) {
                    return Err(format!("slice {slice}, row {row}, column {column} lies outside of the grid: {index:?}"));
                }
                let found = f64::from(*volume.at(nearest.map(|n| n as usize)));
                let [x, y, z] = grid.affine.apply(nearest);
                let expected = self.field([-x, -y, z]);
                if (found - expected).abs() > TOLERANCE {
                    return Err(format!(
                        "slice {slice}, row {row}, column {column} has {found} HU at its voxel for {expected:.1}"
                    ));
                }
            }
        }
        // Along the slices' normal.
        let [a, b] = [self.along_row, self.along_column];
        let normal = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
        let height = |[x, y, z]: [f64; 3]| x * normal[0] + y * normal[1] + z * normal[2];
        let own: Vec<f64> = slices.iter().map(|&slice| height(self.position(slice))).collect();
        let [low, high] =
            [own.iter().copied().fold(f64::INFINITY, f64::min), own.iter().copied().fold(f64::NEG_INFINITY, f64::max)];
        for corner in 0..8 {
            let index = [0, 1, 2].map(|n| if corner >> n & 1 == 1 { grid.shape[n] as f64 - 1.0 } else { 0.0 });
            let [x, y, z] = grid.affine.apply(index);
            let at = height([-x, -y, z]);
            if at < low - self.gap() || at > high + self.gap() {
                return Err(format!("the grid goes on to {at:.1} mm, the slices from {low:.1} to {high:.1} mm"));
            }
        }
        Ok(())
    }
}
