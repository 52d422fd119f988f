//! Files of other programs, told by what they begin with, so that one of them that is given for a weights file is not taken for a damaged one.

use std::path::{Path, PathBuf};

/// The last bytes of a LevelDB table, which the index of a TensorFlow checkpoint is.
const TABLE_END: [u8; 8] = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];
/// What PyTorch's files before version 1.6 begin with: a pickled magic number.
const OLD_PYTORCH: [u8; 14] = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Bytes of a gzip stream that are looked at: a NIfTI header.
const LOOK: u64 = 352;

/// What a file is that is no weights file, and what can be done with it, as the rest of a sentence about it; `None` where it is not known.
pub(super) fn told(path: &Path, bytes: &[u8]) -> Option<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let starts = |start: &[u8]| bytes.starts_with(start);
    let known = match () {
        () if bytes.ends_with(&TABLE_END) => {
            let prefix = name.strip_suffix(".index").map_or_else(|| path.to_path_buf(), |stem| path.with_file_name(stem));
            return Some(checkpoint("the index of a TensorFlow checkpoint", &prefix));
        }
        () if is_data_file(&name) => {
            let stem = &name[..name.rfind(".data-")?];
            return Some(checkpoint("a data file of a TensorFlow checkpoint", &path.with_file_name(stem)));
        }
        () if starts(b"model_checkpoint_path:") => {
            "the list of a folder's TensorFlow checkpoints: give `ichor weights import` the path that it names"
        }
        // SavedModel: its version (1), then a MetaGraphDef.
        () if starts(&[0x08, 0x01, 0x12]) && !name.ends_with(".onnx") => {
            let prefix = path.with_file_name("variables").join("variables");
            return Some(checkpoint("a TensorFlow SavedModel, whose weights are in its folder `variables`", &prefix));
        }
        () if is_onnx(bytes) || (name.ends_with(".onnx") && starts(&[0x08])) => {
            let named = if name.ends_with(".onnx") { "" } else { ", once its name ends in .onnx" };
            return Some(format!(
                "an ONNX file; one that `ichor weights export` made is imported with `ichor weights import {} -o OUT.safetensors`{named}",
                path.display()
            ));
        }
        () if starts(b"\x89HDF\r\n\x1a\n") => {
            "an HDF5 file (Keras .h5); save the model's weights as a TensorFlow 2 checkpoint (`tf.train.Checkpoint`), and import that with `ichor weights import`"
        }
        () if starts(b"PK\x03\x04") => return Some(archive(bytes).into()),
        () if starts(&OLD_PYTORCH) => PYTORCH,
        () if starts(&[0x80]) && matches!(bytes.get(1), Some(2..=5)) && bytes.ends_with(b".") => {
            "a Python pickle, which is not read: save the tensors as safetensors"
        }
        () if starts(&[0x1f, 0x8b]) => return Some(compressed(bytes).into()),
        () if is_nifti(bytes) => NIFTI,
        () if bytes.get(128..132) == Some(b"DICM") => "a DICOM file, an image; the input of a command stands without `--weights`",
        () if bytes.get(257..262) == Some(b"ustar") => "a tar archive: unpack it first",
        () if bytes.get(4..8) == Some(b"TFL3") => "a TensorFlow Lite file, which cannot be imported",
        () if starts(b"GGUF") => "a GGUF file, which cannot be imported",
        () if starts(b"\x93NUMPY") => "a NumPy array, which cannot be imported",
        () if starts(b"ichorck1") => "the checkpoint of `ichor train`; the weights are in weights.safetensors beside it",
        () if starts(b"version https://git-lfs") => "a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`",
        () if is_web_page(bytes) => "a web page, saved in place of the file: download it again",
        () if is_text(bytes) => {
            "text, such as a table or a list; give the .safetensors file that `ichor train` or `ichor weights import` wrote"
        }
        () => return None,
    };
    Some(known.into())
}

/// What a folder or a path without a file stands for, where it is another program's weights.
pub(super) fn told_by_name(path: &Path) -> Option<String> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_os_string();
        name.push(end);
        PathBuf::from(name)
    };
    if path.join("saved_model.pb").is_file() {
        return Some(checkpoint(
            "a TensorFlow SavedModel, whose weights are in its folder `variables`",
            &path.join("variables/variables"),
        ));
    }
    (!path.exists() && beside(".index").is_file()).then(|| checkpoint("the prefix of a TensorFlow checkpoint", path))
}

