//! Turns journals and an audit log into figures beside their goals, and figures into tables of a page.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bb_lab_kit::journal::Entry;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// What is measured, and what it may be at most.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub name: &'static str,
    /// What the value counts, in the plural.
    pub unit: &'static str,
    /// What the value may be at most; `None` where it depends on the machine or on chance.
    pub goal: Option<f64>,
    /// How it is measured, for a cell of a table.
    pub how: &'static str,
}

/// A figure with a goal.
const fn at_most(name: &'static str, goal: f64, unit: &'static str, how: &'static str) -> Figure {
    Figure {
        name,
        unit,
        goal: Some(goal),
        how,
    }
}

/// A figure without a goal, since it depends on the machine or on chance.
const fn varies(name: &'static str, unit: &'static str, how: &'static str) -> Figure {
    Figure {
        name,
        unit,
        goal: None,
        how,
    }
}

/// What came out the same in every run. Where both lives give a value, the higher counts.
#[rustfmt::skip]
pub const COUNTS: [Figure; 25] = [
    at_most("proxmox_requests_per_vm", 6.0, "calls", "calls whose path or body names the machine, until Ready; the most for one"),
    at_most("proxmox_writes_per_vm", 5.0, "calls", "those of them that are no GET"),
    at_most("proxmox_requests_per_container", 5.0, "calls", "the same for a container"),
    at_most("proxmox_writes_per_container", 3.0, "calls", "those of them that are no GET"),
    at_most("proxmox_writes_per_volume", 1.0, "calls", "calls that change a storage's content, by volumes"),
    at_most("router_commits_until_ready", 2.0, "commits", "commits in the journals of both routers"),
    at_most("router_commits_per_network", 1.0, "commits", "the same, by networks"),
    at_most("router_writes_until_ready", 8.0, "calls", "calls of `/configure` and `/config-file` on both routers"),
    at_most("router_commands_per_tenant", 20.0, "commands", "`set` below nodes with the tenant's mark, on one router"),
    at_most("router_commands_per_plain_network", 5.0, "commands", "the same for a network in one zone"),
    at_most("router_commands_per_stretched_network", 16.0, "commands", "the same for a network in both, its pool left out"),
    at_most("router_commands_per_dhcp_pool", 10.0, "commands", "the same below `service dhcp-server`, with a resolver and a domain"),
    at_most("router_commands_without_owner", 0.0, "commands", "`set` below no node with a mark"),
    at_most("router_commands_per_instance", 0.0, "commands", "`set` below nodes with another mark than a tenant's or network's"),
    at_most("api_writes_per_tenant_until_ready", 4.0, "writes", "writes to one object in the audit log, the finalizer included; the most"),
    at_most("api_writes_per_network_until_ready", 4.0, "writes", "the same for a Network"),
    at_most("api_writes_per_volume_until_ready", 4.0, "writes", "the same for a Volume"),
    at_most("api_writes_per_instance_until_ready", 4.0, "writes", "the same for an Instance"),
    at_most("api_writes_settled", 0.0, "writes", "writes to anything in ten passes over each target"),
    at_most("router_writes_settled", 0.0, "calls", "calls of `/configure` and `/config-file` in those passes"),
    at_most("cluster_writes_settled", 0.0, "calls", "calls that are no GET in those passes"),
    at_most("cluster_calls_per_settled_pass", 2.0, "calls", "calls within half a second of each other; the most"),
    at_most("router_reads_per_settled_pass", 1.0, "calls", "the same on routers"),
    at_most("max_in_flight_per_router", 1.0, "calls", "the most calls under way at once, over both lives"),
    at_most("differences_left_behind", 0.0, "targets", "routers and clusters that are not as they were before the tenant"),
];

