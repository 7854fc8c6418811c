//! The shape of the code, checked: which module may use which, that no file leads back to itself, and what no file may contain.
//!
//! A new arrow between modules is a decision: it is made by a line in [`ARROWS`] that somebody reads.

#[path = "tidy/graph.rs"]
mod graph;

use graph::Graph;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Module of `src/` -> what it may use beside itself: modules of `src/` and crates of this workspace.
const ARROWS: &[(&str, &[&str])] = &[
    ("connector", &["weir_storage", "weir_sql"]),
    ("dataflow", &["connector", "weir_sql", "weir_storage"]),
    // What a source says of itself is stored and shown.
    ("catalog", &["connector", "weir_sql", "weir_storage"]),
    ("coordinator", &["catalog", "connector", "dataflow", "weir_sql", "weir_storage"]),
    ("serving", &["catalog", "connector", "coordinator", "dataflow", "weir_sql", "weir_storage"]),
    ("allocator", &[]),
    // What is in use is a metric.
    ("budget", &["allocator", "serving", "weir_sql"]),
    ("inspect", EVERYTHING),
    ("backup", &["weir_sql", "weir_storage"]),
    ("spill", &[]),
    ("node", EVERYTHING),
    ("main", EVERYTHING),
    ("lib", &[]),
];

const EVERYTHING: &[&str] = &[
    "allocator",
    "backup",
    "budget",
    "catalog",
    "connector",
    "coordinator",
    "dataflow",
    "inspect",
    "node",
    "serving",
    "spill",
    "weir",
    "weir_sql",
    "weir_storage",
];

/// What a file must not contain, and why. Written in two halves so that this file does not contain it.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("todo", "!(", "unfinished code is not called done"),
    ("unimplemented", "!(", "unfinished code is not called done"),
    ("#[ign", "ore", "a test that does not run proves nothing"),
    ("dbg", "!(", "a trace left behind"),
];

#[test]
fn modules_use_only_what_their_arrows_allow() {
    let mut wrong = vec![];
    for file in files("src") {
        let module = file.module();
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module \"{module}\" has no line in ARROWS", file.path.display()));
            continue;
        };
        for used in file.uses() {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {module} -> {used}", file.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that ARROWS does not allow:\n{}", wrong.join("\n"));
}

/// What several files share is in a file of its own, which none of them is in the way of.
#[test]
fn files_do_not_use_each_other_in_a_circle() {
    let mut wrong = vec![];
    for folder in ["src", "storage/src", "sql/src"] {
        let files = files(folder);
        let below = |file: &File| file.path.strip_prefix(folder).expect("a file of it").display().to_string();
        let paths: Vec<_> = files.iter().map(below).collect();
        let texts = files.iter().map(|file| file.text.as_str());
        let circles = Graph::new(paths.iter().map(String::as_str).zip(texts)).circles();
        wrong.extend(circles.into_iter().map(|circle| format!("in {folder}:\n  {}", circle.join("\n  "))));
    }
    assert!(wrong.is_empty(), "circles of files:\n{}", wrong.join("\n"));
}

#[test]
fn circles_are_found_whatever_way_names_are_brought_in() {
    let parent = "mod b;\nmod c;\npub use b::{self, B as Other};\nuse c::f;\npub struct A;";
    let c = ("a/c.rs", "pub fn f() {}");
    // Out of `b`, `A` is of the parent, which names `B`.
    for names_a in [
        "use super::A;",
        "use crate::a::{c, A};",
        "fn g(_: crate::a::A) {}",
        "use super::{self as up}; type T = up::A;",
    ] {
        let b = format!("{names_a}\npub struct B;");
        let found = circle(&[("a/mod.rs", parent), ("a/b.rs", &b), c]);
        assert_eq!(found, ["a/b.rs uses A of a/mod.rs", "a/mod.rs uses B of a/b.rs"], "{names_a}");
    }
    // What it only passes on is not the parent's, nor is what tests and comments name.
    for names_c in [
        "use super::f;",
        "use super::c; fn g() { c::f() }",
        "// as super::A does\npub(in super::super) struct D(&'static str, char);",
        "const TEXT: &str = r#\"use super::A;\"#;",
        "#[cfg(test)]\nuse super::A;",
        "#[cfg(test)]\nmod tests { use super::super::A; }",
        "fn g<'a>(a: &'a str) -> impl Iterator<Item = u8> + use<'a> { a.bytes() }",
    ] {
        let b = format!("{names_c}\npub struct B;");
        assert!(circle(&[("a/mod.rs", parent), ("a/b.rs", &b), c]).is_empty(), "{names_c}");
    }
    let star = [("a.rs", "use crate::b::*;\npub struct A;"), ("b.rs", "use crate::a::A;")];
    assert_eq!(circle(&star), ["a.rs uses * of b.rs", "b.rs uses A of a.rs"]);
}

