//! Every screen at three sizes, as text.

use super::kit::Desk;

/// Takes a picture of a screen at each size.
fn pictures(name: &str, prepare: impl Fn(&mut Desk)) {
    for (columns, lines) in [(60, 15), (80, 24), (160, 50)] {
        let mut desk = Desk::example();
        desk.size(columns, lines);
        prepare(&mut desk);
        insta::assert_snapshot!(format!("{name}_{columns}x{lines}"), desk.screen());
    }
}

#[test]
fn the_list_of_each_kind() {
    for plural in [
        "regions",
        "providers",
        "tenants",
        "networks",
        "volumes",
        "instances",
    ] {
        pictures(&format!("list_{plural}"), |desk| {
            desk.press(&format!(": \"{plural}\" enter"));
        });
    }
}

#[test]
fn a_list_filtered_marked_sorted_and_wide() {
    pictures("list_filtered", |desk| {
        desk.press("/ \"www\" enter space down space shift-a shift-a ctrl-w right");
    });
}

#[test]
fn the_pulses() {
    pictures("pulses", |desk| {
        desk.press("shift-p");
        for _ in 0..20 {
            desk.later(5);
        }
        desk.press("end");
    });
}

#[test]
fn the_tree() {
    pictures("tree", |desk| {
        desk.press("t down down");
    });
}

#[test]
fn each_side_of_an_object() {
    for (key, tab) in [
        ("d", "describe"),
        ("y", "yaml"),
        ("l", "events"),
        ("p", "targets"),
    ] {
        pictures(&format!("page_{tab}"), |desk| {
            desk.press(&format!(": \"networks\" enter {key}"));
            desk.hear();
        });
    }
}

#[test]
fn the_help() {
    pictures("help", |desk| {
        desk.press("?");
    });
}

#[test]
fn the_help_with_keys_of_ones_own() {
    pictures("help_own", |desk| {
        desk.model.settings.own = super::settings::own();
        desk.press("? end");
    });
    pictures("help_own_readonly", |desk| {
        desk.model.settings.own = super::settings::own();
        desk.model.readonly = true;
        desk.press("? end");
    });
}

#[test]
fn the_question_before_a_command_of_ones_own() {
    pictures("plugin_asking", |desk| {
        desk.model.settings.own = super::settings::own();
        desk.press("end f5");
    });
}

#[test]
fn the_settings() {
    pictures("settings", |desk| {
        super::settings::told(desk);
        desk.press("right");
    });
    pictures("settings_own", |desk| {
        super::settings::told(desk);
        desk.press("end up up");
    });
}

#[test]
fn the_palette_with_its_completions() {
    pictures("palette", |desk| {
        desk.press(": \"t\" tab tab");
    });
}

#[test]
fn the_questions_before_a_deletion() {
    pictures("delete_moderate", |desk| {
        super::changes::weigh(desk, "www-1", false);
    });
    pictures("delete_severe", |desk| {
        super::changes::weigh(desk, "www-1", true);
    });
}

#[test]
fn a_form_while_it_is_filled_in_and_what_comes_of_it() {
    pictures("form", |desk| {
        desk.press("n ctrl-u \"Www\"");
    });
    pictures("form_shown", |desk| {
        desk.press("n ctrl-s")
            .ended(0, "instance/vm-1 created (dry run)");
    });
    pictures("form_refused", |desk| {
        desk.press("n ctrl-s").ended(
            1,
            "error: cannot apply instance/vm-1: quota is used up\nhint: ask\n",
        );
    });
}

#[test]
fn what_a_change_would_send() {
    pictures("plan_asking", super::plans::asked);
    pictures("plan", |desk| {
        super::plans::asked(desk);
        desk.ended(0, super::plans::TOLD);
    });
    pictures("plan_old", |desk| {
        super::plans::asked(desk);
        let words = "error: the plan 0c5ee3fd3c1b3e1a is old: something moved since\n";
        desk.ended(0, super::plans::TOLD).press("a").ended(5, words);
    });
}

#[test]
fn the_log_of_commands_and_what_a_failed_one_said() {
    pictures("log", |desk| {
        desk.press("@ shift-r").ended(0, "instance/pg started\n");
        desk.press("shift-r");
    });
    pictures("said", |desk| {
        desk.press("shift-r").ended(
            4,
            "error: you may not patch instances in namespace acme\nhint: ask an admin\n",
        );
    });
}

#[test]
fn the_server_lost_and_the_terminal_too_small() {
    use bbctl::ui::event::Event;
    pictures("lost", |desk| {
        desk.take(Event::Server(Err(
            "https://192.0.2.10:6443 does not answer".to_owned(),
        )));
    });
    let mut desk = Desk::example();
    insta::assert_snapshot!("small", desk.size(40, 10).screen());
}

#[test]
fn lists_without_anything_in_them_say_what_to_do() {
    use bbctl::ui::event::Event;
    use bbctl::ui::store::News;
    let mut desk = Desk::new();
    insta::assert_snapshot!("empty_reading", desk.screen());
    desk.see(Vec::new());
    insta::assert_snapshot!("empty_none", desk.screen());
    desk.press("ctrl-z");
    assert!(desk.screen().contains("is ready"), "{}", desk.screen());
    desk.press("ctrl-z / \"x\" enter");
    assert!(
        desk.screen().contains("esc: take the filter away"),
        "{}",
        desk.screen()
    );
    desk.press(": \"providers\" enter");
    desk.take(Event::News(
        "providers",
        News::Denied("providers is forbidden".to_owned()),
    ));
    insta::assert_snapshot!("empty_denied", desk.screen());
}
