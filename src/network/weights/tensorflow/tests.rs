use super::*;
use crate::network::weights::generate::ct_input;
use half::{bf16, f16};
use proptest::prelude::*;

// A small writer of checkpoints, so that each way to damage one has a test whose checksums fit.

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn message(field: u64, bytes: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2), &varint(bytes.len() as u64), bytes].concat()
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    // LevelDB, util/crc32c.h: Mask.
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282ead8).to_le_bytes()
}

/// Key and value of each entry of an index.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// A block with a restart (a key written whole) at each fourth entry.
fn block_of(entries: &Entries) -> Vec<u8> {
    let (mut bytes, mut restarts, mut before) = (Vec::new(), Vec::new(), &Vec::new());
    for (i, (key, value)) in entries.iter().enumerate() {
        let mut shared = key.iter().zip(before).take_while(|(a, b)| a == b).count();
        if i % 4 == 0 {
            restarts.push(bytes.len() as u32);
            shared = 0;
        }
        bytes.extend([varint(shared as u64), varint((key.len() - shared) as u64), varint(value.len() as u64)].concat());
        bytes.extend([&key[shared..], value].concat());
        before = key;
    }
    restarts.push(restarts.len() as u32);
    bytes.extend(restarts.iter().flat_map(|r| r.to_le_bytes()));
    bytes
}

/// Appends a block with type and checksum to a table; gives its handle.
fn append(table: &mut Vec<u8>, block: &[u8], kind: u8) -> Vec<u8> {
    let handle = [varint(table.len() as u64), varint(block.len() as u64)].concat();
    let typed = [block, &[kind]].concat();
    table.extend([&typed[..], &checksum(&typed)].concat());
    handle
}

/// Appends an index block with its footer.
fn finish(table: &mut Vec<u8>, index: &Entries) {
    let meta = append(table, &block_of(&vec![]), 0);
    let index = append(table, &block_of(index), 0);
    let mut footer = [meta, index].concat();
    footer.resize(40, 0);
    table.extend([&footer[..], &0xdb47_7524_8b80_fb57u64.to_le_bytes()].concat());
}

/// A table with blocks of ten entries.
fn table_of(entries: &Entries) -> Vec<u8> {
    let (mut table, mut index) = (Vec::new(), Vec::new());
    for entries in entries.chunks(10) {
        let handle = append(&mut table, &block_of(&entries.to_vec()), 0);
        index.push((entries.last().unwrap().0.clone(), handle));
    }
    finish(&mut table, &index);
    table
}

/// A variable as it will be written; each field can be made to lie.
#[derive(Clone, Debug)]
struct Written {
    dtype: u64,
    shape: Vec<u64>,
    shard: u64,
    bytes: Vec<u8>,
    offset: Option<u64>,
    size: Option<u64>,
    checksum: Option<[u8; 4]>,
    more: Vec<u8>,
}

/// A checkpoint as it will be written.
#[derive(Clone)]
struct Checkpoint {
    shards: u64,
    endianness: u64,
    variables: BTreeMap<Vec<u8>, Written>,
}

impl Checkpoint {
    /// A checkpoint of generated weights with one data file.
    fn of(description: &Description) -> Checkpoint {
        let weights = Weights::generate(description, "checkpoint").unwrap();
        let variables = description.tensors().into_iter().map(|t| {
            let bytes = weights.tensor(&t.name).iter().flat_map(|v| v.to_le_bytes()).collect();
            ((t.name + VARIABLE).into_bytes(), Written::new(1, t.shape.iter().map(|&s| s as u64).collect(), bytes))
        });
        Checkpoint { shards: 1, endianness: 0, variables: variables.collect() }
    }

    fn variable(&mut self, name: &str) -> &mut Written {
        self.variables.get_mut(format!("{name}{VARIABLE}").as_bytes()).unwrap()
    }

