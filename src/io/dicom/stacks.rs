//! Which slices of one series belong together. The rules in words: `docs/dicom.md`, "What belongs together".

use super::series::LEAST_SLICES;
use super::slice::{Identity, Slice, dot};
use super::stack;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Slices nearer to each other than this, in mm, lie at the same place.
pub(super) const SAME_MM: f64 = 0.01;
/// Gaps that differ by less than this, in mm, are equal: positions are rounded, and tables are not exact.
const EQUAL_MM: f64 = 0.2;
/// The largest part of a pixel by which a slice may lie beside the line of the others; what is more is another place in the plane.
const BESIDE_PIXELS: f64 = 1.0;
/// Slices that lie farther beside the line than this part of a pixel are told of.
const TOLD_PIXELS: f64 = 0.1;
/// A gap so many times as wide as the one beside it lacks a slice.
const WIDE: f64 = 1.5;

/// A slice, what its file says of itself, and its height: its place along the normal, in mm.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    pub identity: &'a Identity,
    pub slice: &'a Slice,
    pub height: f64,
}

/// Slices that make one volume.
pub(super) struct Part<'a> {
    /// By height, each place once.
    pub slices: Vec<Placed<'a>>,
    /// What is odd about them.
    pub doubts: Vec<String>,
    /// Why they are no volume.
    pub fault: Option<String>,
    /// What parted them from the others.
    pub way: Way,
}

/// What parts slices of one series from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// Matrix, pixel spacing or orientation.
    Grid,
    /// They lie on several lines.
    Line,
    /// An attribute makes whole scans of them, by the name of the standard.
    Label(&'static str),
    /// Frame of reference or kernel changes at a gap that is not that beside it.
    Gap,
}

/// How slices came to their part: at each parting, to which of its groups.
pub(super) type Way = Vec<(Parting, usize)>;

/// An attribute in which scans of one series differ.
struct Label {
    /// As the standard names it.
    keyword: &'static str,
    value: fn(&Placed) -> Value,
    /// Whether a scan goes on with the next value: numbers and times, not names.
    ordered: bool,
}

/// A value of a label: numbers in their order, texts in theirs.
type Value = (Option<i64>, String);

fn number(number: Option<i64>) -> Value {
    (number, String::new())
}

fn text(text: String) -> Value {
    (None, text)
}

/// In the order in which they are asked.
const LABELS: &[Label] = &[
    Label { keyword: "StackID", value: |at| text(at.slice.stack_id.clone()), ordered: false },
    Label { keyword: "TemporalPosition", value: |at| number(at.slice.temporal_position), ordered: true },
    Label { keyword: "AcquisitionNumber", value: |at| number(at.slice.acquisition_number), ordered: true },
    Label { keyword: "ConvolutionKernel", value: |at| text(at.identity.kernel.join(" ")), ordered: false },
    Label { keyword: "ImageType", value: |at| text(at.identity.image_type.join(" ")), ordered: false },
    Label { keyword: "ContrastBolusAgent", value: |at| text(at.identity.contrast_agent.clone()), ordered: false },
    Label { keyword: "FrameOfReferenceUID", value: |at| text(at.identity.frame_of_reference_uid.clone()), ordered: false },
    Label { keyword: "AcquisitionTime", value: |at| text(at.slice.acquisition_time.clone()), ordered: true },
    Label { keyword: "InstanceNumber", value: |at| number(at.slice.instance_number), ordered: true },
    Label { keyword: FOLDER, value: |at| text(folder(at.slice)), ordered: false },
];

/// No attribute: the folder of a slice's file.
const FOLDER: &str = "the folder";

fn folder(slice: &Slice) -> String {
    slice.path.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned()
}

/// The parts of one series.
pub(super) fn parts<'a>(slices: &[(&'a Identity, &'a Slice)]) -> Vec<Part<'a>> {
    let (slices, copies) = without_copies(slices);
    // Before scans are told apart: what is there twice would lie among its own scan.
    let (slices, doubles) = without_equals(slices);
    let mut parts: Vec<Part> = Vec::new();
    for (grid, alike) in by_geometry(&slices).into_iter().enumerate() {
        for (line, in_line) in by_line(alike).into_iter().enumerate() {
            for (scan, labels) in separate(&in_line, LABELS) {
                for (gap, (slices, doubts)) in unfit(scan).into_iter().enumerate() {
                    let mut part = Part::of(slices, &doubles);
                    part.doubts.splice(0..0, doubts);
                    part.way = vec![(Parting::Grid, grid), (Parting::Line, line)];
                    part.way.extend(&labels);
                    part.way.push((Parting::Gap, gap));
                    parts.push(part);
                }
            }
        }
    }
    for part in &mut parts {
        let own = |path: &Path| part.slices.iter().any(|placed| placed.slice.path == path);
        let told: Vec<String> = copies.iter().filter(|(path, _)| own(path)).map(|(_, doubt)| doubt.clone()).collect();
        part.doubts.extend(told);
    }
    parts
}

/// A slice's place along the normal of another one, in mm.
fn height(slice: &Slice, normal: [f64; 3]) -> f64 {
    dot(slice.position, normal)
}

/// Why slices, which came to their part by the way `theirs`, are not of the scan `own` of the same series: "they ...".
pub(super) fn why_apart((own, way): (&[Placed], &Way), (others, theirs): (&[Placed], &Way)) -> String {
    let (Some(a), Some(b)) = (own.first(), others.first()) else { return String::new() };
    let (a, b) = (a.slice, b.slice);
    let one = others.len() == 1;
    let [differ, lie] = if one { ["it differs in", "it lies"] } else { ["they differ in", "they lie"] };
    let parting = way.iter().zip(theirs).find(|(own, other)| own != other).map(|((parting, _), _)| *parting);
    let also = |besides: Option<&str>| {
        let differences: Vec<String> = LABELS
            .iter()
            .filter(|label| Some(label.keyword) != besides && label.keyword != FOLDER)
            .filter_map(|label| difference(label, own, others, false))
            .collect();
        differences.join(", ")
    };
    match parting {
        Some(Parting::Grid) if (a.rows, a.columns) != (b.rows, b.columns) => {
            format!("{differ} Rows and Columns ({} x {} for {} x {})", b.rows, b.columns, a.rows, a.columns)
        }
        Some(Parting::Grid) if !same_spacing(a, b) => {
            let [[r, c], [s, d]] = [b.spacing, a.spacing];
            format!("{differ} PixelSpacing ({r:.3} x {c:.3} for {s:.3} x {d:.3} mm)")
        }
        Some(Parting::Grid) => format!("{differ} ImageOrientationPatient"),
        Some(Parting::Line) => {
            let also = also(None);
            let and = if also.is_empty() { String::new() } else { format!(", and {differ} {also}") };
            format!("{lie} beside the line of the others in their plane (ImagePositionPatient){and}")
        }
        Some(Parting::Label(keyword)) => {
            let first = LABELS.iter().find(|label| label.keyword == keyword);
            let first = first.and_then(|label| difference(label, own, others, true)).unwrap_or_else(|| keyword.into());
            let also = also(Some(keyword));
            let also = if also.is_empty() { also } else { format!(", {also}") };
            format!("{differ} {first}{also}; scans of the series lie among each other (ImagePositionPatient)")
        }
        Some(Parting::Gap) | None => {
            let normal = a.normal();
            let mut pairs = own.iter().flat_map(|own| others.iter().map(move |other| (own, other)));
            let distance = |(own, other): (&Placed, &Placed)| (height(own.slice, normal) - height(other.slice, normal)).abs();
            let first = pairs.next();
            let nearest = first.map(|first| pairs.fold(first, |a, b| if distance(b) < distance(a) { b } else { a }));
            let Some(pair) = nearest else { return String::new() };
            let changes = changes(pair.0.identity, pair.1.identity).join(" and ");
            let place = if changes.is_empty() { String::new() } else { format!(", where {changes} changes") };
            format!("{lie} {:.1} mm away (ImagePositionPatient), beyond a gap that is not that beside it{place}", distance(pair))
        }
    }
}

