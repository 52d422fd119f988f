//! The table of a folder of results, ichor.csv: one row a scan, by name, whoever has done it.
//!
//! Any number of processes may write it at the same time: each puts its own rows into the table that is there, under a
//! lock, and writes the whole of it beside and renames it. Whoever reads it, or kills a process, sees a whole table.

use crate::batch::report::{self, Report, Row};
use crate::io::lock::Lock;
use crate::io::{atomic, spreadsheet};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Its name.
pub const NAME: &str = "ichor.csv";
/// Where many scans are done in a second, rows wait until so many times as long as the last writing took has passed: a
/// large table costs a twentieth of the time at most.
const RARELY: u32 = 20;
/// A batch waits no longer than this for other processes between two scans; its rows are written with the next ones.
const BETWEEN_SCANS: Duration = Duration::from_secs(5);

/// Changes of a table that are not all written yet.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    /// The new row of each name; `None` where the row is to go.
    changes: BTreeMap<String, Option<Row>>,
    /// When the next changes are written.
    due: Instant,
}

impl Table {
    /// The table at `path`, which need not be there.
    pub(crate) fn of(path: &Path) -> Table {
        Table { path: path.to_path_buf(), changes: BTreeMap::new(), due: Instant::now() }
    }

    /// Puts a row in, in place of that of the same name.
    pub(crate) fn put(&mut self, row: Row) {
        self.changes.insert(row.name.clone(), Some(row));
    }

    /// Takes the row of a name out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.changes.insert(name.to_string(), None);
    }

    /// Writes the changes if it is time. Where other processes are in the way they are kept for the next time.
    ///
    /// # Errors
    /// As [`Table::write`], but for the lock.
    pub(crate) fn write_if_due(&mut self) -> Result<()> {
        let start = Instant::now();
        if self.changes.is_empty() || start < self.due {
            return Ok(());
        }
        let written = self.write(BETWEEN_SCANS);
        self.due = Instant::now() + start.elapsed() * RARELY;
        match written {
            Err(Error::Write { source, .. }) if source.kind() == io::ErrorKind::TimedOut => Ok(()),
            written => written,
        }
    }

    /// Writes the changes into the table that is there now.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Read`] and [`Error::Table`] as [`Table::read`]; [`Error::Write`] where another
    /// process has held the table for longer than `patience`.
    pub fn write(&mut self, patience: Duration) -> Result<()> {
        let _lock = Lock::of(&self.path, patience)?;
        let mut rows: BTreeMap<String, Row> = named(Table::read(&self.path)?);
        for (name, change) in &self.changes {
            match change {
                Some(row) => rows.insert(name.clone(), row.clone()),
                None => rows.remove(name),
            };
        }
        write(&self.path, rows.values())?;
        self.changes.clear();
        Ok(())
    }

    /// The rows of the table at `path` by name, the last one of each; none where there is no table. A row that cannot
    /// be read is left out, with a message: a spreadsheet program may have changed it.
    ///
    /// # Errors
    /// [`Error::Read`] where the table is there and cannot be read; [`Error::Table`] where the file is no table of
    /// ichor.
    pub fn read(path: &Path) -> Result<Vec<Row>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::read(path)(error)),
        };
        // A spreadsheet program may have saved it.
        let text = spreadsheet::as_csv(&text);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&text[..]);
        let foreign = |why: &str| {
            let away = "move it away, rename it or give another folder (-o)";
            Error::Table {
                path: path.to_path_buf(),
                problem: format!("it is no table of ichor{why}, and would be replaced: {away}"),
            }
        };
        let columns = reader.headers().map_err(|error| Error::read(path)(error.into()))?.clone();
        let has = |needed: &str| columns.iter().any(|column| column.trim() == needed);
        let lacks = ["name", "status"].iter().any(|needed| !has(needed));
        if lacks && !text.is_empty() {
            return Err(foreign(""));
        }
        // What somebody has added to it would be lost.
        let known = |column: &str| column.is_empty() || Row::COLUMNS.contains(&column);
        if let Some(column) = columns.iter().map(str::trim).find(|column| !known(column)) {
            return Err(foreign(&format!(" alone (ichor writes no column {column:?})")));
        }
        let mut rows = Vec::new();
        for row in reader.deserialize::<Row>() {
            match row {
                Ok(row) if !row.name.is_empty() && !["done", "failed"].iter().any(|whole| whole.starts_with(&row.status)) => {
                    // (A kill of an earlier version may have cut the last line.)
                    return Err(foreign(&format!(" (the status of {} is {:?})", row.name, row.status)));
                }
                Ok(row) if !row.name.is_empty() => rows.push(row),
                Ok(_) => {}
                Err(error) => log::warn!("{}: a row cannot be read and is left out: {error}", path.display()),
            }
        }
        Ok(named(rows).into_values().collect())
    }
}

