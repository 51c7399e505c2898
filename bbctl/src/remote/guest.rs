//! Turns an Instance and flags into the command line of OpenSSH's `ssh`, or into what is missing.

use crate::error::{Exit, Failure};
use crate::next::quoted;
use crate::object::{self, Object, text};

/// Default users of images, by the word that the image's name begins with.
const USERS: [(&str, &str); 10] = [
    ("almalinux", "almalinux"),
    ("alpine", "alpine"),
    ("amazonlinux", "ec2-user"),
    ("arch", "arch"),
    ("centos", "cloud-user"),
    ("debian", "debian"),
    ("fedora", "fedora"),
    ("opensuse", "opensuse"),
    ("rocky", "rocky"),
    ("ubuntu", "ubuntu"),
];

/// An instance that one can try to log in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// What its host key is kept under: an address comes to be another's, this does not.
    pub uid: String,
    /// Its first address.
    pub address: String,
    /// What may be in the way, in words.
    pub notes: Vec<String>,
}

/// What a person said about the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Who logs in.
    pub user: String,
    /// Where to, in place of the instance's address.
    pub address: Option<String>,
    /// The port there, where it is not the usual one.
    pub port: Option<u16>,
    /// A machine to go through, `[USER@]HOST[:PORT]`.
    pub via: Option<String>,
    /// The private key to use.
    pub identity: Option<String>,
    /// The file that ssh reads in place of `~/.ssh/config`.
    pub config: Option<String>,
    /// Where host keys are kept.
    pub known_hosts: String,
    /// What to run there; a shell, where it is empty.
    pub command: Vec<String>,
    /// Whether a terminal goes with it.
    pub terminal: Terminal,
}

/// Whether a command there has a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Terminal {
    /// As ssh decides.
    #[default]
    Usual,
    /// It has one.
    With,
    /// It has none, and nobody is asked for anything.
    Without,
}

/// The user that an instance's image lets in; none where its name does not tell.
#[must_use]
pub fn user(instance: &Object) -> Option<&'static str> {
    if text(instance, "/spec/type") == "Container" {
        return Some("root");
    }
    let image = text(instance, "/spec/image").to_ascii_lowercase();
    let named = USERS.iter().find(|(prefix, _)| image.starts_with(prefix));
    named.map(|(_, user)| *user)
}

/// Flags that name the namespace of an object.
#[must_use]
pub fn place(object: &Object) -> String {
    match object::namespace(object) {
        "" => String::new(),
        namespace => format!(" -n {namespace}"),
    }
}

/// What one needs of an instance to log in to it.
///
/// # Errors
/// When it does not run or has no address, with what to do.
pub fn guest(instance: &Object) -> Result<Guest, Failure> {
    let name = object::name(instance);
    let place = place(instance);
    let missing = |words: String| Failure::new(Exit::Failure, format!("instance/{name} {words}"));
    let stopped = text(instance, "/spec/power") == "Stopped";
    if stopped {
        return Err(missing("is shut down".to_owned())
            .hint(format!("`bbctl instances start {name}{place} --wait`")));
    }
    let ready = object::condition(instance, "Ready");
    let unready = ready
        .as_ref()
        .filter(|ready| ready.status != "True")
        .map(|ready| format!("{}: {}", ready.reason, ready.message));
    let address = text(instance, "/status/addresses/0/address");
    if address.is_empty() {
        let why = unready.unwrap_or_else(|| "nobody has looked at it yet".to_owned());
        return Err(missing(format!("has no address yet: {why}"))
            .hint(format!("`bbctl wait instance/{name}{place}`")));
    }
    let mut notes = Vec::new();
    notes.extend(unready.map(|why| format!("instance/{name} is not ready: {why}")));
    let keys = object::list(instance, "/spec/sshKeys");
    if keys.is_empty() {
        notes.push(format!(
            "instance/{name} was given no SSH key, and may let nobody in: add one to spec.sshKeys \
             (`bbctl instances edit {name}{place}`), which a virtual machine learns when it next \
             starts; a container has those that it was made with"
        ));
    }
    Ok(Guest {
        uid: instance.metadata.uid.clone().unwrap_or_default(),
        address,
        notes,
    })
}

