//! Turns raw numbers and texts into identifiers that are valid by construction.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number outside of what an identifier may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {raw} is outside {min}-{max}")]
pub struct OutOfRange {
    name: &'static str,
    raw: u32,
    min: u32,
    max: u32,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $label:literal, $min:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name(u32);

        impl $name {
            /// The smallest value.
            pub const MIN: u32 = $min;
            /// The largest value.
            pub const MAX: u32 = $max;

            /// The value as a number.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = OutOfRange;
            fn try_from(raw: u32) -> Result<Self, OutOfRange> {
                if (Self::MIN..=Self::MAX).contains(&raw) {
                    Ok(Self(raw))
                } else {
                    Err(OutOfRange { name: $label, raw, min: Self::MIN, max: Self::MAX })
                }
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> u32 {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A VXLAN network identifier: 24 bits, 0 is reserved (RFC 7348), the last is refused by
    /// VyOS 1.5.
    Vni, "VNI", 1, 16_777_214
);
number!(
    /// An 802.1Q VLAN: 12 bits, 0 and 4095 are reserved; 1 is most switches' default and stays
    /// out of our hands.
    VlanId, "VLAN", 2, 4094
);
number!(
    /// The kernel routing table of a VRF, in the bounds that VyOS 1.5 takes.
    TableId, "VRF table", 100, 65_535
);
number!(
    /// The number of a guest, unique in a Proxmox VE cluster.
    Vmid, "VMID", 100, 999_999_999
);

/// An inclusive range of numbers, written `FIRST-LAST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NumberRange(
    #[schemars(
        length(min = 3, max = 21),
        regex(pattern = r"^[0-9]{1,10}-[0-9]{1,10}$")
    )]
    pub String,
);

/// A text that is not a range of numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a range: write FIRST-LAST, the first not above the last")]
pub struct NotARange(String);

impl NumberRange {
    /// The first and the last number.
    ///
    /// # Errors
    /// When the text is not `FIRST-LAST` or the first is above the last.
    pub fn bounds(&self) -> Result<(u32, u32), NotARange> {
        let wrong = || NotARange(self.0.clone());
        let (first, last) = self.0.split_once('-').ok_or_else(wrong)?;
        let first = u32::from_str(first).map_err(|_| wrong())?;
        let last = u32::from_str(last).map_err(|_| wrong())?;
        if first <= last {
            Ok((first, last))
        } else {
            Err(wrong())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vni_of_zero_is_refused_with_its_bounds() {
        let error = Vni::try_from(0).unwrap_err();
        assert_eq!(error.to_string(), "VNI 0 is outside 1-16777214");
        assert_eq!(Vni::try_from(10_010).unwrap().get(), 10_010);
    }

    #[test]
    fn a_range_is_two_numbers_in_order() {
        assert_eq!(NumberRange("100-200".into()).bounds(), Ok((100, 200)));
        for wrong in ["", "5", "200-100", "a-b", "1-99999999999"] {
            assert!(NumberRange(wrong.into()).bounds().is_err(), "{wrong}");
        }
    }
}
