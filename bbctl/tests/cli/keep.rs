//! Files of one's own, written by many processes at once.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bb_vyos::Secret;
use bbctl::start::vault::{Opener, Vault};

const WORDS: &str = "correct horse battery";

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the folder is ours");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .expect("the file is ours");
}

fn begin(home: &Path, name: &str) -> Child {
    let key = home.join(format!("{name}.key"));
    private(&key, &format!("s3cret-of-{name}\n"));
    Command::new(env!("CARGO_BIN_EXE_bbctl"))
        .args([
            "providers",
            "add",
            name,
            "--vyos",
            "https://192.0.2.1",
            "--region",
            "home",
        ])
        .args([
            "--router-id",
            "10.255.0.1",
            "--sha256",
            "AB",
            "--no-apply",
            "--key-file",
        ])
        .arg(&key)
        .env_clear()
        .env("HOME", home)
        .env("BBCTL_PASSPHRASE_FILE", home.join("words"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bbctl is built")
}

#[test]
fn many_at_once_lose_nothing_and_spoil_nothing() {
    let home = tempfile::tempdir().unwrap();
    private(&home.path().join("words"), WORDS);
    let names: Vec<String> = (1..=12).map(|number| format!("r{number}")).collect();
    // The first decides on the salt; all others come at once.
    let first = begin(home.path(), &names[0]).wait_with_output().unwrap();
    assert!(first.status.success(), "{first:?}");
    let children: Vec<Child> = names[1..]
        .iter()
        .map(|name| begin(home.path(), name))
        .collect();
    for child in children {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        assert!(
            !said.contains("s3cret") && !said.contains("battery"),
            "{said}"
        );
    }
    let folder = home.path().join(".bbctl");
    let path = folder.join("credentials.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut vault = Vault::parse(Some(&text), &path).unwrap();
    let key = vault
        .open(&Opener::Passphrase(Secret::new(WORDS)), &path)
        .unwrap();
    for name in &names {
        let secrets = vault.get(&key, name, &path).unwrap();
        assert_eq!(secrets["key"].reveal(), format!("s3cret-of-{name}"));
    }
    let known = std::fs::read_to_string(folder.join("providers.toml")).unwrap();
    assert!(
        names
            .iter()
            .all(|name| known.contains(&format!("[provider.{name}]"))),
        "{known}"
    );
    // Nothing is left lying about, and nobody else can read what is there.
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(
            ["credentials.toml", "providers.toml", ".lock"].contains(&name.as_str()),
            "{name}"
        );
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let mode = std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

#[test]
fn settings_that_many_set_at_once_are_all_there() {
    let home = tempfile::tempdir().unwrap();
    let all = [
        ("namespace", "acme"),
        ("context", "lab"),
        ("output", "wide"),
        ("timeout", "7s"),
        ("kubeconfig", "/nowhere/config"),
    ];
    let begin = |(name, value): &(&str, &str)| {
        Command::new(env!("CARGO_BIN_EXE_bbctl"))
            .args(["config", "set", name, value])
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bbctl is built")
    };
    let children: Vec<Child> = all.iter().cycle().take(20).map(begin).collect();
    for child in children {
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    let text = std::fs::read_to_string(home.path().join(".bbctl/settings.toml")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut wanted: Vec<String> = all.iter().map(|(n, v)| format!("{n} = \"{v}\"")).collect();
    wanted.sort_unstable();
    assert_eq!(lines, wanted);
}
