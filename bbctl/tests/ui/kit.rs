//! Turns a list of keys and objects into a dashboard, and a dashboard into text.

use std::collections::BTreeMap;

use bbctl::kinds::{KINDS, Kind};
use bbctl::ui::event::{Command, Effect, Event, Place, Ran, Why};
use bbctl::ui::keys::Key;
use bbctl::ui::model::Model;
use bbctl::ui::settings::Settings;
use bbctl::ui::store::{Id, Key as Name, News};
use bbctl::ui::theme::{Skin, Theme};
use bbctl::ui::update::update;
use bbctl::ui::view::view;
use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

/// The moment of every test.
pub(crate) const NOW: &str = "2026-03-01T12:00:00Z";

/// A dashboard with a way to press keys.
pub(crate) struct Desk {
    pub(crate) model: Model,
    pub(crate) effects: Vec<Effect>,
}

impl Desk {
    /// One that has just been opened and knows nothing.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let theme = Theme::choose(Skin::Dark, false, &BTreeMap::new());
        let mut desk = Self {
            model: Model::new(settings, theme, NOW.parse().unwrap()),
            effects: Vec::new(),
        };
        desk.take(Event::Connected(Place {
            context: "lab".to_owned(),
            contexts: vec!["lab".to_owned(), "live".to_owned()],
            server: "https://192.0.2.10:6443".to_owned(),
            namespace: "default".to_owned(),
        }));
        desk
    }

    /// One that sees the example world.
    pub(crate) fn example() -> Self {
        let mut desk = Self::new();
        desk.see(example());
        desk
    }

    /// Every watch lists these objects.
    pub(crate) fn see(&mut self, objects: Vec<Value>) {
        for kind in &KINDS {
            self.take(Event::News(kind.plural, News::Begin));
            for object in objects.iter().filter(|object| object["kind"] == kind.kind) {
                self.take(Event::News(kind.plural, seen(object)));
            }
            self.take(Event::News(kind.plural, News::Listed));
        }
    }

    pub(crate) fn take(&mut self, event: Event) {
        let effects = update(&mut self.model, event);
        self.effects.extend(effects);
    }

    /// Presses keys by their names, or types what stands between quotes.
    pub(crate) fn press(&mut self, keys: &str) -> &mut Self {
        for (at, part) in keys.split('"').enumerate() {
            if at % 2 == 1 {
                for c in part.chars() {
                    self.take(Event::Key(KeyEvent::from(KeyCode::Char(c))));
                }
                continue;
            }
            for name in part.split_whitespace() {
                let key = Key::parse(name).unwrap_or_else(|| panic!("{name} is no key"));
                let mut event = KeyEvent::from(key.code);
                if key.ctrl {
                    event.modifiers |= KeyModifiers::CONTROL;
                }
                self.take(Event::Key(event));
            }
        }
        self
    }

    pub(crate) fn size(&mut self, columns: u16, lines: u16) -> &mut Self {
        self.take(Event::Size(columns, lines));
        self
    }

    /// The server answers what was said of the object on the page.
    pub(crate) fn hear(&mut self) -> &mut Self {
        let said = json!([{"time": "2026-03-01T11:58:00Z", "type": "Warning", "reason": "Refused",
            "message": "no room on any storage of class ssd", "count": 3}]);
        let said = said
            .as_array()
            .unwrap()
            .iter()
            .map(|one| bbctl::related::Said {
                time: one["time"].as_str().and_then(|t| t.parse().ok()),
                type_: one["type"].as_str().unwrap().to_owned(),
                reason: one["reason"].as_str().unwrap().to_owned(),
                message: one["message"].as_str().unwrap().to_owned(),
                count: 3,
            });
        let said: Vec<_> = said.collect();
        let id = self.model.place().object().unwrap();
        self.take(Event::Heard(id, Ok(Some(said))));
        self
    }

    /// The commands that were asked for so far.
    pub(crate) fn commands(&self) -> Vec<String> {
        let lines = self.effects.iter().filter_map(|effect| match effect {
            Effect::Run(command) | Effect::Visit(command) if command.why == Why::Action => {
                Some(command.line())
            }
            _ => None,
        });
        lines.collect()
    }

    /// The last command that was asked for has ended.
    pub(crate) fn ended(&mut self, code: i32, said: &str) -> &mut Self {
        let last = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Run(command) | Effect::Visit(command) => Some(command.clone()),
            _ => None,
        });
        let command: Command = last.expect("a command was asked for");
        let ran = Ran {
            command,
            code,
            said: said.to_owned(),
            at: self.model.now,
        };
        self.take(Event::Ran(ran));
        self
    }

    pub(crate) fn later(&mut self, seconds: i64) -> &mut Self {
        let now = Timestamp::from_second(self.model.now.as_second() + seconds).unwrap();
        self.take(Event::Tick(now));
        self
    }

    /// What is on the screen.
    pub(crate) fn buffer(&mut self) -> Buffer {
        self.model.settle();
        let (columns, lines) = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
        let model = &self.model;
        terminal
            .draw(|frame| {
                view(model, frame);
            })
            .unwrap();
        terminal.backend().buffer().clone()
    }

    /// What is on the screen, line by line.
    pub(crate) fn screen(&mut self) -> String {
        let buffer = self.buffer();
        let area = *buffer.area();
        let line = |y: u16| {
            let cells = (0..area.width).map(|x| buffer[(x, y)].symbol());
            cells.collect::<String>().trim_end().to_owned()
        };
        (0..area.height).map(line).collect::<Vec<_>>().join("\n")
    }
}

