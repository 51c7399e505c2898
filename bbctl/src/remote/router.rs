//! Turns the way into a router by SSH into checks, each failure with a remedy. Nothing is changed
//! there.

use std::time::Duration;

use super::known::{self, Expected, Judgement};
use super::login::{Answer, Entry, Greeted, Means, greet};
use crate::checks::{Check, Verdict, fit, reach};

/// The checks in the order in which each builds on the one before.
pub const NAMES: [&str; 5] = [
    "ssh-reach",
    "ssh-host-key",
    "ssh-login",
    "ssh-version",
    "ssh-configure",
];

/// Runs op-mode commands for who has no terminal: `show` by itself is a word of the interactive
/// shell alone.
const SHOW_VERSION: &str = "/opt/vyatta/bin/vyatta-op-cmd-wrapper show version";
/// Who is in this group may configure.
const ADMINS: &str = "vyattacfg";

/// A router to log in to.
pub struct Subject {
    /// Its name or address, without brackets.
    pub host: String,
    /// Where SSH listens.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// How.
    pub means: Means,
    /// What its host key has to be.
    pub expected: Expected,
    /// How long each answer may take.
    pub patience: Duration,
}

/// What is told where SSH was not asked for.
#[must_use]
pub fn untried() -> Check {
    Check {
        name: "ssh",
        status: Verdict::Skip,
        detail: "not tried; --ssh does, and a router works without it".to_owned(),
        remedy: None,
    }
}

/// Looks whether one can log in, and what one may do then.
pub async fn examine(subject: &Subject) -> Vec<Check> {
    let mut found = look(subject).await;
    let rest = NAMES.iter().skip(found.len());
    found.extend(rest.map(|name| Check {
        name,
        status: Verdict::Skip,
        detail: "not looked at, as an earlier check failed".to_owned(),
        remedy: None,
    }));
    found
}

fn pass(name: &'static str, detail: impl Into<String>) -> Check {
    Check {
        name,
        status: Verdict::Pass,
        detail: detail.into(),
        remedy: None,
    }
}

fn fail(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check {
        name,
        status: Verdict::Fail,
        detail: detail.into(),
        remedy: Some(remedy.into()),
    }
}

async fn look(subject: &Subject) -> Vec<Check> {
    let [reached, host_key, login, version, configure] = NAMES;
    let mut found = Vec::new();
    let place = match subject.host.contains(':') {
        true => format!("[{}]:{}", subject.host, subject.port),
        false => format!("{}:{}", subject.host, subject.port),
    };
    let patience = subject.patience;
    if let Err(words) = reach(&place, patience).await {
        let remedy = "check the address, the way there and its firewall; on the router, `show \
                      configuration commands | match 'service ssh'` shows whether and where SSH \
                      listens; `set service ssh` makes it listen";
        found.push(fail(reached, format!("{place}: {words}"), remedy));
        return found;
    }
    let expected = subject.expected.clone();
    let mut greeted = match greet(&subject.host, subject.port, expected, patience).await {
        Ok(greeted) => greeted,
        Err(words) => {
            let remedy = "check that it is SSH that listens there (`set service ssh port`), and that \
                          it offers a host key of type ed25519 or ecdsa";
            let detail = format!("{place} takes connections and then: {words}");
            found.push(fail(reached, detail, remedy));
            return found;
        }
    };
    found.push(pass(reached, format!("{place} speaks SSH")));
    let judged = host(host_key, &greeted, subject);
    let known = judged.status == Verdict::Pass;
    found.push(judged);
    if !known {
        return found;
    }
    let entry = greeted
        .log_in(&subject.user, &subject.means, patience)
        .await;
    let entered = entered(login, entry, subject);
    let is_in = entered.status == Verdict::Pass;
    found.push(entered);
    if is_in {
        let said = greeted.run(SHOW_VERSION, patience).await;
        found.push(runs(version, said));
        let said = greeted.run("id -Gn", patience).await;
        found.push(may_configure(configure, said, &subject.user));
    }
    greeted.leave().await;
    found
}

