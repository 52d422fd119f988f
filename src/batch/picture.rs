//! The picture of a scan, NAME_ich.png: its axial slices from the lowest to the highest with the hemorrhage outlined.
//!
//! Radiological display: the patient's right is on the picture's left, the front is at the top, as if one looked from the feet. Each panel
//! bears the marks R and L.

use crate::batch::report::{Layout, RESEARCH_USE_ONLY, Report};
use crate::draw::canvas::{Canvas, Colour};
use crate::draw::font::Size::{self, Large, Small};
use crate::volume::{Volume, orientation};
use rayon::prelude::*;

/// The brain window, centre 40 and width 80 HU: darkest and brightest. One grey level for each HU.
const WINDOW: [f32; 2] = [0.0, 80.0];
/// Colours after the 81 greys: the outline, text, its shadow, text about warnings, and the outline of what is not seen.
const OUTLINE: Colour = 81;
const TEXT: Colour = 82;
const BACKGROUND: Colour = 83;
const ALERT: Colour = 84;
/// The outline of components of which a second method sees nothing.
const UNSEEN: Colour = 85;
/// The grey between panels.
const FRAME: Colour = 20;
/// Most panels of a picture. Of thinner slices groups of neighbours share one.
const MOST_PANELS: usize = 40;
/// The longer side of a panel's image in pixels.
const PANEL_SIDE: f64 = 240.0;
/// The least width of a panel: room for its marks.
const LEAST_WIDTH: usize = 56;
/// What is shown around the brain, in mm.
const MARGIN_MM: f64 = 12.0;
/// Panels in a row.
const COLUMNS: usize = 8;
/// The least width of a picture: room for its text.
const PICTURE_WIDTH: usize = 840;
/// Height of the text above the panels, without warnings, and of the scale below them.
const TOP: usize = 98;
const BOTTOM: usize = 32;
/// First row of pixels of the text below the first line.
const TEXT_TOP: usize = 31;
/// Width of what is free at the left and at the right of text.
const SIDE: usize = 8;
/// Height of a line of text.
const LINE: usize = 16;
/// The warnings take so many lines at most.
const MOST_LINES: usize = 40;
/// Length of the scale in mm.
const SCALE_MM: f64 = 50.0;

/// A scan's HU in the brain window: 0 for 0 HU and less (and for what is no number), 80 for 80 HU and more.
pub fn window(scan: &Volume<f32>) -> Volume<u8> {
    let levels = scan.voxels().par_iter().map(|hu| hu.clamp(WINDOW[0], WINDOW[1]).round() as u8).collect();
    Volume::new(scan.grid().clone(), levels)
}

/// What is shown: voxels of a grid in the order nearest to RAS.
struct Scene {
    window: Volume<u8>,
    mask: Volume<bool>,
    /// What of the mask a second method does not see.
    unseen: Option<Volume<bool>>,
    /// First voxel and number of voxels along i and j.
    crop: [[usize; 2]; 2],
    /// k of each panel.
    slices: Vec<usize>,
    /// Size of a panel's image in pixels; narrower than the panel where the brain is a sliver.
    image: [usize; 2],
    layout: Layout,
}

/// The picture of a scan in the brain window with its hemorrhage, and where its slices are. All volumes are on the scan's own grid;
/// `unseen` are the components of `mask` of which a second method sees nothing, which are outlined in another colour.
/// The text is that of `report`.
///
/// # Panics
/// Where brain and mask are both empty, or the grids differ in shape.
pub fn draw(
    window: &Volume<u8>,
    brain: &Volume<bool>,
    mask: &Volume<bool>,
    unseen: Option<&Volume<bool>>,
    report: &Report,
) -> (Canvas, Layout) {
    let mut scene = Scene::new(orientation::to_ras(window), &orientation::to_ras(brain), orientation::to_ras(mask));
    scene.unseen = unseen.map(orientation::to_ras);
    let warnings = warnings(report, (scene.layout.size[0] - 2 * SIDE) / Small.width());
    // The first line has its place already.
    let more = LINE * warnings.len().saturating_sub(1);
    scene.layout.top += more;
    scene.layout.size[1] += more;
    let Layout { size: [width, height], panel, columns, top, .. } = scene.layout;
    let mut canvas = Canvas::new(width, height, palette());
    caption(&mut canvas, report, &warnings, top);
    for (place, &k) in scene.slices.iter().enumerate() {
        let corner = [place % columns * panel[0], top + place / columns * panel[1]];
        scene.panel(&mut canvas, corner, k);
    }
    scale(&mut canvas, [SIDE, height - BOTTOM + 8], scene.layout.mm);
    (canvas, scene.layout)
}

