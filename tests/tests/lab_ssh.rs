//! Logging in: to a stand-in router by `bbctl test-vyos`, without a management cluster.
#![allow(clippy::too_many_lines, reason = "a table is as long as it is")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use bb_lab_vyos::{Config, Running, VyosLab};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const PASSWORD: &str = "correct-horse-7391";
/// A key of a type that the stand-in does not have.
const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCpSUAlKO+GhB4hPWglK2L3IEYz9LbB51rvf2bnl5OmkSZLZ2\
                   Trd3yk9Lpr+q+qPwOOvRLQyJ2JPlhwXcAuCc5D1x6AZz1cDzDDbr5YWiA/GL3CXFnPDKOC9d2p0Mp3dbNl\
                   6GTQNq7PCoYOJ63oSRq0NZJLQI5cn6WRSzuVF0V0Xw==";
const BOUND: std::time::Duration = std::time::Duration::from_secs(60);

/// A folder with a key pair in it, `id` and `id.pub`.
struct Keys(tempfile::TempDir);

impl Keys {
    async fn make() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("id");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"])
            .arg(&file)
            .status()
            .await
            .context("this test takes OpenSSH's ssh-keygen")?;
        ensure!(made.success(), "ssh-keygen: {made}");
        Ok(Self(dir))
    }

    fn private(&self) -> PathBuf {
        self.0.path().join("id")
    }

    fn public(&self) -> Result<(String, String)> {
        let text = std::fs::read_to_string(self.0.path().join("id.pub"))?;
        let mut words = text.split_whitespace().map(str::to_owned);
        Ok((
            words.next().context("a type")?,
            words.next().context("a key")?,
        ))
    }
}

/// A router that `vyos` may configure and `eve` may look at, each with a password, and a key of
/// the former.
async fn router(name: &str, keys: &Keys) -> Result<Running> {
    let (kind, key) = keys.public()?;
    let mut config = Config::new(name, "the-key");
    config.ssh = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let password = json!({"plaintext-password": PASSWORD});
    config.seed = json!({"service": {"ssh": {}}, "system": {"login": {"user": {
        "vyos": {"authentication": {"plaintext-password": PASSWORD,
            "public-keys": {"lab": {"type": kind, "key": key}}}},
        "eve": {"authentication": password, "operator": {}}}}}});
    VyosLab::start(config).await
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    /// The command line, as everybody on the machine sees it.
    seen: String,
}

/// Runs `bbctl test-vyos` at a home of its own.
async fn bbctl(words: &[&str], home: &Path, env: &[(&str, &str)], stdin: &str) -> Result<Ran> {
    let mut child = Command::new(paths::binary("bbctl")?)
        .arg("test-vyos")
        .args(words)
        .env_clear()
        .env("HOME", home)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().context("it runs")?;
    let mut seen = Vec::new();
    // It is empty until the program has begun. One that waits for its input is there until then.
    while seen.is_empty() && child.try_wait()?.is_none() {
        seen = std::fs::read(format!("/proc/{pid}/cmdline"))?;
        tokio::task::yield_now().await;
    }
    let mut input = child.stdin.take().context("a pipe")?;
    // One that reads nothing closes the pipe.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let output = tokio::time::timeout(BOUND, child.wait_with_output())
        .await
        .context("bbctl does not end")??;
    let ran = Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
        seen: String::from_utf8_lossy(&seen).into_owned(),
    };
    for text in [&ran.stdout, &ran.stderr, &ran.seen] {
        ensure!(!text.contains(PASSWORD), "a secret shows: {text}");
    }
    Ok(ran)
}

fn statuses(found: &Value) -> Vec<(&str, &str)> {
    let status = |name| {
        (
            name,
            found["checks"][name]["status"].as_str().unwrap_or("absent"),
        )
    };
    [
        "ssh-reach",
        "ssh-host-key",
        "ssh-login",
        "ssh-version",
        "ssh-configure",
    ]
    .map(status)
    .to_vec()
}

