//! Turns the name of a shell into a script that has bbctl complete command lines in it.

use clap::ValueEnum;

use crate::cli;
use crate::complete::candidates;
use crate::error::{Exit, Failure};
use crate::out::Out;

const EXAMPLES: &str = "\
Examples:
  source <(bbctl completion bash)
  bbctl completion zsh > ~/.zfunc/_bbctl
  bbctl completion fish > ~/.config/fish/completions/bbctl.fish

Names of objects are asked for, and left out where the server does not answer at once.";

/// What `bbctl completion` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// bash, zsh, fish or powershell
    #[arg(value_name = "SHELL", value_enum, hide_possible_values = true)]
    pub shell: Shell,
}

/// A shell whose command lines can be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

/// What the script of a shell calls: the words so far, the last one being completed.
#[derive(Debug, clap::Args)]
pub struct Words {
    /// The words after the program's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

const BASH: &str = r#"_bbctl() {
    local IFS=$'\n'
    COMPREPLY=($(bbctl __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -o nosort -F _bbctl bbctl
"#;

const ZSH: &str = r#"#compdef bbctl
_bbctl() {
    local -a found
    found=("${(@f)$(bbctl __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then compadd -V bbctl -a found; else _files; fi
}
if [[ "${funcstack[1]}" == _bbctl ]]; then _bbctl "$@"; else compdef _bbctl bbctl; fi
"#;

const FISH: &str = r#"complete --command bbctl --keep-order --arguments "(bbctl __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)"
"#;

const POWERSHELL: &str = r#"Register-ArgumentCompleter -Native -CommandName bbctl -ScriptBlock {
    param($word, $ast, $at)
    $words = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
    if ($word -eq '') { $words += '""' }
    bbctl __complete -- @words 2>$null | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }
}
"#;

/// Writes the script; no server is asked.
///
/// # Errors
/// When stdout is closed.
pub fn run(args: &Args, out: &mut Out) -> Result<Exit, Failure> {
    let script = match args.shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        Shell::Powershell => POWERSHELL,
    };
    out.raw(script.as_bytes())?;
    Ok(Exit::Ok)
}

/// Writes what could stand where the last word stands, one a line.
///
/// # Errors
/// When stdout is closed.
pub async fn complete(words: &Words, out: &mut Out) -> Result<Exit, Failure> {
    let mut words = words.words.clone();
    // PowerShell drops an empty word on the way to a program.
    if let Some(last) = words.last_mut().filter(|last| *last == "\"\"") {
        last.clear();
    }
    let env = out.env().clone();
    for word in candidates(&cli::command(cli::WIDEST, None), &words, &env).await {
        out.line(&word)?;
    }
    Ok(Exit::Ok)
}

/// Writes the same for `kubectl bb`, which takes the form that Cobra gives it.
///
/// # Errors
/// When stdout is closed.
pub async fn complete_for_kubectl(words: &Words, out: &mut Out) -> Result<Exit, Failure> {
    complete(words, out).await?;
    // Zero: nothing special about them; files where there are none.
    out.line(":0")?;
    Ok(Exit::Ok)
}
