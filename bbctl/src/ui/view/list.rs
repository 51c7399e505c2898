//! Turns the list of a kind into a table that fits the screen.

use ratatui::layout::Rect;

use crate::age;
use crate::object;
use crate::style::Tone;
use crate::table::{ALWAYS, GAP, choose};

use super::super::list::{By, List};
use super::super::model::Model;
use super::super::store::{Entry, Key, Reach};
use super::super::text::{Text, fit_middle, pad, width};
use super::super::theme::Part;
use super::super::update::is_waiting;
use super::canvas::Canvas;

/// How many columns are before the first field: the cursor and the mark.
const SIGNS: usize = 3;
/// With less room than this, no message shows.
const MESSAGE: usize = 16;
/// No age is longer.
const AGE: usize = 6;

/// A column on the screen.
struct Column {
    what: What,
    title: String,
    width: usize,
}

/// What a column shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Namespace,
    Name,
    Field(usize),
    Message,
}

/// Draws it, and says how many rows were put into words.
pub(super) fn draw(model: &Model, list: &List, canvas: &mut Canvas<'_>, area: Rect) -> usize {
    let columns = columns(model, list, usize::from(area.width));
    let last = columns.len() - 1;
    let mut heading = Text::plain(" ".repeat(SIGNS));
    for (at, column) in columns.iter().enumerate() {
        heading = heading.and(Tone::Head, pad(&column.title, column.width + gap(at, last)));
    }
    canvas.text(area.x, area.y, area.width, &heading, Part::Body);
    if list.order.is_empty() {
        empty(model, list, canvas, area);
        return 0;
    }
    let mut drawn = 0;
    let shelf = model.store.shelf(list.kind.plural);
    let height = usize::from(area.height.saturating_sub(1));
    let rows = list.order.iter().enumerate().skip(list.top).take(height);
    for (y, (at, key)) in (area.y + 1..area.bottom()).zip(rows) {
        let Some(entry) = shelf.get(key) else {
            continue;
        };
        let on = at == list.at();
        let part = if on { Part::Cursor } else { Part::Body };
        if on {
            canvas.fill(
                Rect {
                    y,
                    height: 1,
                    ..area
                },
                part,
            );
        }
        let line = row(model, list, &columns, key, entry, on);
        canvas.text(area.x, y, area.width, &line, part);
        drawn += 1;
    }
    drawn
}

fn row(model: &Model, list: &List, columns: &[Column], key: &Key, entry: &Entry, on: bool) -> Text {
    let cursor = if on { ">" } else { " " };
    let mark = if list.marks.contains(key) { "*" } else { " " };
    let mut line = Text::of(Tone::Head, format!("{cursor}{mark} "));
    let last = columns.len() - 1;
    for (number, column) in columns.iter().enumerate() {
        let (tone, text) = match column.what {
            What::Namespace => (Tone::Plain, key.namespace.to_string()),
            What::Name => (Tone::Plain, fit_middle(&key.name, column.width)),
            What::Message => (Tone::Faint, message(entry)),
            What::Field(at) if list.kind.columns[at].title == "age" => {
                let made = object::created(&entry.object);
                let age = made.map(|then| age::since(then, model.now));
                (Tone::Plain, age.unwrap_or_else(|| "-".to_owned()))
            }
            What::Field(at) => match &entry.cells[at] {
                cell if cell.text.is_empty() => (Tone::Faint, "-".to_owned()),
                cell => (cell.tone, cell.text.clone()),
            },
        };
        line = line.and(tone, pad(&text, column.width + gap(number, last)));
    }
    line
}

/// The space behind a column: none behind the last.
fn gap(at: usize, last: usize) -> usize {
    if at == last { 0 } else { GAP }
}

fn message(entry: &Entry) -> String {
    if entry.health.is_ready() {
        return String::new();
    }
    crate::style::tame(&entry.health.message)
}

