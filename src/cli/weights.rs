//! `ichor weights`

use super::{load_weights, spare_inputs};
use crate::cli::arguments::Weights as Command;
use crate::cli::talk;
use crate::cli::talk::say;
use ichor::io::atomic;
use ichor::network::weights::{Dtype, Metadata, Summary, Weights, onnx, tensorflow};
use ichor::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Info { file, json } => info(file.as_deref(), *json)?,
        Command::Check { file } => {
            let weights = Weights::open(file)?;
            say!("{}: good: {} parameters, SHA-256 {}", file.display(), weights.description().parameters(), weights.sha256());
        }
        Command::Export { file, output, half } => {
            spare_inputs(output, None, &[file.as_deref()])?;
            let weights = load_weights(file.as_deref())?;
            let to_onnx = is_onnx(output);
            if !to_onnx {
                check_ending(output, " or, for ONNX, .onnx")?;
            }
            let bytes = match to_onnx {
                true => onnx::export(&weights)?,
                false => weights.with_dtype(if *half { Dtype::F16 } else { Dtype::F32 })?.bytes().to_vec(),
            };
            atomic::write(output, |file| file.write_all(&bytes))?;
            say!("{}: {} bytes", output.display(), bytes.len());
            if to_onnx {
                say!("{}", onnx::AXES);
            }
        }
        Command::Import { prefix, output, .. } if is_onnx(prefix) => {
            spare_inputs(output, None, &[Some(prefix)])?;
            check_ending(output, "")?;
            written(&onnx::import(prefix)?, output)?;
        }
        Command::Import { prefix, output, origin, license, convs, up_convs } => {
            let list = |values: &Vec<usize>| (!values.is_empty()).then(|| values.clone());
            let metadata = Metadata { origin: origin.clone(), license: Some(license.clone()), ..Metadata::default() };
            import(prefix, output, tensorflow::Options { convs: list(convs), up_convs: list(up_convs), metadata })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

/// Refuses the name of another format for safetensors; `or` says what else the name may end in.
fn check_ending(output: &Path, or: &str) -> Result<()> {
    match output.extension() {
        Some(extension) if !extension.eq_ignore_ascii_case("safetensors") => {
            let problem = format!("safetensors would be written under this name: let it end in .safetensors{or}");
            Err(Error::Scan { path: output.to_path_buf(), problem })
        }
        _ => Ok(()),
    }
}

fn info(file: Option<&Path>, json: bool) -> Result<()> {
    let summary = Summary::of(&load_weights(file)?);
    if json {
        talk::lines(&serde_json::to_string_pretty(&summary).expect("a summary is numbers and text"));
    } else {
        talk::lines(summary.to_string().trim_end());
    }
    Ok(())
}

fn import(prefix: &Path, output: &Path, options: tensorflow::Options) -> Result<()> {
    let files = tensorflow::files(prefix);
    spare_inputs(output, None, &files.iter().map(|file| Some(file.as_path())).collect::<Vec<_>>())?;
    check_ending(output, "")?;
    written(&Weights::import_tensorflow(prefix, options)?, output)
}

fn written(weights: &Weights, output: &Path) -> Result<()> {
    atomic::write(output, |file| file.write_all(weights.bytes()))?;
    say!("{}: {} parameters, SHA-256 {}", output.display(), weights.description().parameters(), weights.sha256());
    Ok(())
}
