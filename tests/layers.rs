//! Data goes down the table of docs/ARCHITECTURE.md: no module of src/ uses one that stands below it there.
//!
//! What is read is the `use` lines and the paths that begin with `crate::`, `super::` or `ichor::`, without the
//! modules for tests. A name that a folder only hands on (`crate::Error`, `network::Plan`) counts as the module that
//! defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module: its names from the root, such as `["network", "cpu", "pass"]`.
type Module = Vec<String>;

/// The order that docs/ARCHITECTURE.md gives.
struct Layers {
    /// What lies in src/, from the first that data meets.
    top: Vec<String>,
    /// The modules of some of its folders.
    inside: BTreeMap<String, Vec<String>>,
}

impl Layers {
    /// Those of the document's text: the first column of its first table, and the table under `Inside a folder`.
    fn of(document: &str) -> Layers {
        let mut layers = Layers { top: Vec::new(), inside: BTreeMap::new() };
        let mut heading = "";
        for line in document.lines() {
            if let Some(text) = line.strip_prefix("## ") {
                heading = text;
            }
            let cells: Vec<&str> = line.split('|').collect();
            let [_, place, modules, ..] = cells[..] else { continue };
            for path in quoted(place) {
                let Some(name) = path.strip_prefix("src/") else { continue };
                let name = name.trim_end_matches('/').trim_end_matches(".rs");
                if heading == "Inside a folder" {
                    layers.inside.insert(name.into(), quoted(modules).map(str::to_string).collect());
                } else {
                    let top = name.split('/').next().unwrap_or_default().to_string();
                    if heading.is_empty() && !layers.top.contains(&top) {
                        layers.top.push(top);
                    }
                }
            }
        }
        layers
    }
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A source besides its tests.
struct Source {
    code: String,
    /// Its `use` lines: the name that each brings, and the path it stands for.
    uses: Vec<(String, String)>,
}

impl Source {
    fn of(code: String) -> Source {
        Source { uses: uses(&code), code }
    }
}

/// The sources, by module.
struct Sources(BTreeMap<Module, Source>);

impl Sources {
    fn read() -> Sources {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut files, mut tests) = (BTreeMap::new(), BTreeSet::new());
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let below = path.strip_prefix(&root).unwrap().with_extension("");
                    let mut module: Module = below.iter().map(|part| part.to_str().unwrap().to_string()).collect();
                    let last = module.last().unwrap();
                    if last == "mod" || (module.len() == 1 && last == "lib") {
                        module.pop();
                    }
                    let (code, of_tests) = without_tests(&std::fs::read_to_string(&path).unwrap());
                    tests.extend(of_tests.into_iter().map(|name| child(&module, &name)));
                    files.insert(module, Source::of(code));
                }
            }
        }
        files.retain(|module, _| !(0..=module.len()).any(|length| tests.contains(&module[..length])));
        Sources(files)
    }

    /// What a path of `module`'s file means, from the root; `None` where it begins with another crate.
    fn absolute(&self, module: &[String], path: &str) -> Option<Vec<String>> {
        let mut names: Vec<String> = path.split("::").map(str::to_string).collect();
        let mut base = match names[0].as_str() {
            "crate" | "ichor" => {
                names.remove(0);
                Vec::new()
            }
            "self" => {
                names.remove(0);
                module.to_vec()
            }
            "super" => module.to_vec(),
            first if self.0.contains_key(&child(module, first)) => module.to_vec(),
            _ => return None,
        };
        while names.first().is_some_and(|name| name == "super") {
            names.remove(0);
            base.pop();
        }
        base.extend(names);
        Some(base)
    }

    /// The module that defines what an absolute path names. `depth` bounds names that are handed on in a circle.
    fn home(&self, path: &[String], depth: usize) -> Module {
        let length = (0..=path.len()).rev().find(|&length| self.0.contains_key(&path[..length])).unwrap_or(0);
        let module = &path[..length];
        let handed_on = path.get(length).and_then(|name| {
            let (_, target) = self.0[module].uses.iter().find(|(own, _)| own == name)?;
            self.absolute(module, target)
        });
        match handed_on {
            Some(target) if depth > 0 => self.home(&target, depth - 1),
            _ => module.to_vec(),
        }
    }

    /// The modules that `module` uses, each with the path as it stands there.
    fn used(&self, module: &Module) -> Vec<(Module, String)> {
        let source = &self.0[module];
        let imports = source.uses.iter().map(|(_, path)| path.clone());
        let paths = imports.chain(inline_paths(&source.code));
        let home = |path: String| Some((self.home(&self.absolute(module, &path)?, 8), path));
        paths.filter_map(home).collect()
    }

    /// The names of what lies in a folder (in src/ for the root).
    fn children(&self, folder: &[String]) -> BTreeSet<String> {
        let below = self.0.keys().filter(|module| module.len() > folder.len() && module.starts_with(folder));
        below.map(|module| module[folder.len()].clone()).collect()
    }
}

