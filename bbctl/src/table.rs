//! Turns rows of cells into lines that fit a width, by leaving columns out.

use crate::style::{Colour, Tone, tame};

/// The space between two columns.
pub const GAP: usize = 2;
/// A cell that must shrink keeps at least this much.
const LEAST: usize = 8;

/// One field of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// What it means.
    pub tone: Tone,
}

impl Cell {
    /// A cell that means something.
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// The head of a column, and how dear it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What is written above it.
    pub title: String,
    /// The column with the least goes first when the width does not suffice.
    pub keep: u8,
}

/// A table before it knows how wide it may be.
#[derive(Clone, Debug, Default)]
pub struct Table {
    heads: Vec<Head>,
    rows: Vec<Vec<Cell>>,
}

/// A column that is never left out.
pub const ALWAYS: u8 = u8::MAX;

impl Table {
    /// A table with these columns: title, and how dear each is.
    pub fn new<'a>(heads: impl IntoIterator<Item = (&'a str, u8)>) -> Self {
        let heads = heads
            .into_iter()
            .map(|(title, keep)| Head {
                title: title.to_owned(),
                keep,
            })
            .collect();
        Self {
            heads,
            rows: Vec::new(),
        }
    }

    /// Adds a row, a cell for each column.
    pub fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(
            row.len(),
            self.heads.len(),
            "a row has a cell for each column"
        );
        self.rows.push(row);
    }

    /// Says whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, none longer than `width` characters. Empty cells show as `-`.
    #[must_use]
    pub fn render(&self, width: Option<usize>, colour: Colour) -> Vec<String> {
        self.render_after(&mut Layout::default(), width, colour)
    }

    /// The table as more lines of the one that has the layout, which stands above already. Its
    /// columns stay; one becomes wider from here on where a cell needs that, beyond the width if it
    /// must: a name that is cut is nobody's name.
    #[must_use]
    pub fn render_after(
        &self,
        layout: &mut Layout,
        width: Option<usize>,
        colour: Colour,
    ) -> Vec<String> {
        let rows: Vec<Vec<Cell>> = self.rows.iter().map(|row| tidy(row)).collect();
        let heads: Vec<Cell> = self
            .heads
            .iter()
            .map(|head| Cell::new(head.title.to_uppercase(), Tone::Head))
            .collect();
        let begins = layout.is_empty();
        layout.widths.resize(heads.len(), 0);
        for row in rows.iter().chain([&heads]) {
            for (most, cell) in layout.widths.iter_mut().zip(row) {
                *most = (*most).max(length(&cell.text));
            }
        }
        if begins {
            layout.shown = (0..heads.len()).collect();
        }
        if let Some(width) = width
            && begins
        {
            let keep: Vec<u8> = self.heads.iter().map(|head| head.keep).collect();
            layout.shown = choose(&keep, &mut layout.widths, width);
        }
        let lines = begins.then_some(&heads).into_iter().chain(&rows);
        lines
            .map(|row| line(row, &layout.shown, &layout.widths, colour))
            .collect()
    }
}

/// Which columns of a table are shown, and how wide each is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    shown: Vec<usize>,
    widths: Vec<usize>,
}

impl Layout {
    /// Says whether nothing of the table was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.widths.is_empty()
    }
}

/// Chooses the columns that fit a width, by how dear each is and how wide: leaves out the least
/// dear until the rest fits, then takes back what still finds room, the dearest first. What must
/// stay and is still too wide is made narrower.
#[must_use]
pub fn choose(keep: &[u8], widths: &mut [usize], width: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..keep.len()).collect();
    let mut dropped: Vec<usize> = Vec::new();
    while total(&shown, widths) > width {
        let least = shown
            .iter()
            .enumerate()
            .filter(|(_, column)| keep[**column] < ALWAYS)
            .min_by_key(|(at, column)| (keep[**column], usize::MAX - at))
            .map(|(at, _)| at);
        let Some(at) = least else { break };
        dropped.push(shown.remove(at));
    }
    for column in dropped.into_iter().rev() {
        let mut more = shown.clone();
        more.push(column);
        if total(&more, widths) <= width {
            more.sort_unstable();
            shown = more;
        }
    }
    shrink(&shown, widths, width);
    shown
}

