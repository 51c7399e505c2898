//! Turns what cannot be taken back into a yes or a word that somebody has to give, from flags or
//! at the terminal.
//!
//! Whatever asks before it destroys something asks here: one form of `--confirm`, one rule for
//! what a yes is not enough for.

use std::fmt;
use std::str::FromStr;

use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::out::Out;

/// More objects than this are many: a yes is not enough for them.
pub const FEW: usize = 3;

/// How many of those that a question is about are named where nobody can be asked.
const NAMED: usize = 5;

/// What the words of many objects begin with.
const OBJECTS: &str = "objects";

/// Whether so many objects want their number said.
#[must_use]
pub const fn is_many(count: usize) -> bool {
    count > FEW
}

/// A word that confirms: what it is, and its name. As a flag it is `WHAT/NAME`; at the terminal,
/// where the question says what it is, the name alone. Where one namespace is meant of several it is
/// `NAMESPACE/WHAT/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    place: Option<String>,
    what: String,
    name: String,
}

impl Word {
    /// Of a kind and a name, as in `tenant` and `acme`.
    #[must_use]
    pub fn new(what: &str, name: &str) -> Self {
        let what = what.to_ascii_lowercase();
        let kind = Kind::parse(&what);
        Self {
            place: None,
            what: kind.map_or(what, |kind| kind.singular.to_owned()),
            name: name.to_owned(),
        }
    }

    /// Of as many objects.
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self {
            place: None,
            what: OBJECTS.to_owned(),
            name: count.to_string(),
        }
    }

    /// Of that namespace alone.
    #[must_use]
    pub fn within(self, namespace: &str) -> Self {
        Self {
            place: Some(namespace.to_owned()),
            ..self
        }
    }

    /// What is typed at the terminal.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}/")?;
        }
        write!(f, "{}/{}", self.what, self.name)
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(said: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = said.split('/').collect();
        let is_whole = !parts.contains(&"");
        match parts.as_slice() {
            [what, name] if is_whole => Ok(Self::new(what, name)),
            [place, what, name] if is_whole => Ok(Self::new(what, name).within(place)),
            _ => Err("say what it is, and its name: as in tenant/acme, or objects/12".to_owned()),
        }
    }
}

/// What has to be given before something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A yes.
    Yes,
    /// This word.
    Word(Word),
}

impl By {
    fn flag(&self) -> String {
        match self {
            Self::Yes => "--yes".to_owned(),
            Self::Word(word) => format!("--confirm={word}"),
        }
    }
}

/// Something that happens only once it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What happens, as in `delete`.
    pub verb: &'static str,
    /// To what, as in `instance/www-1`.
    pub what: String,
    /// What that means, a sentence each, said before the question.
    pub means: Vec<String>,
    /// What confirms it.
    pub by: By,
}

impl Asked {
    /// The question to a person.
    fn question(&self) -> String {
        match &self.by {
            By::Yes => {
                let (first, rest) = self.verb.split_at(1);
                format!("{}{rest} {}? [y/N]", first.to_uppercase(), self.what)
            }
            By::Word(word) => format!("Type `{}` to {} {}:", word.name, self.verb, self.what),
        }
    }

    fn is_answer(&self, line: &str) -> bool {
        let line = line.trim();
        match &self.by {
            By::Yes => ["y", "yes"].contains(&line.to_ascii_lowercase().as_str()),
            By::Word(word) => line == word.name,
        }
    }

    /// What it is about, in one sentence. Of one object, its sentence names it already.
    fn sentence(&self) -> String {
        let Self { verb, what, .. } = self;
        let named: Vec<&str> = self.means.iter().take(NAMED).map(String::as_str).collect();
        let more = self.means.len().saturating_sub(NAMED);
        match (named.as_slice(), more) {
            ([], _) => format!("{verb} {what}"),
            ([one], 0) => format!("{verb} {one}"),
            (named, 0) => format!("{verb} {what} ({})", named.join("; ")),
            (named, more) => format!("{verb} {what} ({}; and {more} more)", named.join("; ")),
        }
    }
}

/// What flags have confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Whether they say yes.
    pub yes: bool,
    /// The words that they give.
    pub words: &'a [Word],
}

impl Said<'_> {
    fn has(self, by: &By) -> bool {
        match by {
            By::Yes => self.yes,
            By::Word(word) => self.words.contains(word),
        }
    }
}

