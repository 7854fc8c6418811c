//! Which file of a crate names what another one defines, and which files do so in a circle.
//!
//! A name counts for the file that defines it, however many `use` lines lead there; a path that ends at a module names nothing yet,
//! unless it ends in a star. What only tests name does not count. The text is read without a parser of Rust: paths, `use` trees, and
//! definitions outside of every brace are enough.

use std::collections::{BTreeMap, BTreeSet};

/// One crate's files, by the modules that they are.
#[derive(Default)]
pub struct Graph {
    modules: BTreeMap<Vec<String>, Module>,
}

#[derive(Default)]
struct Module {
    file: String,
    defined: BTreeSet<String>,
    /// Names brought in by `use`, with what they stand for.
    aliases: BTreeMap<String, Vec<String>>,
    paths: BTreeSet<Vec<String>>,
    /// Paths before a star.
    globs: BTreeSet<Vec<String>>,
}

/// Where a path leads.
enum Found<'a> {
    Item { file: &'a str, name: &'a str },
    Module(Vec<String>),
}

impl Graph {
    /// Of files with their paths below the crate's `src` and their text.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut graph = Graph::default();
        for (file, text) in files {
            let path: Vec<_> = file.trim_end_matches(".rs").split('/').map(str::to_string).collect();
            if path.iter().any(|part| part == "tests") {
                continue;
            }
            let named = |part: &String| !matches!(part.as_str(), "mod" | "lib");
            let mut module = Module { file: file.to_string(), ..Module::default() };
            module.read(&without_tests(tokens(text)));
            graph.modules.insert(path.into_iter().filter(named).collect(), module);
        }
        graph
    }

    /// Sets of files of which each leads to every other one of its set; a line for each of them that says by which names.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let edges = self.edges();
        let reached = |from: &str| {
            let mut found = BTreeSet::new();
            let mut ahead: Vec<&str> = edges[from].keys().copied().collect();
            while let Some(file) = ahead.pop() {
                if found.insert(file) {
                    ahead.extend(edges[file].keys().copied());
                }
            }
            found
        };
        let reach: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|file| (*file, reached(file))).collect();
        let circle = |file: &str| -> BTreeSet<&str> {
            reach[file].iter().copied().filter(|other| reach[other].contains(file)).collect()
        };
        let circles: BTreeSet<_> = edges.keys().map(|file| circle(file)).filter(|circle| circle.len() > 1).collect();
        let line = |circle: &BTreeSet<&str>, file: &str| {
            let inside = edges[file].iter().filter(|(to, _)| circle.contains(*to));
            let names: Vec<_> = inside.map(|(to, name)| format!("{name} of {to}")).collect();
            format!("{file} uses {}", names.join(", "))
        };
        circles.iter().map(|circle| circle.iter().map(|file| line(circle, file)).collect()).collect()
    }

    /// Each file with the files whose items it names, and one such name.
    fn edges(&self) -> BTreeMap<&str, BTreeMap<&str, &str>> {
        let mut edges = BTreeMap::new();
        for (at, module) in &self.modules {
            let to: &mut BTreeMap<&str, &str> = edges.entry(module.file.as_str()).or_default();
            let names = module.paths.iter().filter_map(|path| match self.resolve(at, path, 0)? {
                Found::Item { file, name } => Some((file, name)),
                Found::Module(_) => None,
            });
            let stars = module.globs.iter().filter_map(|path| match self.resolve(at, path, 0)? {
                Found::Item { file, name } => Some((file, name)),
                Found::Module(path) => Some((self.modules[&path].file.as_str(), "*")),
            });
            to.extend(names.chain(stars).filter(|(file, _)| *file != module.file));
        }
        edges
    }

    /// What `path`, read in the module `at`, leads to; `None`: out of the crate.
    fn resolve<'a>(&'a self, at: &[String], path: &'a [String], depth: usize) -> Option<Found<'a>> {
        // A name that stands for itself would lead on for ever.
        if depth > 16 {
            return None;
        }
        let mut here = at.to_vec();
        for (step, name) in path.iter().enumerate() {
            match name.as_str() {
                "crate" if step == 0 => here.clear(),
                "self" if step == 0 => {}
                "super" => drop(here.pop()),
                name => {
                    let module = self.modules.get(&here)?;
                    let child: Vec<_> = here.iter().cloned().chain([name.to_string()]).collect();
                    let is_module = self.modules.contains_key(&child);
                    let is_last = step + 1 == path.len();
                    // A function may have a module's name.
                    if module.defined.contains(name) && (is_last || !is_module) {
                        return Some(Found::Item { file: &module.file, name: &path[step] });
                    }
                    here = match is_module {
                        true => child,
                        false => match self.resolve(&here, module.aliases.get(name)?, depth + 1)? {
                            Found::Module(path) => path,
                            item => return Some(item),
                        },
                    };
                }
            }
        }
        self.modules.contains_key(&here).then_some(Found::Module(here))
    }
}

