//! Turns what a VyOS 1.5 was seen to do into demands on the client, tried against a stand-in.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on ends"
)]

mod batches;
mod claims;
mod debts;
mod faults;
mod foreign;
mod life;
mod refusals;
mod router_faults;
mod stand;
mod tenant;
mod trust;
mod turn;
