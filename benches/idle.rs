//! (f) A server with an empty store and nothing to do: memory and CPU.

use crate::kit::Weir;
use crate::report::Report;
use std::fs;
use std::time::Duration;

const SPAN: Duration = Duration::from_secs(20);

pub async fn run(report: &mut Report) {
    let weir = Weir::with(&["--workers", "1"]).await;
    // What starting costs is not idleness.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = cpu(weir.process_id());
    tokio::time::sleep(SPAN).await;
    let used = cpu(weir.process_id()) - before;
    report.add("(f) idle memory, empty store", format!("{:.0} MB", memory(weir.process_id())), "", "<= 100 MB");
    report.add(
        "(f) idle CPU, empty store",
        format!("{:.2} % of a core", used / SPAN.as_secs_f64() * 100.0),
        "",
        "none measurable",
    );
}

/// Resident megabytes.
pub fn memory(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("kilobytes") / 1024.0
}

/// CPU seconds used so far.
pub fn cpu(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    let after_name = stat.rsplit(") ").next().expect("fields");
    let ticks: f64 = after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    // The kernel's unit for user space, 100 a second on every Linux.
    ticks / 100.0
}
