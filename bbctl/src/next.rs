//! Turns a command that is told to be typed next into one that does the same on the same cluster:
//! with the flags and the name that this run was given.

use crate::cli::Globals;
use crate::out::Out;

/// Commands that no flag about a cluster or a namespace changes.
const LOCAL: [&str; 3] = ["help", "config", "init"];

/// What a command of this run carries on to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// How the program was called, where it was not as `bbctl`.
    name: Option<String>,
    /// Which cluster is meant, as flags.
    cluster: Vec<String>,
    /// The namespace that was asked for, as a shell takes it.
    namespace: Option<String>,
}

impl Next {
    /// What the flags of a command line say, before settings fill in what they do not: those
    /// count for the next command as well.
    #[must_use]
    pub fn of(globals: &Globals, called: &str) -> Self {
        let mut cluster = Vec::new();
        if let Some(context) = &globals.context {
            cluster.push(format!(
                "--context {}",
                quoted(std::slice::from_ref(context))
            ));
        }
        if let Some(file) = &globals.kubeconfig {
            // From another folder as well.
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            let file = quoted(&[file.display().to_string()]);
            cluster.push(format!("--kubeconfig {file}"));
        }
        Self {
            name: Some(called.to_owned()).filter(|name| name != "bbctl"),
            cluster,
            namespace: globals.asked().map(|name| quoted(&[name.to_owned()])),
        }
    }

    /// A text whose commands, those of bbctl and kubectl in backticks, mean the same cluster and
    /// namespace as this one.
    #[must_use]
    pub fn carry(&self, text: &str) -> String {
        let parts = text.split('`').enumerate();
        let parts: Vec<String> = parts
            .map(|(at, part)| match at % 2 {
                1 => self.command(part),
                _ => part.to_owned(),
            })
            .collect();
        parts.join("`")
    }

    /// A line for a shell, with what its commands take to mean the same.
    #[must_use]
    pub fn command(&self, line: &str) -> String {
        let mut all = String::new();
        let mut start = 0;
        for (at, sign) in unquoted(line, &[" && ", " | "]) {
            all.push_str(&self.one(&line[start..at]));
            all.push_str(sign);
            start = at + sign.len();
        }
        all + &self.one(&line[start..])
    }

    /// One command of a line.
    fn one(&self, line: &str) -> String {
        // What follows is for another program.
        let end = unquoted(line, &[" -- "]).first().map(|(at, _)| *at);
        let (command, after) = line.split_at(end.unwrap_or(line.len()));
        let words: Vec<&str> = command.split_whitespace().collect();
        let (program, verb) = match words.as_slice() {
            [program @ ("bbctl" | "kubectl"), verb, ..] => (*program, *verb),
            _ => return line.to_owned(),
        };
        let name = match &self.name {
            Some(name) if program == "bbctl" => name,
            _ => program,
        };
        let mut all = command.replacen(program, name, 1);
        if !LOCAL.contains(&verb) && !words.contains(&"--help") {
            let says_where = words
                .iter()
                .any(|word| ["-n", "-A", "--namespace", "--all-namespaces"].contains(word));
            if let Some(namespace) = self.namespace.as_ref().filter(|_| !says_where) {
                all.push_str(&format!(" -n {namespace}"));
            }
            for flag in &self.cluster {
                all.push_str(&format!(" {flag}"));
            }
        }
        format!("{all}{after}")
    }
}

/// The signs that stand in a line for a shell outside of quotes, and where.
fn unquoted<'a>(line: &str, signs: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (None | Some('"'), '\\') => is_escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, _) => {
                let sign = signs.iter().find(|sign| line[at..].starts_with(**sign));
                found.extend(sign.map(|sign| (at, *sign)));
            }
        }
    }
    found
}

impl Out {
    /// Tells a person which command comes next: the words after `bbctl`, as a shell takes them.
    pub fn next(&mut self, words: &str) {
        self.next_line(&format!("bbctl {words}"));
    }

    /// The same of a whole line.
    pub fn next_line(&mut self, line: &str) {
        let line = self.carried().command(line);
        self.note(&format!("next: {line}"));
    }
}

