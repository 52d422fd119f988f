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
    /// It says both, as the name of a protocol of several series does, or what may mean it: "Brain post".
    Perhaps,
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
    "caput",
    "czaszk",
    "krani",
    "krany",
    "koponya",
    "hoved",
    "hode",
    "beyin",
    "kafa",
    "glava",
    "mozek",
    "mozk",
    "aivo",
    "kepala",
    "голов",
    "мозг",
    "череп",
    "глав",
    "εγκεφαλ",
    "κρανι",
    "κεφαλ",
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
    "addom",
    "rachid",
    "spalla",
    "ginocchio",
    "buik",
    "borst",
    "wervel",
    "bekken",
    "buk",
    "brost",
    "rygg",
    "nakke",
    "nek",
    "toraks",
    "gogus",
    "batin",
    "boyun",
    "akciger",
    "omurga",
    "servik",
    "lomber",
    "klatk",
    "brzuch",
    "miednic",
    "szyj",
    "kregos",
    "pluc",
    "brich",
    "hrudn",
    "pescoco",
    "coluna",
    "joelho",
    "rodilla",
    "hombro",
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
const WHOLE: &[&str] =
    &["cou", "hip", "leg", "legs", "face", "iac", "nasal", "cct", "hals", "bein", "testa", "hode", "nek", "buk"];

