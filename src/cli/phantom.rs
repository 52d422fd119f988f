//! `ichor phantom`

use super::with_threads;
use crate::cli::arguments::{BleedKind, Phantom};
use crate::cli::talk;
use ichor::io::{atomic, nifti};
use ichor::phantom::{self, Head, Kind, Settings, Sex};
use ichor::pipeline::batch::write_mask;
use ichor::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

/// The columns of phantoms.csv: a row for each bleed, and one of kind `none` for a head without.
const COLUMNS: [&str; 14] = [
    "name", "seed", "kind", "volume_ml", "hu", "x_mm", "y_mm", "z_mm", "label_ml", "label_voxels", "sex", "age", "intracranial_ml", "atrophy",
];

pub fn run(arguments: &Phantom) -> Result<ExitCode> {
    with_threads(arguments.threads, |_| {
        let folder = &arguments.output;
        std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
        let settings = settings(arguments);
        let mut table = csv::Writer::from_writer(Vec::new());
        let table_path = folder.join("phantoms.csv");
        let problem = |error: csv::Error| Error::write(&table_path)(error.into());
        table.write_record(COLUMNS).map_err(problem)?;
        let bar = talk::progress(arguments.count as usize);
        for number in 0..u64::from(arguments.count) {
            let seed = arguments.seed.wrapping_add(number);
            let name = format!("phantom_{seed:06}");
            let head = phantom::generate(seed, &settings)?;
            let header = nifti::Header::for_grid(head.scan.grid())?;
            // Whole HU, as scanners store them.
            let hu = head.scan.map(|&hu| hu as i16);
            nifti::write(folder.join(format!("{name}.nii.gz")), &hu, &header)?;
            write_mask(&folder.join(format!("{name}_label.nii.gz")), &head.label, &header)?;
            for row in rows(&name, seed, &head) {
                table.write_record(row).map_err(problem)?;
            }
            table.flush().map_err(Error::write(&table_path))?;
            // Whole after each phantom, so that a kill leaves the rows of what is there.
            write_table(&table_path, table.get_ref())?;
            println!("{name}\t{}\t{:.2} mL", kinds(&head), head.label_ml());
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(ExitCode::SUCCESS)
    })?
}

fn write_table(path: &Path, text: &[u8]) -> Result<()> {
    atomic::write(path, |file| file.write_all(text))
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
    if !arguments.kinds.is_empty() {
        settings.kinds = arguments.kinds.iter().map(|&kind| kind.into()).collect();
    }
    settings
}

/// The kinds of a head's bleeds, for a person.
fn kinds(head: &Head) -> String {
    let names: Vec<&str> = head.bleeds.iter().map(|bleed| bleed.kind.name()).collect();
    if names.is_empty() { "none".into() } else { names.join(" + ") }
}

/// A head's rows of the table.
fn rows(name: &str, seed: u64, head: &Head) -> Vec<Vec<String>> {
    let person = head.person;
    let sex = match person.sex {
        Sex::Female => "female",
        Sex::Male => "male",
    };
    let label_voxels = head.label.voxels().iter().filter(|&&inside| inside).count();
    let row = |bleed: [String; 6]| {
        let before = [name.to_string(), seed.to_string()];
        let after = [
            format!("{:.4}", head.label_ml()),
            label_voxels.to_string(),
            sex.into(),
            format!("{:.0}", person.age),
            format!("{:.0}", person.intracranial_ml),
            format!("{:.2}", person.atrophy),
        ];
        before.into_iter().chain(bleed).chain(after).collect()
    };
    if head.bleeds.is_empty() {
        return vec![row(["none".into(), "0".into(), String::new(), String::new(), String::new(), String::new()])];
    }
    let bleeds = head.bleeds.iter().map(|bleed| {
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
