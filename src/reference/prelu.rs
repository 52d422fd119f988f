use ndarray::{Array4, Axis};

/// Parametric rectified linear unit with one slope per channel (He et al. 2015, equation 1): x where x > 0, else slope * x. ReLU has slope 0.
///
/// `x` is (C, D, H, W), `slopes` has C values.
///
/// # Panics
/// Where the number of slopes is not the number of channels.
pub fn prelu(mut x: Array4<f32>, slopes: &[f32]) -> Array4<f32> {
    assert_eq!(x.dim().0, slopes.len(), "one slope for each channel");
    for (mut channel, &slope) in x.axis_iter_mut(Axis(0)).zip(slopes) {
        channel.mapv_inplace(|value| if value > 0.0 { value } else { slope * value });
    }
    x
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
