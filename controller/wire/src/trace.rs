//! Turns spans into numbers that a log line, a request and its line in somebody else's log share.
//!
//! A trace is a chain of causes: an object changes, a pass over the objects writes to the API and
//! asks something of a router, the pass over that router sends requests, a last pass writes what
//! came of it. Each span of it has a number of its own and that of the trace, as W3C Trace Context
//! has it. Without a subscriber that gives numbers ([`Numbers`]) there are none.

use std::fmt;

use tracing::span::{Attributes, Id};
use tracing::{Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Registry};

/// So many passes are one chain. Where there is always something to do, each pass causes the next,
/// and the chain would never end.
const LONGEST: u16 = 256;
/// So many causes of a pass are kept.
const LINKS: usize = 16;

/// Where in which trace something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The number of the trace, never 0.
    pub trace: u128,
    /// The number of the span, never 0.
    pub span: u64,
    /// How many passes led here.
    passes: u16,
}

impl Ids {
    /// The number of the trace, as 32 digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The number of the span, as 16 digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }

    /// The header `traceparent` of W3C Trace Context. `sampled` says that the trace is kept.
    #[must_use]
    pub fn traceparent(&self, sampled: bool) -> String {
        format!("00-{self}-{:02x}", u8::from(sampled))
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{:016x}", self.trace, self.span)
    }
}

/// What is known of a span besides its fields.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// Its numbers.
    pub ids: Ids,
    /// The span that it is a part of, 0 where it is none's.
    pub parent: u64,
    /// What else caused it, of other traces.
    pub links: Vec<Ids>,
}

/// Gives every span numbers. `R` makes random ones.
pub struct Numbers<R> {
    random: R,
    sampled: bool,
}

/// Whether traces are kept by somebody; beside the numbers, for the header.
#[derive(Clone, Copy, Debug)]
struct Sampled(bool);

impl<R: Fn() -> u64> Numbers<R> {
    /// Numbers made by `random`. `sampled` says that somebody keeps the traces.
    pub const fn new(random: R, sampled: bool) -> Self {
        Self { random, sampled }
    }

    fn some(&self) -> u64 {
        (self.random)().max(1)
    }
}

impl<S, R> Layer<S> for Numbers<R>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    R: Fn() -> u64 + 'static,
{
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let above = span.parent().and_then(|parent| {
            let found = parent.scope().find_map(|span| numbers(&span.extensions()));
            found.map(|numbered| numbered.ids)
        });
        let number = self.some();
        let (ids, parent) = match above {
            Some(above) => (
                Ids {
                    span: number,
                    ..above
                },
                above.span,
            ),
            None => {
                let trace = u128::from(self.some()) << 64 | u128::from(self.some());
                let ids = Ids {
                    trace,
                    span: number,
                    passes: 0,
                };
                (ids, 0)
            }
        };
        let mut extensions = span.extensions_mut();
        extensions.replace(Sampled(self.sampled));
        extensions.replace(Numbered {
            ids,
            parent,
            links: Vec::new(),
        });
    }
}

fn numbers(extensions: &tracing_subscriber::registry::Extensions<'_>) -> Option<Numbered> {
    extensions.get::<Numbered>().cloned()
}

/// The numbers of the span that is current, or of the next one around it that has some.
#[must_use]
pub fn current() -> Option<Ids> {
    of(&Span::current(), |numbered, _| numbered.ids)
}

/// The header `traceparent` of a request that is sent now.
#[must_use]
pub fn header() -> Option<String> {
    of(&Span::current(), |numbered, sampled| {
        numbered.ids.traceparent(sampled)
    })
}

fn of<T>(span: &Span, take: impl FnOnce(&Numbered, bool) -> T) -> Option<T> {
    let found = span.with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        registry.span(id)?.scope().find_map(|span| {
            let extensions = span.extensions();
            let sampled = extensions.get::<Sampled>()?.0;
            Some((extensions.get::<Numbered>()?.clone(), sampled))
        })
    });
    found
        .flatten()
        .map(|(numbered, sampled)| take(&numbered, sampled))
}