/// What is not the same in every run: times, and counts that depend on what meets in a pass.
#[rustfmt::skip]
pub const VARYING: [Figure; 10] = [
    varies("cluster_start", "s", "from no process to an API server with the definitions and roles"),
    varies("site_start", "s", "the same, with stand-ins and controller, until the Providers are Ready"),
    varies("apply_to_all_ready", "s", "from the first apply until every object is Ready"),
    varies("delete_to_gone", "s", "from the tenant's deletion until it is gone"),
    varies("proxmox_list_calls_until_ready", "calls", "calls about no single guest or volume, on both clusters"),
    varies("router_reads_until_ready", "calls", "calls that only read, on both routers"),
    varies("api_writes_until_ready", "writes", "writes of the controller to anything, events included"),
    at_most("router_commits_until_gone", 4.0, "commits", "commits of both routers from the tenant's deletion to its end"),
    at_most("proxmox_requests_per_vm_until_gone", 8.0, "calls", "calls about one machine in that time; the most"),
    at_most("api_writes_per_instance_until_gone", 4.0, "writes", "writes to one Instance in that time; the most"),
];

/// Values by the name of their figure.
pub type Values = BTreeMap<&'static str, f64>;

/// Where a page has the table that is written by a program.
pub fn markers(name: &str) -> (String, String) {
    (
        format!("<!-- {name} -->"),
        format!("<!-- end of {name} -->"),
    )
}

/// The figures whose value is missing or above its goal, in words.
pub fn missed(figures: &[Figure], values: &Values) -> Vec<String> {
    let verdict = |f: &Figure| match (values.get(f.name), f.goal) {
        (None, _) => Some(format!("{} was not measured", f.name)),
        (Some(value), Some(goal)) if *value > goal => Some(format!(
            "{} is {}, its goal is at most {}",
            f.name,
            number(*value),
            number(goal)
        )),
        _ => None,
    };
    figures.iter().filter_map(verdict).collect()
}

/// A table with a row for each figure that was measured, in the order of the figures.
pub fn table(figures: &[Figure], values: &Values) -> String {
    let mut text = "| figure | value | goal | how it is measured |\n|---|---|---|---|\n".to_owned();
    for figure in figures {
        let Some(value) = values.get(figure.name) else {
            continue;
        };
        let goal = match figure.goal {
            None => "none".to_owned(),
            Some(goal) if *value > goal => format!("at most {}, **missed**", number(goal)),
            Some(goal) => format!("at most {}", number(goal)),
        };
        text.push_str(&format!(
            "| `{}` | {} {} | {goal} | {} |\n",
            figure.name,
            number(*value),
            figure.unit,
            figure.how
        ));
    }
    text
}

