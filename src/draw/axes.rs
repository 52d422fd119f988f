//! The frame of a diagram: a box with lines and numbers, and what is drawn in it.

use super::drawing::{Anchor, BLACK, Drawing, GREY, LETTER};
use super::raster::Colour;

const SIZE: [f64; 2] = [620.0, 480.0];
const LEFT: f64 = 62.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 58.0;
const BOTTOM: f64 = 82.0;

/// A diagram: values along x to the right and along y to the top.
pub struct Axes {
    drawing: Drawing,
    x: [f64; 2],
    y: [f64; 2],
    entries: f64,
}

impl Axes {
    /// An empty diagram of the ranges `x` and `y`, each the lower end first and widened to round numbers, with a line of text below it.
    pub fn new(title: &str, footer: &str, [x_name, y_name]: [&str; 2], x: [f64; 2], y: [f64; 2]) -> Axes {
        let (x_step, y_step) = (step(x), step(y));
        let mut axes = Axes { drawing: Drawing::new(SIZE, title), x: widened(x, x_step), y: widened(y, y_step), entries: LEFT };
        axes.drawing.text([LEFT, 18.0], Anchor::Start, title, BLACK);
        axes.drawing.text([LEFT, TOP - 6.0], Anchor::Start, y_name, BLACK);
        axes.drawing.text([SIZE[0] - RIGHT, SIZE[1] - BOTTOM + 34.0], Anchor::End, x_name, BLACK);
        axes.drawing.text([LEFT, SIZE[1] - 8.0], Anchor::Start, footer, [110; 3]);
        for value in ticks(axes.x, x_step) {
            let place = axes.place([value, axes.y[0]]);
            axes.drawing.line(place, [place[0], TOP], 0.5, GREY);
            axes.drawing.text([place[0], place[1] + LETTER + 4.0], Anchor::Middle, &number(value, x_step), BLACK);
        }
        for value in ticks(axes.y, y_step) {
            let place = axes.place([axes.x[0], value]);
            axes.drawing.line(place, [SIZE[0] - RIGHT, place[1]], 0.5, GREY);
            axes.drawing.text([place[0] - 6.0, place[1] + 4.0], Anchor::End, &number(value, y_step), BLACK);
        }
        axes.drawing.line(axes.place([axes.x[0], axes.y[0]]), axes.place([axes.x[1], axes.y[0]]), 1.0, BLACK);
        axes.drawing.line(axes.place([axes.x[0], axes.y[0]]), axes.place([axes.x[0], axes.y[1]]), 1.0, BLACK);
        axes
    }

    /// The range along x.
    pub fn x(&self) -> [f64; 2] {
        self.x
    }

    /// A dot for each value.
    pub fn dots(&mut self, values: &[[f64; 2]], colour: Colour) {
        for &value in values {
            let place = self.place(value);
            self.drawing.dot(place, 3.0, colour);
        }
    }

    /// A line through values in their order; what lies outside the ranges is cut off.
    pub fn curve(&mut self, values: &[[f64; 2]], dashed: bool, colour: Colour) {
        for pair in values.windows(2) {
            let Some([from, to]) = self.cut(pair[0], pair[1]) else { continue };
            let (from, to) = (self.place(from), self.place(to));
            if dashed {
                self.drawing.dashed(from, to, 1.5, colour);
            } else {
                self.drawing.line(from, to, 1.5, colour);
            }
        }
    }

    /// A box from y = 0 up to a height between two x.
    pub fn bar(&mut self, [left, right]: [f64; 2], height: f64, colour: Colour) {
        let (corner, end) = (self.place([left, height]), self.place([right, 0.0]));
        self.drawing.fill([corner[0] + 1.0, corner[1]], [end[0] - corner[0] - 2.0, end[1] - corner[1]], colour);
    }

    /// What a colour means, below the diagram.
    pub fn legend(&mut self, text: &str, colour: Colour) {
        let y = SIZE[1] - BOTTOM + 56.0;
        self.drawing.line([self.entries, y - 4.0], [self.entries + 14.0, y - 4.0], 3.0, colour);
        self.drawing.text([self.entries + 20.0, y], Anchor::Start, text, BLACK);
        // Letters of the PNG are as wide as 8 units.
        self.entries += 34.0 + 8.0 * text.chars().count() as f64;
    }

