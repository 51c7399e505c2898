//! Drift: what somebody else changed on a router or cluster, as status tells it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most lines that a status shows of one difference.
pub const LINES: usize = 20;
/// The most characters that a line of it has.
pub const LINE: usize = 200;

/// What was last found changed on one target, and not by us.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The Provider.
    pub target: String,
    /// When it was found.
    pub since: Time,
    /// When it was put right. Absent while it is as it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected: Option<Time>,
    /// `- ` and what was there, `+ ` and what should be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 200)))]
    pub lines: Vec<String>,
    /// How many more such lines there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: i64,
}

/// What would be changed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// `- ` and what is there, `+ ` and what would be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 200)))]
    pub lines: Vec<String>,
    /// How many more such lines there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: i64,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to it"
)]
const fn is_zero(n: &i64) -> bool {
    *n == 0
}
