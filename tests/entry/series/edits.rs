//! What happens to a series on its way: attributes, files, stacks.

use super::choices::Choices;
use super::files::{Element, File, Syntax, Value};
use super::scan::Scan;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use std::path::PathBuf;

/// An edit that was made.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What was done, for the message of a failure.
    pub what: String,
    /// A warning that has one of these words names the edit.
    pub words: &'static [&'static str],
    /// What must come of it.
    pub outcome: Outcome,
    /// Slices whose files name another series or study.
    pub moved: Vec<usize>,
}

/// What must come of an edit that is the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sound scan.
    Read,
    /// The sound scan, or an error, or a warning that names the edit.
    Any,
    /// An error, or a warning that names the edit.
    Told,
}

/// An attribute that is edited.
struct Attribute {
    tag: Tag,
    vr: VR,
    /// Values that it has elsewhere.
    others: &'static [&'static str],
    words: &'static [&'static str],
    /// What other values mean.
    sense: Sense,
}

/// What another value of an attribute means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    /// In one file it cannot be right; in all of them it is another sound scan, or cannot be right.
    Whole,
    /// It cannot be right.
    Each,
    /// No volume depends on it.
    Idle,
}

const ATTRIBUTES: &[Attribute] = &[
    Attribute {
        tag: tags::IMAGE_POSITION_PATIENT,
        vr: VR::DS,
        others: &["0\\0\\0", "-9\\-7\\400", "1\\2", "-9\\-7\\-4.5"],
        words: &["position", "place", "missing"],
        sense: Sense::Each,
    },
    Attribute {
        tag: tags::IMAGE_ORIENTATION_PATIENT,
        vr: VR::DS,
        others: &["1\\0\\0\\0\\1\\0", "1\\0\\0\\0\\0\\-1", "-1\\0\\0\\0\\1\\0", "1\\0\\0\\0\\0.94\\0.34", "0\\0\\0\\0\\0\\0"],
        words: &["orientation", "axial"],
        sense: Sense::Whole,
    },
    Attribute {
        tag: tags::PIXEL_SPACING,
        vr: VR::DS,
        others: &["1\\1", "0.5", "2.5\\0.7", "0\\0", "1.00\\1.50"],
        words: &["spacing"],
        sense: Sense::Whole,
    },
    Attribute {
        tag: tags::RESCALE_INTERCEPT,
        vr: VR::DS,
        others: &["0", "-1024", "-24", "100"],
        words: &["rescale", "intercept"],
        sense: Sense::Whole,
    },
    Attribute {
        tag: tags::RESCALE_SLOPE,
        vr: VR::DS,
        others: &["2", "0", "0.5"],
        words: &["rescale", "slope"],
        sense: Sense::Whole,
    },
    Attribute {
        tag: tags::ROWS,
        vr: VR::US,
        others: &["0", "1", "5", "6", "8", "64", "65535"],
        words: &["rows", "matrix", "bytes of pixels", "pixels"],
        sense: Sense::Whole,
    },
    Attribute {
        tag: tags::COLUMNS,
        vr: VR::US,
        others: &["0", "1", "5", "8", "9", "64", "65535"],
        words: &["columns", "matrix", "bytes of pixels", "pixels"],
        sense: Sense::Whole,
    },
    Attribute { tag: tags::BITS_ALLOCATED, vr: VR::US, others: &["8", "12", "32"], words: &["bits"], sense: Sense::Each },
    Attribute { tag: tags::BITS_STORED, vr: VR::US, others: &["8", "12", "16", "0"], words: &["bits"], sense: Sense::Whole },
    Attribute { tag: tags::HIGH_BIT, vr: VR::US, others: &["7", "11", "15", "3"], words: &["bit"], sense: Sense::Whole },
    Attribute {
        tag: tags::PIXEL_REPRESENTATION,
        vr: VR::US,
        others: &["0", "1", "2"],
        words: &["representation", "signed"],
        sense: Sense::Whole,
    },
    Attribute {
        tag: tags::SAMPLES_PER_PIXEL,
        vr: VR::US,
        others: &["3", "0"],
        words: &["samples", "colour"],
        sense: Sense::Each,
    },
    Attribute {
        tag: tags::PHOTOMETRIC_INTERPRETATION,
        vr: VR::CS,
        others: &["RGB", "PALETTE COLOR"],
        words: &["photometric", "colour"],
        sense: Sense::Each,
    },
    Attribute {
        tag: tags::SOP_CLASS_UID,
        vr: VR::UI,
        others: &["1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7", "junk"],
        words: &["class", "no CT image"],
        sense: Sense::Each,
    },
    Attribute {
        tag: tags::SOP_INSTANCE_UID,
        vr: VR::UI,
        others: &["2.25.5", "2.25.30.1"],
        words: &["SOPInstanceUID", "cop"],
        sense: Sense::Each,
    },
    Attribute { tag: tags::STUDY_INSTANCE_UID, vr: VR::UI, others: &["2.25.21"], words: &["stud"], sense: Sense::Whole },
    Attribute { tag: tags::SERIES_INSTANCE_UID, vr: VR::UI, others: &["2.25.31"], words: &["series"], sense: Sense::Whole },
    Attribute {
        tag: tags::FRAME_OF_REFERENCE_UID,
        vr: VR::UI,
        others: &["2.25.41"],
        words: &["frame of reference", "FrameOfReference"],
        sense: Sense::Whole,
    },
    Attribute {
        tag: tags::IMAGE_TYPE,
        vr: VR::CS,
        others: &["DERIVED\\SECONDARY\\MPR", "ORIGINAL\\PRIMARY\\LOCALIZER", "ORIGINAL\\PRIMARY"],
        words: &["image type", "ImageType", "localizer", "derived"],
        sense: Sense::Each,
    },
    Attribute {
        tag: tags::CONVOLUTION_KERNEL,
        vr: VR::SH,
        others: &["BONE", "H31s\\3"],
        words: &["kernel"],
        sense: Sense::Whole,
    },
    Attribute { tag: tags::PATIENT_ID, vr: VR::LO, others: &["p2"], words: &["patient"], sense: Sense::Whole },
    Attribute { tag: tags::MODALITY, vr: VR::CS, others: &["MR", "OT"], words: &["modality"], sense: Sense::Each },
    Attribute { tag: tags::NUMBER_OF_FRAMES, vr: VR::IS, others: &["3", "0", "1"], words: &["frame"], sense: Sense::Each },
    Attribute { tag: tags::ACQUISITION_NUMBER, vr: VR::IS, others: &["2", "7"], words: &["acquisition"], sense: Sense::Idle },
    Attribute {
        tag: tags::ACQUISITION_TIME,
        vr: VR::TM,
        others: &["130000"],
        words: &["acquisition", "time"],
        sense: Sense::Idle,
    },
    Attribute { tag: tags::INSTANCE_NUMBER, vr: VR::IS, others: &["1", "999"], words: &["instance"], sense: Sense::Idle },
    Attribute { tag: tags::SLICE_LOCATION, vr: VR::DS, others: &["77.5"], words: &["location"], sense: Sense::Idle },
    Attribute { tag: tags::SLICE_THICKNESS, vr: VR::DS, others: &["77"], words: &["thickness"], sense: Sense::Idle },
    Attribute { tag: tags::SPACING_BETWEEN_SLICES, vr: VR::DS, others: &["1", "77"], words: &["spacing"], sense: Sense::Idle },
    Attribute {
        tag: tags::PIXEL_PADDING_VALUE,
        vr: VR::US,
        others: &["0", "1024", "63536"],
        words: &["padding"],
        sense: Sense::Idle,
    },
    Attribute { tag: tags::SERIES_NUMBER, vr: VR::IS, others: &["3"], words: &["series"], sense: Sense::Idle },
    Attribute { tag: tags::GANTRY_DETECTOR_TILT, vr: VR::DS, others: &["33"], words: &["tilt"], sense: Sense::Idle },
    Attribute {
        tag: tags::SPECIFIC_CHARACTER_SET,
        vr: VR::CS,
        others: &["ISO_IR 192", "\\ISO 2022 IR 87", "odd"],
        words: &["character"],
        sense: Sense::Idle,
    },
];

