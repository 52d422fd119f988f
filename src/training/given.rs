//! What a config file gives, completed: by the weights that a training begins with, and by the defaults.

use super::checkpoint;
use super::config::{Config, Samples};
use super::difference::{Difference, table_of};
use crate::network::weights::{InputKind, Weights};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The name of the built-in weights in [`Config::from`].
const BUILT_IN: &str = "built-in";

/// The options of `[network]` whose lengths depend on each other.
const TOGETHER: &str = "widths, convs, up_widths and up_convs go together";

/// The weights that [`Config::from`] names.
pub(super) fn open(name: &str) -> Result<Weights> {
    if name == BUILT_IN { Ok(Weights::built_in()?) } else { Ok(Weights::open(name)?) }
}

impl Config {
    /// The options of a training: those of `file`, the others from the weights that it begins with (`from`, else the file's own `from`) as far as they are the
    /// weights': `[network]`, `samples.hu_range`, `samples.patch`, `skull_margin_mm`. All others are the defaults.
    ///
    /// Weights that are no longer there are no error where `folder` has the checkpoint of a training that began with them: it has what was taken from them.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Weights`] where a file cannot be read, [`Error::Training`] where an option is wrong or is not that of the weights.
    pub fn load(file: Option<&Path>, from: Option<&str>, folder: &Path) -> Result<Config> {
        let path = file.map_or_else(|| PathBuf::from("the options"), Path::to_path_buf);
        let problem = |problem: String| Error::Training { path: path.clone(), problem };
        let given = match file {
            Some(file) => read(file)?,
            None => Table::new(),
        };
        let from = from.or_else(|| given.get("from").and_then(Value::as_str)).map(str::to_string);
        let (base, origin) = match &from {
            Some(name) => (beginning_with(name, folder)?, name.as_str()),
            None => (Config::default(), "the default options"),
        };
        let mut whole = table_of(&base);
        merge(&mut whole, given.clone());
        let mut config: Config = whole.try_into().map_err(|error: toml::de::Error| problem(error.message().into()))?;
        if from.is_some() {
            let fixed = |option: &str| option.starts_with("network.") || option == "samples.hu_range";
            let against: Vec<String> = config
                .differences(&base)
                .into_iter()
                .filter(|difference| fixed(&difference.option))
                .map(|Difference { option, here, there }| format!("{option} is {here}, but {there} in those weights"))
                .collect();
            if !against.is_empty() {
                return Err(problem(format!(
                    "it cannot begin with {origin}: {}; leave that out, and it is taken from them, or begin without them",
                    against.join("; ")
                )));
            }
        }
        config.from = from.clone();
        config.check().map_err(|wrong| {
            let network = given.get("network").and_then(Value::as_table).filter(|network| network.len() < NETWORK_OPTIONS);
            match network.filter(|_| config.network.validate().is_err()) {
                Some(_) => problem(format!("{wrong}; what [network] does not give is that of {origin}, and {TOGETHER}")),
                None => problem(wrong),
            }
        })?;
        Ok(config)
    }
}

/// Options that a network has.
const NETWORK_OPTIONS: usize = 8;

/// What a config file gives. A mistake in it is told with its line.
fn read(file: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(file).map_err(Error::read(file))?;
    // The line is named, and not shown: messages have one line.
    let problem = |error: toml::de::Error| {
        let said = error.to_string();
        let place = said.lines().next().filter(|first| first.contains(" at line ")).map(|first| format!("{first}: "));
        let problem = place.unwrap_or_default() + error.message().trim_end();
        Error::Training { path: file.to_path_buf(), problem }
    };
    match toml::from_str::<Config>(&text) {
        // What [network] lacks is completed; all else is wrong whatever it is completed with.
        Err(error) if !error.message().starts_with("missing field") => Err(problem(error)),
        _ => text.parse().map_err(problem),
    }
}

/// The defaults of a training that begins with some weights.
fn beginning_with(name: &str, folder: &Path) -> Result<Config> {
    let weights = match open(name) {
        Ok(weights) => weights,
        Err(error) => {
            let begun = checkpoint::config(&folder.join("checkpoint")).filter(|begun| begun.from.as_deref() == Some(name));
            return match begun {
                Some(begun) => {
                    let samples = Samples { hu_range: begun.samples.hu_range, patch: begun.samples.patch, ..Samples::default() };
                    Ok(Config { network: begun.network, skull_margin_mm: begun.skull_margin_mm, samples, ..Config::default() })
                }
                None => Err(error),
            };
        }
    };
    let metadata = weights.metadata();
    let Some(hu_range) = metadata.hu_range else {
        let problem = "takes HU that are not clipped, and training clips them: it is no weights file to begin with".into();
        return Err(Error::Training { path: name.into(), problem });
    };
    let patch = match metadata.input {
        InputKind::TemplatePatches { patch } => patch,
        InputKind::Template | InputKind::NativeSlices => 0,
    };
    Ok(Config {
        network: weights.description().clone(),
        skull_margin_mm: metadata.skull_margin_mm,
        samples: Samples { hu_range, patch, ..Samples::default() },
        ..Config::default()
    })
}

