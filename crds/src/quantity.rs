//! Turns a Kubernetes quantity such as `10Gi` into bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A size in bytes, written as a Kubernetes quantity: `512Mi`, `10Gi`, `1.5Ti`, `20G`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Size(
    #[schemars(
        length(min = 1, max = 24),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$")
    )]
    pub String,
);

/// A text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No number, or an unknown suffix.
    #[error("`{0}` is not a size: write a number and Ki, Mi, Gi, Ti, k, M, G or T")]
    Form(String),
    /// More than 2^63 bytes.
    #[error("`{0}` is larger than any disk")]
    TooLarge(String),
}

const SUFFIXES: [(&str, u128); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

impl Size {
    /// The size in bytes, a fraction of a byte rounded up.
    ///
    /// # Errors
    /// When the text is not a number with one of the known suffixes, or is beyond 2^63.
    pub fn bytes(&self) -> Result<u64, SizeError> {
        let text = self.0.as_str();
        let form = || SizeError::Form(text.to_owned());
        let (digits, unit) = SUFFIXES
            .iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
            .unwrap_or((text, 1));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let fraction_well_formed = plain(fraction) || !digits.contains('.');
        if !plain(whole) || !fraction_well_formed || digits.len() > 20 {
            return Err(form());
        }
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| form())?);
        let number: u128 = format!("{whole}{fraction}").parse().map_err(|_| form())?;
        let bytes = (number * unit).div_ceil(scale);
        u64::try_from(bytes)
            .ok()
            .filter(|b| i64::try_from(*b).is_ok())
            .ok_or_else(|| SizeError::TooLarge(text.to_owned()))
    }

    /// The size in whole mebibytes, rounded up: what Proxmox VE takes as memory.
    ///
    /// # Errors
    /// As [`Size::bytes`].
    pub fn mebibytes(&self) -> Result<u64, SizeError> {
        Ok(self.bytes()?.div_ceil(1 << 20))
    }

    /// The size in whole gibibytes, rounded up: the step in which disks are given out.
    ///
    /// # Errors
    /// As [`Size::bytes`].
    pub fn gibibytes(&self) -> Result<u64, SizeError> {
        Ok(self.bytes()?.div_ceil(1 << 30))
    }
}

impl From<&str> for Size {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_of_both_families_are_understood() {
        for (text, bytes) in [
            ("1", 1),
            ("1k", 1_000),
            ("1Ki", 1_024),
            ("512Mi", 512 << 20),
            ("10Gi", 10 << 30),
            ("1.5Ti", 3 << 39),
            ("0.1Gi", 107_374_183),
        ] {
            assert_eq!(Size::from(text).bytes(), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "Gi",
            "-1Gi",
            "1 Gi",
            "1.Gi",
            ".5Gi",
            "1Xi",
            "1e9",
            "ten",
            "9999999Ti",
        ] {
            assert!(Size::from(text).bytes().is_err(), "{text}");
        }
    }
}
