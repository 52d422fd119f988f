//! How two configs differ.

use super::config::Config;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// An option that two configs have different.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// Its name, as `schedule.epochs`.
    pub(super) option: String,
    /// What the one has, as TOML; `nothing` where it has none.
    pub(super) here: String,
    /// What the other has.
    pub(super) there: String,
}

impl Config {
    /// What `other` has different, in the order of the options' names.
    pub(super) fn differences(&self, other: &Config) -> Vec<Difference> {
        let [here, there] = [self, other].map(|config| {
            let mut flat = BTreeMap::new();
            flatten("", &table_of(config), &mut flat);
            flat
        });
        let names: std::collections::BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let value = |of: &BTreeMap<String, Value>, name: &String| of.get(name).map_or("nothing".into(), Value::to_string);
        names
            .into_iter()
            .filter(|&name| here.get(name) != there.get(name))
            .map(|name| Difference { option: name.clone(), here: value(&here, name), there: value(&there, name) })
            .collect()
    }
}

pub(super) fn table_of(config: &Config) -> Table {
    Table::try_from(config).expect("a config is numbers, lists, text and tables")
}

fn flatten(prefix: &str, table: &Table, flat: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        match value {
            Value::Table(inner) => flatten(&format!("{prefix}{name}."), inner, flat),
            value => drop(flat.insert(format!("{prefix}{name}"), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_with_both_values() {
        let mut other = Config { threshold: Some(0.5), ..Config::default() };
        assert_eq!(Config::default().differences(&Config::default()), []);
        other.schedule.batch = 3;
        let said: Vec<String> = Config::default()
            .differences(&other)
            .into_iter()
            .map(|Difference { option, here, there }| format!("{option} {here} {there}"))
            .collect();
        assert_eq!(said, ["schedule.batch 1 3", "threshold nothing 0.5"]);
    }
}
