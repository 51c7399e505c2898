//! Sets up bulk work, has something go wrong in it, and compares the end with an undisturbed one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bb_core::proxmox::model::{Fate, GuestState, More, Power, VolumeState};
use bb_lab_proxmox::model::Cluster;
use bb_lab_proxmox::{Config, Running};
use bb_proxmox::Endpoint;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::stage::{Stage, attachment, container, endpoint, vm, volume};

/// How long anything may take here.
const BOUND: Duration = Duration::from_secs(60);

/// Machines and containers that are there before, and what becomes of them: changed, changed,
/// stopped, changed, deleted, deleted.
const OLD: [u32; 6] = [5010, 5011, 5012, 5014, 5016, 5017];
/// Those that are made.
const NEW: [u32; 3] = [5020, 5021, 5022];

fn is_container(id: u32) -> bool {
    !id.is_multiple_of(2)
}

/// Nine guests and five volumes, in creation, change and deletion at once.
pub(crate) struct Bulk {
    pub(crate) stage: Stage,
    /// What was there before anything of ours.
    before: Value,
}

impl Bulk {
    /// Half of it is there and settled.
    pub(crate) async fn ready() -> Self {
        Self::with(Config::default(), endpoint).await
    }

    pub(crate) async fn with(config: Config, how: fn(&Running) -> Endpoint) -> Self {
        let mut stage = Stage::reached(config, how).await;
        let before = lasting(&stage.lab.snapshot());
        stage.desired.guests = OLD.iter().map(|id| plain(*id)).collect();
        stage.desired.guests[0].volumes = vec![attachment("a")];
        stage.desired.volumes = vec![
            volume("a", Some("guest-5010")),
            volume("b", None),
            volume("e", None),
        ];
        stage.settle().await;
        stage.lab.statd_round();
        Self { stage, before }
    }

    /// Asks for everything at once: three guests and two volumes more, changes of four guests
    /// and two volumes, and an end of two guests and a volume.
    pub(crate) fn ask(&mut self) {
        let desired = &mut self.stage.desired;
        for guest in &mut desired.guests {
            match guest.vmid.get() {
                5010 => {
                    guest.cores = 4;
                    guest.disk_gib = Some(20);
                }
                5011 => guest.memory_mib = 2048,
                5012 => guest.power = Power::Stopped,
                5014 => guest.volumes = vec![attachment("b")],
                _ => guest.fate = Fate::Destroy,
            }
        }
        desired.volumes[0].size_gib = 15;
        desired.volumes[0].settled = false;
        desired.volumes[1].attached_to = Some("guest-5014".to_owned());
        desired.volumes[2].fate = Fate::Destroy;
        desired.guests.extend(NEW.iter().map(|id| plain(*id)));
        let first = desired.guests.iter_mut().find(|g| g.vmid.get() == NEW[0]);
        first.unwrap().volumes = vec![attachment("c")];
        desired.volumes.push(volume("c", Some("guest-5020")));
        desired.volumes.push(volume("d", None));
    }

