//! Turns a command line into reads and writes of bitbuilder.cloud's resources, and their answers
//! into text for people and documents for programs.

pub mod age;
pub mod bundle;
pub mod change;
pub mod checks;
pub mod cli;
pub mod cmd;
pub mod complete;
pub mod confirm;
pub mod connect;
pub mod difference;
pub mod error;
pub mod goal;
pub mod gravity;
pub mod kinds;
pub mod kubeconfig;
pub mod kustomize;
pub mod lean;
pub mod lent;
pub mod manifest;
pub mod nearest;
pub mod next;
pub mod object;
pub mod out;
pub mod outline;
pub mod pager;
pub mod pages;
mod pin;
pub mod portrait;
pub mod redact;
pub mod reference;
pub mod related;
pub mod remote;
pub mod resource;
pub mod results;
pub mod select;
pub mod send;
pub mod session;
pub mod set;
pub mod sign;
pub mod start;
pub mod style;
pub mod table;
pub mod ui;
pub mod usage;
pub mod watch;

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;

use crate::error::{Exit, Failure};
use crate::next::Next;
use crate::out::{Format, Io, Look, Out};

/// Runs one command line, the program's name first, and says how it ended.
///
/// Everything it reads and writes goes through `io`; it neither exits nor panics.
pub async fn run(argv: &[OsString], io: Io) -> Exit {
    // Another user of this library may have chosen one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let format = if cli::wants_json(argv) {
        Format::Json
    } else {
        Format::Table
    };
    let no_color = argv.iter().any(|word| word == "--no-color");
    let mut out = Out::new(
        io,
        Look {
            format,
            no_color,
            no_input: false,
            no_pager: argv.iter().any(|word| word == "--no-pager"),
        },
    );
    let sign = out.sign().clone();
    let ended = {
        let mut work = Box::pin(carry_out(argv, &mut out));
        tokio::select! {
            biased;
            ended = &mut work => ended,
            () = tokio::time::sleep(sign::SOON) => {
                sign.give();
                work.await
            }
        }
    };
    let ended = ended.and_then(|exit| out.finish().map(|()| exit));
    match ended {
        Ok(exit) => exit,
        Err(failure) => {
            // What was written before it failed is still good; it goes first.
            let _ = out.finish();
            out.report(&failure);
            failure.exit
        }
    }
}

async fn carry_out(argv: &[OsString], out: &mut Out) -> Result<Exit, Failure> {
    let called = argv.first().and_then(|name| Path::new(name).file_stem());
    let called = called.and_then(|name| name.to_str()).unwrap_or_default();
    if called.starts_with("kubectl_complete-") {
        let words = argv
            .iter()
            .skip(1)
            .map(|word| word.to_string_lossy().into_owned());
        let words = cmd::completion::Words {
            words: words.collect(),
        };
        return cmd::completion::complete_for_kubectl(&words, out).await;
    }
    if argv.len() <= 1 {
        out.raw(cli::STARTER.as_bytes())?;
        return Ok(Exit::Ok);
    }
    match cli::parse(argv, out.width()) {
        Ok(mut cli) => {
            let called = argv.first().and_then(|path| path.to_str());
            out.set_next(Next::of(&cli.globals, &cli::called_as(called)));
            if cli.verb.has_settings() {
                start::config::layers(out.env())?.fill(&mut cli.globals)?;
            }
            out.set_look(cli.globals.look());
            cmd::run(cli, out).await
        }
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                out.page();
                let text = error.render();
                let text = match out.colour() {
                    style::Colour::On => text.ansi().to_string(),
                    style::Colour::Off => text.to_string(),
                };
                out.raw(text.as_bytes())?;
                Ok(Exit::Ok)
            }
            _ => Err(usage::misuse(argv, &error)),
        },
    }
}
