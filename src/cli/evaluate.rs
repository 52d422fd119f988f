//! `ichor evaluate`

use super::{timed, with_threads};
use crate::cli::arguments::Evaluate;
use crate::cli::talk::{self, say};
use ichor::batch::report::RESEARCH_USE_ONLY;
use ichor::evaluation::files;
use ichor::evaluation::pairs::{self, Pair, Pairs};
use ichor::evaluation::results::{self, Failure, Results};
use ichor::evaluation::{self, Case, Settings, figures, tables};
use ichor::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(arguments: &Evaluate) -> Result<ExitCode> {
    let found = find(arguments)?;
    let masks = found.pairs.iter().flat_map(|pair| [Some(&pair.automated), Some(&pair.manual), pair.scan.as_ref()]);
    let tables = [arguments.pairs.as_ref(), arguments.table.as_ref()];
    let inputs: Vec<&Path> = masks.chain(tables).flatten().map(PathBuf::as_path).collect();
    files::check(&arguments.output, &inputs)?;
    let settings = Settings { tolerance_mm: arguments.tolerance, lesion_iou: arguments.lesion_iou };
    log::debug!(
        "{} pairs, surface tolerance {} mm, lesions from an overlap of {}",
        found.pairs.len(),
        arguments.tolerance,
        arguments.lesion_iou
    );
    let bar = talk::progress(found.pairs.len());
    let compare = |pair: &Pair| {
        let case = evaluation::compare(pair, &settings);
        bar.inc(1);
        case
    };
    let outcomes: Vec<Result<Case>> = timed("comparison of the masks", || {
        with_threads(arguments.threads.threads, |_| found.pairs.par_iter().map(compare).collect())
    })?;
    bar.finish_and_clear();
    let (mut compared, mut cases, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (pair, outcome) in found.pairs.iter().zip(outcomes) {
        match outcome {
            Ok(case) => {
                compared.push(pair);
                cases.push(case);
            }
            Err(error) => {
                log::error!("{error}");
                failed.push(Failure { name: pair.name.clone(), error: error.to_string() });
            }
        }
    }
    let exit = if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let mut results = Results {
        failed,
        without_partner: found.without_partner.iter().map(|path| path.display().to_string()).collect(),
        weights: results::weights_of(&found.pairs),
        ..Results::of(&cases, &settings)
    };
    for doubt in tables::doubts(&results) {
        log::warn!("{}", doubt.trim_end_matches('.'));
    }
    let figures = timed("figures", || figures::all(&compared, &cases, &results));
    files::write(&arguments.output, &cases, &mut results, &figures)?;
    for remark in tables::remarks(&results) {
        say!("{remark}");
    }
    say!("");
    for table in tables::all(&results) {
        talk::lines(&table.markdown());
    }
    say!("{RESEARCH_USE_ONLY}");
    Ok(exit)
}

fn find(arguments: &Evaluate) -> Result<Pairs> {
    let mut found = match (&arguments.pairs, &arguments.automated, &arguments.manual) {
        (Some(table), _, _) => pairs::in_table(table)?,
        (None, Some(automated), Some(manual)) => pairs::in_folders(automated, manual)?,
        _ => return Err(Error::Shape("--automated and --manual, or --pairs, are needed".into())),
    };
    if let Some(table) = &arguments.table {
        found.describe(table, arguments.subgroup.as_deref(), arguments.patient.as_deref())?;
    }
    if let Some(folder) = &arguments.scans {
        found.find_scans(folder)?;
    }
    for path in &found.without_partner {
        log::warn!("{}: no mask of the other folder belongs to it: left out", path.display());
    }
    Ok(found)
}
