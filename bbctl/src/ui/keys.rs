//! Turns keys into actions by one table, which also makes the help, the footer and the page of the
//! documentation.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key with what is held down beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The key.
    pub code: KeyCode,
    /// Control is held down.
    pub ctrl: bool,
}

impl Key {
    /// The key that ends the dashboard wherever one is.
    pub const QUIT: Self = Self {
        code: KeyCode::Char('c'),
        ctrl: true,
    };

    /// A key alone.
    #[must_use]
    pub const fn plain(code: KeyCode) -> Self {
        Self { code, ctrl: false }
    }

    /// The key of an event. Shift is part of the letter.
    #[must_use]
    pub fn of(event: KeyEvent) -> Self {
        let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        let code = match event.code {
            // What terminals send for ctrl-space.
            KeyCode::Null => {
                return Self {
                    code: KeyCode::Char(' '),
                    ctrl: true,
                };
            }
            KeyCode::Char(c) if ctrl => KeyCode::Char(c.to_ascii_lowercase()),
            KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::SHIFT) => {
                KeyCode::Char(c.to_ascii_uppercase())
            }
            other => other,
        };
        Self { code, ctrl }
    }

    /// Reads what settings and the help call a key: `d`, `shift-n`, `ctrl-d`, `space`, `f5`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ctrl, rest) = match text.strip_prefix("ctrl-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if let Some(letter) = rest.strip_prefix("shift-") {
            let mut letters = letter.chars();
            let (Some(letter), None, false) = (letters.next(), letters.next(), ctrl) else {
                return None;
            };
            return letter
                .is_ascii_lowercase()
                .then(|| Self::plain(KeyCode::Char(letter.to_ascii_uppercase())));
        }
        let named = NAMED
            .iter()
            .find(|(name, _)| *name == rest)
            .map(|(_, code)| *code);
        let code = match named {
            Some(code) => code,
            None => match rest.strip_prefix('f').and_then(|n| n.parse().ok()) {
                Some(number @ 1..=12) => KeyCode::F(number),
                _ => {
                    let mut letters = rest.chars();
                    match (letters.next(), letters.next()) {
                        (Some(c), None) if !c.is_control() && !c.is_ascii_uppercase() => {
                            KeyCode::Char(c)
                        }
                        _ => return None,
                    }
                }
            },
        };
        Some(Self { code, ctrl })
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> String {
        let before = if self.ctrl { "ctrl-" } else { "" };
        let named = NAMED.iter().find(|(_, code)| *code == self.code);
        let name = match (named, self.code) {
            (Some((name, _)), _) => (*name).to_owned(),
            (_, KeyCode::Char(c)) if c.is_ascii_uppercase() => {
                format!("shift-{}", c.to_ascii_lowercase())
            }
            (_, KeyCode::Char(c)) => c.to_string(),
            (_, KeyCode::F(number)) => format!("f{number}"),
            _ => "?".to_owned(),
        };
        format!("{before}{name}")
    }
}

const NAMED: [(&str, KeyCode); 15] = [
    ("space", KeyCode::Char(' ')),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
];

/// What a key can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table below says what each does")]
pub enum Action {
    Down,
    Up,
    PageDown,
    PageUp,
    Top,
    Bottom,
    Left,
    Right,
    Enter,
    Back,
    HistoryBack,
    HistoryForward,
    Last,
    Palette,
    Filter,
    Help,
    Pulses,
    Tree,
    Describe,
    Yaml,
    Events,
    Calls,
    Owner,
    UsedBy,
    AllTenants,
    Favourite,
    Wide,
    Faults,
    Crumbs,
    Header,
    Log,
    SortName,
    SortAge,
    SortStatus,
    SortColumn,
    Mark,
    MarkRange,
    Copy,
    Refresh,
    Create,
    Edit,
    Draft,
    Start,
    Stop,
    Restart,
    Resize,
    Delete,
    Quit,
    Leave,
}

/// On which screens a key does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On all.
    All,
    /// On lists.
    Lists,
    /// Wherever an object is under the cursor or on the screen.
    Objects,
    /// Wherever an Instance is.
    Instances,
    /// Wherever an Instance or a Volume is.
    Sized,
    /// Wherever a Network, a Volume or an Instance is.
    Planned,
}

