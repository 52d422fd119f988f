//! ITK's text files of affine transforms (`.tfm`, `.txt`), as ANTs, SimpleITK and 3D Slicer read them.
//!
//! ITK's world is LPS: x grows to the patient's left and y to the back. ichor's is RAS, so both are negated on the way in
//! and out. As everywhere in ITK, a transform for resampling takes points of the output's space (the template) to
//! points of the input's (the scan): `antsApplyTransforms -i scan -r template -t NAME_to_template.tfm`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::io::atomic;
use crate::io::{Error, Result};
use crate::volume::Affine;

/// The first line of every such file.
const HEADER: &str = "#Insight Transform File V1.0";
/// Far more than a file with one transform holds.
const LARGEST: u64 = 64 * 1024;

/// What keeps a file of a transform from being read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    /// The file is larger than any file of one affine transform.
    #[error("larger than 64 KiB: this is no ITK text file of one affine transform")]
    TooLarge,
    /// The file doesn't begin as ITK's text files do, or is no text.
    #[error("does not begin with \"#Insight Transform File V1.0\": save the transform as ITK text (.tfm or .txt)")]
    Header,
    /// A line of the file is missing.
    #[error("has no line \"{0}:\": the file is cut short or is no ITK transform")]
    Missing(&'static str),
    /// A line is there twice, as in a file of several transforms.
    #[error("has more than one line \"{0}:\": only files with a single transform can be read")]
    Several(&'static str),
    /// A transform that is not affine, or in single precision.
    #[error("holds a {0}: only AffineTransform, MatrixOffsetTransformBase and Euler3DTransform (double_3_3) can be read")]
    Kind(String),
    /// A parameter that is no finite number.
    #[error("\"{0}\" is no finite number")]
    Number(String),
    /// Too few or too many parameters.
    #[error("the line \"{name}:\" has {found} numbers where {wanted} belong")]
    Count {
        /// Name of the line.
        name: &'static str,
        /// Numbers found.
        found: usize,
        /// Numbers wanted.
        wanted: usize,
    },
}

/// Writes `template_to_scan` (RAS mm) to `path` as an `AffineTransform_double_3_3` with its centre at the origin.
/// Numbers have 17 digits, so [`read`] gives the same bits again.
///
/// # Errors
/// [`Error::Write`].
pub fn write(path: impl AsRef<Path>, template_to_scan: &Affine) -> Result<()> {
    let lps = mirrored(template_to_scan);
    let parameters = lps.matrix().into_iter().flatten().chain(lps.translation()).map(|v| format!("{v:?}"));
    let parameters = parameters.collect::<Vec<_>>().join(" ");
    atomic::write(path, |file| {
        writeln!(file, "{HEADER}")?;
        writeln!(file, "#Transform 0")?;
        writeln!(file, "Transform: AffineTransform_double_3_3")?;
        writeln!(file, "Parameters: {parameters}")?;
        writeln!(file, "FixedParameters: 0 0 0")
    })
}

/// Reads an affine or Euler transform from `path`; the result takes points as the file's does, in RAS mm.
///
/// # Errors
/// [`Error::Read`], or [`Error::Transform`] with what is wrong.
pub fn read(path: impl AsRef<Path>) -> Result<Affine> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::read(path))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(Error::read(path))?;
    parse(&bytes).map_err(|source| Error::Transform { path: path.to_path_buf(), source })
}

/// The transform in the text of a file, RAS mm.
fn parse(bytes: &[u8]) -> std::result::Result<Affine, TransformError> {
    if bytes.len() as u64 > LARGEST {
        return Err(TransformError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| TransformError::Header)?;
    if text.lines().next().map(str::trim) != Some(HEADER) {
        return Err(TransformError::Header);
    }
    let kind = line(text, "Transform")?;
    let centre = numbers(text, "FixedParameters")?;
    // ITK 5 adds the order of the angles to the centre of an Euler transform; 0 is the usual order.
    let centre = match (kind, centre.as_slice()) {
        (_, &[x, y, z]) | ("Euler3DTransform_double_3_3", &[x, y, z, 0.0]) => [x, y, z],
        _ => return Err(TransformError::Count { name: "FixedParameters", found: centre.len(), wanted: 3 }),
    };
    let (matrix, translation) = match kind {
        "AffineTransform_double_3_3" | "MatrixOffsetTransformBase_double_3_3" => {
            let p: [f64; 12] = parameters(text)?;
            ([[p[0], p[1], p[2]], [p[3], p[4], p[5]], [p[6], p[7], p[8]]], [p[9], p[10], p[11]])
        }
        "Euler3DTransform_double_3_3" => {
            let [x, y, z, translation @ ..]: [f64; 6] = parameters(text)?;
            (euler([x, y, z]), translation)
        }
        other => return Err(TransformError::Kind(other.to_string())),
    };
    // ITK: y = M (x - centre) + centre + translation.
    let turned = Affine::new(matrix, [0.0; 3]).apply(centre);
    let offset = [0, 1, 2].map(|axis| translation[axis] + centre[axis] - turned[axis]);
    Ok(mirrored(&Affine::new(matrix, offset)))
}

/// The content of the one line that begins with `name` and a colon.
fn line<'a>(text: &'a str, name: &'static str) -> std::result::Result<&'a str, TransformError> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let content = lines.next().ok_or(TransformError::Missing(name))?;
    if lines.next().is_some() {
        return Err(TransformError::Several(name));
    }
    Ok(content.trim())
}

