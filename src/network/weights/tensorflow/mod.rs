//! Import of TensorFlow 2 checkpoints: `PREFIX.index` and `PREFIX.data-0000i-of-0000n`.
//!
//! - `table`: the index is a sorted table of the LevelDB kind.
//! - `bundle`: its values say where in the data files each tensor lies.
//! - `slices`: large variables may have been saved in slices.
//! - here: which of them are the network's, and what the network is.
//!
//! A variable's key is its path through the model's objects: `down_1/convolution/kernel/.ATTRIBUTES/VARIABLE_VALUE`.
//! The model of the released DeepBleed weights has the names that ichor uses, so the path is the tensor's name. The
//! state of an optimizer and TensorFlow's own entries are left out.

mod bundle;
mod reader;
mod slices;
mod table;
#[cfg(test)]
mod tests;

use super::bytes::Bytes;
use super::{Metadata, Weights, WeightsError, foreign, format};
use crate::network::error::{CheckpointError, Error, Result};
use crate::network::{Activation, Description};
use bundle::{Bundle, Entry};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most bytes of an index: a network's has some kB.
const MOST_INDEX: usize = 16 << 20;
/// What TensorFlow appends to the path of a variable.
const VARIABLE: &str = "/.ATTRIBUTES/VARIABLE_VALUE";
/// Paths of variables that are not the network's begin with one of these.
const NOT_THE_NETWORK: [&str; 3] = ["optimizer/", "save_counter", "keras_api/"];
/// The path of an optimizer's slot for a variable has this behind the variable's own.
const SLOT: &str = "/.OPTIMIZER_SLOT/";

type Checked<T> = std::result::Result<T, CheckpointError>;

/// What an import needs to know besides the checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How often the convolution of `input_layer`, `down_1` .. `down_L` is applied, which a checkpoint with shared
    /// convolutions does not say. `None`: as in the released program, 1, 2, 3, 3, ..
    pub convs: Option<Vec<usize>>,
    /// The same for `up_L` .. `up_1`. `None`: as in the released program, .., 3, 3, 2, 1.
    pub up_convs: Option<Vec<usize>>,
    /// Origin, license and so on of the weights. Without an origin it will name the checkpoint.
    pub metadata: Metadata,
}

/// The files of the checkpoint with this prefix that are there: its index and its data.
pub fn files(prefix: &Path) -> Vec<PathBuf> {
    let prefix = without_index(prefix);
    let name = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = match prefix.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_part = |path: &PathBuf| {
        let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        own.strip_prefix(&name).is_some_and(|end| end.is_empty() || end == ".index" || end.starts_with(".data-"))
    };
    entries.filter(is_part).collect()
}

/// The prefix of a checkpoint whose index may be given in its place.
fn without_index(prefix: &Path) -> PathBuf {
    if prefix.extension().is_some_and(|extension| extension == "index") {
        prefix.with_extension("")
    } else {
        prefix.to_path_buf()
    }
}

/// What a file or folder is that was given in place of a checkpoint's prefix; `None` where there is none.
fn not_imported(path: &Path) -> Option<WeightsError> {
    if path.is_dir() {
        return Some(foreign::told_by_name(path).map_or(WeightsError::NotImported, WeightsError::Foreign));
    }
    let file = Bytes::map(path).ok()?;
    if let Some(what) = foreign::told(path, &file) {
        return Some(WeightsError::Foreign(what));
    }
    Some(match format::parse(&file) {
        Ok(_) => WeightsError::Already,
        Err(WeightsError::TooShort(_) | WeightsError::HeaderTooLong(_) | WeightsError::Header(_)) => WeightsError::NotImported,
        Err(other) => other,
    })
}