fn palette() -> Vec<[u8; 3]> {
    let greys = 0..=WINDOW[1] as usize;
    let mut colours: Vec<[u8; 3]> = greys.map(|level| [(level as f32 * 255.0 / WINDOW[1]).round() as u8; 3]).collect();
    colours.extend([[255, 48, 32], [232, 232, 232], [0; 3], [255, 200, 0], [64, 176, 255]]);
    colours
}

impl Scene {
    fn new(window: Volume<u8>, brain: &Volume<bool>, mask: Volume<bool>) -> Scene {
        let grid = window.grid();
        assert!(brain.grid().shape == grid.shape && mask.grid().shape == grid.shape, "a picture's volumes have one shape");
        let bounds = shown(brain, &mask).expect("a picture needs a brain");
        let spacing = grid.spacing();
        let crop = [0, 1].map(|axis| {
            let margin = (MARGIN_MM / spacing[axis]).ceil() as usize;
            let first = bounds[axis][0].saturating_sub(margin);
            [first, (bounds[axis][1].saturating_add(margin) + 1).min(grid.shape[axis]) - first]
        });
        let mm = [0, 1].map(|axis| crop[axis][1] as f64 * spacing[axis]);
        let pixel = mm[0].max(mm[1]) / PANEL_SIDE;
        let image = mm.map(|mm| ((mm / pixel).round() as usize).max(1));
        let areas: Vec<usize> = mask
            .voxels()
            .chunks(grid.shape[0] * grid.shape[1])
            .map(|slice| slice.iter().filter(|&&inside| inside).count())
            .collect();
        let slices = slices(bounds[2], &areas);
        // Of equal areas the first: `max_by_key` takes the last.
        let key = (0..slices.len()).rev().max_by_key(|&panel| areas[slices[panel]]).filter(|&panel| areas[slices[panel]] > 0);
        let panel = image.map(|side| side.max(LEAST_WIDTH));
        let columns = COLUMNS.min(slices.len());
        let layout = Layout {
            size: [(panel[0] * columns).max(PICTURE_WIDTH), TOP + panel[1] * slices.len().div_ceil(columns) + BOTTOM],
            panel,
            columns,
            top: TOP,
            slices: slices.iter().map(|k| k + 1).collect(),
            key: key.unwrap_or(slices.len() / 2),
            mm: pixel,
        };
        Scene { window, mask, unseen: None, crop, slices, image, layout }
    }