/// `{name: {value, goal}}`, the goal null where there is none.
pub fn document(figures: &[Figure], values: &Values) -> Value {
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    figures
        .iter()
        .filter_map(|f| {
            let value = rounded(*values.get(f.name)?);
            Some((f.name.to_owned(), json!({"value": value, "goal": f.goal})))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Replaces what a page has between the markers of that name.
///
/// # Errors
/// When the page lacks a marker.
pub fn replaced(page: &str, name: &str, between: &str) -> Result<String> {
    let (begin, end) = markers(name);
    let lacks = |marker: &str| format!("the page lacks the marker {marker}");
    let (before, rest) = page.split_once(&begin).with_context(|| lacks(&begin))?;
    let (_, after) = rest.split_once(&end).with_context(|| lacks(&end))?;
    Ok(format!("{before}{begin}\n{}\n{end}{after}", between.trim()))
}

/// Whole numbers without a fraction, others with one digit.
#[must_use]
pub fn number(value: f64) -> String {
    if (value - value.round()).abs() < 0.005 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// The machine in words.
#[must_use]
pub fn this_machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{cores} cores, {model}")
}

/// What a call to a cluster is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// One virtual machine: cluster and VMID.
    Machine(String, String),
    /// One container.
    Container(String, String),
    /// A guest by its number alone.
    Number(String, String),
    /// A volume of nobody's or of a guest's, made, changed or removed by itself.
    Volume,
    /// A list or a fact that all share.
    All,
}

/// Tells what a call to a cluster is about, by its path and the guest number in its body.
pub fn about(entry: &Entry) -> About {
    let text = |key: &str| match &entry.body[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let path: Vec<&str> = entry.path.split('/').filter(|s| !s.is_empty()).collect();
    let post = entry.method == "POST";
    let (kind, vmid) = match path.as_slice() {
        ["nodes", _, kind @ ("qemu" | "lxc"), _, "clone"] if post => (kind, text("newid")),
        ["nodes", _, kind @ ("qemu" | "lxc"), vmid, ..] => (kind, (*vmid).to_owned()),
        ["nodes", _, kind @ ("qemu" | "lxc")] if post => (kind, text("vmid")),
        ["cluster", "nextid"] if !entry.body["vmid"].is_null() => {
            return About::Number(entry.target.clone(), text("vmid"));
        }
        ["nodes", _, "storage", _, "content", ..] if entry.method != "GET" => return About::Volume,
        _ => return About::All,
    };
    if *kind == "qemu" {
        About::Machine(entry.target.clone(), vmid)
    } else {
        About::Container(entry.target.clone(), vmid)
    }
}

/// How often each is called for. A number is that of the guest which other calls name so.
pub fn by_subject(entries: &[Entry]) -> BTreeMap<About, usize> {
    let mut counts: BTreeMap<About, usize> = BTreeMap::new();
    let mut numbers = Vec::new();
    for entry in entries {
        match about(entry) {
            About::Number(cluster, vmid) => numbers.push((cluster, vmid)),
            subject => *counts.entry(subject).or_default() += 1,
        }
    }
    for (cluster, vmid) in numbers {
        let container = About::Container(cluster.clone(), vmid.clone());
        let subject = if counts.contains_key(&container) {
            container
        } else {
            About::Machine(cluster, vmid)
        };
        *counts.entry(subject).or_default() += 1;
    }
    counts
}

/// Whether a call to a router changes what runs or what is saved.
pub fn changes_router(entry: &Entry) -> bool {
    let paths = ["/configure", "/configure-section", "/config-file"];
    entry.method != "COMMIT" && paths.contains(&entry.path.as_str())
}

/// Whether a call to a router only reads.
pub fn reads_router(entry: &Entry) -> bool {
    entry.method != "COMMIT" && !changes_router(entry)
}

/// What an object costs on a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// Its share of the DHCP server.
    pub pool: usize,
    /// The rest.
    pub own: usize,
}

/// Counts the `set` commands by the words after the owner in the mark of their node, like
/// `network acme/web`; those below no marked node under the empty name.
pub fn commands_by_owner(entries: &[Entry]) -> BTreeMap<String, Commands> {
    let lists = entries
        .iter()
        .filter(|e| e.method == "POST" && e.path == "/configure");
    let sets: Vec<Vec<String>> = lists
        .flat_map(|e| e.body.as_array().cloned().unwrap_or_default())
        .filter(|command| command["op"] == "set")
        .map(|command| {
            let path = command["path"].as_array().cloned().unwrap_or_default();
            let words = path.iter().chain(command.get("value"));
            words
                .filter_map(|w| w.as_str().map(str::to_owned))
                .collect()
        })
        .collect();
    // The node and the words of its mark: `bitbuilder INSTALLATION/OWNER WORDS`.
    let marks: BTreeMap<&[String], &str> = sets
        .iter()
        .filter_map(|line| {
            let [root @ .., leaf, text] = line.as_slice() else {
                return None;
            };
            let rest = text.strip_prefix("bitbuilder ")?;
            let (_, words) = rest.split_once(' ')?;
            (leaf == "description").then_some((root, words))
        })
        .collect();
    let mut counts: BTreeMap<String, Commands> = BTreeMap::new();
    for line in &sets {
        let owner = (0..line.len()).find_map(|n| marks.get(&line[..n]).copied());
        let count = counts
            .entry(owner.unwrap_or_default().to_owned())
            .or_default();
        if line.iter().any(|word| word == "dhcp-server") {
            count.pool += 1;
        } else {
            count.own += 1;
        }
    }
    counts
}

/// How many calls each pass had: those with less than `gap_ms` milliseconds between their
/// beginnings are of one pass. The first and the last may be cut and are left out.
///
/// # Errors
/// When a time in the journal is none.
pub fn passes(entries: &[Entry], gap_ms: i64) -> Result<Vec<usize>> {
    let mut times: Vec<i64> = entries
        .iter()
        .map(|e| Ok(e.time.parse::<Timestamp>()?.as_millisecond()))
        .collect::<Result<_>>()
        .context("a journal has a time that is none")?;
    times.sort_unstable();
    let passes: Vec<usize> = times
        .chunk_by(|one, next| next - one < gap_ms)
        .map(<[i64]>::len)
        .collect();
    let whole = passes.get(1..passes.len().saturating_sub(1));
    Ok(whole.unwrap_or_default().to_vec())
}

/// Writes of a user to the API, from lines of an audit log: resource and `namespace/name` of
/// what is written, and how often.
pub fn api_writes(lines: &[String], user: &str) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    let events = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for event in events {
        let verb = event["verb"].as_str().unwrap_or_default();
        if event["user"]["username"] != json!(user)
            || event["stage"] != "ResponseComplete"
            || ["get", "list", "watch"].contains(&verb)
        {
            continue;
        }
        let word = |key: &str| event["objectRef"][key].as_str().unwrap_or_default();
        let object = format!("{}/{}", word("namespace"), word("name"));
        *counts
            .entry((word("resource").to_owned(), object))
            .or_default() += 1;
    }
    counts
}

/// The most writes to one object of a resource.
pub fn most_of(writes: &BTreeMap<(String, String), usize>, resource: &str) -> Result<f64> {
    let of = writes.iter().filter(|((kind, _), _)| kind == resource);
    let most = of.map(|(_, count)| *count).max();
    let most = most.with_context(|| format!("nothing was written to {resource}"))?;
    Ok(most as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [Figure; 3] = [
        at_most("commits", 2.0, "commits", "on all routers"),
        at_most("calls", 1.5, "calls", "by guests"),
        varies("ready", "s", "from the first apply"),
    ];

    fn values() -> Values {
        [("commits", 2.0), ("calls", 1.666), ("ready", 3.25)].into()
    }

    fn entry(time: &str, method: &str, path: &str, body: &Value) -> Entry {
        serde_json::from_value(json!({
            "time": format!("2026-01-01T00:00:{time}Z"), "target": "c1", "caller": "me",
            "method": method, "path": path, "body": body, "status": 200, "duration_ms": 3,
        }))
        .unwrap()
    }

    #[test]
    fn a_table_has_a_row_per_figure_in_their_order() {
        let expected = "\
| figure | value | goal | how it is measured |
|---|---|---|---|
| `commits` | 2 commits | at most 2 | on all routers |
| `calls` | 1.7 calls | at most 1.5, **missed** | by guests |
| `ready` | 3.2 s | none | from the first apply |
";
        assert_eq!(table(&TWO, &values()), expected);
    }

    #[test]
    fn a_goal_is_missed_when_the_value_is_above_it_or_missing() {
        assert_eq!(
            missed(&TWO, &values()),
            ["calls is 1.7, its goal is at most 1.5"]
        );
        let none = missed(&TWO[..1], &Values::new());
        assert_eq!(none, ["commits was not measured"]);
    }

    #[test]
    fn the_file_has_value_and_goal_by_name() {
        let expected = json!({
            "commits": {"value": 2.0, "goal": 2.0},
            "calls": {"value": 1.67, "goal": 1.5},
            "ready": {"value": 3.25, "goal": null},
        });
        assert_eq!(document(&TWO, &values()), expected);
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced_and_twice_is_as_once() {
        let page = "# P\n\n<!-- a -->\nold\n<!-- end of a -->\n\nkept\n";
        let once = replaced(page, "a", "new\n").unwrap();
        assert_eq!(once, "# P\n\n<!-- a -->\nnew\n<!-- end of a -->\n\nkept\n");
        assert_eq!(replaced(&once, "a", "new\n").unwrap(), once);
        let error = replaced(page, "b", "new").unwrap_err().to_string();
        assert!(error.contains("<!-- b -->"), "{error}");
    }

    #[test]
    fn a_call_is_about_the_guest_in_its_path_or_body() {
        let of =
            |method: &str, path: &str, body: Value| about(&entry("01.000", method, path, &body));
        let machine = About::Machine("c1".into(), "101".into());
        assert_eq!(
            of("POST", "/nodes/n/qemu/9000/clone", json!({"newid": "101"})),
            machine
        );
        assert_eq!(of("GET", "/nodes/n/qemu/101/pending", json!({})), machine);
        assert_eq!(
            of("POST", "/nodes/n/lxc", json!({"vmid": 102})),
            About::Container("c1".into(), "102".into())
        );
        assert_eq!(of("GET", "/nodes/n/qemu", json!({})), About::All);
        let content = "/nodes/n/storage/s/content";
        assert_eq!(of("POST", content, json!({})), About::Volume);
        assert_eq!(of("GET", content, json!({})), About::All);
    }

    #[test]
    fn a_number_is_that_of_the_guest_which_others_name() {
        let calls = [
            ("/cluster/nextid", json!({"vmid": "102"})),
            ("/nodes/n/lxc/102/pending", json!({})),
            ("/nodes/n/qemu/101/pending", json!({})),
            ("/cluster/nextid", json!({"vmid": "101"})),
            ("/cluster/resources", json!({})),
        ];
        let entries: Vec<Entry> = calls
            .iter()
            .map(|(path, body)| entry("01.000", "GET", path, body))
            .collect();
        let expected = [
            (About::Machine("c1".into(), "101".into()), 2),
            (About::Container("c1".into(), "102".into()), 2),
            (About::All, 1),
        ];
        assert_eq!(by_subject(&entries), expected.into());
    }

    #[test]
    fn commands_belong_to_the_mark_of_the_node_they_are_below() {
        let set = |line: &str| {
            let (path, value) = line.split_once(" = ").unwrap_or((line, ""));
            let mut path: Vec<&str> = path.split(' ').collect();
            path.extend(Some(value).filter(|v| !v.is_empty()));
            json!({"op": "set", "path": path})
        };
        let list = json!([
            set("vrf name bb1 description = bitbuilder i/u1 tenant acme"),
            set("vrf name bb1 table 1"),
            set("interfaces bridge br2 description = bitbuilder i/u2 network acme/web"),
            set("service dhcp-server shared-network-name bb2 description = bitbuilder i/u2 network acme/web"),
            set("service dhcp-server shared-network-name bb2 authoritative"),
            {"op": "delete", "path": ["vrf", "name", "bb1", "vni"]},
            set("system host-name r9"),
        ]);
        let counts = commands_by_owner(&[entry("01.000", "POST", "/configure", &list)]);
        let expected = [
            ("", Commands { pool: 0, own: 1 }),
            ("network acme/web", Commands { pool: 2, own: 1 }),
            ("tenant acme", Commands { pool: 0, own: 2 }),
        ];
        assert_eq!(counts, expected.map(|(n, c)| (n.to_owned(), c)).into());
    }

    #[test]
    fn calls_close_to_each_other_are_one_pass() {
        let at = |times: &[&str]| -> Vec<Entry> {
            let call = |time: &&str| entry(time, "GET", "/cluster/resources", &json!({}));
            times.iter().map(call).collect()
        };
        // The pass before and the one after are cut.
        let times = [
            "01.000", "02.000", "02.004", "03.100", "04.000", "04.001", "04.002",
        ];
        assert_eq!(passes(&at(&times), 500).unwrap(), [2, 1]);
        assert!(passes(&at(&times[..3]), 500).unwrap().is_empty());
    }

    #[test]
    fn only_the_users_finished_writes_count() {
        let line = |user: &str, verb: &str, name: &str| {
            json!({"verb": verb, "stage": "ResponseComplete", "user": {"username": user},
                "objectRef": {"resource": "networks", "namespace": "acme", "name": name}})
            .to_string()
        };
        let lines = [
            line("me", "patch", "web"),
            line("me", "patch", "web"),
            line("me", "list", ""),
            line("me", "patch", "db"),
            line("you", "create", "db"),
        ];
        let writes = api_writes(&lines, "me");
        assert_eq!(writes.len(), 2);
        assert_eq!(most_of(&writes, "networks").unwrap(), 2.0);
        assert!(most_of(&writes, "tenants").is_err());
    }
}
