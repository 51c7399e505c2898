//! A plan says what is sent then, command for command and call for call, and changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bb_crds::PlanStatus;
use bb_lab_harness::paths;
use bb_tests::planned::{ask, differs, filled, forget_sent, planned, said, sent};
use bb_tests::{Site, SiteOptions, documents};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

/// The example's objects in its namespace; the namespace and the Tenant are the operator's.
fn example() -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for file in ["10-networks", "20-volumes", "30-instances"] {
        let path = paths::root().join(format!("examples/acme/{file}.yaml"));
        objects.extend(documents(&std::fs::read_to_string(path)?)?);
    }
    Ok(objects)
}

async fn site_with_tenant() -> Result<Site> {
    let site = Site::start(SiteOptions::default()).await?;
    let tenant = paths::root().join("examples/acme/00-tenant.yaml");
    site.apply(&std::fs::read_to_string(tenant)?).await?;
    site.all_ready(BOUND).await?;
    quiet(&site).await?;
    Ok(site)
}

async fn installation(site: &Site) -> Result<String> {
    let spaces: Api<Namespace> = Api::all(site.client.clone());
    let space = spaces.get("kube-system").await?;
    space.metadata.uid.context("kube-system has a UID")
}

/// Waits until nothing was sent for a second.
async fn quiet(site: &Site) -> Result<()> {
    let until = Instant::now() + BOUND;
    loop {
        let before = sent(site);
        tokio::time::sleep(Duration::from_secs(1)).await;
        if sent(site) == before {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("it never comes to rest");
        }
    }
}

/// Plans, and makes sure that this changed nothing anywhere.
async fn only_planned(
    site: &Site,
    manifests: &[Value],
    deletes: &[(&str, &str)],
) -> Result<PlanStatus> {
    forget_sent(site);
    let before = (site.outside(), site.versions().await?);
    let plan = planned(site, "acme", manifests, deletes).await?;
    assert_eq!(sent(site), BTreeMap::new(), "something was sent");
    assert_eq!((site.outside(), site.versions().await?), before);
    for target in &plan.targets {
        ensure!(target.unknown.is_none(), "{target:?}");
        ensure!(target.due == 0, "{target:?}");
    }
    Ok(plan)
}