    /// Cuts a variable in two along an axis; the second part goes to the data file `shard`.
    fn slice(&mut self, name: &str, axis: usize, at: u64, shard: u64) {
        let whole = self.variable(name);
        let (shape, all, first_shard) = (whole.shape.clone(), std::mem::take(&mut whole.bytes), whole.shard);
        let inner: u64 = shape[axis + 1..].iter().product::<u64>() * 4;
        let (mut listed, mut parts) = (Vec::new(), Vec::new());
        for (start, length, shard) in [(0, at, first_shard), (at, shape[axis] - at, shard)] {
            let (mut extents, mut key, mut sides) = (Vec::new(), Vec::new(), shape.clone());
            for (d, &side) in shape.iter().enumerate() {
                let (start, length) = if d == axis { (start, length) } else { (0, side) };
                assert!(start < 64 && length < 64, "the writer knows the one-byte form alone");
                extents.extend(message(1, &[number(1, start), number(2, length)].concat()));
                key.extend([0x80 | start as u8, 0x80 | length as u8]);
            }
            sides[axis] = length;
            let block = (shape[axis] * inner) as usize;
            let range = (start * inner) as usize..((start + length) * inner) as usize;
            let bytes = all.chunks(block).flat_map(|block| &block[range.clone()]).copied().collect();
            listed.extend(message(7, &extents));
            let key = [b"\0", name.as_bytes(), VARIABLE.as_bytes(), &[0, 1, 1, shape.len() as u8], &key].concat();
            parts.push((key, Written { shard, ..Written::new(1, sides, bytes) }));
        }
        (whole.more, whole.size) = (listed, Some(0));
        self.variables.extend(parts);
    }

    fn add(&mut self, key: &str, variable: Written) {
        self.variables.insert(key.as_bytes().to_vec(), variable);
    }

    /// The entries of the index, and each data file.
    fn parts(&self) -> (Entries, Vec<Vec<u8>>) {
        let header = [number(1, self.shards), number(2, self.endianness), message(3, &number(1, 1))].concat();
        let mut entries = vec![(Vec::new(), header)];
        let mut files = vec![Vec::new(); self.shards as usize];
        for (key, v) in &self.variables {
            let shape: Vec<u8> = v.shape.iter().flat_map(|&side| message(2, &number(1, side))).collect();
            let mut none = Vec::new();
            let file = files.get_mut(v.shard as usize).unwrap_or(&mut none);
            let value = [
                number(1, v.dtype),
                message(2, &shape),
                number(3, v.shard),
                number(4, v.offset.unwrap_or(file.len() as u64)),
                number(5, v.size.unwrap_or(v.bytes.len() as u64)),
                [&varint(6 << 3 | 5)[..], &v.checksum.unwrap_or(checksum(&v.bytes))].concat(),
                v.more.clone(),
            ];
            file.extend(&v.bytes);
            entries.push((key.clone(), value.concat()));
        }
        (entries, files)
    }

    fn import(&self) -> Result<Weights> {
        self.import_with(Options::default())
    }

    fn import_with(&self, options: Options) -> Result<Weights> {
        let (entries, files) = self.parts();
        Weights::import_tensorflow_bytes("test", &table_of(&entries), &files[0], options)
    }

    fn error(&self) -> CheckpointError {
        checkpoint_error(self.import())
    }
}

impl Written {
    fn new(dtype: u64, shape: Vec<u64>, bytes: Vec<u8>) -> Written {
        Written { dtype, shape, shard: 0, bytes, offset: None, size: None, checksum: None, more: Vec::new() }
    }
}

