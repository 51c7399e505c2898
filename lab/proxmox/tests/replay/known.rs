//! Lists the recorded steps that the stand-in does not answer alike, and why.

/// `scenario:step` and the reason.
pub(crate) const FAILING: &[(&str, &str)] = &[
    (
        "009:42",
        "asks for tasks since a moment of the recorder's wall clock",
    ),
    (
        "016:67",
        "a container's destroy that fails half-way has freed its root file system there",
    ),
    ("027b:55", "reads a guest another recording left behind"),
];
