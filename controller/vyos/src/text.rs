//! Turns what a router says (escaped, wrapped, echoing secrets) into a short line without secrets.

/// The longest text an error carries, in characters.
const MAX_CHARS: usize = 600;
/// What stands in place of a secret.
const MASK: &str = "***";

/// Texts that must not appear in anything shown.
pub(crate) struct Mask(Vec<Vec<char>>);

impl Mask {
    /// Masks these secrets, in every spelling in which a router may echo them.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut spellings = Vec::new();
        for secret in secrets
            .into_iter()
            .filter(|secret| !secret.trim().is_empty())
        {
            let json = serde_json::to_string(secret).unwrap_or_default();
            let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            spellings.extend([
                secret.to_owned(),
                // As Python shows a text.
                secret.replace('\\', "\\\\").replace('\'', "\\'"),
                json.trim_matches('"').to_owned(),
                form,
                secret
                    .replace('&', "&amp;")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;"),
            ]);
        }
        // The longest first, so that no rest of a longer spelling stays.
        spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        spellings.dedup();
        Self(
            spellings
                .iter()
                .map(|s| s.chars().filter(|c| !c.is_whitespace()).collect())
                .collect(),
        )
    }

    /// The text with every secret replaced. Blanks inside a secret do not hide it: VyOS wraps
    /// its messages at 72 columns, within words too.
    pub(crate) fn apply(&self, text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut masked = String::with_capacity(text.len());
        let mut at = 0;
        while at < chars.len() {
            let found = self
                .0
                .iter()
                .find_map(|secret| match_at(&chars[at..], secret));
            if let Some(length) = found {
                masked.push_str(MASK);
                at += length;
            } else {
                masked.push(chars[at]);
                at += 1;
            }
        }
        masked
    }

    /// The same in one line of bounded length.
    pub(crate) fn line(&self, text: &str) -> String {
        bound(&collapse(&self.apply(text)))
    }
}

/// How many characters of `text` spell `secret`, blanks between them included.
fn match_at(text: &[char], secret: &[char]) -> Option<usize> {
    let mut at = 0;
    for (n, wanted) in secret.iter().enumerate() {
        while n > 0 && text.get(at).is_some_and(|c| c.is_whitespace()) {
            at += 1;
        }
        if text.get(at) != Some(wanted) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

/// One blank for any run of blanks and line ends.
pub(crate) fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts what is too long.
pub(crate) fn bound(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

/// Undoes the HTML escapes of the `error` field (VyOS 1.5 escapes `<`, `>` and `&` there).
pub(crate) fn unescape(text: &str) -> String {
    const ENTITIES: [(&str, char); 6] = [
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&amp;", '&'),
        ("&quot;", '"'),
        ("&#x27;", '\''),
        ("&#39;", '\''),
    ];
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity));
        let (taken, c) = found.map_or((1, '&'), |(entity, c)| (entity.len(), *c));
        plain.push(c);
        rest = &rest[taken..];
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_once() {
        assert_eq!(
            unescape("a &lt;b&gt; &amp;amp; &quot;c&quot; & d"),
            "a <b> &amp; \"c\" & d"
        );
    }

    #[test]
    fn a_secret_is_masked_in_every_spelling() {
        let mask = Mask::new(["it's-a <\\key"]);
        for echo in [
            "k=it's-a <\\key.",
            "k=it\\'s-a <\\\\key.",
            "k=it's-a <\\\\key.",
            "k=it%27s-a+%3C%5Ckey.",
            "k=it's-\na <\\key.",
            "k=it's- a\t<\\key.",
            "k=it's-a &lt;\\key.",
        ] {
            assert_eq!(mask.line(echo), "k=***.", "{echo}");
        }
    }

    #[test]
    fn an_empty_secret_masks_nothing() {
        assert_eq!(Mask::new([""]).line("a  b\n"), "a b");
    }

    #[test]
    fn a_text_is_cut_after_masking() {
        let long = format!("{}s3cret-key", "x".repeat(MAX_CHARS - 3));
        let line = Mask::new(["s3cret-key"]).line(&long);
        assert!(line.ends_with("x***"), "{line}");
        assert!(Mask::new([]).line(&"\u{e9}".repeat(2000)).chars().count() <= MAX_CHARS + 2);
    }
}
