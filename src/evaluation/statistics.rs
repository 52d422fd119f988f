//! What many cases come to: summaries, agreement of volumes, intervals by the bootstrap.

use super::surface::percentile;
use crate::random::keyed::Random;
use serde::Serialize;
use std::collections::BTreeMap;

/// How often the patients are drawn for an interval.
pub const RESAMPLES: usize = 2000;

/// Of fewer values no spread, interval or correlation is told: it would say nothing, or, as a correlation of two,
/// always the same.
pub const FEWEST: usize = 3;

/// The same intervals for the same values.
const SEED: u64 = 1;

/// Mean, spread and range of a value over cases.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Number of values.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// 95% interval of the mean by the bootstrap over patients; none for fewer than [`FEWEST`] patients.
    pub interval: Option<[f64; 2]>,
    /// Standard deviation (n - 1); none for fewer than [`FEWEST`] values.
    pub sd: Option<f64>,
    /// Median: the mean of the two middle values where their number is even.
    pub median: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

impl Summary {
    /// Of values with their patients; `None` where there is no value.
    pub fn of(values: &[(&str, f64)]) -> Option<Summary> {
        if values.is_empty() {
            return None;
        }
        let mut ascending: Vec<f64> = values.iter().map(|value| value.1).collect();
        ascending.sort_by(f64::total_cmp);
        Some(Summary {
            n: ascending.len(),
            mean: mean(&ascending),
            interval: interval(values),
            sd: sd(&ascending),
            median: percentile(&ascending, 50.0),
            min: ascending[0],
            max: ascending[ascending.len() - 1],
        })
    }
}

/// How well the automated volumes agree with the manual ones, in mL.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Number of cases.
    pub n: usize,
    /// Pearson's correlation; none for fewer than [`FEWEST`] cases or where all volumes of a side are equal.
    pub correlation: Option<f64>,
    /// Concordance correlation (Lin, Biometrics 1989): 2 s_am / (s_a^2 + s_m^2 + (mean a - mean m)^2), variances over n.
    pub concordance: Option<f64>,
    /// Root of the mean squared difference, mL.
    pub rmse_ml: f64,
    /// Mean squared difference, mL^2.
    pub mse_ml2: f64,
    /// Percent of cases whose volumes differ by at most 5 mL.
    pub within_5_ml_percent: f64,
    /// Mean of automated minus manual, mL.
    pub mean_difference_ml: f64,
    /// Bland and Altman's 95% limits of agreement (Lancet 1986): mean difference -+ 1.96 standard deviations, mL.
    pub limits_ml: Option<[f64; 2]>,
}

/// Volumes that differ by no more are near enough: a line of Table 3 and of the Bland-Altman diagram, in mL.
pub const NEAR_ML: f64 = 5.0;

impl Agreement {
    /// Of pairs of automated and manual volumes in mL; `None` where there is none.
    pub fn of(volumes: &[[f64; 2]]) -> Option<Agreement> {
        if volumes.is_empty() {
            return None;
        }
        let n = volumes.len() as f64;
        let [automated, manual] = [0, 1].map(|side| volumes.iter().map(|pair| pair[side]).collect::<Vec<f64>>());
        let differences: Vec<f64> = volumes.iter().map(|[automated, manual]| automated - manual).collect();
        let (mean_a, mean_m, difference) = (mean(&automated), mean(&manual), mean(&differences));
        let about = |one: &[f64], mean_one: f64, other: &[f64], mean_other: f64| {
            one.iter().zip(other).map(|(x, y)| (x - mean_one) * (y - mean_other)).sum::<f64>() / n
        };
        let (aa, mm) = (about(&automated, mean_a, &automated, mean_a), about(&manual, mean_m, &manual, mean_m));
        let am = about(&automated, mean_a, &manual, mean_m);
        let mse = differences.iter().map(|d| d * d).sum::<f64>() / n;
        let defined = |value: f64| (volumes.len() >= FEWEST && value.is_finite()).then_some(value);
        Some(Agreement {
            n: volumes.len(),
            correlation: defined(am / (aa * mm).sqrt()),
            concordance: defined(2.0 * am / (aa + mm + (mean_a - mean_m).powi(2))),
            rmse_ml: mse.sqrt(),
            mse_ml2: mse,
            within_5_ml_percent: percent(&differences, |d| d.abs() <= NEAR_ML),
            mean_difference_ml: difference,
            limits_ml: sd(&differences).map(|sd| [difference - 1.96 * sd, difference + 1.96 * sd]),
        })
    }
}