fn checkpoint(what: &str, prefix: &Path) -> String {
    format!("{what}; import it with `ichor weights import {} -o OUT.safetensors`", prefix.display())
}

const NIFTI: &str = "a NIfTI image; the input of a command stands without `--weights`";
const PYTORCH: &str = "a PyTorch file, which is not read: save the tensors under ichor's names (docs/weights.md) as safetensors";

/// `NAME.data-00000-of-00001`
fn is_data_file(name: &str) -> bool {
    let numbers = name.rsplit_once(".data-").and_then(|(_, numbers)| numbers.split_once("-of-"));
    numbers.is_some_and(|(shard, shards)| [shard, shards].iter().all(|n| n.len() == 5 && n.bytes().all(|b| b.is_ascii_digit())))
}

/// Whether bytes begin as an ONNX model does: the version of its format (field 1), then text or the graph (fields 2 to 8, all with a length but 5).
pub(super) fn is_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 3..=30, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..])
}

/// A zip archive, told by its first file's name.
fn archive(bytes: &[u8]) -> &'static str {
    let length = bytes.get(26..28).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let first = String::from_utf8_lossy(bytes.get(30..30 + length).unwrap_or_default()).into_owned();
    match () {
        () if first.ends_with("/data.pkl") || first.ends_with("/version") || first.ends_with("/byteorder") => PYTORCH,
        () if first == "metadata.json" || first == "config.json" || first.ends_with(".weights.h5") => {
            "a Keras file; save the model's weights as a TensorFlow 2 checkpoint (`tf.train.Checkpoint`), and import that with `ichor weights import`"
        }
        () if first.ends_with(".npy") => "NumPy arrays (.npz), which cannot be imported",
        () => "a zip archive: unpack it first",
    }
}

fn is_nifti(bytes: &[u8]) -> bool {
    let magic = |at: usize, names: [&[u8]; 2]| bytes.get(at..at + 3).is_some_and(|found| names.contains(&found));
    magic(344, [b"n+1", b"ni1"]) || (magic(4, [b"n+2", b"ni2"]) && bytes.len() >= 540)
}

fn compressed(bytes: &[u8]) -> &'static str {
    use std::io::Read;
    let mut begin = Vec::new();
    let _ = flate2::read::GzDecoder::new(bytes).take(LOOK).read_to_end(&mut begin);
    let nifti_2 = begin.get(4..7).is_some_and(|magic| [b"n+2", b"ni2"].contains(&magic.try_into().unwrap_or(b"   ")));
    if is_nifti(&begin) || nifti_2 { NIFTI } else { "compressed with gzip: decompress it first (`gzip -d`)" }
}

/// Whether bytes begin as a text does. The length that a weights file begins with has bytes of 0.
fn is_text(bytes: &[u8]) -> bool {
    let begin = &bytes[..bytes.len().min(512)];
    // The last letter may be cut.
    let valid = match std::str::from_utf8(begin) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&begin[..error.valid_up_to()]).unwrap_or_default(),
        Err(_) => "",
    };
    !valid.is_empty() && !valid.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
}

fn is_web_page(bytes: &[u8]) -> bool {
    let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).trim_start().to_ascii_lowercase();
    begin.starts_with("<!doctype html") || begin.starts_with("<html")
}

#[cfg(test)]
mod tests {
    use super::super::{Weights, onnx};
    use super::*;
    use crate::network::Error;
    use std::io::Write;

