//! The slices of a series in one array, with the place of each.

use super::error::DicomError;
use super::file::{File, Pixels};
use super::pixels::{self, Layout, Samples};
use super::series::Series;
use super::slice::{Slice, dot};
use crate::io::nifti::MAX_VOXELS;
use crate::volume::{Affine, Grid, Volume};
use rayon::prelude::*;
use std::path::Path;

/// Padding up to this value in HU is outside of the field of view, whatever it is.
const DENSEST_PADDING: f32 = -900.0;
/// From here on in HU no tissue is: padding that is denser is made [`OUTSIDE`] at the border of a slice, so that it is not taken for bone. Between the two a padding value is an
/// ordinary HU, and takes nothing from the image.
const DENSEST_TISSUE: f32 = 2000.0;
/// What lies outside of the field of view, in HU: just below the range of a scanner, so that it counts neither as bone nor as air that was measured.
const OUTSIDE: f32 = -1025.0;

/// Slices, one behind the other along their normal.
///
/// Rows are stored from the last of DICOM to the first, as NIfTI converters do, so that a head on its back grows towards the front.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// Columns and rows of each slice.
    pub side: [usize; 2],
    /// Distance between columns and between rows, in mm.
    pub spacing: [f64; 2],
    /// Distance of each slice from the first, along the normal, in mm. Ascending.
    pub distance: Vec<f64>,
    /// How far each slice is moved against the first within its plane, in mm: along columns growing, and along rows as
    /// stored here (from the last to the first). Empty once that has been made up for.
    pub moved: Vec<[f64; 2]>,
    /// HU, columns fastest, then rows, then slices.
    pub hu: Vec<f32>,
    /// HU of padding: voxels at or below are outside of the field of view.
    pub padding: f32,
    /// What is odd about the pixels and was assumed, in sentences.
    pub notes: Vec<String>,
    /// From column and (stored) row of the first slice and millimetres along the normal to RAS millimetres.
    pub affine: Affine,
}

impl Stack {
    /// Reads the pixels of a series.
    ///
    /// # Errors
    /// [`DicomError::File`] for a file whose pixels cannot be read, [`DicomError::Volume`] for a series that is too large.
    pub fn read(series: &Series) -> Result<Stack, DicomError> {
        let slices = &series.slices;
        let first = &slices[0];
        let (columns, rows) = (first.columns, first.rows);
        if columns as u64 * rows as u64 * slices.len() as u64 > MAX_VOXELS {
            return Err(DicomError::Volume(columns, rows, slices.len()));
        }
        let bytes = 4 * columns as u64 * rows as u64 * slices.len() as u64;
        if !crate::memory::can_have(bytes) {
            return Err(DicomError::Memory(bytes));
        }
        let mut hu = vec![0.0; columns * rows * slices.len()];
        // Frames of one file lie behind one another in most series: the file is opened once for each such run.
        let mut runs: Vec<(&[Slice], &mut [f32])> = Vec::new();
        let mut rest = &mut hu[..];
        for run in slices.chunk_by(|a, b| a.path == b.path) {
            let (part, after) = rest.split_at_mut(columns * rows * run.len());
            runs.push((run, part));
            rest = after;
        }
        let found = runs.into_par_iter().map(|(run, hu)| read_run(run, hu)).collect::<Result<Vec<_>, _>>()?;
        let least = || hu.par_iter().copied().reduce(|| f32::INFINITY, f32::min);
        let padding = found.iter().flatten().filter_map(|found| found.padding).reduce(f32::max).unwrap_or_else(least);
        let beyond = found.iter().flatten().filter(|found| found.beyond_bits).count();
        let mut notes = Vec::new();
        if beyond > 0 {
            let plural = if beyond == 1 { " has" } else { "s have" };
            notes.push(format!("{beyond} slice{plural} values that BitsStored and HighBit leave no room for: all bits are read"));
        }
        let (distance, moved) = place(slices);
        let affine = first.affine().after(&stored_rows(rows));
        Ok(Stack {
            side: [columns, rows],
            spacing: [first.spacing[1], first.spacing[0]],
            distance,
            moved,
            hu,
            padding,
            notes,
            affine,
        })
    }