/// In what slices differ from a scan by a label; `None` where some share a value, or, unless it is `deciding`, where
/// there are many values: numbers and times that go on from slice to slice differ in any case.
fn difference(label: &Label, own: &[Placed], others: &[Placed], deciding: bool) -> Option<String> {
    let values = |slices: &[Placed]| slices.iter().map(label.value).collect::<BTreeSet<Value>>();
    let (mine, theirs) = (values(own), values(others));
    let range = |values: &BTreeSet<Value>| {
        let [first, last] = [values.first()?, values.last()?].map(show);
        Some(if first == last { first } else { format!("{first} to {last}") })
    };
    let keyword = label.keyword;
    let single = mine.len() == 1 && theirs.len() == 1;
    match mine.is_disjoint(&theirs) && (single || deciding) {
        false => None,
        // A path is long, and the names of the files are told.
        true if keyword == FOLDER || !single && !label.ordered => Some(keyword.into()),
        true => Some(format!("{keyword} ({} for {})", range(&theirs)?, range(&mine)?)),
    }
}

/// What changes from one slice to the next by which parts above each other may be two scans.
fn changes(below: &Identity, above: &Identity) -> Vec<&'static str> {
    let frame = (below.frame_of_reference_uid != above.frame_of_reference_uid).then_some("FrameOfReferenceUID");
    frame.into_iter().chain((below.kernel != above.kernel).then_some("ConvolutionKernel")).collect()
}

fn show((number, text): &Value) -> String {
    match number {
        Some(number) => number.to_string(),
        None if text.is_empty() => "none".into(),
        None => text.clone(),
    }
}

/// The slices without those that are in two files: of one SOPInstanceUID, at one place, with the same HU. What is odd about it is told, with the file that stays.
#[allow(clippy::type_complexity)]
fn without_copies<'a>(slices: &[(&'a Identity, &'a Slice)]) -> (Vec<(&'a Identity, &'a Slice)>, Vec<(&'a Path, String)>) {
    let mut by_uid: BTreeMap<(&str, Option<u32>), Vec<(&Identity, &Slice)>> = BTreeMap::new();
    for &(identity, slice) in slices {
        by_uid.entry((&slice.sop_instance_uid, slice.frame)).or_default().push((identity, slice));
    }
    let (mut kept, mut doubts) = (Vec::new(), Vec::new());
    let mut shared = BTreeSet::new();
    for ((uid, _), mut group) in by_uid {
        if uid.is_empty() {
            kept.extend(group);
            continue;
        }
        // The shortest name first: copies are called IM (1).dcm, and lie in folders below.
        group.sort_by_key(|(_, slice)| (slice.path.as_os_str().len(), slice.path.clone()));
        let mut own: Vec<(&Identity, &Slice)> = Vec::new();
        for (identity, slice) in group {
            match own.iter().find(|(_, first)| same_place(first, slice) && stack::same_pixels(first, slice)) {
                None => own.push((identity, slice)),
                Some(&(first_identity, first)) => {
                    let [a, b] = [(first_identity, first), (identity, slice)].map(|(identity, slice)| Placed {
                        identity,
                        slice,
                        height: 0.0,
                    });
                    let other: Vec<&str> = LABELS
                        .iter()
                        .filter(|label| label.keyword != FOLDER && (label.value)(&a) != (label.value)(&b))
                        .map(|label| label.keyword)
                        .collect();
                    if !other.is_empty() {
                        let (first_name, name) = (name(first), name(slice));
                        let text = format!(
                            "{name} is a copy of {first_name} (same SOPInstanceUID and pixels) with other values of {}; {first_name} is used",
                            other.join(", ")
                        );
                        doubts.push((first.path.as_path(), text));
                    }
                }
            }
        }
        if own.len() > 1 {
            shared.insert(uid);
        }
        kept.extend(own);
    }
    if !shared.is_empty() {
        let of: Vec<&(&Identity, &Slice)> =
            kept.iter().filter(|(_, slice)| shared.contains(slice.sop_instance_uid.as_str())).collect();
        let text = format!(
            "{} slices have a SOPInstanceUID that another slice has too, and are no copies of it: references to them are not certain",
            of.len()
        );
        doubts.push((of[0].1.path.as_path(), text));
    }
    // Nothing depends on the order of UIDs.
    kept.sort_by(|(_, a), (_, b)| (&a.path, a.frame).cmp(&(&b.path, b.frame)));
    (kept, doubts)
}

/// The slices without those that say nothing of their own: at the place of another one, with its HU and its value of each label, whatever their SOPInstanceUIDs are. The
/// slices that stay for them come with it, once for each.
#[allow(clippy::type_complexity)]
fn without_equals<'a>(slices: Vec<(&'a Identity, &'a Slice)>) -> (Vec<(&'a Identity, &'a Slice)>, Vec<&'a Slice>) {
    let mut by_place: BTreeMap<[u64; 3], Vec<Placed>> = BTreeMap::new();
    let (mut kept, mut doubles) = (Vec::new(), Vec::new());
    for (identity, slice) in slices {
        let here = by_place.entry(slice.position.map(f64::to_bits)).or_default();
        let placed = Placed { identity, slice, height: 0.0 };
        let alike = |other: &&Placed| {
            let labels = LABELS.iter().filter(|label| label.keyword != FOLDER);
            same_geometry(other.slice, slice)
                && labels.into_iter().all(|label| (label.value)(other) == (label.value)(&placed))
                && stack::same_pixels(other.slice, slice)
        };
        match here.iter().find(alike) {
            Some(first) => doubles.push(first.slice),
            None => {
                kept.push((identity, slice));
                here.push(placed);
            }
        }
    }
    (kept, doubles)
}

/// The name of a slice's file, with the frame.
pub(super) fn name(slice: &Slice) -> String {
    let name = slice.path.file_name().unwrap_or(slice.path.as_os_str()).to_string_lossy().into_owned();
    slice.frame.map_or(name.clone(), |frame| format!("{name}, frame {frame}"))
}

/// Up to three names of files, and how many more there are.
pub(super) fn names(slices: &[&Slice]) -> String {
    let mut text = slices.iter().take(3).map(|slice| name(slice)).collect::<Vec<_>>().join(", ");
    if slices.len() > 3 {
        text += &format!(" and {} more", slices.len() - 3);
    }
    text
}

fn same_spacing(a: &Slice, b: &Slice) -> bool {
    (0..2).all(|n| (a.spacing[n] - b.spacing[n]).abs() < 1e-4)
}

fn same_orientation(a: &Slice, b: &Slice) -> bool {
    dot(a.along_row, b.along_row) > 0.9999 && dot(a.along_column, b.along_column) > 0.9999
}

