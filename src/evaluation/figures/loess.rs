//! Locally weighted regression: the smooth line through a cloud of points.

/// Share of the points that each local line is fitted to (f of Cleveland 1979, whose default is 2/3 in later programs).
const SPAN: f64 = 2.0 / 3.0;
/// Times that outliers are given less weight.
const ITERATIONS: usize = 3;

/// The robust locally weighted regression of Cleveland (Journal of the American Statistical Association 1979, section 2): at each
/// x the value of a line fitted to the nearest 2/3 of the points with tricube weights, three times more with bisquare weights of
/// the residuals. The points come back with their smoothed y, by ascending x; none for fewer than three points.
pub fn loess(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut points = points.to_vec();
    points.sort_by(|one, other| one[0].total_cmp(&other[0]).then(one[1].total_cmp(&other[1])));
    if points.len() < 3 {
        return Vec::new();
    }
    let nearest = ((SPAN * points.len() as f64 + 1e-9) as usize).clamp(2, points.len());
    let mut robust = vec![1.0; points.len()];
    let mut smooth = Vec::new();
    for iteration in 0..=ITERATIONS {
        smooth = (0..points.len()).map(|n| [points[n][0], local_line(&points, &robust, nearest, n)]).collect();
        if iteration < ITERATIONS && !reweigh(&points, &smooth, &mut robust) {
            break;
        }
    }
    smooth
}

/// The value at point `n` of the line fitted to the `nearest` points.
fn local_line(points: &[[f64; 2]], robust: &[f64], nearest: usize, n: usize) -> f64 {
    let x = points[n][0];
    let mut distances: Vec<f64> = points.iter().map(|point| (point[0] - x).abs()).collect();
    distances.sort_by(f64::total_cmp);
    let reach = distances[nearest - 1];
    let tricube = |distance: f64| match distance {
        // Where all of the nearest have one x, they count alike.
        _ if reach == 0.0 => f64::from(distance == 0.0),
        distance if distance < reach => (1.0 - (distance / reach).powi(3)).powi(3),
        _ => 0.0,
    };
    let weights: Vec<f64> = points.iter().zip(robust).map(|(point, robust)| tricube((point[0] - x).abs()) * robust).collect();
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return points[n][1];
    }
    let mean = |axis: usize| points.iter().zip(&weights).map(|(point, weight)| point[axis] * weight).sum::<f64>() / total;
    let (mean_x, mean_y) = (mean(0), mean(1));
    let sums = points.iter().zip(&weights).fold((0.0, 0.0), |(xx, xy), (point, weight)| {
        let away = point[0] - mean_x;
        (xx + weight * away * away, xy + weight * away * (point[1] - mean_y))
    });
    let range = points[points.len() - 1][0] - points[0][0];
    // Points that all but share one x have no slope.
    let slope = if sums.0 / total > (1e-3 * range).powi(2) { sums.1 / sums.0 } else { 0.0 };
    mean_y + slope * (x - mean_x)
}

/// Bisquare weights of the residuals in units of six times their median; false where the points lie on the curve already.
fn reweigh(points: &[[f64; 2]], smooth: &[[f64; 2]], robust: &mut [f64]) -> bool {
    let residuals: Vec<f64> = points.iter().zip(smooth).map(|(point, smooth)| (point[1] - smooth[1]).abs()).collect();
    let mut ascending = residuals.clone();
    ascending.sort_by(f64::total_cmp);
    let limit = 6.0 * super::super::surface::percentile(&ascending, 50.0);
    let mean = residuals.iter().sum::<f64>() / residuals.len() as f64;
    if limit <= 1e-7 * mean {
        return false;
    }
    for (robust, residual) in robust.iter_mut().zip(residuals) {
        *robust = (1.0 - (residual / limit).min(1.0).powi(2)).powi(2);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_that_of_statsmodels() {
        let x = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.5, 9.0, 10.0, 12.0, 15.0];
        let y = [1.0, 2.5, 2.0, 4.0, 3.5, 20.0, 7.0, 6.5, 9.0, 11.0, 10.5, 16.0];
        // statsmodels 0.15.0: lowess(y, x, frac=2/3, it=3, delta=0).
        let expected = [
            1.16166393, 1.90879024, 2.67929195, 3.4765803, 4.3932187, 5.20607724, 6.00749489, 7.60346459, 8.91540726, 9.79716262,
            12.1431493, 15.479652,
        ];
        // Any order of the points.
        let points: Vec<[f64; 2]> = (0..12).rev().map(|n| [x[n], y[n]]).collect();
        let smooth = loess(&points);
        assert_eq!(smooth.len(), 12);
        for (n, [at, smooth]) in smooth.into_iter().enumerate() {
            assert!(at == x[n] && (smooth - expected[n]).abs() < 1e-6, "{at}: {smooth}, not {}", expected[n]);
        }
    }

    #[test]
    fn a_line_stays_a_line_and_odd_points_give_numbers() {
        let line: Vec<[f64; 2]> = (0..20).map(|n| [f64::from(n), 3.0 - 0.5 * f64::from(n)]).collect();
        assert!(loess(&line).iter().all(|[x, y]| (y - (3.0 - 0.5 * x)).abs() < 1e-9));
        for points in [vec![[1.0, 2.0]; 9], vec![[0.0, 0.0]; 3], vec![[1.0, 2.0], [1.0, 4.0], [1.0, 3.0], [5.0, 0.0]]] {
            assert!(loess(&points).iter().flatten().all(|value| value.is_finite()), "{points:?}");
        }
        assert!(loess(&line[..2]).is_empty());
        assert_eq!(loess(&line[..3]).len(), 3);
    }

    #[test]
    fn neither_the_place_nor_the_unit_of_x_changes_the_curve() {
        for (first, step) in [(0.0, 1000.0), (0.0, 1e-4), (1e6, 1.0)] {
            let line: Vec<[f64; 2]> = (0..20).map(|n| [first + step * f64::from(n), 3.0 - 0.5 * f64::from(n)]).collect();
            let smooth = loess(&line);
            assert!(smooth.iter().zip(&line).all(|(a, b)| (a[1] - b[1]).abs() < 1e-6), "{first}, {step}: {smooth:?}");
        }
    }

    #[test]
    fn points_of_one_x_have_their_mean() {
        let smooth = loess(&[[1.0, 2.0], [1.0, 4.0], [1.0, 3.0], [5.0, 0.0]]);
        assert_eq!(smooth, [[1.0, 3.0], [1.0, 3.0], [1.0, 3.0], [5.0, 0.0]]);
    }

    #[test]
    fn a_point_far_off_does_not_move_the_curve() {
        let y = |n: i32| f64::from(n) + if n % 2 == 0 { 0.5 } else { -0.5 };
        let points: Vec<[f64; 2]> = (0..20).map(|n| [f64::from(n), if n == 9 { 1e6 } else { y(n) }]).collect();
        assert!(loess(&points).iter().all(|[x, y]| (x - y).abs() < 1.0), "{:?}", loess(&points));
    }
}