    /// A stack of the same slices with other values, such as a mask as 0 and 1 in DICOM's order of rows, slice by slice; for masks that were drawn on the slices.
    ///
    /// # Panics
    /// Where the values are not as many as the slices have pixels.
    pub fn of_values(slices: &[Slice], values: &[Vec<f32>]) -> Stack {
        let first = &slices[0];
        let flipped = |values: &Vec<f32>| values.chunks_exact(first.columns).rev().flatten().copied().collect::<Vec<f32>>();
        let hu: Vec<f32> = values.iter().flat_map(flipped).collect();
        assert_eq!(hu.len(), first.columns * first.rows * slices.len(), "one value for each pixel");
        let (distance, moved) = place(slices);
        let affine = first.affine().after(&stored_rows(first.rows));
        let (side, spacing) = ([first.columns, first.rows], [first.spacing[1], first.spacing[0]]);
        Stack { side, spacing, distance, moved, padding: f32::NEG_INFINITY, notes: Vec::new(), hu, affine }
    }

    /// Number of voxels in a slice.
    pub(crate) fn slice_len(&self) -> usize {
        self.side[0] * self.side[1]
    }

    /// The stack as a volume with this distance between slices; `moved` must be made up for already.
    pub(crate) fn into_volume(self, spacing: f64) -> Volume<f32> {
        let along = Affine::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, spacing]], [0.0; 3]);
        let shape = [self.side[0], self.side[1], self.distance.len()];
        Volume::new(Grid { shape, affine: self.affine.after(&along) }, self.hu)
    }
}

/// From the row as it is stored here to the row of DICOM.
fn stored_rows(rows: usize) -> Affine {
    Affine::new([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]], [0.0, (rows - 1) as f64, 0.0])
}

/// Distances along the normal, and how slices are moved, against the first.
fn place(slices: &[Slice]) -> (Vec<f64>, Vec<[f64; 2]>) {
    let first = &slices[0];
    let normal = first.normal();
    let from = |slice: &Slice| [0, 1, 2].map(|n| slice.position[n] - first.position[n]);
    let distance = slices.iter().map(|slice| dot(from(slice), normal)).collect();
    let moved = slices.iter().map(|slice| [dot(from(slice), first.along_row), -dot(from(slice), first.along_column)]).collect();
    (distance, moved)
}

/// What the pixels of a slice say besides their values.
pub(super) struct Found {
    /// HU of padding, where there is one that is outside of the field of view.
    padding: Option<f32>,
    /// Whether there are values that the attributes leave no room for.
    beyond_bits: bool,
}

/// Reads the frames of one file.
fn read_run(run: &[Slice], hu: &mut [f32]) -> Result<Vec<Found>, DicomError> {
    let path: &Path = &run[0].path;
    read_frames(run, hu).map_err(|error| error.of(path))
}

fn read_frames(run: &[Slice], hu: &mut [f32]) -> Result<Vec<Found>, DicomError> {
    let mut file = File::open(&run[0].path)?;
    let attributes = file.attributes()?;
    let layout = Layout::of(&attributes)?;
    let pixels = file.pixels(&attributes, &layout)?;
    let slices = run.iter().zip(hu.chunks_exact_mut(slice_len(&run[0])));
    slices.map(|(slice, hu)| read_slice(slice, &pixels, &layout, hu)).collect()
}

/// Whether two slices have the same HU. Those that cannot be read have not.
pub(super) fn same_pixels(a: &Slice, b: &Slice) -> bool {
    let bytes = |slice: &Slice| std::fs::read(&slice.path).ok();
    if a.frame == b.frame && (a.path == b.path || bytes(a).is_some_and(|own| bytes(b) == Some(own))) {
        return true;
    }
    let read = |slice: &Slice| {
        let mut hu = vec![0.0; slice_len(slice)];
        read_run(std::slice::from_ref(slice), &mut hu).is_ok().then_some(hu)
    };
    read(a).is_some_and(|own| read(b) == Some(own))
}