/// Whether slices lie on a common grid in their plane, wherever their planes are.
pub(super) fn same_geometry(a: &Slice, b: &Slice) -> bool {
    (a.rows, a.columns) == (b.rows, b.columns) && same_spacing(a, b) && same_orientation(a, b)
}

fn same_place(a: &Slice, b: &Slice) -> bool {
    same_geometry(a, b) && (0..3).all(|n| (a.position[n] - b.position[n]).abs() < SAME_MM)
}

/// Whether slices of two series make one scan where neither does: the first `own` of `slices` are those of the one, the rest those of the other.
pub(super) fn go_on(slices: &[(&Identity, &Slice)], own: usize) -> bool {
    let groups = by_geometry(slices).into_iter().flat_map(by_line).collect::<Vec<_>>();
    let [all] = &groups[..] else { return false };
    let (first, rest): (Vec<Placed>, Vec<Placed>) =
        all.iter().partition(|placed| slices[..own].iter().any(|(_, slice)| std::ptr::eq(*slice, placed.slice)));
    if !is_clean(all) || first.is_empty() || rest.is_empty() {
        return false;
    }
    match lie_between(&first, &rest) {
        // Onto an end. In clean slices the gap there is one of those beside it, or lies between them; two slices have none.
        Between::Nothing => all.len() > 2,
        Between::Fills => true,
        Between::Besides | Between::Everywhere => false,
    }
}

/// Slices of one matrix, pixel spacing and orientation each, by height.
fn by_geometry<'a>(slices: &[(&'a Identity, &'a Slice)]) -> Vec<Vec<Placed<'a>>> {
    let mut groups: Vec<Vec<Placed>> = Vec::new();
    for &(identity, slice) in slices {
        match groups.iter_mut().find(|group| same_geometry(group[0].slice, slice)) {
            Some(group) => {
                let height = dot(slice.position, group[0].slice.normal());
                group.push(Placed { identity, slice, height });
            }
            None => groups.push(vec![Placed { identity, slice, height: dot(slice.position, slice.normal()) }]),
        }
    }
    groups.iter_mut().for_each(|group| sort(group));
    groups
}

fn sort(slices: &mut [Placed]) {
    slices.sort_by(|a, b| {
        let rest = |slice: &Slice| (slice.instance_number, slice.path.clone(), slice.frame);
        a.height.total_cmp(&b.height).then_with(|| rest(a.slice).cmp(&rest(b.slice)))
    });
}

/// Where the first pixel lies in the plane, in pixels.
fn in_plane(placed: &Placed, reference: &Slice) -> [f64; 2] {
    let [row, column] = reference.spacing;
    [dot(placed.slice.position, reference.along_row) / column, dot(placed.slice.position, reference.along_column) / row]
}

/// How far each slice lies from the line through the first one that goes this way, in pixels: `way` in pixels along columns and rows for each mm of height.
fn beside(slices: &[Placed], way: [f64; 2]) -> Vec<[f64; 2]> {
    let reference = slices[0].slice;
    let place = |placed: &Placed| {
        let [x, y] = in_plane(placed, reference);
        [x - way[0] * placed.height, y - way[1] * placed.height]
    };
    let [x, y] = place(&slices[0]);
    slices.iter().map(place).map(|[a, b]| [a - x, b - y]).collect()
}

/// The ways from slice to slice that are tried: straight up, along the table (the patient's axis, for a tilted gantry), from the first slice to the last, and the one that is
/// the median of all neighbours.
fn ways(slices: &[Placed]) -> Vec<[f64; 2]> {
    let reference = slices[0].slice;
    let [row, column] = reference.spacing;
    let mut ways = vec![[0.0, 0.0]];
    let normal = reference.normal();
    if normal[2].abs() > 0.1 {
        ways.push([reference.along_row[2] / normal[2] / column, reference.along_column[2] / normal[2] / row]);
    }
    let between = |a: &Placed, b: &Placed| {
        let (from, to) = (in_plane(a, reference), in_plane(b, reference));
        let rise = b.height - a.height;
        (rise > SAME_MM).then(|| [0, 1].map(|n| (to[n] - from[n]) / rise))
    };
    let last = &slices[slices.len() - 1];
    ways.extend(between(&slices[0], last));
    let steps: Vec<[f64; 2]> = slices.windows(2).filter_map(|pair| between(&pair[0], &pair[1])).collect();
    if !steps.is_empty() {
        ways.push([0, 1].map(|n| {
            let mut steps: Vec<f64> = steps.iter().map(|step| step[n]).collect();
            steps.sort_by(f64::total_cmp);
            steps[steps.len() / 2]
        }));
    }
    ways
}

/// Slices that lie on one straight line: a table moves along one. The way along which there are fewest lines is the true one.
fn by_line(slices: Vec<Placed>) -> Vec<Vec<Placed>> {
    let lines = |way: [f64; 2]| {
        let mut lines: Vec<([f64; 2], Vec<Placed>)> = Vec::new();
        for (placed, at) in slices.iter().zip(beside(&slices, way)) {
            let near = |line: &&mut ([f64; 2], Vec<Placed>)| (0..2).all(|n| (line.0[n] - at[n]).abs() <= BESIDE_PIXELS);
            match lines.iter_mut().find(near) {
                Some((_, line)) => line.push(*placed),
                None => lines.push((at, vec![*placed])),
            }
        }
        lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>()
    };
    let tried = ways(&slices).into_iter().map(lines);
    tried.min_by_key(Vec::len).expect("straight up is always tried")
}

/// The gaps between neighbours, in mm.
fn gaps(slices: &[Placed]) -> Vec<f64> {
    slices.windows(2).map(|pair| pair[1].height - pair[0].height).collect()
}

/// Whether two gaps are equal.
fn equal(a: f64, b: f64) -> bool {
    (a - b).abs() <= (0.25 * a.min(b)).clamp(0.02, EQUAL_MM) + 1e-6
}

/// Whether the heights can be those of one scan: gaps are equal to a neighbouring one but for few, and no place is there twice.
fn is_regular(slices: &[Placed]) -> bool {
    let gaps = gaps(slices);
    let usual = |n: usize| n > 0 && equal(gaps[n], gaps[n - 1]) || n + 1 < gaps.len() && equal(gaps[n], gaps[n + 1]);
    let odd = (0..gaps.len()).filter(|&n| !usual(n)).count();
    gaps.iter().all(|&gap| gap >= SAME_MM) && odd <= (gaps.len() / 4).max(2)
}

/// Whether the heights are those of one scan without a doubt.
fn is_clean(slices: &[Placed]) -> bool {
    gaps(slices).iter().all(|&gap| gap >= SAME_MM) && odd_gaps(slices).is_empty()
}

