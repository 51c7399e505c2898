//! The pictures and tables of docs/ui.md are those of the program.
//!
//! `UPDATE=1 cargo test -p bbctl --test ui pictures` draws them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::kit::Desk;

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Compares a file with what it should be, or writes it where that is asked for.
fn agree(path: &str, wanted: &str) {
    let path = docs().join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, wanted).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == wanted,
        "{} is not what the program shows: UPDATE=1 cargo test -p bbctl --test ui pictures",
        path.display()
    );
}

#[test]
fn the_pictures_show_what_the_program_shows() {
    let screens: [(&str, fn(&mut Desk)); 7] = [
        ("instances", |_| {}),
        ("pulses", |desk| {
            desk.press("shift-p");
            for _ in 0..30 {
                desk.later(5);
            }
        }),
        ("describe", |desk| {
            desk.press(": \"networks\" enter d");
            desk.hear();
        }),
        ("form", |desk| {
            desk.press("1 n");
        }),
        ("plan", |desk| {
            super::plans::asked(desk);
            desk.ended(0, super::plans::TOLD);
        }),
        ("settings", |desk| {
            super::settings::told(desk);
            desk.press("right");
        }),
        ("delete", |desk| super::changes::weigh(desk, "www-1", false)),
    ];
    for (name, prepare) in screens {
        let mut desk = Desk::example();
        desk.size(100, 26);
        prepare(&mut desk);
        agree(&format!("ui/{name}.svg"), &svg(&desk.buffer()));
    }
}

#[test]
fn the_table_of_keys_is_that_of_the_program() {
    let path = docs().join("ui.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- keys -->", "<!-- end of keys -->");
    let (before, rest) = page
        .split_once(begin)
        .expect("the page has the marker of the keys");
    let (_, after) = rest
        .split_once(end)
        .expect("the page has the end of the keys");
    let keys = bbctl::ui::help::markdown();
    agree("ui.md", &format!("{before}{begin}\n{keys}\n{end}{after}"));
}

#[test]
fn the_files_on_the_page_are_understood() {
    let page = std::fs::read_to_string(docs().join("ui.md")).unwrap();
    let parts = page.split("```toml\n").skip(1);
    let files: Vec<&str> = parts
        .filter_map(|part| Some(part.split_once("```")?.0))
        .collect();
    let [own, skin] = files.as_slice() else {
        panic!("there are {} files on the page", files.len());
    };
    let own = bbctl::ui::own::parse(own, Path::new("ui.toml"));
    assert_eq!(own.unwrap().aliases["vms"], "instances");
    let skin = bbctl::ui::skin::parse("mine", skin, Path::new("mine.toml"));
    assert_eq!(skin.unwrap().name(), "mine");
}

const CELL: (usize, usize) = (8, 17);

/// A screen as a picture.
fn svg(buffer: &Buffer) -> String {
    let area = buffer.area();
    let (wide, high) = (
        usize::from(area.width) * CELL.0,
        usize::from(area.height) * CELL.1,
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" font-family=\"monospace\" font-size=\"13\">\n"
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let style = buffer[(x, y)].style();
            let from = x;
            let mut run = String::new();
            while x < area.width && buffer[(x, y)].style() == style {
                run.push_str(buffer[(x, y)].symbol());
                x += 1;
            }
            let (left, top) = (usize::from(from) * CELL.0, usize::from(y) * CELL.1);
            let width = usize::from(x - from) * CELL.0;
            let ground = hex(style.bg);
            writeln!(text, "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{}\" fill=\"{ground}\"/>", CELL.1).unwrap();
            if run.trim().is_empty() {
                continue;
            }
            let weight = if style.add_modifier.contains(Modifier::BOLD) {
                " font-weight=\"bold\""
            } else {
                ""
            };
            let run = run
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            writeln!(
                text,
                "<text x=\"{left}\" y=\"{}\" fill=\"{}\"{weight} textLength=\"{width}\" xml:space=\"preserve\">{run}</text>",
                top + 13,
                hex(style.fg)
            )
            .unwrap();
        }
    }
    text.push_str("</svg>\n");
    text
}

fn hex(colour: Option<Color>) -> String {
    let Some(Color::Indexed(colour)) = colour else {
        return "#000000".to_owned();
    };
    let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    let [red, green, blue] = match colour {
        232..=255 => [8 + 10 * (colour - 232); 3],
        _ => {
            let at = colour.saturating_sub(16);
            [level(at / 36), level(at / 6 % 6), level(at % 6)]
        }
    };
    format!("#{red:02x}{green:02x}{blue:02x}")
}