/// Words that tell of two scans where one was expected.
const MIXED: &[&str] = &["acquisition", "scans", "series", "kernel", "twice", "copies", "interleav", "stack"];
/// In the names of another scan's files.
const OTHER: &str = "OTHER";
const PIXELS: &[&str] = &["pixel"];
const LOST: &[&str] = &["missing", "cut", "bytes", "read"];

/// Which of `count` files an edit is done to.
fn some(choices: &mut Choices, count: usize) -> (Vec<usize>, &'static str) {
    match choices.below(5) {
        0 | 1 => (vec![choices.below(count)], "one"),
        2 => ((0..count).collect(), "all"),
        3 => ((0..count / 2).collect(), "the first half"),
        _ => ((0..count).step_by(2).collect(), "every second"),
    }
}

/// Edits a series; links to make come with it. `None` where the choice would be another sound scan.
pub fn edit(choices: &mut Choices, scan: &Scan, files: &mut Vec<File>, links: &mut Vec<(PathBuf, PathBuf)>) -> Option<Edit> {
    if files.is_empty() {
        return None;
    }
    match choices.below(8) {
        0..=3 => attribute(choices, files),
        4 => pixels_or_syntax(choices, files),
        5 => file(choices, files, links),
        _ => stack(choices, scan, files),
    }
}

