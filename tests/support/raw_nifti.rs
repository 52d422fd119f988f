//! A NIfTI-1 file written by hand, independently of the library: every header field that a test needs can be chosen.

use ichor::volume::{Affine, Volume};
use std::path::Path;

/// Which of the header's two transforms are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    Qform,
    Sform,
    Both,
}

/// The 348 bytes of header, 4 of extension and the voxels as int16, little endian.
pub fn bytes(volume: &Volume<f32>, codes: Codes) -> Vec<u8> {
    let grid = volume.grid();
    let mut file = vec![0u8; 352];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348i32.to_le_bytes());
    for (n, side) in [3, grid.shape[0], grid.shape[1], grid.shape[2], 1, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * n, &(side as i16).to_le_bytes());
    }
    put(70, &4i16.to_le_bytes()); // int16
    put(72, &16i16.to_le_bytes());
    let (quaternion, handedness) = quaternion(&grid.affine);
    put(76, &handedness.to_le_bytes());
    for (n, spacing) in grid.spacing().into_iter().enumerate() {
        put(80 + 4 * n, &(spacing as f32).to_le_bytes());
    }
    put(108, &352f32.to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(123, &[2]); // millimetres
    put(252, &i16::from(codes != Codes::Sform).to_le_bytes());
    put(254, &i16::from(codes != Codes::Qform).to_le_bytes());
    let offset = grid.affine.translation();
    for n in 0..3 {
        put(256 + 4 * n, &(quaternion[n] as f32).to_le_bytes());
        put(268 + 4 * n, &(offset[n] as f32).to_le_bytes());
    }
    if codes != Codes::Qform {
        for (n, value) in grid.affine.rows.as_flattened().iter().enumerate() {
            put(280 + 4 * n, &(*value as f32).to_le_bytes());
        }
    }
    put(344, b"n+1\0");
    file.extend(volume.voxels().iter().flat_map(|&hu| (hu as i16).to_le_bytes()));
    file
}

/// The file.
pub fn write(path: &Path, volume: &Volume<f32>, codes: Codes) {
    std::fs::write(path, bytes(volume, codes)).unwrap();
}

/// (b, c, d) of the rotation and the handedness of an affine with orthogonal columns (nifti1.h, method 2).
fn quaternion(affine: &Affine) -> ([f64; 3], f32) {
    let spacing = affine.spacing();
    let mut r = affine.matrix();
    r.iter_mut().for_each(|row| (0..3).for_each(|c| row[c] /= spacing[c]));
    let handedness = if affine.determinant() < 0.0 { -1.0 } else { 1.0 };
    r.iter_mut().for_each(|row| row[2] *= handedness);
    // The largest of the four squares is divided by, so that nothing is lost.
    let squares = [
        1.0 + r[0][0] + r[1][1] + r[2][2],
        1.0 + r[0][0] - r[1][1] - r[2][2],
        1.0 - r[0][0] + r[1][1] - r[2][2],
        1.0 - r[0][0] - r[1][1] + r[2][2],
    ];
    let largest = (0..4).max_by(|&a, &b| squares[a].total_cmp(&squares[b])).unwrap();
    let half = squares[largest].sqrt() / 2.0;
    let q = 0.25 / half;
    let (a, bcd) = match largest {
        0 => (half, [(r[2][1] - r[1][2]) * q, (r[0][2] - r[2][0]) * q, (r[1][0] - r[0][1]) * q]),
        1 => ((r[2][1] - r[1][2]) * q, [half, (r[0][1] + r[1][0]) * q, (r[0][2] + r[2][0]) * q]),
        2 => ((r[0][2] - r[2][0]) * q, [(r[0][1] + r[1][0]) * q, half, (r[1][2] + r[2][1]) * q]),
        _ => ((r[1][0] - r[0][1]) * q, [(r[0][2] + r[2][0]) * q, (r[1][2] + r[2][1]) * q, half]),
    };
    // a is not stored and is taken as not negative.
    (if a < 0.0 { bcd.map(|x| -x) } else { bcd }, handedness as f32)
}
