//! The report for people.

use super::report::{Arrangement, Garbage, Listed, Relation, Report, SealedState, Space, Writes};
use std::fmt::{self, Display, Formatter};

/// `runs`: list every run.
pub fn of(report: &Report, runs: bool) -> String {
    Page { report, runs }.to_string()
}

struct Page<'a> {
    report: &'a Report,
    runs: bool,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.report;
        writeln!(f, "store {}", report.store)?;
        manifests(f, &report.manifests)?;
        match &report.newest {
            None => writeln!(f, "the store is empty: no manifest")?,
            Some(newest) => {
                writeln!(
                    f,
                    "newest: sequence {}  generation {}  epoch {}  committed {}  uploaded {} in {:.1} ms",
                    newest.sequence,
                    newest.generation,
                    newest.epoch,
                    newest.committed_at,
                    Bytes(newest.uploaded_bytes),
                    newest.duration_ms,
                )?;
                for (source, position) in &newest.positions {
                    writeln!(f, "position of source {source}: {position}")?;
                }
            }
        }
        space(f, &report.space)?;
        writes(f, report.writes.as_ref())?;
        garbage(f, &report.garbage)?;
        report.relations.iter().try_for_each(|relation| self.relation(f, relation))
    }
}

fn manifests(f: &mut Formatter<'_>, manifests: &[Listed]) -> fmt::Result {
    for listed in manifests {
        let kept = listed.kept.as_deref().unwrap_or("deleted by the next collection");
        match &listed.checkpoint {
            Some(c) => writeln!(
                f,
                "manifest {}  {}  {}  epoch {} = {}  {kept}",
                listed.sequence,
                Bytes(listed.bytes),
                c.time,
                c.epoch,
                c.number
            )?,
            None => writeln!(f, "manifest {}  {}  cannot be read  {kept}", listed.sequence, Bytes(listed.bytes))?,
        }
    }
    Ok(())
}

fn space(f: &mut Formatter<'_>, space: &Space) -> fmt::Result {
    write!(
        f,
        "space: {} in {} objects, {} in {} manifests; the newest checkpoint needs {}",
        Bytes(space.object_bytes),
        space.objects,
        Bytes(space.manifest_bytes),
        space.manifests,
        Bytes(space.newest_bytes)
    )?;
    if let Some(ratio) = space.stored_per_newest {
        write!(f, ", {ratio:.2} bytes are stored for each of them")?;
    }
    match (space.live_bytes, space.stored_per_live) {
        (Some(live), Some(ratio)) => writeln!(f, "; about {} are live, {ratio:.2} for each", Bytes(live)),
        (Some(_), None) => writeln!(f, "; nothing is live"),
        (None, _) => writeln!(f, "; how much of it is live is told with --rows"),
    }
}

fn writes(f: &mut Formatter<'_>, writes: Option<&Writes>) -> fmt::Result {
    let Some(writes) = writes else {
        return writeln!(f, "writes: not known, no two checkpoints that follow each other are kept");
    };
    write!(
        f,
        "writes: for the last {} checkpoints that are kept, {} sealed, {} merged again, {} of manifests",
        writes.checkpoints,
        Bytes(writes.sealed_bytes),
        Bytes(writes.merged_bytes),
        Bytes(writes.manifest_bytes)
    )?;
    if let Some(ratio) = writes.written_per_sealed {
        write!(f, ": {ratio:.2} bytes for each sealed")?;
    }
    writeln!(f, "; what came before is not recorded")
}

fn garbage(f: &mut Formatter<'_>, garbage: &Garbage) -> fmt::Result {
    match &garbage.blocked {
        Some(why) => writeln!(f, "garbage: {why}")?,
        None => writeln!(
            f,
            "garbage: the next collection deletes {} manifests and {} in {} objects, unless the server is uploading or reading them",
            garbage.manifests,
            Bytes(garbage.bytes),
            garbage.objects
        )?,
    }
    for stays in &garbage.stays {
        writeln!(f, "  stays: {} in {} objects {}", Bytes(stays.bytes), stays.objects, stays.why)?;
    }
    Ok(())
}

impl Page<'_> {
    fn relation(&self, f: &mut Formatter<'_>, relation: &Relation) -> fmt::Result {
        writeln!(f, "{} {} \"{}\" ({})", relation.kind, relation.id, relation.name, relation.life)?;
        for line in &relation.plan {
            writeln!(f, "    {line}")?;
        }
        for Arrangement { id, role, held } in &relation.arrangements {
            match held {
                None => writeln!(f, "  arrangement {id} ({role}): not in this manifest")?,
                Some(held) => self.arrangement(f, *id, role, held)?,
            }
        }
        Ok(())
    }

    fn arrangement(&self, f: &mut Formatter<'_>, id: u64, role: &str, held: &SealedState) -> fmt::Result {
        write!(f, "  arrangement {id} ({role}): upper {}  since {}", held.upper, held.since)?;
        write!(f, "  {} entries", held.entries)?;
        if let Some(rows) = held.rows {
            write!(f, " of which {rows} are left")?;
        }
        writeln!(f, "  {}", Bytes(held.bytes))?;
        let merged = held.levels.len() - held.merging;
        for (index, level) in held.levels.iter().enumerate() {
            write!(f, "    level {index} ({}, {}]  {} runs", level.after, level.to, level.runs.len())?;
            write!(f, "  {} entries  {}  class {}", level.entries, Bytes(level.bytes), level.class)?;
            writeln!(f, "{}", if index >= merged { "  merged next" } else { "" })?;
            for run in level.runs.iter().filter(|_| self.runs) {
                writeln!(
                    f,
                    "      {} entries  {} at {} of {}  vnodes {}-{}",
                    run.entries,
                    Bytes(run.bytes),
                    run.offset,
                    run.object,
                    run.vnodes.0,
                    run.vnodes.1
                )?;
            }
        }
        Ok(())
    }
}

/// `17 bytes`, `3.4 MB`
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut scaled = self.0 as f64;
        for unit in ["bytes", "kB", "MB", "GB"] {
            if scaled < 1000.0 {
                return match unit {
                    "bytes" => write!(f, "{} bytes", self.0),
                    _ => write!(f, "{scaled:.1} {unit}"),
                };
            }
            scaled /= 1000.0;
        }
        write!(f, "{scaled:.1} TB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_three_digits_or_so() {
        let shown = |n| Bytes(n).to_string();
        assert_eq!([shown(0), shown(999), shown(1000), shown(123_456)], ["0 bytes", "999 bytes", "1.0 kB", "123.5 kB"]);
        assert_eq!([shown(7 << 30), shown(u64::MAX)], ["7.5 GB", "18446744.1 TB"]);
    }
}
