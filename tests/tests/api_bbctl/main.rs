//! bbctl, the program as it is installed, against a real API server.

mod around;
mod examples;
mod member;
mod nouns;
mod read;
mod whole;
mod write;
