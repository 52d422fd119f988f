//! Names of files and texts of headers are other people's: what a terminal would obey is written out, wherever it is said.

mod support;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use support::raw_dicom::RawSeries;

/// Red letters, an emptied screen by a C1 control, a turned direction of writing, and a line that would be of ichor.
const HOSTILE: &str = "Head\u{1b}[31m\u{9b}2J\u{202e}\r\nichor: error: forged\tcolumn";

fn ichor(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_ichor")).args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Checks that a terminal obeys nothing of a text but the ends of its lines and, where it is `columns`, the tabs between them.
fn check(text: &str, columns: usize) {
    for line in text.lines() {
        let forbidden = |c: char| c != '\t' && c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!line.contains(forbidden), "{line:?}");
        assert!(line.matches('\t').count() < columns, "{line:?}");
        assert!(!line.starts_with("ichor: error: forged"), "{line:?}");
    }
}

fn write_series(folder: &Path, study: &str, slices: usize) {
    let heights: Vec<f64> = (0..slices).map(|n| 5.0 * n as f64).collect();
    let mut raw = RawSeries::axial(&heights).with(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    for tag in [tags::SERIES_DESCRIPTION, tags::STUDY_DESCRIPTION, tags::PROTOCOL_NAME] {
        raw = raw.with(tag, VR::LO, HOSTILE);
    }
    raw = raw.with(tags::CONTRAST_BOLUS_AGENT, VR::LO, HOSTILE).with(tags::STUDY_INSTANCE_UID, VR::UI, study);
    raw.with(tags::CONVOLUTION_KERNEL, VR::SH, "H31\u{1b}[2J\t").write(folder, &|[x, y, z]| x + y + z);
}

#[cfg(unix)]
#[test]
fn names_and_texts_reach_the_terminal_written_out() {
    let folder = tempfile::tempdir().unwrap();
    let scan = folder.path().join(HOSTILE);
    write_series(&scan, "2.25.20", 6);
    // Another series, so that the choice is told.
    let other = RawSeries::axial(&[0.0, 5.0, 10.0]).with(tags::SERIES_INSTANCE_UID, VR::UI, "2.25.31");
    other
        .with(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192")
        .with(tags::SERIES_DESCRIPTION, VR::LO, HOSTILE)
        .write(&scan, &|_| 0.0);
    fs::write(scan.join("empty\u{1b}[1m"), "").unwrap();
    let path = scan.to_str().unwrap();

    let (status, table, said) = ichor(&["inspect", path]);
    assert_eq!((status, said.as_str()), (Some(0), ""), "{table}");
    check(&table, 1);
    assert!(table.contains("Head\\u001b[31m\\u009"), "the description, cut: {table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100 || line.starts_with("study in")), "{table}");
    // As JSON it is the same text again.
    let (_, json, _) = ichor(&["inspect", path, "--json"]);
    check(&json, 1);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["studies"][0]["description"], HOSTILE);
    assert!(json["studies"][0]["folder"].as_str().unwrap().ends_with(HOSTILE));

    // Results on standard output, messages and warnings on standard error.
    let output = folder.path().join(format!("out{HOSTILE}.nii.gz"));
    let (status, result, said) = ichor(&["convert", path, "-o", output.to_str().unwrap(), "--log-level", "debug"]);
    assert_eq!(status, Some(0), "{said}");
    check(&result, 2);
    check(&said, 1);
    assert_eq!(result.lines().count(), 1, "{result}");
    assert!(result.contains("\\u001b[31m\\u009b2J\\u202e\\r\\nichor: error: forged\\tcolumn"), "{result}");
    assert!(said.lines().all(|line| line.starts_with("ichor: ")) && said.contains("warning: "), "{said}");
    assert!(said.contains("\\u{1b}[31m") || said.contains("\\u001b[31m"), "{said}");

    // Failures, of one scan and of several.
    let lost = folder.path().join("lost");
    for (name, study) in [("a", "2.25.21"), ("b", "2.25.22")] {
        write_series(&lost.join(format!("{name}{HOSTILE}")), study, 1);
    }
    let results = folder.path().join("results");
    let (status, result, said) = ichor(&["segment", lost.to_str().unwrap(), "-o", results.to_str().unwrap()]);
    assert_eq!((status, result.as_str()), (Some(1), ""), "{said}");
    check(&said, 1);
    assert!(said.lines().all(|line| line.starts_with("ichor: ")), "{said}");
    // The table keeps each row one, whatever lines it has.
    let rows: Vec<csv::StringRecord> =
        csv::Reader::from_path(results.join("ichor.csv")).unwrap().records().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|row| row[0].to_string()).collect::<Vec<_>>(), ["a", "b"].map(|name| format!("{name}{HOSTILE}")));
    let (status, result, said) = ichor(&["table", results.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
    check(&result, 2);
    check(&said, 1);
}

#[test]
fn what_is_wrong_with_the_command_line_is_written_out() {
    for arguments in
        [&["segment", "--\u{1b}[31m\u{9b}x"][..], &["\u{1b}[2J"], &["segment", "a", "-o", "b", "--threshold", "\u{202e}1"]]
    {
        let (status, _, said) = ichor(arguments);
        assert_eq!(status, Some(2), "{said}");
        check(&said, 1);
        assert!(said.starts_with("error: "), "{said}");
    }
    let (_, _, said) = ichor(&["segment", "a", "-o", "b", "--threshold", "\u{202e}1"]);
    assert!(said.contains("'\\u202e1'"), "{said}");
    let (status, help, said) = ichor(&["--help"]);
    assert_eq!((status, said.as_str()), (Some(0), ""));
    assert!(help.contains("segment"), "{help}");
}
