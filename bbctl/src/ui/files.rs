//! Turns the files of a user's folder, the environment and flags into settings of the dashboard.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::start::config::{self, Layers};
use crate::start::place;
use crate::start::settings::Setting;

use super::own::{self, Own};
use super::settings::{self, OwnSkin, Readonly, Settings};
use super::sheet::Told;
use super::skin;
use super::theme::{Skin, Theme, is_colourless};

/// The file of keys and words, in the user's folder.
pub(crate) const OWN: &str = "ui.toml";
/// The folder of skins, in the user's folder.
const SKINS: &str = "skins";

/// What flags say about the dashboard.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    /// Which theme.
    pub(super) theme: Option<String>,
    /// The file of keys and words.
    pub(super) own: Option<PathBuf>,
    /// Nothing may be changed.
    pub(super) readonly: bool,
    /// What flags say about every command, perhaps filled in.
    pub(super) globals: Globals,
}

/// Reads all settings, and the theme that they choose.
///
/// # Errors
/// When a file cannot be read, or one has something wrong in it.
pub(super) fn load(
    flags: &Flags,
    env: &BTreeMap<String, String>,
) -> Result<(Settings, Theme), Failure> {
    forgotten(env)?;
    let layers = config::layers(env)?;
    let folder = place::folder(env).ok();
    let skins = folder.as_deref().map(skins).transpose()?;
    let mut loaded = Settings {
        colourless: is_colourless(flags.globals.no_color, env),
        skins: skins.unwrap_or_default(),
        own: own(flags.own.as_deref(), folder.as_deref())?,
        ..Settings::default()
    };
    obey(&layers, &mut loaded)?;
    let theme = match (&flags.theme, layers.said("theme")) {
        (Some(name), _) => named(name, &loaded, "--theme")?,
        (None, Some((name, source))) => named(&name, &loaded, &source)?,
        (None, None) => Theme::default(),
    };
    let theme = match loaded.colourless {
        true => Theme::of(Skin::Mono),
        false => theme,
    };
    Ok((loaded, theme))
}

/// Each setting in force, where it comes from, and whether the user's file decides on it.
///
/// # Errors
/// When a file cannot be read or understood.
pub(super) fn explain(flags: &Flags, env: &BTreeMap<String, String>) -> Result<Vec<Told>, Failure> {
    let project = config::project_file(env);
    let told = |setting: Setting| {
        let setting = match (setting.setting, &flags.theme) {
            ("theme", Some(name)) => Setting::new("theme", name, "--theme"),
            ("readonly", _) if flags.readonly => Setting::new("readonly", "true", "--readonly"),
            _ => setting,
        };
        let source = &setting.source;
        let before = ["--", "BBCTL_"].iter().any(|sign| source.starts_with(sign));
        Told {
            is_first: before || Path::new(source) == project,
            setting,
        }
    };
    let all = config::layers(env)?.explain(&flags.globals);
    Ok(all.into_iter().map(told).collect())
}

/// Takes over what the files of settings and the environment say.
///
/// # Errors
/// When they say what cannot be.
pub(super) fn obey(layers: &Layers, loaded: &mut Settings) -> Result<(), Failure> {
    let wrong = |source: &str, name: &str, why: String| {
        Failure::usage(format!("{source}: {name}: {why}"))
            .hint("correct it; docs/ui.md has all settings of the dashboard")
    };
    if let Some((text, source)) = layers.said("readonly") {
        let readonly = Readonly::parse(&text);
        loaded.readonly = readonly.map_err(|why| wrong(&source, "readonly", why))?;
    }
    if let Some((text, source)) = layers.said("refresh") {
        let refresh = settings::refresh(&text);
        loaded.refresh = refresh.map_err(|why| wrong(&source, "refresh", why))?;
    }
    if let Some((text, _)) = layers.said("favourites") {
        loaded.favourites = settings::list(&text);
    }
    Ok(())
}

fn named(name: &str, loaded: &Settings, source: &str) -> Result<Theme, Failure> {
    loaded.find(name).map_err(|why| {
        Failure::usage(format!("{source}: {why}")).hint(
            "dark, light and mono are built in; skins of your own are described in docs/ui.md",
        )
    })
}

