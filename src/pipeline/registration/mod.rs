//! Rigid registration of a brain-extracted scan to a template.

mod brain;
mod histogram;
mod metric;
mod optimiser;
mod pose;

use rayon::prelude::*;

use crate::volume::{Affine, Volume};
use brain::Brain;
use metric::{Metric, Template};
use optimiser::{Limits, Summit, climb};
use pose::Pose;

/// How to search.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Angles in degrees about each axis at which the search starts, in all combinations.
    pub starting_angles: Vec<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Options { starting_angles: vec![-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0] }
    }
}

/// Where the scan lies on the template, and how well the two agree there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Registration {
    /// Takes a point of the template to the point of the scan, RAS mm; rigid.
    pub template_to_scan: Affine,
    /// Mutual information in nats.
    pub mutual_information: f64,
    /// Dice overlap of the template's brain and the moved scan's.
    pub overlap: f64,
}

/// What keeps a scan from being registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The scan has no voxel above 0 HU.
    #[error("the brain-extracted scan is empty: no voxel is above 0 HU; check the brain mask")]
    EmptyScan,
    /// The template has no voxel above 0 HU.
    #[error("the template is empty: no voxel is above 0 HU; choose another template")]
    EmptyTemplate,
    /// A grid whose affine is singular or whose spacing is no spacing of a head scan.
    #[error("the {0} has voxels of no sensible size (0.01 to 100 mm): check the affine in its header")]
    Spacing(&'static str),
}

struct Level { template: Template, scan: Brain }

/// Registers.
pub fn register(scan: &Volume<f32>, template: &Volume<f32>, options: &Options) -> Result<Registration, Error> {
    for (volume, name) in [(scan, "scan"), (template, "template")] {
        let sensible = |s: f64| (0.01..=100.0).contains(&s);
        if volume.grid().affine.inverse().is_none() || !volume.grid().spacing().into_iter().all(sensible) {
            return Err(Error::Spacing(name));
        }
    }
    let debug = std::env::var("REGDEBUG").is_ok();
    let t0 = std::time::Instant::now();
    let fine_scan = Brain::new(scan, 1.5).ok_or(Error::EmptyScan)?;
    let fine_template = Brain::new(template, 1.5).ok_or(Error::EmptyTemplate)?;
    let (_, centre) = fine_template.mass();
    let (_, image) = fine_scan.mass();
    let lever = fine_template.lever(centre);
    let (mid_scan, mid_template) = (fine_scan.reduced(3.0), fine_template.reduced(3.0));
    let margin = |b: &Brain, mm: f64| b.smoothed(mm);
    let level = |sigma: f64, stride: usize, bins: usize| Level {
        template: Template::new(&mid_template.smoothed(sigma), stride, bins),
        scan: mid_scan.smoothed(sigma),
    };
    let _ = margin;
    let coarse = level(4.0, 3, 32);
    let middle = level(2.5, 2, 32);
    let e = |n: &str, d: f64| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    let sm = fine_scan.smoothed(e("FS", 1.2)); let st = fine_template.smoothed(e("FS", 1.2));
    let third = level(e("TS",1.2), 1, e("TB",48.0) as usize);
    let fine = Level { template: Template::new(&st, 1, e("FB",64.0) as usize), scan: sm };
    if debug { eprintln!("prepared {:?} lever {lever:?} {:?}", t0.elapsed(), coarse.scan.grid.shape) }

    let metric = |level: &'static str, l: &Level| { let _ = level; let _ = l; };
    let _ = metric;
    let m = Metric::new(&coarse.template, &coarse.scan, lever).unwrap();
    let a: Vec<f64> = options.starting_angles.iter().map(|a| a.to_radians()).collect();
    let mut starts = Vec::new();
    for &x in &a { for &y in &a { for &z in &a { starts.push(Pose::new(centre, image, [x, y, z])); } } }
    let mut valued: Vec<Summit> = starts.par_iter().map(|p| Summit { pose: *p, value: m.value(p), curvature: None }).collect();
    if debug { eprintln!("starts {:?}", t0.elapsed()) }
    let pick = |v: &mut Vec<Summit>, count: usize, far: f64| {
        v.sort_by(|a, b| b.value.total_cmp(&a.value));
        let mut kept: Vec<Summit> = vec![];
        for s in v.iter() {
            if kept.len() < count && kept.iter().all(|k| k.pose.distance(&s.pose, &lever) > far) { kept.push(*s); }
        }
        kept
    };
    let mut kept = pick(&mut valued, 12, 20.0);
    for (l, count, longest, far) in [(&coarse, 4, 10.0, 4.0), (&middle, 2, 5.0, 3.0), (&third, 1, 2.0, 3.0)] {
        let m = Metric::new(&l.template, &l.scan, lever).unwrap();
        let limits = Limits { longest, shortest: 0.01, evaluations: 60 };
        let counter = std::sync::atomic::AtomicUsize::new(0);
        let mut tops: Vec<Summit> = kept.par_iter().map(|s| climb(s, &lever, limits, |p| { counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed); m.value_and_gradient(p) })).collect();
        kept = pick(&mut tops, count, far);
        if debug {
            eprintln!("level {:?} {} evaluations, {} starts", t0.elapsed(), counter.into_inner(), tops.len());
            for t in &tops { eprintln!("   {:.5} {:.2} mm", t.value, t.pose.distance(&kept[0].pose, &lever)); }
            for t in &kept { eprintln!("   exact {:?}", histogram::agreement(scan, template, &t.pose.affine())); }
        }
    }
    let mf = Metric::new(&fine.template, &fine.scan, lever).unwrap();
    for n in 0..e("SN", 2.0) as usize {
        let p = optimiser::settle(&kept[0].pose, &lever, e("SR", 1.0), |p| mf.value_and_gradient(p));
        if debug { eprintln!("settled {:?} by {:.3} mm", t0.elapsed(), p.distance(&kept[0].pose, &lever)); }
        kept[0].pose = p; let _ = n;
    }
    let template_to_scan = kept[0].pose.affine();
    let agreement = histogram::agreement(scan, template, &template_to_scan).unwrap();
    Ok(Registration { template_to_scan, mutual_information: agreement.mutual_information, overlap: agreement.dice })
}