/// One row of the table of keys.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// What settings call the action.
    pub word: &'static str,
    /// The action.
    pub action: Action,
    /// The keys, unless settings name another.
    pub keys: &'static [&'static str],
    /// What it does.
    pub does: &'static str,
    /// Two or three letters for the footer; empty: not there.
    pub hint: &'static str,
    /// Where.
    pub on: On,
    /// Whether it changes something on the server; such keys are dead in read-only mode.
    pub changes: bool,
    /// Under which heading it is explained.
    pub group: &'static str,
}

const fn key(
    word: &'static str,
    action: Action,
    keys: &'static [&'static str],
    does: &'static str,
) -> Binding {
    Binding {
        word,
        action,
        keys,
        does,
        hint: "",
        on: On::All,
        changes: false,
        group: "",
    }
}

impl Binding {
    const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    const fn on(mut self, on: On) -> Self {
        self.on = on;
        self
    }

    const fn changes(mut self) -> Self {
        self.changes = true;
        self
    }

    const fn group(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }
}

const MOVE: &str = "Moving";
const GO: &str = "Going to";
const SEE: &str = "One object";
const LOOK: &str = "What is shown";
const CHANGE: &str = "Changing something";
const END: &str = "Leaving";

/// Every key, in the order of the help.
#[rustfmt::skip]
pub static KEYS: [Binding; 49] = [
    key("down", Action::Down, &["down", "j"], "the next row").group(MOVE),
    key("up", Action::Up, &["up", "k"], "the row before").group(MOVE),
    key("page-down", Action::PageDown, &["pgdn", "ctrl-f"], "a screen down").group(MOVE),
    key("page-up", Action::PageUp, &["pgup", "ctrl-b"], "a screen up").group(MOVE),
    key("top", Action::Top, &["home", "g"], "the first row").group(MOVE),
    key("bottom", Action::Bottom, &["end", "shift-g"], "the last row").group(MOVE),
    key("left", Action::Left, &["left"], "the column, tab or branch before").group(MOVE),
    key("right", Action::Right, &["right", "tab"], "the next column or tab; open a branch").group(MOVE),

    key("enter", Action::Enter, &["enter"], "what is below: a tenant's instances, an instance itself").hint("open").group(GO),
    key("back", Action::Back, &["esc"], "back; first clears filter and marks").group(GO),
    key("palette", Action::Palette, &[":"], "go anywhere by name: :networks, :tenant acme, :ctx, :q").hint("go").group(GO),
    key("pulses", Action::Pulses, &["shift-p"], "all at a glance: counts, health, providers").group(GO),
    key("tree", Action::Tree, &["t"], "the tree of tenants, networks, instances, volumes").group(GO),
    key("history-back", Action::HistoryBack, &["["], "the screen before, as in a browser").group(GO),
    key("history-forward", Action::HistoryForward, &["]"], "and forward again").group(GO),
    key("last", Action::Last, &["-"], "to and fro between two screens").group(GO),
    key("owner", Action::Owner, &["shift-j"], "what it belongs to").on(On::Objects).group(GO),
    key("used-by", Action::UsedBy, &["u"], "what uses it").on(On::Objects).group(GO),
    key("all-tenants", Action::AllTenants, &["0"], "all tenants").group(GO),
    key("favourite", Action::Favourite, &["1", "2", "3", "4", "5", "6", "7", "8", "9"], "one tenant, as numbered in the header").group(GO),

    key("describe", Action::Describe, &["d"], "why it is not ready, its parts, its events").hint("describe").on(On::Objects).group(SEE),
    key("yaml", Action::Yaml, &["y"], "the object as YAML").on(On::Objects).group(SEE),
    key("events", Action::Events, &["l"], "what was said of it").on(On::Objects).group(SEE),
    key("calls", Action::Calls, &["p"], "what routers and clusters have of it").on(On::Objects).group(SEE),
    key("copy", Action::Copy, &["c"], "copy its name to the clipboard").on(On::Objects).group(SEE),

    key("filter", Action::Filter, &["/"], "only rows with a match: REGEX, !REGEX, -l app=web, -f letters").hint("filter").on(On::Lists).group(LOOK),
    key("faults", Action::Faults, &["ctrl-z"], "only what is not ready").on(On::Lists).group(LOOK),
    key("wide", Action::Wide, &["ctrl-w"], "all columns").on(On::Lists).group(LOOK),
    key("sort-name", Action::SortName, &["shift-n"], "sort by name; again: the other way round").on(On::Lists).group(LOOK),
    key("sort-age", Action::SortAge, &["shift-a"], "sort by age").on(On::Lists).group(LOOK),
    key("sort-status", Action::SortStatus, &["shift-s"], "sort by what needs a person").on(On::Lists).group(LOOK),
    key("sort-column", Action::SortColumn, &["shift-o"], "sort by the column chosen with left and right").on(On::Lists).group(LOOK),
    key("mark", Action::Mark, &["space"], "mark it: the next action is about all marked ones").on(On::Lists).group(LOOK),
    key("mark-range", Action::MarkRange, &["ctrl-space"], "mark from the last mark to here").on(On::Lists).group(LOOK),
    key("refresh", Action::Refresh, &["ctrl-r"], "list everything anew").group(LOOK),
    key("header", Action::Header, &["ctrl-e"], "show or hide the header").group(LOOK),
    key("crumbs", Action::Crumbs, &["ctrl-g"], "show or hide the way here").group(LOOK),
    key("log", Action::Log, &["@"], "show or hide the commands that were run").group(LOOK),
    key("help", Action::Help, &["?"], "this page").hint("help").group(LOOK),

    key("create", Action::Create, &["n"], "make a new one, field by field").hint("new").changes().group(CHANGE),
    key("edit", Action::Edit, &["e"], "edit it in $EDITOR").on(On::Objects).changes().group(CHANGE),
    key("plan", Action::Draft, &["shift-e"], "edit it, and see what that would send before it is sent").on(On::Planned).changes().group(CHANGE),
    key("start", Action::Start, &["shift-r"], "start it").on(On::Instances).changes().group(CHANGE),
    key("stop", Action::Stop, &["shift-x"], "shut it down").on(On::Instances).changes().group(CHANGE),
    key("restart", Action::Restart, &["ctrl-t"], "restart it").on(On::Instances).changes().group(CHANGE),
    key("resize", Action::Resize, &["z"], "change its size").on(On::Sized).changes().group(CHANGE),
    key("delete", Action::Delete, &["ctrl-d", "delete"], "delete it, after asking").hint("delete").on(On::Objects).changes().group(CHANGE),

    key("leave", Action::Leave, &["q"], "back; from the first screen: the end").hint("quit").group(END),
    key("quit", Action::Quit, &["ctrl-c"], "the end").group(END),
];

