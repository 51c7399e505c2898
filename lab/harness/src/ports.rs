//! Turns a wish for a TCP port into one that stays ours across a restart.
//!
//! Ports come from below the range that the kernel gives to outgoing connections. Within that
//! range a client that tries again while a server is down can be given the server's own port,
//! connect to itself, and keep the server from coming back.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

const LOWEST: u32 = 10_000;
/// How many ports are tried before we say that none is free.
const TRIES: u32 = 2_000;

/// Returns a port on 127.0.0.1 that nothing listens on now.
///
/// # Errors
/// When no port was free after many tries.
pub(crate) fn free() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let highest = ephemeral_start()
        .filter(|start| *start > LOWEST + 1_000)
        .unwrap_or(32_768);
    // Neighbours (other test processes) start from other places, so they seldom meet.
    let seed = std::process::id().wrapping_mul(7919) ^ nanos();
    for _ in 0..TRIES {
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(31);
        let port = LOWEST + seed.wrapping_add(step) % (highest - LOWEST);
        let Ok(port) = u16::try_from(port) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free TCP port on 127.0.0.1 between {LOWEST} and {highest}")
}

fn ephemeral_start() -> Option<u32> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn nanos() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_and_not_given_to_outgoing_connections() {
        let port = free().unwrap();
        assert!(u32::from(port) < ephemeral_start().unwrap_or(32_768).max(LOWEST + 1_000));
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn two_calls_give_two_ports() {
        assert_ne!(free().unwrap(), free().unwrap());
    }
}