/// A plan as text, without what is another in each run.
fn text(plan: &PlanStatus, hidden: &BTreeMap<String, String>) -> String {
    let mut lines = vec![plan.summary.clone().unwrap_or_default()];
    for target in &plan.targets {
        lines.push(format!("{:?} {}", target.type_, target.name));
        for step in &target.steps {
            lines.push(format!("  {}", step.object));
            lines.extend(step.sends.iter().map(|text| format!("    {text}")));
        }
    }
    for given in &plan.gives {
        lines.push(format!(
            "gives {}: {}",
            given.object,
            given.values.join(", ")
        ));
    }
    for held in &plan.held {
        lines.push(format!(
            "held {}: {}: {}",
            held.object, held.reason, held.message
        ));
    }
    lines.push(format!("{:?}", plan.reach));
    let text = lines.join("\n");
    let hidden = hidden.iter();
    hidden.fold(text, |text, (is, word)| text.replace(is, word))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_says_is_what_is_sent_over_the_life_of_a_tenant() -> Result<()> {
    let mut site = site_with_tenant().await?;
    let installation = installation(&site).await?;
    let tenant = site.ours("Tenant", None).get("acme").await?;
    let hidden: BTreeMap<String, String> = [
        (installation.clone(), "<installation>".to_owned()),
        (
            tenant.metadata.uid.context("a UID")?,
            "<UID of tenant/acme>".to_owned(),
        ),
    ]
    .into();

    // From nothing.
    let example = example()?;
    let plan = only_planned(&site, &example, &[]).await?;
    insta::assert_snapshot!("the_example_tenant_from_nothing", text(&plan, &hidden));
    // All at once: who comes first is given the first number, and is written to first.
    site.stop_controller().await?;
    for object in &example {
        site.apply_value(object.clone()).await?;
    }
    site.start_controller()?;
    site.all_ready(BOUND).await?;
    quiet(&site).await?;
    let words = filled(&site, "acme", &installation).await?;
    assert_eq!(
        differs(&said(&plan), &sent(&site), &words),
        Vec::<String>::new()
    );

    // Another shape: a network, a volume, a machine with more of everything and one less.
    let changed = changed(&example)?;
    let plan = only_planned(&site, &changed, &[("Instance", "cache")]).await?;
    site.stop_controller().await?;
    let cache = site.ours("Instance", Some("acme"));
    cache.delete("cache", &DeleteParams::default()).await?;
    for object in &changed {
        site.apply_value(object.clone()).await?;
    }
    site.start_controller()?;
    site.until(BOUND, |all| {
        !all.contains_key("Instance acme/cache") && all.values().all(|r| r.starts_with("True"))
    })
    .await?;
    quiet(&site).await?;
    let words = filled(&site, "acme", &installation).await?;
    assert_eq!(
        differs(&said(&plan), &sent(&site), &words),
        Vec::<String>::new()
    );

    // To nothing.
    let all: Vec<(String, String)> = example
        .iter()
        .chain(&changed)
        .filter_map(|o| {
            let name = o["metadata"]["name"].as_str()?;
            Some((o["kind"].as_str()?.to_owned(), name.to_owned()))
        })
        .filter(|(_, name)| name != "cache")
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let deletes: Vec<(&str, &str)> = all.iter().map(|(k, n)| (k.as_str(), n.as_str())).collect();
    let plan = only_planned(&site, &[], &deletes).await?;
    let reach = plan.reach.clone().context("a reach")?;
    assert_eq!(reach.destroys.len(), 5, "{reach:?}");
    assert_eq!((reach.tenants, plan.held.len()), (1, 0), "{plan:?}");
    for (kind, name) in &deletes {
        let api = site.ours(kind, Some("acme"));
        api.delete(name, &DeleteParams::default()).await?;
    }
    site.until(BOUND, |all| !all.keys().any(|k| k.contains(" acme/")))
        .await?;
    quiet(&site).await?;
    assert_eq!(
        differs(&said(&plan), &sent(&site), &words),
        Vec::<String>::new()
    );
    site.stop().await
}

/// The example with another network, and some of its objects otherwise.
fn changed(example: &[Value]) -> Result<Vec<Value>> {
    let find = |kind: &str, name: &str| {
        let found = example
            .iter()
            .find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
        found.cloned().with_context(|| format!("{kind} {name}"))
    };
    let mut web = find("Network", "web")?;
    web["spec"]["dns"]["servers"] = json!(["9.9.9.9", "1.1.1.1"]);
    web["spec"]["ipv4"]["dhcp"]["to"] = json!("10.10.0.230");
    let mut www = find("Instance", "www-1")?;
    www["spec"]["memory"] = json!("3Gi");
    www["spec"]["disk"] = json!("12Gi");
    let mut stopped = find("Instance", "www-2")?;
    stopped["spec"]["power"] = json!("Stopped");
    let mut data = find("Volume", "pgdata")?;
    data["spec"]["size"] = json!("24Gi");
    let another = json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
        "metadata": {"name": "back", "namespace": "acme"},
        "spec": {"zones": ["south"], "ipv4": {"prefix": "10.10.2.0/24"}},
    });
    Ok(vec![web, another, data, www, stopped])
}

