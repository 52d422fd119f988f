//! `ichor network`

use super::{inference, load_weights, spare_inputs, tell_grid, timed, with_threads};
use crate::cli::arguments::Network;
use ichor::Result;
use ichor::io::nifti;
use ichor::network::sigmoid;
use ichor::scan::space;
use std::process::ExitCode;

pub fn run(arguments: &Network) -> Result<ExitCode> {
    spare_inputs(&arguments.output, Some(&arguments.input), &[arguments.weights.weights.as_deref()])?;
    with_threads(arguments.run.threads, |threads| {
        let weights = load_weights(arguments.weights.weights.as_deref())?;
        let scan = timed("reading", || nifti::read(&arguments.input))?;
        tell_grid("input", scan.volume.grid());
        let mut inference = inference(&weights, &arguments.run, threads);
        let mut values = timed("network", || inference.logits(space::to_network(&scan.volume).view(), None))?;
        if !arguments.logits {
            values.mapv_inplace(sigmoid);
        }
        let volume = space::from_network(values.view(), scan.volume.grid().clone());
        nifti::write(&arguments.output, &volume, &scan.header)?;
        log::info!("{}, weights {}: for research use only, not for diagnosis", inference.device(), weights.name());
        Ok(ExitCode::SUCCESS)
    })?
}