pub(crate) fn seen(object: &Value) -> News {
    News::Seen(Box::new(serde_json::from_value(object.clone()).unwrap()))
}

pub(crate) fn id(kind: &str, namespace: &str, name: &str) -> Id {
    Id::new(Kind::named(kind).unwrap(), Name::new(namespace, name))
}

/// One object of the example, with the state of its condition Ready.
pub(crate) fn object(
    kind: &str,
    namespace: &str,
    name: &str,
    ready: (&str, &str, &str),
    spec: Value,
    status: Value,
) -> Value {
    let (state, reason, message) = ready;
    let mut object = json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "7",
            "generation": 1, "creationTimestamp": "2026-02-26T12:00:00Z"},
        "spec": spec, "status": status,
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object["status"]["conditions"] = json!([{"type": "Ready", "status": state, "reason": reason,
        "message": message, "observedGeneration": 1, "lastTransitionTime": "2026-03-01T11:00:00Z"}]);
    object
}

const FINE: (&str, &str, &str) = ("True", "Ready", "it is as asked");

pub(crate) fn instance(name: &str, address: &str) -> Value {
    object(
        "Instance",
        "acme",
        name,
        FINE,
        json!({"image": "debian-12", "cpu": 2, "memory": "2Gi", "networks": [{"name": "web", "network": "web"}]}),
        json!({"cluster": "c1", "zone": "north", "node": "pve1", "power": "Running",
            "providerID": "proxmox://c1/100000", "applied": "1f2e3d",
            "addresses": [{"name": "web", "network": "web", "address": address, "mac": "02:00:00:00:00:01"}]}),
    )
}

