//! Which automated mask belongs to which manual one.

use crate::batch::inputs;
use crate::io::spreadsheet;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An automated and a manual mask of one scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Name of the case.
    pub name: String,
    /// The automated mask.
    pub automated: PathBuf,
    /// The manual mask.
    pub manual: PathBuf,
    /// The scan, for pictures.
    pub scan: Option<PathBuf>,
    /// What the case is counted with in the tables by subgroup; empty for nothing.
    pub subgroup: String,
    /// Whose scan it is: the cases of a patient are drawn together for the intervals. The case's name where nothing is known.
    pub patient: String,
}

/// Pairs, and what has no partner.
#[derive(Debug, Default)]
pub struct Pairs {
    /// In the order of their names.
    pub pairs: Vec<Pair>,
    /// Masks that have no partner, by name.
    pub without_partner: Vec<PathBuf>,
}

/// What follows the name of a case in the file names of masks: of `ichor segment`, and of `ichor phantom` and `ichor train`.
const MASK_ENDINGS: [&str; 2] = ["_ich", "_label"];

/// The masks of two folders that belong together: NAME_ich, NAME_label or NAME in one and in the other. In a folder where a file has such an
/// ending, only those that have one are masks: the scans beside them are not.
///
/// # Errors
/// [`Error::Read`] for a folder that cannot be read, [`Error::Scan`] where two masks of a folder have the same name or no two masks belong together.
pub fn in_folders(automated: &Path, manual: &Path) -> Result<Pairs> {
    let (mut found, real) = (masks(automated)?, masks(manual)?);
    let mut all = Pairs::default();
    for (name, manual) in real {
        match found.remove(&name) {
            Some(automated) => {
                all.pairs.push(Pair { patient: name.clone(), name, automated, manual, scan: None, subgroup: String::new() })
            }
            None => all.without_partner.push(manual),
        }
    }
    all.without_partner.extend(found.into_values());
    if all.pairs.is_empty() {
        let problem = format!(
            "no mask in it has a partner in {}: partners are NAME, NAME_ich or NAME_label with the same NAME (.nii, .nii.gz, .hdr)",
            manual.display()
        );
        return Err(Error::Scan { path: automated.to_path_buf(), problem });
    }
    Ok(all)
}

/// The NIfTI files of a folder that are masks, by the name of their case.
fn masks(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let files = nifti_files(folder)?;
    let case = |stem: &str| MASK_ENDINGS.iter().find_map(|ending| stem.strip_suffix(ending)).map(str::to_string);
    let named = files.iter().any(|(stem, _)| case(stem).is_some());
    let mut masks = BTreeMap::new();
    for (stem, path) in files {
        let name = match case(&stem) {
            Some(name) if name.ends_with("_template") => continue,
            Some(name) => name,
            None if named => continue,
            None => stem,
        };
        if let Some(other) = masks.insert(name.clone(), path.clone()) {
            let problem = format!("it would be the same case, {name}, as {}: rename or move one", other.display());
            return Err(Error::Scan { path, problem });
        }
    }
    Ok(masks)
}

/// The NIfTI files of a folder with their names without endings, in order.
fn nifti_files(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::read(folder))? {
        let path = entry.map_err(Error::read(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(stem) = inputs::stem(&name)
            && !name.starts_with('.')
            && path.is_file()
        {
            files.push((stem.to_string(), path));
        }
    }
    files.sort();
    Ok(files)
}

/// The pairs of a table with columns `name`, `automated`, `manual` and, where there are, `scan`, `subgroup`, `patient`. Paths
/// are meant from the table's folder.
///
/// # Errors
/// [`Error::Table`] where a column or a cell is missing, a name comes twice, or the table has no row; [`Error::Read`].
pub fn in_table(path: &Path) -> Result<Pairs> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let table = Table::read(path)?;
    let columns = ["name", "automated", "manual"].map(|name| table.column(name));
    let [name, automated, manual] = columns;
    let (name, automated, manual) = (name?, automated?, manual?);
    let optional = ["scan", "subgroup", "patient"].map(|name| table.column(name).ok());
    let mut cases = BTreeMap::new();
    for (row, line) in table.rows.iter().zip(2..) {
        let cell = |column: Option<usize>| column.map_or("", |column| row[column].trim());
        let name = cell(Some(name)).to_string();
        let [scan, subgroup, patient] = optional.map(cell);
        let pair = Pair {
            automated: folder.join(cell(Some(automated))),
            manual: folder.join(cell(Some(manual))),
            scan: (!scan.is_empty()).then(|| folder.join(scan)),
            subgroup: subgroup.into(),
            patient: if patient.is_empty() { name.clone() } else { patient.into() },
            name: name.clone(),
        };
        if [automated, manual].iter().any(|&column| cell(Some(column)).is_empty()) || name.is_empty() {
            return Err(table.problem(format!("row {line} lacks a name or a mask")));
        }
        if cases.insert(name.clone(), pair).is_some() {
            return Err(table.problem(format!("two rows have the name {name}")));
        }
    }
    if cases.is_empty() {
        return Err(table.problem("it has no row".into()));
    }
    Ok(Pairs { pairs: cases.into_values().collect(), without_partner: Vec::new() })
}