/// The words for `ssh`, without its name.
#[must_use]
pub fn words(guest: &Guest, way: &Way) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |parts: &[&str]| words.extend(parts.iter().map(|part| (*part).to_owned()));
    if let Some(config) = &way.config {
        say(&["-F", config]);
    }
    // The key of a machine is kept under what the machine is, not under where it is.
    let file = way.known_hosts.replace('%', "%%").replace('"', "\\\"");
    say(&["-o", &format!("UserKnownHostsFile=\"{file}\"")]);
    say(&["-o", &format!("HostKeyAlias={}", guest.uid)]);
    say(&["-o", "StrictHostKeyChecking=accept-new"]);
    say(&["-o", "CheckHostIP=no"]);
    say(&["-o", "ConnectTimeout=15"]);
    // A connection that is open to this address may be one to another machine that has it, too.
    say(&["-o", "ControlMaster=no", "-o", "ControlPath=none"]);
    match way.terminal {
        Terminal::Usual => {}
        Terminal::With => say(&["-t"]),
        Terminal::Without => say(&["-T", "-o", "BatchMode=yes"]),
    }
    if let Some(identity) = &way.identity {
        say(&["-i", identity]);
    }
    if let Some(via) = &way.via {
        say(&["-J", via]);
    }
    if let Some(port) = way.port {
        say(&["-p", &port.to_string()]);
    }
    let address = way.address.as_ref().unwrap_or(&guest.address);
    say(&["-l", &way.user, "--", address]);
    if !way.command.is_empty() {
        say(&[&line(&way.command)]);
    }
    words
}

/// A command for the shell there. One word is a line of its own (`'ls | wc'`); more are what a
/// program is given, word by word.
#[must_use]
pub fn line(command: &[String]) -> String {
    match command {
        [one] => one.clone(),
        many => quoted(many),
    }
}

/// What to do where `ssh` itself failed, which its exit code 255 says.
#[must_use]
pub fn no_way(guest: &Guest, way: &Way) -> String {
    match (&way.via, &way.address) {
        (None, None) => format!(
            "if {} does not answer: a tenant's networks are reached from within, or through a \
             machine that is in one (--via [USER@]HOST), or by a tunnel (--address HOST:PORT); if \
             it refuses: --user names another user, -i another key",
            guest.address
        ),
        _ => "if it refuses: --user names another user, -i another key".to_owned(),
    }
}

/// The address of an instance's console in the web interface of its cluster.
#[must_use]
pub fn console(instance: &Object, endpoint: &str) -> Option<String> {
    let vmid = vmid(instance)?;
    let node = text(instance, "/status/node");
    let name = object::name(instance);
    let kind = match text(instance, "/spec/type").as_str() {
        "Container" => "console=lxc&xtermjs=1",
        _ => "console=kvm&novnc=1",
    };
    let endpoint = endpoint.trim_end_matches('/');
    (!node.is_empty()).then(|| format!("{endpoint}/?{kind}&vmid={vmid}&vmname={name}&node={node}"))
}

