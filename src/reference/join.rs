use ndarray::{Array4, ArrayView4, Axis};

/// The channels of `first`, then those of `second`: (C1, D, H, W) and (C2, D, H, W) to (C1 + C2, D, H, W).
///
/// # Panics
/// Where the grids differ.
pub fn concatenate(first: ArrayView4<f32>, second: ArrayView4<f32>) -> Array4<f32> {
    ndarray::concatenate(Axis(0), &[first, second]).expect("both parts of a concatenation have the same grid")
}

/// The sum of two activations of the same shape: a residual connection (He et al. 2016).
///
/// # Panics
/// Where the shapes differ.
pub fn add(mut x: Array4<f32>, residual: ArrayView4<f32>) -> Array4<f32> {
    assert_eq!(x.dim(), residual.dim(), "a residual connection has its output's shape");
    x += &residual;
    x
}

/// A one-channel volume (1, D, H, W) repeated for `channels` channels.
///
/// # Panics
/// Where `x` has another number of channels than 1.
pub fn broadcast_channels(x: ArrayView4<f32>, channels: usize) -> Array4<f32> {
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
