//! Slices that make one volume.

use super::slice::{Identity, Slice, dot};
use std::cmp::{Ordering, Reverse};

/// A volume has at least so many slices: with fewer there is no spacing to check.
pub const LEAST_SLICES: usize = 3;
/// Slices nearer to each other than this, in mm, are the same slice twice.
const SAME_MM: f64 = 0.01;
/// The cosine of the largest angle between a slice's normal and the patient's axis at which it counts as axial: 45 degrees.
const AXIAL: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// Slices of one series that share orientation, matrix, kernel and kind of image, sorted along their normal.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the slices share.
    pub identity: Identity,
    /// The slices, each place once, from the first along the normal to the last.
    pub slices: Vec<Slice>,
    /// What is doubtful: slices left out, slices missing.
    pub doubts: Vec<String>,
    /// Why it was chosen; empty for the only series of a study.
    pub choice: String,
}

/// Which structures a convolution kernel shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
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
    pub fn of(name: &str) -> Kernel {
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
    /// Whether the slices lie across the patient's axis.
    pub fn is_axial(&self) -> bool {
        self.slices[0].normal()[2].abs() > AXIAL
    }

    /// Whether the scanner made the images from its measurements, not from other images.
    pub fn is_original(&self) -> bool {
        let says = |n: usize, word: &str| self.identity.image_type.get(n).is_some_and(|text| text == word);
        !says(0, "DERIVED") && !says(1, "SECONDARY")
    }

    /// The kernel; the sharpest of several names.
    pub fn kernel(&self) -> Kernel {
        let kernels = self.identity.kernel.iter().map(|name| Kernel::of(name));
        // A list such as H31s, 3 has a name and a strength: the name is known, the strength is not.
        let known: Vec<Kernel> = kernels.filter(|&kernel| kernel != Kernel::Unknown).collect();
        known.into_iter().max().unwrap_or(Kernel::Unknown)
    }

    /// The order in which series are preferred. Those with too few slices come last.
    pub fn compare(&self, other: &Series) -> Ordering {
        let key = |series: &Series| {
            let number = series.identity.series_number.unwrap_or(i64::MAX);
            let few = series.slices.len() < LEAST_SLICES;
            (few, !series.is_axial(), !series.is_original(), series.kernel(), Reverse(series.slices.len()), number)
        };
        let uid = |series: &Series| series.identity.series_uid.clone();
        key(self).cmp(&key(other)).then_with(|| uid(self).cmp(&uid(other)))
    }

    /// Whether `wanted` is the series's UID or its number.
    pub fn is(&self, wanted: &str) -> bool {
        let wanted = wanted.trim();
        self.identity.series_uid == wanted || self.identity.series_number.is_some_and(|number| wanted.parse() == Ok(number))
    }

    /// The series in a few words.
    pub fn label(&self) -> String {
        let Identity { series_number, series_uid, description, kernel, .. } = &self.identity;
        let number = series_number.map_or_else(|| "without a number".into(), |number| number.to_string());
        let mut words = vec![if self.is_axial() { "axial" } else { "not axial" }.to_string()];
        words.push(if self.is_original() { "original" } else { "derived" }.into());
        if !kernel.is_empty() {
            let kind = match self.kernel() {
                Kernel::Soft => "soft",
                Kernel::Unknown => "unknown",
                Kernel::Sharp => "sharp",
            };
            words.push(format!("{kind} kernel {}", kernel.join(" ")));
        }
        words.push(format!("{} slices", self.slices.len()));
        let description = if description.is_empty() { String::new() } else { format!(" {description:?}") };
        format!("{number}{description} ({}; UID {series_uid})", words.join(", "))
    }
}

/// The images of one series UID as volumes: split where orientation, matrix, pixel spacing, frame of reference, kernel or kind of image differ, and by acquisition where
/// slices of several acquisitions lie at the same places.
pub(super) fn split(slices: &[(&Identity, &Slice)]) -> Vec<Series> {
    let mut groups: Vec<Vec<(&Identity, &Slice)>> = Vec::new();
    for &slice in slices {
        match groups.iter_mut().find(|group| belong_together(group[0], slice)) {
            Some(group) => group.push(slice),
            None => groups.push(vec![slice]),
        }
    }
    groups.into_iter().flat_map(|group| by_acquisition(&group)).collect()
}

