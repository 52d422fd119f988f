//! What the texts of a header say in words: which part of the body a series shows, and whether contrast agent was given. Words of several languages, as scanners' protocols
//! have them; a text that has none of them says nothing.

/// Which part of the body a text names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Region {
    /// The head, and nothing else.
    Head,
    /// The head and another part, or a part of the head without the whole brain.
    Partly,
    /// Another part of the body.
    Elsewhere,
}

/// Whether a text says that contrast agent was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contrast {
    /// It says that none was.
    Plain,
    /// It says both, as the name of a protocol of several series does.
    Both,
    /// It says so.
    Given,
}

/// Beginnings of words for the head.
const HEAD: &[&str] = &[
    "head",
    "brain",
    "skull",
    "crani",
    "crane",
    "cerebr",
    "cereb",
    "enceph",
    "encef",
    "neuro",
    "schadel",
    "schaedel",
    "kopf",
    "gehirn",
    "hirn",
    "tete",
    "cerveau",
    "cabeza",
    "cabeca",
    "testa",
    "cervello",
    "hoofd",
    "hersen",
    "schedel",
    "hjern",
    "hjarn",
    "huvud",
    "skalle",
    "glowa",
    "glowy",
    "mozg",
    "hlava",
    "ncct",
    "cct",
    "intracran",
    "голов",
    "мозг",
    "череп",
];
/// Beginnings of words for parts of the head that leave out much of the brain.
const PART: &[&str] = &[
    "sinus",
    "nnh",
    "paranasal",
    "orbit",
    "petrous",
    "felsenbein",
    "mastoid",
    "temporal",
    "facial",
    "face",
    "gesicht",
    "mandib",
    "maxill",
    "dental",
    "zahn",
    "nasal",
    "sella",
    "rocher",
    "iac",
    "mittelgesicht",
    "mkg",
    "tmj",
];
/// Beginnings of words for other parts of the body.
const ELSEWHERE: &[&str] = &[
    "chest",
    "thora",
    "torax",
    "torac",
    "brust",
    "poitrine",
    "lung",
    "pulm",
    "poumon",
    "polmon",
    "abd",
    "bauch",
    "ventre",
    "becken",
    "pelv",
    "bacin",
    "bassin",
    "spine",
    "spinal",
    "cspine",
    "tspine",
    "lspine",
    "wirbel",
    "hws",
    "bws",
    "lws",
    "halswirbel",
    "cervic",
    "rachis",
    "colonn",
    "column",
    "lumb",
    "lombar",
    "neck",
    "hals",
    "cuello",
    "collo",
    "cou",
    "knee",
    "knie",
    "genou",
    "schulter",
    "shoulder",
    "epaule",
    "hip",
    "hufte",
    "huefte",
    "leg",
    "legs",
    "bein",
    "extremit",
    "foot",
    "fuss",
    "pied",
    "wrist",
    "ankle",
    "elbow",
    "femur",
    "heart",
    "herz",
    "cardi",
    "coronary",
    "aort",
    "liver",
    "leber",
    "foie",
    "kidney",
    "niere",
    "renal",
    "ganzkorper",
    "ganzkoerper",
    "wholebody",
    "larynx",
    "trachea",
    "esoph",
    "carotid",
    "carotis",
    "груд",
    "живот",
    "брюш",
    "шея",
    "шеи",
    "позвон",
    "легк",
    "таз",
];
/// Words that other words begin with, which count as a whole only.
const WHOLE: &[&str] = &["cou", "hip", "leg", "legs", "face", "iac", "nasal", "cct", "hals", "bein", "testa"];

