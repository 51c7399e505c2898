//! Turns objects and logs into the same without what nobody else should read.
//!
//! What is cut is decided by names and by forms that keys, tokens and passwords have. Neither is
//! complete: whoever passes the result on looks through it first.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// What stands where something was cut.
pub const CUT: &str = "*** cut by bbctl ***";

/// How often something was cut, by what and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts(pub BTreeMap<String, usize>);

impl Cuts {
    fn note(&mut self, why: &str) {
        *self.0.entry(why.to_owned()).or_default() += 1;
    }
}

/// Words that make the name of a field one of a secret, without regard to case, `-` and `_`.
const SECRET: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "presharedkey",
    "authorization",
    "cookie",
    "userdata",
    "cloudinit",
];
/// Names of fields that have such a word in them and hold none.
const HARMLESS: [&str; 5] = [
    "automountserviceaccounttoken",
    "serviceaccounttoken",
    "tokenexpirationseconds",
    "imagepullsecrets",
    "secretkeyref",
];
/// Variables of a controller that hold no secret; the value of each other one is cut.
const SHOWN: [&str; 7] = [
    "RUST_LOG",
    "POD_NAME",
    "POD_NAMESPACE",
    "BB_NAMESPACE",
    "BB_METRICS",
    "BB_METRICS_AUTH",
    "BB_LEADER_ELECT",
];
/// A copy of the object as somebody applied it, with all that is cut elsewhere.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Forms that secrets have: what is found, and what stays of it.
static FORMS: LazyLock<Vec<(&'static str, Regex, &'static str)>> = LazyLock::new(|| {
    let all = [
        (
            "a private key",
            r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
            "",
        ),
        (
            "a token of Proxmox VE",
            r"(?P<keep>[A-Za-z0-9._-]+@[A-Za-z0-9._-]+![A-Za-z0-9._-]+=)[^\s\x22',;&]+",
            "$keep",
        ),
        (
            "a ticket of Proxmox VE",
            r"(?P<keep>PVEAuthCookie=|PVE:[A-Za-z0-9._-]+@[A-Za-z0-9._-]+:)[^\s\x22',;]+",
            "$keep",
        ),
        (
            "a bearer token",
            r"(?i)(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}",
            "$keep",
        ),
        (
            "a token of Kubernetes",
            r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
            "",
        ),
        (
            "a password in an address",
            r"(?P<keep>[a-z][a-z0-9+.-]*://[^/\s:@\x22]+:)[^/\s@\x22]+@",
            "$keep",
        ),
        (
            "a hash of a password",
            r"\$(?:1|2[aby]|5|6|y)\$[A-Za-z0-9./$,=]{8,}",
            "",
        ),
        (
            "a value that is named so",
            r#"(?i)(?P<keep>\b[a-z0-9_-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|psk)\\?["']?\s*[:=]\s*\\?["']?)[^\s"',;&\\]+"#,
            "$keep",
        ),
        (
            "a key of a router",
            r"(?i)(?P<keep>(?:^|[?&\s])key=)[^\s\x22',;&]+",
            "$keep",
        ),
    ];
    let compiled = all.into_iter().map(|(what, form, keep)| {
        let form = Regex::new(form).expect("a form of ours is a form");
        (what, form, keep)
    });
    compiled.collect()
});

/// Cuts what has the form of a secret out of a text.
#[must_use]
pub fn text(text: &str, cuts: &mut Cuts) -> String {
    if text.trim_start().starts_with("#cloud-config") {
        cuts.note("data for cloud-init");
        return CUT.to_owned();
    }
    let mut text = text.to_owned();
    for (what, form, keep) in FORMS.iter() {
        let found = form.find_iter(&text).filter(|m| !m.as_str().ends_with(CUT));
        let count = found.count();
        if count == 0 {
            continue;
        }
        let replaced = form.replace_all(&text, format!("{keep}{CUT}").as_str());
        text = replaced.into_owned();
        for _ in 0..count {
            cuts.note(what);
        }
    }
    text
}

/// Cuts out of an object what is secret by its name or form, and what repeats it.
pub fn object(value: &mut Value, cuts: &mut Cuts) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        let notes = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut);
        if notes.is_some_and(|notes| notes.remove(APPLIED).is_some()) {
            cuts.note("a copy of the object as it was applied");
        }
    }
    walk(value, cuts);
}

