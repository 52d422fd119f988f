//! Tables as spreadsheets save them: separated by semicolons with decimal commas where a comma is the decimal point,
//! with a byte order mark, in other encodings.

use std::borrow::Cow;

/// The text of a table as plain CSV: UTF-8, commas between cells, points in numbers, no byte order mark.
///
/// Cells may be separated by commas, semicolons or tabs: by whichever the first line has most of, or by what a first
/// line `sep=;` says. Between semicolons or tabs, a cell that is a number with a decimal comma (`12,5`, `1.234,5`) gets
/// a point. Text that is neither UTF-8 nor UTF-16 with a byte order mark is taken for Latin-1.
pub fn as_csv(bytes: &[u8]) -> Cow<'_, [u8]> {
    let text = decoded(bytes);
    let (separator, rest) = separator(&text);
    if separator == b',' {
        return match text {
            Cow::Borrowed(_) => Cow::Borrowed(&bytes[bytes.len() - rest.len()..]),
            Cow::Owned(_) => Cow::Owned(rest.as_bytes().to_vec()),
        };
    }
    // Rows of another length stay so: whoever reads the table says what is wrong with them.
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).has_headers(false).flexible(true).from_reader(rest.as_bytes());
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in reader.records().map_while(Result::ok) {
        let cells = row.iter().map(|cell| with_point(cell).unwrap_or_else(|| cell.into()));
        // Writing to memory does not fail.
        let _ = writer.write_record(cells.collect::<Vec<String>>());
    }
    Cow::Owned(writer.into_inner().unwrap_or_default())
}

fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    let wide = |from: fn([u8; 2]) -> u16, bytes: &[u8]| {
        String::from_utf16_lossy(&bytes.chunks_exact(2).map(|pair| from([pair[0], pair[1]])).collect::<Vec<u16>>())
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(wide(u16::from_le_bytes, rest)),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(wide(u16::from_be_bytes, rest)),
        _ => {
            let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
            match std::str::from_utf8(text) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => Cow::Owned(text.iter().map(|&byte| char::from(byte)).collect()),
            }
        }
    }
}

/// What separates the cells, and the text without a line that says so.
fn separator(text: &str) -> (u8, &str) {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if let [separator @ (b',' | b';' | b'\t')] = first.trim_end_matches('\r').strip_prefix("sep=").unwrap_or_default().as_bytes()
    {
        let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
        return (*separator, rest);
    }
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in first.bytes() {
        quoted ^= byte == b'"';
        counts.iter_mut().filter(|(separator, _)| !quoted && *separator == byte).for_each(|(_, count)| *count += 1);
    }
    // The first of those with the same count.
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    (most.map_or(b',', |(separator, _)| separator), text)
}

/// A number with a decimal comma as one with a point; `None` for any other text.
fn with_point(cell: &str) -> Option<String> {
    let (whole, part) = cell.trim().split_once(',')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (fraction, exponent) = part.find(['e', 'E']).map_or((part, ""), |at| part.split_at(at));
    let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let mut groups = unsigned.split('.');
    let first = groups.next().is_some_and(|first| digits(first) && (first.len() <= 3 || first == unsigned));
    let grouped = groups.all(|group| digits(group) && group.len() == 3);
    let exponent_is_right = exponent.is_empty() || digits(exponent[1..].strip_prefix(['-', '+']).unwrap_or(&exponent[1..]));
    (first && grouped && digits(fraction) && exponent_is_right)
        .then(|| format!("{}.{fraction}{exponent}", whole.replace('.', "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8]) -> String {
        String::from_utf8(as_csv(bytes).into_owned()).unwrap()
    }

    #[test]
    fn a_table_of_a_german_spreadsheet_is_plain_csv() {
        let text = "\u{feff}name;manual;volume_ml\r\nM\u{fc}ller;\"a;b, c.nii\";12,5\r\nx;y.nii;1.234,5\r\n;;\r\n";
        let expected = "name,manual,volume_ml\nM\u{fc}ller,\"a;b, c.nii\",12.5\nx,y.nii,1234.5\n,,\n";
        assert_eq!(plain(text.as_bytes()), expected);
        let latin: Vec<u8> = text.chars().skip(1).map(|c| c as u8).collect();
        assert_eq!(plain(&latin), expected);
        let wide: Vec<u8> = text.replace(';', "\t").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(plain(&wide).lines().next(), Some("name,manual,volume_ml"));
        assert_eq!(plain(format!("sep=;\r\n{}", &text[3..]).as_bytes()), expected);
    }

    #[test]
    fn plain_csv_stays_as_it_is() {
        for text in ["name,manual\n\"a;b\",\"12,5\"\n", "name\na\n", "", "\"a;b;c\",d\n"] {
            assert_eq!(plain(text.as_bytes()), text);
        }
        assert_eq!(plain(b"\xef\xbb\xbfname,manual\r\n"), "name,manual\r\n");
    }

    #[test]
    fn only_numbers_get_a_point() {
        for (cell, number) in [("-0,25", "-0.25"), ("1,5e-3", "1.5e-3"), ("1.234.567,8", "1234567.8"), ("1234,5", "1234.5")] {
            assert_eq!(with_point(cell).as_deref(), Some(number), "{cell}");
        }
        for cell in ["a,5", "1,2,3", "1,", ",5", "12", "1.2,5", "1,5e", "1234.567,8", "scan,1"] {
            assert_eq!(with_point(cell), None, "{cell}");
        }
    }
}
