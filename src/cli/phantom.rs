//! `ichor phantom`

use super::with_threads;
use crate::cli::arguments::{BleedKind, Phantom};
use crate::cli::talk;
use crate::cli::talk::say;
use ichor::io::{atomic, mask, nifti};
use ichor::phantom::{self, Kind, Person, Settings, Sex, Truth, insert};
use ichor::pipeline::batch::write_mask;
use ichor::pipeline::segment::{self, BrainSource};
use ichor::pipeline::{brain, inputs};
use ichor::volume::{Volume, orientation};
use ichor::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

/// The columns of phantoms.csv: a row for each bleed, and one of kind `none` for a scan without.
const COLUMNS: [&str; 14] = [
    "name",
    "seed",
    "kind",
    "volume_ml",
    "hu",
    "x_mm",
    "y_mm",
    "z_mm",
    "label_ml",
    "label_voxels",
    "sex",
    "age",
    "intracranial_ml",
    "atrophy",
];

/// The most calcifications that a real scan gets.
const CALCIFICATIONS: usize = 4;

/// One phantom to write.
struct Made {
    scan: Volume<f32>,
    label: Volume<bool>,
    bleeds: Vec<Truth>,
    person: Option<Person>,
}

pub fn run(arguments: &Phantom) -> Result<ExitCode> {
    with_threads(arguments.threads, |_| {
        let folder = &arguments.output;
        std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
        let settings = settings(arguments);
        let real = arguments.into.as_deref().map(|path| Real::read(path, arguments.brain_mask.as_deref())).transpose()?;
        let stem = real.as_ref().map_or("phantom", |real| &real.name);
        let path = folder.join("phantoms.csv");
        let problem = |error: csv::Error| Error::write(&path)(error.into());
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(COLUMNS).map_err(problem)?;
        let bar = talk::progress(arguments.count as usize);
        for number in 0..u64::from(arguments.count) {
            let seed = arguments.seed.wrapping_add(number);
            let name = format!("{stem}_{seed:06}");
            let made = match &real {
                Some(real) => real.with_bleed(seed, &settings)?,
                None => generated(seed, &settings)?,
            };
            let header = match &real {
                Some(real) => real.header.clone(),
                None => nifti::Header::for_grid(made.scan.grid())?,
            };
            let scan = folder.join(format!("{name}.nii.gz"));
            if real.is_none() && !arguments.network {
                // Whole HU, as scanners store them.
                nifti::write(scan, &made.scan.map(|&hu| hu as i16), &header)?;
            } else {
                nifti::write(scan, &made.scan, &header)?;
            }
            write_mask(&folder.join(format!("{name}_label.nii.gz")), &made.label, &header)?;
            for row in rows(&name, seed, &made) {
                table.write_record(row).map_err(problem)?;
            }
            table.flush().map_err(Error::write(&path))?;
            // Whole after each phantom, so that a kill leaves the rows of what is there.
            atomic::write(&path, |file| file.write_all(table.get_ref()))?;
            say!("{name}\t{}\t{:.2} mL", kinds(&made.bleeds), segment::volume_ml(&made.label));
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(ExitCode::SUCCESS)
    })?
}

fn generated(seed: u64, settings: &Settings) -> Result<Made> {
    let head = phantom::generate(seed, settings)?;
    Ok(Made { scan: head.scan, label: head.label, bleeds: head.bleeds, person: Some(head.person) })
}

/// A real scan that gets bleeds.
struct Real {
    name: String,
    scan: Volume<f32>,
    brain: Volume<bool>,
    header: nifti::Header,
}

impl Real {
    fn read(path: &Path, mask: Option<&Path>) -> Result<Real> {
        let scan = nifti::read(path)?;
        let source = match mask {
            Some(mask) => BrainSource::Mask(mask::read_brain(mask)?),
            None => BrainSource::Extract(brain::Options::default()),
        };
        let prepared = segment::prepare(scan.volume.clone(), &source, path)?;
        let brain = orientation::from_ras(&prepared.brain, &prepared.own_grid);
        let name = path.file_name().map_or_else(|| "scan".into(), |name| name.to_string_lossy());
        let name = inputs::stem(&name).unwrap_or(&name).to_string();
        Ok(Real { name, scan: scan.volume, brain, header: scan.header })
    }

    fn with_bleed(&self, seed: u64, settings: &Settings) -> Result<Made> {
        let settings = insert::Settings {
            without_bleed: settings.without_bleed,
            volume_ml: settings.volume_ml,
            kinds: settings.kinds.clone(),
            hard: settings.hard,
            calcifications: CALCIFICATIONS,
        };
        let put = insert::insert(seed, &self.scan, &self.brain, &settings)?;
        Ok(Made { scan: put.scan, label: put.label, bleeds: put.bleeds, person: None })
    }
}

fn settings(arguments: &Phantom) -> Settings {
    let grid = phantom::ct_grid(arguments.matrix, arguments.voxel, arguments.tilt);
    let across = arguments.voxel[2] * arguments.tilt.to_radians().cos();
    let mut settings = if arguments.network {
        Settings::network(arguments.thickness.unwrap_or(5.0))
    } else {
        Settings::new(grid, arguments.thickness.unwrap_or(across))
    };
    settings.without_bleed = arguments.without_bleed;
    settings.volume_ml = arguments.volume;
    settings.hard = arguments.hard;
    if !arguments.kinds.is_empty() {
        settings.kinds = arguments.kinds.iter().map(|&kind| kind.into()).collect();
    }
    settings
}

/// The kinds of bleeds, for a person.
fn kinds(bleeds: &[Truth]) -> String {
    let names: Vec<&str> = bleeds.iter().map(|bleed| bleed.kind.name()).collect();
    if names.is_empty() { "none".into() } else { names.join(" + ") }
}

/// A phantom's rows of the table.
fn rows(name: &str, seed: u64, made: &Made) -> Vec<Vec<String>> {
    let person = made.person.map_or([const { String::new() }; 4], |person| {
        let sex = match person.sex {
            Sex::Female => "female",
            Sex::Male => "male",
        };
        [sex.into(), format!("{:.0}", person.age), format!("{:.0}", person.intracranial_ml), format!("{:.2}", person.atrophy)]
    });
    let label = [format!("{:.4}", segment::volume_ml(&made.label)), segment::count(&made.label).to_string()];
    let row = |bleed: [String; 6]| {
        let before = [name.to_string(), seed.to_string()];
        before.into_iter().chain(bleed).chain(label.clone()).chain(person.clone()).collect()
    };
    if made.bleeds.is_empty() {
        return vec![row(["none".into(), "0".into(), String::new(), String::new(), String::new(), String::new()])];
    }
    let bleeds = made.bleeds.iter().map(|bleed| {
        let [x, y, z] = bleed.centre.map(|mm| format!("{mm:.1}"));
        row([bleed.kind.name().into(), format!("{:.4}", bleed.volume_ml), format!("{:.1}", bleed.hu), x, y, z])
    });
    bleeds.collect()
}

impl From<BleedKind> for Kind {
    fn from(kind: BleedKind) -> Self {
        match kind {
            BleedKind::Deep => Kind::Deep,
            BleedKind::Lobar => Kind::Lobar,
            BleedKind::Infratentorial => Kind::Infratentorial,
            BleedKind::Intraventricular => Kind::Intraventricular,
            BleedKind::Subdural => Kind::Subdural,
        }
    }
}
