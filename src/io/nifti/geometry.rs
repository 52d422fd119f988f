//! Where a header puts its voxels: sform, qform, or spacing alone (`nifti1.h`, "3D IMAGE (VOLUME) ORIENTATION AND LOCATION IN SPACE").

use super::Warning;
use super::error::NiftiError;
use crate::volume::Affine;

/// `xyzt_units` for millimetres.
pub(super) const UNITS_MM: i32 = 2;

/// Longest and shortest step of one voxel, in millimetres, that is taken for one.
const SPACING_MM: std::ops::RangeInclusive<f64> = 1e-3..=1e3;

/// Largest distance of voxel (0, 0, 0) from the origin, along an axis, that is taken for one.
const OFFSET_MM: f64 = 1e6;

/// Smallest determinant of the matrix of unit steps: below, the axes lie in a plane (an angle of less than 0.06 degrees).
const SMALLEST_DETERMINANT: f64 = 1e-3;

/// The two transforms of a header, as stored.
pub(super) struct Forms {
    pub(super) qform_code: i32,
    pub(super) sform_code: i32,
    /// b, c, d of the unit quaternion a + bi + cj + dk.
    pub(super) quatern: [f64; 3],
    pub(super) qoffset: [f64; 3],
    /// `srow_x`, `srow_y`, `srow_z`.
    pub(super) sform: [[f64; 4]; 3],
}

/// Voxel indices to RAS millimetres: the sform where its code is set (method 3), else the qform where its code is (method 2), else spacing alone
/// (method 1), which does not say where left is and is warned of.
pub(super) fn affine(
    forms: &Forms,
    pixdim: &[f64; 8],
    xyzt_units: i32,
    shape: [usize; 3],
    warnings: &mut Vec<Warning>,
) -> Result<Affine, NiftiError> {
    let unit = millimetres(xyzt_units);
    let sform = (forms.sform_code > 0).then_some(Affine { rows: forms.sform });
    let qform = (forms.qform_code > 0).then(|| qform(forms, pixdim));
    let (form, chosen) = match (&sform, qform) {
        (Some(sform), qform) => {
            if let Some(Ok(qform)) = qform {
                let mm = sform.farthest_corner(&qform, shape) * unit;
                // Codes of two worlds (scanner and template) are meant to differ.
                if forms.sform_code == forms.qform_code && mm > 1.0 {
                    warnings.push(Warning::FormsDisagree { mm });
                }
            }
            ("sform", *sform)
        }
        (None, Some(qform)) => ("qform", qform?),
        (None, None) => {
            warnings.push(Warning::NoOrientation);
            let [_, x, y, z, ..] = *pixdim;
            ("spacing", Affine::new([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]], [0.0; 3]))
        }
    };
    if form != "sform" {
        check_spacing([pixdim[1], pixdim[2], pixdim[3]].map(|step| step * unit))?;
    }
    let affine = Affine { rows: chosen.rows.map(|row| row.map(|value| value * unit)) };
    if !affine.rows.as_flattened().iter().all(|value| value.is_finite())
        || affine.translation().iter().any(|t| t.abs() > OFFSET_MM)
    {
        return Err(NiftiError::Affine { form });
    }
    let spacing = affine.spacing();
    // An axis of no length is the commonest way to be singular: an sform of zeros.
    if spacing.contains(&0.0) || affine.determinant().abs() < SMALLEST_DETERMINANT * spacing.iter().product::<f64>() {
        return Err(NiftiError::Singular { form });
    }
    check_spacing(spacing)?;
    Ok(affine)
}

/// Millimetres in the header's unit of length. Where none is given it is the millimetre.
fn millimetres(xyzt_units: i32) -> f64 {
    match xyzt_units & 7 {
        1 => 1e3,
        3 => 1e-3,
        _ => 1.0,
    }
}

fn check_spacing(spacing: [f64; 3]) -> Result<(), NiftiError> {
    match spacing.iter().position(|step| !SPACING_MM.contains(step)) {
        Some(n) => Err(NiftiError::Spacing { axis: n + 1, mm: spacing[n] }),
        None => Ok(()),
    }
}

/// Method 2: rotation by a unit quaternion, after spacing, with `pixdim[0]` as the handedness of the k axis.
fn qform(forms: &Forms, pixdim: &[f64; 8]) -> Result<Affine, NiftiError> {
    let [b, c, d] = forms.quatern;
    let squares = b * b + c * c + d * d;
    // Single precision is off by less than 1e-6; more than 1e-2 was never a rotation.
    if squares.is_nan() || squares > 1.01 {
        return Err(NiftiError::Quaternion(squares));
    }
    // As nifti_clib has it: a half turn (a = 0) is where rounding makes the vector too long, or a too inexact.
    let (a, [b, c, d]) = if 1.0 - squares < 1e-7 {
        let length = squares.sqrt();
        (0.0, [b / length, c / length, d / length])
    } else {
        ((1.0 - squares).sqrt(), [b, c, d])
    };
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ];
    let handedness = if pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let steps = [pixdim[1], pixdim[2], handedness * pixdim[3]];
    Ok(Affine::new(rotation.map(|row| [row[0] * steps[0], row[1] * steps[1], row[2] * steps[2]]), forms.qoffset))
}

/// (b, c, d) of the unit quaternion a + bi + cj + dk, and the handedness of the k axis, of an affine whose axes are perpendicular: the inverse of method 2.
pub(super) fn quaternion(affine: &Affine) -> ([f64; 3], f64) {
    let spacing = affine.spacing();
    let handedness = if affine.determinant() < 0.0 { -1.0 } else { 1.0 };
    let r = affine.matrix().map(|row| [row[0] / spacing[0], row[1] / spacing[1], handedness * row[2] / spacing[2]]);
    // Four times the square of a, b, c and d. The largest is divided by, so that nothing is lost.
    let squares = [
        1.0 + r[0][0] + r[1][1] + r[2][2],
        1.0 + r[0][0] - r[1][1] - r[2][2],
        1.0 - r[0][0] + r[1][1] - r[2][2],
        1.0 - r[0][0] - r[1][1] + r[2][2],
    ];
    let largest = (1..4).fold(0, |best, n| if squares[n] > squares[best] { n } else { best });
    let length = 2.0 * squares[largest].sqrt();
    // Four times the products of a with b, c and d, and of those with each other.
    let (ab, ac, ad) = (r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]);
    let (bc, bd, cd) = (r[0][1] + r[1][0], r[0][2] + r[2][0], r[1][2] + r[2][1]);
    let [a, b, c, d] = match largest {
        0 => [squares[0], ab, ac, ad],
        1 => [ab, squares[1], bc, bd],
        2 => [ac, bc, squares[2], cd],
        _ => [ad, bd, cd, squares[3]],
    };
    // a is not stored: it is taken as not negative.
    let sign = if a < 0.0 { -1.0 } else { 1.0 };
    ([b, c, d].map(|value| sign * value / length), handedness)
}