fn slice_len(slice: &Slice) -> usize {
    slice.rows * slice.columns
}

/// One slice in HU, with its rows from the last to the first.
pub(super) fn read_slice(slice: &Slice, pixels: &Pixels, layout: &Layout, hu: &mut [f32]) -> Result<Found, DicomError> {
    // The file may have changed since its attributes were read.
    if [layout.rows, layout.columns] != [slice.rows, slice.columns] {
        return Err(DicomError::Pixels("the size of the image has changed".into()));
    }
    let frame = slice.frame.map_or(0, |frame| frame as usize - 1);
    let Samples { values: stored, beyond_bits } = pixels::decode(pixels, layout, frame)?;
    let [slope, intercept] = slice.rescale;
    let value = |stored: i64| (slope * stored as f64 + intercept) as f32;
    for (row, stored) in hu.chunks_exact_mut(slice.columns).rev().zip(stored.chunks_exact(slice.columns)) {
        for (hu, &stored) in row.iter_mut().zip(stored) {
            *hu = value(stored);
        }
    }
    let padding = slice.padding.and_then(|range| {
        let [a, b] = range.map(value);
        if a.max(b) > DENSEST_TISSUE {
            blank(hu, slice.columns, |hu| hu > DENSEST_TISSUE && (a.min(b)..=a.max(b)).contains(&hu));
        }
        match () {
            _ if a.min(b) <= DENSEST_PADDING => Some(a.max(b).min(DENSEST_PADDING)),
            _ if a.max(b) > DENSEST_TISSUE => Some(OUTSIDE),
            _ => None,
        }
    });
    Ok(Found { padding, beyond_bits })
}

/// Makes voxels of a slice [`OUTSIDE`] that are padding and hang together with its border.
fn blank(hu: &mut [f32], columns: usize, is_padding: impl Fn(f32) -> bool) {
    let rows = hu.len() / columns;
    let border = |n: usize| [0, rows - 1].contains(&(n / columns)) || [0, columns - 1].contains(&(n % columns));
    let mut open: Vec<usize> = (0..hu.len()).filter(|&n| border(n)).collect();
    while let Some(n) = open.pop() {
        if !is_padding(hu[n]) {
            continue;
        }
        hu[n] = OUTSIDE;
        let (row, column) = (n / columns, n % columns);
        let near = [(row > 0, -1, 0), (row + 1 < rows, 1, 0), (column > 0, 0, -1), (column + 1 < columns, 0, 1)];
        for (inside, down, right) in near {
            if inside {
                open.push((row as isize + down) as usize * columns + (column as isize + right) as usize);
            }
        }
    }
}

/// Stacks for the tests of what is done with them.
#[cfg(test)]
pub mod testing {
    use super::Stack;
    use crate::volume::Affine;