fn walk(value: &mut Value, cuts: &mut Cuts) {
    match value {
        Value::String(words) => {
            let left = text(words, cuts);
            *words = left;
        }
        Value::Array(list) => list.iter_mut().for_each(|value| walk(value, cuts)),
        Value::Object(fields) => {
            for (name, below) in fields.iter_mut() {
                if name == "env" {
                    variables(below, cuts);
                } else if is_secret(name) && !below.is_null() && !below.is_boolean() {
                    cuts.note(&format!("a field {name}"));
                    *below = Value::String(CUT.to_owned());
                } else {
                    walk(below, cuts);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cuts the values of a container's variables, but for those that are known to be harmless.
fn variables(list: &mut Value, cuts: &mut Cuts) {
    for variable in list.as_array_mut().into_iter().flatten() {
        let shown = variable["name"]
            .as_str()
            .is_some_and(|name| SHOWN.contains(&name));
        if let Some(value) = variable.get_mut("value").filter(|_| !shown) {
            cuts.note("a variable of a container");
            *value = Value::String(CUT.to_owned());
        }
        walk(variable, cuts);
    }
}

fn is_secret(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|c| *c != '-' && *c != '_')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    !HARMLESS.contains(&plain.as_str()) && SECRET.iter().any(|word| plain.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cut(words: &str) -> String {
        text(words, &mut Cuts::default())
    }

    #[test]
    fn forms_of_secrets_are_cut_and_what_is_around_them_stays() {
        let uuid = "5f1dc0de-1ab0-4000-a000-0000b17b111d";
        let cases = [
            (format!("PVEAPIToken=op@pve!lab={uuid} sent"), vec![uuid]),
            (format!("token \"op@pve!lab={uuid}\""), vec![uuid]),
            (
                "Authorization: Bearer abcdef.ghi-jkl".to_owned(),
                vec!["abcdef"],
            ),
            (
                "x eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJr.c2ln-bmF0 y".to_owned(),
                vec!["eyJ", "bmF0"],
            ),
            ("https://u:s3cret@r1/x".to_owned(), vec!["s3cret"]),
            ("data=%7B%7D&key=key-of-r1".to_owned(), vec!["key-of-r1"]),
            (r#"{"password":"hunter2"}"#.to_owned(), vec!["hunter2"]),
            (r#"{\"api_key\":\"hunter2\"}"#.to_owned(), vec!["hunter2"]),
            ("passwd: hunter2, and so on".to_owned(), vec!["hunter2"]),
            (
                "PVEAuthCookie=PVE:root@pam:65F::abc/d==".to_owned(),
                vec!["abc/d"],
            ),
            (
                "hash $6$saltsalt$abcdefgh.ijk end".to_owned(),
                vec!["saltsalt"],
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----".to_owned(),
                vec!["MIIE"],
            ),
            ("-----BEGIN PRIVATE KEY-----\nMIIE".to_owned(), vec!["MIIE"]),
            (
                "#cloud-config\nchpasswd: {list: [a]}".to_owned(),
                vec!["chpasswd"],
            ),
        ];
        for (words, secrets) in cases {
            let mut cuts = Cuts::default();
            let left = text(&words, &mut cuts);
            for secret in secrets {
                assert!(!left.contains(secret), "{words}: {left}");
            }
            assert!(left.contains(CUT) && !cuts.0.is_empty(), "{words}: {left}");
        }
        assert!(cut("token op@pve!lab=abc").contains("op@pve!lab="));
        assert!(cut("passwd: hunter2, and so on").contains(", and so on"));
    }

    #[test]
    fn what_is_cut_once_stays_as_it_is() {
        for words in ["password=hunter2 x", "Bearer abcdefgh", "a@b!c=d", "&key=k"] {
            let once = cut(words);
            let mut cuts = Cuts::default();
            assert_eq!(
                text(&once, &mut cuts).matches(CUT).count(),
                once.matches(CUT).count()
            );
        }
    }

    #[test]
    fn what_is_no_secret_is_not_cut() {
        for words in [
            "Provider r1 does not answer: no answer to /retrieve within 5.0 s",
            "secret/r1 is not there",
            "uid 5f1dc0de-1ab0-4000-a000-0000b17b111d",
            "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "10.20.0.0/23 and 2001:db8::1",
        ] {
            let mut cuts = Cuts::default();
            assert_eq!(text(words, &mut cuts), words);
            assert_eq!(cuts, Cuts::default());
        }
    }

    #[test]
    fn fields_are_cut_by_their_names_and_variables_unless_they_are_known() {
        let mut value = json!({
            "metadata": {
                "managedFields": [1],
                "annotations": {APPLIED: "{\"password\": 1}", "a": "b"},
            },
            "spec": {
                "userData": {"users": ["x"]},
                "cloud-init": "y",
                "credentials": {"secret": "r1"},
                "automountServiceAccountToken": true,
                "env": [
                    {"name": "RUST_LOG", "value": "info"},
                    {"name": "OTHER", "value": "hunter2"},
                    {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                ],
                "api_key": 7,
            },
        });
        let mut cuts = Cuts::default();
        object(&mut value, &mut cuts);
        assert_eq!(
            value,
            json!({
                "metadata": {"annotations": {"a": "b"}},
                "spec": {
                    "userData": CUT,
                    "cloud-init": CUT,
                    "credentials": {"secret": "r1"},
                    "automountServiceAccountToken": true,
                    "env": [
                        {"name": "RUST_LOG", "value": "info"},
                        {"name": "OTHER", "value": CUT},
                        {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    ],
                    "api_key": CUT,
                },
            })
        );
        assert_eq!(cuts.0.values().sum::<usize>(), 5);
    }
}
