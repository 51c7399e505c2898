//! Turns where the reader is into a value: screens, and the way that led there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::related::Said;

use super::list::List;
use super::sheet::Sheet;
use super::store::Id;
use super::text::Text;
use super::tree::Tree;

/// One screen.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "most places are lists, and there are few"
)]
pub enum Place {
    /// All at a glance.
    Pulses(Pulses),
    /// The objects of a kind.
    List(List),
    /// Who has what.
    Tree(Tree),
    /// One object.
    Page(Page),
    /// The settings.
    Settings(Sheet),
}

impl Place {
    /// What the way here calls it.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Pulses(_) => "pulses".to_owned(),
            Self::Tree(_) => "tree".to_owned(),
            Self::Settings(_) => "settings".to_owned(),
            Self::Page(page) => page.id.label(),
            Self::List(list) => match &list.query.of {
                Some(owner) => format!("{} of {}", list.kind.plural, owner.label()),
                None => list.kind.plural.to_owned(),
            },
        }
    }

    /// The object that a key is about.
    #[must_use]
    pub fn object(&self) -> Option<Id> {
        match self {
            Self::Pulses(_) | Self::Settings(_) => None,
            Self::List(list) => list.under_cursor(),
            Self::Tree(tree) => tree.under_cursor(),
            Self::Page(page) => Some(page.id.clone()),
        }
    }

    /// The objects that an action is about.
    #[must_use]
    pub fn chosen(&self) -> Vec<Id> {
        match self {
            Self::List(list) => list.chosen(),
            other => other.object().into_iter().collect(),
        }
    }
}

/// All at a glance.
#[derive(Clone, Debug, Default)]
pub struct Pulses {
    /// Which row has the cursor: kinds first, then Providers.
    pub at: usize,
}

/// Which side of an object is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    /// All that explains it.
    #[default]
    Describe,
    /// The object as it is in the API.
    Yaml,
    /// What was said of it.
    Events,
    /// What routers and clusters have of it.
    Targets,
}

impl Tab {
    /// All of them, in their order on the screen.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Describe, "describe"),
        (Self::Yaml, "yaml"),
        (Self::Events, "events"),
        (Self::Targets, "targets"),
    ];
}

/// What is known of what was said of an object.
#[derive(Clone, Debug, Default)]
pub enum Heard {
    /// The server was asked.
    #[default]
    Asking,
    /// This; none where it may not be read.
    Said(Option<Vec<Said>>),
    /// It could not be read.
    Failed(String),
}

/// One object.
#[derive(Clone, Debug)]
pub struct Page {
    /// Which.
    pub id: Id,
    /// Which side of it.
    pub tab: Tab,
    /// The first line that is shown.
    pub scroll: usize,
    /// What was said of it.
    pub heard: Heard,
    /// The version of the object that events were asked for last, and when, in seconds.
    pub asked: Option<(String, i64)>,
    /// What it stands for on routers and clusters, and the version of what is known that this was
    /// made from.
    pub stands: Option<(u64, Arc<Vec<Text>>)>,
    /// The lines, made for one width at one moment.
    pub lines: Arc<Vec<Text>>,
}

impl Page {
    /// A side of an object.
    #[must_use]
    pub fn new(id: Id, tab: Tab) -> Self {
        Self {
            id,
            tab,
            scroll: 0,
            heard: Heard::Asking,
            asked: None,
            stands: None,
            lines: Arc::default(),
        }
    }
}

/// The kinds that a screen needs to know, by plural.
#[must_use]
pub fn needs(place: &Place) -> BTreeSet<&'static str> {
    let all = || crate::kinds::KINDS.iter().map(|kind| kind.plural);
    match place {
        Place::Pulses(_) => all().collect(),
        Place::Settings(_) => BTreeSet::new(),
        Place::Tree(_) => ["tenants", "networks", "instances", "volumes"].into(),
        Place::List(list) => {
            let owner = list.query.of.iter().map(|owner| owner.kind.plural);
            owner.chain([list.kind.plural]).collect()
        }
        Place::Page(page) => match page.id.kind.kind {
            "Region" => ["regions", "providers"].into(),
            "Provider" => ["providers", "instances"].into(),
            _ => [
                "tenants",
                "networks",
                "instances",
                "volumes",
                "providers",
                "regions",
            ]
            .into(),
        },
    }
}