/// Beginnings of words for contrast agent, and for examinations that need it.
const CONTRAST: &[&str] = &[
    "cta",
    "ctangio",
    "angio",
    "ctp",
    "perf",
    "contrast",
    "kontrast",
    "contraste",
    "mdc",
    "kmg",
    "km",
    "cect",
    "postcontrast",
    "postkm",
    "venous",
    "venos",
    "veineu",
    "arterial",
    "arteri",
    "delay",
    "bolus",
    "inject",
    "injekt",
    "iniett",
    "inyec",
    "enhanced",
    "gefass",
    "gefaess",
    "vessel",
    "vascul",
    "carotid",
    "carotis",
    "tdmc",
    "ctv",
    "venogr",
    "контраст",
    "ангио",
    "iomeron",
    "ultravist",
    "omnipaque",
    "visipaque",
    "isovue",
    "imeron",
    "iohexol",
    "iopamid",
    "iodixanol",
    "iopromid",
    "xenetix",
    "accupaque",
    "solutrast",
    "optiray",
    "iomeprol",
    "ioversol",
    "iobitridol",
];
/// Of these, words that count as a whole only.
const WHOLE_CONTRAST: &[&str] = &["cta", "ctp", "km", "ctv", "mdc", "kmg", "cect"];
/// Words for none.
const PLAIN: &[&str] = &[
    "plain",
    "nativ",
    "native",
    "nativa",
    "nativo",
    "natif",
    "unenhanced",
    "ncct",
    "nect",
    "noncontrast",
    "blanco",
    "basal",
    "basale",
    "simple",
    "spc",
    "precontrast",
    "noncon",
    "nonenhanced",
    "натив",
    "nonkm",
];
/// Words that take back the word for contrast agent behind them.
const WITHOUT: &[&str] =
    &["non", "no", "not", "without", "wo", "w/o", "ohne", "sans", "sin", "senza", "zonder", "uten", "utan", "sem", "pre", "без"];

/// Words that say that it was given as well, before or between those.
const WITH: &[&str] = &["w", "with", "mit", "avec", "con", "post", "and", "und", "et", "e", "y", "c"];

/// The part of the body that a text names; `None` where it names none.
pub fn region(text: &str) -> Option<Region> {
    let words = words(text);
    let says = |starts: &[&str]| {
        words.iter().any(|word| starts.iter().any(|&start| word == start || !WHOLE.contains(&start) && word.starts_with(start)))
    };
    let lower = text.to_lowercase();
    // Chinese and Japanese do not part words.
    let has = |characters: &[char]| lower.contains(characters);
    let head = says(HEAD) || has(&['頭', '头', '颅', '脑', '脳', '腦']);
    let part = says(PART);
    let whole_body = words.windows(2).any(|pair| pair[0] == "whole" && pair[1] == "body");
    let elsewhere = says(ELSEWHERE) || whole_body || has(&['胸', '腹', '颈', '頸', '肺', '椎', '盆']);
    match (head, part, elsewhere) {
        (false, false, false) => None,
        (true, false, false) => Some(Region::Head),
        (false, false, true) => Some(Region::Elsewhere),
        _ => Some(Region::Partly),
    }
}

/// What a text says about contrast agent; `None` where it says nothing.
pub fn contrast(text: &str) -> Option<Contrast> {
    // C+ and C-, KM+ and KM-, I+ and I- stand for with and without.
    let mut signs = [false; 2];
    let mut rest = String::new();
    for part in text.split(|c: char| c.is_whitespace() || matches!(c, '_' | ',' | ';' | '(' | ')')) {
        let name = fold(part);
        let stands = |sign| {
            let name = name.strip_suffix(sign).or_else(|| name.strip_prefix(sign));
            name.is_some_and(|name| ["c", "km", "i", "iv", "kontrast", "contrast"].contains(&name))
        };
        match (stands('-'), stands('+')) {
            (false, false) => rest += &format!("{part} "),
            (minus, plus) => signs = [signs[0] || minus, signs[1] || plus],
        }
    }
    let [mut plain, mut given] = signs;
    let mut words = words(&rest);
    // A word that takes it back stands before the word for contrast agent, or one word apart (without IV contrast).
    let mut n = 0;
    while n < words.len() {
        if WITHOUT.contains(&words[n].as_str()) {
            let next = (n + 1..words.len().min(n + 4)).find(|&next| is_contrast(&words[next]));
            // "w/wo contrast" and "with and without contrast" say both.
            let joins = |word: &String| WITH.contains(&word.as_str());
            if let Some(next) = next {
                plain = true;
                given |= n > 0 && joins(&words[n - 1]) || words[n + 1..next].iter().any(joins);
                words.drain(n..=next);
                continue;
            }
        }
        n += 1;
    }
    plain |= words.iter().any(|word| PLAIN.contains(&word.as_str()));
    given |= words.iter().any(|word| is_contrast(word));
    match (plain, given) {
        (false, false) => None,
        (true, false) => Some(Contrast::Plain),
        (true, true) => Some(Contrast::Both),
        (false, true) => Some(Contrast::Given),
    }
}

