//! Turns texts with ids, paths and numbers in them into the class of text they are.

/// Characters a word of a path, an id or a UPID is made of.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:/!@>".contains(c)
}

/// Replaces what differs from run to run: UPIDs, digests, UUIDs, MACs, paths, numbers.
pub(crate) fn normalise(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if is_word(c) {
            word.push(c);
            continue;
        }
        out.push_str(&class(&word));
        word.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}

fn class(word: &str) -> String {
    let is_hex = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_hexdigit());
    if word.starts_with("UPID:") {
        return "<upid>".to_owned();
    }
    if word.len() == 40 && is_hex(word) {
        return "<digest>".to_owned();
    }
    if word.len() == 36 && word.split('-').count() == 5 && word.split('-').all(is_hex) {
        return "<uuid>".to_owned();
    }
    if word.split(':').count() == 6 && word.split(':').all(|p| p.len() == 2 && is_hex(p)) {
        return "<mac>".to_owned();
    }
    if word.starts_with('/') && word.len() > 1 && !word.starts_with("/vms") {
        let api = ["/storage/", "/sdn/", "/nodes/", "/pool/", "/access"];
        if !api.iter().any(|p| word.starts_with(p)) {
            return "<path>".to_owned();
        }
    }
    let mut out = String::new();
    let mut digits = false;
    for c in word.chars() {
        if c.is_ascii_digit() {
            if !digits {
                out.push_str("<n>");
            }
            digits = true;
        } else {
            digits = false;
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_two_runs_are_of_one_class() {
        assert_eq!(
            normalise("can't lock file '/var/lock/qemu-server/lock-300.conf' - got timeout"),
            normalise("can't lock file '/run/lock/x.lock' - got timeout")
        );
        assert_eq!(
            normalise("VM 110 already exists"),
            normalise("VM 7 already exists")
        );
        assert_ne!(
            normalise("VM 110 already running"),
            normalise("VM 110 not running")
        );
        assert_ne!(
            normalise("Permission check failed (/vms/1, VM.Audit)"),
            normalise("Permission check failed (/storage/local, VM.Audit)")
        );
    }
}
