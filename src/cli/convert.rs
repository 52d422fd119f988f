//! `ichor convert`

use super::{spare_inputs, tell_grid, timed, with_threads};
use crate::cli::arguments::Convert;
use crate::cli::talk;
use ichor::batch::inputs;
use ichor::io::dicom::Summary;
use ichor::io::{atomic, nifti};
use ichor::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(arguments: &Convert) -> Result<ExitCode> {
    for output in [arguments.output.clone(), sidecar(&arguments.output)] {
        spare_inputs(&output, Some(&arguments.input), &[])?;
    }
    spare_sidecar(&sidecar(&arguments.output))?;
    with_threads(arguments.threads.threads, |_| {
        let inputs::Scan { volume, header, warnings, series } =
            timed("reading", || inputs::read_one(&arguments.input, arguments.series.series.as_deref()))?;
        tell_grid("scan", volume.grid());
        let Some(converted) = series else {
            let problem = "this is no DICOM series, there is nothing to convert".into();
            return Err(Error::Scan { path: arguments.input.clone(), problem });
        };
        let summary = Summary::of(&converted);
        for sentence in summary.sentences() {
            log::info!("{sentence}");
        }
        for warning in &warnings {
            log::warn!("{warning} (warning {})", warning.number());
        }
        // HU are whole numbers in nearly all files; where they are not, or too large, nothing is lost either.
        let fits = |hu: &f32| hu.fract() == 0.0 && (f32::from(i16::MIN)..=f32::from(i16::MAX)).contains(hu);
        if volume.voxels().iter().all(fits) {
            nifti::write(&arguments.output, &volume.map(|&hu| hu as i16), &header)?;
        } else {
            nifti::write(&arguments.output, &volume, &header)?;
        }
        atomic::write_json(sidecar(&arguments.output), &summary)?;
        let [i, j, k] = summary.shape;
        talk::columns(&[&arguments.output.display(), &format!("{i} x {j} x {k} voxels")]);
        Ok(ExitCode::SUCCESS)
    })?
}

/// Refuses to replace a file that the user did not name and that no conversion wrote, such as another program's
/// sidecar.
fn spare_sidecar(path: &Path) -> Result<()> {
    let known = || -> Option<Summary> { serde_json::from_slice(&std::fs::read(path).ok()?).ok() };
    if path.symlink_metadata().is_err() || known().is_some() {
        return Ok(());
    }
    let problem = "it would be replaced, and `ichor convert` did not write it: give another name (-o), or move it away".into();
    Err(Error::Scan { path: path.to_path_buf(), problem })
}

/// The JSON file beside OUT.nii.gz: OUT.json.
fn sidecar(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    output.with_file_name(format!("{}.json", inputs::stem(&name).unwrap_or(&name)))
}