/// Slices that lie among each other, told apart by the first attribute that makes whole scans of them; all together where none does.
fn separate<'a>(slices: &[Placed<'a>], labels: &[Label]) -> Vec<(Vec<Placed<'a>>, Way)> {
    for (n, label) in labels.iter().enumerate() {
        let groups = chains(slices, label);
        // Where a file lies says nothing about slices that lie apart, nor do numbers and times that some slices do not have.
        let each = ["AcquisitionTime", "InstanceNumber"].contains(&label.keyword);
        let lacks = |placed: &Placed| [number(None), text(String::new())].contains(&(label.value)(placed));
        let apart = gaps(slices).iter().all(|&gap| gap >= SAME_MM);
        let idle = label.keyword == FOLDER && apart || each && slices.iter().any(lacks);
        if groups.len() < 2 || idle || !overlap(&groups) {
            continue;
        }
        let further = |(nth, group): (usize, Vec<Placed<'a>>)| {
            let own = (Parting::Label(label.keyword), nth);
            let parts = if is_clean(&group) { vec![(group, Way::new())] } else { separate(&group, &labels[n + 1..]) };
            parts.into_iter().map(move |(part, way)| (part, [own].into_iter().chain(way).collect()))
        };
        let (scans, ways): (Vec<Vec<Placed>>, Vec<Way>) = groups.into_iter().enumerate().flat_map(further).unzip();
        // Each slice has its own number and time: of one or two slices they say nothing.
        if each && scans.iter().any(|scan| scan.len() < LEAST_SLICES) {
            continue;
        }
        if are_scans(&scans) {
            return scans.into_iter().zip(ways).collect();
        }
    }
    vec![(slices.to_vec(), Way::new())]
}

/// The slices of each value of a label; of an ordered one, the values that go on where the one before ended.
fn chains<'a>(slices: &[Placed<'a>], label: &Label) -> Vec<Vec<Placed<'a>>> {
    let mut classes: BTreeMap<Value, Vec<Placed>> = BTreeMap::new();
    for placed in slices {
        classes.entry((label.value)(placed)).or_default().push(*placed);
    }
    if !label.ordered {
        return classes.into_values().collect();
    }
    let mut chains: Vec<Vec<Placed>> = Vec::new();
    // Whether the last chain goes up; not known while it has one value.
    let mut up = None;
    for class in classes.into_values() {
        let Some(chain) = chains.last_mut() else {
            chains.push(class);
            continue;
        };
        let [low, high] = ends(chain);
        let [from, to] = ends(&class);
        let goes = if from > high + SAME_MM {
            Some(true)
        } else if to < low - SAME_MM {
            Some(false)
        } else {
            None
        };
        if goes.is_some() && (up.is_none() || up == goes) {
            up = goes;
            chain.extend(class);
        } else {
            up = None;
            chains.push(class);
        }
    }
    chains.iter_mut().for_each(|chain| sort(chain));
    chains
}

/// The least and the greatest height.
fn ends(slices: &[Placed]) -> [f64; 2] {
    let heights = || slices.iter().map(|placed| placed.height);
    [heights().fold(f64::INFINITY, f64::min), heights().fold(f64::NEG_INFINITY, f64::max)]
}

/// Whether some group begins before another one ends.
fn overlap(groups: &[Vec<Placed>]) -> bool {
    let mut ranges: Vec<[f64; 2]> = groups.iter().map(|group| ends(group)).collect();
    ranges.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let mut end = f64::NEG_INFINITY;
    ranges.iter().any(|&[low, high]| {
        let begins_before = low <= end + SAME_MM;
        end = end.max(high);
        begins_before
    })
}

/// Whether groups are scans of their own: each is regular, and the largest has no gap that slices of another one fill.
fn are_scans(groups: &[Vec<Placed>]) -> bool {
    let Some(largest) = groups.iter().rev().max_by_key(|group| group.len()) else { return false };
    if largest.len() < LEAST_SLICES {
        return false;
    }
    groups.iter().all(|group| {
        if group.len() >= LEAST_SLICES && !is_regular(group) {
            return false;
        }
        std::ptr::eq(group, largest)
            || match lie_between(largest, group) {
                Between::Nothing | Between::Besides => true,
                Between::Fills => false,
                Between::Everywhere => group.len() >= LEAST_SLICES && is_clean(group) && is_clean(largest),
            }
    })
}

/// How slices lie among those of a scan.
enum Between {
    /// Above or below it.
    Nothing,
    /// Where it would be whole without them.
    Besides,
    /// In its gaps.
    Fills,
    /// In each of its gaps, so that there is no telling.
    Everywhere,
}

fn lie_between(scan: &[Placed], others: &[Placed]) -> Between {
    let gaps = gaps(scan);
    let mut taken = vec![false; gaps.len()];
    let mut inside = Vec::new();
    let mut besides = false;
    for other in others {
        let above = scan.partition_point(|placed| placed.height <= other.height + SAME_MM);
        if above > 0 && (other.height - scan[above - 1].height).abs() <= SAME_MM {
            besides = true;
        } else if above > 0 && above < scan.len() {
            taken[above - 1] = true;
            inside.push(above - 1);
        }
    }
    if inside.is_empty() {
        return if besides { Between::Besides } else { Between::Nothing };
    }
    for &gap in &inside {
        // The nearest gap that none of the others lies in tells how wide gaps are.
        let free = (0..gaps.len()).filter(|&n| !taken[n]).min_by_key(|&n| n.abs_diff(gap));
        match free {
            None => return Between::Everywhere,
            Some(free) if gaps[gap] >= WIDE * gaps[free] => return Between::Fills,
            Some(_) => {}
        }
    }
    Between::Besides
}

/// Parts above each other that do not fit: where frame of reference or kernel changes, the gap must be one that there is on either side. With each, why it ends where it does.
fn unfit(slices: Vec<Placed>) -> Vec<(Vec<Placed>, Vec<String>)> {
    let gaps = gaps(&slices);
    let fits = |n: usize| {
        let beside = [n.checked_sub(2), Some(n)].into_iter().flatten().filter_map(|n| gaps.get(n));
        let mut beside = beside.peekable();
        beside.peek().is_none() || gaps[n - 1] < SAME_MM || beside.any(|&gap| equal(gap, gaps[n - 1]))
    };
    let mut parts: Vec<(Vec<Placed>, Vec<String>)> = Vec::new();
    for (n, placed) in slices.iter().enumerate() {
        let Some((part, doubts)) = parts.last_mut() else {
            parts.push((vec![*placed], Vec::new()));
            continue;
        };
        let changes = changes(slices[n - 1].identity, placed.identity);
        if changes.is_empty() || fits(n) {
            part.push(*placed);
            continue;
        }
        let doubt = format!(
            "{} changes between {} and {}, and the gap there, {:.1} mm, is not that beside it: two scans, or slices are missing",
            changes.join(" and "),
            name(slices[n - 1].slice),
            name(placed.slice),
            gaps[n - 1]
        );
        doubts.push(doubt.clone());
        parts.push((vec![*placed], vec![doubt]));
    }
    parts
}