/// The numbers in the line of that name.
fn numbers(text: &str, name: &'static str) -> std::result::Result<Vec<f64>, TransformError> {
    let number = |word: &str| match word.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(TransformError::Number(word.chars().take(40).collect())),
    };
    line(text, name)?.split_whitespace().map(number).collect()
}

/// The numbers in the line "Parameters", which must be `N`.
fn parameters<const N: usize>(text: &str) -> std::result::Result<[f64; N], TransformError> {
    let found = numbers(text, "Parameters")?;
    found.try_into().map_err(|found: Vec<f64>| TransformError::Count { name: "Parameters", found: found.len(), wanted: N })
}

/// ITK's rotation by Euler angles (radians): first about y, then x, then z (`itk::Euler3DTransform`, computeZYX off).
fn euler([x, y, z]: [f64; 3]) -> [[f64; 3]; 3] {
    let ((sx, cx), (sy, cy), (sz, cz)) = (x.sin_cos(), y.sin_cos(), z.sin_cos());
    [
        [cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy],
        [sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy],
        [-cx * sy, sx, cx * cy],
    ]
}

/// The same map with x and y of both its sides negated: from RAS to LPS, or back.
fn mirrored(map: &Affine) -> Affine {
    let sign = [-1.0, -1.0, 1.0, 1.0];
    let mut rows = map.rows;
    for (r, row) in rows.iter_mut().enumerate() {
        for (c, value) in row.iter_mut().enumerate() {
            // Only where the signs differ, so that a zero keeps its own.
            if sign[r] != sign[c] {
                *value = -*value;
            }
        }
    }
    Affine { rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(kind: &str, parameters: &str, fixed: &str) -> String {
        format!("{HEADER}\n#Transform 0\nTransform: {kind}\nParameters: {parameters}\nFixedParameters: {fixed}\n")
    }

    fn close(a: [f64; 3], b: [f64; 3]) -> bool {
        (0..3).all(|axis| (a[axis] - b[axis]).abs() < 1e-12)
    }

    #[test]
    fn is_written_in_lps_as_itk_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tfm");
        let map = Affine::new([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.5]], [10.0, 20.0, 30.0]);
        write(&path, &map).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        let parameters = "1.0 2.0 -3.0 4.0 5.0 -6.0 -7.0 -8.0 9.5 -10.0 -20.0 30.0";
        assert_eq!(written, text("AffineTransform_double_3_3", parameters, "0 0 0"));
    }

    #[test]
    fn a_shift_to_the_right_is_negative_in_lps() {
        let map = parse(text("AffineTransform_double_3_3", "1 0 0 0 1 0 0 0 1 -5 -6 7", "0 0 0").as_bytes()).unwrap();
        assert!(close(map.apply([0.0; 3]), [5.0, 6.0, 7.0]));
    }

    #[test]
    fn the_centre_stays_where_it_is_but_for_the_translation() {
        let quarter = "0 -1 0 1 0 0 0 0 1 0 0 2";
        for kind in ["AffineTransform_double_3_3", "MatrixOffsetTransformBase_double_3_3"] {
            let map = parse(text(kind, quarter, "-3 -4 5").as_bytes()).unwrap();
            // The centre in RAS, and a point in front of it: a turn about z is the same turn in RAS and LPS.
            assert!(close(map.apply([3.0, 4.0, 5.0]), [3.0, 4.0, 7.0]));
            assert!(close(map.apply([4.0, 4.0, 5.0]), [3.0, 5.0, 7.0]));
        }
    }

    #[test]
    fn euler_angles_are_applied_y_then_x_then_z() {
        // Matrix products by hand-written factors, as itkEuler3DTransform.hxx multiplies them: Rz Rx Ry.
        let (x, y, z) = (0.3_f64, -0.2_f64, 0.5_f64);
        let about_x = Affine::new([[1.0, 0.0, 0.0], [0.0, x.cos(), -x.sin()], [0.0, x.sin(), x.cos()]], [0.0; 3]);
        let about_y = Affine::new([[y.cos(), 0.0, y.sin()], [0.0, 1.0, 0.0], [-y.sin(), 0.0, y.cos()]], [0.0; 3]);
        let about_z = Affine::new([[z.cos(), -z.sin(), 0.0], [z.sin(), z.cos(), 0.0], [0.0, 0.0, 1.0]], [0.0; 3]);
        let want = mirrored(&about_z.after(&about_x).after(&about_y));
        for fixed in ["0 0 0", "0 0 0 0"] {
            let got = parse(text("Euler3DTransform_double_3_3", "0.3 -0.2 0.5 0 0 0", fixed).as_bytes()).unwrap();
            for point in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] {
                assert!(close(got.apply(point), want.apply(point)));
            }
        }
    }

    #[test]
    fn each_failure_is_told_apart() {
        let affine = "AffineTransform_double_3_3";
        let good = "1 0 0 0 1 0 0 0 1 0 0 0";
        let error = |text: String| parse(text.as_bytes()).unwrap_err();
        assert_eq!(parse(&vec![b' '; 65 * 1024]), Err(TransformError::TooLarge));
        assert_eq!(parse(&[0xff, 0xfe]), Err(TransformError::Header));
        assert_eq!(error(String::new()), TransformError::Header);
        assert_eq!(error("Transform: x\n".into()), TransformError::Header);
        assert_eq!(error(format!("{HEADER}\n")), TransformError::Missing("Transform"));
        assert_eq!(error(format!("{HEADER}\nTransform: {affine}\n")), TransformError::Missing("FixedParameters"));
        let twice = text(affine, good, "0 0 0") + &text(affine, good, "0 0 0");
        assert_eq!(error(twice), TransformError::Several("Transform"));
        assert_eq!(
            error(text("BSplineTransform_double_3_3", good, "0 0 0")),
            TransformError::Kind("BSplineTransform_double_3_3".into())
        );
        assert_eq!(error(text(affine, "1 0 0 0 nan 0 0 0 1 0 0 0", "0 0 0")), TransformError::Number("nan".into()));
        assert_eq!(error(text(affine, "1 x", "0 0 0")), TransformError::Number("x".into()));
        let count = |name, found, wanted| TransformError::Count { name, found, wanted };
        assert_eq!(error(text(affine, "1 0 0", "0 0 0")), count("Parameters", 3, 12));
        assert_eq!(error(text("Euler3DTransform_double_3_3", good, "0 0 0")), count("Parameters", 12, 6));
        assert_eq!(error(text(affine, good, "0 0")), count("FixedParameters", 2, 3));
        // The fourth number of an Euler transform asks for another order of the angles.
        assert_eq!(error(text("Euler3DTransform_double_3_3", "0 0 0 0 0 0", "0 0 0 1")), count("FixedParameters", 4, 3));
    }

    #[test]
    fn a_file_of_64_kib_is_read_and_a_larger_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.tfm");
        let mut content = text("AffineTransform_double_3_3", "1 0 0 0 1 0 0 0 1 0 0 0", "0 0 0") + "#";
        content.extend(std::iter::repeat_n('x', 65_536 - content.len()));
        std::fs::write(&path, &content).unwrap();
        assert_eq!(read(&path).unwrap(), Affine::IDENTITY);
        std::fs::write(&path, content + "x").unwrap();
        assert!(matches!(read(&path), Err(Error::Transform { source: TransformError::TooLarge, .. })));
    }

    #[test]
    fn the_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.tfm");
        std::fs::write(&path, "hello").unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, Error::Transform { .. }) && error.to_string().contains("bad.tfm"), "{error}");
        assert!(matches!(read(folder.path().join("none.tfm")).unwrap_err(), Error::Read { .. }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::array::uniform12(-1e3_f64..1e3)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.tfm");
            let rows = [0, 1, 2].map(|r| [0, 1, 2, 3].map(|c| values[4 * r + c]));
            write(&path, &Affine { rows }).unwrap();
            prop_assert_eq!(read(&path).unwrap(), Affine { rows });
        }

        #[test]
        fn any_bytes_are_an_error_or_a_transform(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = [HEADER.as_bytes(), b"\nTransform: ", &bytes].concat();
            let _ = parse(&bytes);
            prop_assert!(parse(&text).is_err());
        }
    }
}
