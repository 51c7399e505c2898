//! The dashboard as one sits in front of it: the program in a terminal, the API server, routers and
//! clusters behind it.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bb_lab_harness::{Part, paths};
use bb_tests::{Site, SiteOptions};
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(90);

/// A terminal with a shell in it.
struct Terminal {
    socket: String,
    _dir: tempfile::TempDir,
}

impl Terminal {
    /// A terminal of a size, or nothing where there is no tmux to be had.
    #[allow(
        clippy::print_stdout,
        reason = "the count of skipped tests looks for it"
    )]
    fn open(columns: u16, lines: u16, kubeconfig: &Path) -> Result<Option<Self>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if Command::new("tmux").arg("-V").output().is_err() {
            println!("skipped: there is no tmux; scripts/tools.sh test installs it");
            return Ok(None);
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::tempdir()?;
        let terminal = Self {
            socket: format!("bb-ui-{}-{number}", std::process::id()),
            _dir: dir,
        };
        let home = terminal._dir.path().display().to_string();
        let program = paths::binary("bbctl")?;
        // Its own name in the path, and no settings of whoever runs the tests.
        let folder = program.parent().context("a program is in a folder")?;
        let shell = format!(
            "env -i TERM=screen-256color HOME={home} PS1='$ ' PATH={}:/usr/bin:/bin \
             KUBECONFIG={} EDITOR='{home}/editor' sh",
            folder.display(),
            kubeconfig.display()
        );
        let (columns, lines) = (columns.to_string(), lines.to_string());
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &lines,
            &shell,
        ])?;
        Ok(Some(terminal))
    }

    fn tmux(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("tmux")
            .arg("-L")
            .arg(&self.socket)
            .args(args)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "tmux {args:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Presses keys by tmux's names for them.
    fn press(&self, keys: &[&str]) -> Result<()> {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args).map(|_| ())
    }

    /// Types a text.
    fn enter(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", text]).map(|_| ())
    }

    fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen shows a text, and gives it.
    fn shows(&self, text: &str) -> Result<String> {
        self.until(text, |screen| screen.contains(text))
    }

    fn until(&self, what: &str, reached: impl Fn(&str) -> bool) -> Result<String> {
        let until = Instant::now() + BOUND;
        loop {
            let screen = self.screen()?;
            if reached(&screen) {
                return Ok(screen);
            }
            if Instant::now() > until {
                bail!("`{what}` does not come; there is:\n{screen}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs the dashboard with a word before and the state of the terminal after.
    fn run(&self, env: &str) -> Result<()> {
        self.enter(&format!(
            "echo be''fore; sh -c 'echo $$ >$HOME/pid; exec env {env} bbctl ui'; \
             echo ended with $?; stty -a | grep -ow -e '-*icanon' -e '-*echo' | tr '\\n' ' '"
        ))?;
        self.press(&["Enter"])?;
        self.shows("live")?;
        Ok(())
    }

    /// Waits until the dashboard has ended and the terminal is as before.
    fn restored(&self, code: &str) -> Result<()> {
        // The command itself has those words as well, but begins no line with them.
        let told = |line: &str| line.starts_with("icanon") || line.starts_with("-icanon");
        let screen = self.until("the shell", |screen| screen.lines().any(told))?;
        let ended = format!("ended with {code}");
        ensure!(screen.lines().any(|line| line == ended), "{screen}");
        let before = screen.contains("before");
        ensure!(before, "what was there before is gone: {screen}");
        let cooked = screen.lines().any(|line| line.starts_with("icanon echo"));
        ensure!(cooked, "{screen}");
        Ok(())
    }

    /// What the editor of this terminal does, as a line of a shell with the file as `$1`.
    fn edits(&self, line: &str) -> Result<()> {
        let editor = self._dir.path().join("editor");
        std::fs::write(&editor, format!("#!/bin/sh\n{line}\n"))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        Ok(std::fs::set_permissions(&editor, mode)?)
    }

    /// A file in the user's folder, with what it says.
    fn has(&self, name: &str, text: &str) -> Result<()> {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        let path = self._dir.path().join(".bbctl").join(name);
        let folder = path.parent().context("a file is in a folder")?;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder)?;
        std::fs::write(&path, text)?;
        Ok(std::fs::set_permissions(
            &path,
            std::fs::Permissions::from_mode(0o600),
        )?)
    }

    fn pid(&self) -> Result<i32> {
        let text = std::fs::read_to_string(self._dir.path().join("pid"))?;
        text.trim().parse().context("a process has a number")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.tmux(&["kill-server"]);
    }
}

async fn site() -> Result<Site> {
    let site = Site::start(SiteOptions::default()).await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    Ok(site)
}

/// Whatever blocks, while the controller goes on in this process.
fn blocking<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    tokio::task::block_in_place(work)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_made_by_form_seen_ready_and_deleted_again() -> Result<()> {
    let site = site().await?;
    let Some(ui) = Terminal::open(100, 30, site.cluster.kubeconfig())? else {
        return site.stop().await;
    };
    blocking(|| {
        ui.run("X=1")?;
        let first = ui.shows("www-1")?;
        ensure!(
            first.contains("acme") && first.contains("Running"),
            "{first}"
        );
        // A new one: the tenant's first, all as it is offered but for the name and the image.
        ui.press(&["1", "n"])?;
        ui.shows("new instance")?;
        ui.shows("the first that a provider offers")?;
        ui.press(&["C-u"])?;
        ui.enter("by-form")?;
        ui.press(&["C-s"])?;
        ui.shows("the server would take it")?;
        let shown = ui.screen()?;
        ensure!(
            shown.contains("kind: Instance") && shown.contains("name: by-form"),
            "{shown}"
        );
        ui.press(&["Enter"])?;
        ui.shows("instance/by-form")?;
        ui.until("Ready", |screen| {
            screen
                .lines()
                .any(|line| line.trim().starts_with("Ready for"))
        })?;
        // The command that did it.
        ui.press(&["@"])?;
        ui.shows("bbctl apply -f -")?;
        // Deleted, after Cancel was the first answer.
        ui.press(&["C-d"])?;
        ui.shows("> [Cancel]")?;
        ui.press(&["Enter"])?;
        ui.shows("cancelled")?;
        ui.press(&["C-d"])?;
        ui.shows("> [Cancel]")?;
        ui.press(&["Right", "Enter"])?;
        ui.shows("bbctl delete instance/by-form -n acme --yes")?;
        ui.shows("there is no instance/by-form any more")?;
        ui.press(&["q", "q"])?;
        ui.restored("0")
    })?;
    let gone = site
        .ours("Instance", Some("acme"))
        .get_opt("by-form")
        .await?;
    ensure!(gone.is_none(), "it is there still");
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_seen_before_it_is_sent_and_an_old_one_is_refused() -> Result<()> {
    let site = site().await?;
    let Some(ui) = Terminal::open(120, 40, site.cluster.kubeconfig())? else {
        return site.stop().await;
    };
    ui.edits("sed -i 's/cpu: 2/cpu: 3/' \"$1\"")?;
    blocking(|| {
        ui.run("X=1")?;
        ui.shows("www-1")?;
        // A new network: the commands of the router, before anything is sent.
        ui.press(&["1"])?;
        ui.enter(":create network")?;
        ui.press(&["Enter"])?;
        ui.shows("new network")?;
        ui.press(&["C-u"])?;
        ui.enter("planned")?;
        // What a form needs to know is being listed: until then it says what is wrong.
        ui.until("a form without trouble", |screen| {
            screen.contains("planned") && !screen.contains("│ ! ")
        })?;
        ui.press(&["C-s"])?;
        ui.shows("the server would take it")?;
        ui.press(&["p"])?;
        let plan = ui.shows("a: bbctl apply -f - --plan=")?;
        ensure!(
            plan.contains("network/planned") && plan.contains("    set "),
            "{plan}"
        );
        ui.press(&["NPage"])?;
        ui.shows("Reach: ")?;
        ui.press(&["a"])?;
        ui.until("Ready", |screen| {
            screen.contains("network/planned")
                && screen
                    .lines()
                    .any(|line| line.trim().starts_with("Ready for"))
        })?;
        ui.press(&["@"])?;
        ui.shows("bbctl apply -f - --plan=")?;
        // An edit of a guest: the calls of the cluster.
        ui.press(&["@"])?;
        ui.enter(":instances /www-1")?;
        ui.press(&["Enter"])?;
        ui.until("www-1", |screen| {
            screen
                .lines()
                .any(|line| line.starts_with("> ") && line.contains("www-1"))
        })?;
        ui.press(&["E"])?;
        let plan = ui.shows("a: bbctl apply -f - --force-conflicts --plan=")?;
        ensure!(
            plan.contains("/config") && plan.contains("cores=3"),
            "{plan}"
        );
        Ok(())
    })?;
    // Somebody else is quicker.
    let patch = json!({"spec": {"memory": "3Gi"}});
    let instances = site.ours("Instance", Some("acme"));
    instances
        .patch("www-1", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    blocking(|| {
        ui.press(&["a"])?;
        let old = ui.shows("nothing was sent")?;
        ensure!(old.contains("is old"), "{old}");
        ui.press(&["Escape"])?;
        // A letter right behind it would be read as one with alt.
        ui.until("the list", |screen| !screen.contains("what it would send"))?;
        ui.press(&["y"])?;
        ui.shows("cpu: 2")?;
        ui.press(&["C-c"])?;
        ui.restored("0")
    })?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_found_and_explained_and_a_lost_server_comes_back() -> Result<()> {
    let site = site().await?;
    let Some(ui) = Terminal::open(80, 24, site.cluster.kubeconfig())? else {
        return site.stop().await;
    };
    let patch = json!({"spec": {"vyos": {"tls": {"caSecret": null, "sha256": ["AB".repeat(32)]}}}});
    blocking(|| ui.run("X=1"))?;
    let providers = site.ours("Provider", None);
    providers
        .patch("r1", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    blocking(|| {
        ui.press(&["P"])?;
        ui.shows("Unauthorized")?;
        ui.enter(":providers")?;
        ui.press(&["Enter", "C-z"])?;
        let faults = ui.until("only r1", |s| {
            s.contains("1 of 4") && s.contains("> ") && s.contains("r1")
        })?;
        ensure!(!faults.contains(" r2 "), "{faults}");
        ui.press(&["d"])?;
        let why = ui.shows("Not ready")?;
        ensure!(why.contains("SHA-256"), "{why}");
        ui.press(&["q"])?;
        site.cluster.pause(Part::ApiServer)?;
        let lost = ui.shows("server lost")?;
        ensure!(lost.contains("r1"), "what was known stays: {lost}");
        site.cluster.resume(Part::ApiServer)?;
        ui.until("back", |screen| {
            screen.contains("live") && !screen.contains("server lost")
        })?;
        ui.enter(":q")?;
        ui.press(&["Enter"])?;
        ui.restored("0")
    })?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_as_before_after_a_panic_and_after_sigterm() -> Result<()> {
    let options = SiteOptions {
        controller: false,
        ..SiteOptions::default()
    };
    let site = Site::start(options).await?;
    let Some(ui) = Terminal::open(80, 24, site.cluster.kubeconfig())? else {
        return site.stop().await;
    };
    blocking(|| {
        ui.run("X=1")?;
        let pid = nix::unistd::Pid::from_raw(ui.pid()?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        ui.restored("143")?;
        ui.enter("clear")?;
        ui.press(&["Enter"])?;
        ui.run("BBCTL_UI_PANIC=1")?;
        ui.press(&["F12"])?;
        ui.restored("101")?;
        ensure!(
            ui.screen()?.contains("panicked at") && ui.screen()?.contains("asked to panic"),
            "the panic is told on the terminal"
        );
        // A terminal that becomes too small, and large again.
        ui.enter("clear")?;
        ui.press(&["Enter"])?;
        ui.run("X=1")?;
        ui.tmux(&["resize-window", "-x", "50", "-y", "12"])?;
        ui.shows("too small")?;
        ui.tmux(&["resize-window", "-x", "80", "-y", "24"])?;
        ui.shows("there are no instances")?;
        ui.press(&["C-c"])?;
        ui.restored("0")
    })?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_edited_in_the_editor_of_the_environment() -> Result<()> {
    let site = site().await?;
    let Some(ui) = Terminal::open(100, 30, site.cluster.kubeconfig())? else {
        return site.stop().await;
    };
    ui.edits("sed -i 's/cpu: 2/cpu: 3/' \"$1\"")?;
    blocking(|| {
        ui.run("X=1")?;
        ui.shows("www-1")?;
        ui.enter("/www-1")?;
        ui.press(&["Enter", "e"])?;
        // What is typed while the editor has the terminal is the editor's.
        ui.shows(" done")?;
        ui.press(&["@"])?;
        ui.shows("bbctl edit instance www-1 -n acme")?;
        ui.press(&["y"])?;
        ui.shows("cpu: 3")?;
        ui.press(&["C-c"])?;
        ui.restored("0")
    })?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_theme_is_kept_and_a_command_of_ones_own_has_the_terminal() -> Result<()> {
    let options = SiteOptions {
        controller: false,
        ..SiteOptions::default()
    };
    let site = Site::start(options).await?;
    let Some(ui) = Terminal::open(100, 30, site.cluster.kubeconfig())? else {
        return site.stop().await;
    };
    ui.has("skins/dusk.toml", "base = \"light\"\n")?;
    let run = "[\"sh\", \"-c\", \"echo lent in $1; exec sleep 60\", \"sh\", \"$CONTEXT\"]";
    let plugin = format!("[plugins.hang]\nkey = \"f6\"\non = \"all\"\nrun = {run}\n");
    // It dies and leaves the terminal as it needed that.
    let die =
        "[\"sh\", \"-c\", \"echo raw in $1; stty raw -echo; kill -9 $$\", \"sh\", \"$CONTEXT\"]";
    let die = format!("[plugins.die]\nkey = \"f7\"\non = \"all\"\nrun = {die}\n");
    ui.has("ui.toml", &format!("{plugin}{die}"))?;
    blocking(|| {
        ui.run("X=1")?;
        ui.enter(":settings")?;
        ui.press(&["Enter"])?;
        ui.shows("< dark >")?;
        ui.press(&["Right", "Right", "Right"])?;
        ui.shows("enter: bbctl config set theme dusk")?;
        ui.press(&["Enter"])?;
        ui.shows("theme is dusk")?;
        // The source is the file now.
        ui.shows(".bbctl/settings.toml")?;
        let kept = std::fs::read_to_string(ui._dir.path().join(".bbctl/settings.toml"))?;
        ensure!(kept == "theme = \"dusk\"\n", "{kept}");
        // Ctrl-C is a key of the command: it ends that and nothing else.
        ui.press(&["F6"])?;
        ui.shows("lent in ")?;
        ui.press(&["C-c"])?;
        ui.shows("enter: back to the dashboard")?;
        ui.press(&["Enter"])?;
        ui.shows("ended with -1")?;
        ui.press(&["Escape"])?;
        ui.until("the settings", |screen| !screen.contains("ended with -1"))?;
        // Enter ends the line that is waited for, and the shell has its terminal at the end.
        ui.press(&["F7"])?;
        // That of the command before stands there as well.
        ui.until("the end of the second", |screen| {
            screen.matches("enter: back to the dashboard").count() == 2
        })?;
        ui.press(&["Enter"])?;
        ui.shows("ended with -1")?;
        ui.press(&["Escape"])?;
        ui.until("the settings", |screen| !screen.contains("ended with -1"))?;
        ui.press(&["C-c"])?;
        ui.restored("0")?;
        // A file that is wrong ends it before the screen is taken.
        ui.has("ui.toml", &plugin.replace("f6", "d"))?;
        ui.enter("clear; bbctl ui; echo ended with $?")?;
        ui.press(&["Enter"])?;
        let wrong = ui.shows("ended with 2")?;
        ensure!(
            wrong.contains("ui.toml:2: `plugins.hang.key`") && wrong.contains("describe"),
            "{wrong}"
        );
        Ok(())
    })?;
    site.stop().await
}
