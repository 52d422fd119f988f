//! One series (or a part of one that is a scan of its own), and the order in which series are preferred.

use super::slice::{Identity, Slice};
use super::stacks::{self, Placed, Way};
use super::words::{self, Contrast, Region};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// A volume has at least so many slices: with fewer there is no spacing to check.
pub const LEAST_SLICES: usize = 3;
/// The cosine of the largest angle between a slice's normal and the patient's axis at which it counts as axial: 45 degrees.
const AXIAL: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// A series shorter than this along its normal, in mm, shows a part of a head only: the brain of an adult is about 130 mm high.
const SLAB_MM: f64 = 60.0;
/// A series at least so long shows most of a head.
const WHOLE_MM: f64 = 100.0;
/// Fields of view wider than this, in mm, are those of a body: heads are 140 to 250 mm wide.
const WIDEST_HEAD_MM: f64 = 350.0;

/// Slices that make one volume, sorted along their normal: a series, or the part of it that is one scan.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the slices share.
    pub identity: Identity,
    /// The slices, each place once, from the first along the normal to the last.
    pub slices: Vec<Slice>,
    /// What is doubtful: slices left out, slices missing, attributes that differ among slices.
    pub doubts: Vec<String>,
    /// Why it was chosen; empty for the only series of a study.
    pub choice: String,
    /// Where the series has several parts: the name of this one behind the colon of `--series UID:PART`, its (first) AcquisitionNumber where that tells the parts from one
    /// another, else a letter.
    pub part: Option<String>,
    /// Why its slices are no volume, such as those of two scans that cannot be told apart.
    pub fault: Option<String>,
    /// What parted it from the other parts of the series.
    way: Way,
}

/// Which structures a convolution kernel shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kernel {
    /// Brain and other soft tissue.
    Soft,
    /// No name that is known.
    Unknown,
    /// Bone, lung, or edges.
    Sharp,
}

impl Kernel {
    /// What a kernel's name says. Names: GE in words; Siemens a letter or two and a number that grows with sharpness (H31s, Hr40, J45, H60); Canon FC and a number
    /// (FC26 brain, FC30 bone, FC51 lung, FC81 inner ear); Philips UA, UB, UC, A, B, C soft, D, E, L, YB, YC, YD sharp.
    pub(crate) fn of(name: &str) -> Kernel {
        let name = name.trim().to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if has(&["BONE", "EDGE", "LUNG", "SHARP", "ULTRA", "DETAIL", "INNER EAR"]) {
            return Kernel::Sharp;
        }
        if has(&["STANDARD", "STND", "STD", "SOFT", "BRAIN", "SMOOTH"]) {
            return Kernel::Soft;
        }
        let digits: String = name.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        match (name.chars().next(), digits.parse::<u32>()) {
            (Some('F'), Ok(number)) if name.starts_with("FC") => match number {
                1..=29 | 41..=44 | 62..=69 => Kernel::Soft,
                _ => Kernel::Sharp,
            },
            (Some('H' | 'J' | 'B' | 'Q'), Ok(number)) if number >= 10 => {
                if number < 50 {
                    Kernel::Soft
                } else {
                    Kernel::Sharp
                }
            }
            (_, Err(_)) => match name.as_str() {
                "UA" | "UB" | "UC" | "A" | "B" | "C" => Kernel::Soft,
                "D" | "E" | "L" | "YA" | "YB" | "YC" | "YD" => Kernel::Sharp,
                _ => Kernel::Unknown,
            },
            _ => Kernel::Unknown,
        }
    }
}

impl Series {
    /// Adds to what is said of the choice that something else is not used.
    pub(crate) fn leaves_out(&mut self, what: &str) {
        if self.choice.is_empty() {
            self.choice = format!("series {} is used", self.label());
        }
        self.choice += &format!("; left out: {what}");
    }

    /// Whether the slices lie across the patient's axis.
    pub(crate) fn is_axial(&self) -> bool {
        self.slices[0].normal()[2].abs() > AXIAL
    }

