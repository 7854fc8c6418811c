//! A small disk that can be full: a file system in memory, seen only by servers that are started for it.
//!
//! Root mounts it in a mount namespace of its own, anybody else in a user namespace; which of the two is printed. It goes with the
//! process that keeps the namespace, whatever ends the test.

use super::eventually;
use super::process::{Process, User, output};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

pub struct Disk {
    folder: TempDir,
    keeper: Process,
    is_root: bool,
}

impl Disk {
    /// `size` as `mount` takes it, like `8m`.
    pub async fn new(size: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-disk-").tempdir().expect("a folder for the disk");
        let is_root = User::unprivileged().is_some();
        println!("{} is mounted {}", folder.path().display(), if is_root { "by root" } else { "in a user namespace" });
        let mount = format!("mount -t tmpfs -o size={size},mode=0700 weir \"$0\" && exec sleep infinity");
        let mut command = Command::new("unshare");
        command.arg(if is_root { "-m" } else { "-rm" }).args(["sh", "-c", &mount]).arg(folder.path());
        let mut keeper = Process::spawn(command.stdin(Stdio::null()));
        eventually("a file system in memory is mounted", async || {
            if let Some(status) = keeper.ended() {
                panic!("neither root nor a user namespace may mount one here: {status}");
            }
            let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", keeper.id())).unwrap_or_default();
            if mounts.contains(&*folder.path().to_string_lossy()) { Ok(()) } else { Err(mounts) }
        })
        .await;
        Self { folder, keeper, is_root }
    }

    /// Of its root, as its servers see it.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Below its root, as text.
    pub fn below(&self, name: &str) -> String {
        self.path().join(name).to_string_lossy().into_owned()
    }

    /// Runs a program that sees it, whose process id is the runner's.
    pub fn runner(&self) -> Vec<String> {
        let keeper = self.keeper.id().to_string();
        let mut runner = vec!["nsenter", "-t", keeper.as_str(), "-m"];
        if !self.is_root {
            runner.extend(["-U", "--preserve-credentials"]);
        }
        runner.push("--");
        runner.into_iter().map(str::to_string).collect()
    }

    /// Leaves no room beside what is used now.
    pub async fn fill(&self) {
        let used = "set -- \"$0\" $(stat -f -c '%b %f %S' \"$0\"); mount -o remount,size=$((($2 - $3) * $4)) \"$1\"";
        // It cannot become smaller than what is used meanwhile.
        eventually("the disk is full", async || self.shell(used)).await;
    }

    pub fn grow(&self, size: &str) {
        self.shell(&format!("mount -o remount,size={size} \"$0\"")).expect("a disk can grow");
    }

    fn shell(&self, script: &str) -> Result<(), String> {
        let runner = self.runner();
        let mut command = Command::new(&runner[0]);
        command.args(&runner[1..]).args(["sh", "-c", script]).arg(self.path());
        let output = output(&mut command, "");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}