impl Pairs {
    /// Sets subgroup and patient of each pair from a table with a column `name`, as phantoms.csv is, by the names of its other columns.
    /// Different values in several rows of a name are joined by ` + `, in the order of the rows.
    ///
    /// # Errors
    /// [`Error::Table`] where a column is missing or no row has the name of a pair; [`Error::Read`].
    pub fn describe(&mut self, path: &Path, subgroup: Option<&str>, patient: Option<&str>) -> Result<()> {
        let table = Table::read(path)?;
        let name = table.column("name")?;
        let [subgroup, patient] = [subgroup, patient].map(|column| column.map(|column| table.column(column)).transpose());
        let (subgroup, patient) = (subgroup?, patient?);
        for pair in &mut self.pairs {
            let rows: Vec<&csv::StringRecord> = table.rows.iter().filter(|row| row[name].trim() == pair.name).collect();
            if rows.is_empty() {
                return Err(table.problem(format!("no row has the name {}", pair.name)));
            }
            let value = |column: usize| {
                let mut values: Vec<&str> = Vec::new();
                rows.iter().map(|row| row[column].trim()).for_each(|value| {
                    if !value.is_empty() && !values.contains(&value) {
                        values.push(value);
                    }
                });
                values.join(" + ")
            };
            pair.subgroup = subgroup.map_or_else(|| std::mem::take(&mut pair.subgroup), value);
            pair.patient =
                patient.map(value).filter(|patient| !patient.is_empty()).unwrap_or_else(|| std::mem::take(&mut pair.patient));
        }
        Ok(())
    }

    /// Sets the scan of each pair that has none: NAME in `folder`.
    ///
    /// # Errors
    /// [`Error::Read`] for a folder that cannot be read.
    pub fn find_scans(&mut self, folder: &Path) -> Result<()> {
        let scans: BTreeMap<String, PathBuf> = nifti_files(folder)?.into_iter().collect();
        for pair in self.pairs.iter_mut().filter(|pair| pair.scan.is_none()) {
            pair.scan = scans.get(&pair.name).cloned();
        }
        Ok(())
    }
}

/// A CSV file with a header.
struct Table {
    path: PathBuf,
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    fn read(path: &Path) -> Result<Table> {
        let bytes = std::fs::read(path).map_err(Error::read(path))?;
        let problem = |error: csv::Error| Error::Table { path: path.to_path_buf(), problem: error.to_string() };
        let text = spreadsheet::as_csv(&bytes);
        let mut reader = csv::Reader::from_reader(&text[..]);
        let header = reader.headers().map_err(problem)?.clone();
        let mut rows: Vec<csv::StringRecord> = reader.records().collect::<std::result::Result<_, _>>().map_err(problem)?;
        // Spreadsheets save empty rows below a table.
        while rows.last().is_some_and(|row| row.iter().all(|cell| cell.trim().is_empty())) {
            rows.pop();
        }
        Ok(Table { path: path.to_path_buf(), header, rows })
    }

    fn column(&self, name: &str) -> Result<usize> {
        let missing = || {
            let there: Vec<&str> = self.header.iter().collect();
            self.problem(format!("it has no column {name}; its columns are {}", there.join(", ")))
        };
        self.header.iter().position(|column| column.trim() == name).ok_or_else(missing)
    }