fn attribute(choices: &mut Choices, files: &mut [File]) -> Option<Edit> {
    let attribute = &ATTRIBUTES[choices.below(ATTRIBUTES.len())];
    let (which, extent) = some(choices, files.len());
    let way = choices.below(12);
    let other = attribute.others[choices.below(attribute.others.len())];
    let &Attribute { tag, vr, sense, words, .. } = attribute;
    // Of two scans that nothing else tells apart.
    if tag == tags::INSTANCE_NUMBER && is_mixed(files) {
        return None;
    }
    let value = |text: &str| match (vr, text.parse()) {
        (VR::US, Ok(number)) => Element::number(tag, number),
        _ => Element::text(tag, vr, text),
    };
    let mut plausible = false;
    let mut harmless = sense == Sense::Idle && extent == "all";
    let what = match way {
        0 => "absent".to_string(),
        1 => "empty".into(),
        2 => "the text odd".into(),
        3 => "1e300".into(),
        4 => "NaN".into(),
        5 => "-7".into(),
        6 | 7 => {
            plausible = true;
            other.into()
        }
        8 => {
            harmless = true;
            "of VR UN".into()
        }
        9 => {
            harmless = vr != VR::US;
            "of VR UT".into()
        }
        10 => {
            harmless = true;
            "twice".into()
        }
        _ => {
            plausible = true;
            format!("twice, then {other}")
        }
    };
    let all = extent == "all";
    // A value that all files share cannot be told from a true one: another scan, as sound.
    if all && sense == Sense::Whole && (plausible || way == 5) {
        return None;
    }
    // A kernel or a patient that no file names.
    let optional = [
        tags::CONVOLUTION_KERNEL,
        tags::PATIENT_ID,
        tags::FRAME_OF_REFERENCE_UID,
        tags::NUMBER_OF_FRAMES,
        tags::STUDY_INSTANCE_UID,
    ];
    if all && optional.contains(&tag) && way <= 1 {
        harmless = true;
    }
    for &n in &which {
        let file = &mut files[n];
        match way {
            0 => file.remove(tag),
            1 => file.put(Element::text(tag, vr, "")),
            2 => file.put(Element::text(tag, vr, "odd")),
            3 => file.put(Element::text(tag, vr, "1e300")),
            4 => file.put(Element::text(tag, vr, "NaN")),
            5 => file.put(Element::text(tag, vr, "-7")),
            6 | 7 => file.put(value(other)),
            8 | 9 => {
                let vr = if way == 8 { VR::UN } else { VR::UT };
                file.elements.iter_mut().filter(|element| element.tag == tag).for_each(|element| element.vr = vr);
            }
            _ => {
                let Some(at) = file.elements.iter().position(|element| element.tag == tag) else { continue };
                let second = if way == 10 { file.elements[at].clone() } else { value(other) };
                file.elements.insert(at + 1, second);
            }
        }
    }
    let what = format!("{tag} {what} in {extent} ({which:?})");
    let moves = tag == tags::SERIES_INSTANCE_UID || tag == tags::STUDY_INSTANCE_UID;
    let moved = if moves { which.iter().filter_map(|&n| files[n].slice).collect() } else { Vec::new() };
    Some(Edit { what, words, outcome: if harmless { Outcome::Read } else { Outcome::Any }, moved })
}

