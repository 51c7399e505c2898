//! Turns ten thousand instances and a hundred changes a second into the figures of the dashboard;
//! fails when a goal is missed.
//!
//! The first half is the core without a terminal: what a frame costs. The second is the program in
//! a terminal, before a server that plays the API: when rows show, and what it takes to watch.
//! `frames` or `program` as an argument measures one half.

mod frames;
mod program;
mod server;
mod world;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How many instances there are.
const OBJECTS: usize = 10_000;
/// How many of them change in a second.
const CHANGES: usize = 100;
/// Columns and lines.
const TERMINAL: (u16, u16) = (160, 50);

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

/// What was measured, and what it may be at most.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    goal: Option<f64>,
    how: &'static str,
}

impl Figure {
    const fn new(name: &'static str, value: f64, unit: &'static str, how: &'static str) -> Self {
        let goal = None;
        Self {
            name,
            value,
            unit,
            goal,
            how,
        }
    }

    const fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    fn is_missed(&self) -> bool {
        self.goal.is_some_and(|goal| self.value > goal)
    }
}

fn main() -> ExitCode {
    let done = measure().and_then(|figures| {
        let table = table(&figures)?;
        write!(std::io::stdout(), "{table}")?;
        if std::env::var("BENCH_RECORD").is_ok_and(|value| value == "1") {
            record(&table)?;
        }
        Ok(figures.iter().any(Figure::is_missed))
    });
    match done {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(error) => {
            // There is nowhere else to say it.
            let _ = writeln!(std::io::stderr(), "ui_bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Answer<Vec<Figure>> {
    let half = std::env::args().nth(1);
    let mut figures = Vec::new();
    if half.as_deref() != Some("program") {
        figures.extend(frames::measure()?);
    }
    if half.as_deref() != Some("frames") {
        figures.extend(program::measure()?);
    }
    Ok(figures)
}

/// The figures as a table of the page.
fn table(figures: &[Figure]) -> Answer<String> {
    let profile = match cfg!(debug_assertions) {
        true => "without optimization",
        false => "in release mode",
    };
    let cores = std::thread::available_parallelism()?;
    let mut text = format!(
        "Built {profile}, measured on a machine with {cores} cores.\n\n\
         | figure | value | goal | how it is measured |\n|---|---|---|---|\n"
    );
    for figure in figures {
        let goal = match figure.goal {
            None => "none".to_owned(),
            Some(goal) if figure.is_missed() => format!("at most {goal}, **missed**"),
            Some(goal) => format!("at most {goal}, met"),
        };
        let digits = usize::from(figure.value.fract() > 0.0);
        writeln!(
            text,
            "| `{}` | {:.digits$} {} | {goal} | {} |",
            figure.name, figure.value, figure.unit, figure.how
        )?;
    }
    Ok(text)
}

/// Writes the table where the page has its place.
fn record(table: &str) -> Answer<()> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/figures.md");
    let page = std::fs::read_to_string(&path)?;
    let (begin, end) = ("<!-- dashboard -->", "<!-- end of dashboard -->");
    let lacks = || format!("{} lacks the place of this table", path.display());
    let (before, rest) = page.split_once(begin).ok_or_else(lacks)?;
    let (_, after) = rest.split_once(end).ok_or_else(lacks)?;
    std::fs::write(&path, format!("{before}{begin}\n{table}{end}{after}"))?;
    Ok(())
}
