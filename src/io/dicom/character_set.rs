//! Texts in the character sets of DICOM (PS3.3, C.12.1.1.2; PS3.5, 6.1), with the escape sequences of ISO 2022.

use encoding_rs::{
    EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7, ISO_8859_8,
    ISO_8859_15, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

/// What begins an escape sequence.
const ESCAPE: u8 = 0x1B;

/// The character sets that SpecificCharacterSet names.
#[derive(Clone, Debug, Default)]
pub struct CharacterSets {
    /// The set that is in force until an escape sequence changes it; `None` for ASCII alone.
    first: Option<&'static Encoding>,
    /// What bytes of 128 and more are read by where neither the first set nor an escape sequence says it.
    other: Option<&'static Encoding>,
    /// A term that is none of the standard's.
    unknown: Option<String>,
}

/// A text as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The text.
    pub text: String,
    /// Whether it is a text of the character sets that the file names; else it is read as UTF-8, or as Windows-1252, of which Latin-1 is a part.
    pub as_declared: bool,
}

impl CharacterSets {
    /// The sets that the values of SpecificCharacterSet name, in the spellings that files have (`ISO_IR 100`, `ISO-IR 100`, `ISO 2022 IR 100`, `LATIN1`).
    pub fn of(value: &str) -> CharacterSets {
        let mut sets = CharacterSets::default();
        for (n, term) in value.split('\\').enumerate() {
            let term = term.trim_matches(['\0', ' ']);
            match set(term) {
                Some(encoding) if n == 0 => sets.first = encoding,
                Some(encoding) => sets.other = sets.other.or(encoding),
                None => sets.unknown = Some(term.into()),
            }
        }
        sets
    }

    /// Decodes a value. `delimiters` are the characters behind which the first set is in force again: what separates values, and the parts of a name.
    pub fn decode(&self, bytes: &[u8], delimiters: &[u8]) -> Decoded {
        if bytes.iter().all(|&byte| byte < 128 && byte != ESCAPE) {
            return Decoded { text: bytes.iter().map(|&byte| char::from(byte)).collect(), as_declared: true };
        }
        let decoded = if self.unknown.is_some() && self.first.is_none() { None } else { self.with_escapes(bytes, delimiters) };
        match decoded {
            Some(text) => Decoded { text, as_declared: true },
            None => {
                let text = match std::str::from_utf8(bytes) {
                    Ok(text) => text.into(),
                    Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
                };
                Decoded { text, as_declared: false }
            }
        }
    }

    /// `None` where the bytes are no text of the sets.
    fn with_escapes(&self, bytes: &[u8], delimiters: &[u8]) -> Option<String> {
        let mut text = String::new();
        // What bytes below 128 stand for, and those of 128 and more (G0 and G1 of ISO 2022).
        let (mut low, mut high) = (Low::Ascii, self.first);
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if byte == ESCAPE {
                let (designated, after) = designation(rest)?;
                match designated {
                    Designated::Low(set) => low = set,
                    Designated::High(encoding) => high = Some(encoding),
                }
                rest = after;
                continue;
            }
            // In two bytes a character, a delimiter's code may be the half of one.
            if low != Low::Ascii && (0x21..0x7F).contains(&byte) {
                let [a, b] = if low == Low::Katakana { [byte, 0] } else { [byte, *rest.get(1)?] };
                let code = match low {
                    Low::Jis0212 => vec![0x8F, a | 0x80, b | 0x80],
                    Low::Katakana => vec![0x8E, a | 0x80],
                    _ => vec![a | 0x80, b | 0x80],
                };
                text += &exactly(EUC_JP, &code)?;
                rest = &rest[if low == Low::Katakana { 1 } else { 2 }..];
                continue;
            }
            let alone = low != Low::Ascii;
            let ends = |&byte: &u8| byte == ESCAPE || delimiters.contains(&byte) || (alone && (0x21..0x7F).contains(&byte));
            let length = rest.iter().position(ends).unwrap_or(rest.len());
            // The second byte of a character of GB 18030 or Shift JIS may be a delimiter's code: their texts are decoded whole.
            let whole = [Some(GB18030), Some(GBK), Some(SHIFT_JIS)].contains(&high.or(self.other)) && !bytes.contains(&ESCAPE);
            let length = if whole { rest.len() } else { length };
            let (run, after) = rest.split_at(length);
            if run.is_ascii() {
                text.extend(run.iter().map(|&byte| char::from(byte)));
            } else {
                text += &exactly(high.or(self.other)?, run)?;
            }
            rest = after;
            if let Some((&delimiter, after)) = rest.split_first().filter(|(byte, _)| **byte != ESCAPE && low == Low::Ascii) {
                text.push(delimiter.into());
                // Files that begin with ASCII often leave out to name the set again behind a delimiter.
                high = self.first.or(high);
                rest = after;
            }
        }
        Some(text)
    }
}