    /// Draws slice `k` with its marks; `corner` is the panel's upper left pixel.
    fn panel(&self, canvas: &mut Canvas, corner: [usize; 2], k: usize) {
        let [width, height] = self.image;
        let [panel_width, panel_height] = self.layout.panel;
        let first = [corner[0] + (panel_width - width) / 2, corner[1] + (panel_height - height) / 2];
        // i grows to the patient's right and j to the front: columns go against i and rows against j.
        let columns: Vec<[usize; 2]> = (0..width).map(|x| voxels(self.crop[0], width, width - 1 - x)).collect();
        let rows: Vec<[usize; 2]> = (0..height).map(|y| voxels(self.crop[1], height, height - 1 - y)).collect();
        let mut blood = vec![false; width * height];
        let mut unseen = vec![false; width * height];
        for (y, &[low_j, high_j]) in rows.iter().enumerate() {
            for (x, &[low_i, high_i]) in columns.iter().enumerate() {
                let mut sum = 0;
                for j in low_j..high_j {
                    let line = self.window.grid().index([low_i, j, k]);
                    let line = line..line + (high_i - low_i);
                    sum += self.window.voxels()[line.clone()].iter().map(|&level| usize::from(level)).sum::<usize>();
                    blood[y * width + x] |= self.mask.voxels()[line.clone()].contains(&true);
                    unseen[y * width + x] |= self.unseen.as_ref().is_some_and(|unseen| unseen.voxels()[line].contains(&true));
                }
                let count = (high_i - low_i) * (high_j - low_j);
                canvas.set([first[0] + x, first[1] + y], ((sum + count / 2) / count) as Colour);
            }
        }
        outline(canvas, first, width, &blood, OUTLINE);
        outline(canvas, first, width, &unseen, UNSEEN);
        // L of one panel and R of the next do not stand side by side without a line between them.
        canvas.line(corner, [corner[0], corner[1] + panel_height - 1], FRAME);
        canvas.line(corner, [corner[0] + panel_width - 1, corner[1]], FRAME);
        let mark = |canvas: &mut Canvas, at: [usize; 2], size: Size, text: &str| {
            canvas.text([corner[0] + at[0] + 1, corner[1] + at[1] + 1], size, text, BACKGROUND);
            canvas.text([corner[0] + at[0], corner[1] + at[1]], size, text, TEXT);
        };
        // A letter has free rows above its capitals.
        mark(canvas, [4, 0], Large, "R");
        mark(canvas, [panel_width - Large.width() - 2, 0], Large, "L");
        mark(canvas, [4, panel_height - Small.height() - 1], Small, &(k + 1).to_string());
    }
}

/// First and last voxel along i, j and k of brain and hemorrhage together.
fn shown(brain: &Volume<bool>, mask: &Volume<bool>) -> Option<[[usize; 2]; 3]> {
    let [ni, nj, _] = brain.grid().shape;
    let rows = brain.voxels().par_chunks(ni).zip(mask.voxels().par_chunks(ni)).enumerate().filter_map(|(row, (brain, mask))| {
        let inside = |i: &usize| brain[*i] || mask[*i];
        let (first, last) = ((0..ni).find(inside)?, (0..ni).rfind(inside)?);
        Some([[first, last], [row % nj; 2], [row / nj; 2]])
    });
    rows.reduce_with(|p, q| [0, 1, 2].map(|axis| [p[axis][0].min(q[axis][0]), p[axis][1].max(q[axis][1])]))
}

/// The slices of the panels: all from the first to the last, or of each group of neighbours the one with the largest area of hemorrhage, of
/// equal ones that nearest to the group's middle.
fn slices([first, last]: [usize; 2], areas: &[usize]) -> Vec<usize> {
    let all: Vec<usize> = (first..=last).collect();
    let group = all.len().div_ceil(MOST_PANELS);
    let choose = |group: &[usize]| {
        let middle = group[group.len() / 2];
        let best = group.iter().max_by_key(|&&k| (areas[k], std::cmp::Reverse(k.abs_diff(middle))));
        *best.expect("a group has a slice")
    };
    all.chunks(group).map(choose).collect()
}

/// The voxels (first, and the one after the last) that pixel number `pixel` of `pixels` shows; `crop` is their first and their number.
fn voxels([first, count]: [usize; 2], pixels: usize, pixel: usize) -> [usize; 2] {
    let low = pixel * count / pixels;
    [first + low, first + ((pixel + 1) * count).div_ceil(pixels).max(low + 1)]
}

/// Draws the pixels just outside of `blood` in a colour; an image of `width` pixels a row whose upper left is `first`: what is inside stays to be seen.
fn outline(canvas: &mut Canvas, first: [usize; 2], width: usize, blood: &[bool], colour: Colour) {
    let height = blood.len() / width;
    for (index, _) in blood.iter().enumerate().filter(|(_, inside)| !**inside) {
        let (x, y) = (index % width, index / width);
        let beside = [
            (x > 0).then(|| index - 1),
            (x + 1 < width).then(|| index + 1),
            (y > 0).then(|| index - width),
            (y + 1 < height).then(|| index + width),
        ];
        if beside.into_iter().flatten().any(|neighbour| blood[neighbour]) {
            canvas.set([first[0] + x, first[1] + y], colour);
        }
    }
}

