//! Turns what a VyOS 1.5 was seen to do into demands on the client, tried against a stand-in.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

mod debts;
mod faults;
mod life;
mod stand;
mod tenant;
mod trust;
mod turn;
