use super::Gradient;
use crate::network::Real;
use ndarray::parallel::prelude::*;
use ndarray::{Array4, ArrayView4, ArrayView5, Axis};

/// Convolution of stride 1 with zero "same" padding, in the sense of neural networks (no flip of the kernel):
///
/// `y[n, d, h, w] = bias[n] + sum over c, i, j, k of kernel[i, j, k, c, n] * x[c, d + i - kd/2, h + j - kh/2, w + k - kw/2]`
///
/// with x = 0 outside its grid. `x` is (C, D, H, W), `kernel` (kd, kh, kw, C, N) with odd sides, `bias` has N values; the result is (N, D, H, W).
///
/// # Panics
/// Where the shapes do not fit one another.
pub fn conv<T: Real>(x: ArrayView4<T>, kernel: ArrayView5<T>, bias: &[T]) -> Array4<T> {
    let (channels, depth, height, width) = x.dim();
    let (kd, kh, kw, inputs, outputs) = kernel.dim();
    assert!(kd % 2 == 1 && kh % 2 == 1 && kw % 2 == 1, "the kernel's sides must be odd");
    assert_eq!((channels, bias.len()), (inputs, outputs), "channels of input and kernel, of bias and kernel");
    let kernel = kernel.as_standard_layout();

    let mut y = Array4::from_elem((outputs, depth, height, width), T::from_f64(0.0));
    y.axis_iter_mut(Axis(1)).into_par_iter().enumerate().for_each(|(d, mut plane)| {
        let mut sum = vec![0.0f64; outputs];
        for h in 0..height {
            for w in 0..width {
                for (sum, &bias) in sum.iter_mut().zip(bias) {
                    *sum = bias.to_f64();
                }
                for i in 0..kd {
                    let Some(z) = tap(d, i, kd, depth) else { continue };
                    for j in 0..kh {
                        let Some(y) = tap(h, j, kh, height) else { continue };
                        for k in 0..kw {
                            let Some(u) = tap(w, k, kw, width) else { continue };
                            for c in 0..channels {
                                let value = x[[c, z, y, u]].to_f64();
                                let weights = kernel.slice(ndarray::s![i, j, k, c, ..]);
                                for (sum, &weight) in
                                    sum.iter_mut().zip(weights.as_slice().expect("the kernel is in standard layout"))
                                {
                                    *sum += value * weight.to_f64();
                                }
                            }
                        }
                    }
                }
                for (n, &sum) in sum.iter().enumerate() {
                    plane[[n, h, w]] = T::from_f64(sum);
                }
            }
        }
    });
    y
}

/// Place of a tap in the input, or `None` in the padding.
fn tap(at: usize, offset: usize, size: usize, length: usize) -> Option<usize> {
    (at + offset).checked_sub(size / 2).filter(|&place| place < length)
}

/// Gradient of [`conv`] for the gradient `dy` of its result:
///
/// `dx[c, z, y, u] = sum over n, i, j, k of kernel[i, j, k, c, n] * dy[n, z - i + kd/2, y - j + kh/2, u - k + kw/2]` (the convolution with the kernel
/// flipped and its channels exchanged), `dkernel[i, j, k, c, n] = sum over d, h, w of dy[n, d, h, w] * x[c, d + i - kd/2, h + j - kh/2, w + k - kw/2]`,
/// `dbias[n] = sum over d, h, w of dy[n, d, h, w]`.
///
/// # Panics
/// Where the shapes do not fit one another.
pub fn conv_backward<T: Real>(x: ArrayView4<T>, kernel: ArrayView5<T>, dy: ArrayView4<T>) -> Gradient<T> {
    let (channels, depth, height, width) = x.dim();
    let (kd, kh, kw, inputs, outputs) = kernel.dim();
    assert_eq!((channels, dy.dim()), (inputs, (outputs, depth, height, width)), "shapes of input, kernel and gradient");
    let mut gradient = Gradient::zeros(x.dim(), kernel.dim(), outputs);
    for ((n, d, h, w), &slope) in dy.indexed_iter() {
        let slope = slope.to_f64();
        gradient.bias[n] += slope;
        for (i, j, k) in (0..kd).flat_map(|i| (0..kh).flat_map(move |j| (0..kw).map(move |k| (i, j, k)))) {
            let places = (tap(d, i, kd, depth), tap(h, j, kh, height), tap(w, k, kw, width));
            let (Some(z), Some(y), Some(u)) = places else { continue };
            for c in 0..channels {
                gradient.kernel[[i, j, k, c, n]] += slope * x[[c, z, y, u]].to_f64();
                gradient.x[[c, z, y, u]] += slope * kernel[[i, j, k, c, n]].to_f64();
            }
        }
    }
    gradient.rounded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array5, array};

    #[test]
    fn one_tap_shifts_the_volume_towards_the_tap() {
        // Only the tap (d - 1, h, w + 2) is 1: y[d, h, w] = x[d - 1, h, w + 2].
        let mut kernel = Array5::zeros((5, 5, 5, 1, 1));
        kernel[[1, 2, 4, 0, 0]] = 1.0;
        let x = Array4::from_shape_fn((1, 3, 2, 4), |(_, d, h, w)| (100 * d + 10 * h + w) as f32);
        let y = conv(x.view(), kernel.view(), &[0.5]);
        for ((_, d, h, w), &value) in y.indexed_iter() {
            let expected = if d >= 1 && w + 2 < 4 { x[[0, d - 1, h, w + 2]] } else { 0.0 };
            assert_eq!(value, expected + 0.5);
        }
    }

    #[test]
    fn channels_are_mixed_by_the_last_two_axes() {
        let kernel = array![[1.0f32, 2.0, 3.0], [10.0, 20.0, 30.0]].into_shape_with_order((1, 1, 1, 2, 3)).unwrap();
        let x = Array4::from_shape_vec((2, 1, 1, 1), vec![1.0, 2.0]).unwrap();
        let y = conv(x.view(), kernel.view(), &[0.0, 0.0, 100.0]);
        assert_eq!(y.into_raw_vec_and_offset().0, vec![21.0, 42.0, 163.0]);
    }

    #[test]
    fn a_kernel_of_ones_counts_the_voxels_inside_the_grid() {
        let y = conv(Array4::ones((1, 4, 4, 4)).view(), Array5::ones((5, 5, 5, 1, 1)).view(), &[0.0]);
        assert_eq!(y[[0, 0, 0, 0]], 27.0);
        assert_eq!(y[[0, 1, 2, 1]], 64.0);
    }
}
