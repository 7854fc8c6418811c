//! rw_catalog.rw_checkpoints: the last checkpoints, newest first, with the positions of the sources they stand for.

use super::table::{Cell, Facts, Kind::*, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_checkpoints",
    columns: &[
        ("epoch", Int8),
        ("generation", Int4),
        ("committed_at", Timestamptz),
        ("duration_ms", Float8),
        ("bytes", Int8),
        ("positions", Jsonb),
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let one = |c: &crate::catalog::facts::Checkpoint| {
        row![
            c.epoch.as_u64() as i64,
            c.generation,
            c.committed_at,
            c.duration_ms,
            c.bytes as i64,
            c.positions.to_string()
        ]
    };
    facts.inspection.iter().flat_map(|known| &known.checkpoints).map(one).collect()
}
