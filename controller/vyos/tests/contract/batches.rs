//! Turns hundreds of objects at once into few commits, and one more into one.

use bb_core::vyos::Claim;
use bb_lab_vyos::Running;

use crate::claims::{Bench, absent, desired, fabric, open, plain, stretched, uid};
use crate::stand::{lab, pruned, router};

fn sent(lab: &Running) -> u64 {
    lab.counters.get("requests_configure")
}

/// Ten tenants with 200 networks, then with 400, then with one more, then with none.
async fn a_day(of: impl Fn(usize, usize) -> Claim + Copy, most: [u64; 2]) {
    let lab = lab().await;
    let before = pruned(&lab.config());
    let mut bench = Bench::new(router(&lab));
    let mut made = 0;
    for (networks, most) in [200, 400].into_iter().zip(most) {
        let pass = bench.settle(&desired(fabric(10, 0..networks, of))).await;
        assert_eq!(open(&pass), []);
        println!(
            "{networks} networks of 10 tenants: {} commits",
            sent(&lab) - made
        );
        assert!(sent(&lab) - made <= most, "{} commits", sent(&lab) - made);
        made = sent(&lab);
    }
    lab.journal.clear_memory();
    let whole = fabric(10, 0..401, of);
    assert_eq!(open(&bench.settle(&desired(whole.clone())).await), []);
    let entries = lab.journal.entries();
    let lists: Vec<_> = entries
        .iter()
        .filter(|e| e.method == "POST" && e.path == "/configure")
        .collect();
    assert_eq!(lists.len(), 1);
    let commands = lists[0].body.as_array().unwrap();
    for command in commands {
        let path = command["path"].to_string();
        assert!(
            path.contains("20400") || path.contains("500"),
            "{path} is of another"
        );
        assert_eq!(command["op"], "set");
    }
    assert!(commands.len() <= 15, "{}", commands.len());
    let (reads, saves) = (
        lab.counters.get("reads_show_config"),
        lab.counters.get("saves"),
    );
    assert!(
        reads <= 2 * sent(&lab) && saves <= sent(&lab),
        "{reads} {saves}"
    );
    made = sent(&lab);
    let pass = bench.settle(&desired(whole.iter().map(absent))).await;
    assert_eq!(open(&pass), []);
    println!("401 networks deleted: {} commits", sent(&lab) - made);
    assert!(
        sent(&lab) - made <= most[1],
        "{} commits",
        sent(&lab) - made
    );
    assert_eq!(pruned(&lab.config()), before);
    assert_eq!(lab.counters.get("in_flight_max"), 1);
    assert_eq!(uid(400), "n0400");
}

#[tokio::test]
async fn hundreds_of_plain_networks_at_once_are_a_few_commits() {
    a_day(plain, [1, 1]).await;
}

#[tokio::test]
async fn hundreds_of_stretched_networks_at_once_are_a_few_commits() {
    a_day(stretched, [4, 4]).await;
}
