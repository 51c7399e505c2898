//! Turns a key, a token or a password into something that can be sent and nothing else.

use std::fmt;

/// A text that is never shown. It has no `Display`, and its `Debug` does not say what it holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the places of a client that check its form, send it or mask it, and for
    /// nothing that is logged or returned.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        for text in ["k-1", "u@pve!t=1"] {
            assert_eq!(format!("{:?}", Secret::new(text)), "Secret(***)");
            assert_eq!(format!("{:#?}", Some(Secret::new(text))).find(text), None);
        }
    }
}