    /// Passes until somebody is told all of `words`: in the report of one object, among the
    /// orphans, or of the cluster as a whole.
    pub(crate) async fn until_told(&mut self, words: &[&str]) {
        let begun = Instant::now();
        loop {
            let said = match self.stage.attempt().await {
                Ok(()) => self.told(),
                Err(error) => vec![format!("{error}: {}", error.source)],
            };
            let tells = |text: &String| words.iter().all(|word| text.contains(word));
            if said.iter().any(tells) {
                return;
            }
            assert!(begun.elapsed() < BOUND, "nobody says {words:?}: {said:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What needs a person, in the words that they see.
    pub(crate) fn told(&self) -> Vec<String> {
        let last = &self.stage.last;
        let guests = last.guests.values().filter_map(|guest| match &guest.state {
            GuestState::Held { reason, message } => Some(format!("{reason:?}: {message}")),
            _ => None,
        });
        let volumes = last.volumes.values().filter_map(|v| match &v.state {
            VolumeState::Held { reason, message } => Some(format!("{reason:?}: {message}")),
            _ => None,
        });
        let orphans = last.orphans.iter().cloned();
        guests.chain(volumes).chain(orphans).collect()
    }

    /// Passes, whether they succeed or not, for as long as `goes_on`.
    pub(crate) async fn pass_while(&mut self, goes_on: impl Fn(&Stage) -> bool) {
        let begun = Instant::now();
        while goes_on(&self.stage) {
            // A pass that fails is what this is about.
            let _ = self.stage.attempt().await;
            assert!(begun.elapsed() < BOUND, "it goes on: {:#?}", self.told());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn is_settled(stage: &Stage) -> bool {
        let guest = |uid: &String, fate: Fate| match &stage.last.guests.get(uid).map(|g| &g.state) {
            Some(GuestState::Settled { .. }) => fate == Fate::Keep,
            Some(GuestState::Gone) => fate == Fate::Destroy,
            _ => false,
        };
        let volume = |uid: &String, fate: Fate| match stage.last.volumes.get(uid).map(|v| &v.state)
        {
            Some(VolumeState::Settled { .. }) => fate == Fate::Keep,
            Some(VolumeState::Gone) => fate == Fate::Destroy,
            _ => false,
        };
        let desired = &stage.desired;
        stage.last.more == More::Idle
            && desired.guests.iter().all(|g| guest(&g.uid, g.fate))
            && desired.volumes.iter().all(|v| volume(&v.uid, v.fate))
    }

    /// Passes until all is as asked. Nothing may be doubled, lost or left over, nothing of
    /// others touched: all is as it is where nothing went wrong. Then everything goes, and
    /// what was there before is there.
    pub(crate) async fn ends_well(mut self) {
        self.pass_while(|stage| !Self::is_settled(stage)).await;
        let found = lasting(&self.stage.lab.snapshot());
        static CALM: OnceCell<Value> = OnceCell::const_new();
        let calm = CALM.get_or_init(calm).await;
        assert_eq!(first_difference(&found, calm, ""), None);
        self.stage.clear().await;
        let left = lasting(&self.stage.lab.snapshot());
        assert_eq!(first_difference(&left, &self.before, ""), None);
    }
}

/// The end of the same work where nothing goes wrong.
async fn calm() -> Value {
    let mut bulk = Bulk::ready().await;
    bulk.ask();
    bulk.pass_while(|stage| !Bulk::is_settled(stage)).await;
    lasting(&bulk.stage.lab.snapshot())
}

fn plain(id: u32) -> bb_core::proxmox::model::DesiredGuest {
    if is_container(id) {
        container(id)
    } else {
        vm(id, &[])
    }
}

/// What must be equal however it was reached: without what is drawn anew for each guest.
fn lasting(snapshot: &Value) -> Value {
    const DRAWN: [&str; 7] = [
        "digest", "vmgenid", "smbios1", "ctime", "data", "meta", "world",
    ];
    match snapshot {
        Value::Object(all) => all
            .iter()
            .filter(|(key, _)| !DRAWN.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), lasting(value)))
            .collect(),
        other => other.clone(),
    }
}

/// Where two states differ first, to be read.
fn first_difference(found: &Value, wanted: &Value, at: &str) -> Option<String> {
    let (Value::Object(a), Value::Object(b)) = (found, wanted) else {
        return (found != wanted).then(|| format!("{at}: {found}, not {wanted}"));
    };
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    keys.into_iter().find_map(|key| {
        let (a, b) = (a.get(key), b.get(key));
        let (a, b) = (a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null));
        first_difference(a, b, &format!("{at}/{key}"))
    })
}

/// The images on the storage of all tests that are named after a guest.
pub(crate) fn images_of(cluster: &Cluster, id: u32) -> Vec<String> {
    let places = cluster.storages["ssd"].volumes.values();
    let all = places.flat_map(|place| place.keys());
    all.filter(|name| name.starts_with(&format!("vm-{id}-")))
        .cloned()
        .collect()
}
