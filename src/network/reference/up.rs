use super::Gradient;
use crate::network::Real;
use ndarray::{Array4, ArrayView4, ArrayView5};

/// Transposed convolution whose stride is its kernel: each input voxel fills its own block,
///
/// `y[n, d*kd + i, h*kh + j, w*kw + k] = bias[n] + sum over c of kernel[i, j, k, n, c] * x[c, d, h, w]`
///
/// `x` is (C, D, H, W), `kernel` (kd, kh, kw, N, C) with the outputs first; the result is (N, D*kd, H*kh, W*kw).
///
/// # Panics
/// Where the shapes do not fit one another.
pub fn up<T: Real>(x: ArrayView4<T>, kernel: ArrayView5<T>, bias: &[T]) -> Array4<T> {
    let (channels, depth, height, width) = x.dim();
    let (kd, kh, kw, outputs, inputs) = kernel.dim();
    assert_eq!((channels, bias.len()), (inputs, outputs), "channels of input and kernel, of bias and kernel");
    Array4::from_shape_fn((outputs, depth * kd, height * kh, width * kw), |(n, d, h, w)| {
        let mut sum = bias[n].to_f64();
        for c in 0..channels {
            sum += kernel[[d % kd, h % kh, w % kw, n, c]].to_f64() * x[[c, d / kd, h / kh, w / kw]].to_f64();
        }
        T::from_f64(sum)
    })
}

/// Gradient of [`up`] for the gradient `dy` of its result:
///
/// `dx[c, d, h, w] = sum over n, i, j, k of kernel[i, j, k, n, c] * dy[n, d*kd + i, h*kh + j, w*kw + k]`,
/// `dkernel[i, j, k, n, c] = sum over d, h, w of x[c, d, h, w] * dy[n, d*kd + i, h*kh + j, w*kw + k]`, `dbias[n] = sum over all voxels of dy[n, d, h, w]`.
///
/// # Panics
/// Where the shapes do not fit one another.
pub fn up_backward<T: Real>(x: ArrayView4<T>, kernel: ArrayView5<T>, dy: ArrayView4<T>) -> Gradient<T> {
    let (channels, depth, height, width) = x.dim();
    let (kd, kh, kw, outputs, inputs) = kernel.dim();
    let expected = (inputs, (outputs, depth * kd, height * kh, width * kw));
    assert_eq!((channels, dy.dim()), expected, "shapes of input, kernel and gradient");
    let mut gradient = Gradient::zeros(x.dim(), kernel.dim(), outputs);
    for ((n, d, h, w), &slope) in dy.indexed_iter() {
        let slope = slope.to_f64();
        gradient.bias[n] += slope;
        for c in 0..channels {
            let (tap, place) = ([d % kd, h % kh, w % kw, n, c], [c, d / kd, h / kh, w / kw]);
            gradient.kernel[tap] += slope * x[place].to_f64();
            gradient.x[place] += slope * kernel[tap].to_f64();
        }
    }
    gradient.rounded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::reference::down;
    use ndarray::Array5;

    #[test]
    fn each_input_fills_its_own_block() {
        let kernel = Array5::from_shape_fn((2, 1, 2, 1, 1), |(i, _, k, _, _)| (1 + 2 * i + k) as f32);
        let x = Array4::from_shape_vec((1, 1, 1, 2), vec![1.0, 10.0]).unwrap();
        let y = up(x.view(), kernel.view(), &[0.0]);
        assert_eq!(y.dim(), (1, 2, 1, 4));
        assert_eq!(y.into_raw_vec_and_offset().0, vec![1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]);
    }

    #[test]
    fn it_is_the_transpose_of_the_down_convolution() {
        // <down(x), y> = <x, up(y)> with the same kernel, in and out exchanged by the layout's convention.
        let value = |i: usize| ((i * 7919) % 23) as f32 - 11.0;
        let kernel = Array5::from_shape_fn((2, 2, 2, 3, 2), |(i, j, k, c, n)| value(i * 97 + j * 41 + k * 17 + c * 5 + n));
        let x = Array4::from_shape_fn((3, 4, 2, 6), |(c, d, h, w)| value(c * 301 + d * 43 + h * 11 + w));
        let y = Array4::from_shape_fn((2, 2, 1, 3), |(c, d, h, w)| value(c * 201 + d * 31 + h * 7 + w));
        let dot = |a: &Array4<f32>, b: &Array4<f32>| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let there = dot(&down(x.view(), kernel.view(), &[0.0; 2]), &y);
        let back = dot(&x, &up(y.view(), kernel.view(), &[0.0; 3]));
        assert_eq!(there, back);
    }
}