/// The report's warnings in lines of at most `columns` letters.
fn warnings(report: &Report, columns: usize) -> Vec<String> {
    let texts = report.warnings.iter().map(|warning| format!("Warning {}: {}", warning.number, warning.text));
    let mut lines: Vec<String> = texts.flat_map(|text| wrap(&text, columns)).collect();
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES - 1);
        lines.push("  and more: see the report".into());
    }
    lines
}

/// A text in lines of at most `columns` letters, broken between words where that can be, the second and later ones
/// indented by two.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let line = lines.last_mut().expect("there is a first line");
            let begun = line.chars().count();
            let space = usize::from(!line.trim().is_empty());
            if begun + space + rest.len() <= columns {
                line.extend(std::iter::repeat_n(' ', space).chain(rest.drain(..)));
            } else if space == 0 {
                // A word longer than a line.
                line.extend(rest.drain(..columns.saturating_sub(begun).max(1)));
                lines.push("  ".into());
            } else {
                lines.push("  ".into());
            }
        }
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// The text above the panels, which begin at `top`.
fn caption(canvas: &mut Canvas, report: &Report, warnings: &[String], top: usize) {
    canvas.fill([0, 0], [canvas.width(), top], BACKGROUND);
    let components = report.component_count;
    let plural = if components == 1 { "" } else { "s" };
    let found = format!("{:.2} mL in {components} component{plural}", report.volume_ml);
    let room = (canvas.width() / Large.width()).saturating_sub(found.len() + 4);
    let name: String = report.name.chars().take(room).collect();
    let first = format!("{found}  {name}");
    canvas.text([SIDE, 0], Large, &first, TEXT);
    let mut at = [SIDE, TEXT_TOP];
    let mut say = |text: &str, colour: Colour| {
        canvas.text(at, Small, text, colour);
        at[1] += LINE;
    };
    if warnings.is_empty() {
        say("no warning", TEXT);
    }
    warnings.iter().for_each(|line| say(line, ALERT));
    let how = format!(
        "weights {} (SHA-256 {}), threshold {}, window 40/80 HU, ichor {}",
        report.weights.name,
        report.weights.sha256.get(..12).unwrap_or(&report.weights.sha256),
        report.threshold,
        report.ichor_version
    );
    say(&how, TEXT);
    say("Radiological display: R is the patient's right, L the patient's left. Slices from the lowest.", TEXT);
    say(RESEARCH_USE_ONLY, ALERT);
}

/// A bar of 50 mm; `mm` is the length of a pixel's side.
fn scale(canvas: &mut Canvas, at: [usize; 2], mm: f64) {
    let length = (SCALE_MM / mm).round() as usize;
    canvas.fill(at, [length, 3], TEXT);
    for end in [at[0], at[0] + length] {
        canvas.fill([end, at[1].saturating_sub(4)], [2, 11], TEXT);
    }
    canvas.text([at[0] + length + 10, at[1].saturating_sub(7)], Small, &format!("{SCALE_MM} mm"), TEXT);
}

