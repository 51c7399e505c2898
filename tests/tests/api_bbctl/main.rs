//! bbctl, the program as it is installed, against a real API server.

mod around;
mod ends;
mod examples;
mod forms;
mod graver;
mod guests;
mod hour;
mod member;
mod nouns;
mod prune;
mod read;
mod remote;
mod shells;
mod start;
mod watched;
mod whole;
mod write;