/// Makes sure that there is a theme of a name, for whoever wants to keep it.
///
/// # Errors
/// When there is none, or its file has something wrong in it.
pub(crate) fn must_be_a_theme(name: &str, folder: &Path) -> Result<(), Failure> {
    let loaded = Settings {
        skins: skins(folder)?,
        ..Settings::default()
    };
    named(name, &loaded, "theme").map(drop)
}

/// The skins of a folder by name. One that has something wrong in it is no error yet: perhaps
/// nobody wants it.
fn skins(folder: &Path) -> Result<Vec<OwnSkin>, Failure> {
    let folder = folder.join(SKINS);
    let failed = |error: std::io::Error| {
        let words = format!("cannot read the skins in {}: {error}", folder.display());
        Failure::new(Exit::Failure, words)
    };
    let files = match std::fs::read_dir(&folder) {
        Ok(files) => files,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut skins = Vec::new();
    for file in files {
        let path = file.map_err(failed)?.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        if Skin::ALL.iter().any(|(known, _)| *known == name) {
            let words = format!("{}: `{name}` is a theme that is built in", path.display());
            return Err(Failure::usage(words).hint("give the file another name"));
        }
        let theme = place::must_read(&path).and_then(|text| skin::parse(name, &text, &path));
        let theme = theme.map_err(|failure| match failure.hint {
            Some(hint) => format!("{}; {hint}", failure.message),
            None => failure.message,
        });
        skins.push((name.to_owned(), theme));
    }
    skins.sort_by(|(one, _), (two, _)| one.cmp(two));
    Ok(skins)
}

/// Reads the file of keys and words: the one that was named, or that of the folder if it is there.
fn own(named: Option<&Path>, folder: Option<&Path>) -> Result<Own, Failure> {
    let path = match (named, folder) {
        (Some(path), _) => path.to_path_buf(),
        (None, Some(folder)) => folder.join(OWN),
        (None, None) => return Ok(Own::default()),
    };
    let failed = |doing: &str, error: std::io::Error| {
        let words = format!("cannot {doing} {}: {error}", path.display());
        Failure::new(Exit::Failure, words)
    };
    // Opened once: what is judged is what is read, whatever the name leads to by then.
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match named {
                Some(_) => Err(place::missing(&path)),
                None => Ok(Own {
                    file: path.display().to_string(),
                    ..Own::default()
                }),
            };
        }
        Err(error) => return Err(failed("read", error)),
    };
    let meta = file.metadata().map_err(|error| failed("look at", error))?;
    let us = rustix::process::geteuid().as_raw();
    ours(&path, (meta.uid(), meta.mode()), us)?;
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(|error| failed("read", error))?;
    own::parse(&text, &path)
}

/// Refuses a file that somebody else wrote or may write, by its owner and mode: it says what is
/// run, as whom we are.
fn ours(path: &Path, (owner, mode): (u32, u32), us: u32) -> Result<(), Failure> {
    let (path, mode) = (path.display(), mode & 0o777);
    let (words, remedy) = match (owner == us || owner == 0, mode & 0o022) {
        (true, 0) => return Ok(()),
        (true, _) => (
            format!("others may write {path}: its mode is {mode:03o}"),
            format!("run `chmod go-w {path}`"),
        ),
        (false, _) => (
            format!("{path} belongs to somebody else: its owner is user {owner}"),
            format!("make it yours with `cp {path} {path}.mine && mv -f {path}.mine {path}`"),
        ),
    };
    let words = Failure::new(Exit::Failure, words);
    Err(words.hint(format!(
        "it says what keys do: look through it, then {remedy}"
    )))
}