#[tokio::test]
async fn one_logs_in_to_a_router_by_key_password_and_agent() -> Result<()> {
    let keys = Keys::make().await?;
    let router = router("r1", &keys).await?;
    let address = router.ssh.context("it has SSH")?;
    let home = tempfile::tempdir()?;
    let ssh = format!("--ssh={address}");
    let pin = format!("--ssh-host-key={}", router.host_key.fingerprint());
    let key = format!("--ssh-key={}", keys.private().display());
    let file = home.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n"))?;
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let from_file = format!("--ssh-password-file={}", file.display());

    let by_key = bbctl(&[&ssh, &pin, &key], home.path(), &[], "").await?;
    assert_eq!(by_key.code, Some(0), "{}{}", by_key.stdout, by_key.stderr);
    assert_eq!(
        by_key.stdout.matches("PASS").count(),
        5,
        "{}",
        by_key.stdout
    );
    assert!(by_key.stdout.contains("1.5-rolling"), "{}", by_key.stdout);
    let by_file = bbctl(&[&ssh, &pin, &from_file], home.path(), &[], "").await?;
    assert_eq!(
        by_file.code,
        Some(0),
        "{}{}",
        by_file.stdout,
        by_file.stderr
    );
    let words = [ssh.as_str(), &pin, "--ssh-password-file=-"];
    let by_stdin = bbctl(&words, home.path(), &[], PASSWORD).await?;
    assert_eq!(
        by_stdin.code,
        Some(0),
        "{}{}",
        by_stdin.stdout,
        by_stdin.stderr
    );
    assert!(!by_stdin.seen.is_empty());

    // A line of known_hosts does as well as a pin.
    let folder = home.path().join(".ssh");
    std::fs::create_dir(&folder)?;
    let line = format!(
        "[127.0.0.1]:{} {}\n",
        address.port(),
        router.host_key.public()?
    );
    std::fs::write(folder.join("known_hosts"), line)?;
    let known = bbctl(&[&ssh, &key], home.path(), &[], "").await?;
    assert_eq!(known.code, Some(0), "{}{}", known.stdout, known.stderr);
    // Lines are as wide as a terminal: the words may be on two.
    let said: Vec<&str> = known.stdout.split_whitespace().collect();
    assert!(said.join(" ").contains("as line 1 of "), "{}", known.stdout);
    let hashed = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(folder.join("known_hosts"))
        .output()
        .await?;
    ensure!(hashed.status.success(), "ssh-keygen -H: {hashed:?}");
    let text = std::fs::read_to_string(folder.join("known_hosts"))?;
    ensure!(text.starts_with("|1|"), "{text}");
    let known = bbctl(&[&ssh, &key], home.path(), &[], "").await?;
    assert_eq!(known.code, Some(0), "{}{}", known.stdout, known.stderr);

    let socket = home.path().join("agent");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("this test takes OpenSSH's ssh-agent")?;
    while !socket.exists() {
        ensure!(agent.try_wait()?.is_none(), "ssh-agent ended");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let socket = socket.display().to_string();
    let env = [("SSH_AUTH_SOCK", socket.as_str())];
    let empty = bbctl(&[&ssh], home.path(), &env, "").await?;
    assert_eq!(empty.code, Some(1));
    assert!(
        empty.stdout.contains("the agent has no keys"),
        "{}",
        empty.stdout
    );
    let add = async |flag: &str, file: PathBuf| -> Result<()> {
        let mut command = Command::new("ssh-add");
        command.arg("-q").arg(flag).arg(file);
        let done = command.env("SSH_AUTH_SOCK", &socket).status().await?;
        ensure!(done.success(), "ssh-add: {done}");
        Ok(())
    };
    // More keys than one may try, the right one last.
    let others: Vec<Keys> = {
        let mut made = Vec::new();
        for _ in 0..8 {
            made.push(Keys::make().await?);
        }
        made
    };
    for other in &others {
        add("-k", other.private()).await?;
    }
    add("-k", keys.private()).await?;
    let many = bbctl(&[&ssh, "-o", "json"], home.path(), &env, "").await?;
    assert_eq!(many.code, Some(1), "{}{}", many.stdout, many.stderr);
    let found: Value = serde_json::from_str(&many.stdout)?;
    let login = &found["checks"]["ssh-login"];
    let says = |field: &str, words: &str| login[field].as_str().is_some_and(|s| s.contains(words));
    assert!(
        says("detail", "while the 9 keys of the agent were tried"),
        "{login}"
    );
    assert!(says("remedy", "more keys than one may try") && says("remedy", "--ssh-key"));
    for other in &others {
        add("-d", other.private()).await?;
    }
    let by_agent = bbctl(&[&ssh], home.path(), &env, "").await?;
    assert_eq!(
        by_agent.code,
        Some(0),
        "{}{}",
        by_agent.stdout,
        by_agent.stderr
    );
    agent.kill().await?;
    router.stop().await;
    Ok(())
}

#[tokio::test]
async fn each_way_of_not_getting_in_has_its_remedy_and_leaks_nothing() -> Result<()> {
    let (keys, other) = (Keys::make().await?, Keys::make().await?);
    let router = router("r1", &keys).await?;
    let address = router.ssh.context("it has SSH")?;
    let home = tempfile::tempdir()?;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.local_addr()?
    };
    let ssh = format!("--ssh={address}");
    let away = format!("--ssh={closed}");
    let pin = format!("--ssh-host-key={}", router.host_key.fingerprint());
    let changed = bb_lab_kit::ssh::HostKey::of("another");
    let wrong_pin = format!("--ssh-host-key={}", changed.fingerprint());
    let lines = home.path().join("hosts");
    let line = format!("[127.0.0.1]:{} {}\n", address.port(), changed.public()?);
    std::fs::write(&lines, line)?;
    let stale = format!("--ssh-known-hosts={}", lines.display());
    let lines = home.path().join("revoked");
    let own = router.host_key.public()?;
    let place = format!("[127.0.0.1]:{}", address.port());
    std::fs::write(&lines, format!("{place} {own}\n@revoked * {own}\n"))?;
    let revoked = format!("--ssh-known-hosts={}", lines.display());
    let lines = home.path().join("other");
    std::fs::write(&lines, format!("{place} {RSA}\n"))?;
    let other_type = format!("--ssh-known-hosts={}", lines.display());
    let key = format!("--ssh-key={}", keys.private().display());
    let wrong_key = format!("--ssh-key={}", other.private().display());
    let ask = "--ssh-password-file=-";
    // Flags, what is typed, the check that fails, and what its remedy names.
    let table: [(&[&str], &str, &str, &str); 10] = [
        (
            &[&ssh, &revoked, &pin, ask],
            PASSWORD,
            "ssh-host-key",
            "give the router another",
        ),
        (
            &[&ssh, &other_type, ask],
            PASSWORD,
            "ssh-host-key",
            &pin[2..],
        ),
        (
            &[&away, &pin, ask],
            PASSWORD,
            "ssh-reach",
            "set service ssh",
        ),
        (&[&ssh, ask], PASSWORD, "ssh-host-key", &pin[2..]),
        (
            &[&ssh, &wrong_pin, ask],
            PASSWORD,
            "ssh-host-key",
            "somebody is in between",
        ),
        (
            &[&ssh, &stale, ask],
            PASSWORD,
            "ssh-host-key",
            "remove the line",
        ),
        (
            &[&ssh, &pin, ask],
            "wrong",
            "ssh-login",
            "plaintext-password",
        ),
        (&[&ssh, &pin, &wrong_key], "", "ssh-login", "public-keys"),
        (
            &[&ssh, &pin, &key, "--ssh-user=mallory"],
            "",
            "ssh-login",
            "mallory",
        ),
        (
            &[&ssh, &pin, ask, "--ssh-user=eve"],
            PASSWORD,
            "ssh-configure",
            "operator",
        ),
    ];
    for (words, typed, check, remedy) in table {
        let words = [words, &["-o", "json"]].concat();
        let ran = bbctl(&words, home.path(), &[], typed).await?;
        assert_eq!(ran.code, Some(1), "{words:?}: {}{}", ran.stdout, ran.stderr);
        let found: Value = serde_json::from_str(&ran.stdout).context(ran.stdout.clone())?;
        let mut statuses = statuses(&found).into_iter();
        let (failed, _) = statuses.find(|(_, s)| *s != "pass").context("one fails")?;
        assert_eq!(failed, check, "{found}");
        assert_eq!(found["checks"][check]["status"], "fail", "{found}");
        assert!(statuses.all(|(_, status)| status == "skip"), "{found}");
        let said = found["checks"][check]["remedy"]
            .as_str()
            .unwrap_or_default();
        // The pin is one flag of two words in a remedy.
        assert!(said.contains(&remedy.replace('=', " ")), "{check}: {said}");
    }
    // One that asks for nothing of the kind is told that SSH was left out.
    let words = [
        "--endpoint",
        &router.api,
        "--key-file=-",
        "--sha256",
        &router.sha256,
    ];
    let ran = bbctl(&words, home.path(), &[], "the-key").await?;
    let line = ran.stdout.lines().filter(|line| line.contains("ssh"));
    assert_eq!(line.collect::<Vec<_>>().len(), 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("SKIP  ssh "), "{}", ran.stdout);
    // With nobody to ask, and no way in that was named.
    let nobody = bbctl(&[&ssh, &pin], home.path(), &[], "").await?;
    assert_eq!(nobody.code, Some(2), "{}", nobody.stderr);
    assert!(
        nobody.stderr.contains("--ssh-password-file"),
        "{}",
        nobody.stderr
    );
    router.stop().await;
    Ok(())
}

