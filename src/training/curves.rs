//! The curves of a training: a table, and a picture of it.

use super::epoch::Epoch;
use crate::draw::canvas::{Canvas, Colour};
use crate::draw::font::Size::Small;
use crate::io::atomic;
use crate::{Error, Result};
use std::path::Path;

/// Writes `curves.csv` and `curves.png`.
///
/// # Errors
/// [`Error::Write`] where they cannot be written.
pub fn write(folder: &Path, history: &[Epoch]) -> Result<()> {
    let path = folder.join("curves.csv");
    let mut table = csv::Writer::from_writer(Vec::new());
    for row in history {
        table.serialize(row).map_err(|error| Error::write(&path)(error.into()))?;
    }
    let text = table.into_inner().map_err(|error| Error::write(&path)(error.into_error()))?;
    atomic::write(&path, |file| file.write_all(&text))?;
    let path = folder.join("curves.png");
    let png = draw(history).png().map_err(Error::write(&path))?;
    Ok(atomic::write(&path, |file| file.write_all(&png))?)
}

const WIDTH: usize = 900;
const HEIGHT: usize = 420;
/// White, which is the background, black, grey, blue and red.
const PALETTE: [[u8; 3]; 5] = [[255; 3], [0; 3], [220; 3], [31, 119, 180], [214, 39, 40]];
const BLACK: Colour = 1;
const GREY: Colour = 2;
const BLUE: Colour = 3;
const RED: Colour = 4;

/// One diagram of a picture: where it is, and the values along its left side.
struct Diagram {
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
    highest: f64,
}

/// The losses at the left, the held-out Dice at the right.
fn draw(history: &[Epoch]) -> Canvas {
    let mut picture = Canvas::new(WIDTH, HEIGHT, PALETTE.to_vec());
    let column = |value: fn(&Epoch) -> f64| history.iter().map(value).collect::<Vec<f64>>();
    let (loss, held_out, dice) = (column(|e| e.loss), column(|e| e.held_out_loss), column(|e| e.held_out_dice));
    let highest = loss.iter().chain(&held_out).copied().filter(|value| value.is_finite()).fold(0.1, f64::max);
    let losses =
        Diagram { left: 60, right: WIDTH / 2 - 20, top: 40, bottom: HEIGHT - 40, highest: (highest * 10.0).ceil() / 10.0 };
    let overlap = Diagram { left: WIDTH / 2 + 50, right: WIDTH - 20, highest: 1.0, ..losses };
    losses.frame(&mut picture, history.len());
    losses.curve(&mut picture, &loss, BLUE);
    losses.curve(&mut picture, &held_out, RED);
    picture.text([losses.left, 14], Small, "loss: training", BLUE);
    picture.text([losses.left + 130, 14], Small, "held out", RED);
    overlap.frame(&mut picture, history.len());
    overlap.curve(&mut picture, &dice, RED);
    picture.text([overlap.left, 14], Small, "Dice: held out", RED);
    for diagram in [&losses, &overlap] {
        picture.text([diagram.left, HEIGHT - 20], Small, "epoch", BLACK);
    }
    picture
}

impl Diagram {
    /// Axes with five lines and their values, and the number of the last epoch.
    fn frame(&self, picture: &mut Canvas, epochs: usize) {
        for line in 0..=5 {
            let y = self.bottom - (self.bottom - self.top) * line / 5;
            picture.line([self.left, y], [self.right, y], if line == 0 { BLACK } else { GREY });
            picture.text([self.left - 42, y - 8], Small, &format!("{:5.2}", self.highest * line as f64 / 5.0), BLACK);
        }
        picture.line([self.left, self.top], [self.left, self.bottom], BLACK);
        let last = epochs.to_string();
        picture.text([self.right - Small.width() * last.len(), self.bottom + 4], Small, &last, BLACK);
        picture.text([self.left, self.bottom + 4], Small, "1", BLACK);
    }

    fn curve(&self, picture: &mut Canvas, values: &[f64], colour: Colour) {
        let place = |n: usize| {
            let share = n as f64 / values.len().saturating_sub(1).max(1) as f64;
            let height = (values[n] / self.highest).clamp(0.0, 1.0);
            let x = self.left as f64 + share * (self.right - self.left) as f64;
            let y = self.bottom as f64 - height * (self.bottom - self.top) as f64;
            [x.round() as usize, y.round() as usize]
        };
        for n in (0..values.len()).filter(|&n| values[n].is_finite()) {
            let from = n.checked_sub(1).filter(|&before| values[before].is_finite()).unwrap_or(n);
            picture.line(place(from), place(n), colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_picture_show_each_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let history: Vec<Epoch> = (1..=4)
            .map(|n| Epoch {
                epoch: n,
                loss: 2.0 / n as f64,
                held_out_loss: f64::from(n as u8 == 2) + 1.0,
                held_out_dice: 0.2 * n as f64,
                ..Epoch::default()
            })
            .collect();
        write(folder.path(), &history).unwrap();
        let text = std::fs::read_to_string(folder.path().join("curves.csv")).unwrap();
        assert!(text.starts_with("epoch,updates,seconds,rate,loss,gradient,held_out_loss,held_out_dice,false_ml,threshold\n1,"));
        assert_eq!(text.lines().count(), 5);
        let (width, height, pixels) = crate::draw::canvas::testing::read(&folder.path().join("curves.png"));
        assert_eq!((width, height), (WIDTH, HEIGHT));
        // The training's loss begins at the top of the left diagram and falls to a quarter.
        let at = |x: usize, y: usize| PALETTE.iter().position(|&colour| colour == pixels[y * WIDTH + x]).unwrap() as Colour;
        assert_eq!(at(60, 40), BLUE);
        assert_eq!(at(WIDTH / 2 - 20, HEIGHT - 40 - (HEIGHT - 80) / 4), BLUE);
        // Dice ends at 0.8.
        assert_eq!(at(WIDTH - 20, 40 + (HEIGHT - 80) / 5), RED);
    }
}
