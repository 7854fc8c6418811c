//! The runs of an arrangement as compaction sees them.

use super::report::{Level, RunSummary, SealedState, epoch};
use weir_storage::Epoch;
use weir_storage::manifest::State;
use weir_storage::merge::{groups, pick};
use weir_storage::run::Run;

/// `rows`: what the entries add up to, if that is known.
pub fn held(state: &State, rows: Option<u64>) -> SealedState {
    let groups = groups(&state.runs);
    let merged = pick(&state.runs);
    let merging = groups.iter().filter(|group| merged.as_ref().is_some_and(|merged| merged.contains(&group.start)));
    SealedState {
        upper: epoch(state.upper),
        since: epoch(state.since),
        entries: state.runs.iter().map(|run| run.rows).sum(),
        bytes: state.runs.iter().map(|run| run.length).sum(),
        rows,
        merging: merging.count(),
        levels: groups.iter().map(|group| level(&state.runs[group.clone()])).collect(),
    }
}

fn level(runs: &[Run]) -> Level {
    let bytes = runs.iter().map(|run| run.length).sum::<u64>();
    Level {
        after: epoch(runs.iter().map(|run| run.after).min().unwrap_or(Epoch::ZERO)),
        to: epoch(runs.iter().map(|run| run.to).max().unwrap_or(Epoch::ZERO)),
        entries: runs.iter().map(|run| run.rows).sum(),
        bytes,
        class: bytes.checked_ilog(4).unwrap_or(0),
        runs: runs.iter().map(summary).collect(),
    }
}

fn summary(run: &Run) -> RunSummary {
    RunSummary {
        object: run.object.clone(),
        offset: run.offset,
        bytes: run.length,
        entries: run.rows,
        vnodes: run.vnodes,
    }
}
