//! Figures 3 and 4 of the DeepBleed paper: slices of a case with its masks over the scan; green true, red false, blue missed.

use crate::draw::drawing::{Anchor, BLACK, Drawing};
use crate::draw::raster::{Colour, Raster};
use crate::evaluation::{Case, onto, pairs::Pair, read};
use crate::io::nifti;
use crate::volume::{Volume, orientation};
use crate::{Error, Result};

/// Voxels in both masks, in the automated one alone, and in the manual one alone.
const TRUE: Colour = [0, 200, 0];
const FALSE: Colour = [230, 0, 0];
const MISSED: Colour = [40, 90, 255];
/// Share of those colours over the scan.
const COVER: f32 = 0.6;
/// The brain window, centre 40 and width 80 HU: darkest and brightest.
const WINDOW: [f32; 2] = [0.0, 80.0];
/// Slices of a case.
const SLICES: usize = 4;
/// Side of a slice's picture, in units of the drawing and in pixels.
const PANEL: f64 = 220.0;
const PIXELS: f64 = 330.0;
/// Height of a case's line of text.
const CAPTION: f64 = 20.0;

/// A case as it is shown: its caption and its slices.
pub struct Row {
    caption: String,
    slices: Vec<Slice>,
}

struct Slice {
    /// Counted from 1 for the lowest.
    number: usize,
    image: Raster,
    /// Width and height in mm.
    mm: [f64; 2],
}

/// Reads a case's scan and masks and cuts up to four slices through its bleed, evenly from the lowest to the highest.
///
/// # Errors
/// As [`crate::evaluation::compare`]; [`Error::Scan`] where the case has no scan or the scan lies on other points.
pub fn row(pair: &Pair, case: &Case) -> Result<Row> {
    let Some(path) = &pair.scan else {
        let problem = "its case has no scan to draw the masks on".into();
        return Err(Error::Scan { path: pair.automated.clone(), problem });
    };
    let scan = nifti::read(path)?.volume;
    let [automated, manual] = read(pair)?.both;
    let scan = onto(path, &scan, &pair.manual, manual.grid())?;
    let [automated, manual] = [&automated, &manual].map(orientation::to_ras);
    let scan = orientation::to_ras(&scan);
    let caption =
        format!("{}: Dice {:.3}, manual {:.1} mL, automated {:.1} mL", case.name, case.dice, case.manual_ml, case.automated_ml);
    let slices = chosen(&automated, &manual).into_iter().map(|k| slice(&scan, &automated, &manual, k)).collect();
    Ok(Row { caption, slices })
}

/// A drawing of cases below each other, with a line of text below them.
pub fn draw(title: &str, footer: &str, rows: &[Row]) -> Drawing {
    let height = 34.0 + rows.len() as f64 * (CAPTION + PANEL + 8.0) + 46.0;
    let mut drawing = Drawing::new([SLICES as f64 * (PANEL + 4.0) + 4.0, height], title);
    drawing.text([6.0, 18.0], Anchor::Start, title, BLACK);
    for (n, row) in rows.iter().enumerate() {
        let top = 34.0 + n as f64 * (CAPTION + PANEL + 8.0);
        drawing.text([6.0, top + 13.0], Anchor::Start, &row.caption, BLACK);
        for (place, slice) in row.slices.iter().enumerate() {
            let corner = [4.0 + place as f64 * (PANEL + 4.0), top + CAPTION];
            panel(&mut drawing, corner, slice);
        }
    }
    let mut x = 6.0;
    for (text, colour) in [("true", TRUE), ("false", FALSE), ("missed", MISSED)] {
        drawing.fill([x, height - 38.0], [12.0; 2], colour);
        drawing.text([x + 17.0, height - 28.0], Anchor::Start, text, BLACK);
        x += 37.0 + 8.0 * text.len() as f64;
    }
    drawing.text([x, height - 28.0], Anchor::Start, "seen from the feet: R is the patient's right", BLACK);
    drawing.text([6.0, height - 8.0], Anchor::Start, footer, [110; 3]);
    drawing
}

fn panel(drawing: &mut Drawing, [left, top]: [f64; 2], slice: &Slice) {
    const LIGHT: Colour = [235; 3];
    drawing.fill([left, top], [PANEL; 2], BLACK);
    let scale = PANEL / slice.mm[0].max(slice.mm[1]);
    let size = slice.mm.map(|mm| mm * scale);
    let corner = [left + (PANEL - size[0]) / 2.0, top + (PANEL - size[1]) / 2.0];
    drawing.image(corner, size, slice.image.clone());
    let middle = top + PANEL / 2.0;
    drawing.text([left + 4.0, middle], Anchor::Start, "R", LIGHT);
    drawing.text([left + PANEL - 4.0, middle], Anchor::End, "L", LIGHT);
    drawing.text([left + 4.0, top + PANEL - 6.0], Anchor::Start, &format!("slice {}", slice.number), LIGHT);
}

