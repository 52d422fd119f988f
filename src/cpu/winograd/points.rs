//! The matrices of Winograd's one-dimensional convolution F(m, 5), made from its interpolation points.
//!
//! `y = A^T [(G w) * (B^T x)]` gives m outputs of a correlation with 5 weights from n = m + 4 inputs with n products (Toom 1963, Cook 1966;
//! Winograd 1980; Lavin and Gray 2016). With the points p_0 .. p_{n-2} and infinity, and N_i = product over j != i of (p_i - p_j):
//! row i of G is (1, p_i, .. p_i^4) / N_i; row i of B^T has the coefficients of product over j != i of (x - p_j); column i of A^T is
//! (1, p_i, .. p_i^(m-1)). For infinity G takes the last weight, B^T the coefficients of the product over all points, A^T the last output.
//! Where N of the point 0 is negative, both G's and B^T's rows change their sign.
//!
//! Points near 1 and their reciprocals keep the powers, and so the rounding errors, small: see the tests for the error of each.

/// Weights of the one-dimensional kernel.
pub const TAPS: usize = 5;

/// Finite points of F(4, 5), in pairs p, -p after 0.
pub const POINTS_4: [f64; 7] = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];
/// Finite points of F(2, 5).
pub const POINTS_2: [f64; 5] = [0.0, 1.0, -1.0, 0.5, -0.5];

/// The finite points of the transform with `points` points in all: 8 or 6.
fn finite_points(points: usize) -> &'static [f64] {
    if points == 8 { &POINTS_4 } else { &POINTS_2 }
}

/// N_i with its sign changed where point 0 asks for it.
fn norm(finite: &[f64], i: usize) -> f64 {
    let n: f64 = finite.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, q)| finite[i] - q).product();
    if i == 0 { n.abs() } else { n }
}

/// G: one row of 5 for each point, infinity last; the identity for 1 point (an axis along which the kernel has one tap).
pub fn weight_matrix(points: usize) -> Vec<[f64; TAPS]> {
    if points == 1 {
        return vec![[1.0, 0.0, 0.0, 0.0, 0.0]];
    }
    let finite = finite_points(points);
    let row = |i: usize| std::array::from_fn(|power| finite[i].powi(power as i32) / norm(finite, i));
    (0..finite.len()).map(row).chain([[0.0, 0.0, 0.0, 0.0, 1.0]]).collect()
}