/// How keys are written.
pub const NAMES: &str = "write d, shift-d, ctrl-d, space, enter, pgup or f5";

/// What is wrong with the one key that nobody gives away; `{}` is how it was written.
pub(super) const ENDS: &str = "cannot be `{}`: that ends the dashboard, whatever keys say";

/// What is wrong with a key for an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What was taken for the word of an action.
    pub word: String,
    /// What is wrong with it.
    pub words: String,
    /// What to do.
    pub remedy: String,
}

/// Which key does what, settings applied.
#[derive(Clone, Debug)]
pub struct Keymap {
    by_key: Vec<(Key, &'static Binding)>,
}

impl Default for Keymap {
    fn default() -> Self {
        let keys = KEYS.iter().flat_map(|binding| {
            let keys = binding.keys.iter().filter_map(|name| Key::parse(name));
            keys.map(move |key| (key, binding))
        });
        Self {
            by_key: keys.collect(),
        }
    }
}

impl Keymap {
    /// The table with other keys for some actions, by their words.
    ///
    /// # Errors
    /// When there is no such action or key, or one key would do two things.
    pub fn with(changes: &BTreeMap<String, String>) -> Result<Self, Wrong> {
        let mut map = Self::default();
        for word in changes.keys() {
            let binding = KEYS.iter().find(|b| b.word == *word);
            let binding = binding.ok_or_else(|| Wrong {
                word: word.clone(),
                words: "is no action".to_owned(),
                remedy: match crate::nearest::nearest(word, KEYS.iter().map(|b| b.word)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "docs/ui.md has the words of all actions".to_owned(),
                },
            })?;
            map.by_key.retain(|(_, other)| other.word != binding.word);
        }
        for binding in &KEYS {
            let Some(name) = changes.get(binding.word) else {
                continue;
            };
            let wrong = |words: String, remedy: &str| Wrong {
                word: binding.word.to_owned(),
                words,
                remedy: remedy.to_owned(),
            };
            let key = Key::parse(name)
                .ok_or_else(|| wrong(format!("cannot be `{name}`: that is no key"), NAMES))?;
            if key == Key::QUIT && binding.action != Action::Quit {
                return Err(wrong(ENDS.replace("{}", name), "choose another key"));
            }
            if let Some(other) = map.binding(key) {
                let words = format!("cannot be `{name}`: `{name}` does `{}` already", other.word);
                return Err(wrong(words, "choose another key, or move that one as well"));
            }
            map.by_key.push((key, binding));
        }
        Ok(map)
    }

