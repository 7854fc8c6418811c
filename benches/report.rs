//! Figures as a table: what was measured, beside what, and what was aimed at.

use std::fmt;

#[derive(Default)]
pub struct Report {
    lines: Vec<[String; 4]>,
}

impl Report {
    /// Also prints it at once: a run takes minutes.
    pub fn add(
        &mut self,
        what: impl Into<String>,
        figure: impl Into<String>,
        beside: impl Into<String>,
        aim: impl Into<String>,
    ) {
        let line = [what.into(), figure.into(), beside.into(), aim.into()];
        println!("{:<58} {:>22}   {:<40} {}", line[0], line[1], line[2], line[3]);
        self.lines.push(line);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | figure | beside | aim |\n|---|---|---|---|")?;
        self.lines
            .iter()
            .try_for_each(|[what, figure, beside, aim]| writeln!(f, "| {what} | {figure} | {beside} | {aim} |"))
    }
}

/// `1234567.0` as `1.23 M`.
pub fn amount(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{:.2} M", value / 1e6),
        _ if value >= 1e3 => format!("{:.1} k", value / 1e3),
        _ => format!("{value:.1}"),
    }
}
