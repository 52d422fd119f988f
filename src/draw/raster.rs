//! An RGB picture in memory, with lines of any width whose edges are smooth.

use super::font::{self, Size};

/// A colour: red, green, blue.
pub type Colour = [u8; 3];

/// A picture; what is drawn beyond its edges is left out.
#[derive(Clone)]
pub struct Raster {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Raster {
    /// A picture of one colour, its width and height in pixels.
    pub fn new([width, height]: [usize; 2], colour: Colour) -> Raster {
        Raster { width, height, pixels: vec![colour; width * height] }
    }

    /// A picture of `pixels`, by rows from the top.
    ///
    /// # Panics
    /// Where their number is not that of the size.
    pub fn of([width, height]: [usize; 2], pixels: Vec<Colour>) -> Raster {
        assert_eq!(pixels.len(), width * height, "a picture needs one colour for each pixel");
        Raster { width, height, pixels }
    }

    /// A straight line with round ends, smooth by the share of each pixel that it covers.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], width: f64, colour: Colour) {
        let radius = width / 2.0;
        let bounds = |axis: usize, side: usize| {
            let (low, high) = (from[axis].min(to[axis]) - radius - 1.0, from[axis].max(to[axis]) + radius + 1.0);
            (low.max(0.0) as usize, (high.max(0.0) as usize + 1).min(side))
        };
        let ((left, right), (top, bottom)) = (bounds(0, self.width), bounds(1, self.height));
        let along = [to[0] - from[0], to[1] - from[1]];
        let length = along[0] * along[0] + along[1] * along[1];
        for y in top..bottom {
            for x in left..right {
                let away = [x as f64 + 0.5 - from[0], y as f64 + 0.5 - from[1]];
                let share = if length > 0.0 { ((away[0] * along[0] + away[1] * along[1]) / length).clamp(0.0, 1.0) } else { 0.0 };
                let distance = (away[0] - share * along[0]).hypot(away[1] - share * along[1]);
                self.blend([x, y], colour, radius + 0.5 - distance);
            }
        }
    }

    /// A filled box.
    pub fn fill(&mut self, corner: [f64; 2], size: [f64; 2], colour: Colour) {
        let [left, top] = corner.map(|at| at.max(0.0).round() as usize);
        let [right, bottom] = [0, 1].map(|axis| (corner[axis] + size[axis]).max(0.0).round() as usize);
        for y in top..bottom.min(self.height) {
            for x in left..right.min(self.width) {
                self.blend([x, y], colour, 1.0);
            }
        }
    }

    /// Text that begins at `at` on its baseline. A character that the font lacks is drawn as `?`.
    pub fn text(&mut self, at: [f64; 2], size: Size, text: &str, colour: Colour) {
        let (left, top) = (at[0].round(), at[1].round() - size.above_baseline() as f64);
        for ([x, y], share) in font::pixels(text, size) {
            let place = [left + x as f64, top + y as f64];
            if place[0] >= 0.0 && place[0] < self.width as f64 && place[1] >= 0.0 && place[1] < self.height as f64 {
                self.blend(place.map(|at| at as usize), colour, f64::from(share) / 255.0);
            }
        }
    }

    /// Width of a text in pixels.
    pub fn text_width(text: &str, size: Size) -> usize {
        size.width() * text.chars().count()
    }

    /// Another picture, stretched to `size`.
    pub fn image(&mut self, corner: [f64; 2], size: [f64; 2], image: &Raster) {
        let [left, top] = corner.map(|at| at.max(0.0).round() as usize);
        let [width, height] = size.map(|side| side.round() as usize);
        for y in 0..height.min(self.height.saturating_sub(top)) {
            for x in 0..width.min(self.width.saturating_sub(left)) {
                let colour = image.pixels[y * image.height / height * image.width + x * image.width / width];
                self.blend([left + x, top + y], colour, 1.0);
            }
        }
    }

    /// Mixes `share` (cut to 0 to 1) of a colour into a pixel of the picture.
    fn blend(&mut self, [x, y]: [usize; 2], colour: Colour, share: f64) {
        let share = share.clamp(0.0, 1.0);
        let pixel = &mut self.pixels[y * self.width + x];
        for (value, new) in pixel.iter_mut().zip(colour) {
            *value = (f64::from(*value) * (1.0 - share) + f64::from(new) * share).round() as u8;
        }
    }

    /// As PNG.
    ///
    /// # Errors
    /// What the encoder says.
    pub fn png(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().map_err(std::io::Error::other)?;
        writer.write_image_data(self.pixels.as_flattened()).map_err(std::io::Error::other)?;
        writer.finish().map_err(std::io::Error::other)?;
        Ok(bytes)
    }
}

#[cfg(test)]
impl Raster {
    /// A pixel, counted from the upper left corner.
    pub fn at(&self, [x, y]: [usize; 2]) -> Colour {
        self.pixels[y * self.width + x]
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Colour;

    /// Size and pixels of a PNG.
    pub fn read(png: &[u8]) -> ([usize; 2], Vec<Colour>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        ([info.width as usize, info.height as usize], bytes.as_chunks::<3>().0.to_vec())
    }
}