#[tokio::test]
async fn ssh_is_as_the_configuration_says() -> Result<()> {
    let keys = Keys::make().await?;
    let router = router("r1", &keys).await?;
    let address = router.ssh.context("it has SSH")?;
    let home = tempfile::tempdir()?;
    let ssh = format!("--ssh={address}");
    let pin = format!("--ssh-host-key={}", router.host_key.fingerprint());
    let words = [ssh.as_str(), &pin, "--ssh-password-file=-"];
    let type_in = |verb, path: &[&str]| {
        let path = path.iter().map(|word| (*word).to_owned()).collect();
        router.type_in(&[bb_lab_vyos::Edit { verb, path }])
    };
    let no_passwords = ["service", "ssh", "disable-password-authentication"];
    let done = type_in(bb_lab_vyos::Verb::Set, &no_passwords);
    ensure!(matches!(done, bb_lab_vyos::Outcome::Done(_)), "{done:?}");
    let refused = bbctl(&words, home.path(), &[], PASSWORD).await?;
    assert!(
        refused.stdout.contains("FAIL  ssh-login"),
        "{}",
        refused.stdout
    );
    let done = type_in(bb_lab_vyos::Verb::Delete, &["service", "ssh"]);
    ensure!(matches!(done, bb_lab_vyos::Outcome::Done(_)), "{done:?}");
    let off = bbctl(&words, home.path(), &[], PASSWORD).await?;
    assert!(off.stdout.contains("FAIL  ssh-reach"), "{}", off.stdout);
    router.stop().await;
    Ok(())
}
