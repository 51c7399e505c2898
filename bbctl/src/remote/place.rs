//! Turns `HOST[:PORT]` as a person writes it into a host and a port.

use std::net::Ipv6Addr;

use crate::error::Failure;

/// A host and its port, where one is said, of `HOST`, `HOST:PORT`, `[ADDRESS]`, `[ADDRESS]:PORT` or
/// a bare IPv6 address. The host has no brackets. `flag` is whose value it is, for the hint.
///
/// # Errors
/// When it is none of these.
pub fn parse(said: &str, flag: &str) -> Result<(String, Option<u16>), Failure> {
    let bad = || {
        Failure::usage(format!("`{said}` is no HOST[:PORT]")).hint(format!(
            "as in {flag}=192.0.2.1, {flag}=r1:2222 or {flag}=[2001:db8::1]:22"
        ))
    };
    let (host, port) = match said.strip_prefix('[') {
        Some(rest) => match rest.split_once(']').ok_or_else(bad)? {
            (host, "") => (host, None),
            (host, rest) => (host, Some(rest.strip_prefix(':').ok_or_else(bad)?)),
        },
        None => match said.split_once(':') {
            // More than one colon: an address, maybe with the interface that it is behind.
            Some((_, rest)) if rest.contains(':') => {
                let address = said.split('%').next().unwrap_or_default();
                address.parse::<Ipv6Addr>().map_err(|_| bad())?;
                (said, None)
            }
            Some((host, port)) => (host, Some(port)),
            None => (said, None),
        },
    };
    if host.is_empty() {
        return Err(bad());
    }
    let port = port.map(|port| port.parse().map_err(|_| bad()));
    Ok((host.to_owned(), port.transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn hosts_are_told_from_ports() {
        for (said, host, port) in [
            ("r1", "r1", None),
            ("r1:2222", "r1", Some(2222)),
            ("192.0.2.1", "192.0.2.1", None),
            ("127.0.0.1:2222", "127.0.0.1", Some(2222)),
            ("2001:db8::1", "2001:db8::1", None),
            ("fe80::1%eth0", "fe80::1%eth0", None),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:22", "2001:db8::1", Some(22)),
        ] {
            assert_eq!(parse(said, "--x").unwrap(), (host.to_owned(), port));
        }
        for bad in [
            "",
            ":22",
            "r1:22:22",
            "10.0.0.1:22:22",
            "r1:x",
            "r1:",
            "[::1",
            "[::1]x",
            "[]:22",
            "r1:99999",
        ] {
            let failure = parse(bad, "--ssh").unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{bad}");
            assert!(failure.hint.unwrap().contains("--ssh=r1:2222"));
        }
    }
}
