//! Turns command lines into what users see of them, without a cluster.

mod ends;
mod help;
mod keep;
mod loss;
mod pages;
mod status;
mod support;
mod tables;
mod told;
mod walk;
mod watches;
