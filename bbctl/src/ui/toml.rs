//! Turns the text of a TOML file into fields that know where they stand, so that what is wrong is
//! told with file, line, field and remedy.

use std::ops::Range;
use std::path::Path;

use toml_edit::{Document, Item, TableLike, Value};

use crate::error::Failure;
use crate::nearest::nearest;

/// The text of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// Where it is from.
    pub(crate) path: &'a Path,
    /// What it says.
    pub(crate) text: &'a str,
}

/// One field of a file.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    source: Source<'a>,
    /// How it is called from the top of the file, with dots.
    pub(crate) name: String,
    /// How it is called in its table.
    pub(crate) word: String,
    at: Option<Range<usize>>,
    item: &'a Item,
}

impl<'a> Source<'a> {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not TOML; with the line.
    pub(crate) fn parse(self) -> Result<Document<&'a str>, Failure> {
        Document::parse(self.text).map_err(|error| {
            let words = self.told(error.span(), error.message());
            Failure::usage(words).hint("correct the file; it is TOML, see docs/ui.md")
        })
    }

    /// The fields at the top of the file, in the order of the file.
    pub(crate) fn fields<'d>(self, document: &'d Document<&'a str>) -> Vec<Field<'d>>
    where
        'a: 'd,
    {
        fields(self, "", document.as_table())
    }

    /// A sentence with the place that it is about.
    fn told(self, at: Option<Range<usize>>, words: &str) -> String {
        let path = self.path.display();
        match at.and_then(|at| self.text.get(..at.start)) {
            Some(before) => format!("{path}:{}: {words}", before.matches('\n').count() + 1),
            None => format!("{path}: {words}"),
        }
    }
}

fn fields<'a>(source: Source<'a>, above: &str, table: &'a dyn TableLike) -> Vec<Field<'a>> {
    let mut all: Vec<Field<'a>> = table
        .iter()
        .map(|(word, item)| {
            let key = table.get_key_value(word).and_then(|(key, _)| key.span());
            Field {
                source,
                name: match above {
                    "" => word.to_owned(),
                    above => format!("{above}.{word}"),
                },
                word: word.to_owned(),
                at: key.or_else(|| item.span()),
                item,
            }
        })
        .collect();
    all.sort_by_key(|field| field.at.as_ref().map(|at| at.start));
    all
}

impl<'a> Field<'a> {
    /// What is wrong with it, and what to do.
    pub(crate) fn wrong(&self, words: &str, remedy: &str) -> Failure {
        let words = format!("`{}` {words}", self.name);
        Failure::usage(self.source.told(self.at.clone(), &words)).hint(remedy)
    }

    /// What is said of a field that is none of ours.
    pub(crate) fn unknown(&self, known: &[&str]) -> Failure {
        let remedy = match nearest(&self.word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        self.wrong("is none of ours", &remedy)
    }

    /// The text that it is.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn text(&self) -> Result<&'a str, Failure> {
        let text = self.item.as_str();
        text.ok_or_else(|| self.wrong("is a text", "write it in quotes"))
    }

    /// Whether it is so.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn truth(&self) -> Result<bool, Failure> {
        let truth = self.item.as_bool();
        truth.ok_or_else(|| self.wrong("is true or false", "write it without quotes"))
    }

    /// The texts that it is.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn texts(&self) -> Result<Vec<&'a str>, Failure> {
        let texts = match self.item {
            Item::Value(Value::Array(list)) => list.iter().map(Value::as_str).collect(),
            _ => None,
        };
        texts.ok_or_else(|| self.wrong("is a list of texts", "write [\"one\", \"two\"]"))
    }

    /// What it consists of, in the order of the file.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn table(&self) -> Result<Vec<Self>, Failure> {
        let table = self.item.as_table_like().ok_or_else(|| {
            let remedy = format!("write [{}] above its fields", self.name);
            self.wrong("is a table", &remedy)
        })?;
        Ok(fields(self.source, &self.name, table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let source = |text| Source {
            path: Path::new("x.toml"),
            text,
        };
        let failure = source("a = 1\nb =\n").parse().unwrap_err();
        assert!(failure.message.starts_with("x.toml:2: "), "{failure}");
        let text = "# first\n[one]\ntwo = 3\nthree = { four = [1] }\n";
        let document = source(text).parse().unwrap();
        let one = source(text).fields(&document).remove(0);
        let all = one.table().unwrap();
        assert_eq!(
            all[0].text().unwrap_err().message,
            "x.toml:3: `one.two` is a text"
        );
        let four = all[1].table().unwrap().remove(0);
        assert_eq!(
            four.text().unwrap_err().message,
            "x.toml:4: `one.three.four` is a text"
        );
        assert!(
            all[0]
                .table()
                .unwrap_err()
                .hint
                .unwrap()
                .contains("[one.two]")
        );
        let near = all[1].unknown(&["there"]).hint.unwrap();
        assert_eq!(near, "did you mean `there`?");
    }
}
