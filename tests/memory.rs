//! Memory that cannot be had is a sentence and exit status 1, never an end by a signal: the program in an address space of several sizes.
#![cfg(target_os = "linux")]

mod support;

use ichor::volume::{Affine, Grid, Volume};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;
use support::raw_dicom::RawSeries;
use support::raw_nifti::{self, Codes};

/// Runs with an address space of so many kB.
fn within(kb: u64, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v $0; exec \"$@\"", &kb.to_string(), env!("CARGO_BIN_EXE_ichor")]);
    command.args(arguments).output().unwrap()
}

/// kB of the smallest address space in which the program starts, in steps of half a megabyte: how large it is itself
/// depends on how it was built.
static LEAST: LazyLock<u64> = LazyLock::new(|| {
    let starts = |kb: &u64| within(*kb, &["--version"]).status.success();
    (10_000..200_000).step_by(500).find(starts).unwrap()
});

/// What the spaces have beyond that, in kB: for no thread, for one, for some, and for more and more of the work.
const MORE: [u64; 16] =
    [0, 1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 10_000, 30_000, 60_000, 100_000, 150_000, 250_000, 400_000, 600_000, 900_000];

/// In each space it is done or fails with a sentence, and in the smallest it fails.
fn fails_with_a_sentence(arguments: &[&str]) {
    let mut failed = 0;
    for kb in MORE.map(|more| *LEAST + more) {
        let output = within(kb, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => {}
            Some(1) => {
                failed += 1;
                assert!(said.contains("error: ") && !said.contains("panicked"), "{kb} kB, {arguments:?}: {said}");
            }
            _ => panic!("{kb} kB, {arguments:?}: {:?}, {said}", output.status),
        }
    }
    assert!(failed > 0, "{arguments:?} needs no memory");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_command_ends_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let grid = Grid { shape: [256, 256, 128], affine: Affine::IDENTITY };
    raw_nifti::write(&at("scan.nii"), &Volume::new(grid, vec![40.0; 256 * 256 * 128]), Codes::Both);
    let (scan, out) = (at("scan.nii"), at("out"));
    fails_with_a_sentence(&["segment", text(&scan), "-o", text(&out), "--threads", "2"]);
    fails_with_a_sentence(&["network", text(&scan), "-o", text(&at("p.nii")), "--threads", "2"]);
    fails_with_a_sentence(&["brain", text(&scan), "-o", text(&at("b.nii")), "--threads", "2"]);
    std::fs::create_dir(at("series")).unwrap();
    let heights: Vec<f64> = (0..4).map(|n| 5.0 * f64::from(n)).collect();
    RawSeries { columns: 512, rows: 512, ..RawSeries::axial(&heights) }.write(&at("series"), &|_| 40.0);
    fails_with_a_sentence(&["inspect", text(&at("series"))]);
    fails_with_a_sentence(&["phantom", "-o", text(&at("phantoms")), "--threads", "2", "--matrix", "256,256,200"]);
    // A training that would begin: all of the network's memory is asked for before a head is made, or fails when it is.
    let output = within(*LEAST, &["train", "-o", text(&at("trained")), "--threads", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_grid_for_which_no_machine_has_memory_is_named_with_its_bytes() {
    for device in ["cpu", "reference"] {
        let output = within(4_000_000, &["bench", "--size", "1024,1024,1024", "--device", device, "--threads", "1"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("bytes of memory, which cannot be had"), "{said}");
    }
}