fn tidy(row: &[Cell]) -> Vec<Cell> {
    row.iter()
        .map(|cell| match cell.text.is_empty() {
            true => Cell::new("-", cell.tone),
            false => Cell::new(tame(&cell.text), cell.tone),
        })
        .collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn total(shown: &[usize], widths: &[usize]) -> usize {
    let cells: usize = shown.iter().map(|column| widths[*column]).sum();
    cells + GAP * shown.len().saturating_sub(1)
}

/// Takes from the widest of the columns that are left until the line fits.
fn shrink(shown: &[usize], widths: &mut [usize], width: usize) {
    while total(shown, widths) > width {
        let Some(widest) = shown.iter().copied().max_by_key(|column| widths[*column]) else {
            return;
        };
        if widths[widest] <= LEAST {
            return;
        }
        widths[widest] -= 1;
    }
}

fn line(row: &[Cell], shown: &[usize], widths: &[usize], colour: Colour) -> String {
    let mut line = String::new();
    for (at, column) in shown.iter().enumerate() {
        let Some(cell) = row.get(*column) else {
            continue;
        };
        let text = cut(&cell.text, widths[*column]);
        line.push_str(&colour.paint(cell.tone, &text));
        if at + 1 < shown.len() {
            line.push_str(&" ".repeat(widths[*column] - length(&text) + GAP));
        }
    }
    line
}

/// The text in at most `width` characters; what is missing shows as `…`.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The text in lines of at most `width` characters, broken between words where that is possible.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && length(&line) + 1 + length(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let heads = [
            ("name", ALWAYS),
            ("ready", 90),
            ("message", 10),
            ("age", 50),
        ];
        let mut table = Table::new(heads);
        let row = |name: &str, message: &str| {
            vec![
                name.into(),
                Cell::new("True", Tone::Good),
                message.into(),
                "5m".into(),
            ]
        };
        table.push(row("www", "all is well"));
        table.push(row("a-much-longer-name", ""));
        table
    }

    #[test]
    fn columns_line_up_and_empty_cells_show() {
        let lines = sample().render(None, Colour::Off);
        assert_eq!(
            lines,
            [
                "NAME                READY  MESSAGE      AGE",
                "www                 True   all is well  5m",
                "a-much-longer-name  True   -            5m",
            ]
        );
    }

    #[test]
    fn the_least_dear_column_goes_first() {
        let lines = sample().render(Some(32), Colour::Off);
        assert_eq!(lines[0], "NAME                READY  AGE");
        let lines = sample().render(Some(26), Colour::Off);
        assert_eq!(lines[0], "NAME                READY");
    }

    #[test]
    fn no_line_is_longer_than_the_width() {
        for width in LEAST..60 {
            for line in sample().render(Some(width), Colour::Off) {
                assert!(length(&line) <= width, "{width}: {line}");
            }
        }
        assert_eq!(sample().render(Some(10), Colour::Off)[2], "a-much-lo…");
    }

    #[test]
    fn what_comes_later_keeps_the_columns_and_loses_no_text() {
        let mut layout = Layout::default();
        let first = sample().render_after(&mut layout, Some(32), Colour::Off);
        assert_eq!(first, sample().render(Some(32), Colour::Off));
        let mut more = Table::new(sample().heads.iter().map(|h| (h.title.as_str(), h.keep)));
        let row = |name: &str| vec![name.into(), "True".into(), "well".into(), "5m".into()];
        more.push(row("www-2"));
        let lines = more.render_after(&mut layout, Some(32), Colour::Off);
        assert_eq!(lines, ["www-2               True   5m"]);
        more.push(row("a-name-that-is-longer-yet"));
        let lines = more.render_after(&mut layout, Some(32), Colour::Off);
        assert_eq!(
            lines,
            [
                "www-2                      True   5m",
                "a-name-that-is-longer-yet  True   5m",
            ]
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let lines = sample().render(None, Colour::On);
        assert_eq!(
            lines[1],
            "www                 \u{1b}[32mTrue\u{1b}[0m   all is well  5m"
        );
    }

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 4), ["unbreakable"]);
        assert!(wrap("", 4).is_empty());
    }
}