impl Module {
    fn read(&mut self, tokens: &[String]) {
        let word = |at: usize| tokens.get(at).map(String::as_str).unwrap_or("");
        let mut depth = 0;
        let mut at = 0;
        while at < tokens.len() {
            match word(at) {
                "{" => depth += 1,
                "}" => depth -= 1,
                // `use<'a>` is a bound.
                "use" if word(at + 1) != "<" => {
                    at = self.tree(tokens, at + 1, &[]);
                    continue;
                }
                // Who may see it says nothing of who uses it.
                "pub" if word(at + 1) == "(" => {
                    while word(at) != ")" {
                        at += 1;
                    }
                }
                "struct" | "enum" | "union" | "trait" | "type" | "fn" | "static" | "const" | "macro_rules"
                    if depth == 0 =>
                {
                    let skip = ["mut", "!", "unsafe", "async", "extern"];
                    let name = (at + 1..).map(word).find(|word| !skip.contains(word)).unwrap_or("");
                    self.defined.insert(name.to_string());
                }
                name if is_name(name) => {
                    let mut path = vec![name.to_string()];
                    while word(at + 1) == "::" && is_name(word(at + 2)) {
                        path.push(word(at + 2).to_string());
                        at += 2;
                    }
                    if path.len() > 1 {
                        self.paths.insert(path);
                    }
                }
                // `::a::b` begins at a crate, `<T>::b` at a type.
                "::" => {
                    while word(at + 1) == "::" || is_name(word(at + 1)) {
                        at += 1;
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads a tree of `use` from `at`, each branch after `stem`; gives where it ends.
    fn tree(&mut self, tokens: &[String], mut at: usize, stem: &[String]) -> usize {
        let mut path = stem.to_vec();
        let word = |at: usize| tokens.get(at).map(String::as_str).unwrap_or("");
        loop {
            match word(at) {
                "::" => at += 1,
                "*" => {
                    self.globs.insert(path);
                    return at + 1;
                }
                "{" => {
                    at += 1;
                    while word(at) != "}" {
                        at = self.tree(tokens, at, &path);
                        if word(at) == "," {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                name if is_name(name) => {
                    if name != "self" || path.is_empty() {
                        path.push(name.to_string());
                    }
                    at += 1;
                }
                "," | "}" | ";" => {}
                other => panic!("{} uses {other:?}", self.file),
            }
            if word(at) == "as" {
                self.aliases.insert(word(at + 1).to_string(), path.clone());
                self.paths.insert(path);
                return at + 2;
            }
            if matches!(word(at), "," | "}" | ";" | "") {
                if let Some(last) = path.last().filter(|last| *last != "super").cloned() {
                    // `use a;` of a crate stands for itself.
                    if path.len() > 1 {
                        self.aliases.insert(last, path.clone());
                    }
                    self.paths.insert(path);
                }
                return at;
            }
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_') && token != "as"
}

/// Names, `::` and single signs, without comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let mut found = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = raw_string(rest) {
            raw
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            let mut after = rest[1..].chars();
            match (after.next(), after.next()) {
                (Some('\\'), _) | (Some(_), Some('\'')) => quoted(rest, '\''),
                _ => 1 + rest[1..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len() - 1),
            }
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(rest[..length].to_string());
            length
        } else if rest.starts_with("::") {
            found.push("::".to_string());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The length of a string or character that begins here.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let end = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        end
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The length of a raw string, if one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let signs = body.chars().take_while(|c| *c == '#').count();
    let inside = body[signs..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(signs));
    let start = text.len() - inside.len();
    Some(start + inside.find(&end).map_or(inside.len(), |at| at + end.len()))
}

/// Leaves out each item under `#[cfg(test)]`.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = vec![];
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].len() < MARK.len() || tokens[at..at + MARK.len()] != MARK {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len();
        let imports = tokens[at..].iter().take(3).any(|token| token == "use");
        let mut depth = 0;
        while at < tokens.len() {
            match tokens[at].as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 && (tokens[at - 1] == ";" || (tokens[at - 1] == "}" && !imports)) {
                break;
            }
        }
    }
    kept
}
