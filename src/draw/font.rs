//! Letters for pictures: Noto Sans Mono, whose letters are all of one width.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// A size of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Of texts: capitals of 9 pixels.
    Small,
    /// Twice as large.
    Large,
}

impl Size {
    const fn raster(self) -> RasterHeight {
        match self {
            Size::Small => RasterHeight::Size16,
            Size::Large => RasterHeight::Size32,
        }
    }

    /// Width of a letter in pixels, with what is free beside it.
    pub const fn width(self) -> usize {
        get_raster_width(FontWeight::Regular, self.raster())
    }

    /// Height of a letter in pixels, with what is free above and below it.
    pub const fn height(self) -> usize {
        self.raster().val()
    }

    /// Rows of pixels above the baseline.
    pub const fn above_baseline(self) -> usize {
        match self {
            Size::Small => 13,
            Size::Large => 25,
        }
    }
}

/// The pixels of a line of text that are not free: place, counted from its upper left corner to the right and down, and how much of
/// the pixel the letter covers (255: all of it). A character that the font lacks is drawn as `?`.
pub fn pixels(text: &str, size: Size) -> impl Iterator<Item = ([usize; 2], u8)> {
    let letter = move |character| get_raster(character, FontWeight::Regular, size.raster());
    text.chars().enumerate().flat_map(move |(place, character)| {
        let rows = letter(character).or_else(|| letter('?')).into_iter().flat_map(|raster| raster.rows()).enumerate();
        let pixels = rows.flat_map(|(y, row)| row.iter().enumerate().map(move |(x, &share)| ([x, y], share)));
        pixels.filter(|&(_, share)| share > 0).map(move |([x, y], share)| ([size.width() * place + x, y], share))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a text, `#` where a letter covers most of a pixel.
    fn picture(text: &str, size: Size) -> Vec<String> {
        let mut rows = vec![vec![' '; size.width() * text.chars().count()]; size.height()];
        pixels(text, size).filter(|&(_, share)| share > 127).for_each(|([x, y], _)| rows[y][x] = '#');
        rows.into_iter().map(String::from_iter).collect()
    }

    #[test]
    fn letters_stand_upright_one_after_the_other() {
        for size in [Size::Small, Size::Large] {
            // An L has its stem at the left and its foot on the baseline; the rows below are free.
            let l = picture("L", size);
            let (above, below) = l.split_at(size.above_baseline());
            let inked = |row: &String| row.matches('#').count();
            assert!(inked(&above[above.len() - 1]) > inked(&above[above.len() / 2]), "{l:#?}");
            assert!(above[above.len() / 2][..size.width() / 2].contains('#'), "{l:#?}");
            assert!(below.iter().all(|row| inked(row) == 0), "{l:#?}");
            let two = picture("L7", size);
            assert!(two.iter().zip(&l).all(|(two, l)| two[..size.width()] == *l), "{two:#?}");
            assert!(two.iter().any(|two| two[size.width()..].contains('#')), "{two:#?}");
        }
    }

    #[test]
    fn names_have_their_accents_and_what_the_font_lacks_is_a_question_mark() {
        assert_eq!(picture("\u{1f600}", Size::Small), picture("?", Size::Small));
        for accented in ["\u{e9}", "\u{df}", "\u{142}"] {
            assert_ne!(picture(accented, Size::Small), picture("?", Size::Small), "{accented}");
        }
    }
}