/// Beginnings of words for contrast agent, and for examinations that need it.
const CONTRAST: &[&str] = &[
    "cta",
    "ctangio",
    "angio",
    "ctp",
    "perf",
    "perfus",
    "perfuz",
    "inj",
    "contrast",
    "kontrast",
    "kontrasc",
    "kontraszt",
    "civ",
    "pdc",
    "mdc",
    "kmg",
    "km",
    "cect",
    "postcontrast",
    "postkm",
    "venous",
    "venos",
    "venoz",
    "veineu",
    "veneu",
    "zyln",
    "portal",
    "portale",
    "portaal",
    "portoven",
    "portalven",
    "wrotn",
    "arteri",
    "tetnicz",
    "anji",
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
    "артериальн",
    "веноз",
    "iopamir",
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
const WHOLE_CONTRAST: &[&str] =
    &["cta", "ctp", "km", "ctv", "mdc", "kmg", "cect", "perf", "inj", "civ", "pdc", "portal", "portale", "portaal"];
/// Words that begin as those do and name a disease, or that there is no agent.
const NO_CONTRAST: &[&str] = &["arteriti", "arteriit", "arterit", "arterioscl", "arteriosk", "arteriol"];
/// Words for a phase, and those that tell one of a scan with contrast agent beside them.
const PHASE: &[&str] = &["phase", "phasen", "fase", "fases", "faz", "faza", "fazi", "faze", "ph", "temps", "tempo", "tiempo"];
const OF_PHASE: &[&str] = &[
    "art",
    "ven",
    "pv",
    "early",
    "late",
    "fruh",
    "spat",
    "frueh",
    "spaet",
    "precoce",
    "tardif",
    "tardive",
    "tardia",
    "tardio",
    "vroege",
    "laat",
    "late",
    "wczesna",
    "pozna",
    "erken",
    "gec",
    "capillary",
    "equilibrium",
    "parenchym",
    "arterial",
];
/// Words for without and before that stand behind the word for contrast agent.
const WITHOUT_BEHIND: &[&str] = &["oncesi", "nelkul", "frei", "free", "negativ", "negative", "yok", "none", "nein", "no"];
/// Words in front of "contrast" that speak of how a picture looks.
const OF_PICTURE: &[&str] = &["low", "high", "hi", "lo", "optimum", "optimal", "optimized", "edge", "tissue"];
/// Words for none.
const PLAIN: &[&str] = &[
    "plain",
    "natif",
    "kontrastsiz",
    "okm",
    "ilacsiz",
    "kontrastlos",
    "kontrastfrei",
    "kontrastmittelfrei",
    "simples",
    "sincontraste",
    "semcontraste",
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
const WITHOUT: &[&str] = &[
    "non",
    "no",
    "not",
    "without",
    "wo",
    "ohne",
    "sans",
    "sin",
    "senza",
    "zonder",
    "uten",
    "utan",
    "uden",
    "sem",
    "bez",
    "pre",
    "pra",
    "prae",
    "vor",
    "voor",
    "avant",
    "antes",
    "before",
    "ss",
    "o",
    "przed",
    "fara",
    "ilman",
    "без",
    "до",
    "χωρισ",
];

/// Words that say that it was given as well, before or between those.
const WITH: &[&str] = &["w", "with", "mit", "avec", "con", "com", "met", "post", "and", "und", "et", "e", "y", "en", "c"];
/// Words behind "post" that do not say of what: parts of the body, planes, kernels. Others tell of an operation, an
/// accident or a place ("post op", "post fall", "post fossa").
const SAYS_NOTHING: &[&str] = &[
    "ax", "axial", "cor", "sag", "mpr", "std", "stnd", "soft", "thin", "thick", "recon", "mm", "head", "brain", "kopf", "crani",
    "craneo", "schadel", "standard", "routine", "hr", "hc", "j", "h", "b", "fc", "s", "f", "st", "c", "t", "tra",
];

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
            name.is_some_and(|name| ["c", "km", "i", "iv", "kontrast", "contrast", "mdc", "civ"].contains(&name))
        };
        // Sin or sem, and con or com contraste.
        let short = |letter: char| {
            let behind = name.strip_prefix(letter).and_then(|name| name.strip_prefix('/'));
            behind.is_some_and(|name| ["c", "cte", "contr", "ctte", "civ", "contraste", "mdc", "medio"].contains(&name))
        };
        if short('s') || short('c') {
            signs = [signs[0] || short('s'), signs[1] || short('c')];
            continue;
        }
        match (stands('-'), stands('+')) {
            (false, false) => rest += &format!("{part} "),
            (minus, plus) => signs = [signs[0] || minus, signs[1] || plus],
        }
    }
    let [mut plain, mut given] = signs;
    let mut words = words(&rest);
    // "2ND PHASE", "art. Phase", "faza tetnicza".
    let is_phase = |word: &String| PHASE.contains(&word.as_str());
    given |= words.windows(2).any(|pair| {
        let tells = |word: &String| OF_PHASE.contains(&word.as_str());
        is_phase(&pair[0]) && tells(&pair[1]) || tells(&pair[0]) && is_phase(&pair[1])
    });
    given |= words.windows(2).any(|pair| pair[0] == "post" && ["iv", "contr", "cm"].contains(&pair[1].as_str()));
    let perhaps = is_post(&words);
    // "Low contrast", "edge enhanced": how the picture looks.
    words = without_words_of_pictures(words);
    // A word that takes it back stands before the word for contrast agent, or one word apart (without IV contrast).
    let mut n = 0;
    while n < words.len() {
        if WITHOUT.contains(&words[n].as_str()) {
            let next = (n + 1..words.len().min(n + 4)).find(|&next| is_contrast(&words[next]));
            // "w/wo contrast" and "with and without contrast" say both.
            let joins = |word: &String| WITH.contains(&word.as_str());
            if let Some(next) = next {
                plain = true;
                // Polish: "z i bez kontrastu".
                let both = n > 1 && words[n - 1] == "i" && words[n - 2] == "z";
                given |= both || n > 0 && joins(&words[n - 1]) || words[n + 1..next].iter().any(joins);
                words.drain(n..=next);
                continue;
            }
        }
        n += 1;
    }
    // "Kontrast oncesi", "KM frei".
    while let Some(at) = words.windows(2).position(|pair| is_contrast(&pair[0]) && WITHOUT_BEHIND.contains(&pair[1].as_str())) {
        plain = true;
        words.drain(at..at + 2);
    }
    // Chinese, Japanese and Korean do not part words: plain (the longer words first), then contrast agent.
    let mut joined = text.to_lowercase();
    for word in ["非造影", "비조영", "平扫", "平掃", "単純", "单纯"] {
        plain |= joined.contains(word);
        joined = joined.replace(word, " ");
    }
    given |= ["增强", "增強", "造影", "조영"].iter().any(|word| joined.contains(word));
    plain |= words.iter().any(|word| is_plain(word));
    given |= words.iter().any(|word| is_contrast(word));
    match (plain, given) {
        (false, false) => perhaps.then_some(Contrast::Perhaps),
        (true, false) => Some(Contrast::Plain),
        (true, true) => Some(Contrast::Perhaps),
        (false, true) => Some(Contrast::Given),
    }
}

