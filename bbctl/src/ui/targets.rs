//! Turns what a status tells of routers and clusters into lines: what each has of an object, and
//! every command and call that the status names.

use crate::kinds::Kind;
use crate::object::{Object, list, text, word};
use crate::style::Tone;
use crate::table::wrap;

use super::text::Text;

/// What routers and clusters have of an object, as far as its status tells. `different` is what
/// it says of commands and calls.
#[must_use]
pub(super) fn lines(kind: &Kind, object: &Object, width: usize, different: Vec<Text>) -> Vec<Text> {
    let mut lines = Vec::new();
    identity(kind, object, &mut lines);
    for state in list(object, "/status/targets") {
        let field = |name: &str| word(&state[name]);
        let good = field("reason") == "Programmed";
        let tone = if good { Tone::Good } else { Tone::Waiting };
        lines.push(Text::of(Tone::Head, format!("{}  ", field("name"))).and(tone, field("reason")));
        under(&field("message"), width, &mut lines);
        for trunk in list(object, "/status/vlans") {
            if word(&trunk["router"]) == field("name") {
                let (interface, vlan) = (word(&trunk["interface"]), word(&trunk["vlan"]));
                lines.push(Text::plain(format!("  VLAN {vlan} on {interface}")));
            }
        }
    }
    if different.is_empty() {
        lines.push(Text::default());
        let words = "The status names commands and calls only where somebody else changed \
            something or a guest is about to be taken over, and here neither is so. What a change \
            would send is told by `bbctl plan`.";
        lines.extend(
            wrap(words, width)
                .into_iter()
                .map(|line| Text::of(Tone::Faint, line)),
        );
    }
    lines.extend(different);
    lines
}

/// The names that the object has on its targets.
fn identity(kind: &Kind, object: &Object, lines: &mut Vec<Text>) {
    let mut add = |title: &str, value: String| {
        if !value.is_empty() {
            lines.push(Text::of(Tone::Faint, format!("{title:<14}")).and(Tone::Plain, value));
        }
    };
    match kind.kind {
        "Instance" | "Volume" => {
            for (title, pointer) in [
                ("in Proxmox VE", "/status/providerID"),
                ("cluster", "/status/cluster"),
                ("node", "/status/node"),
                ("storage", "/status/storage"),
                ("power", "/status/power"),
                ("device", "/status/attachedTo/device"),
                ("serial", "/status/attachedTo/serial"),
                ("configuration", "/status/applied"),
            ] {
                add(title, text(object, pointer));
            }
            for pending in list(object, "/status/pendingChanges") {
                add("after restart", word(pending));
            }
        }
        "Network" => {
            add("VNI", text(object, "/status/vni"));
            add("gateway", text(object, "/status/gateway"));
        }
        "Tenant" => {
            for routing in list(object, "/status/routing") {
                let field = |name: &str| word(&routing[name]);
                add(
                    &field("region"),
                    format!(
                        "VRF {}, table {}, L3VNI {}, route target {}",
                        field("vrf"),
                        field("table"),
                        field("l3vni"),
                        field("routeTarget")
                    ),
                );
            }
        }
        "Provider" => {
            add("version", text(object, "/status/version"));
            add("region", text(object, "/spec/region"));
            add("zone", text(object, "/spec/zone"));
        }
        _ => {}
    }
    if !lines.is_empty() {
        lines.push(Text::default());
    }
}

fn under(message: &str, width: usize, lines: &mut Vec<Text>) {
    let wrapped = wrap(message, width.saturating_sub(2));
    lines.extend(
        wrapped
            .into_iter()
            .map(|line| Text::plain(format!("  {line}"))),
    );
}
