//! The command line.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use weir::allocator::Counted;
use weir::{backup, inspect, node};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Weir: a streaming database in one binary.
#[derive(Parser)]
#[command(name = "weir", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(Box<node::Options>),
    /// Print a store's manifests, positions, relations and runs. Changes nothing.
    Inspect(inspect::Options),
    /// Copy a store to an empty place: `weir backup STORE TO DEST`. The server may go on meanwhile.
    Backup(backup::Options),
    /// Bring a backup back to an empty place: `weir restore DEST TO STORE`.
    Restore(backup::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(options) => node::serve(*options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Backup(options) | Command::Restore(options) => backup::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {}", error.message);
            error.detail.iter().for_each(|detail| eprintln!("  {detail}"));
            error.hint.iter().for_each(|hint| eprintln!("  hint: {hint}"));
            ExitCode::FAILURE
        }
    }
}
