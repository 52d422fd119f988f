/// The `format` entry of the files that this version reads and writes.
pub(crate) const FORMAT: &str = "ichor-weights-1";

/// What can be wrong with a weights file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Less than the header's length.
    #[error("is no weights file: it has only {0} bytes")]
    TooShort(usize),
    /// A header longer than any network needs: the usual sign of a file that is no safetensors file.
    #[error("is no weights file: a safetensors header of {0} bytes is not possible")]
    HeaderTooLong(u64),
    /// The file ends within its header.
    #[error("is cut off: its header should have {header} bytes, but only {rest} are left; copy the file again")]
    HeaderCut {
        /// What the header should have.
        header: u64,
        /// What there is.
        rest: usize,
    },
    /// A header that is no safetensors header.
    #[error("has a header that is not that of a safetensors file: {0}")]
    Header(String),
    /// A safetensors file without the `format` entry.
    #[error("is a safetensors file, but not one with ichor's weights (its metadata has no `format`)")]
    NoFormat,
    /// Another format.
    #[error("has format {0:?}, but this version of ichor reads {FORMAT:?}: update ichor or import the weights again")]
    Format(String),
    /// Not a file that [`crate::network::weights::onnx::export`] made.
    #[error("is no ONNX file that `ichor weights export` made, or it is damaged")]
    NotOnnx,
    /// A file of another program: what it is, and what can be done with it.
    #[error("is no weights file but {0}")]
    Foreign(String),
    /// A weights file that is to be imported.
    #[error("is a weights file already: give it to `--weights` as it is (`ichor weights info` shows what it holds)")]
    Already,
    /// What is to be imported is no file of the kinds that can be.
    #[error(
        "is neither a TensorFlow checkpoint nor an ONNX file: give the path of PREFIX.index without `.index`, \
         or the .onnx file that `ichor weights export` made"
    )]
    NotImported,
    /// The built-in weights in a build without them.
    #[error(
        "these weights are not part of this build of ichor: give a weights file, or build with the feature `built-in-weights`"
    )]
    NotBuiltIn,
    /// No `network` entry.
    #[error("does not say what its network is: its metadata has no `network`")]
    NoNetwork,
    /// A `network` entry that is no description.
    #[error("has a `network` entry that is no description of a network: {0}")]
    Network(String),
    /// A description that no back end can run.
    #[error("cannot be used: {0}")]
    Description(String),
    /// An entry of the metadata that cannot be understood.
    #[error("has {key} = {value:?} in its metadata: it must be {wanted}")]
    Metadata {
        /// The entry.
        key: &'static str,
        /// What it has.
        value: String,
        /// What it may have.
        wanted: &'static str,
    },
    /// An `input` entry that the network cannot take.
    #[error("cannot be used: {0}")]
    Input(String),
    /// A tensor of the network is not there.
    #[error("lacks the tensor {0:?} of its network")]
    MissingTensor(String),
    /// A tensor that is not part of the network.
    #[error("has a tensor {0:?} that is not part of its network")]
    UnknownTensor(String),
    /// A type other than F32, F16, BF16.
    #[error("has the tensor {name:?} as {dtype:?}: only F32, F16 and BF16 are possible")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// A shape other than the network's.
    #[error("has the tensor {name:?} with shape {found:?}, but its network needs {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the network needs.
        expected: Vec<usize>,
    },
    /// A tensor's bytes are not as many as its shape and type need.
    #[error("gives the bytes {begin} to {end} to the tensor {name:?}, which needs {expected} bytes")]
    Size {
        /// The tensor.
        name: String,
        /// Its first byte.
        begin: usize,
        /// The byte after its last.
        end: usize,
        /// Bytes that its shape and type need.
        expected: usize,
    },
    /// Two tensors share bytes.
    #[error("has the tensors {0:?} and {1:?} in the same bytes")]
    Overlap(String, String),
    /// Bytes that belong to no tensor.
    #[error("has {bytes} bytes before the tensor {name:?} that belong to no tensor")]
    Gap {
        /// The tensor after the gap.
        name: String,
        /// Bytes in the gap.
        bytes: usize,
    },
    /// The file is shorter or longer than its tensors.
    #[error("should have {expected} bytes of values but has {found}: it is cut off or damaged; copy the file again")]
    Length {
        /// What the tensors need.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// A value that is not a number or infinite.
    #[error("has the value {value} in the tensor {name:?} at index {index}: every weight must be a finite number")]
    NotFinite {
        /// The tensor.
        name: String,
        /// Index into its values in C order.
        index: usize,
        /// The value.
        value: f32,
    },
    /// While writing: values that do not fill the tensor's shape.
    #[error("would have {found} values in the tensor {name:?}, but its network needs {expected}")]
    Values {
        /// The tensor.
        name: String,
        /// Number of values.
        found: usize,
        /// Values that its shape needs.
        expected: usize,
    },
}