fn is_contrast(word: &str) -> bool {
    CONTRAST.iter().any(|&start| word == start || !WHOLE_CONTRAST.contains(&start) && word.starts_with(start))
        && !PLAIN.contains(&word)
}

/// Whether the value of ContrastBolusAgent names an agent in the vessels, not that there is none.
pub fn is_agent(text: &str) -> bool {
    let words = words(text);
    let nothing = [
        "no", "none", "not", "non", "nein", "kein", "keine", "keines", "without", "ohne", "sans", "sin", "senza", "0", "n", "na",
        "null", "nil",
    ];
    let oral = words.iter().any(|word| word == "oral" || word == "po") && !words.iter().any(|word| word == "iv");
    !words.is_empty() && !nothing.contains(&words[0].as_str()) && contrast(text) != Some(Contrast::Plain) && !oral
}

/// Whether a text tells of a picture whose values are no HU of a slice: projections, maps of perfusion, images computed for another energy.
pub fn is_computed(text: &str) -> bool {
    let exact = [
        "mip", "minip", "vrt", "vr", "vnc", "cbf", "cbv", "mtt", "ttp", "tmax", "ttd", "rcbf", "rcbv", "ssd", "rho", "mono",
        "dose", "3d",
    ];
    let starts = [
        "monoenerg",
        "iodine",
        "jodkarte",
        "iodmap",
        "volumerender",
        "penumbra",
        "bonesubtr",
        "subtract",
        "colormap",
        "virtualnon",
    ];
    // MinIP is one word, though a capital stands in it.
    let folded = fold(text);
    let unbroken = folded.split(|c: char| !c.is_alphanumeric()).map(String::from);
    words(text)
        .into_iter()
        .chain(unbroken)
        .any(|word| exact.contains(&word.as_str()) || starts.iter().any(|start| word.starts_with(start)))
}

/// Whether a text names bone or lung, for which kernels are sharp.
pub fn is_sharp(text: &str) -> bool {
    let starts = ["bone", "knochen", "hueso", "oseo", "osso", "osseu", "kost", "lung", "poumon", "polmon", "pulmon"];
    words(text).iter().any(|word| starts.iter().any(|start| word.starts_with(start)))
}

/// Lower case, without accents.
fn fold(text: &str) -> String {
    text.to_lowercase()
        .chars()
        .map(|c| match c {
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ą' => 'a',
            'è' | 'é' | 'ê' | 'ë' | 'ę' => 'e',
            'ì' | 'í' | 'î' | 'ï' => 'i',
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' => 'o',
            'ù' | 'ú' | 'û' | 'ü' => 'u',
            'ł' => 'l',
            'ç' => 'c',
            'ñ' => 'n',
            other => other,
        })
        .collect()
}

