//! Letters for pictures.

use font8x8::UnicodeFonts;

/// Side of a letter's square in pixels.
pub const LETTER: usize = 8;
/// Rows of a letter's square above its baseline.
pub const ABOVE_BASELINE: usize = 7;

/// The pixels of a line of text, counted from its upper left corner to the right and down. A character that the font lacks is drawn as `?`.
pub fn pixels(text: &str) -> impl Iterator<Item = [usize; 2]> {
    text.chars().enumerate().flat_map(|(place, character)| {
        let known = font8x8::BASIC_FONTS.get(character).or_else(|| font8x8::LATIN_FONTS.get(character));
        let glyph = known.or_else(|| font8x8::BASIC_FONTS.get('?')).unwrap_or_default();
        let square = (0..LETTER).flat_map(|row| (0..LETTER).map(move |column| [column, row]));
        let inked = square.filter(move |&[column, row]| glyph[row] >> column & 1 == 1);
        inked.map(move |[column, row]| [LETTER * place + column, row])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_upright_one_after_the_other() {
        let picture = |text: &str| {
            let mut rows = vec![vec![' '; LETTER * text.chars().count()]; LETTER];
            pixels(text).for_each(|[x, y]| rows[y][x] = '#');
            rows.into_iter().map(String::from_iter).collect::<Vec<String>>()
        };
        // An L has its stem at the left and its foot on the baseline; the row below is free.
        let l = picture("L");
        assert!(l[..ABOVE_BASELINE].iter().all(|row| row[..4].contains('#')), "{l:#?}");
        assert!(
            l[ABOVE_BASELINE - 1].matches('#').count() > l[2].matches('#').count() && !l[ABOVE_BASELINE].contains('#'),
            "{l:#?}"
        );
        let two = picture("L7");
        assert!(two.iter().zip(l).all(|(two, l)| two[..LETTER] == l), "{two:#?}");
        assert_eq!(picture("\u{1f600}"), picture("?"), "what the font lacks");
        assert_ne!(picture("\u{e9}"), picture("?"), "e with an accent, as in names");
    }
}
