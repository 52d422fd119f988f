//! The state of a training in a file, from which it goes on exactly.
//!
//! `ichorck1`, the length of the header (u64), the header (JSON), four arrays of f32 (weights, their average, the optimiser's two memories), CRC-32C of all
//! before it; little-endian. Random numbers need no state: see [`super::random`].

use super::config::Config;
use super::difference::Difference;
use super::epoch::Epoch;
use super::optimiser::State;
use crate::io::atomic;
use crate::network::cpu::backward::parameters::Parameters;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

const MAGIC: &[u8; 8] = b"ichorck1";

#[derive(Serialize, Deserialize)]
struct Header {
    config: Config,
    updates: usize,
    history: Vec<Epoch>,
}

/// Writes the state after the epochs of `history`: whole or not at all.
///
/// # Errors
/// [`Error::Write`] where it cannot be written.
pub fn write(path: &Path, config: &Config, state: &State, history: &[Epoch]) -> Result<()> {
    let header = Header { config: config.clone(), updates: state.updates, history: history.to_vec() };
    let header = serde_json::to_vec(&header).expect("a config and a history are numbers and text");
    let mut bytes = MAGIC.to_vec();
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for parameters in [&state.weights, &state.average, &state.mean, &state.square] {
        bytes.extend(parameters.values().iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    Ok(atomic::write(path, |file| file.write_all(&bytes))?)
}

/// What is said of a checkpoint that is not whole.
const DAMAGED: &str =
    "is damaged: to begin the training anew, give another folder (-o) or remove it and the other files of the training";

/// The options in which a training may go on differently from how it began: how long and how fast, and what the weights' file says.
const MAY_CHANGE: [&str; 9] = [
    "license",
    "schedule.epochs",
    "schedule.last_rate",
    "schedule.least_epochs",
    "schedule.patience",
    "schedule.rate",
    "skull_margin_mm",
    "threshold",
    "trained_on",
];

/// The config of a training whose state is there and whole.
pub fn config(path: &Path) -> Option<Config> {
    Some(parse(&std::fs::read(path).ok()?)?.0.config)
}

/// Reads a state and its history, if the file is there. The config may be another than that of the state in what [`MAY_CHANGE`] names.
///
/// # Errors
/// [`Error::Read`] where it cannot be read, [`Error::Training`] where it is damaged or is that of another config.
pub fn read(path: &Path, config: &Config) -> Result<Option<(State, Vec<Epoch>)>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::read(path)(error)),
    };
    let problem = |text: &str| Error::Training { path: path.to_path_buf(), problem: text.into() };
    if !bytes.is_empty() && !bytes.starts_with(&MAGIC[..MAGIC.len().min(bytes.len())]) {
        return Err(problem("is no checkpoint of a training: give another folder (-o)"));
    }
    let (header, values) = parse(&bytes).ok_or_else(|| problem(DAMAGED))?;
    let other: Vec<String> = config
        .differences(&header.config)
        .into_iter()
        .filter(|difference| !MAY_CHANGE.contains(&difference.option.as_str()))
        .map(|Difference { option, here, there }| format!("{option} is {here} now and was {there} there"))
        .collect();
    if !other.is_empty() {
        return Err(problem(&format!(
            "was made with another config: {}; give the same, or another folder for a new training (only {} may change)",
            other.join(", "),
            MAY_CHANGE.join(", ")
        )));
    }
    let mut parts = values.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let mut next = || -> Option<Parameters> {
        let mut parameters = Parameters::zeros(&config.network);
        for value in parameters.values_mut() {
            *value = parts.next()?;
        }
        Some(parameters)
    };
    let state =
        (|| Some(State { weights: next()?, average: next()?, mean: next()?, square: next()?, updates: header.updates }))();
    let state = state.ok_or_else(|| problem(DAMAGED))?;
    Ok(Some((state, header.history)))
}

/// Header and values of bytes that are whole.
fn parse(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (len, rest) = content.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let (header, values) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    Some((serde_json::from_slice(header).ok()?, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let config = Config::default();
        assert!(read(&path, &config).unwrap().is_none());
        let mut state = State::new(Parameters::initial(&config.network, 3).unwrap());
        state.mean.values_mut()[7] = 1e-30;
        state.updates = 12;
        let history = vec![Epoch { epoch: 1, loss: 1.0 / 3.0, ..Epoch::default() }];
        write(&path, &config, &state, &history).unwrap();
        assert_eq!(read(&path, &config).unwrap(), Some((state, history)));

        let other = Config { seed: 2, ..config.clone() };
        let said = read(&path, &other).unwrap_err().to_string();
        assert!(said.contains("another config: seed is 2 now and was 1 there;"), "{said}");
        // Longer, slower, of another license: it is the same training.
        let mut longer = Config { license: "MIT".into(), threshold: Some(0.4), ..config.clone() };
        (longer.schedule.epochs, longer.schedule.last_rate) = (900, 1e-6);
        assert!(read(&path, &longer).unwrap().is_some());
        longer.schedule.updates += 1;
        let said = read(&path, &longer).unwrap_err().to_string();
        assert!(said.contains("schedule.updates is 33 now and was 32 there") && !said.contains("license is"), "{said}");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(read(&path, &config).unwrap_err().to_string().contains("damaged"));
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(read(&path, &config), Err(Error::Training { .. })));
    }
}
