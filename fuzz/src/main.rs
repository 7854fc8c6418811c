//! Coverage-guided fuzzing of everything that reads bytes from outside.
//!
//! One binary, since linking is what costs: `FUZZ_TARGET` names the target that runs, the rest of the command line is libFuzzer's.
//! What is shown for each input: nothing panics, and no more memory is taken than a bound that is proportional to the input's
//! length. `FUZZ_SEEDS` is a folder to which the target's seeds, made by our own writers, are written before the run.

#![no_main]

mod client;
mod manifest;
mod memory;
mod run;
mod statement;
mod stream;
mod upstream;
mod value;
mod wire;

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::OnceLock;

#[global_allocator]
static ALLOCATOR: memory::Counted = memory::Counted;

struct Target {
    name: &'static str,
    bound: memory::Bound,
    /// Inputs to begin with.
    seeds: fn() -> Vec<Vec<u8>>,
    run: fn(&[u8]),
}

/// A new one is a file and an entry here.
const TARGETS: &[Target] =
    &[client::TARGET, manifest::TARGET, run::TARGET, statement::TARGET, stream::TARGET, value::TARGET, wire::TARGET];

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fuzz_target!(
    init: choose(),
    |bytes: &[u8]| {
        let target = CHOSEN.get().expect("chosen at the start");
        let _bounded = target.bound.begin(bytes.len());
        (target.run)(bytes);
    }
);

fn choose() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("FUZZ_TARGET is \"{name}\"; it has to be one of: {}", names.join(", "));
        std::process::exit(2);
    };
    let _ = CHOSEN.set(target);
    if let Ok(folder) = std::env::var("FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            let path = Path::new(&folder).join(format!("seed-{number}"));
            std::fs::write(&path, seed).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}