/// Percent of `values` for which `is` holds; NaN without values.
pub fn percent(values: &[f64], is: impl Fn(f64) -> bool) -> f64 {
    100.0 * values.iter().filter(|&&value| is(value)).count() as f64 / values.len() as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn sd(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (values.len() >= FEWEST).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// 95% interval of the mean: percentiles 2.5 and 97.5 of the means of [`RESAMPLES`] draws of as many patients as there are, each
/// with all their values (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). `None` for fewer
/// than [`FEWEST`] patients.
fn interval(values: &[(&str, f64)]) -> Option<[f64; 2]> {
    let mut patients: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (patient, value) in values {
        let (sum, count) = patients.entry(patient).or_default();
        (*sum, *count) = (*sum + value, *count + 1.0);
    }
    let patients: Vec<(f64, f64)> = patients.into_values().collect();
    if patients.len() < FEWEST {
        return None;
    }
    let mut random = Random::new(SEED);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..patients.len()).map(|_| patients[random.below(patients.len())]);
            let (sum, count) = drawn.fold((0.0, 0.0), |total, patient| (total.0 + patient.0, total.1 + patient.1));
            sum / count
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Some([percentile(&means, 2.5), percentile(&means, 97.5)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_patients(values: &[f64]) -> Vec<(String, f64)> {
        values.iter().enumerate().map(|(n, &value)| (n.to_string(), value)).collect()
    }

    fn summary(values: &[(String, f64)]) -> Summary {
        let values: Vec<(&str, f64)> = values.iter().map(|(patient, value)| (patient.as_str(), *value)).collect();
        Summary::of(&values).unwrap()
    }

    #[test]
    fn a_summary_by_hand() {
        let summary = summary(&own_patients(&[9.0, 1.0, 2.0, 4.0]));
        assert_eq!((summary.n, summary.mean, summary.median, summary.min, summary.max), (4, 4.0, 3.0, 1.0, 9.0));
        // Squares 25 + 9 + 4 + 0 over 3.
        assert!((summary.sd.unwrap() - (38.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(Summary::of(&[]).is_none());
    }

    #[test]
    fn agreement_by_hand() {
        // Automated 1, 2, 9 and manual 2, 4, 3: differences -1, -2, 6.
        let agreement = Agreement::of(&[[1.0, 2.0], [2.0, 4.0], [9.0, 3.0]]).unwrap();
        assert_eq!((agreement.n, agreement.mean_difference_ml), (3, 1.0));
        assert!((agreement.mse_ml2 - 41.0 / 3.0).abs() < 1e-12 && (agreement.rmse_ml - (41.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((agreement.within_5_ml_percent - 200.0 / 3.0).abs() < 1e-12);
        // Sums about the means 4 and 3: squares 38 and 2, product 3 + -2 + 0 = 1.
        assert!((agreement.correlation.unwrap() - 1.0 / 76.0_f64.sqrt()).abs() < 1e-12);
        assert!((agreement.concordance.unwrap() - 2.0 / (38.0 + 2.0 + 3.0)).abs() < 1e-12);
        // Differences about 1: -2, -3, 5, so the variance is 38 / 2.
        let [low, high] = agreement.limits_ml.unwrap();
        assert!((low - (1.0 - 1.96 * 19.0_f64.sqrt())).abs() < 1e-12 && (high - (1.0 + 1.96 * 19.0_f64.sqrt())).abs() < 1e-12);
    }

    #[test]
    fn what_fewer_than_three_cases_or_equal_volumes_cannot_say_is_left_open() {
        let volumes = [[3.0, 8.0], [4.0, 7.0], [5.0, 9.0]];
        for n in 1..3 {
            let few = Agreement::of(&volumes[..n]).unwrap();
            assert_eq!((few.correlation, few.concordance, few.limits_ml), (None, None, None), "{n}");
            let few = summary(&own_patients(&[1.0, 4.0][..n]));
            assert!(few.sd.is_none() && few.interval.is_none(), "{n}");
        }
        let three = Agreement::of(&volumes).unwrap();
        assert!(three.correlation.is_some() && three.concordance.is_some() && three.limits_ml.is_some());
        let three = summary(&own_patients(&[1.0, 4.0, 2.0]));
        assert!(three.sd.is_some() && three.interval.is_some());
        let one = Agreement::of(&volumes[..1]).unwrap();
        assert_eq!((one.within_5_ml_percent, one.rmse_ml), (100.0, 5.0));
        assert_eq!(Agreement::of(&[[3.0, 8.0], [4.0, 8.0], [5.0, 8.0]]).unwrap().correlation, None);
        assert_eq!(Agreement::of(&[]), None);
    }

    #[test]
    fn the_interval_is_that_of_the_normal_distribution_for_many_normal_values() {
        let mut random = Random::new(7);
        let values: Vec<f64> = (0..400).map(|_| 10.0 + 2.0 * random.normal()).collect();
        let summary = summary(&own_patients(&values));
        let half = 1.96 * summary.sd.unwrap() / 20.0;
        let [low, high] = summary.interval.unwrap();
        assert!(
            (summary.mean - half - low).abs() < 0.1 * half && (summary.mean + half - high).abs() < 0.1 * half,
            "{low} {high}"
        );
    }

    #[test]
    fn the_cases_of_a_patient_are_drawn_together() {
        // Three patients: one draw in 27 has one of them alone, more than the 2.5 in 100 that the interval leaves out.
        let cases = [("a", 0.0), ("a", 0.0), ("a", 0.0), ("b", 1.0), ("c", 1.0)];
        assert_eq!(Summary::of(&cases).unwrap().interval, Some([0.0, 1.0]));
        assert_eq!(Summary::of(&cases[..4]).unwrap().interval, None, "four cases of two patients");
        // A patient with nine cases weighs nine times as much.
        let many: Vec<(String, f64)> = (0..90).map(|n| ((n / 9).to_string(), f64::from(n / 9))).collect();
        let [low, high] = summary(&many).interval.unwrap();
        assert!(high - low > 3.0, "ten patients, not ninety: {low} to {high}");
    }
}
