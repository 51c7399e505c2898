//! Turns an address into another one before it, whose way is switched while it is used.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bb_lab_kit::Stop;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They pass.
    Open,
    /// Each piece that was read passes after this time.
    Slow(Duration),
    /// Connections stay, and new ones are taken, but nothing passes. What was sent meanwhile
    /// passes once the way is open, as TCP would send it again.
    BlackHole,
    /// Every connection is closed, and each new one at once.
    Cut,
}

/// A proxy for bytes that runs until it is dropped.
#[derive(Debug)]
pub struct Tcp {
    address: SocketAddr,
    way: watch::Sender<Way>,
    stop: Stop,
}

impl Tcp {
    /// Starts one on a free port of this machine, open.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("cannot get a port")?;
        let address = listener.local_addr().context("a listener has no address")?;
        let (way, seen) = watch::channel(Way::Open);
        let stop = Stop::new();
        tokio::spawn(accept(listener, upstream, seen, stop.clone()));
        Ok(Self { address, way, stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Switches the way, for connections that are there too.
    pub fn switch(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    way: watch::Receiver<Way>,
    stop: Stop,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        while open.try_join_next().is_some() {}
        if let Ok((stream, _)) = accepted {
            open.spawn(carry(stream, upstream, way.clone()));
        }
    }
}

/// Carries one connection until either end closes it or the way is cut.
async fn carry(stream: TcpStream, upstream: SocketAddr, way: watch::Receiver<Way>) {
    let mut cut = way.clone();
    let both = async {
        let mut start = way.clone();
        // Nothing reaches the upstream while nothing passes, not even a connection.
        if start.wait_for(|way| *way != Way::BlackHole).await.is_err() {
            return;
        }
        let Ok(there) = TcpStream::connect(upstream).await else {
            return;
        };
        let _ = (stream.set_nodelay(true), there.set_nodelay(true));
        let (from, to) = (stream.into_split(), there.into_split());
        tokio::join!(
            pass(from.0, to.1, way.clone()),
            pass(to.0, from.1, way.clone())
        );
    };
    tokio::select! {
        () = both => {}
        _ = cut.wait_for(|way| *way == Way::Cut) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut piece = vec![0; 64 << 10];
    loop {
        let Ok(read) = from.read(&mut piece).await else {
            return;
        };
        let now = match way.wait_for(|way| *way != Way::BlackHole).await {
            Ok(now) => *now,
            Err(_) => return,
        };
        if let Way::Slow(time) = now {
            tokio::time::sleep(time).await;
        }
        let done = if read == 0 {
            to.shutdown().await
        } else {
            to.write_all(&piece[..read]).await
        };
        if done.is_err() || read == 0 {
            return;
        }
    }
}
