//! bbctl, the program as it is installed, against a real API server.

mod around;
mod read;
mod whole;
mod write;