/// Makes a span that has just begun the consequence of what `causes` it: it goes on in the trace of
/// the first, unless that is long enough, and names the others.
pub fn follows(span: &Span, causes: &[Ids]) {
    let Some(first) = causes.first() else {
        return;
    };
    span.with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>();
        let Some(span) = registry.and_then(|registry| registry.span(id)) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        let Some(numbered) = extensions.get_mut::<Numbered>() else {
            return;
        };
        let (from, links) = if first.passes < LONGEST {
            (Some(first), &causes[1..])
        } else {
            (None, causes)
        };
        if let Some(from) = from {
            numbered.ids.trace = from.trace;
            numbered.ids.passes = from.passes + 1;
            numbered.parent = from.span;
        }
        numbered.links = links.iter().take(LINKS).copied().collect();
    });
}

/// Takes note of one more cause, each trace once.
pub fn note(causes: &mut Vec<Ids>, cause: Ids) {
    let at = causes.iter().position(|known| known.trace == cause.trace);
    match at {
        // What came last is next to what follows.
        Some(at) => causes[at] = cause,
        None if causes.len() <= LINKS => causes.push(cause),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tracing::info_span;
    use tracing_subscriber::prelude::*;

    use super::*;

    fn numbered(work: impl FnOnce()) {
        let next = AtomicU64::new(0);
        let numbers = Numbers::new(move || next.fetch_add(1, Ordering::Relaxed), true);
        let subscriber = tracing_subscriber::registry().with(numbers);
        tracing::subscriber::with_default(subscriber, work);
    }

    fn ids(span: &Span) -> Ids {
        of(span, |numbered, _| numbered.ids).unwrap()
    }

    #[test]
    fn what_is_inside_is_of_the_same_trace() {
        numbered(|| {
            let outer = info_span!("pass");
            let inside = outer.in_scope(|| info_span!("request"));
            assert_eq!(ids(&inside).trace, ids(&outer).trace);
            assert_ne!(ids(&inside).span, ids(&outer).span);
            let parent = of(&inside, |numbered, _| numbered.parent).unwrap();
            assert_eq!(parent, ids(&outer).span);
            let beside = info_span!("pass");
            assert_ne!(ids(&beside).trace, ids(&outer).trace);
            inside.in_scope(|| {
                let header = header().unwrap();
                assert_eq!(header, format!("00-{}-01", ids(&inside)));
                assert_eq!(header.len(), 55);
            });
        });
    }

    #[test]
    fn what_follows_goes_on_in_the_trace_of_its_first_cause_and_names_the_others() {
        numbered(|| {
            let (one, two) = (info_span!("pass"), info_span!("pass"));
            let mut causes = Vec::new();
            for cause in [ids(&one), ids(&two), ids(&one)] {
                note(&mut causes, cause);
            }
            let next = info_span!("pass");
            follows(&next, &causes);
            assert_eq!(ids(&next).trace, ids(&one).trace);
            let (parent, links) = of(&next, |numbered, _| {
                (numbered.parent, numbered.links.clone())
            })
            .unwrap();
            assert_eq!((parent, links), (ids(&one).span, vec![ids(&two)]));
            // What is inside of it as well, also where it began before.
            let inside = next.in_scope(|| info_span!("request"));
            assert_eq!(ids(&inside).trace, ids(&one).trace);
        });
    }

    #[test]
    fn a_chain_that_does_not_end_by_itself_ends_after_so_many_passes() {
        numbered(|| {
            let first = info_span!("pass");
            let mut cause = ids(&first);
            for _ in 0..LONGEST {
                let next = info_span!("pass");
                follows(&next, &[cause]);
                cause = ids(&next);
                assert_eq!(cause.trace, ids(&first).trace);
            }
            let next = info_span!("pass");
            follows(&next, &[cause]);
            assert_ne!(ids(&next).trace, ids(&first).trace);
            assert_eq!(of(&next, |n, _| n.links.clone()).unwrap(), [cause]);
        });
    }

    #[test]
    fn without_a_subscriber_there_are_no_numbers() {
        assert_eq!(current(), None);
        assert_eq!(header(), None);
        follows(&info_span!("pass"), &[]);
    }
}