/// The words of a text in lower case, without accents; w/o stays one word. Where letters change to digits a new word begins, and where a capital follows a small letter.
fn words(text: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut small = 0;
    for c in text.chars() {
        // Not in cCT, the short word for a CT of the head.
        if small > 1 && c.is_uppercase() || c.is_numeric() && spaced.ends_with(char::is_alphabetic) {
            spaced.push(' ');
        }
        small = if c.is_lowercase() { small + 1 } else { 0 };
        spaced.push(c);
    }
    let folded = fold(&spaced).replace("w/o", "without").replace("w/wo", "with without");
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_named_in_several_languages() {
        for head in [
            "HEAD",
            "Head plain 6.0",
            "CT Schädel",
            "Kopf nativ",
            "CRÂNE SANS INJ",
            "Cabeza",
            "Neuro Routine",
            "頭部",
            "ГОЛОВА",
            "cCT",
            "BrainStandard",
        ] {
            assert_eq!(region(head), Some(Region::Head), "{head}");
        }
        for elsewhere in [
            "CHEST",
            "Thorax 5.0 B30f",
            "TÓRAX",
            "Abdomen/Becken",
            "C-SPINE",
            "HWS 1.0",
            "Neck CTA",
            "Whole Body",
            "WholeBody",
            "胸部",
            "CARDIAC",
            "Coronary",
            "Lunge",
            "Halswirbelsäule",
            "LSPINE",
        ] {
            assert_eq!(region(elsewhere), Some(Region::Elsewhere), "{elsewhere}");
        }
        for partly in ["HEADNECK", "Head and Neck", "Schädel/HWS", "SINUS", "Felsenbein", "Orbita"] {
            assert!(matches!(region(partly), Some(Region::Partly | Region::Head)), "{partly}: {:?}", region(partly));
        }
        for nothing in ["", "5.0 B30f", "AXIAL 5mm", "Coronal", "Recon 2", "STD+", "Routine"] {
            assert_eq!(region(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn bone_is_named_in_several_languages() {
        for text in ["Bone 1.0", "Kopf Knochen 1.0", "Crâne osseux", "HEAD BONE"] {
            assert!(is_sharp(text), "{text}");
        }
        for text in ["Brain 5.0", "Kopf nativ", "Base of skull"] {
            assert!(!is_sharp(text), "{text}");
        }
    }

    #[test]
    fn contrast_agent_is_told_from_none() {
        for given in [
            "CTA 1.5",
            "CTA1.5",
            "Angio Head",
            "CTP 4D",
            "Perfusion",
            "Head +C",
            "HEAD C+",
            "Kopf mit KM",
            "post contrast",
            "Venous 5.0",
            "delayed",
            "Schädel KM+",
            "with contrast",
            "CRANE I+",
            "Head with IV contrast",
        ] {
            assert_eq!(contrast(given), Some(Contrast::Given), "{given}");
        }
        for plain in [
            "Head plain 6.0",
            "Schädel nativ",
            "ohne KM",
            "HEAD W/O",
            "head w/o contrast",
            "without contrast",
            "Without IV contrast",
            "NCCT",
            "non contrast",
            "Non-Contrast",
            "Head C-",
            "sans injection",
            "sin contraste",
            "pre contrast",
            "Head WO CONTRAST",
            "CRANE I-",
            "KM-",
        ] {
            let expected = if plain == "HEAD W/O" { None } else { Some(Contrast::Plain) };
            assert_eq!(contrast(plain), expected, "{plain}");
        }
        for both in ["with and without contrast", "Head plain + CTA", "nativ und KM", "W/WO contrast"] {
            assert_eq!(contrast(both), Some(Contrast::Both), "{both}");
        }
        for nothing in ["", "Head 5.0", "C-Spine", "Axial", "H31s", "postop", "Cranial"] {
            assert_eq!(contrast(nothing), None, "{nothing}");
        }
        for agent in ["Iomeron 400", "APPLIED", "Ultravist 370 IV", "IV", "yes", "100 ml"] {
            assert!(is_agent(agent), "{agent}");
        }
        for none in ["", "NONE", "No contrast", "0", "without", "ohne KM", "ORAL", "Nativ", "N/A"] {
            assert!(!is_agent(none), "{none}");
        }
    }

    #[test]
    fn computed_images_are_known() {
        for text in ["MIP 10mm", "MinIP 10", "VNC Head", "AX MIP", "CBF", "Monoenergetic 50 keV", "MONO+ 40", "VRT", "Iodine map"]
        {
            assert!(is_computed(text), "{text}");
        }
        for text in ["Head 5.0", "MPR axial", "AXIAL", "MIPPE", "Monro"] {
            assert!(!is_computed(text), "{text}");
        }
    }
}
