//! Turns a request that was made into what is told of it to whoever counts.

use std::sync::Arc;
use std::time::Duration;

/// A request to a router or a cluster that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is: the method and the path with its variable parts as words, such as
    /// `GET /cluster/resources`, or a path of which there are few, such as `/configure`.
    pub name: &'static str,
    /// Whether it may change something.
    pub write: bool,
    /// The status of the answer, 0 where there was none.
    pub status: u16,
    /// How long the answer took.
    pub took: Duration,
}

/// Is told of every request.
pub type Observer = Arc<dyn Fn(&Request) + Send + Sync>;
