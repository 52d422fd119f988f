//! `ichor devices`

use crate::cli::talk::say;
use ichor::Result;
use ichor::network::device::Device;
use std::process::ExitCode;

pub fn run() -> Result<ExitCode> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for entry in Device::all(threads) {
        match entry.detail {
            Ok(detail) => say!("{:<10} yes  {detail}", entry.device.to_string()),
            Err(reason) => say!("{:<10} no   {reason}", entry.device.to_string()),
        }
    }
    Ok(ExitCode::SUCCESS)
}
