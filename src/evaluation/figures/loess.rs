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
    if limit < 1e-7 * mean || limit == 0.0 {
        return false;
    }
    for (robust, residual) in robust.iter_mut().zip(residuals) {
        *robust = (1.0 - (residual / limit).min(1.0).powi(2)).powi(2);
    }
    true
}