    /// The actions whose keys are not those of the table, with their keys.
    pub fn moved(&self) -> impl Iterator<Item = (&'static Binding, Vec<String>)> + '_ {
        let now = KEYS.iter().map(|b| (b, self.names(b.action)));
        now.filter(|(binding, names)| *names != binding.keys)
    }

    /// What a key does.
    #[must_use]
    pub fn binding(&self, key: Key) -> Option<&'static Binding> {
        let found = self.by_key.iter().find(|(k, _)| *k == key);
        found.map(|(_, binding)| *binding)
    }

    /// What the keys of an action are called.
    #[must_use]
    pub fn names(&self, action: Action) -> Vec<String> {
        let keys = self.by_key.iter().filter(|(_, b)| b.action == action);
        keys.map(|(key, _)| key.name()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_name_that_leads_back_to_it_and_does_one_thing() {
        let mut seen = std::collections::HashSet::new();
        for binding in &KEYS {
            for name in binding.keys {
                let key = Key::parse(name).unwrap_or_else(|| panic!("{name}"));
                assert_eq!(key.name(), *name);
                assert!(seen.insert(key), "{name} does two things");
            }
            assert!(!binding.group.is_empty() && !binding.keys.is_empty());
        }
    }

    #[test]
    fn settings_move_a_key_and_what_they_get_wrong_is_named() {
        let with = |word: &str, key: &str| {
            Keymap::with(&BTreeMap::from([(word.to_owned(), key.to_owned())]))
        };
        let map = with("delete", "ctrl-x").unwrap();
        assert_eq!(map.names(Action::Delete), ["ctrl-x"]);
        assert!(map.binding(Key::parse("ctrl-d").unwrap()).is_none());
        let wrong = with("delte", "x").unwrap_err();
        assert_eq!(wrong.remedy, "did you mean `delete`?");
        let wrong = with("delete", "ctrl-alt-x").unwrap_err();
        assert_eq!(
            (wrong.word.as_str(), wrong.remedy.as_str()),
            ("delete", NAMES)
        );
        let wrong = with("delete", "q").unwrap_err();
        assert!(wrong.words.contains("does `leave` already"), "{wrong:?}");
        // It ends the dashboard all the same, so it would do two things.
        let both = |quit: &'static str| [("quit", quit), ("delete", "ctrl-c")];
        for changes in [both("f9").as_slice(), &both("f9")[1..]] {
            let pairs = changes.iter();
            let changes = pairs.map(|(word, key)| ((*word).to_owned(), (*key).to_owned()));
            let wrong = Keymap::with(&changes.collect()).unwrap_err();
            assert_eq!(wrong.word, "delete");
            assert!(wrong.words.contains("ends the dashboard"), "{wrong:?}");
        }
        assert!(with("quit", "ctrl-c").is_ok());
        assert_eq!(map.moved().count(), 1);
        assert_eq!(Keymap::default().moved().count(), 0);
    }
}
