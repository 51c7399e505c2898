//! A controller that is killed at any call leaves nothing doubled, lost or left over.

use anyhow::Result;
use bb_lab_harness::paths;
use bb_tests::sweep::{Options, Tally, sweep};

/// A fixed sixth of the points; `make sweep` goes through all of them.
const PART: (u8, u8) = (0, 6);
/// A kill says nothing at a call that was not made. Which calls are made varies with how events
/// fall together, for few of them.
const REACHED: f64 = 0.9;

#[tokio::test(flavor = "multi_thread")]
async fn a_sixth_of_all_crash_points_changes_nothing_in_the_end() -> Result<()> {
    let options = Options {
        labs: 4,
        part: PART,
        only: Vec::new(),
        dir: paths::root().join("target/sweep"),
    };
    let report = sweep(options).await?;
    // With --show-output, and when something is wrong.
    println!("{report}");
    assert!(report.wrong.is_empty(), "see above, and target/sweep");
    assert_eq!(report.tally, Tally::default());
    assert!(report.points >= 100, "{} points are too few", report.points);
    let share = report.reached as f64 / report.points as f64;
    assert!(
        share >= REACHED,
        "only {share:.2} of the points were reached"
    );
    Ok(())
}
