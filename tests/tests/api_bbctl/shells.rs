//! Turns what `bbctl completion` writes into completions of zsh and fish themselves, of words and
//! of names that the API server knows.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use tokio::process::Command;

use crate::around::{BOUND, cluster, good, namespace, network};

/// A zsh as a person has it, whose line is told instead of run by Ctrl-X.
const ZSHRC: &str = r#"PROMPT= PS2= RPROMPT=
bindkey -e
fpath=(~/.zfunc $fpath)
autoload -Uz compinit
compinit -u -D
show() { print -r -- "<$BUFFER>"; BUFFER=; zle accept-line }
zle -N show
bindkey '^X' show
"#;
/// Types a line, a tab and Ctrl-X into it.
const TYPES: &str = r#"zmodload zsh/zpty
zpty z zsh -d -i
zpty -w -n z "$1"$'\t\x18'
zpty -r -m z said '*<*>*'
print -r -- "${${said##*\<}%%\>*}"
zpty -d z
"#;

#[derive(Clone, Copy, Debug)]
enum Shell {
    Zsh,
    Fish,
}

struct Home(tempfile::TempDir);

impl Home {
    /// A home in which both scripts are where the help says.
    async fn make() -> Result<Self> {
        let home = Self(tempfile::tempdir()?);
        let completions = home.path().join(".config/fish/completions");
        let functions = home.path().join(".zfunc");
        std::fs::create_dir_all(&completions)?;
        std::fs::create_dir_all(&functions)?;
        let script = async |shell: &str| good(&format!("completion {shell}"), "").await;
        std::fs::write(functions.join("_bbctl"), script("zsh").await?.stdout)?;
        std::fs::write(completions.join("bbctl.fish"), script("fish").await?.stdout)?;
        std::fs::write(home.path().join(".zshrc"), ZSHRC)?;
        Ok(home)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What a shell writes, with `bbctl` in its path.
    async fn runs(&self, shell: &str, words: &[&str]) -> Result<String> {
        let program = paths::binary("bbctl")?;
        let folder = program.parent().context("a folder")?;
        let usual = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(shell);
        command
            .args(words)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("TERM", "dumb")
            .env("PATH", format!("{}:{usual}", folder.display()))
            .env("KUBECONFIG", cluster().await?.kubeconfig())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(BOUND, command.output()).await;
        let output = output
            .with_context(|| format!("{shell} does not end"))?
            .with_context(|| format!("this test takes {shell}: scripts/tools.sh test"))?;
        ensure!(
            output.status.success() && output.stderr.is_empty(),
            "{shell}: {output:?}"
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// What becomes of a line that is begun, in zsh.
    async fn zsh(&self, line: &str) -> Result<String> {
        self.runs("zsh", &["-f", "-c", TYPES, "types", line]).await
    }

    /// What fish offers for the last word of a line, the one thing that there is.
    async fn fish(&self, line: &str) -> Result<String> {
        let ask = format!("complete --do-complete '{line}'");
        let found = self.runs("fish", &["-c", &ask]).await?;
        let before = line.rsplit_once(' ').map_or("", |(before, _)| before);
        Ok(format!("{before} {found}"))
    }

    /// Sees that a shell makes one line of another. Names have 200 ms, which a busy machine may
    /// need for something else: then it is asked again.
    async fn completes(&self, shell: Shell, begun: &str, whole: &str) -> Result<()> {
        let until = Instant::now() + BOUND;
        loop {
            let said = match shell {
                Shell::Zsh => self.zsh(begun).await?,
                Shell::Fish => self.fish(begun).await?,
            };
            if said == whole {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "{shell:?} makes {said:?} of {begun}"
            );
        }
    }
}

#[tokio::test]
async fn zsh_and_fish_complete_commands_flags_values_and_names() -> Result<()> {
    let file = format!(
        "{}{}",
        namespace("shells"),
        network("backbone", "10.0.0.0/24")
    );
    good("apply -n shells -f -", &file).await?;
    let home = Home::make().await?;
    for (begun, whole) in [
        ("bbctl netw", "bbctl networks"),
        ("bbctl instances rest", "bbctl instances restart"),
        (
            "bbctl get networks --all",
            "bbctl get networks --all-namespaces",
        ),
        ("bbctl get networks -o j", "bbctl get networks -o json"),
        (
            "bbctl get networks -n shells backb",
            "bbctl get networks -n shells backbone",
        ),
        (
            "bbctl -n shells describe network/ba",
            "bbctl -n shells describe network/backbone",
        ),
    ] {
        home.completes(Shell::Zsh, begun, whole).await?;
        home.completes(Shell::Fish, begun, whole).await?;
    }
    Ok(())
}