fn belong_together((one, a): (&Identity, &Slice), (other, b): (&Identity, &Slice)) -> bool {
    let kind = |identity: &Identity| identity.image_type.iter().take(2).cloned().collect::<Vec<_>>();
    (a.rows, a.columns) == (b.rows, b.columns)
        && (0..2).all(|n| (a.spacing[n] - b.spacing[n]).abs() < 1e-4)
        && dot(a.along_row, b.along_row) > 0.9999
        && dot(a.along_column, b.along_column) > 0.9999
        && one.frame_of_reference_uid == other.frame_of_reference_uid
        && one.kernel == other.kernel
        && kind(one) == kind(other)
}

fn by_acquisition(group: &[(&Identity, &Slice)]) -> Vec<Series> {
    let whole = Series::new(group);
    let mut acquisitions: Vec<Option<i64>> = group.iter().map(|(_, slice)| slice.acquisition_number).collect();
    acquisitions.sort_unstable();
    acquisitions.dedup();
    if whole.slices.len() == group.len() || acquisitions.len() == 1 {
        return vec![whole];
    }
    let part = |number: &Option<i64>| {
        let slices: Vec<_> = group.iter().filter(|(_, slice)| slice.acquisition_number == *number).copied().collect();
        Series::new(&slices)
    };
    acquisitions.iter().map(part).collect()
}

impl Series {
    /// Sorts slices along their normal and leaves out those that are there twice; says what is left out and what is missing.
    fn new(group: &[(&Identity, &Slice)]) -> Series {
        let identity = group[0].0.clone();
        let normal = group[0].1.normal();
        let mut placed: Vec<(f64, &Slice)> = group.iter().map(|(_, slice)| (dot(slice.position, normal), *slice)).collect();
        placed.sort_by(|(a, one), (b, other)| {
            let rest = |slice: &Slice| (slice.instance_number, slice.path.clone(), slice.frame);
            a.total_cmp(b).then_with(|| rest(one).cmp(&rest(other)))
        });
        let total = placed.len();
        placed.dedup_by(|(a, _), (b, _)| (*a - *b).abs() < SAME_MM);
        let mut doubts = Vec::new();
        if placed.len() < total {
            let twice = total - placed.len();
            doubts.push(format!("{twice} of {total} slices lie where another one is, and are left out"));
        }
        doubts.extend(missing(&placed));
        let slices = placed.into_iter().map(|(_, slice)| slice.clone()).collect();
        Series { identity, slices, doubts, choice: String::new() }
    }
}

/// Sentences about gaps that slices are missing from: at least 1.5 times as wide as both neighbours, or as the median gap where numbers are missing too.
fn missing(placed: &[(f64, &Slice)]) -> Vec<String> {
    let gaps: Vec<f64> = placed.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let mut sorted = gaps.clone();
    sorted.sort_by(f64::total_cmp);
    let Some(&median) = sorted.get(sorted.len() / 2) else { return Vec::new() };
    let mut sentences = Vec::new();
    for (n, &gap) in gaps.iter().enumerate() {
        // At an end there is one neighbour, and no telling which of the two gaps is odd.
        let inside = n > 0 && n + 1 < gaps.len();
        let widest = if inside { gaps[n - 1].max(gaps[n + 1]) } else { 0.0 };
        let numbers = [placed[n].1.instance_number, placed[n + 1].1.instance_number];
        let skipped = matches!(numbers, [Some(a), Some(b)] if a.abs_diff(b) >= 2);
        let usual = match () {
            _ if widest > 0.0 && gap >= 1.5 * widest => widest,
            _ if skipped && gap >= 1.5 * median => median,
            _ => continue,
        };
        let count = (gap / usual).round() as usize - 1;
        let plural = if count == 1 { " is" } else { "s are" };
        sentences.push(format!(
            "about {count} slice{plural} missing in a gap of {gap:.1} mm (others there: {usual:.1} mm) behind slice {} of {}; the gap is filled by interpolation",
            n + 1,
            placed.len()
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
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
}