/// Whether there are slices of another scan.
fn is_mixed(files: &[File]) -> bool {
    files.iter().any(|file| file.name.contains(OTHER))
}

fn pixels_or_syntax(choices: &mut Choices, files: &mut [File]) -> Option<Edit> {
    let (which, extent) = some(choices, files.len());
    let way = choices.below(6);
    let mut outcome = Outcome::Any;
    let mut words = PIXELS;
    let mut what = "";
    for &n in &which {
        let file = &mut files[n];
        if way < 4 {
            let Some(pixels) = file.elements.iter_mut().find(|element| element.tag == tags::PIXEL_DATA) else { continue };
            let Value::Numbers(numbers) = &mut pixels.value else { continue };
            match way {
                0 => {
                    numbers.truncate(numbers.len() / 2);
                    what = "pixels cut to a half";
                }
                1 => {
                    numbers.extend(vec![0; 3]);
                    what = "three pixels more";
                }
                2 if file.syntax != Syntax::BigEndian => {
                    pixels.vr = VR::OB;
                    outcome = Outcome::Read;
                    what = "pixels of VR OB";
                }
                _ => {
                    file.remove(tags::PIXEL_DATA);
                    what = "no pixels";
                }
            }
        } else {
            words = &["transfer syntax"];
            what = "a transfer syntax that is not that of the data set";
            file.says = match (file.syntax, way) {
                (Syntax::Explicit, 4) => Syntax::Implicit,
                (Syntax::Implicit, 4) => Syntax::Explicit,
                (Syntax::BigEndian, 4) => Syntax::Explicit,
                _ => Syntax::BigEndian,
            };
            if file.says != file.syntax {
                outcome = if file.syntax != Syntax::BigEndian && way == 4 { Outcome::Read } else { Outcome::Any };
            }
        }
    }
    Some(Edit { what: format!("{what} in {extent} ({which:?})"), words, outcome, moved: Vec::new() })
}

fn file(choices: &mut Choices, files: &mut Vec<File>, links: &mut Vec<(PathBuf, PathBuf)>) -> Option<Edit> {
    let (which, extent) = some(choices, files.len());
    let mut outcome = Outcome::Read;
    let what = match choices.below(6) {
        0 => {
            for &n in &which {
                let copy = File { name: format!("{} (1)", files[n].name), ..files[n].clone() };
                files.push(copy);
            }
            "copied"
        }
        1 => {
            for &n in &which {
                let other = if files[n].name.contains(OTHER) { OTHER } else { "" };
                files[n].name = format!("{:03}{other}", 999 - n);
            }
            "renamed"
        }
        2 => {
            which.iter().for_each(|&n| files[n].name = format!("below/{}", files[n].name));
            "in a folder below"
        }
        3 => {
            links.extend(which.iter().map(|&n| (format!("link{n}").into(), files[n].name.clone().into())));
            "linked to"
        }
        4 => {
            links.push(("below/up".into(), "..".into()));
            "beside a link to the parent folder"
        }
        _ => {
            let cut = [0, 10, 40, 200, 255][choices.below(5)];
            which.iter().for_each(|&n| files[n].cut = Some(cut));
            outcome = Outcome::Told;
            "cut"
        }
    };
    Some(Edit { what: format!("{what}: {extent} ({which:?})"), words: LOST, outcome, moved: Vec::new() })
}

