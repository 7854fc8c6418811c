//! `make bench`: what Weir does on this machine, each figure beside its limit, in one run.
//!
//! `BENCH=a,c` runs only those parts; `BENCH_SCALE=0.1` makes every amount smaller. Figures of a part are taken side by side on
//! the same data, since machines differ more than databases do.

#![allow(clippy::disallowed_methods, reason = "benchmarks measure real time")]

// Shared with the integration tests, which use all of it.
#[allow(dead_code, unused_imports)]
#[path = "../tests/kit/mod.rs"]
mod kit;

mod arrangement;
mod fresh;
mod idle;
mod objects;
mod overload;
mod plans;
mod report;
mod state;
mod stream;
mod views;

use report::Report;
use std::time::Duration;

/// Amounts are multiplied by this.
#[derive(Clone, Copy)]
pub struct Scale(f64);

impl Scale {
    pub fn of(self, rows: usize) -> usize {
        ((rows as f64 * self.0) as usize).max(1000)
    }
}

/// Longer than anything measured takes; a part that hangs fails.
pub const LIMIT: Duration = Duration::from_secs(1800);

#[tokio::main]
async fn main() {
    let chosen = std::env::var("BENCH").unwrap_or_default();
    let scale = Scale(std::env::var("BENCH_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1.0));
    let runs = |part: &str| chosen.is_empty() || chosen.split(',').any(|name| name == part);
    let mut report = Report::default();
    if runs("g") {
        arrangement::run(scale, &mut report);
    }
    if runs("f") {
        idle::run(&mut report).await;
    }
    if runs("c") {
        fresh::run(scale, &mut report).await;
    }
    if runs("b") || runs("e") {
        stream::copy(scale, &mut report).await;
    }
    if runs("a") || runs("d") {
        stream::drain(scale, &mut report).await;
    }
    if runs("h") {
        views::create(scale, &mut report).await;
    }
    if runs("i") {
        state::written(scale, &mut report).await;
    }
    if runs("j") {
        views::lag(scale, &mut report).await;
    }
    if runs("k") {
        state::restart(scale, &mut report).await;
    }
    if runs("l") {
        views::many(scale, &mut report).await;
    }
    if runs("m") {
        overload::run(scale, &mut report).await;
    }
    if runs("n") {
        objects::run(scale, &mut report).await;
    }
    if runs("o") {
        plans::run(&mut report).await;
    }
    println!("\n{report}");
}
