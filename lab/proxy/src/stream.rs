//! Turns an answer's body into one that can be cut, silenced and added to while it runs.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::call::{Asked, Entry};
use crate::rule::Fits;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("cut on purpose")]
    Cut,
    #[error("the upstream broke off")]
    Upstream(#[from] reqwest::Error),
}

/// What a test does to an answer that runs.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Ends it as a lost connection does.
    Cut,
    /// Passes nothing on any more, and keeps the connection.
    Silence,
    /// Adds this at the next chunk's edge.
    Add(Bytes),
}

/// The answers that run; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Listed>>);

/// What each answer was asked for, and where to send orders to it, by the call's number.
type Listed = BTreeMap<u64, (Asked, UnboundedSender<Order>)>;

impl Running {
    fn all(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an order to every running answer whose call fits; tells how many those are.
    pub(crate) fn order(&self, fits: &Fits, order: &Order) -> usize {
        let all = self.all();
        let meant = all.values().filter(|(asked, _)| fits.fits(asked));
        meant
            .filter(|(_, orders)| orders.send(order.clone()).is_ok())
            .count()
    }

    pub(crate) fn wrap(&self, seq: u64, asked: Asked, entry: Entry, body: reqwest::Body) -> Answer {
        let (sender, orders) = unbounded_channel();
        self.all().insert(seq, (asked, sender));
        Answer {
            body: Source::Upstream(body),
            orders,
            added: Bytes::new(),
            silent: false,
            running: Some((self.clone(), seq, entry)),
        }
    }
}

enum Source {
    Upstream(reqwest::Body),
    Fixed(Bytes),
}

/// An answer's body.
pub(crate) struct Answer {
    body: Source,
    orders: UnboundedReceiver<Order>,
    added: Bytes,
    silent: bool,
    /// Keeps the call open, and this answer listed.
    running: Option<(Running, u64, Entry)>,
}

impl Answer {
    /// A body of the proxy's own.
    pub(crate) fn fixed(text: String) -> Self {
        let (_, orders) = unbounded_channel();
        Self {
            body: Source::Fixed(text.into()),
            orders,
            added: Bytes::new(),
            silent: false,
            running: None,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some((running, seq, _)) = &self.running {
            running.all().remove(seq);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        while let Poll::Ready(Some(order)) = self.orders.poll_recv(context) {
            match order {
                Order::Cut => return Poll::Ready(Some(Err(Broken::Cut))),
                Order::Silence => self.silent = true,
                Order::Add(bytes) => self.added = bytes,
            }
        }
        if self.silent {
            return Poll::Pending;
        }
        if !self.added.is_empty() {
            let added = std::mem::take(&mut self.added);
            return Poll::Ready(Some(Ok(Frame::data(added))));
        }
        match &mut self.body {
            Source::Fixed(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Fixed(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Upstream(body) => Pin::new(body).poll_frame(context).map_err(Broken::Upstream),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Fixed(bytes) => bytes.is_empty(),
            Source::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Fixed(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(body) => body.size_hint(),
        }
    }
}

/// A Status object of the Kubernetes API, as JSON.
pub(crate) fn status_object(code: u16, reason: &str, message: &str) -> String {
    format!(
        "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"status\":\"Failure\",\
         \"message\":{message:?},\"reason\":{reason:?},\"code\":{code}}}"
    )
}

/// The line by which a watch of the Kubernetes API says that it failed: 410 `Expired`, say.
#[must_use]
pub fn watch_error(code: u16, reason: &str, message: &str) -> String {
    let object = status_object(code, reason, message);
    format!("{{\"type\":\"ERROR\",\"object\":{object}}}\n")
}
