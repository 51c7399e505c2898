//! Turns a kubeconfig into a running controller.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::process::Spec;
use crate::roster::{Record, Roster};

/// How long a controller may take to end when it is asked to: it finishes the pass under way.
const GRACE: Duration = Duration::from_secs(10);
/// One that has lived this long has read its flags and its kubeconfig.
const SETTLED: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);

/// Starts `bb-controller` in the roster's folder under a name of choice, unless it runs there
/// from the executable as it is now. Further flags follow `--kubeconfig`.
///
/// # Errors
/// When its program is not built, or it ends at once.
pub async fn controller(
    roster: &Roster,
    name: &str,
    kubeconfig: &Path,
    flags: &[&str],
) -> Result<Record> {
    controller_with(roster, name, kubeconfig, flags, BTreeMap::new()).await
}

/// As [`controller`], with variables of its environment.
///
/// # Errors
/// As [`controller`].
pub async fn controller_with(
    roster: &Roster,
    name: &str,
    kubeconfig: &Path,
    flags: &[&str],
    env: BTreeMap<String, String>,
) -> Result<Record> {
    let program = paths::binary("bb-controller")?;
    controller_from(roster, name, &program, kubeconfig, flags, env).await
}

/// As [`controller_with`], from a program of choice.
///
/// # Errors
/// As [`controller`].
pub async fn controller_from(
    roster: &Roster,
    name: &str,
    program: &Path,
    kubeconfig: &Path,
    flags: &[&str],
    env: BTreeMap<String, String>,
) -> Result<Record> {
    if roster.is_current(name, program)
        && let Some(record) = roster.running(name)
    {
        return Ok(record);
    }
    roster.end(name, GRACE)?;
    let log = roster.dir().join("log");
    std::fs::create_dir_all(&log).with_context(|| format!("cannot make {}", log.display()))?;
    let mut args = vec!["--kubeconfig".to_owned(), kubeconfig.display().to_string()];
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let log = log.join(format!("{name}.log"));
    let record = roster.start(
        name,
        &Spec {
            program: program.to_path_buf(),
            args,
            env,
            log,
        },
    )?;
    let until = Instant::now() + SETTLED;
    while Instant::now() < until {
        if !record.is_alive() {
            bail!("{name} ended at once; {}", roster.tail(name));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(record)
}
