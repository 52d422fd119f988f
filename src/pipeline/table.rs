//! The table of a batch, ichor.csv: one row a scan, added as soon as the scan is done, whole again after a kill.

use crate::io::spreadsheet;
use crate::pipeline::report::Row;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The open table.
pub struct Table {
    path: PathBuf,
    file: File,
}

impl Table {
    /// Opens the table at `path` and writes it anew with those rows of an earlier run whose name `keep` accepts, in their order.
    ///
    /// A last row that a kill has cut is dropped, as is a row that this version cannot read.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Write`] for the table.
    pub fn open(path: &Path, keep: impl Fn(&Row) -> bool) -> Result<Table> {
        let kept: Vec<Row> = Table::read(path)?.into_iter().filter(keep).collect();
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        // The header is written even where there is no row yet.
        writer.write_record(Row::COLUMNS).map_err(|e| Error::write(path)(e.into()))?;
        for row in &kept {
            writer.serialize(row).map_err(|e| Error::write(path)(e.into()))?;
        }
        let text = writer.into_inner().map_err(|e| Error::write(path)(std::io::Error::other(e.to_string())))?;
        crate::io::atomic::write(path, |file| file.write_all(&text))?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::write(path))?;
        Ok(Table { path: path.to_path_buf(), file })
    }

    /// Adds a row with a single write, so that a kill leaves at most a cut last line.
    ///
    /// # Errors
    /// [`Error::Write`] for the table.
    pub fn add(&mut self, row: &Row) -> Result<()> {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        writer.serialize(row).map_err(|e| Error::write(&self.path)(e.into()))?;
        let line = writer.into_inner().map_err(|e| Error::write(&self.path)(std::io::Error::other(e.to_string())))?;
        self.file.write_all(&line).map_err(Error::write(&self.path))
    }

    /// The whole rows of the table at `path`, the last one of each name; none where there is no table.
    ///
    /// # Errors
    /// [`Error::Read`] where the table is there and cannot be read.
    pub fn read(path: &Path) -> Result<Vec<Row>> {
        let mut text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::read(path)(error)),
        };
        // A kill may have cut the last line.
        text.truncate(text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1));
        // A spreadsheet may have saved it.
        let text = spreadsheet::as_csv(&text);
        let mut rows: Vec<Row> =
            csv::ReaderBuilder::new().flexible(true).from_reader(&text[..]).deserialize().flatten().collect();
        let last: BTreeMap<String, usize> = rows.iter().enumerate().map(|(n, row)| (row.name.clone(), n)).collect();
        let mut number = 0;
        rows.retain(|row| {
            number += 1;
            last[&row.name] == number - 1
        });
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Row {
        Row {
            volume_ml: Some(1.5),
            warnings: "4: slices, \"thick\"".into(),
            ..Row::failed(name, "in/a.nii", "a reason,\nof two lines")
        }
    }

    #[test]
    fn rows_come_back_and_a_cut_one_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ichor.csv");
        let mut table = Table::open(&path, |_| true).unwrap();
        table.add(&row("a")).unwrap();
        table.add(&row("b")).unwrap();
        assert_eq!(Table::read(&path).unwrap(), [row("a"), row("b")]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let mut table = Table::open(&path, |_| true).unwrap();
        assert_eq!(Table::read(&path).unwrap(), [row("a")]);
        table.add(&row("c")).unwrap();
        assert_eq!(Table::read(&path).unwrap(), [row("a"), row("c")]);
    }

    #[test]
    fn rows_of_scans_to_be_done_again_are_dropped_and_the_last_of_a_name_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ichor.csv");
        let mut table = Table::open(&path, |_| true).unwrap();
        let second = Row { status: "done".into(), ..row("a") };
        for row in [&row("a"), &row("b"), &second] {
            table.add(row).unwrap();
        }
        assert_eq!(Table::read(&path).unwrap(), [row("b"), second.clone()]);
        Table::open(&path, |row| row.name == "a").unwrap();
        assert_eq!(Table::read(&path).unwrap(), [second]);
    }

    #[test]
    fn a_table_that_a_spreadsheet_has_saved_with_semicolons_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ichor.csv");
        Table::open(&path, |_| true).unwrap().add(&row("a")).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let mut writer = csv::WriterBuilder::new().delimiter(b';').from_path(folder.path().join("saved.csv")).unwrap();
        writer.write_record(reader.headers().unwrap()).unwrap();
        for record in reader.records() {
            writer.write_record(record.unwrap().iter().map(|cell| if cell == "1.5" { "1,5" } else { cell })).unwrap();
        }
        drop(writer);
        assert_eq!(Table::read(&folder.path().join("saved.csv")).unwrap(), [row("a")]);
    }

    #[test]
    fn the_header_names_every_column() {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(row("a")).unwrap();
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        assert_eq!(text.lines().next().unwrap(), Row::COLUMNS.join(","));
    }
}