fn checkpoint_error(result: Result<Weights>) -> CheckpointError {
    match result.expect_err("this checkpoint must be refused") {
        Error::Checkpoint { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

fn index_error(index: &[u8]) -> CheckpointError {
    checkpoint_error(Weights::import_tensorflow_bytes("test", index, &[], Options::default()))
}

/// Asserts the variant (with its fields, where given) of an error.
macro_rules! is {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {
        let found: CheckpointError = $error;
        let said = format!("{found:?}");
        assert!(matches!(found, $pattern $(if $guard)?), "{said}");
    };
}

fn small() -> Description {
    Description {
        kernel: [3, 5, 5],
        stride: [1, 2, 2],
        widths: vec![2, 3],
        convs: vec![1, 2],
        up_widths: vec![5],
        up_convs: vec![1],
        shared: true,
        activation: Activation::Relu,
    }
}

const BIAS: &str = "down_1/downsample/bias";

fn same_tensors(imported: &Weights, expected: &Weights) {
    assert_eq!(imported.description(), expected.description());
    for spec in expected.description().tensors() {
        let bits = |weights: &Weights| weights.tensor(&spec.name).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(imported) == bits(expected), "{} differs", spec.name);
    }
}

#[test]
fn every_form_of_the_network_is_recognised() {
    let deep = Description { widths: vec![1, 2, 1, 3, 2], up_widths: vec![4, 2, 4, 3], ..Description::deepbleed() };
    let separate = Description { shared: false, convs: vec![1, 2, 1, 4, 2], up_convs: vec![1, 3, 2, 5], ..deep.clone() };
    let planar = Description { kernel: [1, 5, 5], stride: [1, 2, 2], activation: Activation::Prelu, ..deep.clone() };
    let separate_prelu = Description { activation: Activation::Prelu, ..separate.clone() };
    for description in [small(), deep, separate, planar, separate_prelu] {
        let imported = Checkpoint::of(&description).import().unwrap();
        same_tensors(&imported, &Weights::generate(&description, "checkpoint").unwrap());
    }
}

#[test]
fn the_number_of_shared_convolutions_is_the_released_one_or_the_one_given() {
    let widths = vec![1; 7];
    let description = Description {
        widths,
        convs: vec![1, 2, 3, 3, 3, 3, 3],
        up_widths: vec![2; 6],
        up_convs: vec![3, 3, 3, 3, 2, 1],
        kernel: [1; 3],
        ..small()
    };
    assert_eq!(Checkpoint::of(&description).import().unwrap().description(), &description);
    let (convs, up_convs) = (Some(vec![1, 5]), Some(vec![4]));
    let imported = Checkpoint::of(&small()).import_with(Options { convs, up_convs, ..Options::default() }).unwrap();
    assert_eq!((&imported.description().convs[..], &imported.description().up_convs[..]), (&[1, 5][..], &[4][..]));
    let wrong = Options { convs: Some(vec![1]), ..Options::default() };
    is!(checkpoint_error(Checkpoint::of(&small()).import_with(wrong)), CheckpointError::Description(said) if said.contains("convs"));
}

#[test]
fn metadata_is_kept_and_the_origin_names_the_checkpoint() {
    let metadata = Metadata { license: Some("CC0".into()), ..Metadata::default() };
    let imported = Checkpoint::of(&small()).import_with(Options { metadata, ..Options::default() }).unwrap();
    assert_eq!(imported.metadata().license.as_deref(), Some("CC0"));
    assert_eq!(imported.metadata().origin.as_deref(), Some("imported from the TensorFlow checkpoint test"));
    let metadata = Metadata { origin: Some("here".into()), ..Metadata::default() };
    let imported = Checkpoint::of(&small()).import_with(Options { metadata, ..Options::default() }).unwrap();
    assert_eq!(imported.metadata().origin.as_deref(), Some("here"));
}

#[test]
fn what_is_not_the_network_is_left_out() {
    let mut checkpoint = Checkpoint::of(&small());
    let scalar = Written::new(9, vec![], vec![0; 8]);
    let bias = checkpoint.variable(BIAS).clone();
    checkpoint.add("_CHECKPOINTABLE_OBJECT_GRAPH", Written::new(7, vec![], b"\x05graph".to_vec()));
    for path in ["save_counter", "optimizer/iter", "keras_api/metrics/0/total"] {
        checkpoint.add(&format!("{path}{VARIABLE}"), scalar.clone());
    }
    checkpoint.add(&format!("{BIAS}/.OPTIMIZER_SLOT/optimizer/m{VARIABLE}"), bias);
    same_tensors(&checkpoint.import().unwrap(), &Weights::generate(&small(), "checkpoint").unwrap());
}

#[test]
fn slopes_may_have_sides_of_1_before_the_channels() {
    let description = Description { activation: Activation::Prelu, ..small() };
    let mut checkpoint = Checkpoint::of(&description);
    checkpoint.variable("up_1/activation/alpha").shape = vec![1, 1, 1, 5];
    same_tensors(&checkpoint.import().unwrap(), &Weights::generate(&description, "checkpoint").unwrap());
    checkpoint.variable("up_1/activation/alpha").shape = vec![1, 2, 1, 5];
    is!(checkpoint.error(), CheckpointError::Shape { name, found, .. } if name == "up_1/activation/alpha" && found == [1, 2, 1, 5]);
}

#[test]
fn half_precision_is_widened() {
    let values = [0.5f32, -3.25, 1e-3];
    let mut checkpoint = Checkpoint::of(&small());
    let variable = checkpoint.variable(BIAS);
    (variable.dtype, variable.bytes) = (19, values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect());
    let expected = values.map(|v| f16::from_f32(v).to_f32());
    assert_eq!(checkpoint.import().unwrap().tensor(BIAS).as_ref(), expected);
    let variable = checkpoint.variable(BIAS);
    (variable.dtype, variable.bytes) = (14, values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect());
    let expected = values.map(|v| bf16::from_f32(v).to_f32());
    assert_eq!(checkpoint.import().unwrap().tensor(BIAS).as_ref(), expected);
}

/// Writes a checkpoint with the prefix `directory/weights`.
fn write(checkpoint: &Checkpoint, directory: &Path) -> PathBuf {
    let (entries, files) = checkpoint.parts();
    std::fs::write(directory.join("weights.index"), table_of(&entries)).unwrap();
    for (i, bytes) in files.iter().enumerate() {
        let name = format!("weights.data-{i:05}-of-{:05}", files.len());
        std::fs::write(directory.join(name), bytes).unwrap();
    }
    directory.join("weights")
}

#[test]
fn a_checkpoint_may_have_many_data_files_but_none_may_be_missing() {
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.shards = 3;
    for (i, variable) in checkpoint.variables.values_mut().enumerate() {
        variable.shard = i as u64 % 3;
    }
    let directory = tempfile::tempdir().unwrap();
    let prefix = write(&checkpoint, directory.path());
    let expected = Weights::generate(&small(), "checkpoint").unwrap();
    for path in [prefix.clone(), prefix.with_extension("index")] {
        let imported = Weights::import_tensorflow(path, Options::default()).unwrap();
        assert_eq!(imported.name(), "weights");
        same_tensors(&imported, &expected);
    }
    let missing = directory.path().join("weights.data-00001-of-00003");
    let bytes = std::fs::read(&missing).unwrap();
    // Two bytes less: the error names the data file, not the index.
    std::fs::write(&missing, &bytes[..bytes.len() - 2]).unwrap();
    let larger = directory.path().join("weights.data-00000-of-00003");
    std::fs::write(&larger, [&std::fs::read(&larger).unwrap()[..], b"some more"].concat()).unwrap();
    let error = Weights::import_tensorflow(&prefix, Options::default()).unwrap_err();
    assert!(matches!(&error, Error::Checkpoint { path, source: CheckpointError::Cut { .. } } if *path == missing), "{error:?}");
    std::fs::remove_file(&missing).unwrap();
    let error = Weights::import_tensorflow(&prefix, Options::default()).unwrap_err();
    assert!(matches!(&error, Error::File(crate::io::Error::Read { path, .. }) if *path == missing), "{error:?}");
    let error = Weights::import_tensorflow(directory.path().join("other"), Options::default()).unwrap_err();
    assert!(matches!(&error, Error::File(crate::io::Error::Read { path, .. }) if path.ends_with("other.index")), "{error:?}");
}

#[test]
fn an_index_cut_at_any_byte_is_refused() {
    let (entries, files) = Checkpoint::of(&small()).parts();
    let index = table_of(&entries);
    for end in 0..index.len() {
        is!(index_error(&index[..end]), CheckpointError::Magic);
    }
    assert!(Weights::import_tensorflow_bytes("test", &index, &files[0], Options::default()).is_ok());
}

#[test]
fn an_index_that_is_too_large_is_refused() {
    is!(index_error(&vec![0; MOST_INDEX + 1]), CheckpointError::IndexTooLong(16_777_217));
    is!(index_error(&vec![0; MOST_INDEX]), CheckpointError::Magic);
}

#[test]
fn a_damaged_byte_of_the_index_is_found() {
    let (entries, files) = Checkpoint::of(&small()).parts();
    let index = table_of(&entries);
    let whole = Weights::import_tensorflow_bytes("test", &index, &files[0], Options::default()).unwrap();
    let footer = index.len() - 48;
    for position in 0..index.len() {
        let mut damaged = index.clone();
        damaged[position] ^= 0x10;
        match Weights::import_tensorflow_bytes("test", &damaged, &files[0], Options::default()) {
            // The meta index block is not read, nor is its handle or the padding.
            Ok(imported) => same_tensors(&imported, &whole),
            Err(Error::Checkpoint { source, .. }) if position < footer => {
                assert!(matches!(source, CheckpointError::Checksum(_)), "{position}: {source:?}");
            }
            Err(Error::Checkpoint { .. }) => {}
            Err(other) => panic!("{position}: {other:?}"),
        }
    }
}

#[test]
fn a_block_beyond_the_end_is_refused() {
    let (entries, _) = Checkpoint::of(&small()).parts();
    for handle in
        [[varint(0), varint(1 << 20)], [varint(u64::MAX), varint(1)], [varint(1), varint(u64::MAX)], [varint(90_000), varint(0)]]
    {
        let mut table = Vec::new();
        append(&mut table, &block_of(&entries), 0);
        finish(&mut table, &vec![(b"zz".to_vec(), handle.concat())]);
        is!(index_error(&table), CheckpointError::Outside("data block"));
    }
    let mut footer = [varint(0), varint(0), varint(7), varint(7)].concat();
    footer.resize(40, 0);
    footer.extend(0xdb47_7524_8b80_fb57u64.to_le_bytes());
    is!(index_error(&footer), CheckpointError::Outside("index block"));
}

#[test]
fn a_block_with_wrong_restarts_is_refused() {
    for block in [&b""[..], &[0, 0], &[1, 0, 0, 0], &[0xff; 4], &[0, 0, 0, 0, 2, 0, 0, 0]] {
        let mut table = Vec::new();
        let handle = append(&mut table, block, 0);
        finish(&mut table, &vec![(b"zz".to_vec(), handle)]);
        is!(index_error(&table), CheckpointError::Outside("list of restarts"));
    }
}

#[test]
fn a_compressed_block_is_refused() {
    let mut table = Vec::new();
    let handle = append(&mut table, b"compressed with snappy", 1);
    finish(&mut table, &vec![(b"zz".to_vec(), handle)]);
    is!(index_error(&table), CheckpointError::Compressed(1));
}

#[test]
fn blocks_that_overlap_are_refused() {
    let mut table = Vec::new();
    let handle = append(&mut table, &block_of(&vec![(vec![], number(1, 1))]), 0);
    finish(&mut table, &vec![(b"y".to_vec(), handle.clone()), (b"zz".to_vec(), handle)]);
    is!(index_error(&table), CheckpointError::Malformed(said) if said.contains("overlap"));
}

/// The error for a table whose only block is made of these bytes and no restarts.
fn entries_error(bytes: &[u8]) -> CheckpointError {
    let mut table = Vec::new();
    let handle = append(&mut table, &[bytes, &[0; 4]].concat(), 0);
    finish(&mut table, &vec![(b"zz".to_vec(), handle)]);
    index_error(&table)
}

#[test]
fn entries_that_lie_are_refused() {
    is!(entries_error(&[1, 0, 0]), CheckpointError::Malformed(said) if said.contains("repeats"));
    is!(entries_error(&[0, 1, 0, b'a', 2, 0, 0]), CheckpointError::Malformed(said) if said.contains("repeats"));
    is!(entries_error(&[0, 9, 0, b'a']), CheckpointError::Malformed(said) if said.contains("ends early"));
    is!(entries_error(&[0, 1, 9, b'a']), CheckpointError::Malformed(said) if said.contains("ends early"));
    is!(entries_error(&[0, 1]), CheckpointError::Malformed(said) if said.contains("ends early"));
    is!(entries_error(&[0xff; 11]), CheckpointError::Malformed(said) if said.contains("64 bits"));
    let key_of = |length: usize| [&varint(0)[..], &varint(length as u64), &varint(0), &vec![b'a'; length]].concat();
    is!(entries_error(&key_of(1025)), CheckpointError::Malformed(said) if said.contains("longer"));
    // The longest key that is allowed is read.
    is!(entries_error(&key_of(1024)), CheckpointError::Shard { .. });
}

#[test]
fn an_index_cannot_fill_the_memory() {
    // Three bytes an entry, each of which repeats a key of 1000 bytes.
    let first = [&varint(0)[..], &varint(1000), &varint(0), &[b'a'; 1000]].concat();
    let repeat = |count| [first.clone(), [varint(1000), varint(0), varint(0)].concat().repeat(count)].concat();
    is!(entries_error(&repeat(1 << 16)), CheckpointError::Malformed(said) if said.contains("more entries"));
    // One less is too many only once there is a second block.
    let mut table = Vec::new();
    let blocks = [repeat((1 << 16) - 1), repeat(0)];
    let handles = blocks.map(|block| append(&mut table, &[&block[..], &[0; 4]].concat(), 0));
    finish(&mut table, &handles.into_iter().map(|handle| (b"zz".to_vec(), handle)).collect());
    is!(index_error(&table), CheckpointError::Malformed(said) if said.contains("more entries"));
    // The number that is allowed is read.
    is!(entries_error(&repeat((1 << 16) - 1)), CheckpointError::Shard { .. });
}

#[test]
fn a_header_that_lies_is_refused() {
    let (mut entries, _) = Checkpoint::of(&small()).parts();
    for shards in [0, 1001, u64::MAX] {
        entries[0].1 = number(1, shards);
        is!(index_error(&table_of(&entries)), CheckpointError::Malformed(said) if said.contains("data files"));
    }
    entries[0].1 = message(3, &[]);
    is!(index_error(&table_of(&entries)), CheckpointError::Malformed(said) if said.contains("data files"));
    entries.remove(0);
    is!(index_error(&table_of(&entries)), CheckpointError::Shard { shards: 0, .. });
    is!(index_error(&table_of(&vec![])), CheckpointError::MissingVariable(_));
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.endianness = 1;
    is!(checkpoint.error(), CheckpointError::BigEndian);
}

#[test]
fn a_thousand_data_files_are_the_most() {
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.shards = 1000;
    assert!(checkpoint.import().is_ok());
}

#[test]
fn a_variable_in_no_data_file_is_named() {
    let mut checkpoint = Checkpoint::of(&small());
    for wrong in [1, u64::MAX] {
        checkpoint.variable(BIAS).shard = wrong;
        is!(checkpoint.error(), CheckpointError::Shard { name, shard, shards: 1 } if name.starts_with(BIAS) && shard == wrong);
    }
}

#[test]
fn a_variable_of_another_type_is_named() {
    let mut checkpoint = Checkpoint::of(&small());
    for wrong in [0, 2, 3, u64::MAX] {
        checkpoint.variable(BIAS).dtype = wrong;
        is!(checkpoint.error(), CheckpointError::Dtype { name, dtype } if name == BIAS && dtype == wrong);
    }
}

const KERNEL: &str = "up_1/convolution/kernel";

#[test]
fn a_variable_in_slices_is_put_together() {
    let expected = Weights::generate(&small(), "checkpoint").unwrap();
    for axis in 0..5 {
        let mut checkpoint = Checkpoint::of(&small());
        checkpoint.slice(KERNEL, axis, 2, 0);
        same_tensors(&checkpoint.import().unwrap(), &expected);
    }
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.shards = 2;
    checkpoint.slice(KERNEL, 3, 4, 1);
    let directory = tempfile::tempdir().unwrap();
    let prefix = write(&checkpoint, directory.path());
    same_tensors(&Weights::import_tensorflow(prefix, Options::default()).unwrap(), &expected);
}

#[test]
fn slices_that_do_not_make_the_whole_are_named() {
    let mut sliced = Checkpoint::of(&small());
    sliced.slice(KERNEL, 0, 2, 0);
    let keys: Vec<Vec<u8>> = sliced.variables.keys().filter(|key| key[0] == 0).cloned().collect();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let mut checkpoint = sliced.clone();
        checkpoint.variables.remove(&key);
        // Bytes that belong to nothing, so that the data file is long enough.
        checkpoint.add("unused", Written::new(1, vec![], vec![0; 1 << 14]));
        is!(checkpoint.error(), CheckpointError::MissingSlice(name) if name == KERNEL);
        let mut checkpoint = sliced.clone();
        checkpoint.variables.get_mut(&key).unwrap().shape.swap(0, 1);
        is!(checkpoint.error(), CheckpointError::Slices(name) if name == KERNEL);
        let mut checkpoint = sliced.clone();
        checkpoint.variables.get_mut(&key).unwrap().checksum = Some([0; 4]);
        is!(checkpoint.error(), CheckpointError::Checksum(what) if what.contains(KERNEL));
    }
    let mut checkpoint = sliced.clone();
    let listed = checkpoint.variable(KERNEL).more.clone();
    checkpoint.variable(KERNEL).more.truncate(listed.len() / 2);
    is!(checkpoint.error(), CheckpointError::Slices(name) if name == KERNEL);
    checkpoint.variable(KERNEL).more = [&listed[..], &listed].concat();
    is!(checkpoint.error(), CheckpointError::Slices(name) if name == KERNEL);
}

#[test]
fn fields_of_later_versions_are_left_out() {
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.variable(BIAS).more = [number(20, 3), message(21, b"new")].concat();
    assert!(checkpoint.import().is_ok());
    checkpoint.variable(BIAS).more = vec![0x0b];
    is!(checkpoint.error(), CheckpointError::Malformed(said) if said.contains("unknown kind"));
}

#[test]
fn a_variable_whose_size_lies_is_named() {
    let mut checkpoint = Checkpoint::of(&small());
    for wrong in [0, 8, 11, 13, u64::MAX] {
        checkpoint.variable(BIAS).size = Some(wrong);
        is!(checkpoint.error(), CheckpointError::Size { name, size, .. } if name == BIAS && size == wrong);
    }
    let mut checkpoint = Checkpoint::of(&small());
    // Half of the bytes are needed.
    checkpoint.variable(BIAS).dtype = 19;
    is!(checkpoint.error(), CheckpointError::Size { name, size: 12, .. } if name == BIAS);
}

#[test]
fn variables_cannot_be_larger_than_the_data_files() {
    // Every variable claims the same bytes.
    let mut checkpoint = Checkpoint::of(&small());
    let (_, files) = checkpoint.parts();
    let total = files[0].len() as u64;
    checkpoint.variable(BIAS).bytes.clear();
    checkpoint.variable(BIAS).size = Some(12);
    is!(checkpoint.error(), CheckpointError::Overlap { needed, found } if needed == total && found == total - 12);
}

#[test]
fn a_variable_beyond_the_end_of_its_file_is_named() {
    let mut checkpoint = Checkpoint::of(&small());
    let total = checkpoint.parts().1[0].len() as u64;
    for offset in [total - 11, total, u64::MAX] {
        checkpoint.variable(BIAS).offset = Some(offset);
        is!(checkpoint.error(), CheckpointError::Cut { name, end, found }
            if name == BIAS && end == offset.saturating_add(12) && found as u64 == total);
    }
}

#[test]
fn a_variable_with_a_wrong_checksum_is_named() {
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.variable(BIAS).checksum = Some([1, 2, 3, 4]);
    is!(checkpoint.error(), CheckpointError::Checksum(what) if what.contains(BIAS));
}

#[test]
fn a_variable_that_is_missing_is_named() {
    let all = Checkpoint::of(&small());
    for key in all.variables.keys() {
        let mut checkpoint = all.clone();
        checkpoint.variables.remove(key);
        let name = str::from_utf8(key).unwrap().strip_suffix(VARIABLE).unwrap();
        let error = checkpoint.error();
        match error {
            CheckpointError::MissingVariable(ref missing) if missing == name => {}
            // Without it, the block is thought to have no convolution.
            CheckpointError::Description(_) if name == "down_1/convolution/kernel" => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_variable_that_is_not_the_networks_is_named() {
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.add(&format!("down_1/other/bias{VARIABLE}"), Written::new(1, vec![], vec![0; 4]));
    is!(checkpoint.error(), CheckpointError::UnknownVariable(name) if name == "down_1/other/bias");
}

#[test]
fn a_variable_with_a_shape_that_does_not_fit_is_named() {
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.variable(BIAS).shape = vec![1, 2];
    is!(checkpoint.error(), CheckpointError::Shape { name, found, expected } if name == BIAS && found == [1, 2] && expected.contains("[3]"));
    let kernel = "up_1/upsample/kernel";
    for wrong in [vec![], vec![2; 4], vec![2; 6]] {
        let mut checkpoint = Checkpoint::of(&small());
        checkpoint.variable(kernel).shape = wrong.clone();
        is!(checkpoint.error(), CheckpointError::Shape { name, found, .. } if name == kernel && found == wrong);
    }
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.variable(kernel).shape = vec![1, 2, 2, u64::MAX, 3];
    is!(checkpoint.error(), CheckpointError::Description(said) if said.contains("width"));
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let mut checkpoint = Checkpoint::of(&small());
    checkpoint.variable(BIAS).bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(
        checkpoint.import(),
        Err(Error::Weights { source: crate::network::weights::WeightsError::NotFinite { index: 1, .. }, .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_table_comes_back(keys in prop::collection::btree_set("[a-c]{0,6}", 0..60), seed in "[a-z]{4}") {
        let values = ct_input(&seed, [1, 1, keys.len() + 1]);
        let value = |i: usize| values[i].to_le_bytes()[..i % 5].to_vec();
        let entries: Entries = keys.iter().enumerate().map(|(i, key)| (key.clone().into_bytes(), value(i))).collect();
        let table = table_of(&entries);
        let read: Entries = table::entries(&table).unwrap().into_iter().map(|(key, value)| (key, value.to_vec())).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn damaged_entries_never_panic(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        // The checksums fit, so that the damage is not found by them.
        let (mut entries, files) = Checkpoint::of(&small()).parts();
        let mut position = position.index(entries.iter().map(|(_, value)| value.len()).sum());
        for (_, value) in &mut entries {
            if position < value.len() {
                value[position] = byte;
                break;
            }
            position -= value.len();
        }
        let damaged = Weights::import_tensorflow_bytes("test", &table_of(&entries), &files[0], Options::default());
        if let Ok(imported) = damaged {
            prop_assert!(imported.description().validate().is_ok());
        }
    }
}

/// The folder with other people's data, which is no part of the project.
fn shared() -> Option<PathBuf> {
    let path =
        std::env::var_os("ICHOR_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    path.is_dir().then_some(path)
}

#[test]
fn checkpoints_written_by_tensorflow_are_their_generators_weights() {
    let Some(shared) = shared() else {
        println!("skipped: the shared data is not here (ICHOR_SHARED names its folder)");
        return;
    };
    let narrow = Description { widths: vec![16, 8, 8, 12, 20], up_widths: vec![24, 16, 16, 32], ..Description::deepbleed() };
    let expected = Weights::generate(&narrow, "narrow").unwrap();
    for folder in ["tf_checkpoint", "tf_checkpoint_sharded"] {
        let prefix = shared.join("oracle").join(folder).join("weights");
        same_tensors(&Weights::import_tensorflow(prefix, Options::default()).unwrap(), &expected);
    }
}