    /// Whether the scanner made the images from its measurements, not from other images.
    pub(crate) fn is_original(&self) -> bool {
        let says = |n: usize, word: &str| self.identity.image_type.get(n).is_some_and(|text| text == word);
        !says(0, "DERIVED") && !says(1, "SECONDARY")
    }

    /// The kernel; the sharpest of several names. Where no name is known, a description that names bone says that it is sharp.
    pub(crate) fn kernel(&self) -> Kernel {
        let kernels = self.identity.kernel.iter().map(|name| Kernel::of(name));
        // A list such as H31s, 3 has a name and a strength: the name is known, the strength is not.
        let known: Vec<Kernel> = kernels.filter(|&kernel| kernel != Kernel::Unknown).collect();
        let described = if words::is_sharp(&self.identity.description) { Kernel::Sharp } else { Kernel::Unknown };
        known.into_iter().max().unwrap_or(described)
    }

    /// Length along the normal in mm, half a slice at both ends included.
    pub(crate) fn length(&self) -> f64 {
        let [first, last] = [&self.slices[0], &self.slices[self.slices.len() - 1]];
        let length = (0..3).map(|n| (last.position[n] - first.position[n]) * first.normal()[n]).sum::<f64>().abs();
        length + length / (self.slices.len() - 1).max(1) as f64
    }

    /// Columns and rows times their distances, in mm.
    pub(crate) fn field_of_view(&self) -> [f64; 2] {
        let slice = &self.slices[0];
        [slice.columns as f64 * slice.spacing[1], slice.rows as f64 * slice.spacing[0]]
    }

    /// The part of the body, by the first text that names one: SeriesDescription, ProtocolName, BodyPartExamined, StudyDescription; with that text.
    fn region(&self) -> Option<(Region, String)> {
        let Identity { description, protocol_name, body_part, study_description, .. } = &self.identity;
        let texts = [
            ("SeriesDescription", description),
            ("ProtocolName", protocol_name),
            ("BodyPartExamined", body_part),
            ("StudyDescription", study_description),
        ];
        texts.into_iter().find_map(|(keyword, text)| words::region(text).map(|region| (region, format!("{keyword} {text:?}"))))
    }

    /// What speaks for contrast agent, from 0 (nothing) over 1 (not certain) to 2.
    fn contrast(&self) -> (u8, String) {
        let Identity { contrast_agent, description, protocol_name, .. } = &self.identity;
        let told = words::contrast(description);
        let agent = words::is_agent(contrast_agent).then(|| format!("ContrastBolusAgent {contrast_agent:?}"));
        let described = || format!("SeriesDescription {description:?}");
        match (told, agent) {
            (Some(Contrast::Given), agent) => (2, agent.unwrap_or_else(described)),
            (Some(Contrast::Plain), Some(agent)) => (1, agent),
            (Some(Contrast::Plain), None) => (0, String::new()),
            (_, Some(agent)) => (2, agent),
            (Some(Contrast::Perhaps), None) => (1, described()),
            (None, None) => match words::contrast(protocol_name) {
                Some(Contrast::Given) => (1, format!("ProtocolName {protocol_name:?}")),
                _ => (0, String::new()),
            },
        }
    }

    /// Whether contrast agent was given, as far as the header tells; with the attribute that says so.
    pub(crate) fn contrast_agent(&self) -> Option<String> {
        let (certain, why) = self.contrast();
        (certain == 2).then_some(why)
    }

    /// Whether the series is that of another part of the body, as far as the header tells; with the attribute that says so.
    pub(crate) fn elsewhere(&self) -> Option<String> {
        self.region().filter(|(region, _)| *region == Region::Elsewhere).map(|(_, why)| why)
    }

    /// Whether its slices make a volume.
    pub(crate) fn is_usable(&self) -> bool {
        self.slices.len() >= LEAST_SLICES && self.fault.is_none()
    }

    /// Whether its slices do not all lie at one place, as those that watch a bolus do.
    pub(super) fn spans_a_volume(&self) -> bool {
        self.length() > 1.0
    }

