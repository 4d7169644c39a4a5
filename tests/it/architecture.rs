//! Imports run one way: no circle of files in any package, and the folders of `src/` import what ARCHITECTURE.md's
//! table says. Tests at the end of a file do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The files of a package by the path of their module, such as `["store", "open"]`.
struct Package {
    modules: BTreeMap<Vec<String>, Module>,
}

#[derive(Default)]
struct Module {
    /// Paths that the file names, from the root of the package.
    names: Vec<Vec<String>>,
    /// The source of each re-export, by its name.
    exports: BTreeMap<String, Vec<String>>,
}

impl Package {
    fn read(folder: &Path) -> Self {
        let mut texts = BTreeMap::new();
        read_texts(folder, &[], &mut texts);
        let known: BTreeSet<Vec<String>> = texts.keys().cloned().collect();
        let modules = texts.into_iter().map(|(path, text)| (path.clone(), Module::read(&path, &text, &known)));
        Self { modules: modules.collect() }
    }

    /// The file that defines what `path` names: the deepest module on the way, or where that has it from.
    fn definer(&self, path: &[String]) -> Vec<String> {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let depth = (0..=path.len()).rev().find(|len| self.modules.contains_key(&path[..*len])).unwrap_or(0);
            let exported = path.get(depth).and_then(|name| self.modules[&path[..depth]].exports.get(name));
            let Some(source) = exported else { return path[..depth].to_vec() };
            path = source.iter().chain(&path[depth + 1..]).cloned().collect();
        }
        panic!("{path:?} is re-exported in a circle");
    }

    /// Which files each file imports. The root, which declares the modules, does not count.
    fn imports(&self) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
        let of = |(path, module): (&Vec<String>, &Module)| {
            let definers = module.names.iter().map(|name| self.definer(name));
            (path.clone(), definers.filter(|definer| definer != path && !definer.is_empty()).collect())
        };
        self.modules.iter().map(of).collect()
    }
}

fn read_texts(folder: &Path, path: &[String], texts: &mut BTreeMap<Vec<String>, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap().path();
        let name = entry.file_stem().unwrap().to_string_lossy().into_owned();
        let inner: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
        if entry.is_dir() {
            read_texts(&entry, &inner, texts);
        } else if entry.extension().is_some_and(|extension| extension == "rs") && !name.ends_with("tests") {
            let module = if matches!(name.as_str(), "mod" | "lib" | "main") { path.to_vec() } else { inner };
            if name != "main" {
                texts.insert(module, code_of(&std::fs::read_to_string(&entry).unwrap()));
            }
        }
    }
}

/// A file without comments, and without the tests at its end.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(") && line.contains("test") {
            let rest: Vec<&str> = lines.clone().take(2).collect();
            if rest.iter().any(|next| next.contains("mod ") && next.ends_with('{')) {
                break;
            }
        }
        code.push_str(line.split("//").next().unwrap());
        code.push('\n');
    }
    code.replace("pub(in crate::", "pub(in_")
}

impl Module {
    fn read(path: &[String], code: &str, known: &BTreeSet<Vec<String>>) -> Self {
        let mut module = Self::default();
        let mut rest = String::new();
        for statement in code.split_inclusive(';') {
            let Some(at) = statement.rfind("use ").filter(|at| begins_import(&statement[..*at])) else {
                rest.push_str(statement);
                continue;
            };
            rest.push_str(&statement[..at]);
            let tree = statement[at + 4..].trim_end_matches(';').split_whitespace().collect::<Vec<_>>().join(" ");
            let is_public = statement[..at].lines().last().is_some_and(|line| line.trim_start().starts_with("pub"));
            for name in expand("", &tree) {
                let Some(name) = absolute(path, &name, known) else { continue };
                if is_public {
                    module.exports.insert(name.last().unwrap().clone(), name.clone());
                }
                module.names.push(name);
            }
        }
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in rest.match_indices(start).filter(|(at, _)| is_word_start(&rest, *at)) {
                let is_of_path = |c: char| c.is_alphanumeric() || matches!(c, ':' | '_');
                let name: String = rest[at..].chars().take_while(|c| is_of_path(*c)).collect();
                module.names.extend(absolute(path, name.trim_end_matches(':'), known));
            }
        }
        module
    }
}

