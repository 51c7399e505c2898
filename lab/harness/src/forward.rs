//! Turns connections on one side of a network namespace into connections on the other side.
//!
//! A node has a network of its own, without a wire to this machine's. What listens on our loopback
//! address is reached from there by ports that listen in the namespace and are connected from
//! outside; kubelet and pods are reached from here by HTTP CONNECT, which API servers speak. A
//! socket belongs to the namespace that its thread was in when it was made, so each side is dialled
//! by a thread that went there first.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

/// How long the other side may take to take a connection.
const DIAL: Duration = Duration::from_secs(5);
/// The longest request of an API server that we read: one line and few headers.
const REQUEST: usize = 4096;

/// What is carried, and where to.
#[derive(Clone, Debug)]
pub struct Ways {
    /// A process in the namespace.
    pub pid: i32,
    /// The address in the namespace that listens.
    pub address: Ipv4Addr,
    /// Its ports, each for the same port on this machine's loopback address.
    pub out: Vec<u16>,
    /// The socket that takes HTTP CONNECT for what is in the namespace; one that is there is
    /// replaced.
    pub into: PathBuf,
}

type Space = Arc<File>;

/// Carries connections until the process ends.
///
/// # Errors
/// When there is no such namespace, or a port is taken.
pub fn serve(ways: &Ways) -> Result<()> {
    let here = space("self")?;
    let there = space(&ways.pid.to_string())?;
    let listeners = listen_in(&there, ways)?;
    let _ = std::fs::remove_file(&ways.into);
    let way_in = UnixListener::bind(&ways.into)
        .with_context(|| format!("cannot listen on {}", ways.into.display()))?;
    for (listener, port) in listeners.into_iter().zip(ways.out.iter().copied()) {
        let here = Arc::clone(&here);
        std::thread::spawn(move || {
            let target = format!("127.0.0.1:{port}");
            for client in listener.incoming().map_while(Result::ok) {
                let (here, target) = (Arc::clone(&here), target.clone());
                // One connection that fails is its two ends' affair: both see it closed.
                std::thread::spawn(move || drop(pass(client, &here, &target)));
            }
        });
    }
    for client in way_in.incoming().map_while(Result::ok) {
        let there = Arc::clone(&there);
        std::thread::spawn(move || drop(connect(client, &there)));
    }
    bail!("the socket {} has broken", ways.into.display())
}

fn space(process: &str) -> Result<Space> {
    let path = format!("/proc/{process}/ns/net");
    let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    Ok(Arc::new(file))
}

/// Listens in the namespace. The thread that went there ends there.
fn listen_in(there: &Space, ways: &Ways) -> Result<Vec<TcpListener>> {
    let (there, address, ports) = (Arc::clone(there), ways.address, ways.out.clone());
    let outcome = std::thread::spawn(move || {
        setns(&*there, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
        let bind = |port: &u16| {
            TcpListener::bind((address, *port))
                .with_context(|| format!("cannot listen on {address}:{port} in the namespace"))
        };
        ports.iter().map(bind).collect()
    });
    outcome
        .join()
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that listens has died")))
}

/// Carries a connection to a target in a namespace.
fn pass(client: TcpStream, space: &Space, target: &str) -> io::Result<()> {
    client.set_nodelay(true)?;
    carry(client, dial(space, target)?)
}

/// Answers `CONNECT host:port` and carries what follows.
fn connect(mut client: UnixStream, space: &Space) -> io::Result<()> {
    let request = read_request(&mut client)?;
    let Some(target) = target(&request) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n");
    };
    match dial(space, target) {
        Ok(server) => {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            carry(client, server)
        }
        Err(error) => {
            client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")?;
            Err(error)
        }
    }
}

/// Reads up to the empty line. Nothing follows it before we have answered.
fn read_request(client: &mut impl Read) -> io::Result<String> {
    let mut request = Vec::new();
    let mut byte = [0_u8];
    while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST {
        if client.read(&mut byte)? == 0 {
            break;
        }
        request.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

fn target(request: &str) -> Option<&str> {
    let rest = request.strip_prefix("CONNECT ")?;
    rest.split(' ').next()
}

/// Connects from within a namespace, in which the thread then stays.
fn dial(space: &Space, target: &str) -> io::Result<TcpStream> {
    setns(&**space, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
    let address = target.parse().map_err(io::Error::other)?;
    let server = TcpStream::connect_timeout(&address, DIAL)?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// An end of a connection, which two threads use at once.
trait End: Read + Write + Send + Sized + 'static {
    fn again(&self) -> io::Result<Self>;
    /// Tells the other side that nothing follows; one that is gone knows.
    fn finish(&self);
}

impl End for TcpStream {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn finish(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl End for UnixStream {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn finish(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// Copies both ways until both ends have said that nothing follows.
fn carry(one: impl End, other: impl End) -> io::Result<()> {
    let (from, to) = (one.again()?, other.again()?);
    std::thread::spawn(move || copy(from, to));
    copy(other, one);
    Ok(())
}

/// An end that breaks closes the other: that is all there is to tell.
fn copy(mut from: impl End, mut to: impl End) {
    let _ = io::copy(&mut from, &mut to);
    to.finish();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_what_connect_names() {
        let request = "CONNECT 10.88.0.1:10250 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        assert_eq!(target(request), Some("10.88.0.1:10250"));
        assert_eq!(target("GET / HTTP/1.1\r\n\r\n"), None);
    }
}