    fn problem(&self, problem: String) -> Error {
        Error::Table { path: self.path.clone(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|file| fs::write(folder.path().join(file), b"").unwrap());
        folder
    }

    fn names(pairs: &Pairs) -> Vec<&str> {
        pairs.pairs.iter().map(|pair| pair.name.as_str()).collect()
    }

    #[test]
    fn results_of_segment_belong_to_labels_of_phantom() {
        let automated =
            folder(&["b_ich.nii.gz", "a_ich.nii.gz", "a_template_ich.nii.gz", "a_brain.nii.gz", "a_ich.json", "c_ich.nii.gz"]);
        let manual = folder(&["a.nii.gz", "a_label.nii.gz", "b_label.nii", "d_label.nii.gz", "phantoms.csv"]);
        let found = in_folders(automated.path(), manual.path()).unwrap();
        assert_eq!(names(&found), ["a", "b"]);
        assert_eq!(found.pairs[0].automated, automated.path().join("a_ich.nii.gz"));
        assert_eq!(found.pairs[1].manual, manual.path().join("b_label.nii"));
        assert_eq!(found.without_partner, [manual.path().join("d_label.nii.gz"), automated.path().join("c_ich.nii.gz")]);
    }

    #[test]
    fn equal_names_belong_together() {
        let (automated, manual) = (folder(&["a.nii.gz", "b.nii"]), folder(&["a.hdr", "a.img", "b.nii.gz"]));
        assert_eq!(names(&in_folders(automated.path(), manual.path()).unwrap()), ["a", "b"]);
    }

    #[test]
    fn folders_without_a_pair_and_names_that_come_twice_are_refused() {
        let (one, other, twice) = (folder(&["a.nii"]), folder(&["b.nii"]), folder(&["a.nii", "a.nii.gz"]));
        let said = |automated: &tempfile::TempDir| in_folders(automated.path(), other.path()).unwrap_err().to_string();
        assert!(said(&one).contains("no mask in it has a partner"), "{}", said(&one));
        assert!(said(&twice).contains("the same case, a,"), "{}", said(&twice));
    }

    #[test]
    fn a_table_names_the_pairs_from_its_own_folder() {
        let folder = folder(&[]);
        let table = folder.path().join("pairs.csv");
        let read = |text: &str| {
            fs::write(&table, text).unwrap();
            in_table(&table)
        };
        let pairs = read("\u{feff}name,manual,automated,patient,scan\ny,m/y.nii,/a/y.nii,p,\nx,m/x.nii,a/x.nii,,s/x.nii\n")
            .unwrap()
            .pairs;
        assert_eq!([&pairs[0].name, &pairs[0].patient, &pairs[1].patient], ["x", "x", "p"]);
        assert_eq!(pairs[0].scan, Some(folder.path().join("s/x.nii")));
        assert_eq!((&pairs[1].automated, &pairs[1].scan), (&PathBuf::from("/a/y.nii"), &None));
        for (text, problem) in [
            ("name,automated\n", "no column manual; its columns are name, automated"),
            ("name,automated,manual\n", "no row"),
            ("name,automated,manual\na,b,\n", "row 2 lacks"),
            ("name,automated,manual\na,b,c\na,d,e\n", "two rows have the name a"),
        ] {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains(problem) && said.contains("pairs.csv"), "{said}");
        }
    }

    #[test]
    fn a_table_by_semicolons_is_read_as_one_by_commas() {
        let folder = folder(&[]);
        let table = folder.path().join("pairs.csv");
        let read = |text: &str| {
            fs::write(&table, text).unwrap();
            in_table(&table).unwrap().pairs
        };
        let plain = read("name,automated,manual,subgroup\nx,a/x.nii,m/x.nii,\"deep, left\"\n");
        let saved = read("\u{feff}name;automated;manual;subgroup\r\nx;a/x.nii;m/x.nii;deep, left\r\n;;;\r\n");
        assert_eq!(saved, plain);
        let mut found = Pairs { pairs: plain, without_partner: Vec::new() };
        fs::write(&table, "name;age\r\nx;61,5\r\n").unwrap();
        found.describe(&table, Some("age"), None).unwrap();
        assert_eq!(found.pairs[0].subgroup, "61.5");
    }

    #[test]
    fn subgroups_are_joined_where_a_name_has_several_rows() {
        let (automated, manual) = (folder(&["a.nii", "b.nii"]), folder(&["a.nii", "b.nii"]));
        let table = automated.path().join("phantoms.csv");
        fs::write(&table, "name,kind,who\na,lobar,p\nb,deep,p\na,deep,p\na,lobar,p\n").unwrap();
        let mut found = in_folders(automated.path(), manual.path()).unwrap();
        found.describe(&table, Some("kind"), Some("who")).unwrap();
        assert_eq!([&found.pairs[0].subgroup, &found.pairs[1].subgroup, &found.pairs[0].patient], ["lobar + deep", "deep", "p"]);
        found.describe(&table, None, None).unwrap();
        assert_eq!(found.pairs[1].subgroup, "deep");
        fs::write(&table, "name,kind\na,lobar\n").unwrap();
        assert!(found.describe(&table, Some("kind"), None).unwrap_err().to_string().contains("no row has the name b"));
    }
}
