//! Turns what is typed after `/` into which rows are shown.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

/// Which rows are shown.
#[derive(Clone, Debug, Default)]
pub enum Filter {
    /// All of them.
    #[default]
    All,
    /// Those whose text has a match; or those whose text has none.
    Pattern {
        /// What is looked for, in any case of letters.
        pattern: Regex,
        /// The others are shown.
        inverse: bool,
    },
    /// Those with these labels.
    Labels(Vec<Term>),
    /// Those whose name has these letters in this order.
    Fuzzy(Vec<char>),
}

/// What is asked of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// It is there.
    Has(String),
    /// It is not there.
    Lacks(String),
    /// It has this value.
    Is(String, String),
    /// It does not have this value.
    IsNot(String, String),
}

impl Filter {
    /// Reads `REGEX`, `!REGEX`, `-l LABELS` or `-f LETTERS`.
    ///
    /// # Errors
    /// When it is no regular expression or selector, with a sentence that says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || text == "!" || text == "-l" || text == "-f" {
            return Ok(Self::All);
        }
        if let Some(labels) = text.strip_prefix("-l ") {
            return terms(labels).map(Self::Labels);
        }
        if let Some(letters) = text.strip_prefix("-f ") {
            let letters = letters.chars().filter(|c| !c.is_whitespace());
            return Ok(Self::Fuzzy(letters.flat_map(char::to_lowercase).collect()));
        }
        let (inverse, words) = match text.strip_prefix('!') {
            Some(words) => (true, words),
            None => (false, text),
        };
        let pattern = RegexBuilder::new(words)
            .case_insensitive(true)
            .size_limit(1 << 20)
            .build()
            .map_err(|_| format!("`{words}` is no regular expression"))?;
        Ok(Self::Pattern { pattern, inverse })
    }

    /// Says whether a row is shown, by its name and all that it says.
    #[must_use]
    pub fn shows(&self, name: &str, text: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        match self {
            Self::All => true,
            Self::Pattern { pattern, inverse } => pattern.is_match(text) != *inverse,
            Self::Labels(terms) => terms.iter().all(|term| term.holds(labels)),
            Self::Fuzzy(letters) => {
                let mut left = letters.iter().peekable();
                for c in name.chars().flat_map(char::to_lowercase) {
                    if left.peek() == Some(&&c) {
                        left.next();
                    }
                }
                left.peek().is_none()
            }
        }
    }
}

impl Term {
    fn holds(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let value = |key: &String| labels.and_then(|labels| labels.get(key));
        match self {
            Self::Has(key) => value(key).is_some(),
            Self::Lacks(key) => value(key).is_none(),
            Self::Is(key, wanted) => value(key) == Some(wanted),
            Self::IsNot(key, wanted) => value(key) != Some(wanted),
        }
    }
}

fn terms(text: &str) -> Result<Vec<Term>, String> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let one = |part: &str| {
        let own = |words: &str| words.trim().to_owned();
        let term = match part.split_once("!=") {
            Some((key, value)) => Term::IsNot(own(key), own(value)),
            None => match part.split_once('=') {
                Some((key, value)) => Term::Is(own(key), own(value.trim_start_matches('='))),
                None => match part.strip_prefix('!') {
                    Some(key) => Term::Lacks(own(key)),
                    None => Term::Has(own(part)),
                },
            },
        };
        let (Term::Has(key) | Term::Lacks(key) | Term::Is(key, _) | Term::IsNot(key, _)) = &term;
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(format!(
                "`{part}` is no label: write app=web, app!=web, app or !app"
            ));
        }
        Ok(term)
    };
    parts.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(filter: &str, text: &str) -> bool {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        Filter::parse(filter)
            .unwrap()
            .shows("acme/www-1", text, Some(&labels))
    }

    #[test]
    fn rows_are_chosen_by_pattern_its_inverse_labels_or_letters() {
        let table = [
            ("", true),
            ("www-[12]", true),
            ("WWW", true),
            ("^db", false),
            ("!db", true),
            ("!www", false),
            ("-l app=web", true),
            ("-l app==web,!tier", true),
            ("-l app!=web", false),
            ("-l tier", false),
            ("-f aw1", true),
            ("-f w 2", false),
        ];
        for (filter, shown) in table {
            assert_eq!(shows(filter, "acme www-1 True Ready"), shown, "{filter}");
        }
    }

    #[test]
    fn what_cannot_be_understood_says_why() {
        assert_eq!(
            Filter::parse("(").unwrap_err(),
            "`(` is no regular expression"
        );
        assert!(Filter::parse("-l a b=c").unwrap_err().contains("app=web"));
    }
}