/// What [`remake`] found.
#[derive(Debug, PartialEq)]
pub struct Remade {
    /// The rows of the table.
    pub rows: Vec<Row>,
    /// Reports that cannot be read, and why: they have no row.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Rows of the old table that are gone, for no report is there that they could be of.
    pub gone: Vec<String>,
}

/// Makes the table of a folder again from the reports in it (NAME_ich.json). Rows of scans that failed stay where there
/// is no report of their name.
///
/// # Errors
/// [`Error::Read`] for the folder; [`Error::Scan`] where it has neither a report nor a table; [`Error::Write`] for the table.
pub fn remake(folder: &Path, patience: Duration) -> Result<Remade> {
    let path = folder.join(NAME);
    let mut entries = fs::read_dir(folder)
        .map_err(Error::read(folder))?
        .map(|entry| entry.map(|entry| entry.path()).map_err(Error::read(folder)))
        .collect::<Result<Vec<PathBuf>>>()?;
    entries.sort();
    if !entries.iter().any(|entry| *entry == path || name_of(entry).is_some()) {
        let problem = "there is no report (NAME_ich.json) of ichor segment in it: give the folder that was its -o".into();
        return Err(Error::Scan { path: folder.to_path_buf(), problem });
    }
    let _lock = Lock::of(&path, patience)?;
    let (mut rows, mut unreadable) = (BTreeMap::new(), Vec::new());
    for (entry, name) in entries.iter().filter_map(|entry| Some((entry, name_of(entry)?))) {
        let report = fs::read(entry).map_err(|error| error.to_string());
        match report.and_then(|text| serde_json::from_slice::<Report>(&text).map_err(|error| error.to_string())) {
            // The files are called by the file's name, whatever somebody has made of it.
            Ok(report) => _ = rows.insert(name.clone(), Row { name, ..Row::done(&report) }),
            Err(problem) => unreadable.push((entry.clone(), problem)),
        }
    }
    let mut gone = Vec::new();
    for row in Table::read(&path)?.into_iter().filter(|row| !rows.contains_key(&row.name)).collect::<Vec<Row>>() {
        if row.status == "failed" {
            rows.insert(row.name.clone(), row);
        } else {
            gone.push(row.name);
        }
    }
    write(&path, rows.values())?;
    Ok(Remade { rows: rows.into_values().collect(), unreadable, gone })
}

/// The name of the scan whose report a file is called like.
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(report::ENDING)?;
    (!name.is_empty() && !name.starts_with('.')).then(|| name.to_string())
}

fn named(rows: Vec<Row>) -> BTreeMap<String, Row> {
    rows.into_iter().map(|row| (row.name.clone(), row)).collect()
}