fn network(name: &str, second: u8) -> Value {
    json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
        "metadata": {"name": name, "namespace": "acme"},
        "spec": {"zones": ["north"], "ipv4": {"prefix": format!("10.{second}.0.0/24")}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_may_not_be_about_is_refused_with_a_word() -> Result<()> {
    let site = site_with_tenant().await?;
    let refused = async |manifest: Value, deletes: &[(&str, &str)]| -> Result<String> {
        let manifests = if manifest.is_null() {
            vec![]
        } else {
            vec![manifest]
        };
        let status = ask(&site, "acme", &manifests, deletes).await?;
        ensure!(
            status.hash.is_none() && status.targets.is_empty(),
            "{status:?}"
        );
        let ready = status.conditions.first().context("a condition")?;
        Ok(format!("{}: {}", &*ready.reason, &*ready.message))
    };
    let mut elsewhere = network("web", 20);
    elsewhere["metadata"]["namespace"] = json!("other");
    let says = refused(elsewhere, &[]).await?;
    assert!(
        says.contains("NotAllowed") && says.contains("plan it in other"),
        "{says}"
    );
    let tenant = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant",
        "metadata": {"name": "mine"}, "spec": {}});
    let says = refused(tenant, &[]).await?;
    assert!(
        says.contains("NotAllowed") && says.contains("operator"),
        "{says}"
    );
    let says = refused(Value::Null, &[("Network", "none")]).await?;
    assert!(
        says.contains("NotFound") && says.contains("network/none"),
        "{says}"
    );
    let mut wrong = network("web", 20);
    wrong["spec"]["ipv4"]["colour"] = json!("red");
    let says = refused(wrong, &[]).await?;
    assert!(
        says.contains("Invalid") && says.contains("colour"),
        "{says}"
    );
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_does_not_answer_is_unknown_and_not_without_commands() -> Result<()> {
    let mut site = site_with_tenant().await?;
    site.apply_value(network("web", 20)).await?;
    site.all_ready(BOUND).await?;
    let patch = json!({"spec": {"vyos": {"endpoint": "https://127.0.0.1:1"}}});
    site.ours("Provider", None)
        .patch("r1", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    site.ready_says("Provider", "", "r1", "False").await?;
    let mut web = network("web", 20);
    web["spec"]["ipv4"]["dhcp"] = json!({"from": "10.20.0.10", "to": "10.20.0.20"});
    let plan = planned(&site, "acme", &[web], &[]).await?;
    let r1 = plan.targets.iter().find(|t| t.name == "r1").context("r1")?;
    assert!(r1.unknown.is_some() && r1.steps.is_empty(), "{r1:?}");
    assert_eq!(plan.summary.as_deref(), Some("r1: unknown; 1 held back"));
    site.stop_controller().await?;
    site.start_controller()?;
    site.stop().await
}

/// A run of bbctl as alice, who has no more than the role that her Tenant gives her.
struct Alice {
    kubeconfig: std::path::PathBuf,
    dir: std::path::PathBuf,
}

impl Alice {
    fn of(site: &Site) -> Result<Self> {
        let text = std::fs::read_to_string(site.cluster.kubeconfig())?;
        let mut config: Value = serde_saphyr::from_str(&text)?;
        for user in config["users"].as_array_mut().context("users")? {
            user["user"]["as"] = json!("alice");
        }
        let dir = site.cluster.dir().to_path_buf();
        let kubeconfig = dir.join("alice.json");
        std::fs::write(&kubeconfig, config.to_string())?;
        Ok(Self { kubeconfig, dir })
    }

    /// Writes a file and gives its path.
    fn file(&self, name: &str, objects: &[Value]) -> Result<String> {
        let path = self.dir.join(name);
        let text: Vec<String> = objects.iter().map(Value::to_string).collect();
        std::fs::write(&path, text.join("\n---\n"))?;
        Ok(path.display().to_string())
    }

    /// The exit code and what was written.
    async fn runs(&self, words: &[&str]) -> Result<(i32, String, String)> {
        let mut command = tokio::process::Command::new(paths::binary("bbctl")?);
        let command = command
            .args(words)
            .args(["-n", "acme"])
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(BOUND, command.output()).await??;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Ok((code, text(output.stdout), text(output.stderr)))
    }

    /// What could stand at the end of a line.
    async fn completes(&self, line: &str) -> Result<String> {
        let mut command = tokio::process::Command::new(paths::binary("bbctl")?);
        let command = command
            .args(["__complete", "--", "-n", "acme"])
            .args(line.split(' '))
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .kill_on_drop(true);
        let output = tokio::time::timeout(BOUND, command.output()).await??;
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn hash(&self, file: &str) -> Result<String> {
        let (code, stdout, stderr) = self.runs(&["plan", "-f", file, "-o", "json"]).await?;
        ensure!(code == 0, "{stdout}{stderr}");
        let plan: Value = serde_json::from_str(&stdout)?;
        let hash = plan["status"]["hash"].as_str().context("a hash")?;
        Ok(hash.to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_applied_by_its_hash_unless_the_world_moved_where_it_writes() -> Result<()> {
    let site = site_with_tenant().await?;
    site.apply_value(network("web", 20)).await?;
    site.all_ready(BOUND).await?;
    quiet(&site).await?;
    let alice = Alice::of(&site)?;

    // It is shown, with her rights, and nothing of it stays.
    let back = alice.file("back.yaml", &[network("back", 30)])?;
    let (code, stdout, stderr) = alice.runs(&["plan", "-f", &back]).await?;
    assert_eq!(code, 0, "{stdout}{stderr}");
    for words in [
        "Router r1",
        "set interfaces ethernet eth2 vif",
        "Hash: ",
        "tenants touched: 1",
    ] {
        assert!(stdout.contains(words), "{words} is not in {stdout}");
    }
    let plans = site.ours("Plan", Some("acme"));
    assert_eq!(plans.list(&Default::default()).await?.items.len(), 0);

    // Nothing moved, or only elsewhere: a line of the router's owner, another tenant's own.
    let hash = alice.hash(&back).await?;
    let (code, _, stderr) = alice
        .runs(&["apply", "-f", &back, "--plan", "0000"])
        .await?;
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("something moved since"), "{stderr}");
    let done =
        site.routers["r1"].type_in(&[bb_lab_vyos::Edit::set("system name-server 192.0.2.53")]);
    assert!(matches!(done, bb_lab_vyos::Outcome::Done(_)), "{done:?}");
    other_tenant(&site, &json!(["9.9.9.9"])).await?;
    let moved = alice.hash(&back).await?;
    assert_ne!(
        moved, hash,
        "the other tenant has the numbers that were to be given"
    );
    let (code, _, stderr) = alice.runs(&["apply", "-f", &back, "--plan", &hash]).await?;
    assert_eq!(code, 5, "{stderr}");
    ensure!(
        site.ours("Network", Some("acme"))
            .get_opt("back")
            .await?
            .is_none()
    );
    other_tenant(&site, &json!(["1.1.1.1"])).await?;
    let (code, stdout, stderr) = alice
        .runs(&["apply", "-f", &back, "--plan", &moved])
        .await?;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("network/back created"), "{stdout}");
    site.all_ready(BOUND).await?;
    quiet(&site).await?;

    // Somebody changes on the router what the plan would change.
    let mut served = network("back", 30);
    served["spec"]["ipv4"]["dhcp"] = json!({"from": "10.30.0.10", "to": "10.30.0.20"});
    let served = alice.file("served.yaml", &[served])?;
    let hash = alice.hash(&served).await?;
    let object = site.ours("Network", Some("acme")).get("back").await?;
    let vlan = object.data["status"]["vlans"][0]["vlan"]
        .as_i64()
        .context("a VLAN")?;
    let line = format!("interfaces ethernet eth2 vif {vlan} mtu 1400");
    let done = site.routers["r1"].type_in(&[bb_lab_vyos::Edit::set(&line)]);
    assert!(matches!(done, bb_lab_vyos::Outcome::Done(_)), "{done:?}");
    let (code, _, stderr) = alice
        .runs(&["apply", "-f", &served, "--plan", &hash])
        .await?;
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("something moved since"), "{stderr}");

    // What is as it should be has no plan, and an old one is said to be old.
    let (code, stdout, _) = alice.runs(&["plan", "-f", &back]).await?;
    assert_eq!(
        (code, stdout.trim()),
        (0, "nothing would change: every object is as the files say")
    );
    let (code, _, stderr) = alice.runs(&["apply", "-f", &back, "--plan", &hash]).await?;
    assert_eq!(code, 5, "{stderr}");
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_prunes_is_kept_shown_and_carried_out() -> Result<()> {
    let site = site_with_tenant().await?;
    let alice = Alice::of(&site)?;
    let both = alice.file("both.yaml", &[network("web", 20), network("back", 30)])?;
    let (code, _, stderr) = alice.runs(&["apply", "-f", &both, "--set", "site"]).await?;
    assert_eq!(code, 0, "{stderr}");
    site.all_ready(BOUND).await?;
    quiet(&site).await?;

    // The plan has the delete, and stays where that is asked for.
    let one = alice.file("one.yaml", &[network("web", 20)])?;
    let words = ["plan", "-f", &one, "--set", "site", "--prune", "--keep"];
    let (code, stdout, stderr) = alice.runs(&words).await?;
    assert_eq!(code, 0, "{stdout}{stderr}");
    for words in [
        "0 to apply, 1 to delete",
        "delete interfaces ethernet eth2 vif",
    ] {
        assert!(stdout.contains(words), "{words} is not in {stdout}");
    }
    assert!(stderr.contains("--set site --prune --plan"), "{stderr}");
    let hash = stdout.split("Hash: ").nth(1).context("a hash")?.trim();
    let (_, listed, _) = alice.runs(&["get", "plans", "-o", "wide"]).await?;
    assert!(listed.contains(hash), "{listed}");
    let (_, told, _) = alice.runs(&["describe", "plans"]).await?;
    for words in ["1 to delete", "delete interfaces ethernet eth2 vif", hash] {
        assert!(told.contains(words), "{words} is not in {told}");
    }
    let until = Instant::now() + BOUND;
    // A busy machine may not answer in the time that a completion has.
    while !alice.completes("apply --plan ").await?.contains(hash) {
        ensure!(Instant::now() < until, "the hash is not completed");
    }

    // Another plan than that deletes nothing, and neither does one that nobody confirmed.
    let apply = ["apply", "-f", &one, "--set", "site", "--prune"];
    let with = |more: &[&'static str], hash: &str| {
        let words = apply.iter().copied().chain(more.iter().copied());
        let words = words.chain(["--plan", hash]).map(str::to_owned);
        words.collect::<Vec<_>>()
    };
    for (more, hash, ends) in [(&["--yes"][..], "0000", 5), (&[][..], hash, 2)] {
        let words = with(more, hash);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, stdout, stderr) = alice.runs(&words).await?;
        assert_eq!((code, stdout.as_str()), (ends, ""), "{stderr}");
    }
    site.ours("Network", Some("acme")).get("back").await?;
    let words = with(&["--yes", "--wait"], hash);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (code, stdout, stderr) = alice.runs(&words).await?;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let networks = site.ours("Network", Some("acme"));
    let left = networks.list(&Default::default()).await?.items;
    let left: Vec<_> = left.into_iter().filter_map(|n| n.metadata.name).collect();
    assert_eq!(left, ["web"]);

    // A Plan is deleted as anything is, and nothing goes with it.
    let plans = site.ours("Plan", Some("acme"));
    let kept = plans.list(&Default::default()).await?.items;
    let name = kept.first().and_then(|plan| plan.metadata.name.clone());
    let pair = format!("plan/{}", name.context("the plan was kept")?);
    let (code, _, stderr) = alice.runs(&["delete", &pair]).await?;
    assert_eq!(code, 2, "{stderr}");
    let (code, stdout, stderr) = alice.runs(&["delete", &pair, "--yes"]).await?;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, format!("{pair} deleted\n"));
    site.stop().await
}

/// Another tenant with a network, ready.
async fn other_tenant(site: &Site, servers: &Value) -> Result<()> {
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata":
            {"name": "other", "labels": {"bitbuilder.cloud/tenant": "other"}}}),
        json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant",
            "metadata": {"name": "other"}, "spec": {}}),
        json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
            "metadata": {"name": "net", "namespace": "other"},
            "spec": {"zones": ["north"], "ipv4": {"prefix": "10.40.0.0/24"},
                "dns": {"servers": servers}}}),
    ] {
        site.apply_value(object).await?;
    }
    site.all_ready(BOUND).await?;
    quiet(site).await
}

#[tokio::test(flavor = "multi_thread")]
async fn old_plans_go_by_themselves() -> Result<()> {
    let mut options = SiteOptions::default();
    options
        .flags
        .extend(["--plan-ttl".to_owned(), "2".to_owned()]);
    let site = Site::start(options).await?;
    let tenant = paths::root().join("examples/acme/00-tenant.yaml");
    site.apply(&std::fs::read_to_string(tenant)?).await?;
    site.all_ready(BOUND).await?;
    let plan = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Plan",
        "metadata": {"name": "old", "namespace": "acme"},
        "spec": {"manifests": [network("web", 20)]}});
    site.apply_value(plan).await?;
    let plans = site.ours("Plan", Some("acme"));
    let until = Instant::now() + BOUND;
    let mut answered = false;
    while let Some(plan) = plans.get_opt("old").await? {
        answered |= plan.data["status"]["hash"].is_string();
        ensure!(Instant::now() < until, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(answered, "it went before it was answered");
    site.stop().await
}