/// Whether a text says "post" of nothing: "Brain post", "Head post 5.0", and not "post op", "post fossa", "post trauma".
/// Of contrast agent it may mean so.
fn is_post(words: &[String]) -> bool {
    let Some(at) = words.iter().position(|word| word == "post") else { return false };
    words[at + 1..].iter().all(|word| {
        let letters: String = word.chars().filter(|c| !c.is_numeric()).collect();
        letters.is_empty() || SAYS_NOTHING.contains(&letters.as_str())
    })
}

/// The words without those that tell how a picture looks, and only seem to tell of contrast agent.
fn without_words_of_pictures(words: Vec<String>) -> Vec<String> {
    let of_picture = |n: usize| {
        let before = n.checked_sub(1).map(|n| words[n].as_str());
        before.is_some_and(|before| OF_PICTURE.contains(&before)) && ["contrast", "enhanced"].contains(&words[n].as_str())
    };
    (0..words.len()).filter(|&n| !of_picture(n)).map(|n| words[n].clone()).collect()
}

/// Whether a word says that no contrast agent was given.
fn is_plain(word: &str) -> bool {
    PLAIN.contains(&word) || ["nativ", "natyw", "natiiv"].iter().any(|start| word.starts_with(start))
}

fn is_contrast(word: &str) -> bool {
    CONTRAST.iter().any(|&start| word == start || !WHOLE_CONTRAST.contains(&start) && word.starts_with(start))
        && !is_plain(word)
        && !NO_CONTRAST.iter().any(|start| word.starts_with(start))
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
/// Those that are nearly as usual ([`other_energy`]) are none.
pub fn is_computed(text: &str) -> bool {
    let exact = [
        "mip", "minip", "vrt", "vr", "vnc", "cbf", "cbv", "mtt", "ttp", "tmax", "ttd", "rcbf", "rcbv", "ssd", "rho", "dose",
        "3d", "vnca", "sbi", "zeff", "pbv", "sanal", "edens",
    ];
    let parts = parts(text);
    let energies = kev(&parts);
    if energies.iter().any(|energy| !USUAL_KEV.contains(energy)) {
        return true;
    }
    // Without its energy it may be any.
    if energies.is_empty()
        && parts.iter().any(|word| word == "mono" || word.starts_with("monoe") || word.starts_with("monochrom"))
    {
        return true;
    }
    // "Iodine", and not "no iodine" or "iodine contrast".
    let iodine = |n: usize| {
        let [before, after] = [n.checked_sub(1), Some(n + 1)].map(|n| n.and_then(|n| parts.get(n)));
        parts[n] == "iodine"
            && !before.is_some_and(|word| WITHOUT.contains(&word.as_str()))
            && !after.is_some_and(|word| word.starts_with("contrast"))
    };
    if (0..parts.len()).any(iodine) {
        return true;
    }
    // A map of iodine, and not "sans iode".
    let starts = |starts: &[&str]| parts.iter().any(|word| starts.iter().any(|start| word.starts_with(start)));
    if starts(&["iod", "jod", "yod", "iyot"])
        && starts(&["map", "mapp", "kart", "cart", "kaart", "densi", "dicht", "harita", "overlay", "water"])
    {
        return true;
    }
    let pair = |first: &str, second: &str| parts.windows(2).any(|pair| pair[0] == first && pair[1] == second);
    if pair("z", "eff")
        || pair("eff", "z")
        || pair("effective", "z")
        || pair("electron", "density")
        || pair("effective", "atomic")
    {
        return true;
    }
    let starts =
        ["jodkarte", "iodmap", "volumerender", "penumbra", "bonesubtr", "subtract", "colormap", "virtual", "virtuel", "wirtual"];
    // MinIP is one word, though a capital stands in it.
    let folded = fold(text);
    let unbroken = folded.split(|c: char| !c.is_alphanumeric()).map(String::from);
    words(text)
        .into_iter()
        .chain(unbroken)
        .any(|word| exact.contains(&word.as_str()) || starts.iter().any(|start| word.starts_with(start)))
}

/// Energies in keV of computed images that look as usual ones: those of a tube voltage of 120 kV.
const USUAL_KEV: std::ops::RangeInclusive<u32> = 60..=80;
/// Tube voltages in kV that are usual for heads.
const USUAL_KV: std::ops::RangeInclusive<u32> = 110..=130;

/// How far a text tells of a picture at another energy than the usual one, of two that are taken at once: 0 not at all,
/// 1 a blend of both ("mixed", "M_0.6"), 2 one of the two ("80kV", "Sn150kV"), or one that is computed for 60 to 80 keV. A
/// plain head of a single voltage may be called so too, so this decides late.
pub fn other_energy(text: &str) -> u8 {
    let parts = parts(text);
    let voltages = [energies(&parts, "kv"), energies(&parts, "kvp")].concat();
    let voltage = voltages.iter().any(|kv| (60..=150).contains(kv) && !USUAL_KV.contains(kv));
    let pair = |first: &str, second: &str| parts.windows(2).any(|pair| pair[0] == first && pair[1] == second);
    let low = ["kv", "kvp", "energy", "energie"].iter().any(|unit| pair("low", unit) || pair("high", unit));
    let low = low || parts.iter().any(|part| ["lowkv", "highkv"].contains(&part.as_str()));
    // VMI without its energy: a photon-counting scanner's own images may be called so.
    let usual = kev(&parts).iter().any(|kev| USUAL_KEV.contains(kev)) || parts.iter().any(|part| part == "vmi");
    // M_0.6 is 60% of the lower voltage; F_0.5 the same of other software.
    let share = |three: &[char]| matches!(three, ['m' | 'f', '_', '0', '.' | ',', digit] if digit.is_ascii_digit());
    let letters: Vec<char> = fold(text).chars().collect();
    let begins = |n: usize| n == 0 || !letters[n - 1].is_alphanumeric();
    let blend = letters.windows(5).enumerate().any(|(n, five)| share(five) && begins(n))
        || parts.iter().any(|part| ["mixed", "blended", "blend", "gemischt", "mischbild"].contains(&part.as_str()));
    match (voltage || low || usual, blend) {
        (_, true) => 1,
        (true, false) => 2,
        (false, false) => 0,
    }
}

/// The numbers in front of a unit.
fn energies(parts: &[String], unit: &str) -> Vec<u32> {
    parts.windows(2).filter(|pair| pair[1] == unit).filter_map(|pair| pair[0].parse().ok()).collect()
}

/// The energies in keV of images computed for one: by their unit, or behind the word for such images ("MONO+ 40").
fn kev(parts: &[String]) -> Vec<u32> {
    let is_mono = |word: &str| ["mono", "vmi"].contains(&word) || word.starts_with("monoe") || word.starts_with("monochrom");
    let behind = parts.windows(2).filter(|pair| is_mono(&pair[0])).filter_map(|pair| pair[1].parse().ok());
    // Other numbers are a thickness or that of a kernel.
    let behind = behind.filter(|number| (40..=200).contains(number));
    energies(parts, "kev").into_iter().chain(behind).collect()
}

/// The runs of letters and of digits of a text in lower case, without accents.
fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut last = ' ';
    for c in fold(text).chars() {
        let goes_on = last.is_alphabetic() && c.is_alphabetic() || last.is_numeric() && c.is_numeric();
        match parts.last_mut() {
            Some(part) if goes_on => part.push(c),
            _ if c.is_alphanumeric() => parts.push(c.into()),
            _ => {}
        }
        last = c;
    }
    parts
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
        // Accents may be characters of their own.
        .filter(|c| !('\u{300}'..='\u{36f}').contains(c))
        .map(|c| match c {
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ą' | 'ă' => 'a',
            'ά' => 'α',
            'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' | 'ė' => 'e',
            'ì' | 'í' | 'î' | 'ï' | 'ı' => 'i',
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ő' => 'o',
            'ù' | 'ú' | 'û' | 'ü' | 'ů' | 'ű' => 'u',
            'ł' => 'l',
            'ç' | 'ć' | 'č' => 'c',
            'ñ' | 'ń' | 'ň' => 'n',
            'ş' | 'ś' | 'š' | 'ș' => 's',
            'ź' | 'ż' | 'ž' => 'z',
            'ğ' => 'g',
            'ř' => 'r',
            'ý' => 'y',
            'ť' | 'ț' | 'ţ' => 't',
            'έ' => 'ε',
            'ή' => 'η',
            'ί' => 'ι',
            'ό' => 'ο',
            'ύ' => 'υ',
            'ώ' => 'ω',
            'ς' => 'σ',
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
    let folded = fold(&spaced).replace("w/wo", "with without").replace("w/o", "without");
    let folded = folded.replace("m.d.c", "mdc").replace("k.m.", "km ").replace("i.v.", "iv ");
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
            assert_eq!(contrast(both), Some(Contrast::Perhaps), "{both}");
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
    fn words_of_hospitals_all_over_the_world_tell_of_contrast_agent() {
        for given in [
            "art. Phase 1.0",
            "Kopf arteriell",
            "Kopf arterielle Phase",
            "portalvenös",
            "portal-venöse Phase",
            "Spätphase KM",
            "Schädel nach KM",
            "ven. Phase",
            "Temps artériel",
            "temps veineux",
            "CRANE AVEC INJECTION",
            "Crâne avec inj",
            "avec PDC",
            "phase portale",
            "fase arterial",
            "Fase venosa",
            "craneo con contraste",
            "TC CRANEO C/C",
            "CEREBRO C/CONTRASTE",
            "fase arteriosa",
            "Fase portale",
            "encefalo con mdc",
            "encefalo con m.d.c.",
            "mit K.M.",
            "arteriële fase",
            "veneuze fase",
            "portoveneuze fase",
            "Hersenen met contrast",
            "faza tętnicza",
            "faza żylna",
            "Głowa z kontrastem",
            "głowa po kontraście",
            "arteriyel faz",
            "Venöz faz",
            "Beyin kontrastlı",
            "kontrast sonrası",
            "BT anjiyo",
            "Perfüzyon",
            "CRANIO COM CONTRASTE",
            "fase tardia",
            "2 art Phase",
            "Late phase",
            "HEAD POST IV",
            "Brain post contrast",
            "post KM",
            "артериальная фаза",
            "头颅增强",
            "頭部造影",
            "두부 조영",
            "scha\u{308}del mit Kontrastmittel",
        ] {
            assert_eq!(contrast(given), Some(Contrast::Given), "{given}");
        }
        for plain in [
            "CRANE SANS INJ",
            "sans PDC",
            "TC CRANEO S/C",
            "CEREBRO S/CONTRASTE",
            "cranio sem contraste",
            "Cabeça sem contraste iodado",
            "encefalo senza mdc",
            "senza mezzo di contrasto",
            "Hersenen zonder contrast",
            "hersenen blanco",
            "Głowa bez kontrastu",
            "Beyin kontrastsız",
            "kontrast öncesi",
            "Hlava nativně",
            "Schädel vor KM",
            "KM frei",
            "o.KM",
            "Kopf o. KM",
            "oKM",
            "CRANE SS INJECTION",
            "Contrast: none",
            "senza m.d.c.",
            "avant injection",
            "caput uden kontrast",
            "CT caput utan kontrast",
            "头颅平扫",
            "頭部単純",
            "頭部 非造影",
            "головной мозг без контраста",
        ] {
            assert_eq!(contrast(plain), Some(Contrast::Plain), "{plain}");
        }
        // After what is not said: an operation, a fall or contrast agent.
        for perhaps in ["Brain post", "HEAD POST 5.0", "post", "Head Post Ax 5mm", "z i bez kontrastu", "met en zonder contrast"]
        {
            assert_eq!(contrast(perhaps), Some(Contrast::Perhaps), "{perhaps}");
        }
        for nothing in [
            "post op",
            "Kopf post OP",
            "Head postop",
            "post fossa 3mm",
            "Posterior fossa",
            "post trauma",
            "Brain post fall",
            "POST TPA HEAD",
            "post thrombectomy",
            "Poststroke",
            "Portable head",
            "Arteriitis",
            "artérite",
            "Arteriosklerose",
            "smart Head",
            "Head art",
            "party phase",
            "high contrast brain",
            "Optimum Contrast",
            "Edge enhanced",
            "Head perforation",
            "Ventrikel",
            "Kopf Phase 1",
            "Head I",
            "injury",
            "CT caput",
            "Kafa BT",
            "Beyin BT",
        ] {
            assert_eq!(contrast(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn regions_are_named_in_more_languages() {
        for head in [
            "CT caput",
            "Beyin BT",
            "Kafa",
            "TK mozku",
            "Kraniyal BT",
            "Czaszka",
            "Hlava",
            "Koponya",
            "Glava",
            "Hode",
            "TC ENCEFALO",
        ] {
            assert_eq!(region(head), Some(Region::Head), "{head}");
        }
        for elsewhere in
            ["Addome", "Göğüs", "Batın", "Boyun", "Klatka piersiowa", "brzuch", "Buik", "Coluna", "Břicho", "kręgosłup"]
        {
            assert_eq!(region(elsewhere), Some(Region::Elsewhere), "{elsewhere}");
        }
        for nothing in ["Kranzgefässe", "Nektar", "buks", "Hodentorsion"] {
            assert_ne!(region(nothing), Some(Region::Head), "{nothing}");
        }
    }

    #[test]
    fn other_energies_are_known() {
        for (text, rank) in [
            ("Head 5.0", 0),
            ("Kopf 120kV", 0),
            ("Head 130 kV", 0),
            ("Head 0.6 mm", 0),
            ("M 0.6 J40", 0),
            ("DE mixed", 1),
            ("DE_Head M_0.6", 1),
            ("Head F_0.5", 1),
            ("80kV", 2),
            ("Sn150kV", 2),
            ("DE_Head_A_80kV_Qr40", 2),
            ("Head B Sn140 kV", 2),
            ("100 kVp", 2),
            ("VMI 70 keV", 2),
            ("VMI", 2),
            ("VMI 0.4 Qr40", 2),
            ("Mono+ 70", 2),
            ("Monoenergetic 65keV", 2),
            ("Head low kV", 2),
        ] {
            assert_eq!((other_energy(text), is_computed(text)), (rank, false), "{text}");
        }
        for text in [
            "VMI 40 keV",
            "VMI 0.4 Qr40 55keV",
            "VMI 190",
            "monoenergetic 40 keV",
            "Monoenergetisch 100keV",
            "monoénergétique",
            "MonoE 190",
            "Monochromatic 50 keV",
            "Iodine map",
            "Iodine",
            "IODINE (WATER)",
            "Iodine no water",
            "Jodkarte",
            "Cartographie iode",
            "mapa de yodo",
            "mappa di iodio",
            "iyot haritası",
            "Virtual non contrast",
            "virtuell nativ",
            "Virtuel sans contraste",
            "VNC",
            "VNCa",
            "Z eff",
            "Zeff",
            "Electron density",
        ] {
            assert!(is_computed(text), "{text}");
        }
        for text in [
            "Head without iodine contrast",
            "Crâne sans iode",
            "Cabeça sem contraste iodado",
            "Head no iodine",
            "Monro",
            "Crâne, vue axiale",
            "Kevin",
            "Head 5.0",
        ] {
            assert!(!is_computed(text), "{text}");
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

    #[test]
    fn pictures_of_two_energies_are_told_from_words_that_look_like_theirs() {
        for (text, expected) in [
            ("M_0.6", 1),
            ("Head M_0.6", 1),
            ("F_0,5 Head", 1),
            ("RAM_0.6", 0),
            ("Head M_1.6", 0),
            ("low kV", 2),
            ("high energy", 2),
            ("low dose", 0),
            ("high resolution", 0),
            ("80kV", 2),
            ("120kV", 0),
        ] {
            assert_eq!(other_energy(text), expected, "{text}");
        }
    }

    #[test]
    fn words_that_only_capitals_part_are_words() {
        assert_eq!(words("HeadCTA"), ["head", "cta"]);
        assert_eq!(words("cCT"), ["cct"]);
        assert_eq!(contrast("KopfCTA"), Some(Contrast::Given));
    }

    #[test]
    fn iodine_is_a_map_unless_it_is_the_contrast_agent() {
        for (text, expected) in
            [("Iodine", true), ("Head iodine 5.0", true), ("iodine contrast", false), ("no iodine", false), ("iodine map", true)]
        {
            assert_eq!(is_computed(text), expected, "{text}");
        }
    }
}
