//! The weights of a network: the weights file, generated and hand-set weights, and the import of TensorFlow checkpoints.
//!
//! - [`mod@format`]: the weights file: safetensors, checked before a byte of it is used.
//! - `metadata`: what the file says about itself besides the network: origin, license, threshold, kind of input.
//! - [`hand_set`]: weights set by hand, with which the whole path can be tested exactly.
//! - [`generate`]: pseudo-random weights and inputs that any language can repeat.
//! - `info`: a summary for people.
//! - [`onnx`]: export for other runtimes, and import of such files.
//! - [`tensorflow`]: import of TensorFlow 2 checkpoints.

mod bytes;
mod float16;
mod foreign;
pub mod format;
#[doc(hidden)]
pub mod generate;
#[doc(hidden)]
pub mod hand_set;
pub(crate) mod info;
mod layer;
pub(crate) mod metadata;
pub mod onnx;
pub mod tensorflow;

pub use crate::network::error::{CheckpointError, WeightsError};
pub use format::Dtype;
pub use info::Summary;
pub(crate) use layer::LayerTensors;
pub use metadata::{InputKind, Metadata};

use crate::io::atomic;
use crate::network::Description;
use crate::network::{Error, Result};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The weights of one network: a weights file in memory or mapped into it, of which every byte has been checked. A clone
/// is the same file, not a copy of it.
#[derive(Clone)]
pub struct Weights(Arc<File>);

/// A weights file.
struct File {
    name: String,
    bytes: Bytes,
    layout: format::Layout,
    sha256: OnceLock<String>,
}

impl Weights {
    /// Opens a weights file: maps it into memory without a copy and checks all of it. It must not be changed while it is open.
    ///
    /// # Errors
    /// [`Error::File`] where the file cannot be read, [`Error::Weights`] where anything in it is wrong.
    pub fn open(path: impl AsRef<Path>) -> Result<Weights> {
        let path = path.as_ref();
        let wrong = |source| Error::Weights { path: path.to_path_buf(), source };
        let bytes = Bytes::map(path).map_err(|error| match foreign::told_by_name(path) {
            Some(what) => wrong(WeightsError::Foreign(what)),
            None => Error::read(path)(error),
        })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match format::parse(&bytes) {
            Ok(layout) => Ok(Weights::of(name, bytes, layout)),
            Err(source) => Err(wrong(foreign::told(path, &bytes).map_or(source, WeightsError::Foreign))),
        }
    }

    /// Weights from the bytes of a weights file, such as one embedded in the program.
    ///
    /// # Errors
    /// [`Error::Weights`] where anything in them is wrong.
    pub fn from_bytes(name: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Weights> {
        Weights::checked(name.to_string(), Bytes::Held(bytes.into()))
            .map_err(|source| Error::Weights { path: name.into(), source })
    }

    /// Weights from values: what a file with them as F32 would hold.
    ///
    /// `tensors` has the values of every tensor of [`Description::tensors`] in C order.
    ///
    /// # Errors
    /// [`Error::Weights`] for an unusable description and for tensors that do not fit it or are not finite.
    pub fn from_tensors(
        name: &str,
        description: &Description,
        metadata: &Metadata,
        tensors: &BTreeMap<String, Vec<f32>>,
    ) -> Result<Weights> {
        let bytes = format::serialize(description, metadata, tensors, Dtype::F32)
            .map_err(|source| Error::Weights { path: name.into(), source })?;
        Weights::from_bytes(name, bytes)
    }

    /// The built-in weights: a network of about a quarter of the released widths, trained by `ichor train` on generated heads alone. `docs/model-card.md` says how, and
    /// what it finds and misses.
    ///
    /// # Errors
    /// [`Error::Weights`] in a build without the feature `built-in-weights`.
    pub fn built_in() -> Result<Weights> {
        const NAME: &str = "built-in";
        #[cfg(feature = "built-in-weights")]
        return Weights::from_bytes(NAME, &include_bytes!("built-in.safetensors")[..]);
        #[cfg(not(feature = "built-in-weights"))]
        Err(Error::Weights { path: NAME.into(), source: WeightsError::NotBuiltIn })
    }

    /// The same weights in a file that stores them as `dtype`, each rounded to the nearest.
    ///
    /// # Errors
    /// [`Error::Weights`] where a value is too large for it.
    pub fn with_dtype(&self, dtype: Dtype) -> Result<Weights> {
        let names = self.description().tensors().into_iter().map(|tensor| tensor.name);
        let tensors = names.map(|name| (name.clone(), self.tensor(&name).into_owned())).collect();
        let bytes = format::serialize(self.description(), self.metadata(), &tensors, dtype)
            .map_err(|source| Error::Weights { path: self.name().into(), source })?;
        Weights::from_bytes(self.name(), bytes)
    }

    fn checked(name: String, bytes: Bytes) -> std::result::Result<Weights, WeightsError> {
        let layout = format::parse(&bytes)?;
        Ok(Weights::of(name, bytes, layout))
    }

    fn of(name: String, bytes: Bytes, layout: format::Layout) -> Weights {
        Weights(Arc::new(File { name, bytes, layout, sha256: OnceLock::new() }))
    }

    /// The name: the file's without its extension, or the one that was given.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The network.
    pub fn description(&self) -> &Description {
        &self.0.layout.description
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.0.layout.metadata
    }

    /// The bytes of the weights file: written anywhere, they are a copy of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Tells the operating system that the file's pages in memory are not needed for now, such as after packing;
    /// reading a tensor again fetches them again.
    pub(crate) fn release(&self) {
        self.0.bytes.release();
    }

    /// SHA-256 of the weights file, in hex. Computed at the first call.
    pub fn sha256(&self) -> String {
        self.0.sha256.get_or_init(|| Sha256::digest(self.bytes()).iter().map(|byte| format!("{byte:02x}")).collect()).clone()
    }

    /// Writes the weights file: whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(atomic::write(path, |file| file.write_all(self.bytes()))?)
    }

    /// How the file stores a tensor.
    ///
    /// # Panics
    /// Where `name` is not one of [`Description::tensors`].
    pub fn dtype(&self, name: &str) -> Dtype {
        self.0.layout.entry(name).dtype
    }

    /// The values of a tensor in C order, straight from the file's bytes where they are f32 in memory's own order and alignment.
    ///
    /// # Panics
    /// Where `name` is not one of [`Description::tensors`].
    pub fn tensor(&self, name: &str) -> Cow<'_, [f32]> {
        let entry = self.0.layout.entry(name);
        let bytes = &self.0.bytes[entry.range.clone()];
        if entry.dtype == Dtype::F32
            && cfg!(target_endian = "little")
            && let Ok(values) = bytemuck::try_cast_slice(bytes)
        {
            return Cow::Borrowed(values);
        }
        Cow::Owned(entry.dtype.decode(bytes))
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("name", &self.0.name)
            .field("description", self.description())
            .field("metadata", self.metadata())
            .finish_non_exhaustive()
    }
}
