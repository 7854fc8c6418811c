//! Child processes that never outlive the test: free ports, unprivileged users, signals by process id.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Who runs a server that refuses to run as root. `None`: we are not root.
#[derive(Clone, Copy, Debug)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// `postgres` or `nobody` when this process is root.
    pub fn unprivileged() -> Option<Self> {
        // SAFETY: geteuid has no preconditions and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
        let find = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut ids = line.split(':').skip(2).map(|id| id.parse().ok());
            Some(User { uid: ids.next()??, gid: ids.next()?? })
        };
        Some(find("postgres").or_else(|| find("nobody")).expect("a user `postgres` or `nobody` to run servers as"))
    }

    pub fn own(self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).expect("give the folder to the unprivileged user");
    }
}

/// `command`, run by `user` if there is one.
pub fn run_as(command: &mut Command, user: Option<User>) -> &mut Command {
    match user {
        Some(user) => command.uid(user.uid).gid(user.gid),
        None => command,
    }
}

/// A port nobody listens on, never given twice by this process, and outside the range the kernel gives to clients.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() % 100 * 100;
    for _ in 0..10_000 {
        let port = 20_000 + ((start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 30000");
}

/// How long a program may take that a test runs to its end.
const ENDS_WITHIN: Duration = Duration::from_secs(300);

/// What a program prints when it is given `input`, errors at the end.
pub fn fed(command: &mut Command, input: &str) -> String {
    let output = output(command, input);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a program to its end, which must come.
pub fn output(command: &mut Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(command);
    let (mut stdin, mut stdout, mut stderr) =
        (process.child.stdin.take(), process.child.stdout.take(), process.child.stderr.take());
    // Pipes hold little: all three are served at once.
    std::thread::scope(|scope| {
        let (name, input) = (format!("{:?}", command.get_program()), input.as_bytes());
        // What ends early does not want the rest.
        scope.spawn(move || stdin.take().map(|mut pipe| pipe.write_all(input)));
        let stdout = scope.spawn(move || all_of(&mut stdout));
        let stderr = scope.spawn(move || all_of(&mut stderr));
        let status = process.wait(ENDS_WITHIN);
        let (stdout, stderr) = (stdout.join().expect("no panic"), stderr.join().expect("no panic"));
        let Some(status) = status else {
            let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
            panic!("{name} has not ended within {ENDS_WITHIN:?}; it printed: {out}{err}");
        };
        Output { status, stdout, stderr }
    })
}

fn all_of(pipe: &mut Option<impl Read>) -> Vec<u8> {
    let mut bytes = vec![];
    if let Some(pipe) = pipe {
        pipe.read_to_end(&mut bytes).expect("read what it prints");
    }
    bytes
}

/// A running program. Killed when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// The child dies with this process, whatever ends it.
    pub fn spawn(command: &mut Command) -> Self {
        // SAFETY: prctl is async-signal-safe and touches nothing of this process.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("start {:?}: {e}", command.get_program()));
        Self { child }
    }

    #[allow(dead_code, reason = "benches ask the kernel about it")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the child is ours and not yet waited for, so its id names no other process.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait for the child")
    }

    /// Waits for the end for at most `limit`; then kills it and gives `None`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        None
    }

    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        self.child.wait().expect("wait for the killed child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}