/// What bytes below 128 stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Low {
    /// ASCII, or the Roman part of JIS X 0201.
    Ascii,
    /// JIS X 0208: Kanji.
    Jis0208,
    /// JIS X 0212: more Kanji.
    Jis0212,
    /// The Katakana of JIS X 0201, in seven bits.
    Katakana,
}

enum Designated {
    Low(Low),
    High(&'static Encoding),
}

/// The set that an escape sequence names (PS3.3, tables C.12-3 and C.12-4), and what is behind it.
fn designation(bytes: &[u8]) -> Option<(Designated, &[u8])> {
    use Designated::{High, Low as G0};
    let sequences: [(&[u8], Designated); 22] = [
        (b"(B", G0(Low::Ascii)),
        (b"(J", G0(Low::Ascii)),
        (b"(I", G0(Low::Katakana)),
        (b")I", High(SHIFT_JIS)),
        (b"$@", G0(Low::Jis0208)),
        (b"$B", G0(Low::Jis0208)),
        (b"$(B", G0(Low::Jis0208)),
        (b"$(D", G0(Low::Jis0212)),
        (b"$)C", High(EUC_KR)),
        (b"$)A", High(GBK)),
        (b"-A", High(WINDOWS_1252)),
        (b"-B", High(ISO_8859_2)),
        (b"-C", High(ISO_8859_3)),
        (b"-D", High(ISO_8859_4)),
        (b"-L", High(ISO_8859_5)),
        (b"-G", High(ISO_8859_6)),
        (b"-F", High(ISO_8859_7)),
        (b"-H", High(ISO_8859_8)),
        (b"-M", High(WINDOWS_1254)),
        (b"-T", High(WINDOWS_874)),
        (b"-b", High(ISO_8859_15)),
        (b"%G", High(UTF_8)),
    ];
    let behind = bytes.get(1..)?;
    sequences.into_iter().find_map(|(sequence, set)| Some((set, behind.strip_prefix(sequence)?)))
}

/// The text of bytes that are one in this encoding.
fn exactly(encoding: &'static Encoding, bytes: &[u8]) -> Option<String> {
    encoding.decode_without_bom_handling_and_without_replacement(bytes).map(String::from)
}

/// The set of a defined term: `Some(None)` for ASCII, `None` for a term that is not known. Sets of more than one byte need escape sequences in the standard; without
/// them files have what their platforms have: EUC-KR, GBK and Shift JIS.
fn set(term: &str) -> Option<Option<&'static Encoding>> {
    let letters: String = term.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let number = letters.rsplit_once("IR").map_or(letters.as_str(), |(_, number)| number);
    Some(match number {
        "" | "6" | "ASCII" | "USASCII" | "DEFAULT" | "NONE" => None,
        "100" | "LATIN1" | "ISO88591" | "88591" | "WINDOWS1252" => Some(WINDOWS_1252),
        "101" | "LATIN2" | "ISO88592" => Some(ISO_8859_2),
        "109" | "ISO88593" => Some(ISO_8859_3),
        "110" | "ISO88594" => Some(ISO_8859_4),
        "144" | "ISO88595" => Some(ISO_8859_5),
        "127" | "ISO88596" => Some(ISO_8859_6),
        "126" | "ISO88597" => Some(ISO_8859_7),
        "138" | "ISO88598" => Some(ISO_8859_8),
        "148" | "LATIN5" | "ISO88599" => Some(WINDOWS_1254),
        "203" | "ISO885915" => Some(ISO_8859_15),
        "166" => Some(WINDOWS_874),
        "13" | "87" | "159" | "SHIFTJIS" | "SJIS" => Some(SHIFT_JIS),
        "149" | "EUCKR" => Some(EUC_KR),
        "58" | "GBK" | "GB2312" => Some(GBK),
        "GB18030" => Some(GB18030),
        "192" | "UTF8" => Some(UTF_8),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(sets: &str, bytes: &[u8]) -> Decoded {
        CharacterSets::of(sets).decode(bytes, b"\\^=")
    }

    fn sound(text: &str) -> Decoded {
        Decoded { text: text.into(), as_declared: true }
    }

    /// The names of PS3.5, annexes H, I, J and K, and the sets of one byte.
    #[test]
    fn the_names_of_the_standard_are_decoded() {
        let yamada = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B";
        assert_eq!(decode("\\ISO 2022 IR 87", yamada), sound("Yamada^Tarou=山田^太郎=やまだ^たろう"));
        let katakana = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J";
        assert_eq!(decode("ISO 2022 IR 13\\ISO 2022 IR 87", katakana), sound("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"));
        let hong = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf";
        assert_eq!(decode("\\ISO 2022 IR 149", hong), sound("Hong^Gildong=洪^吉洞=홍^길동"));
        // The set is not named again behind a delimiter.
        let once = b"Hong^Gildong=\x1b$)C\xfb\xf3^\xd1\xce\xd4\xd7=\xc8\xab^\xb1\xe6\xb5\xbf";
        assert_eq!(decode("\\ISO 2022 IR 149", once), sound("Hong^Gildong=洪^吉洞=홍^길동"));
        assert_eq!(decode("ISO_IR 192", "Wang^XiaoDong=王^小东".as_bytes()), sound("Wang^XiaoDong=王^小东"));
        assert_eq!(decode("GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"), sound("Wang^XiaoDong=王^小东"));
        // The second byte of this character is that of a backslash.
        assert_eq!(decode("GBK", b"\x81\x5c\\a"), sound("乗\\a"));
        let zhang = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=";
        assert_eq!(decode("\\ISO 2022 IR 58", zhang), sound("Zhang^XiaoDong=张^小东="));
        for (set, bytes, text) in [
            ("ISO_IR 100", &b"Buc^J\xe9r\xf4me"[..], "Buc^Jérôme"),
            ("ISO 2022 IR 100", b"\xc4neas^R\xfcdiger", "Äneas^Rüdiger"),
            ("ISO_IR 101", b"Wa\xb3\xeasa", "Wałęsa"),
            ("ISO_IR 109", b"\xb6", "ĥ"),
            ("ISO_IR 110", b"\xe0", "ā"),
            ("ISO_IR 144", b"\xbb\xee\xda\x63\x65\xdc\xd1\x79\x70\xd3", "Люкceмбypг"),
            ("ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
            ("ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea", "قباني"),
            ("ISO_IR 138", b"\xf9\xf8\xe5\xef", "שרון"),
            ("ISO_IR 148", b"\xc7a\xf0lar", "Çağlar"),
            ("ISO_IR 166", b"\xb9\xd2", "นา"),
            ("ISO_IR 13", b"\xd4\xcf", "ﾔﾏ"),
            ("ISO_IR 203", b"\xa4", "€"),
        ] {
            assert_eq!(decode(set, bytes), sound(text), "{set}");
        }
        let two = b"Dionysios is \x1b-F\xc4\xe9\xef\xed^R\xfcdiger";
        assert_eq!(decode("ISO 2022 IR 100\\ISO 2022 IR 126", two), sound("Dionysios is Διον^Rüdiger"));
    }

    #[test]
    fn other_spellings_are_known_and_wrong_sets_are_told() {
        for set in ["ISO-IR 100", "ISO_IR_100", "ISO IR 100", "iso_ir 100 ", "LATIN1"] {
            assert_eq!(decode(set, b"J\xe9r\xf4me"), sound("Jérôme"), "{set}");
        }
        let guessed = |text: &str| Decoded { text: text.into(), as_declared: false };
        // None, a wrong one, one that is not known.
        assert_eq!(decode("", b"J\xe9r\xf4me"), guessed("Jérôme"));
        assert_eq!(decode("", "Jérôme".as_bytes()), guessed("Jérôme"));
        assert_eq!(decode("ISO_IR 192", b"J\xe9r\xf4me"), guessed("Jérôme"));
        assert_eq!(decode("KLINGON", "Jérôme".as_bytes()), guessed("Jérôme"));
        assert_eq!(decode("KLINGON", b"plain"), sound("plain"));
        // An escape sequence that is cut, or none.
        assert_eq!(decode("\\ISO 2022 IR 87", b"a\x1b$").text, "a\u{1b}$");
        assert_eq!(decode("\\ISO 2022 IR 87", b"\x1b$B;").text, "\u{1b}$B;");
        // The sets that files of one platform have without escape sequences.
        assert_eq!(decode("ISO 2022 IR 149", b"\xc8\xab^\xb1\xe6\xb5\xbf"), sound("홍^길동"));
        assert_eq!(decode("ISO 2022 IR 87", b"\x8e\x52\x93\x63"), sound("山田"));
    }

    /// The same two bytes are other characters in each of both sets.
    #[test]
    fn the_supplementary_set_of_japanese_is_not_the_first_one() {
        assert_eq!(decode("\\ISO 2022 IR 87", b"\x1b$B\x30\x21\x1b(B"), sound("亜"));
        assert_eq!(decode("\\ISO 2022 IR 159", b"\x1b$(D\x30\x21\x1b(B"), sound("丂"));
    }
}