    /// The rules of choice, the first one first: for each a number, the less the better, and what to say of a series that loses by it.
    fn rules(&self) -> Vec<(i64, String)> {
        let yes = |is: bool, otherwise: String| (i64::from(!is), otherwise);
        let Identity { description, image_type, .. } = &self.identity;
        let unusable = self.fault.clone().unwrap_or_else(|| format!("it has fewer than {LEAST_SLICES} slices"));
        let image_type = image_type.join("\\");
        let computed = [("SeriesDescription", description), ("ImageType", &image_type)].into_iter();
        let computed = computed.filter(|(_, text)| words::is_computed(text)).map(|(keyword, text)| format!("{keyword} {text:?}"));
        let computed: Vec<String> = computed.collect();
        let [width, _] = self.field_of_view();
        let (head, where_) = match self.region() {
            Some((Region::Head, _)) => (0, String::new()),
            Some((Region::Partly, why)) => (1, format!("not the head alone ({why})")),
            Some((Region::Elsewhere, why)) => (3, format!("not the head ({why})")),
            None if width > WIDEST_HEAD_MM => (2, format!("a field of view of {width:.0} mm, wider than for a head")),
            None => (0, String::new()),
        };
        let (contrast, agent) = self.contrast();
        let length = self.length();
        let numbered = |number: Option<i64>, what: &str| match number {
            Some(number) => (number, format!("a higher {what} ({number})")),
            None => (i64::MAX, format!("no {what}")),
        };
        let acquisition = self.slices.iter().filter_map(|slice| slice.acquisition_number).min();
        let kernel = self.kernel();
        vec![
            yes(self.is_usable(), unusable),
            yes(self.is_axial(), "not axial".into()),
            yes(computed.is_empty(), format!("computed from other images, or for one energy ({})", computed.join(", "))),
            (head, where_),
            yes(length >= SLAB_MM, format!("only {length:.0} mm long")),
            (i64::from(contrast), format!("contrast agent ({agent})")),
            yes(self.is_original(), format!("derived (ImageType {image_type:?})")),
            yes(length >= WHOLE_MM, format!("only {length:.0} mm long")),
            (kernel as i64, self.kernel_in_words(kernel)),
            (
                i64::from(words::other_energy(description)),
                format!("computed for another energy than usual, or taken at one (SeriesDescription {description:?})"),
            ),
            (-(self.slices.len() as i64), format!("fewer slices ({})", self.slices.len())),
            numbered(self.identity.series_number, "series number"),
            numbered(acquisition, "acquisition number"),
        ]
    }

    fn kernel_in_words(&self, kernel: Kernel) -> String {
        let named = self.identity.kernel.iter().any(|name| Kernel::of(name) != Kernel::Unknown);
        let name = self.identity.kernel.join(" ");
        match kernel {
            Kernel::Sharp if !named => format!("sharp by SeriesDescription {:?}", self.identity.description),
            Kernel::Unknown if name.is_empty() => "no ConvolutionKernel".into(),
            _ => format!("{} kernel {name}", kernel.name()),
        }
    }

    /// The order in which series are preferred. Those that cannot be used come last.
    pub(crate) fn compare(&self, other: &Series) -> Ordering {
        let keys = |series: &Series| series.rules().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let rest = |series: &Series| (series.identity.series_uid.clone(), series.part.clone());
        keys(self).cmp(&keys(other)).then_with(|| rest(self).cmp(&rest(other)))
    }

    /// The first rule by which `better` is preferred to this series, in a few words.
    pub(crate) fn loses_by(&self, better: &Series) -> String {
        let mut rules = self.rules().into_iter().zip(better.rules());
        rules.find(|((own, _), (other, _))| own > other).map_or_else(
            || {
                let what = if self.identity.series_uid == better.identity.series_uid { "part" } else { "SeriesInstanceUID" };
                format!("no rule tells them apart, and the {what} that comes first by name is used")
            },
            |((_, why), _)| why,
        )
    }

    /// Whether `wanted` is the series's UID or its number, or one of these with a colon and the name of the part behind it.
    pub fn is(&self, wanted: &str) -> bool {
        let wanted = wanted.trim();
        let named = |wanted: &str| {
            self.identity.series_uid == wanted || self.identity.series_number.is_some_and(|number| wanted.parse() == Ok(number))
        };
        match wanted.split_once(':') {
            None => named(wanted),
            Some((series, part)) => named(series.trim()) && self.is_part(part.trim()),
        }
    }

