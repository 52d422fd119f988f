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

#[cfg(test)]
mod tests {
    use super::*;

    /// B^T: one row for each point, infinity last.
    pub fn input_matrix(points: usize) -> Vec<Vec<f64>> {
        let finite = finite_points(points);
        // Coefficients of the product of (x - p) over some points, the constant first.
        let product = |without: Option<usize>| {
            let mut coefficients = vec![1.0];
            for (_, p) in finite.iter().enumerate().filter(|&(j, _)| Some(j) != without) {
                let mut next = vec![0.0; coefficients.len() + 1];
                for (power, c) in coefficients.iter().enumerate() {
                    next[power + 1] += c;
                    next[power] -= p * c;
                }
                coefficients = next;
            }
            coefficients.resize(points, 0.0);
            coefficients
        };
        let mut rows: Vec<Vec<f64>> = (0..finite.len()).map(|i| product(Some(i))).collect();
        let sign: f64 = finite[1..].iter().map(|q| -q).product::<f64>().signum();
        rows[0].iter_mut().for_each(|c| *c *= sign);
        rows.push(product(None));
        rows
    }

    /// A^T: one row for each output.
    pub fn output_matrix(points: usize) -> Vec<Vec<f64>> {
        let outputs = points - TAPS + 1;
        let finite = finite_points(points);
        (0..outputs)
            .map(|i| finite.iter().map(|p| p.powi(i as i32)).chain([f64::from(u8::from(i + 1 == outputs))]).collect())
            .collect()
    }

    #[test]
    fn the_matrices_make_a_correlation() {
        for points in [6, 8] {
            let (g, b, a) = (weight_matrix(points), input_matrix(points), output_matrix(points));
            let weights = [0.5, -1.25, 3.0, 0.75, -2.0];
            let x: Vec<f64> = (0..points).map(|i| (i as f64 * 1.7).sin()).collect();
            let products: Vec<f64> = (0..points)
                .map(|p| {
                    let u: f64 = g[p].iter().zip(&weights).map(|(g, w)| g * w).sum();
                    let v: f64 = b[p].iter().zip(&x).map(|(b, x)| b * x).sum();
                    u * v
                })
                .collect();
            for (i, row) in a.iter().enumerate() {
                let y: f64 = row.iter().zip(&products).map(|(a, m)| a * m).sum();
                let expected: f64 = (0..TAPS).map(|t| weights[t] * x[i + t]).sum();
                assert!((y - expected).abs() < 1e-12, "F({}, 5), output {i}: {y} for {expected}", a.len());
            }
        }
    }

    #[test]
    fn the_kernels_transforms_are_the_matrices() {
        use crate::network::cpu::kernels::{Instructions, Kernels, by_points};
        use crate::network::cpu::simd::LANES;
        use crate::network::cpu::winograd::transform::Lines;

        for instructions in Instructions::ALL.into_iter().filter(|i| i.available()) {
            let kernels = Kernels::of(instructions).unwrap();
            for points in [6, 8] {
                let x: Vec<f32> = (0..points * LANES).map(|i| ((i * 37 % 101) as f32 - 50.0) / 8.0).collect();
                let run = |kernel: unsafe fn(&Lines)| {
                    let mut y = vec![0.0f32; 8 * LANES];
                    let lines = Lines {
                        inputs: std::array::from_fn(|p| x.as_ptr().wrapping_add(p * LANES)),
                        input_step: LANES,
                        output: y.as_mut_ptr(),
                        output_stride: LANES,
                        output_step: LANES,
                        n: 1,
                    };
                    // SAFETY: x has a vector for each point, y one for each of up to 8 results; the instructions are there.
                    unsafe { kernel(&lines) };
                    y
                };
                let cases = [(kernels.forward, input_matrix(points)), (kernels.inverse, output_matrix(points))];
                for (kernels, matrix) in cases {
                    let y = run(kernels[by_points(points)]);
                    for (r, row) in matrix.iter().enumerate() {
                        for lane in 0..LANES {
                            let expected: f64 = row.iter().enumerate().map(|(p, m)| m * f64::from(x[p * LANES + lane])).sum();
                            let error = (f64::from(y[r * LANES + lane]) - expected).abs();
                            assert!(error < 1e-4, "{instructions}, {points} points, row {r}: {error:e}");
                        }
                    }
                }
            }
        }
    }
}
