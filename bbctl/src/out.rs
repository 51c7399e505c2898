//! Turns results, notes and failures into what stands on the screen or in a pipe.
//!
//! Nothing else writes. Data goes to stdout and nothing but data; all else goes to stderr.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use crate::error::{Exit, Failure};
use crate::next::Next;
use crate::pager;
use crate::sign::Sign;
use crate::style::{Colour, Tone, tame};
use crate::table::{Layout, Table, wrap};

/// How data is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns that fit the width
    #[default]
    Table,
    /// All columns
    Wide,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// KIND/NAME, one a line
    Name,
}

/// The width that is assumed where nobody says another.
pub const WIDTH: usize = 80;

/// Where input comes from and output goes, and what is known about both ends.
pub struct Io {
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What is read where a file is named `-`, and the answers to questions.
    pub stdin: Box<dyn BufRead + Send>,
    /// Data.
    pub stdout: Box<dyn Write + Send>,
    /// All else.
    pub stderr: Box<dyn Write + Send>,
    /// Whether a person can be asked: stdin and stderr are terminals.
    pub interactive: bool,
    /// Whether stdout is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether stderr is a terminal.
    pub stderr_is_terminal: bool,
    /// How many characters fit a line; `None` where nobody knows.
    pub columns: Option<usize>,
}

/// What the flags say about output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// How data is written.
    pub format: Format,
    /// No colours at all.
    pub no_color: bool,
    /// Never ask.
    pub no_input: bool,
    /// Never run a pager.
    pub no_pager: bool,
}

/// The one place that reads from and writes to people and pipes.
pub struct Out {
    io: Io,
    look: Look,
    colour: Colour,
    stderr_colour: Colour,
    request_id: Option<String>,
    /// What commands that are told carry on.
    next: Next,
    /// All that goes to stderr goes through it.
    sign: Sign,
    /// What is held back until it is known whether it fits the screen.
    held: Option<Vec<u8>>,
}

impl Out {
    /// Takes over the streams.
    #[must_use]
    pub fn new(mut io: Io, look: Look) -> Self {
        let stderr = std::mem::replace(&mut io.stderr, Box::new(io::sink()));
        let dumb = io.env.get("TERM").is_some_and(|term| term == "dumb");
        Self {
            sign: Sign::new(stderr, io.stderr_is_terminal, dumb),
            colour: Colour::choose(look.no_color, &io.env, io.stdout_is_terminal),
            stderr_colour: Colour::choose(look.no_color, &io.env, io.stderr_is_terminal),
            io,
            look,
            request_id: None,
            next: Next::default(),
            held: None,
        }
    }

    /// Changes what the flags say; before they are read, nothing is known of them.
    pub fn set_look(&mut self, look: Look) {
        self.look = look;
        self.colour = Colour::choose(look.no_color, &self.io.env, self.io.stdout_is_terminal);
        self.stderr_colour =
            Colour::choose(look.no_color, &self.io.env, self.io.stderr_is_terminal);
    }

    /// Names what errors are to be found under in the server's audit log.
    pub fn set_request_id(&mut self, id: &str) {
        self.request_id = Some(id.to_owned());
    }

    /// Says what commands that are told carry on.
    pub fn set_next(&mut self, next: Next) {
        self.next = next;
    }

    /// What commands that are told carry on.
    #[must_use]
    pub fn carried(&self) -> &Next {
        &self.next
    }

    /// What tells a person that something is under way.
    #[must_use]
    pub fn sign(&self) -> &Sign {
        &self.sign
    }