impl Weights {
    /// Imports a TensorFlow 2 checkpoint of a V-Net whose variables have the names of the released DeepBleed weights.
    ///
    /// `prefix` is the checkpoint's path without `.index`; with it is understood, too. Separate convolutions of a block
    /// are expected as `convolution_0`, `convolution_1`, .., slopes of a PReLU as `alpha` beside them, as in ichor's
    /// own files; slopes may have sides of 1 before the channels, as TensorFlow keeps them.
    ///
    /// # Errors
    /// [`Error::File`] for an index or data file that cannot be read, [`Error::Checkpoint`] where anything in them is
    /// wrong or they hold another network, [`Error::Weights`] for values that are not finite.
    pub fn import_tensorflow(prefix: impl AsRef<Path>, options: Options) -> Result<Weights> {
        let prefix = without_index(prefix.as_ref());
        let sibling = |end: &str| {
            let mut path = prefix.clone().into_os_string();
            path.push(end);
            PathBuf::from(path)
        };
        let open = |path: PathBuf| Bytes::map(&path).map_err(Error::read(&path)).map(|bytes| (path, bytes));
        let index = open(sibling(".index")).map_err(|error| match not_imported(&prefix) {
            Some(source) => Error::Weights { path: prefix.clone(), source },
            None => error,
        })?;
        let bundle = open_index(&index.1).map_err(|source| Error::Checkpoint { path: index.0.clone(), source })?;
        let count = bundle.shards;
        let shards = (0..count).map(|i| open(sibling(&format!(".data-{i:05}-of-{count:05}")))).collect::<Result<Vec<_>>>()?;
        let files: Vec<(&Path, &[u8])> = shards.iter().map(|(path, bytes)| (path.as_path(), &**bytes)).collect();
        import(&prefix, &index.0, &bundle, &files, options)
    }

    /// Imports a checkpoint with one data file from memory.
    ///
    /// # Errors
    /// As [`Weights::import_tensorflow`].
    pub fn import_tensorflow_bytes(name: &str, index: &[u8], data: &[u8], options: Options) -> Result<Weights> {
        let path = Path::new(name);
        let bundle = open_index(index).map_err(|source| Error::Checkpoint { path: path.into(), source })?;
        import(path, path, &bundle, &vec![(path, data); bundle.shards], options)
    }
}

fn open_index(bytes: &[u8]) -> Checked<Bundle> {
    if bytes.len() > MOST_INDEX {
        return Err(CheckpointError::IndexTooLong(bytes.len()));
    }
    Bundle::parse(bytes)
}

/// Weights from an index and the path and bytes of every data file.
fn import(prefix: &Path, index: &Path, bundle: &Bundle, files: &[(&Path, &[u8])], options: Options) -> Result<Weights> {
    let wrong = |path: &Path, source| Error::Checkpoint { path: path.into(), source };
    let variables = network_variables(bundle);
    let description = describe(&variables, &options).map_err(|source| wrong(index, source))?;
    check_variables(&variables, &description, files).map_err(|source| wrong(index, source))?;
    let mut tensors = BTreeMap::new();
    for (name, variable) in variables {
        tensors.insert(name.to_string(), read(bundle, name, variable, index, files)?);
    }
    let name = prefix.file_name().unwrap_or_default().to_string_lossy();
    let mut metadata = options.metadata;
    metadata.origin.get_or_insert_with(|| format!("imported from the TensorFlow checkpoint {name}"));
    Weights::from_tensors(&name, &description, &metadata, &tensors)
}

/// The values of a variable, put together where it has been saved in slices.
fn read(bundle: &Bundle, name: &str, variable: &Entry, index: &Path, files: &[(&Path, &[u8])]) -> Result<Vec<f32>> {
    let in_index = |source| Error::Checkpoint { path: index.into(), source };
    let read = |entry: &Entry| {
        let (path, bytes) = files[entry.shard as usize];
        entry.read(name, bytes).map_err(|source| Error::Checkpoint { path: path.into(), source })
    };
    if variable.slices.is_empty() {
        return read(variable);
    }
    let places = slices::resolve(name, &variable.slices, &variable.shape).map_err(in_index)?;
    let mut parts = Vec::new();
    for (slice, place) in variable.slices.iter().zip(places) {
        let key = slices::key(&format!("{name}{VARIABLE}"), slice);
        let entry = bundle.tensors.get(&key).ok_or_else(|| in_index(CheckpointError::MissingSlice(name.into())))?;
        if !entry.shape.iter().copied().eq(place.iter().map(|&(_, length)| length as u64)) {
            return Err(in_index(CheckpointError::Slices(name.into())));
        }
        parts.push((place, read(entry)?));
    }
    slices::join(name, &parts, &variable.shape).map_err(in_index)
}