fn child(module: &[String], name: &str) -> Module {
    module.iter().cloned().chain([name.to_string()]).collect()
}

/// Source text without comments and without what is compiled for tests alone, and the names of modules in other files
/// that are. It relies on the form that rustfmt gives: an item ends on a line as far in as it begins.
fn without_tests(text: &str) -> (String, Vec<String>) {
    let (mut code, mut tests) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let margin = line.len() - line.trim_start().len();
        if !line.trim_start().starts_with("#[cfg(test)]") && !line.trim_start().starts_with("#[cfg(all(test") {
            let comment = line.find("//").unwrap_or(line.len());
            code.push_str(&line[..comment]);
            code.push('\n');
            continue;
        }
        for line in lines.by_ref() {
            let own = line.len() - line.trim_start().len() == margin;
            if let Some(name) = line.trim().strip_suffix(';').and_then(|line| line.rsplit_once("mod ")) {
                tests.push(name.1.to_string());
            }
            if own && !line.is_empty() && line.ends_with([';', '}', ',']) {
                break;
            }
        }
    }
    (code, tests)
}

/// The `use` lines of a source: the name that each brings, and the path it stands for.
fn uses(code: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find("use ") {
        let before = rest[..start].rsplit('\n').next().unwrap_or_default().trim();
        rest = &rest[start + 4..];
        let begins = before.is_empty() || before.starts_with("pub");
        if let Some(end) = rest.find(';').filter(|_| begins) {
            let tree: String = rest[..end].split_whitespace().collect::<Vec<_>>().join(" ");
            expand("", &tree, &mut found);
            rest = &rest[end..];
        }
    }
    found
}

/// The paths of a `use` tree, such as `crate::io::{self, nifti::{Header, read as read_nifti}}`.
fn expand(before: &str, tree: &str, found: &mut Vec<(String, String)>) {
    let tree = tree.trim();
    if let Some((head, body)) = tree.split_once('{') {
        let body = body.trim().strip_suffix('}').expect("a brace that opens closes");
        let (mut depth, mut start) = (0, 0);
        for (place, letter) in body.char_indices().chain([(body.len(), ',')]) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !body[start..place].trim().is_empty() {
                        expand(&format!("{before}{head}"), &body[start..place], found);
                    }
                    start = place + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, tree.rsplit("::").next().unwrap_or(tree)));
    let path = format!("{before}{path}");
    match path.strip_suffix("::self") {
        Some(module) => found.push((module.rsplit("::").next().unwrap_or(module).into(), module.into())),
        None => found.push((name.into(), path)),
    }
}

/// The paths from `crate`, `super` or `ichor` outside of `use` lines.
fn inline_paths(code: &str) -> Vec<String> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    for begin in ["crate::", "super::", "ichor::"] {
        for (start, _) in code.match_indices(begin) {
            let line = code[..start].rsplit('\n').next().unwrap_or_default();
            let is_inside = line.ends_with(|letter: char| is_name(letter) || letter == ':' || letter == '"');
            if is_inside || line.trim_start().trim_start_matches("pub ").starts_with("use ") {
                continue;
            }
            let end = code[start..].find(|letter: char| !is_name(letter) && letter != ':').unwrap_or(code.len() - start);
            found.push(code[start..start + end].trim_end_matches(':').to_string());
        }
    }
    found
}

