//! `ichor phantom`

use super::{spare_inputs, tell_grid, timed, with_threads};
use crate::cli::arguments::Phantom;
use crate::cli::talk;
use ichor::batch::inputs;
use ichor::batch::write_mask;
use ichor::io::{atomic, mask, nifti, spreadsheet};
use ichor::phantom::{self, Person, Settings, Sex, Truth, insert};
use ichor::scan::brain;
use ichor::scan::segment::{self, BrainSource};
use ichor::volume::{Volume, orientation};
use ichor::{Error, Result};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The columns of phantoms.csv: a row for each bleed, and one of kind `none` for a scan without.
const COLUMNS: [&str; 15] = [
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
    "in_view_percent",
];

/// So many of the first columns are in the table of every version.
const NEEDED: usize = 10;

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
    with_threads(arguments.threads.threads, |_| {
        let folder = &arguments.output;
        std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
        let settings = settings(arguments);
        let stem = arguments.into.as_deref().map_or_else(|| "phantom".into(), name_of);
        let seeds = (0..u64::from(arguments.count)).map(|number| arguments.seed.wrapping_add(number));
        let wanted: Vec<(u64, String)> = seeds.map(|seed| (seed, format!("{stem}_{seed:06}"))).collect();
        for (_, name) in &wanted {
            for output in files(folder, name) {
                spare_inputs(&output, None, &[arguments.into.as_deref(), arguments.brain_mask.as_deref()])?;
            }
        }
        let real = arguments.into.as_deref().map(|path| Real::read(path, arguments.brain_mask.as_deref())).transpose()?;
        let mut table = Table::open(folder, &wanted, arguments.overwrite)?;
        let bar = talk::progress(wanted.len());
        for (seed, name) in &wanted {
            let seed = *seed;
            let made = timed(name, || match &real {
                Some(real) => real.with_bleed(seed, &settings),
                None => generated(seed, &settings),
            })?;
            tell_grid(name, made.scan.grid());
            let header = match &real {
                Some(real) => real.header.clone(),
                None => nifti::Header::for_grid(made.scan.grid())?,
            };
            let [scan, label] = files(folder, name);
            if real.is_none() && !arguments.network {
                // Whole HU, as scanners store them.
                nifti::write(scan, &made.scan.map(|&hu| hu as i16), &header)?;
            } else {
                nifti::write(scan, &made.scan, &header)?;
            }
            write_mask(&label, &made.label, &header)?;
            table.add(&rows(name, seed, &made))?;
            let label_ml = made.label.volume_ml();
            bar.suspend(|| {
                let volume = format!("{label_ml:.2} mL{}", remark(&made.bleeds));
                talk::columns(&[&name, &kinds(&made.bleeds), &volume]);
                doubts(&made.bleeds, label_ml).iter().for_each(|doubt| log::warn!("{name}: {doubt}"));
            });
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
        Ok(Real { scan: scan.volume, brain, header: scan.header })
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

/// What the phantoms made of a scan are called, up to their seed.
fn name_of(path: &Path) -> String {
    let name = path.file_name().map_or_else(|| "scan".into(), |name| name.to_string_lossy());
    inputs::stem(&name).unwrap_or(&name).to_string()
}

/// The scan and the label of a phantom.
fn files(folder: &Path, name: &str) -> [PathBuf; 2] {
    ["", "_label"].map(|ending| folder.join(format!("{name}{ending}.nii.gz")))
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
    let label = [format!("{:.4}", made.label.volume_ml()), made.label.count().to_string()];
    let row = |bleed: [String; 6], in_view: String| {
        let before = [name.to_string(), seed.to_string()];
        before.into_iter().chain(bleed).chain(label.clone()).chain(person.clone()).chain([in_view]).collect()
    };
    if made.bleeds.is_empty() {
        let none = ["none".into(), "0".into(), String::new(), String::new(), String::new(), String::new()];
        return vec![row(none, String::new())];
    }
    let bleeds = made.bleeds.iter().map(|bleed| {
        let [x, y, z] = bleed.centre.map(|mm| format!("{mm:.1}"));
        let bleed_cells = [bleed.kind.name().into(), format!("{:.4}", bleed.volume_ml), format!("{:.1}", bleed.hu), x, y, z];
        row(bleed_cells, format!("{:.1}", 100.0 * bleed.in_view))
    });
    bleeds.collect()
}

/// A bleed of which less is shown is cut: a tenth of a percent is what the table tells.
const WHOLE: f64 = 0.9995;

/// What stands behind a phantom's volume where the field of view does not show all of its bleeds.
fn remark(bleeds: &[Truth]) -> &'static str {
    match bleeds {
        _ if bleeds.iter().all(|bleed| bleed.in_view >= WHOLE) => "",
        _ if bleeds.iter().all(|bleed| bleed.in_view == 0.0) => "  (out of the field of view)",
        _ => "  (cut by the field of view)",
    }
}

/// Sentences about bleeds that the label does not hold as they were drawn.
fn doubts(bleeds: &[Truth], label_ml: f64) -> Vec<String> {
    let cut = bleeds.iter().filter(|bleed| bleed.in_view < WHOLE);
    let mut doubts: Vec<String> = cut
        .map(|Truth { kind, volume_ml, in_view, .. }| {
            let what = format!("the {} bleed of {volume_ml:.1} mL", kind.name());
            match *in_view {
                0.0 => format!("the field of view misses {what}"),
                share => format!("the field of view leaves out {:.1}% of {what}", 100.0 * (1.0 - share)),
            }
        })
        .collect();
    if !bleeds.is_empty() && label_ml == 0.0 {
        let why = if doubts.is_empty() { ": no voxel is more than half blood" } else { "" };
        doubts.push(format!("the label is empty{why}"));
    }
    doubts
}

/// phantoms.csv, open for further rows.
struct Table {
    path: PathBuf,
    file: File,
}

impl Table {
    /// Opens the table of `folder` for the phantoms of `wanted` (seeds and names), with its header where it is new.
    /// Rows of other calls stay; without `overwrite`, nothing of the names that are wanted may be there, neither a row
    /// nor a file.
    fn open(folder: &Path, wanted: &[(u64, String)], overwrite: bool) -> Result<Table> {
        let path = folder.join("phantoms.csv");
        let there = |name: &str| files(folder, name).iter().any(|file| file.symlink_metadata().is_ok());
        let files: HashSet<&str> = wanted.iter().map(|(_, name)| name.as_str()).filter(|name| there(name)).collect();
        if !overwrite && !files.is_empty() {
            let listed = if path.exists() { Table::rows(&path)?.0 } else { Vec::new() };
            return Err(taken(folder, wanted, &files, &listed));
        }
        let mut open = OpenOptions::new();
        let file = open.read(true).append(true).create(true).open(&path).map_err(Error::write(&path))?;
        // Another call may begin at the same time. A file system without locks has none to wait for.
        let _ = file.lock();
        let (rows, plain) = Table::rows(&path)?;
        let names: HashSet<&str> = wanted.iter().map(|(_, name)| name.as_str()).collect();
        let again: HashSet<&str> = rows.iter().map(|row| row[0].as_str()).filter(|name| names.contains(name)).collect();
        if !overwrite && !again.is_empty() {
            return Err(taken(folder, wanted, &again, &rows));
        }
        if plain && again.is_empty() {
            let _ = file.unlock();
            return Ok(Table { path, file });
        }
        let kept = rows.iter().filter(|row| !again.contains(row[0].as_str()));
        let text = text(std::iter::once(&COLUMNS.map(String::from).to_vec()).chain(kept));
        if file.metadata().map_err(Error::read(&path))?.len() == 0 {
            // Not replaced by another file: a call that began at the same time has this one open.
            let mut table = Table { path, file };
            table.write(&text)?;
            let _ = table.file.unlock();
            return Ok(table);
        }
        atomic::write(&path, |file| file.write_all(&text))?;
        let file = open.open(&path).map_err(Error::write(&path))?;
        Ok(Table { path, file })
    }

    /// The rows of a table, with the cells of [`COLUMNS`], and whether it is as this program writes it.
    fn rows(path: &Path) -> Result<(Vec<Vec<String>>, bool)> {
        let problem = |problem: String| Error::Table { path: path.to_path_buf(), problem };
        let bytes = std::fs::read(path).map_err(Error::read(path))?;
        let plain = spreadsheet::as_csv(&bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&plain[..]);
        let header = reader.headers().map_err(|error| problem(error.to_string()))?.clone();
        let places: Vec<Option<usize>> =
            COLUMNS.iter().map(|name| header.iter().position(|column| column.trim() == *name)).collect();
        let known = header.iter().all(|column| COLUMNS.contains(&column.trim()));
        // Those that every version has written.
        let lacks = places[..NEEDED].iter().any(Option::is_none);
        if !bytes.is_empty() && (!known || lacks) {
            let advice = "it is no table of `ichor phantom`: give another folder, or move it";
            return Err(problem(format!("{advice}; its columns are {}", header.iter().collect::<Vec<_>>().join(", "))));
        }
        let mut rows = Vec::new();
        for row in reader.records() {
            let row = row.map_err(|error| problem(error.to_string()))?;
            // A kill may have cut the last line.
            if row.len() == header.len() {
                let cell = |place: &Option<usize>| place.and_then(|place| row.get(place)).unwrap_or_default().to_string();
                rows.push(places.iter().map(cell).collect());
            }
        }
        let whole = bytes.starts_with(COLUMNS.join(",").as_bytes()) && bytes.ends_with(b"\n");
        Ok((rows, whole))
    }

    /// Adds the rows of a phantom with a single write, so that a kill leaves the rows of what is there.
    fn add(&mut self, rows: &[Vec<String>]) -> Result<()> {
        self.write(&text(rows.iter()))
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        self.file.write_all(text).map_err(Error::write(&self.path))
    }
}

/// Rows as CSV.
fn text<'a>(rows: impl Iterator<Item = &'a Vec<String>>) -> Vec<u8> {
    let mut table = csv::Writer::from_writer(Vec::new());
    // Writing rows of one length to memory does not fail.
    rows.for_each(|row| _ = table.write_record(row));
    table.into_inner().unwrap_or_default()
}

/// The failure of phantoms that are there already.
fn taken(folder: &Path, wanted: &[(u64, String)], there: &HashSet<&str>, rows: &[Vec<String>]) -> Error {
    let first = wanted.iter().map(|(_, name)| name.as_str()).find(|name| there.contains(name)).unwrap_or_default();
    let others = if there.len() > 1 { format!(" and {} more", there.len() - 1) } else { String::new() };
    let listed = rows.iter().filter_map(|row| row[1].parse::<u64>().ok());
    let used = wanted.iter().filter(|(_, name)| there.contains(name.as_str())).map(|(seed, _)| *seed);
    let next = listed.chain(used).max().map_or(1, |seed| seed.saturating_add(1));
    let problem = format!(
        "{first}{others} would be replaced: give another --seed (from {next} on none is taken), another folder, or --overwrite"
    );
    Error::Scan { path: folder.to_path_buf(), problem }
}