    /// The drawing.
    pub fn finish(self) -> Drawing {
        self.drawing
    }

    fn place(&self, value: [f64; 2]) -> [f64; 2] {
        let share = |value: f64, [low, high]: [f64; 2]| (value - low) / (high - low);
        let (width, height) = (SIZE[0] - LEFT - RIGHT, SIZE[1] - TOP - BOTTOM);
        [LEFT + width * share(value[0], self.x), SIZE[1] - BOTTOM - height * share(value[1], self.y)]
    }

    /// The part of a line that lies in the ranges (Liang and Barsky 1984).
    fn cut(&self, from: [f64; 2], to: [f64; 2]) -> Option<[[f64; 2]; 2]> {
        let (mut start, mut end) = (0.0_f64, 1.0_f64);
        for (axis, [low, high]) in [self.x, self.y].into_iter().enumerate() {
            let along = to[axis] - from[axis];
            for (room, along) in [(from[axis] - low, along), (high - from[axis], -along)] {
                // Inside while room + share * along is not negative.
                if along == 0.0 && room < 0.0 {
                    return None;
                } else if along > 0.0 {
                    start = start.max(-room / along);
                } else if along < 0.0 {
                    end = end.min(-room / along);
                }
            }
        }
        let at = |share: f64| [0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis]));
        (start <= end).then(|| [at(start), at(end)])
    }
}

/// A round step that divides a range into 4 to 10 parts.
fn step([low, high]: [f64; 2]) -> f64 {
    let span = (high - low).max(1e-9);
    let magnitude = 10_f64.powf((span / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
    steps.into_iter().find(|step| span / step <= 8.0).unwrap_or(steps[3])
}

fn widened([low, high]: [f64; 2], step: f64) -> [f64; 2] {
    let low = (low / step + 1e-9).floor() * step;
    [low, ((high / step - 1e-9).ceil() * step).max(low + step)]
}

fn ticks([low, high]: [f64; 2], step: f64) -> impl Iterator<Item = f64> {
    let first = (low / step).round();
    (0..=((high - low) / step).round() as usize).map(move |n| (first + n as f64) * step)
}

fn number(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    // No minus before a zero.
    format!("{:.decimals$}", if value.abs() < step / 2.0 { 0.0 } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_range() {
        for (range, expected) in [
            ([0.0, 1.0], &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"][..]),
            ([-7.0, 13.0], &["-10", "-5", "0", "5", "10", "15"]),
            ([0.0, 123.0], &["0", "20", "40", "60", "80", "100", "120", "140"]),
        ] {
            let step = step(range);
            let texts: Vec<String> = ticks(widened(range, step), step).map(|value| number(value, step)).collect();
            assert_eq!(texts, expected);
        }
    }

    #[test]
    fn a_range_of_one_value_has_a_width() {
        for value in [0.0, 3.0, -250.0, 1e-4] {
            let range = widened([value; 2], step([value; 2]));
            assert!(range[0] <= value && value <= range[1] && range[0] < range[1], "{range:?}");
        }
    }

    #[test]
    fn lines_are_cut_at_the_frame() {
        let axes = Axes::new("", "", ["", ""], [0.0, 10.0], [0.0, 10.0]);
        let near = |cut: Option<[[f64; 2]; 2]>, expected: [[f64; 2]; 2]| {
            let cut = cut.unwrap();
            assert!(cut.iter().flatten().zip(expected.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-9), "{cut:?}");
        };
        near(axes.cut([1.0, 2.0], [3.0, 4.0]), [[1.0, 2.0], [3.0, 4.0]]);
        near(axes.cut([-5.0, -5.0], [15.0, 15.0]), [[0.0, 0.0], [10.0, 10.0]]);
        near(axes.cut([5.0, 20.0], [5.0, -20.0]), [[5.0, 10.0], [5.0, 0.0]]);
        assert_eq!(axes.cut([-5.0, 3.0], [-1.0, 3.0]), None);
        assert_eq!(axes.cut([11.0, 3.0], [11.0, 5.0]), None);
    }
}