fn stack(choices: &mut Choices, scan: &Scan, files: &mut Vec<File>) -> Option<Edit> {
    // A third scan, or none that is whole, is more than can be told.
    if is_mixed(files) {
        return None;
    }
    let inside = |choices: &mut Choices| 2 + choices.below(scan.heights.len() - 4);
    match choices.below(7) {
        0 => {
            // Where thick slices begin, a gap is as wide as that of a slice that is gone.
            let gone = inside(choices);
            let gaps = [gone - 1, gone, gone + 1, gone + 2].map(|n| scan.heights[n] - scan.heights[n - 1]);
            if gaps.iter().any(|&gap| gap != gaps[0]) {
                return None;
            }
            files.retain(|file| file.slice != Some(gone));
            Some(Edit { what: format!("slice {gone} is gone"), words: LOST, outcome: Outcome::Told, moved: Vec::new() })
        }
        1 => {
            // A page of text, as scanners store it: of class CT, without a place.
            let mut page = File { name: "PROT".into(), slice: None, ..files[0].clone() };
            for tag in [
                tags::IMAGE_POSITION_PATIENT,
                tags::IMAGE_ORIENTATION_PATIENT,
                tags::PIXEL_SPACING,
                tags::RESCALE_SLOPE,
                tags::RESCALE_INTERCEPT,
                tags::SLICE_LOCATION,
            ] {
                page.remove(tag);
            }
            page.put(Element::text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\OTHER"));
            page.put(Element::text(tags::SERIES_INSTANCE_UID, VR::UI, "2.25.32"));
            page.put(Element::text(tags::SOP_INSTANCE_UID, VR::UI, "2.25.32.1"));
            files.push(page);
            Some(Edit {
                what: "a page of text beside it".into(),
                words: &["page", "missing"],
                outcome: Outcome::Read,
                moved: Vec::new(),
            })
        }
        2 => {
            let mut scout = File { name: "SCOUT".into(), slice: None, ..files[0].clone() };
            scout.put(Element::text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER"));
            scout.put(Element::text(tags::SERIES_INSTANCE_UID, VR::UI, "2.25.33"));
            scout.put(Element::text(tags::SOP_INSTANCE_UID, VR::UI, "2.25.33.1"));
            files.push(scout);
            Some(Edit { what: "a localizer beside it".into(), words: &["localizer"], outcome: Outcome::Read, moved: Vec::new() })
        }
        way => {
            // Slices of another scan: between these, at their places, in place of some, or as a series of its own.
            let mut other = scan.clone();
            other.offset += 300.0;
            if way != 4 {
                let half = scan.gap() / 2.0;
                other.heights.iter_mut().for_each(|height| *height += half);
            }
            let mut second = other.files();
            // What tells the scans apart where nothing else does.
            for file in files.iter_mut() {
                if let Some(slice) = file.slice {
                    file.put(Element::text(tags::INSTANCE_NUMBER, VR::IS, slice + 1));
                }
            }
            let count = scan.heights.len();
            let differs = choices.below(8);
            let numbered = choices.below(2) == 0;
            for (n, file) in second.iter_mut().enumerate() {
                file.slice = None;
                file.name = format!("{OTHER}{}", file.name);
                file.put(Element::text(tags::SOP_INSTANCE_UID, VR::UI, format!("2.25.34.{n}")));
                if numbered {
                    file.put(Element::text(tags::INSTANCE_NUMBER, VR::IS, format!("{}", count + n + 1)));
                }
                let put = match differs {
                    0 => Element::text(tags::ACQUISITION_NUMBER, VR::IS, "2"),
                    1 => Element::text(tags::ACQUISITION_TIME, VR::TM, format!("1500{n:02}")),
                    2 => Element::text(tags::CONVOLUTION_KERNEL, VR::SH, "BONE"),
                    3 => Element::text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\MPR"),
                    4 => Element::text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "2.25.42"),
                    5 => Element::text(tags::PATIENT_ID, VR::LO, "p2"),
                    6 => Element::text(tags::SERIES_INSTANCE_UID, VR::UI, "2.25.34"),
                    _ => continue,
                };
                file.put(put);
            }
            let what = match way {
                3 => "slices of another scan between these",
                4 => "slices of another scan at the same places",
                5 => {
                    // Half of them only.
                    second.truncate(count / 2);
                    "half of another scan between these"
                }
                _ => {
                    let from = inside(choices);
                    files.retain(|file| file.slice.is_none_or(|slice| slice < from));
                    second.drain(..from);
                    "another scan goes on where this one ends"
                }
            };
            files.extend(second);
            Some(Edit { what: format!("{what} (difference {differs})"), words: MIXED, outcome: Outcome::Told, moved: Vec::new() })
        }
    }
}
