//! Turns the chart and sets of values into manifests that a person has read.

use anyhow::{Context as _, Result, ensure};
use bb_controller::Args;
use bb_controller::args::{Line, Once};
use bb_controller::leave::Objects;
use bb_lab_harness::chart;
use bb_tests::site::documents;
use clap::Parser as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::{SETS, objects, text};

/// Definitions are long, and have a test of their own.
const WITHOUT_DEFINITIONS: [&str; 2] = ["--set", "crds.install=false"];

#[test]
fn helm_finds_nothing_to_complain_about() -> Result<()> {
    let chart = chart::dir().display().to_string();
    let output = chart::helm(&["lint", "--strict", &chart])?;
    let words = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{words}");
    Ok(())
}

#[test]
fn the_definitions_of_the_chart_are_those_of_the_types() -> Result<()> {
    let mut wanted = bb_crds::crds();
    wanted.sort_by_key(|crd| crd.metadata.name.clone());
    let of = |flags: &[&str]| -> Result<Vec<CustomResourceDefinition>> {
        let mut all = documents(&chart::render(flags)?)?;
        all.retain(|object| object["kind"] == "CustomResourceDefinition");
        all.sort_by_key(|crd| crd["metadata"]["name"].to_string());
        let typed = all.into_iter().map(serde_json::from_value);
        Ok(typed.collect::<Result<_, _>>()?)
    };
    for (flag, kept) in [("crds.keep=true", true), ("crds.keep=false", false)] {
        let made = of(&["--set", flag])?;
        ensure!(made.len() == wanted.len(), "{} definitions", made.len());
        for (made, wanted) in made.into_iter().zip(&wanted) {
            let name = made.metadata.name;
            ensure!(made.spec == wanted.spec, "{name:?} differs");
            let notes = made.metadata.annotations.unwrap_or_default();
            let policy = notes.get("helm.sh/resource-policy").map(String::as_str);
            ensure!(policy == kept.then_some("keep"), "{name:?}: {policy:?}");
        }
    }
    ensure!(of(&["--set", "crds.install=false"])?.is_empty());
    Ok(())
}

#[test]
fn each_set_of_values_makes_what_was_read_and_found_right() -> Result<()> {
    for set in SETS {
        insta::assert_snapshot!(set, text(set, &WITHOUT_DEFINITIONS)?);
    }
    Ok(())
}

#[test]
fn the_controller_understands_every_flag_that_it_is_given() -> Result<()> {
    for set in SETS {
        let all = objects(set)?;
        let deployment = all.iter().find(|object| object["kind"] == "Deployment");
        let pod = &deployment.context("a Deployment")?["spec"]["template"]["spec"];
        let flags = pod["containers"][0]["args"].as_array().context("flags")?;
        let flags = flags.iter().filter_map(Value::as_str).map(|flag| {
            flag.replace("$(POD_NAMESPACE)", "clouds")
                .replace("$(POD_NAME)", "one")
        });
        let line = ["bb-controller".to_owned()].into_iter().chain(flags);
        let args = Args::try_parse_from(line).with_context(|| format!("with the values {set}"))?;
        ensure!(args.leader_elect && args.namespace == "clouds", "{args:?}");
        ensure!(args.metrics.is_some(), "{args:?}");
    }
    Ok(())
}

/// A set of values whose definitions go with the release.
const GOES: [&str; 2] = ["--set", "crds.keep=false"];

#[test]
fn what_is_asked_before_definitions_go_is_asked_only_where_they_go() -> Result<()> {
    for (set, more, asked) in [
        ("defaults", &[][..], false),
        ("shared", &GOES, false),
        ("small", &[], true),
        ("defaults", &GOES, true),
    ] {
        let all = documents(&text(set, more)?)?;
        let jobs = all.iter().filter(|object| object["kind"] == "Job").count();
        ensure!(jobs == usize::from(asked), "{set} {more:?}: {jobs} jobs");
    }
    let shown = ["--show-only", "templates/leave.yaml"];
    insta::assert_snapshot!("leave", text("closed", &[&GOES[..], &shown].concat())?);
    Ok(())
}

#[test]
fn the_controller_understands_what_it_is_asked_before_definitions_go() -> Result<()> {
    for (value, wanted) in [("Refuse", Objects::Refuse), ("Orphan", Objects::Orphan)] {
        let value = format!("crds.onUninstall={value}");
        let flags = [
            "--set",
            "controller.extraArgs={--lease-name=l}",
            "--set",
            &value,
        ];
        let all = documents(&text("small", &flags)?)?;
        let job = all.iter().find(|object| object["kind"] == "Job");
        let pod = &job.context("a Job")?["spec"]["template"]["spec"];
        let flags = pod["containers"][0]["args"].as_array().context("flags")?;
        let flags = flags.iter().filter_map(Value::as_str).map(str::to_owned);
        let line = Line::try_parse_from(["bb-controller".to_owned()].into_iter().chain(flags))?;
        ensure!(line.args.lease_name == "l", "{line:?}");
        let Some(Once::Leave(leave)) = line.once else {
            anyhow::bail!("it would work: {:?}", line.args);
        };
        ensure!(
            leave.objects == wanted && leave.release == "bitbuilder",
            "{leave:?}"
        );
        ensure!(leave.revision == 1, "{leave:?}");
    }
    Ok(())
}