    /// Slices at these distances in mm, of `side` pixels of 0.5 x 2 mm, none of them moved.
    pub fn stack(distance: &[f64], side: [usize; 2], hu: Vec<f32>) -> Stack {
        Stack {
            side,
            spacing: [0.5, 2.0],
            distance: distance.to_vec(),
            moved: vec![[0.0; 2]; distance.len()],
            padding: f32::NEG_INFINITY,
            notes: Vec::new(),
            hu,
            affine: Affine::IDENTITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slice::testing::slice;
    use super::*;

    #[test]
    fn padding_that_hangs_together_with_the_border_is_blanked() {
        const P: f32 = 3000.0;
        const O: f32 = OUTSIDE;
        #[rustfmt::skip]
        let mut hu = [
            P,   P,   0.0, 0.0, 0.0, 0.0,
            0.0, P,   0.0, 0.0, P,   0.0,
            P,   0.0, 0.0, 0.0, 0.0, P,
            0.0, 0.0, P,   P,   0.0, 0.0,
            0.0, 0.0, 0.0, P,   0.0, 0.0,
        ];
        blank(&mut hu, 6, |hu| hu == P);
        #[rustfmt::skip]
        let expected = [
            O,   O,   0.0, 0.0, 0.0, 0.0,
            0.0, O,   0.0, 0.0, P,   0.0,
            O,   0.0, 0.0, 0.0, 0.0, O,
            0.0, 0.0, O,   O,   0.0, 0.0,
            0.0, 0.0, 0.0, O,   0.0, 0.0,
        ];
        assert_eq!(hu, expected);
    }

    #[test]
    fn padding_is_known_by_what_no_tissue_has() {
        let layout = Layout { rows: 3, columns: 3, bytes: 2, bits: 16, high_bit: 15, signed: false, frames: 1, overlays: false };
        // Dense at a corner, beside it, and in the middle.
        let stored = [4000_u16, 3025, 3024, 1024, 4000, 1024, 0, 1, 2];
        let pixels = Pixels::Native(stored.iter().flat_map(|value| value.to_le_bytes()).collect());
        let read = |padding| {
            let slice = Slice { rows: 3, columns: 3, padding, ..slice("a", 0.0) };
            let mut hu = [0.0; 9];
            let found = read_slice(&slice, &pixels, &layout, &mut hu).unwrap();
            // The last row of DICOM is the first; the middle hangs together with the pixel in front of it.
            let middle = if hu[7] == OUTSIDE { OUTSIDE } else { 2976.0 };
            assert_eq!((hu[0..3].to_vec(), hu[4]), (vec![-1024.0, -1023.0, -1022.0], middle), "{padding:?}");
            (found.padding, hu[6..].to_vec())
        };
        let untouched = || vec![2976.0, 2001.0, 2000.0];
        assert_eq!(read(None), (None, untouched()));
        assert_eq!(read(Some([0, 0])), (Some(-1024.0), untouched()));
        assert_eq!(read(Some([124, 124])), (Some(-900.0), untouched()));
        assert_eq!(read(Some([125, 125])), (None, untouched()));
        assert_eq!(read(Some([0, 200])), (Some(-900.0), untouched()));
        assert_eq!(read(Some([3024, 3024])), (None, untouched()));
        assert_eq!(read(Some([4000, 4000])), (Some(OUTSIDE), vec![OUTSIDE, 2001.0, 2000.0]));
        assert_eq!(read(Some([4000, 3025])), (Some(OUTSIDE), vec![OUTSIDE, OUTSIDE, 2000.0]));
        assert_eq!(read(Some([3024, 4000])), (Some(OUTSIDE), vec![OUTSIDE, OUTSIDE, 2000.0]));
        assert_eq!(read(Some([0, 4000])), (Some(-900.0), vec![OUTSIDE, OUTSIDE, 2000.0]));
        let other = Slice { rows: 9, columns: 1, ..slice("a", 0.0) };
        assert!(read_slice(&other, &pixels, &layout, &mut [0.0; 9]).is_err());
    }

    #[test]
    fn padding_is_blank_as_far_as_it_goes_on_from_the_border() {
        // From the left, the right, above and below to the middle one, and one that nothing leads to.
        for from in [[(2, 0), (2, 1)], [(2, 4), (2, 3)], [(0, 2), (1, 2)], [(4, 2), (3, 2)]] {
            let mut hu = vec![35.0; 25];
            let way = [from[0], from[1], (2, 2)].map(|(row, column)| 5 * row + column);
            way.iter().for_each(|&n| hu[n] = 9000.0);
            hu[match from[0] {
                (0, 2) => 18,
                (2, 0) => 8,
                _ => 6,
            }] = 9000.0;
            blank(&mut hu, 5, |hu| hu > 5000.0);
            let left: Vec<usize> = (0..25).filter(|&n| hu[n] == OUTSIDE).collect();
            let mut way = way.to_vec();
            way.sort_unstable();
            assert_eq!(left, way);
            assert_eq!(hu.iter().filter(|&&hu| hu == 9000.0).count(), 1);
        }
    }
}
