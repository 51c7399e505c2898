//! Turns the program in a terminal into when its first rows show, and what it takes to watch.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use super::server::Server;
use super::{Answer, Figure, OBJECTS, TERMINAL};

/// How long nothing changes, and how long a hundred things a second do.
const IDLE: Duration = Duration::from_secs(15);
const BUSY: Duration = Duration::from_secs(10);

pub(crate) fn measure() -> Answer<Vec<Figure>> {
    if Command::new("tmux").arg("-V").output().is_err() {
        return Err("there is no tmux: scripts/tools.sh test installs it".into());
    }
    let server = Server::start()?;
    let dir = std::env::temp_dir().join(format!("bb-ui-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let figures = watched(&dir, &server);
    std::fs::remove_dir_all(&dir)?;
    figures
}

/// Starts the program in a terminal; its number comes to stand in the file.
fn start(tmux: &Tmux, dir: &Path, server: &Server, pid: &Path) -> Answer<()> {
    let kubeconfig = dir.join("kubeconfig");
    let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": server.address}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench",
            "context": {"cluster": "bench", "user": "bench", "namespace": "default"}}]});
    std::fs::write(&kubeconfig, text.to_string())?;
    let line = format!(
        "sh -c 'echo $$ >{}; exec env HOME={} KUBECONFIG={} {} ui'; sleep 60",
        pid.display(),
        dir.display(),
        kubeconfig.display(),
        bbctl()?.display()
    );
    let (columns, lines) = (TERMINAL.0.to_string(), TERMINAL.1.to_string());
    let size = ["-x", &columns, "-y", &lines];
    let open = ["-f", "/dev/null", "new-session", "-d"];
    tmux.run(&[&open[..], &size[..], &[&line]].concat())?;
    Ok(())
}

fn watched(dir: &Path, server: &Server) -> Answer<Vec<Figure>> {
    let tmux = Tmux(format!("bb-ui-bench-{}", std::process::id()));
    let pid = dir.join("pid");
    let begun = Instant::now();
    start(&tmux, dir, server, &pid)?;
    let wait = |text: &str| -> Answer<f64> {
        loop {
            let screen = tmux.run(&["capture-pane", "-p"])?;
            if screen.contains(text) {
                return Ok(begun.elapsed().as_secs_f64() * 1000.0);
            }
            if begun.elapsed() > Duration::from_secs(60) {
                return Err(format!("`{text}` does not come; there is:\n{screen}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let first = wait("www-0")?;
    let all = wait(&format!(" {OBJECTS}\n"))?;
    std::thread::sleep(Duration::from_secs(3));
    let pid: u32 = std::fs::read_to_string(&pid)?.trim().parse()?;
    let listed = resident(pid)?;
    let idle = share(pid, IDLE)?;
    server.busy.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(1));
    let before = server.told.load(Ordering::Relaxed);
    let working = share(pid, BUSY)?;
    let told = server.told.load(Ordering::Relaxed) - before;
    let after = resident(pid)?;
    let seconds = u32::try_from(BUSY.as_secs())?;
    Ok(vec![
        Figure::new(
            "lists_of_instances",
            f64::from(server.lists.load(Ordering::Relaxed)),
            "lists",
            "all pages of one counted once, from the start until after the changes",
        )
        .at_most(1.0),
        Figure::new(
            "changes_a_second",
            f64::from(told) / f64::from(seconds),
            "changes",
            "what the server told of while it changed; a hundred were meant",
        ),
        Figure::new(
            "first_paint",
            first,
            "ms",
            "from the start of the program until the first rows are on the screen",
        )
        .at_most(1000.0),
        Figure::new("all_listed", all, "ms", "until all 10,000 are counted"),
        Figure::new(
            "cpu_idle",
            idle,
            "% of a core",
            "over 15 s without a change",
        )
        .at_most(2.0),
        Figure::new(
            "cpu_busy",
            working,
            "% of a core",
            "over 10 s with a hundred changes a second",
        ),
        Figure::new(
            "memory_listed",
            listed,
            "MiB",
            "resident, once all are listed",
        ),
        Figure::new(
            "memory_after_changes",
            after,
            "MiB",
            "the same after the changes",
        ),
    ])
}

/// The program that was built beside this one.
fn bbctl() -> Answer<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent);
    let program = folder.ok_or("there is no folder")?.join("bbctl");
    match program.exists() {
        true => Ok(program),
        false => Err(format!("there is no {}: build it first", program.display()).into()),
    }
}

/// A terminal.
struct Tmux(String);

impl Tmux {
    fn run(&self, args: &[&str]) -> Answer<String> {
        let mut tmux = Command::new("tmux");
        let output = tmux.arg("-L").arg(&self.0).args(args).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.run(&["kill-server"]);
    }
}

/// What part of a core a process takes over a while, in percent.
fn share(pid: u32, span: Duration) -> Answer<f64> {
    let ticks = || -> Answer<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after = stat.rsplit_once(") ").ok_or("a process has a state")?.1;
        let mut fields = after.split(' ').skip(11);
        let mut next = || -> Answer<f64> {
            let field = fields.next().ok_or("a process has times")?;
            Ok(field.parse()?)
        };
        Ok(next()? + next()?)
    };
    let before = ticks()?;
    std::thread::sleep(span);
    // A tick is a hundredth of a second on every Linux that we run on.
    Ok((ticks()? - before) / span.as_secs_f64())
}

/// What a process has in memory, in MiB.
fn resident(pid: u32) -> Answer<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = kib.ok_or("a process has memory")?.parse()?;
    Ok(kib / 1024.0)
}
