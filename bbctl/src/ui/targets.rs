//! Turns what is known of an object on routers and clusters into lines: what each has of it, what
//! somebody else changed there, and the commands and calls that it stands for.

use crate::kinds::Kind;
use crate::object::{Object, list, text, word};
use crate::style::Tone;
use crate::table::wrap;

use super::text::Text;

/// What routers and clusters have of an object, as far as its status tells. `different` is what
/// it says of commands and calls that are to come or were put right, `stands` what it stands for.
#[must_use]
pub(super) fn lines(
    kind: &Kind,
    object: &Object,
    width: usize,
    different: Vec<Text>,
    stands: Vec<Text>,
) -> Vec<Text> {
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
    lines.extend(different);
    for line in stands {
        let words = line.words();
        let text = words.trim_start();
        let indent = words.len() - text.len();
        let parts = wrap(text, width.saturating_sub(indent + 2));
        if parts.len() < 2 {
            lines.push(line);
            continue;
        }
        for (at, part) in parts.into_iter().enumerate() {
            let indent = indent + if at == 0 { 0 } else { 2 };
            lines.push(Text::plain(format!("{}{part}", " ".repeat(indent))));
        }
    }
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
