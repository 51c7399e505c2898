//! Turns a command line into what it wrote and how it ended, without a process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufReader, Cursor, Write};
use std::sync::{Arc, Mutex};

use bbctl::error::Exit;
use bbctl::out::Io;

/// What a command line wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What is around a command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) stdin: String,
    pub(crate) interactive: bool,
    pub(crate) columns: Option<usize>,
    pub(crate) stdout_is_closed: bool,
}

impl Around {
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("no writer panics").clone();
        String::from_utf8(bytes).expect("bbctl writes text")
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no writer panics")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe whose reader went away.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `bbctl WORDS`.
pub(crate) async fn bbctl(words: &str, around: Around) -> Ran {
    let argv = std::iter::once("bbctl").chain(words.split_whitespace());
    let argv: Vec<_> = argv.map(Into::into).collect();
    run(&argv, around).await
}

/// Runs a command line, the program's name first.
pub(crate) async fn run(argv: &[OsString], around: Around) -> Ran {
    let (stdout, stderr) = (Buffer::default(), Buffer::default());
    let out: Box<dyn Write + Send> = match around.stdout_is_closed {
        true => Box::new(Closed),
        false => Box::new(stdout.clone()),
    };
    let io = Io {
        env: around.env,
        stdin: Box::new(BufReader::new(Cursor::new(around.stdin.into_bytes()))),
        stdout: out,
        stderr: Box::new(stderr.clone()),
        interactive: around.interactive,
        stdout_is_terminal: false,
        stderr_is_terminal: around.interactive,
        columns: around.columns,
    };
    let exit = bbctl::run(argv, io).await;
    Ran {
        exit,
        stdout: stdout.text(),
        stderr: stderr.text(),
    }
}