fn write<'a>(path: &Path, rows: impl Iterator<Item = &'a Row>) -> Result<()> {
    let failed = |error: csv::Error| Error::write(path)(error.into());
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    // The header is written even where there is no row yet.
    writer.write_record(Row::COLUMNS).map_err(failed)?;
    for row in rows {
        writer.serialize(row).map_err(failed)?;
    }
    let text = writer.into_inner().map_err(|error| Error::write(path)(io::Error::other(error.to_string())))?;
    Ok(atomic::write(path, |file| file.write_all(&text))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::lock::PATIENCE;

    fn row(name: &str) -> Row {
        Row {
            volume_ml: Some(1.5),
            warnings: "4: slices, \"thick\"".into(),
            ..Row::failed(name, "in/a.nii", "a reason,\nof two lines")
        }
    }

    fn names(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.name.as_str()).collect()
    }

    fn put(path: &Path, rows: &[Row]) {
        let mut table = Table::of(path);
        rows.iter().for_each(|row| table.put(row.clone()));
        table.write(PATIENCE).unwrap();
    }

    #[test]
    fn the_rows_of_all_writers_are_there_by_name_the_last_of_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        put(&path, &[]);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", Row::COLUMNS.join(",")));
        put(&path, &[row("b"), row("c")]);
        let second = Row { status: "done".into(), ..row("c") };
        put(&path, &[row("a"), second.clone()]);
        assert_eq!(Table::read(&path).unwrap(), [row("a"), row("b"), second.clone()]);
        let mut table = Table::of(&path);
        table.remove("a");
        table.write(PATIENCE).unwrap();
        assert_eq!(Table::read(&path).unwrap(), [row("b"), second]);
    }

    #[test]
    fn many_write_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        std::thread::scope(|scope| {
            for writer in 0..6 {
                let path = &path;
                scope.spawn(move || {
                    let mut table = Table::of(path);
                    for number in 0..20 {
                        table.put(row(&format!("{writer}_{number}")));
                        table.write_if_due().unwrap();
                    }
                    table.write(PATIENCE).unwrap();
                });
            }
        });
        assert_eq!(Table::read(&path).unwrap().len(), 120);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_table_that_is_held_is_written_later_or_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let held = Lock::of(&path, PATIENCE).unwrap();
        let mut table = Table::of(&path);
        table.put(row("a"));
        let error = table.write(Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(held);
        table.write_if_due().unwrap();
        assert_eq!(Table::read(&path).unwrap(), [row("a")]);
    }

    #[test]
    fn what_others_have_made_of_it_is_read_or_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        put(&path, &[row("a"), row("b")]);
        let plain = fs::read_to_string(&path).unwrap();
        // A row of an earlier version that a kill has cut, and columns that are missing.
        fs::write(&path, &plain[..plain.len() - 30]).unwrap();
        assert_eq!(Table::read(&path).unwrap()[0], row("a"));
        fs::write(&path, "\u{feff}status;name;volume_ml\ndone;a;1.5\nfailed;b;\ndone;c;x\n").unwrap();
        let rows = Table::read(&path).unwrap();
        assert_eq!(names(&rows), ["a", "b"]);
        assert_eq!((rows[0].volume_ml, rows[1].volume_ml), (Some(1.5), None));
        // Rows without a name, and nothing at all.
        fs::write(&path, "name,status\n,done\na,done\n").unwrap();
        assert_eq!(names(&Table::read(&path).unwrap()), ["a"]);
        fs::write(&path, "").unwrap();
        assert!(Table::read(&path).unwrap().is_empty());
        fs::write(&path, "volume_ml\n1.5\n").unwrap();
        assert!(Table::read(&path).unwrap_err().to_string().contains("no table of ichor"), "its rows have no name");
        let mut table = Table::of(&path);
        table.put(row("a"));
        for foreign in ["date,amount\n1,2\n", "name,status\nSmith,married\n", "name,status,remark\na,done,look again\n"] {
            fs::write(&path, foreign).unwrap();
            let error = table.write(PATIENCE).unwrap_err().to_string();
            assert!(error.contains("no table of ichor") && error.contains("-o"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
        }
    }

    #[test]
    fn it_is_made_again_from_reports_and_failures_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        // Neither what is no report nor what has no name of a scan makes it a folder of results.
        for file in ["notes.txt", "_ich.json", ".hidden_ich.json"] {
            fs::write(folder.path().join(file), "{}").unwrap();
            let none = remake(folder.path(), PATIENCE).unwrap_err().to_string();
            assert!(none.contains("no report"), "{file}: {none}");
        }
        let lost = Row { status: "done".into(), ..row("lost") };
        put(&path, &[row("failed"), row("mended"), lost]);
        for name in ["mended", "new"] {
            let json = serde_json::to_vec(&Report::example(name)).unwrap();
            fs::write(folder.path().join(format!("{name}_ich.json")), json).unwrap();
        }
        fs::write(folder.path().join("odd_ich.json"), "{}").unwrap();
        let remade = remake(folder.path(), PATIENCE).unwrap();
        assert_eq!(names(&remade.rows), ["failed", "mended", "new"]);
        assert_eq!(remade.rows[1], Row::done(&Report::example("mended")));
        assert_eq!((remade.gone, remade.unreadable.len()), (vec!["lost".to_string()], 1));
        assert_eq!(Table::read(&path).unwrap(), remade.rows);
        fs::remove_file(&path).unwrap();
        assert_eq!(remake(folder.path(), PATIENCE).unwrap().rows.len(), 2);
        // A report that somebody has renamed is found by the name of its file.
        fs::rename(folder.path().join("new_ich.json"), folder.path().join("renamed_ich.json")).unwrap();
        assert_eq!(names(&remake(folder.path(), PATIENCE).unwrap().rows), ["mended", "renamed"]);
    }

    #[test]
    fn a_table_that_a_spreadsheet_has_saved_with_semicolons_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ichor.csv");
        put(&path, &[row("a")]);
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

    #[test]
    fn changes_wait_until_they_are_due_and_nothing_is_written_without_any() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut table = Table::of(&path);
        table.write_if_due().unwrap();
        assert!(!path.exists(), "there is nothing to write");
        table.put(row("a"));
        table.due = Instant::now() + Duration::from_secs(3600);
        table.write_if_due().unwrap();
        assert!(!path.exists(), "it is not time");
        let before = Instant::now();
        table.due = before;
        table.write_if_due().unwrap();
        assert_eq!(Table::read(&path).unwrap(), [row("a")]);
        assert!(table.due > before, "the next time is later");
    }

    #[test]
    fn what_cannot_be_read_is_no_empty_table() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Table::read(&folder.path().join(NAME)).unwrap().is_empty());
        let error = Table::read(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{error}");
        // Neither column is enough.
        for half in ["name,volume_ml\na,1.5\n", "status,volume_ml\ndone,1.5\n", "name\na\n"] {
            let path = folder.path().join("half.csv");
            fs::write(&path, half).unwrap();
            assert!(Table::read(&path).unwrap_err().to_string().contains("no table of ichor"), "{half}");
        }
    }
}