/// Is `use` behind this, on a line of its own or behind `pub`?
fn begins_import(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap().trim();
    line.is_empty() || (line.starts_with("pub") && !line.contains('{'))
}

fn is_word_start(text: &str, at: usize) -> bool {
    !text[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, ':' | '_'))
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d` and `a::c::e`.
fn expand(prefix: &str, tree: &str) -> Vec<String> {
    let Some((head, inner)) = tree.split_once('{') else {
        return vec![format!("{prefix}{}", tree.split(" as ").next().unwrap().trim())];
    };
    let Some(end) = inner.rfind('}') else { return Vec::new() }; // words of a text
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut branch, mut names) = (0, String::new(), Vec::new());
    for c in inner[..end].chars().chain([',']) {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            names.extend(Some(std::mem::take(&mut branch)).filter(|branch| !branch.trim().is_empty()));
        } else {
            branch.push(c);
        }
    }
    names.iter().flat_map(|branch| expand(&prefix, branch.trim())).collect()
}

/// A path from the root of the package; `None` for one of another package.
fn absolute(module: &[String], name: &str, known: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let mut segments = name.split("::").map(str::to_owned).peekable();
    let mut base = match segments.peek()?.as_str() {
        "crate" => {
            segments.next();
            Vec::new()
        }
        "self" => {
            segments.next();
            module.to_vec()
        }
        "super" => module.to_vec(),
        child => {
            let inner: Vec<String> = module.iter().cloned().chain([child.to_owned()]).collect();
            known.contains(&inner).then(|| module.to_vec())?
        }
    };
    while segments.next_if(|segment| segment == "super").is_some() {
        base.pop();
    }
    Some(base.into_iter().chain(segments).collect())
}

/// Removes files that import none of the others, or that none of them imports, again and again: what is left is in a
/// circle, or between two.
fn circles(mut imports: BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    loop {
        let imported: BTreeSet<Vec<String>> = imports.values().flatten().cloned().collect();
        let is_end = |(path, of): &(&Vec<String>, &BTreeSet<Vec<String>>)| of.is_empty() || !imported.contains(*path);
        let ends: BTreeSet<Vec<String>> = imports.iter().filter(is_end).map(|(path, _)| path.clone()).collect();
        if ends.is_empty() {
            return imports;
        }
        imports.retain(|path, _| !ends.contains(path));
        for of in imports.values_mut() {
            of.retain(|path| !ends.contains(path));
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let crates = std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    for package in crates.chain([root().join("src")]) {
        let circles = circles(Package::read(&package).imports());
        assert!(circles.is_empty(), "{}: {circles:#?}", package.display());
    }
}

#[test]
fn folders_import_what_the_architecture_says() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, imports) in Package::read(&root().join("src")).imports() {
        let Some(folder) = path.first() else { continue };
        let others = imports.iter().map(|import| import[0].clone()).filter(|other| other != folder);
        found.entry(folder.clone()).or_default().extend(others);
    }
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut num_rows = 0;
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let folder = cells[1].trim_matches('`').trim_end_matches('/').trim_end_matches(".rs");
        if cells[3] == "all" || folder.starts_with("crates/") {
            continue;
        }
        let said: BTreeSet<String> = cells[3].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(found[folder], said, "`{folder}/` imports something else than ARCHITECTURE.md says");
        num_rows += 1;
    }
    assert!(num_rows >= 10, "the table was not found");
}

#[test]
fn a_circle_through_a_re_export_is_found() {
    let known: BTreeSet<Vec<String>> = [vec![], vec!["a".to_owned()], vec!["b".to_owned()]].into();
    let module = |path: &[&str], code: &str| {
        let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
        (path.clone(), Module::read(&path, code, &known))
    };
    let circular = [
        module(&[], "mod a; mod b; pub use a::{One, Two};"),
        module(&["a"], "use crate::{b::Three as Other};"),
        module(&["b"], "fn f() -> crate::Two {}"),
    ];
    let package = Package { modules: circular.into() };
    let both: Vec<Vec<String>> = [vec!["a".to_owned()], vec!["b".to_owned()]].into();
    assert_eq!(circles(package.imports()).into_keys().collect::<Vec<_>>(), both);
}
