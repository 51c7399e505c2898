//! Which source of a setting counts, what a file may say, and what is written into it.

use super::*;

fn layers_of(env: &[(&str, &str)], files: &[(&str, &str, bool)]) -> Layers {
    let env = env
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let files = files.iter().map(|(path, text, project)| Source {
        path: PathBuf::from(path),
        said: parse(text, Path::new(path), *project).unwrap(),
    });
    Layers {
        env,
        files: files.collect(),
    }
}

#[test]
fn a_flag_counts_first_and_the_systems_file_last() {
    let all = [
        ("p", "namespace = 'project'", true),
        ("u", "namespace = 'user'", false),
        ("s", "namespace = 'system'\ncontext = 'c'", false),
    ];
    let env = [("BBCTL_NAMESPACE", "env")];
    let of = |layers: &Layers, globals: &Globals| {
        let setting = layers.explain(globals).remove(0);
        (setting.value, setting.source)
    };
    let flags = Globals {
        namespace: Some("flag".to_owned()),
        ..Globals::default()
    };
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    let every = layers_of(&env, &all);
    assert_eq!(of(&every, &flags), pair("flag", "--namespace"));
    let none = Globals::default();
    assert_eq!(of(&every, &none), pair("env", "BBCTL_NAMESPACE"));
    assert_eq!(of(&layers_of(&[], &all), &none), pair("project", "p"));
    assert_eq!(of(&layers_of(&[], &all[1..]), &none), pair("user", "u"));
    assert_eq!(of(&layers_of(&[], &all[2..]), &none), pair("system", "s"));
    assert_eq!(of(&layers_of(&[], &[]), &none).1, "that of the context");
    // What is explained is what is in force.
    let mut filled = Globals::default();
    every.fill(&mut filled).unwrap();
    assert_eq!(filled.namespace.as_deref(), Some("env"));
    assert_eq!(filled.context.as_deref(), Some("c"));
    // And what was filled in is still not from a flag.
    assert_eq!(every.explain(&filled), every.explain(&Globals::default()));
    let mut flags = flags;
    every.fill(&mut flags).unwrap();
    assert_eq!(of(&every, &flags), pair("flag", "--namespace"));
}

#[test]
fn a_folder_decides_on_no_cluster_and_a_mistake_is_named() {
    let path = Path::new("bitbuilder.toml");
    for (text, words) in [
        ("context = 'x'", "cannot be said by a folder"),
        ("namspace = 'x'", "no setting `namspace`"),
        ("namespace = 3", "is a text"),
        ("timeout = 'soon'", "cannot be timeout"),
        ("namespace =", "bitbuilder.toml: "),
    ] {
        let failure = parse(text, path, true).unwrap_err();
        assert!(failure.message.contains(words), "{text}: {failure}");
    }
    let layers = layers_of(&[("BBCTL_OUTPUT", "xml")], &[]);
    assert!(layers.fill(&mut Globals::default()).is_err());
}

#[test]
fn setting_one_leaves_all_else_as_it_was() {
    let text = "# mine\ncontext = \"a\" # of home\n";
    let known = &KNOWN[0];
    let path = Path::new(USER);
    let with = changed(text, path, known, "acme").unwrap();
    assert_eq!(with, format!("{text}namespace = \"acme\"\n"));
    assert_eq!(changed(&with, path, known, "").unwrap(), text);
}

#[test]
fn what_is_written_is_of_the_shape_that_is_read() {
    let path = Path::new(USER);
    for (name, value, line) in [
        ("theme", "light", "theme = \"light\"\n"),
        ("readonly", "true", "readonly = true\n"),
        ("readonly", "lab, live", "readonly = [\"lab\", \"live\"]\n"),
        ("favourites", "acme", "favourites = [\"acme\"]\n"),
    ] {
        let known = KNOWN.iter().find(|known| known.name == name).unwrap();
        let text = changed("", path, known, value).unwrap();
        assert_eq!(text, line);
        let said = parse(&text, path, false).unwrap();
        assert_eq!(said[name], value.replace(", ", "\n"));
    }
    for (text, words) in [
        ("theme = true", "`theme` is a text"),
        ("theme = ['dark']", "`theme` is a text"),
        ("readonly = 1", "true, false, a text or a list"),
        ("readonly = 'yes'", "write true, false"),
        ("refresh = '1ms'", "at least 50ms"),
    ] {
        let failure = parse(text, path, false).unwrap_err();
        assert!(failure.message.contains(words), "{text}: {failure}");
    }
}
