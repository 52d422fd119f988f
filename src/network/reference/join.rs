use crate::network::Real;
use ndarray::{Array4, ArrayView4, Axis};

/// The channels of `first`, then those of `second`: (C1, D, H, W) and (C2, D, H, W) to (C1 + C2, D, H, W).
///
/// # Panics
/// Where the grids differ.
pub fn concatenate<T: Real>(first: ArrayView4<T>, second: ArrayView4<T>) -> Array4<T> {
    ndarray::concatenate(Axis(0), &[first, second]).expect("both parts of a concatenation have the same grid")
}

/// Gradient of [`concatenate`] by both parts, of which the first has `channels` channels, for the gradient `dy` of its result.
///
/// # Panics
/// Where `dy` has fewer channels.
pub fn concatenate_backward<T: Real>(dy: ArrayView4<T>, channels: usize) -> (Array4<T>, Array4<T>) {
    let (first, second) = dy.split_at(Axis(0), channels);
    (first.to_owned(), second.to_owned())
}

/// The sum of two activations of the same shape: a residual connection (He et al. 2016). Its gradient is that of its result for both.
///
/// # Panics
/// Where the shapes differ.
pub fn add<T: Real>(mut x: Array4<T>, residual: ArrayView4<T>) -> Array4<T> {
    assert_eq!(x.dim(), residual.dim(), "a residual connection has its output's shape");
    x.zip_mut_with(&residual, |x, r| *x = T::from_f64(x.to_f64() + r.to_f64()));
    x
}

/// A one-channel volume (1, D, H, W) repeated for `channels` channels.
///
/// # Panics
/// Where `x` has another number of channels than 1.
pub fn broadcast_channels<T: Real>(x: ArrayView4<T>, channels: usize) -> Array4<T> {
    let (one, depth, height, width) = x.dim();
    assert_eq!(one, 1, "only one channel can be broadcast");
    x.broadcast((channels, depth, height, width)).expect("the grid is the same").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_comes_first() {
        let first = Array4::from_elem((1, 1, 1, 2), 1.0);
        let second = Array4::from_elem((2, 1, 1, 2), 2.0);
        assert_eq!(concatenate(first.view(), second.view()).into_raw_vec_and_offset().0, vec![1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn the_input_is_added_to_every_channel() {
        let x = Array4::from_shape_vec((1, 1, 1, 2), vec![3.0, 5.0]).unwrap();
        let sum = add(Array4::ones((2, 1, 1, 2)), broadcast_channels(x.view(), 2).view());
        assert_eq!(sum.into_raw_vec_and_offset().0, vec![4.0, 6.0, 4.0, 6.0]);
    }
}