    #[test]
    fn files_of_other_programs_are_told_from_damaged_ones() {
        let folder = tempfile::tempdir().unwrap();
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let mut nifti = vec![0; 400];
        nifti[..4].copy_from_slice(&348_i32.to_le_bytes());
        nifti[344..348].copy_from_slice(b"n+1\0");
        let zip = |name: &str| [b"PK\x03\x04", &[0; 22][..], &[name.len() as u8, 0, 0, 0], name.as_bytes()].concat();
        let cases: [(&str, Vec<u8>, &[&str]); 19] = [
            ("phantoms.csv", b"name,seed,kind\nphantom_000001,1,deep\n".to_vec(), &["but text, such as a table", ".safetensors"]),
            ("long.txt", "\u{e4}".repeat(300).into_bytes()[..511].to_vec(), &["but text"]),
            ("net.onnx", onnx::export(&Weights::hand_set()).unwrap(), &["an ONNX file", "weights import", "net.onnx -o"]),
            ("renamed.safetensors", onnx::export(&Weights::hand_set()).unwrap(), &["an ONNX file"]),
            ("pytorch.bin", b"\x08\x07\x12\x07pytorch\x1a\x032.1:\x05abcde".to_vec(), &["an ONNX file"]),
            ("tf.index", [&[0; 64][..], &TABLE_END].concat(), &["index of a TensorFlow", "tf -o OUT"]),
            ("tf.data-00000-of-00001", vec![7; 999], &["data file of a TensorFlow", "tf -o OUT"]),
            ("checkpoint", b"model_checkpoint_path: \"tf\"\n".to_vec(), &["list of a folder's"]),
            ("saved_model.pb", vec![8, 1, 0x12, 200, 1], &["SavedModel", "variables/variables -o"]),
            ("net.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0".to_vec(), &["HDF5"]),
            ("net.keras", zip("metadata.json"), &["Keras"]),
            ("net.pt", zip("archive/data.pkl"), &["PyTorch"]),
            ("old.pt", OLD_PYTORCH.to_vec(), &["PyTorch"]),
            ("a.npz", zip("x.npy"), &["NumPy"]),
            ("scan.nii", nifti.clone(), &["a NIfTI image"]),
            ("scan.nii.gz", gzip(&nifti), &["a NIfTI image"]),
            ("net.safetensors.gz", gzip(Weights::hand_set().bytes()), &["gzip -d"]),
            ("page.safetensors", b"<!DOCTYPE html><html>".to_vec(), &["web page"]),
            ("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\n".to_vec(), &["Git LFS"]),
        ];
        for (name, bytes, parts) in cases {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let said = Weights::open(&path).unwrap_err().to_string();
            assert!(said.contains(name), "{said}");
            parts.iter().for_each(|part| assert!(said.contains(part), "{name}, {part}: {said}"));
        }
        // Given to be imported, too.
        let import = Weights::import_tensorflow(folder.path().join("net.h5"), super::super::tensorflow::Options::default());
        assert!(import.unwrap_err().to_string().contains("HDF5"));
        let import = |name: &str| {
            let path = folder.path().join(name);
            Weights::import_tensorflow(path, super::super::tensorflow::Options::default()).unwrap_err().to_string()
        };
        Weights::hand_set().write(folder.path().join("own.safetensors")).unwrap();
        assert!(
            import("own.safetensors").contains("own.safetensors: is a weights file already"),
            "{}",
            import("own.safetensors")
        );
        std::fs::write(folder.path().join("odd"), [0_u8; 20]).unwrap();
        let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let others = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
        std::fs::write(folder.path().join("others.safetensors"), others).unwrap();
        assert!(import("others.safetensors").contains("not one with ichor's weights"), "{}", import("others.safetensors"));
        assert!(import("odd").contains("neither a TensorFlow checkpoint nor an ONNX file"), "{}", import("odd"));
        assert!(import("missing").contains("missing.index: cannot be read"), "{}", import("missing"));
        // The prefix of a checkpoint, and a folder.
        let said = |name: &str| Weights::open(folder.path().join(name)).unwrap_err().to_string();
        assert!(said("tf").contains("prefix of a TensorFlow checkpoint"), "{}", said("tf"));
        assert!(said("").contains("SavedModel"), "{}", said(""));
    }

    #[test]
    fn a_damaged_weights_file_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let good = Weights::hand_set().bytes().to_vec();
        for cut in [0, 7, 8, 100, good.len() / 2, good.len() - 1] {
            std::fs::write(&path, &good[..cut]).unwrap();
            let error = Weights::open(&path).unwrap_err();
            let foreign = matches!(error, Error::Weights { source: super::super::WeightsError::Foreign(_), .. });
            assert!(!foreign, "{cut}: {error}");
        }
    }
}
