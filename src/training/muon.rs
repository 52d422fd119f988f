//! Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"): steps of a kernel whose singular values are all about the same.
//!
//! A gradient's singular values differ by orders of magnitude, and Adam, which looks at each weight alone, follows the few large ones. Muon takes the
//! gradient's moving average and replaces its singular values by 1, so that a kernel learns in all directions at once.

use ndarray::{Array2, ArrayView2};

/// Coefficients of the odd polynomial that, applied to singular values again and again, takes all that are not tiny near 1 (Jordan et al. 2024).
const POLYNOMIAL: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// How often it is applied: singular values from a hundredth of the Frobenius norm on end between 0.6 and 1.3.
const TIMES: usize = 6;

/// The nearest matrix with singular values near 1: for the singular value decomposition U S V^T, about U V^T. Zeros where all of it is 0.
///
/// The polynomial is that of the matrix's Gram matrix, which is as small as the number of columns squared: a kernel's output channels.
pub fn orthogonal(matrix: ArrayView2<f32>) -> Array2<f32> {
    let mut gram = matrix.t().dot(&matrix).mapv(f64::from);
    let square_norm = gram.diag().sum();
    if square_norm <= f64::from(f32::MIN_POSITIVE) {
        return Array2::zeros(matrix.dim());
    }
    gram /= square_norm;
    let [first, third, fifth] = POLYNOMIAL;
    let identity = Array2::<f64>::eye(matrix.ncols());
    let mut factor = identity.clone();
    for _ in 0..TIMES {
        let step = &identity * first + &gram * third + gram.dot(&gram) * fifth;
        factor = factor.dot(&step);
        gram = step.dot(&gram).dot(&step);
    }
    matrix.dot(&factor.mapv(|value| (value / square_norm.sqrt()) as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::keyed::Random;

    fn random(rows: usize, columns: usize) -> Array2<f32> {
        let mut random = Random::new(3);
        Array2::from_shape_fn((rows, columns), |_| random.normal() as f32)
    }

    /// A matrix with orthonormal columns (Gram and Schmidt).
    fn frame(rows: usize, columns: usize) -> Array2<f32> {
        let mut frame = random(rows, columns);
        for column in 0..columns {
            for before in 0..column {
                let along = frame.column(before).dot(&frame.column(column));
                let taken = &frame.column(column) - &(&frame.column(before) * along);
                frame.column_mut(column).assign(&taken);
            }
            let norm = frame.column(column).dot(&frame.column(column)).sqrt();
            frame.column_mut(column).mapv_inplace(|value| value / norm);
        }
        frame
    }

    #[test]
    fn singular_values_end_near_1_and_directions_stay() {
        let (left, right) = (frame(60, 6), frame(6, 6));
        let values = [5.0f32, 3.0, 1.0, 0.6, 0.3, 0.1];
        let matrix = (&left * &ArrayView2::from_shape((1, 6), &values).unwrap()).dot(&right.t());
        // With U and V the matrix's own directions, U^T X V is diagonal for an X that has kept them.
        let turned = left.t().dot(&orthogonal(matrix.view())).dot(&right);
        for ((row, column), &value) in turned.indexed_iter() {
            if row == column {
                assert!((0.6..1.3).contains(&value), "{value}");
            } else {
                assert!(value.abs() < 1e-3, "{value} at {row}, {column}");
            }
        }
    }

    #[test]
    fn the_size_does_not_matter() {
        let matrix = random(40, 8);
        let expected = orthogonal(matrix.view());
        for scale in [1e-12f32, 1e12] {
            let found = orthogonal((&matrix * scale).view());
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "scale {scale}");
        }
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(orthogonal(Array2::zeros((10, 3)).view()), Array2::<f32>::zeros((10, 3)));
    }
}
