use crate::network::Real;
use ndarray::{Array4, ArrayView4, Axis};

/// Parametric rectified linear unit with one slope per channel (He et al. 2015, equation 1): x where x > 0, else slope * x. ReLU has slope 0.
///
/// `x` is (C, D, H, W), `slopes` has C values.
///
/// # Panics
/// Where the number of slopes is not the number of channels.
pub fn prelu<T: Real>(mut x: Array4<T>, slopes: &[T]) -> Array4<T> {
    assert_eq!(x.dim().0, slopes.len(), "one slope for each channel");
    for (mut channel, &slope) in x.axis_iter_mut(Axis(0)).zip(slopes) {
        let zero = T::from_f64(0.0);
        channel.mapv_inplace(|value| if value > zero { value } else { T::from_f64(slope.to_f64() * value.to_f64()) });
    }
    x
}

/// Gradient of [`prelu`] by its input and by its slopes, for the gradient `dy` of its result:
/// `dx = dy` where x > 0, else `slope * dy`; `dslope[c] = sum over the channel's voxels with x <= 0 of dy * x`.
///
/// # Panics
/// Where the shapes do not fit one another.
pub fn prelu_backward<T: Real>(x: ArrayView4<T>, slopes: &[T], dy: ArrayView4<T>) -> (Array4<T>, Vec<T>) {
    assert_eq!((x.dim(), x.dim().0), (dy.dim(), slopes.len()), "shapes of input and gradient; one slope for each channel");
    let mut dx = dy.to_owned();
    let mut sums = vec![0.0; slopes.len()];
    for ((c, d, h, w), dx) in dx.indexed_iter_mut() {
        let value = x[[c, d, h, w]].to_f64();
        if value <= 0.0 {
            sums[c] += dx.to_f64() * value;
            *dx = T::from_f64(slopes[c].to_f64() * dx.to_f64());
        }
    }
    (dx, sums.into_iter().map(T::from_f64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_slope() {
        let x = Array4::from_shape_vec((2, 1, 1, 2), vec![-4.0, 3.0, -4.0, 3.0]).unwrap();
        assert_eq!(prelu(x, &[0.25, 0.5]).into_raw_vec_and_offset().0, vec![-1.0, 3.0, -2.0, 3.0]);
    }
}