/// Puts what is given in place of what was there, table by table.
fn merge(table: &mut Table, given: Table) {
    for (name, value) in given {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => drop(table.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::weights::Metadata;
    use crate::network::{Activation, Description};

    fn small() -> Description {
        Description {
            widths: vec![2, 3],
            convs: vec![1, 2],
            up_widths: vec![5],
            up_convs: vec![1],
            activation: Activation::Prelu,
            ..Description::deepbleed()
        }
    }

    /// Weights in a file: of a patch network, with a range and a margin of their own.
    fn weights(folder: &Path, metadata: Metadata) -> String {
        let generated = Weights::generate(&small(), "given").unwrap();
        let tensors = small().tensors().into_iter().map(|t| (t.name.clone(), generated.tensor(&t.name).into_owned())).collect();
        let path = folder.join("weights.safetensors");
        Weights::from_tensors("given", &small(), &metadata, &tensors).unwrap().write(&path).unwrap();
        path.display().to_string()
    }

    fn patches() -> Metadata {
        Metadata {
            hu_range: Some([-10.0, 90.0]),
            skull_margin_mm: 1.5,
            threshold: Some(0.4),
            input: InputKind::TemplatePatches { patch: 64 },
            ..Metadata::default()
        }
    }

    fn load(text: &str, from: Option<&str>, folder: &Path) -> Result<Config> {
        let path = folder.join("config.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), from, folder)
    }

    #[test]
    fn weights_bring_their_network_range_margin_and_patch() {
        let folder = tempfile::tempdir().unwrap();
        let from = weights(folder.path(), patches());
        let in_file = format!("from = {from:?}\n[schedule]\nepochs = 7");
        for (text, given) in [("[schedule]\nepochs = 7", Some(from.as_str())), (in_file.as_str(), None)] {
            let config = load(text, given, folder.path()).unwrap();
            assert_eq!((&config.network, config.skull_margin_mm, config.schedule.epochs), (&small(), 1.5, 7));
            assert_eq!((config.samples.hu_range, config.samples.patch, config.samples.crop), ([-10.0, 90.0], 64, 64));
            // The threshold belongs to the weights that come out.
            assert_eq!((config.threshold, config.from.as_ref()), (None, Some(&from)));
        }
        // What is given wins where it may, and the same network may be given.
        let text = "skull_margin_mm = 0.0\n[network]\nwidths = [2, 3]\n[samples]\npatch = 0";
        let config = load(text, Some(&from), folder.path()).unwrap();
        assert_eq!((config.skull_margin_mm, config.samples.patch, &config.network), (0.0, 0, &small()));
    }

    #[cfg(feature = "built-in-weights")]
    #[test]
    fn the_built_in_weights_bring_theirs() {
        let config = Config::load(None, Some("built-in"), Path::new(".")).unwrap();
        assert_eq!((&config.network, config.skull_margin_mm), (Weights::built_in().unwrap().description(), 2.0));
    }

    #[test]
    fn what_contradicts_the_weights_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let from = weights(folder.path(), patches());
        let text = "[network]\nwidths = [4, 3]\nshared = false\n[samples]\nhu_range = [-20.0, 120.0]";
        let said = load(text, Some(&from), folder.path()).unwrap_err().to_string();
        for part in [
            "config.toml",
            &from,
            "network.widths is [4, 3], but [2, 3]",
            "network.shared is false, but true",
            "samples.hu_range is",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("convs"), "{said}");
        let not_clipped = weights(folder.path(), Metadata { hu_range: None, input: InputKind::Template, ..patches() });
        let said = load("", Some(&not_clipped), folder.path()).unwrap_err().to_string();
        assert!(said.contains("not clipped") && said.contains(&not_clipped), "{said}");
    }

    #[test]
    fn a_part_of_a_network_is_completed_by_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let config = load("[network]\nactivation = \"relu\"\nwidths = [4, 4, 16, 32, 64]", None, folder.path()).unwrap();
        let defaults = Config::default().network;
        assert_eq!(config.network, Description { activation: Activation::Relu, widths: vec![4, 4, 16, 32, 64], ..defaults });
        let said = load("[network]\nwidths = [4, 8]", None, folder.path()).unwrap_err().to_string();
        assert!(said.contains(TOGETHER) && said.contains("the default options"), "{said}");
        let said = load("[network]\nwidht = [4, 8]", None, folder.path()).unwrap_err().to_string();
        assert!(said.contains("widht") && said.contains("line 2"), "{said}");
        let said = load("[network]\nwidths = [4, 8]\n[schedule]\nepoch = 3", None, folder.path()).unwrap_err().to_string();
        assert!(said.contains("epoch"), "{said}");
        // None of the options is forgotten where they are counted.
        assert_eq!(table_of(&Config::default())["network"].as_table().unwrap().len(), NETWORK_OPTIONS);
    }
}