/// What goes against the order, in words.
fn violations(layers: &Layers, sources: &Sources) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut folders: Vec<(Module, &Vec<String>)> = vec![(Vec::new(), &layers.top)];
    folders.extend(layers.inside.iter().map(|(name, order)| (name.split('/').map(str::to_string).collect(), order)));
    for (folder, order) in &folders {
        let place = |name: &String| order.iter().position(|listed| listed == name);
        let there = sources.children(folder);
        let shown = format!("src/{}", folder.join("/"));
        wrong.extend(
            there.iter().filter(|name| place(name).is_none()).map(|name| format!("{name} of {shown} has no place in the table")),
        );
        wrong.extend(
            order.iter().filter(|name| !there.contains(*name)).map(|name| format!("{name} of the table is not in {shown}")),
        );
        for module in sources.0.keys().filter(|module| module.len() > folder.len() && module.starts_with(folder)) {
            for (used, path) in sources.used(module) {
                if !used.starts_with(folder) || used.len() == folder.len() {
                    continue;
                }
                let (own, other) = (&module[folder.len()], &used[folder.len()]);
                if own != other && place(other) >= place(own) {
                    wrong.push(format!("{} uses {path}: {other} stands below {own} in {shown}", module.join("::")));
                }
            }
        }
    }
    // What a folder's mod.rs defines may be used by its modules: so it uses none of those that use it, or may use one.
    for (folder, order) in folders.iter().skip(1) {
        let uses_folder = |name: &String| {
            let own = sources.0.keys().filter(|module| module.starts_with(&child(folder, name)));
            own.flat_map(|module| sources.used(module)).any(|(used, _)| used == *folder)
        };
        let first = order.iter().position(uses_folder).unwrap_or(order.len());
        let source = &sources.0[folder].code;
        let code: String = source
            .lines()
            .filter(|line| !["pub use ", "pub(crate) use "].iter().any(|kind| line.trim_start().starts_with(kind)))
            .fold(String::new(), |code, line| code + line + "\n");
        for path in uses(&code).into_iter().map(|(_, path)| path).chain(inline_paths(&code)) {
            let Some(used) = sources.absolute(folder, &path).map(|path| sources.home(&path, 8)) else { continue };
            let name = used.get(folder.len()).filter(|_| used.starts_with(folder));
            if name.is_some_and(|name| order.iter().position(|listed| listed == name) >= Some(first)) {
                wrong.push(format!("{}/mod.rs uses {path}, which uses it or may do so", folder.join("/")));
            }
        }
    }
    wrong
}

fn document() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md")).unwrap()
}

#[test]
fn no_module_uses_one_below_it() {
    let found = violations(&Layers::of(&document()), &Sources::read());
    assert!(found.is_empty(), "against the table of docs/ARCHITECTURE.md:\n{}", found.join("\n"));
}

#[test]
fn a_planted_line_is_found() {
    let layers = Layers::of(&document());
    for (module, line, expected) in [
        ("volume", "use crate::scan::hu;", "volume uses crate::scan::hu"),
        ("io/nifti", "use crate::{words, network::{Plan, cpu::CpuEngine}};", "io::nifti uses crate::network::cpu::CpuEngine"),
        ("phantom", "fn f() -> f64 { crate::training::Config::x() }", "phantom uses crate::training::Config"),
        ("network/plan", "use super::cpu::{CpuEngine as Fast};", "network::plan uses super::cpu::CpuEngine"),
        (
            "network/reference",
            "pub use crate::network::cpu::CpuEngine;",
            "network::reference uses crate::network::cpu::CpuEngine",
        ),
        ("network", "use inference::Inference;", "network/mod.rs uses inference::Inference"),
        ("batch/report", "    pub(super) use super::run;", "batch::report uses super::run"),
        ("scan/registration/pose", "use crate::Error;", "scan::registration::pose uses crate::Error"),
    ] {
        let mut sources = Sources::read();
        let module: Module = module.split('/').map(str::to_string).collect();
        let source = sources.0.get_mut(&module).unwrap_or_else(|| panic!("no module {module:?}"));
        *source = Source::of(format!("{}\n{line}\n", source.code));
        let found = violations(&layers, &sources);
        assert!(found.iter().any(|wrong| wrong.starts_with(expected)), "{line}: {found:?}");
    }
}

#[test]
fn a_folder_that_the_table_forgets_is_found() {
    let document: String =
        document().lines().filter(|line| !line.starts_with("| `src/phantom/`")).map(|line| format!("{line}\n")).collect();
    let found = violations(&Layers::of(&document), &Sources::read());
    assert!(found.contains(&"phantom of src/ has no place in the table".to_string()), "{found:?}");
    let document = document.replace("`plan`, ", "");
    let found = violations(&Layers::of(&document), &Sources::read());
    assert!(found.contains(&"plan of src/network has no place in the table".to_string()), "{found:?}");
}

#[test]
fn tests_and_comments_do_not_count() {
    let text = "use crate::a;\n// use crate::b;\n#[cfg(test)]\nmod tests {\n    use crate::c;\n}\n#[cfg(test)]\nmod more;\nfn f() {\n    crate::d::e();\n}\n";
    let (code, tests) = without_tests(text);
    assert_eq!(uses(&code), [("a".to_string(), "crate::a".to_string())]);
    assert_eq!(inline_paths(&code), ["crate::d::e"]);
    assert_eq!(tests, ["more"]);
}