/// The one circle of these files, if there is one.
fn circle(files: &[(&str, &str)]) -> Vec<String> {
    let root = ("lib.rs", "mod a; mod b;");
    let mut circles = Graph::new(files.iter().copied().chain([root])).circles();
    assert!(circles.len() < 2, "{circles:?}");
    circles.pop().unwrap_or_default()
}

/// Files that are one type's methods lead to each other by calling them, whatever they name.
#[test]
fn circles_are_found_by_way_of_methods_of_one_type() {
    let held = ("held.rs", "pub struct Held<T>(T);\npub struct Other;");
    let a =
        "use crate::held::Held;\nimpl<T: Fn() -> u8> Held<T> where T: Copy { pub fn first(&self) { self.second() } }";
    for b in [
        "use crate::held::Held;\nimpl<T> Held<T> { pub fn second(&self) { self.first::<u8>(); } }",
        "#[doc]\nimpl<T> crate::held::Held<T> { fn none() {} pub async fn second(&self) { if true { Self::first(self) } } }",
    ] {
        let found = circle(&[held, ("a.rs", a), ("b.rs", b)]);
        assert_eq!(found, ["a.rs uses second of b.rs", "b.rs uses first of a.rs"], "{b}");
    }
    let b = "use crate::held::Held;\nimpl<T> Held<T> { pub fn second(&self) { crate::a::f() } }";
    let found = circle(&[held, ("a.rs", &format!("{a}\npub fn f() {{}}")), ("b.rs", b)]);
    assert_eq!(
        found,
        ["a.rs uses second of b.rs", "b.rs uses f of a.rs"],
        "by a method one way and by a name the other"
    );
    for b in [
        "use crate::held::Held;\nimpl<T> Held<T> { pub fn second(&self) { self.0.first(); } }",
        "use crate::held::Other as Held;\nimpl Held { pub fn second(&self) { self.first(); } }",
        "use crate::held::Held;\nimpl<T> Clone for Held<T> { fn second(&self) { self.first(); } }",
        "use crate::held::Held;\nimpl<T> Held<T> { pub fn second(&self) {} }\nfn f(held: impl Copy) { self.first() }",
        "use crate::held::Held;\n#[cfg(test)]\nimpl<T> Held<T> { pub fn second(&self) { self.first(); } }",
    ] {
        assert!(circle(&[held, ("a.rs", a), ("b.rs", b)]).is_empty(), "{b}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = all().filter(|file| !file.text.starts_with("//!")).map(|file| file.path).collect();
    assert!(silent.is_empty(), "files that do not open with //!: {silent:?}");
}

#[test]
fn nothing_is_left_unfinished() {
    let mut found = vec![];
    for file in all() {
        for (line, text) in file.code() {
            for (head, tail, why) in FORBIDDEN {
                if text.contains(&format!("{head}{tail}")) {
                    found.push(format!("{}:{line}: {head}{tail}: {why}", file.path.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn tests_wait_for_conditions_not_for_time() {
    let mut found = vec![];
    for file in all().filter(|file| !file.path.starts_with("tests/kit") && !file.path.starts_with("benches")) {
        for (line, text) in file.code().skip_while(|(line, _)| *line < file.first_test_line()) {
            // A paused or simulated clock's sleep is fine; the real one's is not.
            if [concat!("time::sle", "ep("), concat!("thread::sle", "ep(")].iter().any(|call| text.contains(call)) {
                found.push(format!("{}:{line}", file.path.display()));
            }
        }
    }
    assert!(found.is_empty(), "tests that wait for time; use kit::eventually or a paused clock: {found:?}");
}

/// No limit, a hint where to look: `cargo test --test tidy -- --nocapture`.
#[test]
fn the_heaviest_files_are_printed() {
    let mut sizes: Vec<_> = all().map(|file| (file.names(), file.text.lines().count(), file.path)).collect();
    assert!(!sizes.is_empty(), "no source files found");
    sizes.sort_by(|a, b| b.cmp(a));
    println!("most names imported:");
    for (names, lines, path) in sizes.iter().take(10) {
        println!("{names:6} names {lines:6} lines  {}", path.display());
    }
    sizes.sort_by_key(|(_, lines, _)| std::cmp::Reverse(*lines));
    println!("most lines:");
    for (names, lines, path) in sizes.iter().take(10) {
        println!("{lines:6} lines {names:6} names  {}", path.display());
    }
}

#[test]
fn uses_are_found_in_every_spelling() {
    let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
    let uses = |path, text| file(path, text).uses().into_iter().collect::<Vec<_>>();
    assert_eq!(uses("src/a/b.rs", "use crate::catalog::Object;"), ["catalog"]);
    assert_eq!(uses("src/a/b.rs", "use crate::{dataflow::{Host, tap}, node};"), ["dataflow", "node"]);
    assert_eq!(
        uses("src/a/b.rs", "let x = crate::serving::f(weir_storage::Epoch::ZERO);"),
        ["serving", "weir_storage"]
    );
    assert_eq!(uses("src/a/b.rs", "use super::c; use super::super::inspect::f;"), ["inspect"]);
    assert_eq!(uses("src/a/mod.rs", "use super::inspect::f;"), ["inspect"]);
    assert_eq!(uses("src/a.rs", "use super::inspect::f; mod tests { use super::*; }"), ["inspect"]);
    assert!(uses("src/a/b.rs", "// as crate::catalog does").is_empty());
}

struct File {
    path: PathBuf,
    text: String,
}

impl File {
    /// The module of `src/` that holds this file.
    fn module(&self) -> String {
        let inside = self.path.strip_prefix("src").expect("a file of src");
        let first = inside.components().next().expect("a name");
        first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string()
    }

    /// How many `super::` lead from this file's own module to the crate's root.
    fn depth(&self) -> usize {
        let parts = self.path.components().count() - 1;
        if self.path.ends_with("mod.rs") { parts - 1 } else { parts }
    }

    /// Where its tests begin: a file of tests is all test, in others they are a module at the end.
    fn first_test_line(&self) -> usize {
        if self.path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs"))) {
            return 1;
        }
        let lines: Vec<_> = self.text.lines().collect();
        let inline = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
        inline.map_or(usize::MAX, |at| at + 1)
    }

    /// Lines that are not comments, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn uses(&self) -> BTreeSet<String> {
        let code = self.code().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
        let mut found = BTreeSet::new();
        for name in ["weir", "weir_sql", "weir_storage"] {
            if !after(&code, &format!("{name}::")).is_empty() {
                found.insert(name.to_string());
            }
        }
        let up = "super::".repeat(self.depth());
        for rest in after(&code, "crate::").into_iter().chain(after(&code, &up)) {
            found.extend(heads(rest));
        }
        found
    }

    /// Names that `use` lines bring in, by counting what separates them.
    fn names(&self) -> usize {
        let code = self.code().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
        let uses = code.split("\nuse ").skip(1).filter_map(|rest| rest.split(';').next());
        uses.map(|names| 1 + names.trim_end_matches([',', '}', '\n', ' ']).matches(',').count()).sum()
    }
}

/// What follows each `prefix` that is not the tail of a longer path.
fn after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let whole = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
    code.match_indices(prefix).filter(|(at, _)| whole(*at)).map(|(at, _)| &code[at + prefix.len()..]).collect()
}

/// The first names of `a::b` or of each branch of `{a::b, c}`. Only modules: they are lower case.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = vec![];
    if let Some(group) = rest.strip_prefix('{') {
        let mut depth = 0;
        let mut start = Some(0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = Some(at + 1),
                c if depth == 0 && !c.is_whitespace() => {
                    if let Some(from) = start.take() {
                        found.push(name(group[from..].trim_start()));
                    }
                }
                _ => {}
            }
        }
    } else {
        found.push(name(rest));
    }
    found.retain(|name| name.starts_with(|c: char| c.is_lowercase()) && name != "super" && name != "self");
    found
}

fn all() -> impl Iterator<Item = File> {
    ["src", "storage/src", "sql/src", "tests", "benches", "fuzz/src"].into_iter().flat_map(files)
}

/// Every Rust file below `folder`, with paths relative to the workspace.
fn files(folder: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("read a folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("read a source file");
                found.insert(path.strip_prefix(root).expect("inside the workspace").to_path_buf(), text);
            }
        }
    }
    found.into_iter().map(|(path, text)| File { path, text }).collect()
}