/// The variables of the network by their names in ichor.
fn network_variables(bundle: &Bundle) -> BTreeMap<&str, &Entry> {
    // The keys of slices begin with 0, which is no name's beginning; they are looked up where a variable lists them.
    let variables = bundle.tensors.iter().filter_map(|(key, variable)| {
        let name = str::from_utf8(key).ok()?.strip_suffix(VARIABLE)?;
        let left_out = name.contains(SLOT) || NOT_THE_NETWORK.iter().any(|other| name.starts_with(other));
        (!left_out).then_some((name, variable))
    });
    variables.collect()
}

/// What the network is, from names and shapes of its variables.
fn describe(variables: &BTreeMap<&str, &Entry>, options: &Options) -> Checked<Description> {
    let has = |name: &str| variables.contains_key(name);
    let kernel = |name: String| -> Checked<[usize; 5]> {
        let Some(variable) = variables.get(name.as_str()) else { return Err(CheckpointError::MissingVariable(name)) };
        let shape = variable.shape.iter().map(|&side| usize::try_from(side).ok()).collect::<Option<Vec<_>>>();
        shape.and_then(|shape| shape.try_into().ok()).ok_or_else(|| CheckpointError::Shape {
            name,
            found: variable.shape.clone(),
            expected: "a kernel has three sides, inputs and outputs".into(),
        })
    };
    let input = kernel("input_layer/convolution/kernel".into())?;
    let first = kernel("down_1/downsample/kernel".into())?;
    let levels = (1..).take_while(|level| has(&format!("down_{level}/downsample/kernel"))).count();
    let mut widths = vec![input[4]];
    for level in 1..=levels {
        widths.push(kernel(format!("down_{level}/downsample/kernel"))?[4]);
    }
    let mut up_widths = Vec::new();
    for level in (1..=levels).rev() {
        up_widths.push(kernel(format!("up_{level}/upsample/kernel"))?[3].saturating_add(widths[level - 1]));
    }
    let shared = has("down_1/convolution/kernel");
    // The released program applies a shared convolution once more on each level, three times at most.
    let count = |block: String, released: usize| {
        let separate = (0..).take_while(|index| has(&format!("{block}/convolution_{index}/kernel"))).count();
        if shared { released.min(3) } else { separate }
    };
    let convs = || (0..=levels).map(|level| if level == 0 { 1 } else { count(format!("down_{level}"), level + 1) }).collect();
    let up_convs = || (1..=levels).rev().map(|level| count(format!("up_{level}"), level)).collect();
    let description = Description {
        kernel: [input[0], input[1], input[2]],
        stride: [first[0], first[1], first[2]],
        widths,
        convs: options.convs.clone().unwrap_or_else(convs),
        up_widths,
        up_convs: options.up_convs.clone().unwrap_or_else(up_convs),
        shared,
        activation: if variables.keys().any(|name| name.ends_with("/alpha")) { Activation::Prelu } else { Activation::Relu },
    };
    description.validate().map_err(|e| CheckpointError::Description(e.to_string()))?;
    Ok(description)
}

/// Checks that the variables are exactly the network's tensors, and that they may all lie in the data files.
fn check_variables(variables: &BTreeMap<&str, &Entry>, description: &Description, files: &[(&Path, &[u8])]) -> Checked<()> {
    let specs: BTreeMap<String, Vec<usize>> = description.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
    if let Some(name) = variables.keys().find(|&&name| !specs.contains_key(name)) {
        return Err(CheckpointError::UnknownVariable(name.to_string()));
    }
    for (name, expected) in specs {
        let Some(variable) = variables.get(name.as_str()) else { return Err(CheckpointError::MissingVariable(name)) };
        let expected: Vec<u64> = expected.into_iter().map(|side| side as u64).collect();
        // TensorFlow keeps the slopes of a PReLU with a side of 1 for each axis along which they are shared.
        let leading = variable.shape.len().saturating_sub(expected.len());
        let (ones, shape) = variable.shape.split_at(leading);
        if shape != expected || ones.iter().any(|&side| side != 1) {
            let expected = format!("its network needs {expected:?}");
            return Err(CheckpointError::Shape { name, found: variable.shape.clone(), expected });
        }
    }
    let mut needed = 0;
    for (name, variable) in variables {
        // The shape is the network's, so small enough for the product.
        needed += variable.shape.iter().product::<u64>() * variable.dtype(name)?.size() as u64;
    }
    let found = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    if needed > found {
        return Err(CheckpointError::Overlap { needed, found });
    }
    Ok(())
}