    fn is_part(&self, wanted: &str) -> bool {
        let acquisitions: BTreeSet<i64> = self.slices.iter().filter_map(|slice| slice.acquisition_number).collect();
        match &self.part {
            Some(part) if part.parse::<i64>().is_err() => part == wanted,
            _ => wanted.parse().is_ok_and(|wanted| acquisitions.contains(&wanted)),
        }
    }

    /// What to give to `--series` for this series: its number where it is the only one of `all` of that number, else its UID; with the part where there are several.
    pub(crate) fn handle(&self, all: &[Series]) -> String {
        let Identity { series_uid, series_number, .. } = &self.identity;
        let same = |other: &Series| other.identity.series_number == *series_number && other.identity.series_uid != *series_uid;
        let series = match series_number {
            Some(number) if !all.iter().any(same) => number.to_string(),
            _ => series_uid.clone(),
        };
        self.part.as_ref().map_or(series.clone(), |part| format!("{series}:{part}"))
    }

    /// The series in a few words.
    pub(crate) fn label(&self) -> String {
        let Identity { series_number, series_uid, description, kernel, .. } = &self.identity;
        let mut number = series_number.map_or_else(|| "without a number".into(), |number| number.to_string());
        if let Some(part) = &self.part {
            number += &format!(":{part}");
        }
        let mut words = vec![if self.is_axial() { "axial" } else { "not axial" }.to_string()];
        words.push(if self.is_original() { "original" } else { "derived" }.into());
        if !kernel.is_empty() {
            words.push(format!("{} kernel {}", self.kernel().name(), kernel.join(" ")));
        }
        if self.contrast_agent().is_some() {
            words.push("contrast agent".into());
        }
        words.push(format!("{} slice{}", self.slices.len(), if self.slices.len() == 1 { "" } else { "s" }));
        let description = if description.is_empty() { String::new() } else { format!(" {description:?}") };
        format!("{number}{description} ({}; UID {series_uid})", words.join(", "))
    }

    /// What this series lacks beside another part of the same one: how many slices, where, and what parts them from it.
    pub(super) fn left_out(&self, other: &Series) -> String {
        fn placed(series: &Series) -> Vec<Placed<'_>> {
            series.slices.iter().map(|slice| Placed { identity: &series.identity, slice, height: 0.0 }).collect()
        }
        let why = stacks::why_apart((&placed(self), &self.way), (&placed(other), &other.way));
        let slices: Vec<&Slice> = other.slices.iter().collect();
        let count = slices.len();
        format!(
            "{count} slice{} of the same series {} left out ({}): {why}",
            if count == 1 { "" } else { "s" },
            if count == 1 { "is" } else { "are" },
            stacks::names(&slices),
        )
    }
}

impl Kernel {
    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kernel::Soft => "soft",
            Kernel::Unknown => "unknown",
            Kernel::Sharp => "sharp",
        }
    }
}

/// The images of one series UID as volumes.
pub(super) fn split(slices: &[(&Identity, &Slice)]) -> Vec<Series> {
    let parts = stacks::parts(slices).into_iter().map(|part| {
        let mut identity = part.slices[0].identity.clone();
        // One slice with contrast agent is enough.
        if let Some(agent) = part.slices.iter().map(|at| &at.identity.contrast_agent).find(|agent| words::is_agent(agent)) {
            identity.contrast_agent = agent.clone();
        }
        let slices = part.slices.iter().map(|placed| placed.slice.clone()).collect();
        Series { identity, slices, doubts: part.doubts, choice: String::new(), part: None, fault: part.fault, way: part.way }
    });
    let mut all: Vec<Series> = parts.collect();
    if all.len() > 1 {
        name_parts(&mut all);
    }
    all
}

