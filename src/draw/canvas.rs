//! Pictures of a few colours: lines, rectangles and letters on a canvas that becomes a PNG.

use super::font;

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

    /// Text whose upper left corner is `at`, in letters of 8 `scale` pixels. A character that the font lacks is drawn as `?`.
    pub fn text(&mut self, at: [usize; 2], scale: usize, text: &str, colour: Colour) {
        for [x, y] in font::pixels(text) {
            self.fill([at[0] + scale * x, at[1] + scale * y], [scale; 2], colour);
        }
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
        canvas.text([10, 0], 2, "l\u{1f600}", 2);
        std::fs::write(&path, canvas.png().unwrap()).unwrap();
        let (width, height, pixels) = testing::read(&path);
        let at = |x: usize, y: usize| pixels[y * width + x];
        assert_eq!((width, height, at(28, 18), at(29, 19), at(27, 19)), (30, 20, red, red, black));
        assert_eq!([at(0, 0), at(3, 3), at(3, 4)], [white, white, black]);
        // The letter l is a bar of two columns and ends within 16 pixels; its lowest row is empty.
        assert!((10..26).any(|x| at(x, 6) == white) && (10..26).all(|x| at(x, 15) == black));
    }
}
