//! Which file of a crate names what another one defines, and which files do so in a circle.
//!
//! A name counts for the file that defines it, however many `use` lines lead there; a path that ends at a module names nothing yet,
//! unless it ends in a star. A method that is called on `self` counts for the file that has it, if that is one of the same type's. What
//! only tests name does not count. The text is read without a parser of Rust: paths, `use` trees, definitions outside of every brace, and
//! the methods of a type are enough.

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
    blocks: Vec<Block>,
}

/// Some of a type's own methods.
#[derive(Default)]
struct Block {
    /// The type, as the file names it.
    of: Vec<String>,
    methods: BTreeSet<String>,
    /// What they call by `self` or `Self`.
    calls: BTreeSet<String>,
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
        let (mut edges, methods) = (BTreeMap::new(), self.methods());
        for (at, module) in &self.modules {
            let to: &mut BTreeMap<&str, &str> = edges.entry(module.file.as_str()).or_default();
            let names = module.paths.iter().filter_map(|path| self.item(at, path));
            let stars = module.globs.iter().filter_map(|path| match self.resolve(at, path, 0)? {
                Found::Item { file, name } => Some((file, name)),
                Found::Module(path) => Some((self.modules[&path].file.as_str(), "*")),
            });
            let calls = module.blocks.iter().filter_map(|block| Some((self.item(at, &block.of)?, &block.calls)));
            let calls = calls.flat_map(|(of, calls)| calls.iter().map(move |call| (of, call.as_str())));
            let called = calls.filter_map(|call| Some((*methods.get(&call)?, call.1)));
            to.extend(names.chain(stars).chain(called).filter(|(file, _)| *file != module.file));
        }
        edges
    }

    /// The file of each method, by the type that has it and its name.
    fn methods(&self) -> BTreeMap<((&str, &str), &str), &str> {
        let mut methods = BTreeMap::new();
        for (at, module) in &self.modules {
            for block in &module.blocks {
                let Some(of) = self.item(at, &block.of) else { continue };
                methods.extend(block.methods.iter().map(|method| ((of, method.as_str()), module.file.as_str())));
            }
        }
        methods
    }

    /// The item that `path`, read in the module `at`, leads to: its file and its name there.
    fn item<'a>(&'a self, at: &[String], path: &'a [String]) -> Option<(&'a str, &'a str)> {
        match self.resolve(at, path, 0)? {
            Found::Item { file, name } => Some((file, name)),
            Found::Module(_) => None,
        }
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
        // Whether this is one of the last block's methods.
        let mut inside = false;
        while at < tokens.len() {
            match word(at) {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    inside &= depth > 0;
                }
                "impl" if depth == 0 && matches!(at.checked_sub(1).map_or("", word), "" | ";" | "}" | "]") => {
                    let of = inherent(&tokens[at + 1..]);
                    inside = of.is_some();
                    self.blocks.extend(of.map(|of| Block { of, ..Block::default() }));
                }
                "fn" if inside && depth == 1 => {
                    let block = self.blocks.last_mut().expect("this is inside of it");
                    block.methods.insert(word(at + 1).to_string());
                }
                "self" if inside && word(at + 1) == "." && matches!(word(at + 3), "(" | "::") => {
                    self.call(word(at + 2))
                }
                "Self" if inside && word(at + 1) == "::" => self.call(word(at + 2)),
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

    fn call(&mut self, method: &str) {
        let block = self.blocks.last_mut().expect("a method is of a block");
        block.calls.insert(method.to_string());
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

/// The type of a block that follows `impl`; `None`: its methods are a trait's.
fn inherent(tokens: &[String]) -> Option<Vec<String>> {
    let head = &tokens[..tokens.iter().position(|token| token == "{")?];
    // `for<'a>` is a bound.
    if head.windows(2).any(|pair| pair[0] == "for" && pair[1] != "<") {
        return None;
    }
    let (mut at, mut depth) = (0, 0);
    loop {
        match head.get(at)?.as_str() {
            "<" => depth += 1,
            // An arrow ends with one, too.
            ">" if head[at - 1] != "-" => depth -= 1,
            _ if depth == 0 => break,
            _ => {}
        }
        at += 1;
    }
    let mut of = vec![head[at].clone()];
    while head.get(at + 1).is_some_and(|token| token == "::") {
        of.extend(head.get(at + 2).cloned());
        at += 2;
    }
    Some(of)
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