/// Two tenants with something of everything, and something broken.
pub(crate) fn example() -> Vec<Value> {
    let provider = |name: &str, zone: &str, what: &str| {
        let spec = match what {
            "vyos" => {
                json!({"region": "home", "zone": zone, "vyos": {"endpoint": "https://192.0.2.1",
                "credentials": {"secret": name}, "tls": {"caSecret": name}, "routerId": "10.255.0.1"}})
            }
            _ => {
                json!({"region": "home", "zone": zone, "proxmox": {"endpoints": ["https://192.0.2.3"],
                "credentials": {"secret": name}, "tls": {"caSecret": name}, "vmids": "100000-199999",
                "pool": "bitbuilder", "holder": 99999, "storage": [{"name": "ssd", "storage": "local-zfs"}],
                "images": [{"name": "debian-12", "template": 9000}, {"name": "alpine-3.20", "template": 9001}]}})
            }
        };
        object("Provider", "", name, FINE, spec, json!({"version": "1.5"}))
    };
    let router_down = (
        "False",
        "Unreachable",
        "no answer from https://192.0.2.2 in 10 s: check that the router runs",
    );
    let mut broken = provider("r2", "south", "vyos");
    broken["status"]["conditions"] = json!([{"type": "Ready", "status": "False", "reason": router_down.1,
        "message": router_down.2, "observedGeneration": 1, "lastTransitionTime": "2026-03-01T11:50:00Z"}]);
    let network = |tenant: &str, name: &str, prefix: &str, ready| {
        object(
            "Network",
            tenant,
            name,
            ready,
            json!({"ipv4": {"prefix": prefix}}),
            json!({"region": "home", "vni": 10001, "gateway": "10.10.0.1",
                "addresses": {"used": 3, "total": 253},
                "vlans": [{"router": "r1", "interface": "eth2", "vlan": 101}],
                "targets": [{"name": "r1", "reason": "Programmed", "message": ""},
                    {"name": "r2", "reason": "Unreachable", "message": "no answer in 10 s"}],
                "drift": [{"target": "r1", "since": "2026-03-01T11:30:00Z", "corrected": "2026-03-01T11:31:00Z",
                    "lines": ["-interfaces bridge br101 description 'mine'", "+interfaces bridge br101 mtu 9000"]}]}),
        )
    };
    let tenant = |name: &str, table: u32| {
        object(
            "Tenant",
            "",
            name,
            FINE,
            json!({"members": [{"name": "alice", "kind": "User", "role": "Admin"}]}),
            json!({"namespace": name, "routing": [{"region": "home", "vrf": format!("bb{table}"), "table": table,
                "l3vni": 10000 + table, "routeTarget": format!("65000:{}", 10000 + table)}]}),
        )
    };
    let waiting = ("False", "Waiting", "network web: router r2 does not answer");
    let refused = (
        "False",
        "Refused",
        "no room on any storage of class ssd: free some or choose another class",
    );
    let mut pg = instance("pg", "10.10.0.12");
    pg["spec"]["volumes"] = json!([{"name": "data", "volume": "pgdata"}]);
    let mut sick = object(
        "Instance",
        "acme",
        "build-runner-with-a-very-long-name-that-does-not-fit-anywhere-1",
        refused,
        json!({"image": "debian-12", "networks": [{"name": "web", "network": "web"}]}),
        json!({}),
    );
    sick["metadata"]["creationTimestamp"] = json!("2026-03-01T11:59:00Z");
    let mut labelled = instance("www-1", "10.10.0.10");
    labelled["metadata"]["labels"] = json!({"app": "web"});
    let volume = |name: &str, attached: Option<&str>| {
        let mut status = json!({"cluster": "c1", "zone": "north", "storage": "local-zfs", "size": "20Gi",
            "providerID": format!("proxmox://c1/local-zfs:{name}")});
        if let Some(instance) = attached {
            status["attachedTo"] =
                json!({"instance": instance, "device": "scsi1", "serial": "bb-1"});
        }
        object(
            "Volume",
            "acme",
            name,
            FINE,
            json!({"size": "20Gi", "class": "ssd", "reclaimPolicy": "Delete"}),
            status,
        )
    };
    vec![
        object(
            "Region",
            "",
            "home",
            FINE,
            json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999", "mtu": 1500,
            "attachments": [{"name": "north", "cluster": "c1",
                "vlan": {"router": "r1", "interface": "eth2", "bridge": "vmbr1", "vlans": "100-3999"}}]}),
            json!({"vnis": {"used": 4, "total": 10000}, "tables": {"used": 2, "total": 1000}}),
        ),
        provider("c1", "north", "proxmox"),
        provider("r1", "north", "vyos"),
        broken,
        tenant("acme", 1000),
        tenant("globex", 1001),
        network("acme", "web", "10.10.0.0/24", waiting),
        network("globex", "lan", "10.10.0.0/24", FINE),
        labelled,
        instance("www-2", "10.10.0.11"),
        pg,
        sick,
        volume("pgdata", Some("pg")),
        volume("archive", None),
    ]
}
