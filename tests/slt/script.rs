//! A script cut into its sections, and the order in which a mode plays them.

use super::Mode;
use super::database::Letter;
use sqllogictest::{Record, StatementExpect};
use std::collections::BTreeMap;
use std::path::Path;

type Line = Record<Letter>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tables,
    Views,
    Data,
    Check,
}

pub struct Script {
    pub name: String,
    modes: Option<Vec<String>>,
    sections: Vec<(Kind, Vec<Line>)>,
}

pub enum Step {
    Record(Box<Line>),
    /// A `# data` section has ended.
    DataDone,
    /// A `# check` section has ended.
    CheckDone,
}

impl Script {
    pub fn read(path: &Path) -> Result<Self, String> {
        let records = sqllogictest::parse_file::<Letter>(path).map_err(|e| e.to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut script = Self { name, modes: None, sections: vec![(Kind::Tables, vec![])] };
        for record in records {
            if let Record::Comment(lines) = &record {
                for line in lines {
                    script.comment(line.trim());
                }
            }
            script.sections.last_mut().expect("one section at least").1.push(record);
        }
        Ok(script)
    }

    fn comment(&mut self, line: &str) {
        let kind = match line {
            "views" => Kind::Views,
            "data" => Kind::Data,
            "check" => Kind::Check,
            _ => {
                if let Some(modes) = line.strip_prefix("modes:") {
                    self.modes = Some(modes.split_whitespace().map(str::to_string).collect());
                }
                return;
            }
        };
        self.sections.push((kind, vec![]));
    }

    pub fn runs_in(&self, mode: Mode) -> bool {
        self.modes.as_ref().is_none_or(|modes| modes.iter().any(|name| name == mode.name()))
    }

    pub fn steps(&self, mode: Mode) -> Vec<Step> {
        let mut sections: Vec<_> = self.sections.iter().collect();
        if mode == Mode::Backfill {
            let first = |kind| sections.iter().position(|section| section.0 == kind);
            if let (Some(views), Some(data)) = (first(Kind::Views), first(Kind::Data))
                && views < data
            {
                sections[views..=data].rotate_left(1);
            }
        }
        let mut steps = vec![];
        for (kind, records) in sections {
            steps.extend(records.iter().cloned().map(|record| Step::Record(Box::new(record))));
            match kind {
                Kind::Data => steps.push(Step::DataDone),
                Kind::Check => steps.push(Step::CheckDone),
                Kind::Tables | Kind::Views => {}
            }
        }
        steps
    }
}

/// Keeps `views` (name -> query) as the statement will leave them.
pub fn note_views(record: &Line, views: &mut BTreeMap<String, String>) {
    let Record::Statement { sql, expected, .. } = record else { return };
    if matches!(expected, StatementExpect::Error(_)) {
        return;
    }
    if let Some(rest) = sql.strip_prefix("CREATE MATERIALIZED VIEW ")
        && let Some((head, query)) = rest.split_once("AS")
    {
        let name = if rest.starts_with('"') { rest.split_inclusive('"').take(2).collect() } else { word(head) };
        views.insert(name, query.trim().to_string());
    } else if sql.starts_with("DROP ") {
        let gone = sql.split_whitespace().last().unwrap_or_default();
        if sql.ends_with("CASCADE") { views.clear() } else { drop(views.remove(gone)) }
    }
}

fn word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_string()
}

/// Whether the server has something to recover after this record, outside a transaction block.
pub fn changes(record: &Line) -> bool {
    let Record::Statement { sql, .. } = record else { return false };
    ["INSERT", "UPDATE", "DELETE", "CREATE", "DROP"].iter().any(|verb| sql.starts_with(verb))
}
