use super::Gradient;
use crate::network::Real;
use ndarray::{Array4, ArrayView4, ArrayView5};

/// Convolution whose stride is its kernel, without padding:
///
/// `y[n, d, h, w] = bias[n] + sum over c, i, j, k of kernel[i, j, k, c, n] * x[c, d*kd + i, h*kh + j, w*kw + k]`
///
/// `x` is (C, D, H, W) with sides that are multiples of the kernel's, `kernel` (kd, kh, kw, C, N); the result is (N, D/kd, H/kh, W/kw).
///
/// # Panics
/// Where the shapes do not fit one another.
pub fn down<T: Real>(x: ArrayView4<T>, kernel: ArrayView5<T>, bias: &[T]) -> Array4<T> {
    let (channels, depth, height, width) = x.dim();
    let (kd, kh, kw, inputs, outputs) = kernel.dim();
    assert_eq!((channels, bias.len()), (inputs, outputs), "channels of input and kernel, of bias and kernel");
    assert!(depth % kd == 0 && height % kh == 0 && width % kw == 0, "the grid must be a multiple of the stride");
    Array4::from_shape_fn((outputs, depth / kd, height / kh, width / kw), |(n, d, h, w)| {
        let mut sum = bias[n].to_f64();
        for i in 0..kd {
            for j in 0..kh {
                for k in 0..kw {
                    for c in 0..channels {
                        sum += kernel[[i, j, k, c, n]].to_f64() * x[[c, d * kd + i, h * kh + j, w * kw + k]].to_f64();
                    }
                }
            }
        }
        T::from_f64(sum)
    })
}

/// Gradient of [`down`] for the gradient `dy` of its result:
///
/// `dx[c, d*kd + i, h*kh + j, w*kw + k] = sum over n of kernel[i, j, k, c, n] * dy[n, d, h, w]`,
/// `dkernel[i, j, k, c, n] = sum over d, h, w of dy[n, d, h, w] * x[c, d*kd + i, h*kh + j, w*kw + k]`, `dbias[n] = sum over d, h, w of dy[n, d, h, w]`.
///
/// # Panics
/// Where the shapes do not fit one another.
pub fn down_backward<T: Real>(x: ArrayView4<T>, kernel: ArrayView5<T>, dy: ArrayView4<T>) -> Gradient<T> {
    let (channels, depth, height, width) = x.dim();
    let (kd, kh, kw, inputs, outputs) = kernel.dim();
    let expected = (inputs, (outputs, depth / kd, height / kh, width / kw));
    assert_eq!((channels, dy.dim()), expected, "shapes of input, kernel and gradient");
    let mut gradient = Gradient::zeros(x.dim(), kernel.dim(), outputs);
    for ((n, d, h, w), &slope) in dy.indexed_iter() {
        let slope = slope.to_f64();
        gradient.bias[n] += slope;
        for ((i, j, k, c, _), &weight) in kernel.slice(ndarray::s![.., .., .., .., n..=n]).indexed_iter() {
            let place = [c, d * kd + i, h * kh + j, w * kw + k];
            gradient.kernel[[i, j, k, c, n]] += slope * x[place].to_f64();
            gradient.x[place] += slope * weight.to_f64();
        }
    }
    gradient.rounded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array5;

    #[test]
    fn each_output_sees_its_own_block() {
        // Weights 1, 10, 100, ... by tap: the digits of an output are the block's values in the order d, h, w.
        let kernel = Array5::from_shape_fn((2, 1, 2, 1, 1), |(i, _, k, _, _)| 10f32.powi((2 * i + k) as i32));
        let x = Array4::from_shape_fn((1, 2, 2, 4), |(_, d, h, w)| (d * 4 + h * 2 + w % 2) as f32);
        let y = down(x.view(), kernel.view(), &[0.0]);
        assert_eq!(y.dim(), (1, 1, 2, 2));
        assert_eq!(y[[0, 0, 0, 0]], 5410.0);
        assert_eq!(y[[0, 0, 1, 1]], 7632.0);
    }
}
