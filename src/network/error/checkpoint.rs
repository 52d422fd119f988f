/// What can be wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// An index larger than any network's.
    #[error("is not the index of a network's checkpoint: it has {0} bytes")]
    IndexTooLong(usize),
    /// No table at all: too short, or another magic number at its end.
    #[error("is not the index of a TensorFlow 2 checkpoint, or it is cut off: copy it again")]
    Magic,
    /// A part of the index that lies outside it.
    #[error("is damaged: its {0} lies beyond its end; copy it again")]
    Outside(&'static str),
    /// A checksum that does not fit.
    #[error("is damaged: the checksum of {0} is wrong; copy it again")]
    Checksum(String),
    /// A compressed index, which TensorFlow does not write.
    #[error("has a compressed index (type {0}), which is not supported: save it again with `tf.train.Checkpoint`")]
    Compressed(u8),
    /// A table or message that breaks the rules of its encoding.
    #[error("is not the index of a TensorFlow 2 checkpoint, or it is damaged: {0}")]
    Malformed(&'static str),
    /// Big-endian values.
    #[error("was written on a big-endian machine, which is not supported")]
    BigEndian,
    /// A variable in a data file that the checkpoint has not.
    #[error("is damaged: the variable {name:?} is in data file {shard}, counted from 0, of {shards}")]
    Shard {
        /// The variable.
        name: String,
        /// The number of its data file, from 0.
        shard: u64,
        /// Number of data files.
        shards: usize,
    },
    /// A variable of a type that weights do not have.
    #[error("has the variable {name:?} with TensorFlow's type {dtype}: only float (1), bfloat16 (14) and half (19) are possible")]
    Dtype {
        /// The variable.
        name: String,
        /// TensorFlow's number of the type.
        dtype: u64,
    },
    /// A variable whose slices leave out a part of it, or have a part twice.
    #[error("is damaged: the slices of the variable {0:?} do not make the whole")]
    Slices(String),
    /// A slice of a variable is missing.
    #[error("is damaged: it lacks a slice of the variable {0:?}")]
    MissingSlice(String),
    /// A variable's bytes are not as many as its shape needs.
    #[error("is damaged: the variable {name:?} with shape {shape:?} has {size} bytes")]
    Size {
        /// The variable.
        name: String,
        /// Its shape.
        shape: Vec<u64>,
        /// The bytes that the index gives it.
        size: u64,
    },
    /// A variable that lies beyond the end of its data file.
    #[error("is cut off: the variable {name:?} should end at byte {end}, but there are only {found}; copy it again")]
    Cut {
        /// The variable.
        name: String,
        /// Where it should end.
        end: u64,
        /// Bytes in the data file.
        found: usize,
    },
    /// Variables that need more bytes than the data files have.
    #[error("is damaged: its variables need {needed} bytes, but the data files have only {found}")]
    Overlap {
        /// Bytes of all variables of the network.
        needed: u64,
        /// Bytes of all data files.
        found: u64,
    },
    /// A variable of the network is missing.
    #[error("is not the checkpoint of a V-Net with the names of the released DeepBleed weights: it lacks the variable {0:?}")]
    MissingVariable(String),
    /// A variable that is not part of the network.
    #[error("has the variable {0:?}, which is not part of a V-Net with the names of the released DeepBleed weights")]
    UnknownVariable(String),
    /// A variable whose shape does not fit the network.
    #[error("has the variable {name:?} with shape {found:?}, but {expected}")]
    Shape {
        /// The variable.
        name: String,
        /// Its shape.
        found: Vec<u64>,
        /// What it should be.
        expected: String,
    },
    /// Variables that make a network which no back end can run.
    #[error("cannot be used: {0}")]
    Description(String),
}
