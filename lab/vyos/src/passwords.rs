//! Turns plain passwords of a configuration into salted hashes, as committing them does.

use crate::tree::Node;
use sha2::{Digest as _, Sha512};

/// Replaces each plain password by a hash with a new salt; the plain leaf stays, empty.
///
/// The hash has the shape of the real one, not its algorithm.
pub(crate) fn hash(config: &mut Node) {
    let users: Vec<(String, String)> = config
        .below(&["system", "login", "user"])
        .filter_map(|(user, login)| {
            let plain = login.value(&["authentication", "plaintext-password"])?;
            (!plain.is_empty()).then(|| (user.to_owned(), plain.to_owned()))
        })
        .collect();
    for (user, plain) in users {
        let salt = format!("{:016x}", rand::random::<u64>());
        let path = ["system", "login", "user", &user, "authentication"];
        let login = config.make(&path);
        login.make(&["encrypted-password"]).values = vec![salted(&salt, &plain)];
        login.make(&["plaintext-password"]).values = vec![String::new()];
    }
}

fn salted(salt: &str, plain: &str) -> String {
    let digest = Sha512::digest(format!("{salt}{plain}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("$6${salt}${}", &hex[..86])
}

/// Whether a password is the one that [`hash`] made this of.
pub(crate) fn fits(plain: &str, hashed: &str) -> bool {
    let mut parts = hashed.split('$').skip(2);
    parts
        .next()
        .is_some_and(|salt| salted(salt, plain) == hashed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plain_password_does_not_stay() {
        let mut config = Node::from_json(
            &json!({"system": {"login": {"user": {"u": {"authentication":
                {"plaintext-password": "geheim"}}}}}}),
        );
        hash(&mut config);
        let text = config.to_json().to_string();
        assert!(!text.contains("geheim"));
        assert!(text.contains("$6$"));
        let path = [
            "system",
            "login",
            "user",
            "u",
            "authentication",
            "encrypted-password",
        ];
        let hashed = config.value(&path).unwrap();
        assert!(fits("geheim", hashed));
        assert!(!fits("Geheim", hashed) && !fits("", hashed) && !fits("geheim", "*"));
    }
}