/// Slices that hold a voxel of a mask: up to four, evenly from the lowest to the highest.
fn chosen(automated: &Volume<bool>, manual: &Volume<bool>) -> Vec<usize> {
    let [ni, nj, _] = manual.grid().shape;
    let pairs = automated.voxels().chunks(ni * nj).zip(manual.voxels().chunks(ni * nj));
    let holding: Vec<usize> =
        pairs.enumerate().filter(|(_, (one, other))| one.contains(&true) || other.contains(&true)).map(|(k, _)| k).collect();
    if holding.len() <= SLICES {
        return holding;
    }
    (0..SLICES).map(|n| holding[(2 * n + 1) * holding.len() / (2 * SLICES)]).collect()
}

/// A slice of volumes in RAS order, the patient's right at the left and the front at the top.
fn slice(scan: &Volume<f32>, automated: &Volume<bool>, manual: &Volume<bool>, k: usize) -> Slice {
    let grid = scan.grid();
    let [ni, nj, _] = grid.shape;
    let spacing = grid.spacing();
    let mm = [ni as f64 * spacing[0], nj as f64 * spacing[1]];
    let size = mm.map(|side| ((PIXELS * side / mm[0].max(mm[1])).round() as usize).max(1));
    let mut pixels = Vec::with_capacity(size[0] * size[1]);
    for y in 0..size[1] {
        for x in 0..size[0] {
            let place = [ni - 1 - x * ni / size[0], nj - 1 - y * nj / size[1], k];
            pixels.push(colour(*scan.at(place), *automated.at(place), *manual.at(place)));
        }
    }
    Slice { number: k + 1, image: Raster::of(size, pixels), mm }
}