impl<'a> Part<'a> {
    /// Slices as a volume: what lies at one place twice is left out where it is the same; what is odd about the rest is told. `doubles` have been left out already, for
    /// slices of this part or of others.
    fn of(slices: Vec<Placed<'a>>, doubles: &[&Slice]) -> Part<'a> {
        let [low, high] = ends(&slices);
        if slices.len() > 1 && high - low < SAME_MM {
            let fault = format!("all its {} slices lie at one position (ImagePositionPatient)", slices.len());
            return Part { slices, doubts: Vec::new(), fault: Some(fault), way: Way::new() };
        }
        let gone = doubles.iter().filter(|double| slices.iter().any(|placed| std::ptr::eq(placed.slice, **double)));
        let total = slices.len() + gone.count();
        let (slices, fault) = match without_doubles(&slices) {
            Ok(once) => (once, None),
            Err(fault) => (slices, Some(fault)),
        };
        let mut doubts = Vec::new();
        if fault.is_none() && slices.len() < total {
            let twice = total - slices.len();
            doubts.push(format!(
                "{twice} of {total} slices lie where another one is (ImagePositionPatient), with the same pixels, and are left out"
            ));
        }
        let fault = fault.or_else(|| mixed(&slices));
        if fault.is_none() {
            doubts.extend(odd_gaps(&slices));
            doubts.extend(every_second(&slices));
            doubts.extend(varied(&slices));
        }
        Part { slices, doubts, fault, way: Way::new() }
    }
}

/// A sentence where slices seem to be missing everywhere alike: all numbers are two or more apart, and so are the slices, by their thickness.
fn every_second(slices: &[Placed]) -> Option<String> {
    let numbers = slices.iter().map(|placed| placed.slice.instance_number).collect::<Option<Vec<i64>>>()?;
    let mut steps: Vec<u64> = numbers.windows(2).map(|pair| pair[0].abs_diff(pair[1])).collect();
    steps.dedup();
    let &[step] = &steps[..] else { return None };
    let thickness = slices[0].slice.thickness?;
    let mut gaps = gaps(slices);
    gaps.sort_by(f64::total_cmp);
    let gap = gaps[gaps.len() / 2];
    (step > 1 && slices.len() >= LEAST_SLICES && gap >= WIDE * thickness).then(|| {
        format!(
            "slices seem to be missing all along: slices of {thickness:.1} mm lie {gap:.1} mm apart, and their numbers (InstanceNumber) are {step} apart"
        )
    })
}

/// Each place once.
///
/// # Errors
/// What is wrong where slices at one place differ.
fn without_doubles<'a>(slices: &[Placed<'a>]) -> Result<Vec<Placed<'a>>, String> {
    let mut once: Vec<Placed> = Vec::new();
    let mut doubles = Vec::new();
    for placed in slices {
        match once.last() {
            Some(last) if placed.height - last.height < SAME_MM => doubles.push((*last, *placed)),
            _ => once.push(*placed),
        }
    }
    match doubles.iter().find(|(a, b)| !stack::same_pixels(a.slice, b.slice)) {
        None => Ok(once),
        Some((a, b)) => Err(format!(
            "{} of its {} slices lie where another one is (ImagePositionPatient) and have other pixels, such as {} and {}: \
             they are of two scans, and no attribute tells certainly of which; put each scan into a folder of its own",
            doubles.len(),
            slices.len(),
            name(a.slice),
            name(b.slice)
        )),
    }
}

/// Why slices at different heights are those of two scans that cannot be told apart.
fn mixed(slices: &[Placed]) -> Option<String> {
    let advice = "put each scan into a folder of its own";
    if slices.len() >= LEAST_SLICES && !is_regular(slices) {
        let gaps = gaps(slices);
        let [least, most] = [f64::min, f64::max].map(|choose| gaps.iter().copied().reduce(choose).unwrap_or(0.0));
        return Some(format!(
            "the positions of its {} slices (ImagePositionPatient) are not those of one scan, gaps of {least:.1} to {most:.1} mm \
             alternate: slices of two scans, and no attribute tells certainly of which; {advice}",
            slices.len()
        ));
    }
    let twice = numbered_alike(slices).len();
    (twice >= LEAST_SLICES).then(|| {
        format!(
            "{twice} instance numbers (InstanceNumber) are those of two neighbours: slices of two scans, and no attribute tells certainly of which; {advice}"
        )
    })
}

/// Neighbours with one instance number that no third slice has: two scans half a gap apart, each with its own numbers, have these. The places of the first of each two.
fn numbered_alike(slices: &[Placed]) -> Vec<usize> {
    let mut places: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (n, placed) in slices.iter().enumerate() {
        if let Some(number) = placed.slice.instance_number {
            places.entry(number).or_default().push(n);
        }
    }
    places.values().filter(|at| at.len() == 2 && at[1] - at[0] == 1).map(|at| at[0]).collect()
}

/// Sentences about gaps that are not like those beside them: slices are missing, or a position is wrong. Thin slices below and thick ones above are usual, and the gap
/// between these may be any.
fn odd_gaps(slices: &[Placed]) -> Vec<String> {
    let gaps = gaps(slices);
    let mut sentences = Vec::new();
    let mut told = vec![false; gaps.len()];
    let behind = |n: usize| format!("behind slice {} of {} ({})", n + 1, slices.len(), name(slices[n].slice));
    let places = "a position (ImagePositionPatient) is wrong";
    for (n, &gap) in gaps.iter().enumerate() {
        let [before, after] = [n.checked_sub(1), Some(n + 1)].map(|n| n.and_then(|n| gaps.get(n)).copied());
        let numbers = [slices[n].slice.instance_number, slices[n + 1].slice.instance_number];
        let skipped = matches!(numbers, [Some(a), Some(b)] if a.abs_diff(b) >= 2);
        let usual = match (before, after) {
            (Some(before), Some(after)) if gap >= WIDE * before.max(after) => before.max(after),
            // Where numbers are missing too, it is no change to thicker slices.
            (Some(beside), None) | (None, Some(beside)) if gap >= WIDE * beside && skipped => beside,
            (Some(before), Some(after)) if skipped && gap >= WIDE * before.min(after) => before.min(after),
            _ => continue,
        };
        told[n] = true;
        let count = (gap / usual).round() as usize - 1;
        let plural = if count == 1 { " is" } else { "s are" };
        let whole = ((gap / usual) - (gap / usual).round()).abs() < 0.1;
        let or = if whole { String::new() } else { format!(", or {places}, or these are two scans") };
        sentences.push(format!(
            "about {count} slice{plural} missing in a gap of {gap:.1} mm (others there: {usual:.1} mm) {}{or}; the gap is filled by interpolation",
            behind(n)
        ));
    }
    // Runs of equal gaps; a gap that is told of already is none.
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for n in 0..gaps.len() {
        match runs.last_mut() {
            Some((from, to)) if !told[n] && *to == n && !told[n - 1] && equal(gaps[*from], gaps[n]) => *to = n + 1,
            _ => runs.push((n, n + 1)),
        }
    }
    for (at, &(from, to)) in runs.iter().enumerate() {
        if told[from] || to - from > 2 || runs.len() == 1 {
            continue;
        }
        let beside = [at.checked_sub(1), Some(at + 1)].map(|n| n.and_then(|n| runs.get(n)).copied());
        let odd = match beside {
            // Between thin and thick slices.
            [Some(a), Some(b)] => {
                let different = !equal(gaps[a.0], gaps[b.0]);
                let runs = a.1 - a.0 > 1 && b.1 - b.0 > 1;
                // Thicker where the gaps are wider, and as thick as these can be.
                let [below, above] = [gaps[a.0], gaps[b.0]];
                let thickness = [from, from + 1].map(|n| slices[n].slice.thickness);
                let thicker = matches!(thickness, [Some(a), Some(b)]
                    if a != b && (a < b) == (below < above) && a <= 2.0 * below && b <= 2.0 * above);
                let between = gaps[from] < below.max(above) && thicker;
                let usual = to - from == 1 && different && runs && between;
                !(usual || told[a.0] || told[b.0])
            }
            [Some(a), None] | [None, Some(a)] => to - from == 1 && !told[a.0],
            [None, None] => false,
        };
        if odd {
            let usual = beside.into_iter().flatten().max_by_key(|run| run.1 - run.0).map_or(0.0, |run| gaps[run.0]);
            let what = if to - from == 1 { "a gap" } else { "two gaps" };
            sentences.push(format!(
                "{what} of {:.1} mm beside others of {usual:.1} mm {}: slices are missing, or {places}, or these are two scans",
                gaps[from],
                behind(from)
            ));
        }
    }
    sentences
}

