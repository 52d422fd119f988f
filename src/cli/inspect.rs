//! `ichor inspect`

use crate::cli::arguments::Inspect;
use crate::cli::talk::{self, say, shown};
use ichor::batch::inputs::{self, Found};
use ichor::io::dicom::inspection::{SeriesInspection, StudyInspection, inspect};
use ichor::words::counted;
use ichor::{Error, Result};
use std::process::ExitCode;

/// Columns of the terminal that lines are written for.
const WIDTH: usize = 100;

pub fn run(arguments: &Inspect) -> Result<ExitCode> {
    let Found { studies, nifti, foreign } = inputs::look(&arguments.input)?;
    let wanted = arguments.series.as_deref();
    // A series that is asked for is in one of several studies.
    let has = |study: &&ichor::io::dicom::Study| wanted.is_some_and(|wanted| study.series().iter().any(|one| one.is(wanted)));
    let of_one = studies.iter().any(|study| has(&study));
    let asked = |study: &ichor::io::dicom::Study| wanted.filter(|_| !of_one || has(&study));
    let studies: Vec<StudyInspection> = studies.iter().map(|study| inspect(study, asked(study))).collect();
    if arguments.json {
        let json = serde_json::json!({ "studies": studies, "nifti_files": nifti, "other_files": foreign });
        talk::lines(&serde_json::to_string_pretty(&json).expect("an inspection is numbers and text"));
    } else {
        if studies.is_empty() {
            let problem = "there is no DICOM file to look at".into();
            return Err(Error::Scan { path: arguments.input.clone(), problem });
        }
        studies.iter().for_each(print_study);
        let mut rest = Vec::new();
        if nifti > 0 {
            rest.push(counted(nifti, "NIfTI file"));
        }
        if foreign > 0 {
            rest.push(format!("{} neither DICOM nor NIfTI", counted(foreign, "file")));
        }
        if !rest.is_empty() {
            say!("besides: {}", rest.join(", "));
        }
    }
    let used = studies.iter().any(|study| study.used.is_some());
    Ok(if used { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_study(study: &StudyInspection) {
    let description = if study.description.is_empty() { String::new() } else { format!("  {:?}", study.description) };
    say!("study in {}{description}", study.folder);
    if !study.study_instance_uid.is_empty() {
        say!("UID {}", study.study_instance_uid);
    }
    if !study.series.is_empty() {
        say!(
            "   {:<8} {:<20} {:>6} {:>8} {:>7} {:>9} {:>6} {:<10} {:<8} {:>4}",
            "--series",
            "description",
            "slices",
            "gap mm",
            "thick",
            "size",
            "wide",
            "kernel",
            "contrast",
            "tilt"
        );
    }
    for series in &study.series {
        print_series(series);
    }
    for (kind, count) in &study.no_images {
        wrapped("   ", &format!("no image: {}: {kind}", counted(count, "file")));
    }
    if !study.pages_of_text.is_empty() {
        say!("   pages of text, no slices: {}", counted(study.pages_of_text.len(), "file"));
    }
    let unreadable = study.unreadable.len();
    for problem in study.unreadable.iter().take(3) {
        wrapped("   ", &format!("unreadable: {problem}"));
    }
    if unreadable > 3 {
        say!("   unreadable: {} more", unreadable - 3);
    }
    if !study.cut_at_the_beginning.is_empty() {
        say!("   of no bytes or cut at the beginning: {}", counted(study.cut_at_the_beginning.len(), "file"));
    }
    if let Some(problem) = &study.problem {
        wrapped("   ", &format!("nothing can be used: {problem}"));
    }
    say!("");
}

fn print_series(series: &SeriesInspection) {
    let range = |range: Option<[f64; 2]>| match range {
        None => "-".into(),
        Some([least, most]) if most - least < 0.05 => format!("{least:.1}"),
        Some([least, most]) => format!("{least:.1}-{most:.1}"),
    };
    let [columns, rows] = series.size;
    let number = match series.select.len() {
        0..=8 => series.select.clone(),
        _ => series.series_number.map_or_else(|| "UID".into(), |number| number.to_string()),
    };
    say!(
        "{} {:<8} {:<20} {:>6} {:>8} {:>7} {:>9} {:>6.0} {:<10} {:<8} {:>4.0}",
        if series.used { "->" } else { "  " },
        number,
        short(&series.description, 20),
        series.slices,
        range(series.gap_mm),
        range(series.thickness_mm),
        format!("{columns}x{rows}"),
        series.field_of_view_mm[0],
        short(&series.kernel, 10),
        if series.contrast.is_some() { "yes" } else { "no" },
        series.tilt_degrees
    );
    let time = when(&series.acquired);
    let words = if series.used { "used" } else { "not used" };
    let because = if series.reason.is_empty() { String::new() } else { format!(": {}", series.reason) };
    wrapped("      ", &format!("{words}{because}{time}"));
    if number != series.select {
        wrapped("      ", &format!("--series {}", series.select));
    }
    for doubt in &series.doubts {
        wrapped("      ", &format!("doubt: {doubt}"));
    }
}

/// A date and time of DICOM for a person: 20200131120000.5 is 2020-01-31 12:00.
fn when(text: &str) -> String {
    let digits = text.split('.').next().unwrap_or_default();
    if !digits.chars().all(|c| c.is_ascii_digit()) {
        return String::new();
    }
    let time = |digits: &str| format!("{}:{}", &digits[..2], &digits[2..4]);
    match digits.len() {
        12.. => format!("; {}-{}-{} {}", &digits[..4], &digits[4..6], &digits[6..8], time(&digits[8..])),
        8.. => format!("; {}-{}-{}", &digits[..4], &digits[4..6], &digits[6..8]),
        4.. => format!("; {}", time(digits)),
        _ => String::new(),
    }
}

/// A text as it is shown, cut to `length` characters.
fn short(text: &str, length: usize) -> String {
    let text = &*shown(text);
    if text.chars().count() <= length { text.into() } else { text.chars().take(length - 1).chain(['~']).collect() }
}

/// Prints a sentence in lines of at most [`WIDTH`] characters, all behind `indent`.
fn wrapped(indent: &str, text: &str) {
    let mut line = String::from(indent);
    for word in shown(text).split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.trim() != "" {
            say!("{line}");
            line = format!("{indent}  ");
        }
        if line.trim() != "" {
            line.push(' ');
        }
        line += word;
    }
    say!("{line}");
}