    /// The environment.
    #[must_use]
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.io.env
    }

    /// How data is written.
    #[must_use]
    pub fn format(&self) -> Format {
        self.look.format
    }

    /// Whether stdout is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.io.stdout_is_terminal && self.io.interactive
    }

    /// Whether data is a document for programs.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        matches!(self.look.format, Format::Json | Format::Yaml)
    }

    /// Whether stdout is coloured.
    #[must_use]
    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// How many characters fit a line.
    #[must_use]
    pub fn width(&self) -> usize {
        self.io.columns.unwrap_or(WIDTH)
    }

    /// A text in the colour of its meaning, for stdout.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        self.colour.paint(tone, text)
    }

    /// Writes a line of data.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.raw(text.as_bytes())?;
        self.raw(b"\n")
    }

    /// Holds data back until [`Out::finish`], which shows what is longer than the screen in a
    /// pager. Where no person reads it on a terminal, nothing changes.
    pub fn page(&mut self) {
        if self.io.stdout_is_terminal && !self.look.no_pager && self.held.is_none() {
            self.held = Some(Vec::new());
        }
    }

    /// Hands over all that is held back, through a pager where it is longer than the screen.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.sign.clear();
        if let Some(held) = self.held.take()
            && !pager::show(&held, &self.io.env)
        {
            self.raw(&held)?;
        }
        self.flush()
    }

    /// Writes data as it is.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(held) = &mut self.held {
            held.extend_from_slice(bytes);
            return Ok(());
        }
        self.sign.clear();
        self.io
            .stdout
            .write_all(bytes)
            .map_err(|error| Failure::output(&error))
    }

    /// Writes a table, narrow enough unless it was asked for wide.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn table(&mut self, table: &Table) -> Result<(), Failure> {
        self.table_under("", table)
    }

    /// Writes more of a table that comes in parts, and hands it over at once.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn table_part(&mut self, table: &Table, layout: &mut Layout) -> Result<(), Failure> {
        for line in table.render_after(layout, self.room(), self.colour) {
            self.line(&line)?;
        }
        self.flush()
    }

    /// How wide a table may be; none where it was asked for wide.
    #[must_use]
    pub fn room(&self) -> Option<usize> {
        (self.look.format != Format::Wide).then(|| self.width())
    }

    /// Whether a table is best shown as it comes: where no person waits for columns that line up.
    /// Documents and names are for programs, which act on all of it or on none.
    #[must_use]
    pub fn takes_parts(&self) -> bool {
        matches!(self.look.format, Format::Table | Format::Wide) && !self.io.stdout_is_terminal
    }

    /// Writes a table, each line after the same few characters.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn table_under(&mut self, before: &str, table: &Table) -> Result<(), Failure> {
        let width = match self.look.format {
            Format::Wide => None,
            _ => Some(self.width().saturating_sub(before.chars().count())),
        };
        for line in table.render(width, self.colour) {
            self.line(&format!("{before}{line}"))?;
        }
        Ok(())
    }

    /// Writes running text, broken between words, each line after the same few characters.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn text_under(&mut self, before: &str, text: &str) -> Result<(), Failure> {
        let width = self.width().saturating_sub(before.chars().count());
        for line in wrap(&tame(text), width) {
            self.line(&format!("{before}{line}"))?;
        }
        Ok(())
    }

    /// Writes running text behind a word that takes `margin` characters, broken between words;
    /// the lines after the first begin under the text, not with the word again.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn text_behind(&mut self, word: &str, margin: usize, text: &str) -> Result<(), Failure> {
        let width = self.width().saturating_sub(margin);
        for (at, line) in wrap(&tame(text), width).iter().enumerate() {
            match at {
                0 => self.line(&format!("{word}{line}"))?,
                _ => self.line(&format!("{:margin$}{line}", ""))?,
            }
        }
        Ok(())
    }

    /// As [`Out::text_under`], in the colour of its meaning.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn text_toned(&mut self, before: &str, tone: Tone, text: &str) -> Result<(), Failure> {
        let width = self.width().saturating_sub(before.chars().count());
        for line in wrap(&tame(text), width) {
            let line = self.colour.paint(tone, &line);
            self.line(&format!("{before}{line}"))?;
        }
        Ok(())
    }

    /// Writes a table whose last column is running text: beside the row where there is room,
    /// else under it, broken between words.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn table_with_text(
        &mut self,
        before: &str,
        table: &Table,
        title: &str,
        texts: &[String],
    ) -> Result<(), Failure> {
        /// With less room than this beside the row, text goes under it.
        const ROOM: usize = 30;
        let margin = before.chars().count();
        let width = self.width().saturating_sub(margin);
        let plain = table.render(Some(width), Colour::Off);
        let widest = plain
            .iter()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or_default();
        let room = width.saturating_sub(widest + 2);
        let painted = table.render(Some(width), self.colour);
        let beside = room >= ROOM;
        for (at, (line, bare)) in painted.iter().zip(&plain).enumerate() {
            let pad = " ".repeat(widest - bare.chars().count() + 2);
            let Some(row) = at.checked_sub(1) else {
                let title = self.colour.paint(Tone::Head, &title.to_uppercase());
                let head = if beside {
                    format!("{line}{pad}{title}")
                } else {
                    line.clone()
                };
                self.line(&format!("{before}{head}"))?;
                continue;
            };
            let text = texts.get(row).map(String::as_str).unwrap_or_default();
            if !beside {
                self.line(&format!("{before}{line}"))?;
                self.text_under(&format!("{before}  "), text)?;
                continue;
            }
            let lines = wrap(&tame(text), room);
            let first = lines
                .first()
                .map(|first| format!("{pad}{first}"))
                .unwrap_or_default();
            self.line(&format!("{before}{line}{first}"))?;
            for more in lines.iter().skip(1) {
                self.line(&format!("{before}{}{more}", " ".repeat(widest + 2)))?;
            }
        }
        Ok(())
    }

    /// Writes one document, as YAML where that was asked for, else as JSON.
    ///
    /// # Errors
    /// When it cannot be rendered, or stdout is closed or full.
    pub fn document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = match self.look.format {
            Format::Yaml => render_yaml(value)?,
            _ => serde_json::to_string_pretty(value).map_err(|error| unrenderable(&error))?,
        };
        self.line(text.trim_end())
    }

    /// Writes one of many documents that come one by one: a line of JSON, or YAML after `---`.
    ///
    /// # Errors
    /// When it cannot be rendered, or stdout is closed or full.
    pub fn record(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = match self.look.format {
            Format::Yaml => format!("---\n{}", render_yaml(value)?),
            _ => serde_json::to_string(value).map_err(|error| unrenderable(&error))?,
        };
        self.line(text.trim_end())
    }

    /// Says something beside the data: progress, what comes next.
    pub fn note(&mut self, text: &str) {
        self.aside("note", Tone::Faint, text);
    }

    /// Says what a person has to know for the question that follows.
    pub fn say(&mut self, text: &str) {
        self.err_line(&tame(text));
    }

    /// Says that something is not as it should be, though it did not fail.
    pub fn warn(&mut self, text: &str) {
        self.aside("warning", Tone::Waiting, text);
    }

    /// Says what failed and what to do about it.
    pub fn report(&mut self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        if self.look.format == Format::Json {
            let mut line = json!({
                "level": "error",
                "code": failure.exit.word(),
                "exit": failure.exit.code(),
                "message": failure.message,
            });
            if let Some(hint) = failure.advice() {
                line["hint"] = json!(self.next.carry(hint));
            }
            if let Some(id) = &self.request_id {
                line["requestId"] = json!(id);
            }
            self.err_line(&line.to_string());
            return;
        }
        let word = self.stderr_colour.paint(Tone::Bad, "error:");
        self.err_line(&format!("{word} {}", tame(&failure.message)));
        if let Some(hint) = failure.advice() {
            let word = self.stderr_colour.paint(Tone::Head, "hint:");
            let hint = self.next.carry(hint);
            self.err_line(&format!("{word} {}", tame(&hint)));
        }
    }

    fn aside(&mut self, level: &str, tone: Tone, text: &str) {
        let text = &self.next.carry(text);
        if self.look.format == Format::Json {
            self.err_line(&json!({"level": level, "message": text}).to_string());
            return;
        }
        let text = tame(text);
        let line = match level {
            "warning" => format!("{} {text}", self.stderr_colour.paint(tone, "warning:")),
            _ => self.stderr_colour.paint(tone, &text),
        };
        self.err_line(&line);
    }

    fn err_line(&mut self, text: &str) {
        // On a terminal both ends meet: what was said first stands first.
        let _ = self.io.stdout.flush();
        self.sign.write(&format!("{text}\n"));
    }

    /// Whether a person can be asked.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.io.interactive && !self.look.no_input
    }

    /// Whether `--no-input` was said.
    #[must_use]
    pub fn refuses_input(&self) -> bool {
        self.look.no_input
    }

    /// Asks a person and returns the line that comes back, without its end.
    ///
    /// # Errors
    /// When stdin cannot be read.
    pub async fn ask(&mut self, question: &str) -> Result<String, Failure> {
        self.sign.write(&format!("{} ", tame(question)));
        let line = self.with_stdin(|stdin| {
            let mut line = String::new();
            stdin.read_line(&mut line).map(|_| line)
        });
        Ok(line.await?.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// Reads stdin to its end.
    ///
    /// # Errors
    /// When it cannot be read or is not text.
    pub async fn read_stdin(&mut self) -> Result<String, Failure> {
        self.with_stdin(|stdin| {
            let mut text = String::new();
            stdin.read_to_string(&mut text).map(|_| text)
        })
        .await
    }

    /// Reads on a thread of its own, so that Ctrl-C is heard meanwhile.
    async fn with_stdin<F>(&mut self, read: F) -> Result<String, Failure>
    where
        F: FnOnce(&mut dyn BufRead) -> io::Result<String> + Send + 'static,
    {
        let mut stdin = std::mem::replace(&mut self.io.stdin, Box::new(io::empty()));
        let work = move || {
            let answer = read(&mut *stdin);
            (stdin, answer)
        };
        let failed = |error: String| {
            Failure::new(
                Exit::Failure,
                format!("cannot read standard input: {error}"),
            )
        };
        let (stdin, answer) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| failed(error.to_string()))?;
        self.io.stdin = stdin;
        answer.map_err(|error| failed(error.to_string()))
    }

    /// Hands over what is still held back.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.io
            .stdout
            .flush()
            .map_err(|error| Failure::output(&error))
    }
}

fn unrenderable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("cannot render the output: {error}"))
}

/// A value as YAML, quoted so that readers of YAML 1.1 such as kubectl agree with us.
///
/// # Errors
/// When it cannot be rendered.
pub fn render_yaml(value: &impl Serialize) -> Result<String, Failure> {
    // Through JSON, so that whatever comes is ordered by key and looks the same each time.
    let value = serde_json::to_value(value).map_err(|error| unrenderable(&error))?;
    // A key or a message stays on its line: it is easier to read, and to copy.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(&value, options).map_err(|error| unrenderable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_keeps_what_other_readers_would_take_for_numbers_and_booleans() {
        let value = json!({"a": "yes", "b": "0755", "c": "1e3", "d": "", "e": "10.0.0.1", "f": true,
            "g": "x ".repeat(100)});
        let text = render_yaml(&value).unwrap();
        assert!(text.contains(r#"a: "yes""#), "{text}");
        assert!(text.contains(r#"b: "0755""#), "{text}");
        let back: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, value);
        assert_eq!(text.lines().count(), 7, "{text}");
    }
}