#[cfg(all(test, feature = "phantom"))]
mod tests {
    use super::*;
    use crate::batch::report::NumberedWarning;
    use crate::draw::canvas::testing;
    use crate::phantom::ellipsoids as phantom;
    use crate::volume::{Affine, Grid};
    use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster};

    const RED: [u8; 3] = [255, 48, 32];

    /// RGB pixels of the picture of a phantom whose bleed is on the patient's left, on a grid with these steps along x, y and z.
    fn picture(steps: [f64; 3]) -> (usize, Vec<[u8; 3]>, Layout) {
        picture_with(steps, Vec::new())
    }

    fn picture_with([x, y, z]: [f64; 3], warnings: Vec<NumberedWarning>) -> (usize, Vec<[u8; 3]>, Layout) {
        let shape = [64, 70, 40];
        let origin = [0, 1, 2].map(|axis| -[x, y, z][axis] * (shape[axis] as f64 - 1.0) / 2.0);
        let affine = Affine::new([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]], origin);
        let phantom = phantom::head_on(Grid { shape, affine });
        let report = Report { volume_ml: 12.3, warnings, ..Report::example("scan") };
        let (canvas, layout) = draw(&window(&phantom.scan), &phantom.brain, &phantom.bleed, None, &report);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), canvas.png().unwrap()).unwrap();
        let (width, height, pixels) = testing::read(&folder.path().join("a.png"));
        assert_eq!([width, height], layout.size);
        (width, pixels, layout)
    }

    #[test]
    fn what_a_second_method_does_not_see_is_outlined_in_another_colour() {
        let phantom = phantom::head_on(Grid {
            shape: [64, 70, 40],
            affine: Affine::new([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]], [-94.5, -103.5, -78.0]),
        });
        let count = |unseen: Option<&Volume<bool>>, colour: [u8; 3]| {
            let report = Report::example("scan");
            let (canvas, _) = draw(&window(&phantom.scan), &phantom.brain, &phantom.bleed, unseen, &report);
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("a.png"), canvas.png().unwrap()).unwrap();
            testing::read(&folder.path().join("a.png")).2.iter().filter(|&&pixel| pixel == colour).count()
        };
        let [red, blue] = [RED, [64, 176, 255]];
        assert!(count(None, red) > 0 && count(None, blue) == 0);
        assert_eq!([count(Some(&phantom.bleed), red), count(Some(&phantom.bleed), blue)], [0, count(None, red)]);
    }

    #[test]
    fn a_bleed_on_the_patients_left_is_drawn_on_the_side_marked_l_however_the_scan_is_stored() {
        let (width, expected, layout) = picture([3.0, 3.0, 4.0]);
        let [panel_width, panel_height] = layout.panel;
        let at = |x: usize, y: usize| expected[(layout.top + y) * width + x];
        let (column, row) = (layout.key % layout.columns * panel_width, layout.key / layout.columns * panel_height);
        let red: Vec<usize> = (0..panel_width * panel_height)
            .filter(|n| at(column + n % panel_width, row + n / panel_width) == RED)
            .map(|n| n % panel_width)
            .collect();
        assert!(red.len() > 50, "{} pixels of outline", red.len());
        assert!(red.iter().all(|x| *x > panel_width / 2), "the patient's left is on the picture's right");
        // The marks: L has its foot at the lower right, R none to the left of its stem.
        let mark = |x: usize| {
            let places = (0..32).flat_map(|y| (0..14).map(move |n| [x + n, y]));
            places.map(|[x, y]| at(column + x, row + y) == [232; 3]).collect::<Vec<bool>>()
        };
        let covered = |letter: char| {
            let raster = get_raster(letter, FontWeight::Regular, RasterHeight::Size32).unwrap();
            raster.pixels().iter().map(|&share| share == 255).collect::<Vec<bool>>()
        };
        assert!(covered('R').iter().filter(|&&all| all).count() > 20 && covered('R') != covered('L'));
        assert_eq!(mark(4), covered('R'));
        assert_eq!(mark(panel_width - 16), covered('L'));
        for [x, y, z] in [[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, -1.0, 1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, -1.0]] {
            let (_, pixels, other) = picture([3.0 * x, 3.0 * y, 4.0 * z]);
            assert_eq!(other, layout);
            let differing = pixels.iter().zip(&expected).filter(|(a, b)| (**a == RED) != (**b == RED)).count();
            assert_eq!(differing, 0, "pixels of outline that differ, steps {x}, {y}, {z}");
        }
    }

    #[test]
    fn warnings_are_written_out_above_the_panels_which_are_the_same() {
        let steps = [3.0, 3.0, 4.0];
        let (width, plain, layout) = picture(steps);
        let text = "the brain has 300 mL, outside of 800 to 2000 mL: look at the brain mask; ".repeat(4);
        let warning = |number| NumberedWarning { number, text: text.clone() };
        let (_, warned, moved) = picture_with(steps, vec![warning(1), warning(3)]);
        let more = 3 * LINE;
        assert_eq!(moved, Layout { top: layout.top + more, size: [width, layout.size[1] + more], ..layout.clone() });
        assert!(plain[layout.top * width..] == warned[moved.top * width..], "the panels");
        // Letters of the first line are where they should be: W, then a of Warning.
        let letter = |place: usize, line: usize| -> Vec<bool> {
            let places = (0..16).flat_map(|y| (0..7).map(move |x| [SIDE + 7 * place + x, TEXT_TOP + LINE * line + y]));
            places.map(|[x, y]| warned[y * width + x][0] > 127).collect()
        };
        let glyph = |letter: char| -> Vec<bool> {
            let raster = get_raster(letter, FontWeight::Regular, RasterHeight::Size16).unwrap();
            raster.pixels().iter().map(|&share| share > 127).collect()
        };
        assert_eq!([letter(0, 0), letter(1, 0), letter(8, 0), letter(0, 2), letter(8, 2)], ['W', 'a', '1', 'W', '3'].map(glyph));
    }

    #[test]
    fn lines_are_broken_between_words_and_nothing_is_lost() {
        assert_eq!(wrap("one two three", 7), ["one two", "  three"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "  ef", "  gh", "  ij", "  k"]);
        assert_eq!(wrap("", 9), [""; 0]);
        let many = (0..60).map(|_| NumberedWarning { number: 9, text: "odd".into() }).collect();
        let lines = warnings(&Report { warnings: many, ..Report::example("a") }, 80);
        assert_eq!((lines.len(), lines[39].as_str()), (MOST_LINES, "  and more: see the report"));
    }

    #[test]
    fn a_pixel_is_as_many_millimetres_as_the_layout_says() {
        let (_, _, layout) = picture([3.0, 3.0, 4.0]);
        // The brain is 168 mm long; 12 mm are shown on either side, in whole voxels of 3 mm.
        let length = layout.mm * PANEL_SIDE;
        assert!((192.0..=198.0).contains(&length), "{length} mm");
        assert_eq!(layout.panel[1], 240);
        let width = layout.mm * layout.panel[0] as f64;
        assert!((160.0..=167.0).contains(&width), "{width} mm");
    }

    #[test]
    fn every_slice_has_a_panel_and_thin_slices_share_one_that_shows_the_hemorrhage() {
        assert_eq!(slices([3, 6], &[0; 9]), [3, 4, 5, 6]);
        let mut areas = [0; 100];
        areas[51] = 7;
        let chosen = slices([0, 99], &areas);
        assert_eq!((chosen.len(), &chosen[..3]), (34, &[1, 4, 7][..]));
        assert!(chosen.contains(&51) && !chosen.contains(&52));
    }

    #[test]
    fn every_voxel_is_in_some_pixel_and_the_blood_of_one_voxel_is_seen() {
        for (count, pixels) in [(7, 20), (20, 7), (512, 240), (5, 5)] {
            let shown: Vec<[usize; 2]> = (0..pixels).map(|pixel| voxels([10, count], pixels, pixel)).collect();
            assert!((10..10 + count).all(|voxel| shown.iter().any(|[low, high]| (*low..*high).contains(&voxel))));
            assert!(shown.iter().all(|[low, high]| low < high && *high <= 10 + count));
        }
    }

    #[test]
    fn the_window_ends_at_0_and_80_hu() {
        let grid = Grid { shape: [5, 1, 1], affine: Affine::IDENTITY };
        let scan = Volume::new(grid, vec![-1000.0, f32::NAN, 39.6, 80.0, 3000.0]);
        assert_eq!(window(&scan).voxels(), [0, 0, 40, 80, 80]);
    }
}