/// Words as a shell takes them for the same words.
#[must_use]
pub fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let each = words
        .iter()
        .map(|word| match !word.is_empty() && word.chars().all(plain) {
            true => word.clone(),
            false => format!("'{}'", word.replace('\'', "'\\''")),
        });
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(called: &str) -> Next {
        let globals = Globals {
            context: Some("my lab".to_owned()),
            kubeconfig: Some("/k/config".into()),
            namespace: Some("acme".to_owned()),
            ..Globals::default()
        };
        Next::of(&globals, called)
    }

    #[test]
    fn a_command_means_the_same_cluster_and_namespace() {
        let flags = "--context 'my lab' --kubeconfig /k/config";
        for (line, want) in [
            (
                "bbctl wait instance/a",
                format!("bbctl wait instance/a -n acme {flags}"),
            ),
            (
                "bbctl wait instance/a -n b",
                format!("bbctl wait instance/a -n b {flags}"),
            ),
            ("bbctl get all -A", format!("bbctl get all -A {flags}")),
            (
                "kubectl explain network",
                format!("kubectl explain network -n acme {flags}"),
            ),
            (
                "cd a && bbctl apply --wait",
                format!("cd a && bbctl apply --wait -n acme {flags}"),
            ),
            (
                "curl x | bbctl apply -f -",
                format!("curl x | bbctl apply -f - -n acme {flags}"),
            ),
            (
                "bbctl instances exec a -- ls -n",
                format!("bbctl instances exec a -n acme {flags} -- ls -n"),
            ),
            // What stands in quotes, or is for another program, is no sign.
            (
                "bbctl wait -f 'a | b' -f 'it'\\''s && so'",
                format!("bbctl wait -f 'a | b' -f 'it'\\''s && so' -n acme {flags}"),
            ),
            (
                "bbctl instances exec a -- sh -c 'ls | wc'",
                format!("bbctl instances exec a -n acme {flags} -- sh -c 'ls | wc'"),
            ),
            (
                "bbctl instances exec a -- ls | wc -l",
                format!("bbctl instances exec a -n acme {flags} -- ls | wc -l"),
            ),
            (
                "bbctl apply -f 'a -- b' | cat",
                format!("bbctl apply -f 'a -- b' -n acme {flags} | cat"),
            ),
            ("bbctl help get", "bbctl help get".to_owned()),
            ("bbctl get --help", "bbctl get --help".to_owned()),
            ("ssh-add FILE", "ssh-add FILE".to_owned()),
            ("--yes", "--yes".to_owned()),
        ] {
            assert_eq!(next("bbctl").command(line), want);
        }
        let text = "see `bbctl get networks`, or use `-A`";
        let want = format!("see `bbctl get networks -n acme {flags}`, or use `-A`");
        assert_eq!(next("bbctl").carry(text), want);
    }

    #[test]
    fn a_namespace_is_quoted_as_a_context_is() {
        let globals = Globals {
            namespace: Some("a b; c".to_owned()),
            ..Globals::default()
        };
        let said = Next::of(&globals, "bbctl").command("bbctl get all");
        assert_eq!(said, "bbctl get all -n 'a b; c'");
    }

    #[test]
    fn a_command_has_the_name_that_this_one_was_called_by() {
        let said = next("kubectl bb").carry("`bbctl get all -A` and `kubectl get pods -A`");
        assert!(
            said.starts_with("`kubectl bb get all -A --context"),
            "{said}"
        );
        assert!(said.contains("`kubectl get pods -A --context"), "{said}");
    }

    #[test]
    fn without_flags_a_command_is_as_it_is_written() {
        let plain = Next::of(&Globals::default(), "bbctl");
        assert_eq!(plain, Next::default());
        let text = "`bbctl get all`, then `bbctl delete tenant/a`";
        assert_eq!(plain.carry(text), text);
        // A namespace of the settings counts for the next command by itself.
        let filled = Globals {
            namespace: Some("acme".to_owned()),
            namespace_from: Some("BBCTL_NAMESPACE".to_owned()),
            ..Globals::default()
        };
        assert_eq!(Next::of(&filled, "bbctl"), Next::default());
    }
}
