use crate::network::Real;
use ndarray::{Array4, Array5};

/// Gradient of a layer by its input, kernel and bias, each in its own shape.
#[derive(Clone, Debug)]
pub struct Gradient<T> {
    /// By the input.
    pub x: Array4<T>,
    /// By the kernel.
    pub kernel: Array5<T>,
    /// By the bias.
    pub bias: Vec<T>,
}

impl Gradient<f64> {
    /// Sums that have not begun.
    pub(super) fn zeros(x: (usize, usize, usize, usize), kernel: (usize, usize, usize, usize, usize), bias: usize) -> Self {
        Gradient { x: Array4::zeros(x), kernel: Array5::zeros(kernel), bias: vec![0.0; bias] }
    }

    /// The sums in the type of the operands.
    pub(super) fn rounded<T: Real>(self) -> Gradient<T> {
        Gradient {
            x: self.x.mapv(T::from_f64),
            kernel: self.kernel.mapv(T::from_f64),
            bias: self.bias.into_iter().map(T::from_f64).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::reference::{conv, conv_backward, down, down_backward, prelu, prelu_backward, up, up_backward};
    use ndarray::{ArrayView4, ArrayView5, Dimension};

    type Forward = fn(ArrayView4<f64>, ArrayView5<f64>, &[f64]) -> Array4<f64>;
    type Backward = fn(ArrayView4<f64>, ArrayView5<f64>, ArrayView4<f64>) -> Gradient<f64>;

    /// Numbers without a pattern, none of them near 0.
    fn array<D: Dimension>(shape: impl Into<ndarray::StrideShape<D>>, seed: usize) -> ndarray::Array<f64, D> {
        let shape = shape.into();
        let len = shape.size();
        let value = |i: usize| {
            let x = ((i + 1) * (2 * seed + 7919) % 101) as f64 / 50.0 - 1.0;
            if x.abs() < 0.01 { 0.37 } else { x }
        };
        ndarray::Array::from_shape_vec(shape, (0..len).map(value).collect()).unwrap()
    }

    /// Derivative of `f` by each of `values`, by central differences.
    fn differences(values: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let step = 1e-5;
        let at = |n: usize, by: f64| {
            let mut moved = values.to_vec();
            moved[n] += by;
            f(&moved)
        };
        (0..values.len()).map(|n| (at(n, step) - at(n, -step)) / (2.0 * step)).collect()
    }

    fn assert_close<'a>(gradient: impl IntoIterator<Item = &'a f64>, differences: &[f64], what: &str) {
        let gradient: Vec<f64> = gradient.into_iter().copied().collect();
        assert_eq!(gradient.len(), differences.len(), "{what}");
        for (n, (g, d)) in gradient.iter().zip(differences).enumerate() {
            assert!((g - d).abs() < 1e-7, "{what}, value {n}: {g} for {d}");
        }
    }

    /// The gradient of sum(dy * forward) by input, kernel and bias against finite differences.
    fn check(forward: Forward, backward: Backward, x: [usize; 4], kernel: [usize; 5], outputs: usize, what: &str) {
        let (x, kernel, bias) = (array(x, 1), array(kernel, 2), array(outputs, 3).to_vec());
        let dy = array(forward(x.view(), kernel.view(), &bias).raw_dim(), 4);
        let gradient = backward(x.view(), kernel.view(), dy.view());
        let total = |y: Array4<f64>| (y * &dy).sum();
        let values = x.as_slice().unwrap();
        let by_x = differences(values, |v| total(forward(ArrayView4::from_shape(x.raw_dim(), v).unwrap(), kernel.view(), &bias)));
        assert_close(&gradient.x, &by_x, &format!("{what} by its input"));
        let by_kernel = differences(kernel.as_slice().unwrap(), |v| {
            total(forward(x.view(), ArrayView5::from_shape(kernel.raw_dim(), v).unwrap(), &bias))
        });
        assert_close(&gradient.kernel, &by_kernel, &format!("{what} by its kernel"));
        let by_bias = differences(&bias, |v| total(forward(x.view(), kernel.view(), v)));
        assert_close(&gradient.bias, &by_bias, &format!("{what} by its bias"));
    }

    #[test]
    fn gradients_of_the_convolutions_are_finite_differences() {
        check(conv, conv_backward, [2, 3, 4, 6], [5, 3, 5, 2, 3], 3, "conv");
        check(conv, conv_backward, [1, 2, 5, 6], [1, 5, 5, 1, 2], 2, "planar conv");
        check(down, down_backward, [3, 4, 2, 6], [2, 2, 2, 3, 2], 2, "down");
        check(down, down_backward, [2, 3, 2, 4], [1, 2, 2, 2, 3], 3, "planar down");
        check(up, up_backward, [3, 2, 1, 3], [2, 2, 2, 2, 3], 2, "up");
        check(up, up_backward, [2, 3, 2, 2], [1, 2, 2, 3, 2], 3, "planar up");
    }

    #[test]
    fn the_gradient_of_prelu_is_finite_differences() {
        let (x, slopes) = (array([3, 2, 3, 4], 1), vec![0.25, -0.5, 0.0]);
        let dy = array([3, 2, 3, 4], 2);
        let (dx, dslopes) = prelu_backward(x.view(), &slopes, dy.view());
        let total = |y: Array4<f64>| (y * &dy).sum();
        let by_x = differences(x.as_slice().unwrap(), |v| {
            total(prelu(Array4::from_shape_vec(x.raw_dim(), v.to_vec()).unwrap(), &slopes))
        });
        assert_close(&dx, &by_x, "prelu by its input");
        assert_close(&dslopes, &differences(&slopes, |v| total(prelu(x.clone(), v))), "prelu by its slopes");
    }
}
