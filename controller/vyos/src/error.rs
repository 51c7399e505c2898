//! Turns what can go wrong with a router into classes that a caller can act on.

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Begin a new pass at once: read, plan again, then send.
    Now,
    /// Begin a new pass after a pause that grows.
    Backoff,
    /// Wait for another spec or another endpoint: no pause will help.
    OnChange,
}

/// Why a call to a router did not succeed.
///
/// Texts are the router's own words, unescaped, in one line and bounded. They never hold the API
/// key nor the value of a secret leaf. There is no `source`: what lies below is a text already,
/// because the router echoes whole requests and the HTTP library prints what it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// The endpoint itself makes no sense: its address, key, CA or fingerprints.
    #[error("the router's endpoint cannot be used: {text}")]
    Endpoint {
        /// What is wrong with it.
        text: String,
    },
    /// No connection, or no answer to a read. Nothing was applied.
    #[error("cannot reach the router at {url}: {text}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What the network said.
        text: String,
    },
    /// The certificate is not the one to trust. Nothing was sent, not even the key.
    #[error("the router at {url} shows a certificate with SHA-256 {seen}, not trusted: {why}")]
    Untrusted {
        /// Where the router should be.
        url: String,
        /// SHA-256 of the certificate that it shows, as `AA:BB:..`.
        seen: String,
        /// Why it is not trusted.
        why: String,
    },
    /// The API key is refused (401). Nothing was applied.
    #[error("the router refuses the API key")]
    Unauthorized,
    /// Somebody else commits, or the API restarts. Nothing was applied.
    #[error("the router is busy: {text}")]
    Busy {
        /// The router's words.
        text: String,
    },
    /// A command is refused by schema or validator, before any commit. Nothing was applied.
    #[error("the router does not take a command: {text}")]
    Invalid {
        /// The router's words.
        text: String,
        /// The words of the command, when the reply names it or leaves only one candidate.
        path: Option<Vec<String>>,
    },
    /// The commit failed. A VyOS commit is not atomic: the other parts of the list may be applied,
    /// and a refused delete of a VRF may have taken its `protocols` along.
    #[error("the router refuses the commit: {text}")]
    Refused {
        /// Each failed part as `node: words`, joined by `; `.
        text: String,
        /// The nodes that failed, as the router names them; one per failed part.
        nodes: Vec<Vec<String>>,
        /// What was said of each, in the order of `nodes`.
        said: Vec<String>,
    },
    /// The request was sent and its answer did not come. What it asked for may be under way, done
    /// or not: read before anything is sent again.
    #[error("the outcome is unknown: {text}")]
    Unknown {
        /// How the answer was lost.
        text: String,
    },
    /// The list does not fit a request; [`crate::cut`] it. Nothing was applied.
    #[error("the list is too large for one request: {bytes} bytes, at most {limit}")]
    TooLarge {
        /// The size of the request's body.
        bytes: usize,
        /// The largest body that is sent, or one byte less than was refused.
        limit: usize,
    },
    /// A command that this client never sends: one under `service https`, whose outcome the
    /// router does not report, or one without a path. A mistake of the caller; nothing was sent.
    #[error("`{command}` is not sent: it touches the router's own API")]
    OffLimits {
        /// The command.
        command: String,
    },
    /// It could not be recorded that the router will run what is not saved. Nothing was sent.
    #[error("cannot record that a save is owed, and sends nothing before: {text}")]
    Unrecorded {
        /// Why not.
        text: String,
    },
    /// An answer that fits nothing known.
    #[error("the router answers {status}: {text}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// The router's words.
        text: String,
    },
}

impl RouterError {
    /// What to do next.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            // The next pass begins with a read, which is busy for as long as a commit goes on.
            Self::Unknown { .. } | Self::TooLarge { .. } => Retry::Now,
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Unauthorized
            | Self::Busy { .. }
            | Self::Refused { .. }
            | Self::Unrecorded { .. }
            | Self::Unexpected { .. } => Retry::Backoff,
            Self::Endpoint { .. } | Self::Invalid { .. } | Self::OffLimits { .. } => {
                Retry::OnChange
            }
        }
    }

    /// Whether the router's configuration may be another than before the call.
    #[must_use]
    pub fn may_have_changed(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::Unknown { .. } | Self::Unexpected { .. }
        )
    }
}