/// Gets all of it confirmed: by flags, or else by a person who is asked for one after the other.
/// `undone` says what did not happen where that fails, as in `nothing was deleted`.
///
/// # Errors
/// When a person says no, or when nobody can be asked; that names every flag that is missing.
pub async fn confirm(
    asked: &[Asked],
    said: Said<'_>,
    undone: &str,
    out: &mut Out,
) -> Result<(), Failure> {
    let open: Vec<&Asked> = asked.iter().filter(|one| !said.has(&one.by)).collect();
    if open.is_empty() {
        return Ok(());
    }
    if !out.can_ask() {
        return Err(unconfirmed(&open));
    }
    for one in open {
        for sentence in &one.means {
            out.say(sentence);
        }
        let answer = out.ask(&one.question()).await?;
        if !one.is_answer(&answer) {
            return Err(Failure::new(
                Exit::Failure,
                format!("not confirmed: {undone}"),
            ));
        }
    }
    Ok(())
}

/// Nobody can be asked: tells what for, and which flags are an answer.
fn unconfirmed(open: &[&Asked]) -> Failure {
    let what: Vec<String> = open.iter().map(|one| one.sentence()).collect();
    let flags: Vec<String> = open.iter().map(|one| one.by.flag()).collect();
    Failure::usage(format!(
        "nobody can be asked whether to {}",
        what.join(", and to ")
    ))
    .hint(format!("confirm it with {}", flags.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(what: &str, means: usize, by: By) -> Asked {
        Asked {
            verb: "delete",
            what: what.to_owned(),
            means: (0..means).map(|at| format!("m{at}")).collect(),
            by,
        }
    }

    #[test]
    fn a_word_says_what_it_is_and_its_name() {
        for (said, is) in [
            ("tenant/acme", "tenant/acme"),
            ("tenants/acme", "tenant/acme"),
            ("bbnet/web", "network/web"),
            ("set/shop", "set/shop"),
            ("Namespace/acme", "namespace/acme"),
            ("objects/12", "objects/12"),
            ("acme/bbnet/web", "acme/network/web"),
        ] {
            assert_eq!(said.parse::<Word>().unwrap().to_string(), is);
        }
        assert_eq!("objects/12".parse(), Ok(Word::count(12)));
        for bad in ["acme", "/acme", "tenant/", "a/b/c/d", "a//c", "/b/c", ""] {
            let words = bad.parse::<Word>().unwrap_err();
            assert!(words.contains("tenant/acme"), "{bad}: {words}");
        }
    }

    #[test]
    fn flags_confirm_what_they_name_and_nothing_else() {
        let words = [Word::new("tenant", "acme"), Word::count(4)];
        let said = Said {
            yes: true,
            words: &words,
        };
        assert!(said.has(&By::Yes));
        assert!(said.has(&By::Word(Word::count(4))));
        assert!(!said.has(&By::Word(Word::count(5))));
        assert!(!said.has(&By::Word(Word::new("namespace", "acme"))));
        // Neither for the other: a namespace that is said is meant.
        let (bare, placed) = (Word::new("network", "web"), "a/network/web".parse());
        let placed: Word = placed.unwrap();
        let has = |said: &Word, asked: &Word| {
            let words = std::slice::from_ref(said);
            Said { yes: true, words }.has(&By::Word(asked.clone()))
        };
        assert!(has(&placed, &placed) && !has(&placed, &bare) && !has(&bare, &placed));
        assert!(!has(&placed, &bare.within("b")));
    }

    #[test]
    fn the_answer_is_a_yes_or_the_very_name() {
        let yes = asked("instance/www", 0, By::Yes);
        assert_eq!(yes.question(), "Delete instance/www? [y/N]");
        assert!(yes.is_answer("Y ") && yes.is_answer("yes") && !yes.is_answer(""));
        let named = asked("these 4", 0, By::Word(Word::count(4)));
        assert_eq!(named.question(), "Type `4` to delete these 4:");
        assert!(named.is_answer(" 4 ") && !named.is_answer("y") && !named.is_answer("objects/4"));
    }

    #[test]
    fn what_is_missing_is_named_with_its_flags_and_a_few_of_many() {
        let many = asked("these 7", 7, By::Word(Word::count(7)));
        let tenant = asked("tenant/a", 0, By::Word(Word::new("Tenant", "a")));
        let failure = unconfirmed(&[&many, &tenant]);
        assert_eq!(
            failure.message,
            "nobody can be asked whether to delete these 7 (m0; m1; m2; m3; m4; and 2 more), and \
             to delete tenant/a"
        );
        assert_eq!(
            failure.hint.as_deref(),
            Some("confirm it with --confirm=objects/7 --confirm=tenant/a")
        );
        assert!(is_many(4) && !is_many(3));
    }
}
