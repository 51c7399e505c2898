//! Turns an event into a line of the log that names the pass that it is part of.

use std::fmt;

use bb_wire::trace;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// A form of lines, with the numbers of the pass put into each.
pub(crate) struct Marked<F> {
    pub(crate) inner: F,
    /// Whether a line is an object of JSON, and not words for people.
    pub(crate) json: bool,
}

impl<S, N, F> FormatEvent<S, N> for Marked<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(ids) = trace::current() else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.inner
            .format_event(context, Writer::new(&mut line), event)?;
        let (trace, span) = (ids.trace_id(), ids.span_id());
        match line.strip_prefix('{').filter(|_| self.json) {
            Some(rest) => write!(
                writer,
                "{{\"trace_id\":\"{trace}\",\"span_id\":\"{span}\",{rest}"
            ),
            None => writeln!(writer, "{} trace={trace}", line.trim_end()),
        }
    }
}