fn host(name: &'static str, greeted: &Greeted, subject: &Subject) -> Check {
    let print = known::fingerprint(&greeted.key);
    let compare = "on the router's console, `sudo ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` \
                   shows it (or `..._ecdsa_key.pub`)";
    match &greeted.judgement {
        Judgement::Known(by) => pass(name, format!("{print}, as {by} says")),
        Judgement::Changed(who) => fail(
            name,
            format!("it is {print}, but {who}"),
            format!(
                "nothing was sent to it. {compare}: if that is the same, the router was made anew; \
                 correct the pin or remove the line. Else somebody is in between"
            ),
        ),
        Judgement::Revoked(who) => fail(
            name,
            format!("it is {print}, and {who}"),
            "nothing was sent to it. Somebody else may have its key: give the router another \
             (`generate ssh server-key` there), and trust that one",
        ),
        Judgement::Unknown(said) => fail(
            name,
            match said.as_str() {
                "" => format!("it is {print}, and nobody said what it should be"),
                said => format!("it is {print}; {said}"),
            },
            format!(
                "nothing was sent to it. {compare}: if that is the same, pin it with --ssh-host-key \
                 {print}, or with this line in {}: {}",
                subject.expected.file,
                known::line(&subject.host, subject.port, &greeted.key)
            ),
        ),
    }
}

fn entered(name: &'static str, entry: Result<Entry, String>, subject: &Subject) -> Check {
    let user = &subject.user;
    match entry {
        Ok(Entry::In(by)) => pass(name, format!("{user} logs in with {by}")),
        Ok(Entry::Refused(words)) => {
            let remedy = match &subject.means {
                Means::Password(_) => format!(
                    "check user and password; `set system login user {user} authentication \
                     plaintext-password` sets one, and `service ssh disable-password-authentication` \
                     takes none at all"
                ),
                Means::Key(_) | Means::Agent(_) => format!(
                    "on the router: `set system login user {user} authentication public-keys NAME \
                     type TYPE` and `... key KEY`, then `commit` and `save`; --ssh-user names \
                     another user"
                ),
            };
            fail(name, words, remedy)
        }
        Err(words) => fail(
            name,
            words,
            "try again; an agent that does not answer, or that has more keys than one may try \
             there (six), is left out with --ssh-key or --ssh-password-file",
        ),
    }
}

/// The version that `show version` tells.
fn told(text: &str) -> Option<&str> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("Version:").map(str::trim))
}

fn runs(name: &'static str, said: Result<Answer, String>) -> Check {
    let remedy = "log in and see what `show version` says; a user with a restricted shell may run \
                  nothing";
    let answer = match said {
        Ok(answer) => answer,
        Err(words) => return fail(name, words, remedy),
    };
    match told(&answer.text) {
        Some(version) => fit(name, "it", version.trim_start_matches("VyOS ")),
        None => fail(
            name,
            format!("`show version` tells no version: {}", first(&answer)),
            remedy,
        ),
    }
}

fn may_configure(name: &'static str, said: Result<Answer, String>, user: &str) -> Check {
    let remedy = format!(
        "log in as another (--ssh-user), or, as an admin: `delete system login user {user} \
         operator`, then `commit` and `save`"
    );
    match said {
        Ok(answer)
            if answer.code == Some(0)
                && answer.text.split_whitespace().any(|group| group == ADMINS) =>
        {
            pass(
                name,
                format!("{user} is in group {ADMINS} and may configure"),
            )
        }
        Ok(answer) => fail(
            name,
            format!(
                "{user} may not configure: it is not in group {ADMINS}: {}",
                first(&answer)
            ),
            remedy,
        ),
        Err(words) => fail(name, words, remedy),
    }
}

/// The first line of an answer, and how it ended.
fn first(answer: &Answer) -> String {
    let line = answer.text.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("it said nothing").trim();
    match answer.code {
        Some(0) => line.to_owned(),
        Some(code) => format!("{line} (exit code {code})"),
        None => format!("{line} (without an exit code)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str, code: u32) -> Result<Answer, String> {
        Ok(Answer {
            text: text.to_owned(),
            code: Some(code),
        })
    }

    #[test]
    fn versions_and_groups_are_read_from_what_is_said() {
        let good = runs(
            "v",
            answer("Version:          VyOS 1.5-rolling-202410220007\n", 0),
        );
        assert_eq!(good.status, Verdict::Pass, "{good:?}");
        assert!(good.detail.contains("1.5-rolling"));
        let old = runs("v", answer("Version:          VyOS 1.3.8\n", 0));
        assert!(old.remedy.is_some(), "{old:?}");
        let none = runs("v", answer("vbash: no such file\n", 127));
        assert!(none.detail.contains("exit code 127"), "{none:?}");
        let admin = may_configure("c", answer("users vyattacfg\n", 0), "vyos");
        assert_eq!(admin.status, Verdict::Pass);
        for said in [
            answer("users vyattacfgs\n", 0),
            answer("", 0),
            answer("vyattacfg", 1),
        ] {
            assert_eq!(may_configure("c", said, "vyos").status, Verdict::Fail);
        }
    }
}