fn colour(hu: f32, automated: bool, manual: bool) -> Colour {
    let share = (hu.clamp(WINDOW[0], WINDOW[1]) - WINDOW[0]) / (WINDOW[1] - WINDOW[0]);
    // What is no number is black.
    let grey = (255.0 * share).round() as u8;
    let over = match (automated, manual) {
        (true, true) => TRUE,
        (true, false) => FALSE,
        (false, true) => MISSED,
        (false, false) => return [grey; 3],
    };
    over.map(|value| (f32::from(value) * COVER + f32::from(grey) * (1.0 - COVER)).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::signed_permutations;
    use crate::volume::{Affine, Grid};

    /// Points in the world of a head: what is at the patient's right in front, and so on.
    fn volume<T>(grid: &Grid, value: impl Fn([f64; 3]) -> T) -> Volume<T> {
        Volume::new(grid.clone(), (0..grid.len()).map(|n| value(grid.world(n))).collect())
    }

    #[test]
    fn the_patients_right_is_at_the_left_and_the_front_at_the_top_in_each_order_of_the_file() {
        for orientation in signed_permutations() {
            // 30 voxels of 2 mm along each axis, the middle of the grid at 0.
            let mut matrix = [[0.0; 3]; 3];
            for voxel in 0..3 {
                matrix[orientation.axis[voxel]][voxel] = if orientation.flipped[voxel] { -2.0 } else { 2.0 };
            }
            let middle = Affine::new(matrix, [0.0; 3]).apply([14.5; 3]);
            let grid = Grid { shape: [30; 3], affine: Affine::new(matrix, middle.map(|mm| -mm)) };
            let scan = volume(&grid, |_| 40.0);
            // World: x to the right, y to the front.
            let automated = volume(&grid, |[x, y, _]| x > 10.0 && y.abs() < 15.0);
            let manual = volume(&grid, |[x, y, z]| x.abs() < 5.0 && y > 10.0 && z.abs() < 9.0 || x > 20.0 && y.abs() < 15.0);
            let [scan, automated, manual] = [
                orientation::to_ras(&scan),
                orientation::to_ras(&automated.map(|&inside| f32::from(u8::from(inside)))),
                orientation::to_ras(&manual.map(|&inside| f32::from(u8::from(inside)))),
            ];
            let [automated, manual] = [automated, manual].map(|mask| mask.map(|&value| value > 0.5));
            let shown = slice(&scan, &automated, &manual, 15);
            assert_eq!((shown.number, shown.mm), (16, [60.0; 2]));
            let shown = shown.image;
            let over = |colour: Colour| colour.map(|value| (f32::from(value) * COVER + 128.0 * (1.0 - COVER)).round() as u8);
            // World x -30 to 30 from the right of the picture to its left, y from its bottom to its top.
            let at = |x: f64, y: f64| shown.at([(30.0 - x) / 60.0, (30.0 - y) / 60.0].map(|share| (share * PIXELS) as usize));
            assert_eq!([at(25.0, 0.0), at(15.0, 0.0), at(0.0, 20.0)], [over(TRUE), over(FALSE), over(MISSED)], "{orientation:?}");
            assert_eq!([at(-15.0, 0.0), at(0.0, -20.0), at(0.0, 0.0)], [[128; 3]; 3], "{orientation:?}");
        }
    }

    #[test]
    fn slices_go_from_the_lowest_to_the_highest_that_hold_a_mask() {
        let grid = Grid { shape: [2, 3, 40], affine: Affine::IDENTITY };
        let between = |low: f64, high: f64| volume(&grid, |[_, _, z]| z >= low && z < high);
        assert_eq!(chosen(&between(3.0, 5.0), &between(4.0, 6.0)), [3, 4, 5]);
        assert_eq!(chosen(&between(0.0, 8.0), &between(8.0, 16.0)), [2, 6, 10, 14]);
        assert_eq!(chosen(&between(20.0, 22.0), &between(9.0, 9.0)), [20, 21]);
        assert_eq!(chosen(&between(9.0, 9.0), &between(20.0, 22.0)), [20, 21]);
    }

    #[test]
    fn the_grey_is_that_of_the_window_and_the_colours_cover_it() {
        for (hu, grey) in [(-50.0, 0), (0.0, 0), (20.0, 64), (80.0, 255), (500.0, 255), (f32::NAN, 0)] {
            assert_eq!(colour(hu, false, false), [grey; 3], "{hu}");
        }
        // 0.6 of the colour, 0.4 of the grey of 128.
        assert_eq!(colour(40.0, true, true), [51, 171, 51]);
        assert_eq!(colour(40.0, true, false), [189, 51, 51]);
        assert_eq!(colour(40.0, false, true), [75, 105, 204]);
    }

    #[test]
    fn slices_lie_beside_and_cases_below_each_other() {
        let slice = |number, mm| Slice { number, image: Raster::new([2, 2], BLACK), mm };
        let rows = ["one", "two"]
            .map(|caption| Row { caption: caption.into(), slices: vec![slice(7, [200.0, 100.0]), slice(9, [100.0, 200.0])] });
        let svg = draw("title", "footer", &rows).svg();
        let shapes = [
            "viewBox=\"0 0 900 576\"",
            "<text x=\"6.00\" y=\"18.00\" text-anchor=\"start\" fill=\"#000000\">title<",
            "<text x=\"6.00\" y=\"47.00\" text-anchor=\"start\" fill=\"#000000\">one<",
            "<text x=\"6.00\" y=\"295.00\" text-anchor=\"start\" fill=\"#000000\">two<",
            "<rect x=\"4.00\" y=\"54.00\" width=\"220.00\" height=\"220.00\" fill=\"#000000\"",
            "<image x=\"4.00\" y=\"109.00\" width=\"220.00\" height=\"110.00\"",
            "<rect x=\"228.00\" y=\"302.00\" width=\"220.00\" height=\"220.00\" fill=\"#000000\"",
            "<image x=\"283.00\" y=\"302.00\" width=\"110.00\" height=\"220.00\"",
            "<text x=\"232.00\" y=\"412.00\" text-anchor=\"start\" fill=\"#ebebeb\">R<",
            "<text x=\"444.00\" y=\"412.00\" text-anchor=\"end\" fill=\"#ebebeb\">L<",
            "<text x=\"232.00\" y=\"516.00\" text-anchor=\"start\" fill=\"#ebebeb\">slice 9<",
            "<rect x=\"6.00\" y=\"538.00\" width=\"12.00\" height=\"12.00\" fill=\"#00c800\"",
            "<text x=\"23.00\" y=\"548.00\" text-anchor=\"start\" fill=\"#000000\">true<",
            "<rect x=\"75.00\" y=\"538.00\" width=\"12.00\" height=\"12.00\" fill=\"#e60000\"",
            "<text x=\"92.00\" y=\"548.00\" text-anchor=\"start\" fill=\"#000000\">false<",
            "<rect x=\"152.00\" y=\"538.00\" width=\"12.00\" height=\"12.00\" fill=\"#285aff\"",
            "<text x=\"237.00\" y=\"548.00\" text-anchor=\"start\" fill=\"#000000\">seen from the feet",
            "<text x=\"6.00\" y=\"568.00\" text-anchor=\"start\" fill=\"#6e6e6e\">footer<",
        ];
        for shape in shapes {
            assert!(svg.contains(shape), "{shape} is not in {svg}");
        }
    }
}