/// Names the parts of a series: by their first acquisition numbers where no two parts share one, else by letters.
fn name_parts(all: &mut [Series]) {
    all.sort_by(Series::compare);
    let numbers: Vec<BTreeSet<i64>> =
        all.iter().map(|part| part.slices.iter().filter_map(|slice| slice.acquisition_number).collect()).collect();
    let mut seen = BTreeSet::new();
    let apart = numbers.iter().all(|own| !own.is_empty() && own.iter().all(|number| seen.insert(*number)));
    for (n, part) in all.iter_mut().enumerate() {
        let letter = |n: usize| char::from(b'a' + n as u8).to_string();
        part.part = Some(match numbers[n].first() {
            Some(first) if apart => first.to_string(),
            _ if n < 26 => letter(n),
            _ => format!("{}{}", letter(n / 26 % 26), letter(n % 26)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::slice::testing::slice;
    use super::*;

    #[test]
    fn kernels_are_known_by_name() {
        for soft in ["STANDARD", "STD+", "SOFT", "H31s", "Hr40f", "J40s", "FC26", "FC64", "UB", "B", "Head/Brain"] {
            assert_eq!(Kernel::of(soft), Kernel::Soft, "{soft}");
        }
        for sharp in ["BONE", "BONEPLUS", "EDGE", "LUNG", "H60s", "Hr64", "FC30", "FC81", "YC", "E"] {
            assert_eq!(Kernel::of(sharp), Kernel::Sharp, "{sharp}");
        }
        for unknown in ["", "3", "XYZ"] {
            assert_eq!(Kernel::of(unknown), Kernel::Unknown, "{unknown}");
        }
    }

    fn series(slices: Vec<Slice>) -> Series {
        Series {
            identity: Identity { series_uid: "1.2".into(), ..Identity::default() },
            slices,
            doubts: Vec::new(),
            choice: String::new(),
            part: None,
            fault: None,
            way: Way::new(),
        }
    }

    #[test]
    fn parts_have_acquisition_numbers_or_letters() {
        let numbered = |numbers: &[i64]| {
            let slice = |&number: &i64| Slice { acquisition_number: Some(number), ..slice("x", 0.0) };
            series(numbers.iter().map(slice).collect())
        };
        let names = |mut parts: Vec<Series>| {
            name_parts(&mut parts);
            parts.into_iter().map(|part| part.part.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(vec![numbered(&[3, 4]), numbered(&[7])]), ["3", "7"]);
        assert_eq!(names(vec![numbered(&[3, 4]), numbered(&[4])]), ["a", "b"]);
        let many = names((0..54).map(|_| series(vec![slice("x", 0.0)])).collect());
        assert_eq!([&many[0], &many[25], &many[26], &many[27], &many[53]], ["a", "z", "ba", "bb", "cb"]);
        let named = |part: &str, wanted: &str| Series { part: Some(part.into()), ..numbered(&[3, 4]) }.is(wanted);
        assert!(named("3", "1.2:3") && named("3", "1.2:4") && !named("3", "1.2:5"));
        assert!(named("a", "1.2:a") && !named("a", "1.2:b") && !named("a", "1.2:3") && !named("a", "1.3:a"));
    }

    #[test]
    fn length_and_field_of_view_have_half_a_slice_and_pixel_at_both_ends() {
        let of = |heights: &[f64]| series(heights.iter().map(|&height| slice("x", height)).collect());
        assert_eq!(of(&[10.0, 15.0, 20.0]).length(), 15.0);
        assert_eq!(of(&[10.0]).length(), 0.0);
        assert_eq!(of(&[10.0]).field_of_view(), [1.5, 1.0]);
        assert!(!of(&[10.0, 10.5]).spans_a_volume() && of(&[10.0, 10.6]).spans_a_volume());
    }

    #[test]
    fn too_large_a_series_is_told_before_a_file_is_opened() {
        let huge = Slice { rows: 1 << 13, columns: 1 << 13, ..slice("absent", 0.0) };
        let most = crate::io::nifti::MAX_VOXELS >> 26;
        let error = super::super::stack::Stack::read(&series(vec![huge; most as usize + 1]));
        assert!(matches!(error, Err(super::super::DicomError::Volume(8192, 8192, _))));
    }
}
