//! `ichor weights`

use super::load_weights;
use crate::cli::arguments::Weights as Command;
use ichor::weights::{Dtype, InputKind, Metadata, Summary, Weights, format, tensorflow};
use ichor::{Result, io::atomic};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Info { file, json } => info(file.as_deref(), *json)?,
        Command::Check { file } => {
            let weights = Weights::open(file)?;
            println!("{}: good: {} parameters, SHA-256 {}", file.display(), weights.description().parameters(), weights.sha256());
        }
        Command::Import { prefix, output, origin, license } => import(prefix, output, origin, license)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn info(file: Option<&Path>, json: bool) -> Result<()> {
    let summary = Summary::of(&load_weights(file)?);
    if json {
        println!("{}", serde_json::to_string_pretty(&summary).expect("a summary is numbers and text"));
    } else {
        print!("{summary}");
    }
    Ok(())
}

fn import(prefix: &Path, output: &Path, origin: &str, license: &str) -> Result<()> {
    let (description, tensors) = tensorflow::import(prefix)?;
    let metadata =
        Metadata { origin: Some(origin.into()), license: Some(license.into()), input: InputKind::Template, ..Metadata::default() };
    let bytes = format::serialize(&description, &metadata, &tensors, Dtype::F32);
    // Read back before it is kept: what is written is what can be opened.
    let weights = Weights::from_bytes(&output.to_string_lossy(), bytes)?;
    atomic::write(output, |file| file.write_all(weights.bytes()))?;
    println!("{}: {} parameters", output.display(), description.parameters());
    Ok(())
}
