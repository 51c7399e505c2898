//! Turns verbs into a lab.
fn main() {}
