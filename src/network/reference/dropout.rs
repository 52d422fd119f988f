use crate::network::Real;
use ndarray::Array4;

/// Dropout in its inverted form (Srivastava et al. 2014): values are 0 where `keep` is false and divided by `1 - rate` elsewhere, so that the mean stays.
///
/// It is linear: its gradient is the same function of its result's gradient.
///
/// # Panics
/// Where the shapes differ.
pub fn dropout<T: Real>(mut x: Array4<T>, keep: &Array4<bool>, rate: f64) -> Array4<T> {
    assert_eq!(x.dim(), keep.dim(), "one decision for each value");
    x.zip_mut_with(keep, |x, &keep| *x = T::from_f64(if keep { x.to_f64() / (1.0 - rate) } else { 0.0 }));
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_grows() {
        let x = Array4::from_shape_vec((1, 1, 1, 3), vec![3.0f32, 3.0, -6.0]).unwrap();
        let keep = Array4::from_shape_vec((1, 1, 1, 3), vec![true, false, true]).unwrap();
        assert_eq!(dropout(x, &keep, 0.25).into_raw_vec_and_offset().0, [4.0, 0.0, -8.0]);
    }
}
