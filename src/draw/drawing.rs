//! A drawing of lines, dots, boxes, text and images, written as SVG and as PNG.

use super::font::Size;
use super::raster::{Colour, Raster};
use std::fmt::Write;

pub const BLACK: Colour = [0; 3];
pub const WHITE: Colour = [255; 3];
pub const GREY: Colour = [200; 3];
pub const BLUE: Colour = [31, 119, 180];
pub const RED: Colour = [214, 39, 40];
pub const ORANGE: Colour = [230, 126, 0];
pub const GREEN: Colour = [44, 140, 44];

/// Height of letters in units of a drawing.
pub const LETTER: f64 = 12.0;

/// Pixels of a PNG to a unit of a drawing.
const SCALE: f64 = 2.0;
/// Letters of a PNG: as high as those of the SVG.
const LETTERS: Size = Size::Large;

/// Which end of a text its place is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// What a drawing is made of; places are in units from the upper left corner.
enum Shape {
    Line { from: [f64; 2], to: [f64; 2], width: f64, dashed: bool, colour: Colour },
    Dot { centre: [f64; 2], radius: f64, colour: Colour },
    Fill { corner: [f64; 2], size: [f64; 2], colour: Colour },
    Text { at: [f64; 2], anchor: Anchor, text: String, colour: Colour },
    Image { corner: [f64; 2], size: [f64; 2], image: Raster },
}

/// A drawing on white.
pub struct Drawing {
    size: [f64; 2],
    title: String,
    shapes: Vec<Shape>,
}

impl Drawing {
    /// An empty drawing of a size in units, with the title that screen readers say.
    pub fn new(size: [f64; 2], title: &str) -> Drawing {
        Drawing { size, title: title.into(), shapes: Vec::new() }
    }

    /// A straight line of a width in units.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], width: f64, colour: Colour) {
        self.shapes.push(Shape::Line { from, to, width, dashed: false, colour });
    }

    /// The same of dashes.
    pub fn dashed(&mut self, from: [f64; 2], to: [f64; 2], width: f64, colour: Colour) {
        self.shapes.push(Shape::Line { from, to, width, dashed: true, colour });
    }

    /// A filled circle.
    pub fn dot(&mut self, centre: [f64; 2], radius: f64, colour: Colour) {
        self.shapes.push(Shape::Dot { centre, radius, colour });
    }

    /// A filled box.
    pub fn fill(&mut self, corner: [f64; 2], size: [f64; 2], colour: Colour) {
        self.shapes.push(Shape::Fill { corner, size, colour });
    }

    /// Text whose baseline is at `at`.
    pub fn text(&mut self, at: [f64; 2], anchor: Anchor, text: &str, colour: Colour) {
        self.shapes.push(Shape::Text { at, anchor, text: text.into(), colour });
    }

    /// An image, stretched to `size`.
    pub fn image(&mut self, corner: [f64; 2], size: [f64; 2], image: Raster) {
        self.shapes.push(Shape::Image { corner, size, image });
    }

    /// As SVG; the same drawing gives the same bytes.
    pub fn svg(&self) -> String {
        let [width, height] = self.size;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"{LETTER}\" role=\"img\">\n<title>{}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n",
            escaped(&self.title)
        );
        for shape in &self.shapes {
            let line = element(shape);
            // Writing to a text cannot fail.
            let _ = writeln!(svg, "{line}");
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// As PNG.
    ///
    /// # Errors
    /// What the encoder says.
    pub fn png(&self) -> std::io::Result<Vec<u8>> {
        let mut raster = Raster::new(self.size.map(|units| (units * SCALE).ceil() as usize), WHITE);
        let scaled = |place: [f64; 2]| place.map(|units| units * SCALE);
        for shape in &self.shapes {
            match shape {
                Shape::Line { from, to, width, dashed: false, colour } => {
                    raster.line(scaled(*from), scaled(*to), width * SCALE, *colour);
                }
                Shape::Line { from, to, width, dashed: true, colour } => {
                    for [start, end] in dashes(*from, *to) {
                        raster.line(scaled(start), scaled(end), width * SCALE, *colour);
                    }
                }
                Shape::Dot { centre, radius, colour } => {
                    // A line of no length with round ends.
                    raster.line(scaled(*centre), scaled(*centre), 2.0 * radius * SCALE, *colour);
                }
                Shape::Fill { corner, size, colour } => raster.fill(scaled(*corner), scaled(*size), *colour),
                Shape::Text { at, anchor, text, colour } => {
                    let width = Raster::text_width(text, LETTERS) as f64;
                    let before = match anchor {
                        Anchor::Start => 0.0,
                        Anchor::Middle => width / 2.0,
                        Anchor::End => width,
                    };
                    let [x, y] = scaled(*at);
                    raster.text([x - before, y], LETTERS, text, *colour);
                }
                Shape::Image { corner, size, image } => raster.image(scaled(*corner), scaled(*size), image),
            }
        }
        raster.png()
    }
}