/// The columns that fit.
fn columns(model: &Model, list: &List, width_of_all: usize) -> Vec<Column> {
    let mut all = Vec::new();
    let mut keep = Vec::new();
    let mut add = |what: What, title: &str, least: usize, dear: u8| {
        let title = titled(list, what, title);
        let width = least.max(width(&title));
        all.push(Column { what, title, width });
        keep.push(dear);
    };
    let room = width_of_all.saturating_sub(SIGNS);
    // One long name must not take the room of what all rows say; what is left over is its own.
    let most = (room * 3 / 10).max(16);
    if list.everywhere() {
        add(
            What::Namespace,
            "namespace",
            list.namespace_width.min(most),
            ALWAYS,
        );
    }
    add(What::Name, "name", list.name_width.min(most), ALWAYS);
    for (at, column) in list.kind.columns.iter().enumerate() {
        if column.wide && !model.show.wide {
            continue;
        }
        let least = match column.title {
            "age" => AGE,
            _ => list.widths[at].max(1),
        };
        // The column that was chosen stays in sight, and so does the one that is sorted by.
        let chosen = list.column == Some(at) || list.query.by == By::Column(at);
        let dear = match (chosen, column.wide) {
            (true, _) => 250,
            (false, true) => 5,
            (false, false) => column.keep,
        };
        add(What::Field(at), column.title, least, dear);
    }
    let mut widths: Vec<usize> = all.iter().map(|column| column.width).collect();
    let shown = choose(&keep, &mut widths, room);
    let mut columns: Vec<Column> = Vec::new();
    for (at, column) in all.into_iter().enumerate() {
        if shown.contains(&at) {
            columns.push(Column {
                width: widths[at],
                ..column
            });
        }
    }
    let taken = |columns: &[Column]| -> usize {
        columns
            .iter()
            .map(|column| column.width + GAP)
            .sum::<usize>()
            - GAP
    };
    let spare = room.saturating_sub(taken(&columns));
    if let Some(name) = columns.iter_mut().find(|column| column.what == What::Name) {
        name.width += spare.min(list.name_width.saturating_sub(name.width));
    }
    let left = room.saturating_sub(taken(&columns) + GAP);
    if left >= MESSAGE {
        columns.push(Column {
            what: What::Message,
            title: "WHY".to_owned(),
            width: left,
        });
    }
    columns
}

/// A title with its sign: the order, and the column that was chosen.
fn titled(list: &List, what: What, title: &str) -> String {
    let sorted = match (list.query.by, what) {
        (By::Name, What::Name) => true,
        (By::Age, What::Field(at)) => list.kind.columns[at].title == "age",
        (By::Status, What::Field(at)) => list.kind.columns[at].title == "reason",
        (By::Column(column), What::Field(at)) => column == at,
        _ => false,
    };
    let arrow = match (sorted, list.query.reverse) {
        (false, _) => "",
        (true, false) => "↑",
        (true, true) => "↓",
    };
    let chosen = match what {
        What::Field(at) => list.column == Some(at),
        _ => false,
    };
    let title = title.to_uppercase();
    if chosen {
        format!("[{title}]{arrow}")
    } else {
        format!("{title}{arrow}")
    }
}

/// What an empty list says, and what to do about it.
fn empty(model: &Model, list: &List, canvas: &mut Canvas<'_>, area: Rect) {
    let plural = list.kind.plural;
    let shelf = model.store.shelf(plural);
    let narrowed = !list.query.filter.is_empty() || list.query.faults;
    let place = match (&list.query.namespace, &list.query.of) {
        (Some(namespace), _) => format!(" in namespace {namespace}"),
        (None, Some(owner)) => format!(" of {}", owner.label()),
        (None, None) => String::new(),
    };
    let (first, second) = match &shelf.reach {
        Reach::Denied(why) => (
            Text::of(Tone::Waiting, format!("you may not list {plural}: {why}")),
            "ask an admin of the tenant for a role, or look at another namespace: 1 to 9"
                .to_owned(),
        ),
        _ if is_waiting(model, list) => (
            Text::of(Tone::Faint, format!("reading {plural} …")),
            String::new(),
        ),
        Reach::Lost(_) if shelf.is_empty() => (
            Text::of(Tone::Bad, "nothing is known: the server cannot be reached"),
            String::new(),
        ),
        _ if list.query.faults && list.query.filter.is_empty() => (
            Text::of(
                Tone::Good,
                format!("every one of the {plural}{place} is ready"),
            ),
            "ctrl-z: show them all".to_owned(),
        ),
        _ if narrowed => (
            Text::plain(format!("none of the {plural}{place} matches")),
            "esc: take the filter away".to_owned(),
        ),
        _ => (
            Text::plain(format!("there are no {plural}{place}")),
            first_step(model, list),
        ),
    };
    canvas.text(
        area.x + 3,
        area.y + 2,
        area.width.saturating_sub(4),
        &first,
        Part::Body,
    );
    let second = Text::of(Tone::Faint, second);
    canvas.text(
        area.x + 3,
        area.y + 3,
        area.width.saturating_sub(4),
        &second,
        Part::Body,
    );
}

fn first_step(model: &Model, list: &List) -> String {
    let creatable = super::super::prompt::CREATABLE.contains(&list.kind.singular);
    match (creatable, model.readonly, list.query.namespace.is_some()) {
        (true, false, true) => "n: make one; 0: look at all tenants".to_owned(),
        (true, false, false) => "n: make one; ?: all keys".to_owned(),
        (false, false, _) => {
            "apply a file: bbctl apply -f FILE; docs/spec says what is in it".to_owned()
        }
        (_, true, _) => "?: all keys".to_owned(),
    }
}