/// Sentences about attributes that slices of one volume should share and do not.
fn varied(slices: &[Placed]) -> Vec<String> {
    type Show = fn(&Placed) -> String;
    let attributes: [(&str, &str, Show); 11] = [
        ("kernels", "ConvolutionKernel", |at| at.identity.kernel.join(" ")),
        ("kinds of image", "ImageType", |at| at.identity.image_type.iter().take(2).cloned().collect::<Vec<_>>().join("\\")),
        ("contrast agents", "ContrastBolusAgent", |at| at.identity.contrast_agent.clone()),
        ("frames of reference", "FrameOfReferenceUID", |at| at.identity.frame_of_reference_uid.clone()),
        ("slopes", "RescaleSlope", |at| at.slice.rescale[0].to_string()),
        ("intercepts", "RescaleIntercept", |at| at.slice.rescale[1].to_string()),
        ("ranges of padding", "PixelPaddingValue", |at| at.slice.padding.map_or(String::new(), |[a, b]| format!("{a} to {b}"))),
        ("numbers of bits", "BitsStored", |at| at.slice.bits.to_string()),
        ("signs", "PixelRepresentation", |at| if at.slice.signed { "signed" } else { "unsigned" }.into()),
        ("parts of the body", "BodyPartExamined", |at| at.identity.body_part.clone()),
        ("descriptions", "SeriesDescription", |at| at.identity.description.clone()),
    ];
    let mut sentences = Vec::new();
    for (what, keyword, show) in attributes {
        let mut values: BTreeMap<String, Vec<&Slice>> = BTreeMap::new();
        for placed in slices {
            values.entry(show(placed)).or_default().push(placed.slice);
        }
        if values.len() > 1 {
            let mut values: Vec<(String, Vec<&Slice>)> = values.into_iter().collect();
            values.sort_by_key(|(_, slices)| std::cmp::Reverse(slices.len()));
            let more = if values.len() > 4 { format!(" and {} more", values.len() - 4) } else { String::new() };
            let list = values.iter().take(4).map(|(value, slices)| {
                let value = if value.is_empty() { "none" } else { value };
                let which = if slices.len() == 1 { name(slices[0]) } else { format!("{} slices", slices.len()) };
                format!("{value} ({which})")
            });
            let list = list.collect::<Vec<_>>().join(", ");
            sentences.push(format!("slices of different {what} ({keyword}), perhaps of two scans: {list}{more}"));
        }
    }
    for n in numbered_alike(slices) {
        let [one, other] = [n, n + 1].map(|n| name(slices[n].slice));
        sentences.push(format!("neighbours have one number (InstanceNumber), perhaps slices of two scans: {one} and {other}"));
    }
    let first = slices[0].slice;
    let turned =
        |slice: &Slice| dot(first.along_row, slice.along_row).min(dot(first.along_column, slice.along_column)) < 1.0 - 1e-6;
    let odd: Vec<&Slice> = slices.iter().map(|placed| placed.slice).filter(|slice| turned(slice)).collect();
    if !odd.is_empty() {
        let text = "slices are turned against the first by a fraction of a degree (ImageOrientationPatient)";
        sentences.push(format!("{text}: {}", names(&odd)));
    }
    let line = |way| {
        let at = beside(slices, way);
        let middle = [0, 1].map(|n| {
            let mut at: Vec<f64> = at.iter().map(|at| at[n]).collect();
            at.sort_by(f64::total_cmp);
            at[at.len() / 2]
        });
        let far = |at: &[f64; 2]| (0..2).map(|n| (at[n] - middle[n]).abs()).fold(0.0, f64::max);
        let odd: Vec<&Slice> =
            slices.iter().zip(&at).filter(|(_, at)| far(at) > TOLD_PIXELS).map(|(placed, _)| placed.slice).collect();
        odd
    };
    let odd = ways(slices).into_iter().map(line).min_by_key(Vec::len).unwrap_or_default();
    if !odd.is_empty() {
        let text = "slices lie beside the line of the others in their plane, by up to a pixel (ImagePositionPatient)";
        sentences.push(format!("{text}: {}", names(&odd)));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::super::slice::testing::slice;
    use super::*;

    /// Slices at these heights, numbered from 1.
    fn slices(heights: &[f64]) -> Vec<Slice> {
        let made = heights
            .iter()
            .enumerate()
            .map(|(n, &height)| Slice { instance_number: Some(n as i64 + 1), ..slice(&format!("{}.dcm", n + 1), height) });
        made.collect()
    }

    fn placed<'a>(identity: &'a Identity, slices: &'a [Slice]) -> Vec<Placed<'a>> {
        slices.iter().map(|slice| Placed { identity, slice, height: slice.position[2] }).collect()
    }

    #[test]
    fn three_names_are_told_and_how_many_more_there_are() {
        let all = slices(&[0.0, 1.0, 2.0, 3.0, 4.0]);
        let of = |count: usize| names(&all[..count].iter().collect::<Vec<_>>());
        assert_eq!(of(3), "1.dcm, 2.dcm, 3.dcm");
        assert_eq!(of(5), "1.dcm, 2.dcm, 3.dcm and 2 more");
        assert_eq!(name(&Slice { frame: Some(7), ..slice("x", 0.0) }), "x, frame 7");
    }

    #[test]
    fn two_series_go_on_where_the_gap_between_is_like_those_beside_it() {
        let identity = Identity::default();
        let go = |first: &[f64], rest: &[f64]| {
            let all = slices(&[first, rest].concat());
            go_on(&all.iter().map(|slice| (&identity, slice)).collect::<Vec<_>>(), first.len())
        };
        let own = [10.0, 15.0, 20.0];
        for (rest, expected) in [
            (&[25.0, 30.0][..], true),
            (&[25.0], true),
            (&[5.0, 0.0], true),
            (&[5.0], true),
            // Beyond a gap that is not that beside it.
            (&[27.0, 32.0], false),
            (&[27.0], false),
            (&[-2.0, 3.0], false),
            (&[127.0, 132.0], false),
            (&[12.0, 17.0], false),
        ] {
            assert_eq!(go(&own, rest), expected, "{rest:?}");
        }
        assert!(go(&[0.0, 5.0, 15.0, 20.0], &[10.0]), "into a gap");
        assert!(!go(&[], &own) && !go(&own, &[]));
        assert!(!go(&[0.0], &[5.0]) && go(&[0.0], &[5.0, 10.0]));
    }

    #[test]
    fn what_parts_slices_is_told() {
        let identity = Identity { kernel: vec!["A".into()], ..Identity::default() };
        let other = Identity { kernel: vec!["B".into()], ..Identity::default() };
        let own = slices(&[0.0, 5.0]);
        let said = |parting: Parting, identity2: &Identity, theirs: &[Slice]| {
            let (way, their_way) = (vec![(parting, 0)], vec![(parting, 1)]);
            why_apart((&placed(&identity, &own), &way), (&placed(identity2, theirs), &their_way))
        };
        let with = |change: fn(&mut Slice)| {
            let mut all = slices(&[10.0, 17.0]);
            all.iter_mut().for_each(change);
            all
        };
        let grid = |change| said(Parting::Grid, &identity, &with(change));
        assert_eq!(grid(|slice| slice.rows = 4), "they differ in Rows and Columns (4 x 3 for 2 x 3)");
        assert_eq!(grid(|slice| slice.spacing = [0.5, 0.6]), "they differ in PixelSpacing (0.500 x 0.600 for 0.500 x 0.500 mm)");
        assert_eq!(grid(|_| {}), "they differ in ImageOrientationPatient");
        assert_eq!(
            said(Parting::Grid, &identity, &with(|slice| slice.rows = 4)[..1]),
            "it differs in Rows and Columns (4 x 3 for 2 x 3)"
        );
        // Names and numbers that go on from slice to slice differ in any case, and so may the folder.
        let elsewhere = |slice: &mut Slice| slice.path = Path::new("b").join(slice.path.file_name().unwrap());
        assert_eq!(
            said(Parting::Line, &other, &with(elsewhere)),
            "they lie beside the line of the others in their plane (ImagePositionPatient), and they differ in \
             ConvolutionKernel (B for A)"
        );
        let numbered: fn(&mut Slice) = |slice| {
            slice.path = Path::new("b").join("x");
            slice.instance_number = slice.instance_number.map(|number| number + 10);
        };
        assert_eq!(
            said(Parting::Label("InstanceNumber"), &other, &with(numbered)),
            "they differ in InstanceNumber (11 to 12 for 1 to 2), ConvolutionKernel (B for A); scans of the series lie \
             among each other (ImagePositionPatient)"
        );
        assert_eq!(
            said(Parting::Label(FOLDER), &identity, &with(elsewhere)),
            "they differ in the folder; scans of the series lie among each other (ImagePositionPatient)"
        );
        assert_eq!(
            said(Parting::Gap, &other, &slices(&[17.0, 12.0])),
            "they lie 7.0 mm away (ImagePositionPatient), beyond a gap that is not that beside it, where \
             ConvolutionKernel changes"
        );
    }

    #[test]
    fn copies_have_one_uid_and_one_place() {
        let identity = Identity::default();
        let other = Identity { kernel: vec!["B".into()], ..Identity::default() };
        let kept = |slices: &[(&Identity, &Slice)]| {
            let (kept, doubts) = without_copies(slices);
            (kept.len(), doubts.into_iter().map(|(_, doubt)| doubt).collect::<Vec<_>>())
        };
        let of = |uid: &str, height| Slice { sop_instance_uid: uid.into(), ..slice("x", height) };
        let (a, b) = (of("1.2", 0.0), of("1.2", 5.0));
        assert_eq!(kept(&[(&identity, &a), (&identity, &a)]), (1, vec![]));
        assert_eq!(kept(&[(&identity, &of("", 0.0)), (&identity, &of("", 0.0))]), (2, vec![]));
        let (count, doubts) = kept(&[(&identity, &a), (&other, &a)]);
        assert!(count == 1 && doubts[0].ends_with("with other values of ConvolutionKernel; x is used"), "{doubts:?}");
        let (count, doubts) = kept(&[(&identity, &a), (&identity, &b)]);
        assert!(count == 2 && doubts[0].starts_with("2 slices have a SOPInstanceUID that another slice has"), "{doubts:?}");
    }

    #[test]
    fn slices_are_missing_all_along_where_numbers_and_places_skip() {
        let identity = Identity::default();
        let said = |gap: f64, thickness: f64, step: i64| {
            let mut all = slices(&[0.0, gap, 2.0 * gap]);
            for (n, slice) in all.iter_mut().enumerate() {
                (slice.thickness, slice.instance_number) = (Some(thickness), Some(step * n as i64));
            }
            every_second(&placed(&identity, &all)).is_some()
        };
        assert!(said(5.0, 2.5, 2) && said(5.0, 2.5, -2) && said(3.76, 2.5, 2) && said(7.6, 5.0, 3));
        assert!(!said(5.0, 2.5, 1) && !said(3.74, 2.5, 2) && !said(7.4, 5.0, 2));
    }

    #[test]
    fn gaps_unlike_those_beside_them_are_told() {
        let identity = Identity::default();
        let said = |heights: &[f64], thick_from: usize, [thin, thick]: [Option<f64>; 2]| {
            let mut all = slices(heights);
            for (n, slice) in all.iter_mut().enumerate() {
                slice.thickness = if n < thick_from { thin } else { thick };
            }
            odd_gaps(&placed(&identity, &all))
        };
        let none = [None; 2];
        assert_eq!(said(&[0.0, 5.0, 10.0, 15.0], 0, none), [""; 0]);
        let missing = "a gap of 10.0 mm (others there: 5.0 mm) behind slice 3 of 6 (3.dcm); the gap is filled by interpolation";
        assert_eq!(said(&[0.0, 5.0, 10.0, 20.0, 25.0, 30.0], 0, none), [format!("about 1 slice is missing in {missing}")]);
        let two = &said(&[0.0, 5.0, 10.0, 25.0, 30.0, 35.0], 0, none)[0];
        assert!(two.starts_with("about 2 slices are missing in a gap of 15.0 mm") && !two.contains(", or"), "{two}");
        let uneven = &said(&[0.0, 5.0, 10.0, 22.0, 27.0, 32.0], 0, none)[0];
        assert!(uneven.contains(", or a position (ImagePositionPatient) is wrong, or these are two scans"), "{uneven}");
        // Thin slices below, thick ones above: the gap between them may be any that is between theirs.
        let change = [0.0, 2.0, 4.0, 6.0, 9.5, 14.5, 19.5];
        let turned = change.map(|height| 19.5 - height);
        let turned: Vec<f64> = turned.into_iter().rev().collect();
        for (heights, from, thickness, count) in [
            (&change[..], 4, [Some(2.0), Some(5.0)], 0),
            (&turned, 3, [Some(5.0), Some(2.0)], 0),
            (&change, 4, none, 1),
            (&change, 4, [Some(5.0), Some(2.0)], 1),
            (&change, 4, [Some(2.0), Some(2.0)], 1),
            // No slice is more than twice as thick as the gaps are wide.
            (&change, 4, [Some(4.0), Some(10.0)], 0),
            (&change, 4, [Some(4.1), Some(10.0)], 1),
            (&change, 4, [Some(4.0), Some(10.1)], 1),
            // Wider than both.
            (&[0.0, 3.0, 6.0, 9.0, 15.0, 20.0, 25.0], 4, [Some(3.0), Some(5.0)], 1),
            // One gap alone is no run.
            (&[0.0, 2.0, 5.5, 10.5, 15.5], 2, [Some(2.0), Some(5.0)], 2),
            (&[0.0, 2.0, 4.0, 7.5, 12.5], 3, [Some(2.0), Some(5.0)], 2),
        ] {
            let sentences = said(heights, from, thickness);
            assert_eq!(sentences.len(), count, "{heights:?}, {thickness:?}: {sentences:?}");
        }
    }

    #[test]
    fn four_values_are_told_and_how_many_more_there_are() {
        let identity = Identity::default();
        let said = |count: usize| {
            let mut all = slices(&[0.0, 5.0, 10.0, 15.0, 20.0, 25.0][..count]);
            all.iter_mut().enumerate().for_each(|(n, slice)| slice.rescale[1] = n as f64);
            varied(&placed(&identity, &all)).concat()
        };
        assert!(said(2).ends_with("(RescaleIntercept), perhaps of two scans: 0 (1.dcm), 1 (2.dcm)"), "{}", said(2));
        assert!(said(4).ends_with(", 3 (4.dcm)"), "{}", said(4));
        assert!(said(6).ends_with(", 3 (4.dcm) and 2 more"), "{}", said(6));
        let mut all = slices(&[0.0, 5.0, 10.0, 15.0]);
        all[2].instance_number = Some(2);
        let sentences = varied(&placed(&identity, &all));
        assert!(sentences.len() == 1 && sentences[0].ends_with("perhaps slices of two scans: 2.dcm and 3.dcm"), "{sentences:?}");
    }

    #[test]
    fn ways_are_in_pixels_for_each_mm_of_height() {
        let identity = Identity::default();
        let mut all = slices(&[0.0, 5.0, 10.0, 20.0]);
        for (slice, x) in all.iter_mut().zip([0.0, 4.0, 8.0, 40.0]) {
            (slice.spacing, slice.position[0]) = ([2.0, 4.0], x);
        }
        // Up, along the table, from the first to the last, and the median of the neighbours.
        assert_eq!(ways(&placed(&identity, &all)), [[0.0; 2], [0.0; 2], [0.5, 0.0], [0.2, 0.0]]);
        all.iter_mut().for_each(|slice| slice.along_column = [0.0, 0.8, 0.6]);
        let [along, across] = ways(&placed(&identity, &all))[1];
        assert!(along == 0.0 && (across - 0.375).abs() < 1e-9, "{across}");
        all.iter_mut().for_each(|slice| (slice.along_row, slice.along_column) = ([0.8, 0.0, 0.6], [0.0, 1.0, 0.0]));
        let [along, across] = ways(&placed(&identity, &all))[1];
        assert!(across == 0.0 && (along - 0.1875).abs() < 1e-9, "{along}");
    }

    #[test]
    fn places_in_a_plane_are_in_pixels() {
        let identity = Identity::default();
        let mut one = slices(&[5.0]);
        (one[0].spacing, one[0].position) = ([0.5, 0.25], [3.0, 7.0, 5.0]);
        assert_eq!(in_plane(&placed(&identity, &one)[0], &one[0]), [12.0, 14.0]);
    }

    #[test]
    fn gaps_are_equal_within_a_quarter_and_within_two_tenths_of_a_millimetre() {
        for (a, b, expected) in [
            (0.4, 0.49, true),
            (0.4, 0.55, false),
            (0.04, 0.055, true),
            (0.04, 0.065, false),
            (5.0, 5.2, true),
            (5.2, 5.0, true),
            (5.0, 5.21, false),
        ] {
            assert_eq!(equal(a, b), expected, "{a} and {b}");
        }
    }

    #[test]
    fn few_gaps_of_a_scan_are_unlike_both_beside_them() {
        let identity = Identity::default();
        // Behind each of the odd ones a gap of its own, the rest of 5 mm.
        let regular = |gaps: usize, odd: usize| {
            let mut heights = vec![0.0];
            for n in 0..gaps {
                let wide = n % 2 == 1 && n / 2 < odd;
                let last = heights[n];
                heights.push(last + if wide { 7.0 + n as f64 } else { 5.0 });
            }
            let all = slices(&heights);
            is_regular(&placed(&identity, &all))
        };
        // An odd gap leaves the one before it without an equal neighbour too, but for the first one's.
        assert!(regular(12, 0) && regular(12, 1) && !regular(12, 2));
        assert!(regular(16, 2) && !regular(16, 3) && !regular(8, 2));
    }

    #[test]
    fn slices_lie_at_places_of_a_scan_or_in_its_gaps() {
        let identity = Identity::default();
        let of = |scan: &[f64], others: &[f64]| {
            let (scan, others) = (slices(scan), slices(others));
            match lie_between(&placed(&identity, &scan), &placed(&identity, &others)) {
                Between::Nothing => "nothing",
                Between::Besides => "besides",
                Between::Fills => "fills",
                Between::Everywhere => "everywhere",
            }
        };
        for (scan, others, expected) in [
            (&[5.0, 10.0][..], &[15.0, 0.0][..], "nothing"),
            (&[5.0, 10.0], &[5.0], "besides"),
            (&[5.0, 10.0], &[10.0], "besides"),
            (&[5.0, 10.0], &[7.5], "everywhere"),
            (&[0.0, 5.0, 10.0, 15.0], &[7.5], "besides"),
            (&[0.0, 5.0, 10.0, 20.0], &[15.0], "fills"),
            (&[0.0, 5.0, 10.0, 17.4], &[12.0], "besides"),
        ] {
            assert_eq!(of(scan, others), expected, "{scan:?}, {others:?}");
        }
    }

    #[test]
    fn slices_that_are_turned_or_lie_beside_the_line_are_told() {
        let identity = Identity::default();
        let said = |change: &dyn Fn(usize, &mut Slice)| {
            let mut all = slices(&[0.0, 5.0, 10.0, 15.0, 20.0]);
            all.iter_mut().enumerate().for_each(|(n, slice)| change(n, slice));
            varied(&placed(&identity, &all))
        };
        assert!(said(&|_, _| ()).is_empty());
        let turn = |n: usize, slice: &mut Slice| {
            if n == 3 {
                (slice.along_row, slice.along_column) = ([0.99999, 0.00447, 0.0], [-0.00447, 0.99999, 0.0]);
            }
        };
        assert!(said(&turn).concat().ends_with("(ImageOrientationPatient): 4.dcm"), "{:?}", said(&turn));
        // A pixel is half a mm wide; the whole scan lies far from the middle.
        let shift = |mm: f64| move |n: usize, slice: &mut Slice| slice.position[0] = -100.0 + if n == 2 { mm } else { 0.0 };
        assert!(said(&shift(0.04)).is_empty(), "{:?}", said(&shift(0.04)));
        let first = said(&|n, slice| slice.position[0] = if n == 0 { 0.3 } else { 0.0 }).concat();
        assert!(first.ends_with(": 1.dcm"), "{first}");
        let told = said(&shift(0.06)).concat();
        assert!(told.starts_with("slices lie beside the line of the others") && told.ends_with(": 3.dcm"), "{told}");
    }

    #[test]
    fn doubts_about_copies_are_told_of_the_part_that_has_them() {
        let (identity, other) = (Identity::default(), Identity { kernel: vec!["B".into()], ..Identity::default() });
        let all: Vec<Slice> = slices(&[0.0, 5.0, 10.0, 0.0, 5.0, 10.0])
            .into_iter()
            .enumerate()
            .map(|(n, slice)| Slice { sop_instance_uid: format!("1.{n}"), rows: if n < 3 { 2 } else { 4 }, ..slice })
            .collect();
        let mut series: Vec<(&Identity, &Slice)> = all.iter().map(|slice| (&identity, slice)).collect();
        series.push((&other, &all[0]));
        let told: Vec<bool> =
            parts(&series).iter().map(|part| part.doubts.iter().any(|doubt| doubt.contains("ConvolutionKernel"))).collect();
        assert_eq!(told, [true, false]);
    }
}