/// Dashes of 6 units with 4 between them.
fn dashes(from: [f64; 2], to: [f64; 2]) -> Vec<[[f64; 2]; 2]> {
    let length = (to[0] - from[0]).hypot(to[1] - from[1]);
    let at = |units: f64| [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * (units / length).min(1.0));
    (0..(length / 10.0).ceil() as usize).map(|n| [at(10.0 * n as f64), at(10.0 * n as f64 + 6.0)]).collect()
}

fn element(shape: &Shape) -> String {
    match shape {
        Shape::Line { from: [x1, y1], to: [x2, y2], width, dashed, colour } => format!(
            "<line x1=\"{x1:.2}\" y1=\"{y1:.2}\" x2=\"{x2:.2}\" y2=\"{y2:.2}\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linecap=\"round\"{}/>",
            hex(*colour),
            if *dashed { " stroke-dasharray=\"6 4\"" } else { "" }
        ),
        Shape::Dot { centre: [x, y], radius, colour } => {
            format!("<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{radius}\" fill=\"{}\"/>", hex(*colour))
        }
        Shape::Fill { corner: [x, y], size: [width, height], colour } => {
            format!("<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" fill=\"{}\"/>", hex(*colour))
        }
        Shape::Text { at: [x, y], anchor, text, colour } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            format!("<text x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\" fill=\"{}\">{}</text>", hex(*colour), escaped(text))
        }
        Shape::Image { corner: [x, y], size: [width, height], image } => format!(
            "<image x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" href=\"data:image/png;base64,{}\"/>",
            base64(&image.png().expect("an image in memory can be encoded"))
        ),
    }
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Text for SVG and HTML, which have no control characters.
pub fn escaped(text: &str) -> String {
    text.replace(char::is_control, " ").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, n| bits << 8 | u32::from(chunk.get(n).copied().unwrap_or(0)));
        for n in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn names_cannot_end_an_element() {
        let mut drawing = Drawing::new([50.0, 20.0], "a<b");
        drawing.text([0.0, 12.0], Anchor::Start, "x & <y> \"z\"", BLACK);
        let svg = drawing.svg();
        assert!(svg.contains("<title>a&lt;b</title>") && svg.contains(">x &amp; &lt;y&gt; &quot;z&quot;</text>"), "{svg}");
    }

    #[test]
    fn both_forms_show_the_same_shapes() {
        let mut drawing = Drawing::new([40.0, 20.0], "");
        drawing.fill([10.0, 5.0], [10.0, 10.0], RED);
        drawing.dot([30.0, 10.0], 4.0, BLUE);
        drawing.line([0.0, 2.0], [40.0, 2.0], 2.0, GREEN);
        let svg = drawing.svg();
        assert!(svg.contains("<rect x=\"10.00\" y=\"5.00\" width=\"10.00\" height=\"10.00\" fill=\"#d62728\"/>"), "{svg}");
        assert!(svg.contains("<circle cx=\"30.00\" cy=\"10.00\" r=\"4\" fill=\"#1f77b4\"/>"), "{svg}");
        let (size, pixels) = crate::draw::raster::testing::read(&drawing.png().unwrap());
        assert_eq!(size, [80, 40]);
        let at = |x: usize, y: usize| pixels[y * 80 + x];
        assert_eq!([at(20, 10), at(39, 29), at(19, 10), at(40, 30)], [RED, RED, WHITE, WHITE]);
        assert_eq!([at(60, 20), at(60, 13), at(60, 30), at(40, 4)], [BLUE, BLUE, WHITE, GREEN]);
    }

    #[test]
    fn dashes_cover_a_line_from_its_start_to_its_end() {
        let dashes = dashes([0.0, 0.0], [0.0, 23.0]);
        assert_eq!(dashes, [[[0.0, 0.0], [0.0, 6.0]], [[0.0, 10.0], [0.0, 16.0]], [[0.0, 20.0], [0.0, 23.0]]]);
    }
}