/// The number of an instance's guest in its cluster.
#[must_use]
pub fn vmid(instance: &Object) -> Option<u32> {
    let id = text(instance, "/status/providerID");
    id.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn instance(spec: &Value, status: &Value) -> Object {
        serde_json::from_value(json!({"apiVersion": "bitbuilder.cloud/v1alpha1",
            "kind": "Instance", "metadata": {"name": "www", "namespace": "acme", "uid": "u-1"},
            "spec": spec, "status": status}))
        .unwrap()
    }

    fn there() -> Value {
        json!({"addresses": [{"name": "a", "address": "10.10.0.5"}], "node": "pve1",
            "providerID": "proxmox://c1/1001"})
    }

    #[test]
    fn an_image_tells_its_user_and_a_container_has_root() {
        for (spec, want) in [
            (json!({"image": "debian-12"}), Some("debian")),
            (json!({"image": "Ubuntu-24.04"}), Some("ubuntu")),
            (json!({"image": "golden"}), None),
            (
                json!({"image": "golden", "type": "Container"}),
                Some("root"),
            ),
        ] {
            assert_eq!(user(&instance(&spec, &json!({}))), want);
        }
    }

    #[test]
    fn what_is_missing_is_said_with_a_remedy() {
        let stopped = instance(&json!({"power": "Stopped"}), &there());
        let failure = guest(&stopped).unwrap_err();
        assert!(failure.hint.unwrap().contains("start www -n acme"));
        let waiting = json!({"conditions": [{"type": "Ready", "status": "False",
            "reason": "Pending", "message": "a clone is under way",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        let failure = guest(&instance(&json!({}), &waiting)).unwrap_err();
        assert!(
            failure.message.contains("a clone is under way"),
            "{failure}"
        );
        assert!(
            failure
                .hint
                .unwrap()
                .contains("bbctl wait instance/www -n acme")
        );
        let bare = guest(&instance(&json!({}), &there())).unwrap();
        assert!(bare.notes[0].contains("spec.sshKeys"), "{bare:?}");
        let good = guest(&instance(&json!({"sshKeys": ["ssh-ed25519 A"]}), &there())).unwrap();
        assert!(good.notes.is_empty(), "{good:?}");
    }

    #[test]
    fn a_host_key_belongs_to_the_machine_whatever_its_address() {
        let guest = guest(&instance(&json!({"sshKeys": ["k"]}), &there())).unwrap();
        let mut way = Way {
            user: "debian".to_owned(),
            known_hosts: "/home/al ice/50%/known_hosts".to_owned(),
            ..Way::default()
        };
        let said = words(&guest, &way).join(" ");
        assert!(said.contains("HostKeyAlias=u-1"), "{said}");
        assert!(said.contains("UserKnownHostsFile=\"/home/al ice/50%%/known_hosts\""));
        assert!(said.contains("ControlPath=none"), "{said}");
        assert!(said.ends_with("-l debian -- 10.10.0.5"), "{said}");
        way.address = Some("127.0.0.1".to_owned());
        way.port = Some(2222);
        way.via = Some("me@jump".to_owned());
        way.identity = Some("id".to_owned());
        way.command = vec!["ls".to_owned(), "a b".to_owned()];
        way.terminal = Terminal::Without;
        let said = words(&guest, &way).join(" ");
        assert!(
            said.ends_with(
                "-T -o BatchMode=yes -i id -J me@jump -p 2222 -l debian -- 127.0.0.1 ls 'a b'"
            ),
            "{said}"
        );
    }

    #[test]
    fn one_word_is_a_line_and_more_are_words() {
        let of = |words: &[&str]| line(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["ls | wc"]), "ls | wc");
        assert_eq!(
            of(&["echo", "it's", "", "$HOME"]),
            "echo 'it'\\''s' '' '$HOME'"
        );
    }

    #[test]
    fn a_console_is_at_its_cluster() {
        let machine = instance(&json!({}), &there());
        assert_eq!(
            console(&machine, "https://pve1:8006/").unwrap(),
            "https://pve1:8006/?console=kvm&novnc=1&vmid=1001&vmname=www&node=pve1"
        );
        let container = instance(&json!({"type": "Container"}), &there());
        assert!(
            console(&container, "https://x")
                .unwrap()
                .contains("console=lxc")
        );
        assert_eq!(
            console(&instance(&json!({}), &json!({})), "https://x"),
            None
        );
    }
}