/// Refuses to start beside settings that nobody reads any more: `readonly` may be among them.
fn forgotten(env: &BTreeMap<String, String>) -> Result<(), Failure> {
    let set = |name: &str| {
        env.get(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let Some(path) = base.map(|base| base.join("bbctl").join("ui.yaml")) else {
        return Ok(());
    };
    match path.exists() {
        false => Ok(()),
        true => Err(
            Failure::usage(format!("{} is not read any more", path.display())).hint(
                "say theme, refresh, readonly and favourites with `bbctl config set`, keys and \
                 aliases in ui.toml beside settings.toml as in docs/ui.md, and take the file away",
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::ui::keys::Action;

    fn home(files: &[(&str, &str)]) -> (tempfile::TempDir, BTreeMap<String, String>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        let env = BTreeMap::from([("HOME".to_owned(), dir.path().display().to_string())]);
        (dir, env)
    }

    fn flags() -> Flags {
        Flags::default()
    }

    #[test]
    fn files_environment_and_flags_say_how_it_looks_and_behaves() {
        let (dir, mut env) = home(&[
            (
                ".bbctl/settings.toml",
                "theme = 'dusk'\nrefresh = '1s'\nreadonly = ['live']\nfavourites = ['acme', 'globex']\n",
            ),
            (".bbctl/skins/dusk.toml", "[all]\ngood = 'green'\n"),
            (".bbctl/skins/torn.toml", "[all]\ngod = 'green'\n"),
            (".bbctl/skins/README", "not one"),
            (".bbctl/ui.toml", "[keys]\ndelete = 'ctrl-x'\n"),
        ]);
        let (loaded, theme) = load(&flags(), &env).unwrap();
        assert_eq!(theme.name(), "dusk");
        assert_eq!(loaded.refresh.as_secs(), 1);
        assert!(loaded.readonly.holds("live") && !loaded.readonly.holds("lab"));
        assert_eq!(loaded.favourites, ["acme", "globex"]);
        assert_eq!(loaded.own.keys.names(Action::Delete), ["ctrl-x"]);
        assert_eq!(loaded.themes(), ["dark", "light", "mono", "dusk", "torn"]);
        // A flag counts before the environment, that before the file; no colours before all.
        env.insert("BBCTL_THEME".to_owned(), "light".to_owned());
        assert_eq!(load(&flags(), &env).unwrap().1.name(), "light");
        let mono = Flags {
            theme: Some("mono".to_owned()),
            ..flags()
        };
        assert_eq!(load(&mono, &env).unwrap().1.name(), "mono");
        env.insert("NO_COLOR".to_owned(), "1".to_owned());
        assert_eq!(load(&flags(), &env).unwrap().1, Theme::of(Skin::Mono));
        env.remove("NO_COLOR");
        // One that is wanted has to be right; of another nobody knows yet.
        let torn = Flags {
            theme: Some("torn".to_owned()),
            ..flags()
        };
        let failure = load(&torn, &env).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        for words in ["--theme", "torn.toml:2", "all.god", "did you mean `good`?"] {
            assert!(failure.message.contains(words), "{failure}");
        }
        let folder = dir.path().join(".bbctl");
        assert!(must_be_a_theme("dusk", &folder).is_ok());
        assert!(must_be_a_theme("torn", &folder).is_err());
        assert!(must_be_a_theme("none", &folder).is_err());
    }

    #[test]
    fn what_is_in_force_is_told_with_its_source_and_what_counts_before_the_file() {
        let file = ".bbctl/settings.toml";
        let (dir, mut env) = home(&[(file, "theme = 'light'\nrefresh = '1s'\n")]);
        let project = dir.path().join("bitbuilder.toml");
        std::fs::write(&project, "namespace = 'acme'\n").unwrap();
        env.insert("BBCTL_PROJECT".to_owned(), project.display().to_string());
        env.insert("BBCTL_REFRESH".to_owned(), "2s".to_owned());
        let flags = Flags {
            readonly: true,
            ..flags()
        };
        let told = explain(&flags, &env).unwrap();
        let of = |name: &str| {
            let one = told.iter().find(|one| one.setting.setting == name).unwrap();
            let Setting { value, source, .. } = one.setting.clone();
            (value, source, one.is_first)
        };
        let told = |value: &str, source: &str, first| (value.to_owned(), source.to_owned(), first);
        let path = dir.path().join(file).display().to_string();
        assert_eq!(of("theme"), told("light", &path, false));
        assert_eq!(of("refresh"), told("2s", "BBCTL_REFRESH", true));
        assert_eq!(of("readonly"), told("true", "--readonly", true));
        let project = project.display().to_string();
        assert_eq!(of("namespace"), told("acme", &project, true));
        assert_eq!(of("favourites").1, "default: the first nine tenants");
    }

    #[test]
    fn without_a_file_all_is_as_it_is_built_in() {
        let (_dir, env) = home(&[]);
        let (loaded, theme) = load(&flags(), &env).unwrap();
        assert_eq!(theme, Theme::default());
        assert_eq!(loaded.refresh, settings::REFRESH);
        assert!(!loaded.readonly.holds("any") && loaded.skins.is_empty());
    }

    #[test]
    fn a_word_that_is_none_of_ours_is_an_error_when_it_is_read() {
        for (file, text, words) in [
            (".bbctl/settings.toml", "thme = 'dark'", "no setting `thme`"),
            (".bbctl/settings.toml", "theme = 'pink'", "no theme `pink`"),
            (".bbctl/settings.toml", "refresh = '1ms'", "at least 50ms"),
            (".bbctl/settings.toml", "refresh = 'soon'", "not a duration"),
            (".bbctl/settings.toml", "readonly = 'yes'", "true, false"),
            (
                ".bbctl/ui.toml",
                "[keys]\ndestroy = 'x'",
                "`keys.destroy` is no action",
            ),
            (".bbctl/skins/light.toml", "", "built in"),
            (".config/bbctl/ui.yaml", "theme: dark", "not read any more"),
        ] {
            let (_dir, env) = home(&[(file, text)]);
            let failure = load(&flags(), &env).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{text}");
            assert!(failure.message.contains(words), "{text}: {failure}");
            let told = failure
                .message
                .contains(file.rsplit('/').next().unwrap_or_default());
            assert!(told, "the file is named: {failure}");
        }
    }

    #[test]
    fn a_file_that_was_named_must_be_there_and_be_ours_alone() {
        let (dir, env) = home(&[("other.toml", "[aliases]\nvms = 'instances'\n")]);
        let of = |name: &str| Flags {
            own: Some(dir.path().join(name)),
            ..flags()
        };
        let missing = load(&of("none.toml"), &env).unwrap_err();
        assert!(missing.message.contains("none.toml"), "{missing}");
        let (loaded, _) = load(&of("other.toml"), &env).unwrap();
        assert_eq!(loaded.own.aliases["vms"], "instances");
        let path = dir.path().join("other.toml");
        std::fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        let open = load(&of("other.toml"), &env).unwrap_err();
        assert!(open.message.contains("664"), "{open}");
        assert!(open.hint.is_some_and(|hint| hint.contains("chmod go-w")));
        // What cannot be read is told by its name, also where it need not be there.
        std::fs::create_dir_all(dir.path().join(".bbctl").join(OWN)).unwrap();
        let folder = load(&flags(), &env).unwrap_err();
        assert!(folder.message.contains(OWN), "{folder}");
    }

    #[test]
    fn a_file_of_keys_is_ours_or_the_machines_and_nobody_elses() {
        let path = Path::new("/own/ui.toml");
        for (owner, mode, us, words, remedy) in [
            (1000, 0o100_600, 1000, "", ""),
            (1000, 0o100_644, 1000, "", ""),
            (0, 0o100_644, 1000, "", ""),
            (1000, 0o100_664, 1000, "others may write", "chmod go-w"),
            (0, 0o100_602, 1000, "mode is 602", "chmod go-w"),
            (1001, 0o100_600, 1000, "its owner is user 1001", "mv -f"),
            (1000, 0o100_600, 0, "its owner is user 1000", "mv -f"),
        ] {
            match ours(path, (owner, mode), us) {
                Ok(()) => assert!(words.is_empty(), "{owner} {mode:o} {us}"),
                Err(failure) => {
                    assert!(!words.is_empty(), "{failure}");
                    assert!(failure.message.contains(words), "{failure}");
                    assert!(failure.message.contains("/own/ui.toml"), "{failure}");
                    let hint = failure.hint.unwrap();
                    assert!(
                        hint.contains(remedy) && hint.contains("look through"),
                        "{hint}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_file_of_keys_that_is_not_ours_is_not_read() {
        let (dir, env) = home(&[(".bbctl/ui.toml", "[keys]\ndelete = 'ctrl-x'\n")]);
        let path = dir.path().join(".bbctl/ui.toml");
        let us = rustix::process::geteuid();
        // Whoever may give a file away sees that; all others that root's are taken.
        match std::os::unix::fs::chown(&path, Some(us.as_raw() + 1), None) {
            Ok(()) => {
                let failure = load(&flags(), &env).unwrap_err();
                assert!(failure.message.contains("somebody else"), "{failure}");
            }
            Err(_) => assert!(!us.is_root() && load(&flags(), &env).is_ok()),
        }
    }
}
