//! Pictures of a few colours: lines, rectangles and letters on a canvas that becomes a PNG.

use super::font::{self, Size};

/// A colour of a canvas: its number in the palette.
pub type Colour = u8;

/// A picture whose pixels are numbers of colours. What is drawn beyond its edges is left out.
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
    palette: Vec<[u8; 3]>,
}

impl Canvas {
    /// A canvas filled with colour 0 of `palette` (at most 256 colours, RGB).
    pub fn new(width: usize, height: usize, palette: Vec<[u8; 3]>) -> Self {
        Canvas { width, height, pixels: vec![0; width * height], palette }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One pixel: `x` from the left, `y` from the top.
    pub fn set(&mut self, [x, y]: [usize; 2], colour: Colour) {
        if x < self.width && y < self.height {
            self.pixels[y * self.width + x] = colour;
        }
    }

    /// A straight line between two pixels.
    pub fn line(&mut self, from: [usize; 2], to: [usize; 2], colour: Colour) {
        let steps = from[0].abs_diff(to[0]).max(from[1].abs_diff(to[1])).max(1);
        for step in 0..=steps {
            let at = |axis: usize| {
                let share = step as f64 / steps as f64;
                (from[axis] as f64 + share * (to[axis] as f64 - from[axis] as f64)).round() as usize
            };
            self.set([at(0), at(1)], colour);
        }
    }

    /// A filled rectangle of `size` pixels whose upper left corner is `from`.
    pub fn fill(&mut self, from: [usize; 2], size: [usize; 2], colour: Colour) {
        for y in from[1]..from[1] + size[1] {
            (from[0]..from[0] + size[0]).for_each(|x| self.set([x, y], colour));
        }
    }

    /// Text whose upper left corner is `at`. A character that the font lacks is drawn as `?`.
    pub fn text(&mut self, at: [usize; 2], size: Size, text: &str, colour: Colour) {
        for ([x, y], share) in font::pixels(text, size) {
            self.mix([at[0] + x, at[1] + y], colour, share);
        }
    }

    /// Mixes a colour into a pixel, by a share of 255.
    fn mix(&mut self, [x, y]: [usize; 2], colour: Colour, share: u8) {
        if x >= self.width || y >= self.height {
            return;
        }
        let [under, over] = [self.pixels[y * self.width + x], colour].map(|colour| self.palette[usize::from(colour)]);
        let mixed = if share == u8::MAX { colour } else { self.near(mixed(under, over, share)) };
        self.pixels[y * self.width + x] = mixed;
    }

    /// The number of a colour: it is added to the palette while there is room, then the nearest one is taken.
    fn near(&mut self, wanted: [u8; 3]) -> Colour {
        let distance = |colour: &[u8; 3]| (0..3).map(|n| u32::from(colour[n].abs_diff(wanted[n])).pow(2)).sum::<u32>();
        let nearest = (0..self.palette.len()).min_by_key(|&n| distance(&self.palette[n])).expect("what is mixed has a colour");
        if self.palette[nearest] == wanted || self.palette.len() > usize::from(Colour::MAX) {
            return nearest as Colour;
        }
        self.palette.push(wanted);
        (self.palette.len() - 1) as Colour
    }

    /// The picture as PNG with a palette.
    ///
    /// # Errors
    /// Where the canvas has no pixel or the palette no colour, or too many.
    pub fn png(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(self.palette.as_flattened());
        encoder.set_compression(png::Compression::Balanced);
        // Numbers of colours do not change smoothly: prediction from neighbours makes them larger.
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header().map_err(std::io::Error::other)?;
        writer.write_image_data(&self.pixels).map_err(std::io::Error::other)?;
        writer.finish().map_err(std::io::Error::other)?;
        Ok(bytes)
    }
}

/// A colour over another one, in steps of a 15th of the brightest value, so that a palette holds what letters need.
fn mixed(under: [u8; 3], over: [u8; 3], share: u8) -> [u8; 3] {
    const STEP: u32 = 17;
    let share = u32::from(share);
    [0, 1, 2].map(|n| {
        let value = (u32::from(under[n]) * (255 - share) + u32::from(over[n]) * share) / 255;
        ((value + STEP / 2) / STEP * STEP) as u8
    })
}

#[cfg(test)]
pub(crate) mod testing {
    //! Pictures read back.

    use std::path::Path;

    /// Width, height and RGB pixels of a PNG file.
    pub(crate) fn read(path: &Path) -> (usize, usize, Vec<[u8; 3]>) {
        let mut decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        (info.width as usize, info.height as usize, bytes.as_chunks::<3>().0.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_in_the_file_and_what_lies_beyond_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let (black, red, white) = ([0; 3], [255, 0, 0], [255; 3]);
        let mut canvas = Canvas::new(30, 20, vec![black, red, white]);
        canvas.fill([28, 18], [9, 9], 1);
        canvas.line([0, 0], [4, 4], 2);
        canvas.text([10, 0], Size::Small, "l\u{1f600}", 2);
        std::fs::write(&path, canvas.png().unwrap()).unwrap();
        let (width, height, pixels) = testing::read(&path);
        let at = |x: usize, y: usize| pixels[y * width + x];
        assert_eq!((width, height, at(28, 18), at(29, 19), at(27, 19)), (30, 20, red, red, black));
        assert_eq!([at(0, 0), at(3, 3), at(3, 4)], [white, white, black]);
        // The letter l is a bar that ends on the baseline; below it nothing is.
        assert!((10..17).any(|x| at(x, 8)[0] > 127) && (10..17).all(|x| at(x, 14) == black));
    }

    #[test]
    fn edges_of_letters_are_smooth_on_any_colour_and_a_full_palette_has_the_nearest_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut greys: Vec<[u8; 3]> = (0..=255).map(|level| [level; 3]).collect();
        for (background, text) in [([0, 0, 102], [255, 204, 0]), ([255; 3], [0; 3])] {
            let mut canvas = Canvas::new(40, 40, vec![background, text]);
            canvas.text([0, 0], Size::Large, "S8", 1);
            std::fs::write(&path, canvas.png().unwrap()).unwrap();
            let colours: std::collections::BTreeSet<[u8; 3]> = testing::read(&path).2.into_iter().collect();
            assert!(colours.contains(&background) && colours.contains(&text) && colours.len() > 6, "{colours:?}");
            let between = |n: usize, value: u8| value >= background[n].min(text[n]) && value <= background[n].max(text[n]);
            assert!(colours.iter().all(|colour| (0..3).all(|n| between(n, colour[n]))), "{colours:?}");
        }
        greys[255] = [255, 0, 0];
        let mut canvas = Canvas::new(40, 40, greys.clone());
        canvas.text([0, 0], Size::Large, "S8", 255);
        std::fs::write(&path, canvas.png().unwrap()).unwrap();
        assert!(testing::read(&path).2.iter().all(|colour| greys.contains(colour)));
    }
}
