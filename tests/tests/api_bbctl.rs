//! bbctl, the program as it is installed, against a real API server.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::{Cluster, Options, Part, paths, shared};
use bb_lab_vyos::VyosLab;
use bb_tests::site::client_of;
use bb_tests::{Site, SiteOptions};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

async fn cluster() -> Result<&'static Cluster> {
    let root = paths::root();
    let manifests = vec![
        root.join("charts/bitbuilder/crds"),
        root.join("charts/bitbuilder/rbac.yaml"),
    ];
    shared(manifests).await
}

/// What a command line wrote and how it ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("{self:?}"))
    }
}

/// Begins `bbctl WORDS` as the user of a kubeconfig.
fn begin(kubeconfig: &Path, words: &str) -> Result<Child> {
    Command::new(paths::binary("bbctl")?)
        .args(words.split_whitespace())
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run bbctl")
}

/// Gives it its input, and waits until it has ended.
async fn end(mut child: Child, stdin: &str) -> Result<Ran> {
    let mut input = child.stdin.take().context("stdin is a pipe")?;
    // One that ends before it has read everything closes the pipe.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let output = tokio::time::timeout(BOUND, child.wait_with_output()).await;
    let output = output.context("bbctl does not end")??;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

async fn bbctl(words: &str, stdin: &str) -> Result<Ran> {
    end(begin(cluster().await?.kubeconfig(), words)?, stdin).await
}

/// Runs it, and fails unless it succeeds.
async fn good(words: &str, stdin: &str) -> Result<Ran> {
    let ran = bbctl(words, stdin).await?;
    ensure!(ran.code == Some(0), "bbctl {words}: {ran:?}");
    Ok(ran)
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n")
}

fn ours(kind: &str, name: &str, spec: &Value) -> String {
    let object = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec});
    format!("{object}\n---\n")
}

fn network(name: &str, prefix: &str) -> String {
    ours("Network", name, &json!({"ipv4": {"prefix": prefix}}))
}

fn instance(name: &str, network: &str) -> String {
    let nics = json!([{"name": "a", "network": network}]);
    ours(
        "Instance",
        name,
        &json!({"image": "debian-12", "networks": nics}),
    )
}

fn api(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("bitbuilder.cloud", "v1alpha1", kind);
    let resource = ApiResource::from_gvk(&gvk);
    match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

async fn client() -> Result<Client> {
    client_of(cluster().await?.kubeconfig()).await
}

/// Writes a condition Ready, as the controller does.
async fn set_ready(
    api: &Api<DynamicObject>,
    name: &str,
    generation: i64,
    ready: Value,
) -> Result<()> {
    let mut condition = json!({"type": "Ready", "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "", "reason": "Ready"});
    for (field, value) in ready.as_object().context("a condition")? {
        condition[field] = value.clone();
    }
    let status = json!({"status": {"conditions": [condition]}});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}

#[tokio::test]
async fn apply_says_what_it_created_changed_and_left() -> Result<()> {
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n---\n";
    // The namespace comes last in the file and is made first all the same.
    let file = format!(
        "{}{config}{}",
        network("web", "10.0.0.0/24"),
        namespace("applied")
    );
    let first = good("apply -n applied -f -", &file).await?;
    assert_eq!(
        first.stdout,
        "namespace/applied created\nnetwork/web created\nconfigmap/c created\n"
    );
    assert!(first.stderr.contains("next: bbctl status"), "{first:?}");
    let again = good("apply -n applied -f -", &file).await?;
    assert_eq!(again.stdout.matches("unchanged").count(), 3, "{again:?}");
    let changed = file.replace("a: '1'", "a: '2'");
    let changed = good("apply -n applied -f - -o json", &changed)
        .await?
        .json()?;
    let results: Vec<&str> = changed["results"]
        .as_array()
        .context("results")?
        .iter()
        .filter_map(|r| r["result"].as_str())
        .collect();
    assert_eq!(results, ["unchanged", "unchanged", "configured"]);
    Ok(())
}

#[tokio::test]
async fn a_dry_run_changes_nothing() -> Result<()> {
    good("apply -f -", &namespace("dry")).await?;
    for how in ["client", "server"] {
        let words = format!("apply -n dry -f - --dry-run={how}");
        let ran = good(&words, &network("web", "10.0.0.0/24")).await?;
        assert_eq!(ran.stdout, "network/web created (dry run)\n");
    }
    let ran = bbctl("get network web -n dry", "").await?;
    assert_eq!(ran.code, Some(3));
    good("apply -n dry -f -", &network("web", "10.0.0.0/24")).await?;
    good("delete network web -n dry --dry-run", "").await?;
    good("get network web -n dry", "").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_manifest_is_said_and_the_rest_is_applied() -> Result<()> {
    let wrong = ours(
        "Network",
        "typo",
        &json!({"ipv4": {"prefix": "10.0.0.0/24", "gatway": "10.0.0.1"}}),
    );
    let bits = ours(
        "Network",
        "bits",
        &json!({"ipv4": {"prefix": "10.0.0.1/24"}}),
    );
    let file = format!(
        "{}{wrong}{bits}{}",
        namespace("judged"),
        network("good", "10.1.0.0/24")
    );
    let ran = bbctl("apply -n judged -f -", &file).await?;
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stdout,
        "namespace/judged created\nnetwork/good created\n"
    );
    for words in [
        "network/typo of standard input (document 2)",
        ".spec.ipv4.gatway",
        "check the spelling",
        "network/bits of standard input (document 3)",
        "prefix has host bits set",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    let unknown = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: x}\n";
    let ran = bbctl("apply -f -", unknown).await?;
    assert_eq!(ran.code, Some(3));
    assert!(
        ran.stderr.contains("no kind Thing of example.org/v1"),
        "{ran:?}"
    );
    let ran = bbctl("apply -n elsewhere -f -", &network("web", "10.0.0.0/24")).await?;
    assert_eq!(ran.code, Some(3), "a namespace that is not there: {ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_said_twice_and_differently_sends_nothing() -> Result<()> {
    let file = format!(
        "{}{}",
        namespace("twice"),
        network("web", "10.0.0.0/24").replace("\"name\"", "\"namespace\":\"other\",\"name\"")
    );
    let ran = bbctl("apply -n twice -f -", &file).await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_get_prints_can_be_applied_again_and_changes_nothing() -> Result<()> {
    let file = format!(
        "{}{}{}",
        namespace("round"),
        network("web", "10.0.0.0/24"),
        instance("www", "web")
    );
    good("apply -n round -f -", &file).await?;
    let networks = api(&client().await?, "Network", "round");
    set_ready(&networks, "web", 1, json!({"status": "True"})).await?;
    let printed = good("get networks,instances -n round -o yaml", "")
        .await?
        .stdout;
    assert!(!printed.contains("managedFields"));
    let again = good("apply -n round -f -", &printed).await?;
    assert_eq!(
        again.stdout,
        "network/web unchanged\ninstance/www unchanged\n"
    );
    let object = networks.get("web").await?;
    assert_eq!(object.metadata.generation, Some(1));
    assert_eq!(object.data["status"]["conditions"][0]["status"], "True");
    let reprinted = good("get networks,instances -n round -o yaml", "")
        .await?
        .stdout;
    let steady = |text: &str| {
        text.lines()
            .filter(|l| !l.contains("resourceVersion"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(steady(&printed), steady(&reprinted));
    Ok(())
}

#[tokio::test]
async fn fields_of_someone_else_are_taken_over_only_on_demand() -> Result<()> {
    good("apply -f -", &namespace("owned")).await?;
    let instances = api(&client().await?, "Instance", "owned");
    let theirs: Value =
        serde_json::from_str(instance("www", "web").trim_end().trim_end_matches("---"))?;
    instances
        .patch(
            "www",
            &PatchParams::apply("someone"),
            &Patch::Apply(&theirs),
        )
        .await?;
    let mine = instance("www", "web").replace("debian-12\"", "debian-12\",\"cpu\":2");
    good("apply -n owned -f -", &mine).await?;
    let stopped = mine.replace("\"cpu\":2", "\"cpu\":4");
    instances
        .patch("www", &PatchParams::apply("someone").force(), &Patch::Apply(&json!({
            "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance", "metadata": {"name": "www"},
            "spec": {"image": "debian-12", "cpu": 3, "networks": [{"name": "a", "network": "web"}]}})))
        .await?;
    let ran = bbctl("apply -n owned -f -", &stopped).await?;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.stderr.contains("--force-conflicts"), "{ran:?}");
    let ran = good("apply -n owned -f - --force-conflicts", &stopped).await?;
    assert_eq!(ran.stdout, "instance/www configured\n");
    Ok(())
}

#[tokio::test]
async fn get_writes_every_format() -> Result<()> {
    let file = format!(
        "{}{}{}",
        namespace("formats"),
        network("web", "10.0.0.0/24"),
        network("db", "10.1.0.0/24")
    );
    good("apply -n formats -f -", &file).await?;
    let list = good("get bbnet -n formats -o json", "").await?.json()?;
    assert_eq!(
        (&list["kind"], list["items"].as_array().map(Vec::len)),
        (&json!("List"), Some(2))
    );
    let one = good("get network/web -n formats --json", "")
        .await?
        .json()?;
    assert_eq!(one["spec"]["ipv4"]["prefix"], "10.0.0.0/24");
    let yaml = good("get networks -n formats -o yaml", "").await?.stdout;
    let yaml: Value = serde_saphyr::from_str(&yaml)?;
    assert_eq!(yaml, list);
    let names = good("get networks -n formats -o name", "").await?.stdout;
    assert_eq!(
        names,
        "network.bitbuilder.cloud/db\nnetwork.bitbuilder.cloud/web\n"
    );
    let table = good("get networks -n formats", "").await?.stdout;
    assert!(
        table.starts_with("NAME  READY    REASON  PREFIX"),
        "{table}"
    );
    let wide = good("get networks -A -o wide", "").await?.stdout;
    assert!(
        wide.starts_with("NAMESPACE") && wide.contains("GATEWAY"),
        "{wide}"
    );
    let all = good("get all -n formats", "").await?.stdout;
    assert!(all.contains("network/web"), "{all}");
    let none = good("get volumes -n formats", "").await?;
    assert_eq!(
        (none.stdout.as_str(), none.stderr.as_str()),
        ("", "nothing found in namespace formats\n")
    );
    let none = good("get volumes -n formats -o json", "").await?.json()?;
    assert_eq!(none["items"], json!([]));
    Ok(())
}

#[tokio::test]
async fn of_several_names_those_that_are_there_are_shown() -> Result<()> {
    let file = format!("{}{}", namespace("several"), network("web", "10.0.0.0/24"));
    good("apply -n several -f -", &file).await?;
    let ran = bbctl("get networks web gone -n several", "").await?;
    assert_eq!(ran.code, Some(3));
    assert!(ran.stdout.contains("web"), "{ran:?}");
    assert!(ran.stderr.contains("gone"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_list_longer_than_a_page_is_whole() -> Result<()> {
    good("apply -f -", &namespace("many")).await?;
    let volumes = api(&client().await?, "Volume", "many");
    let make = |n: u32| {
        let volumes = volumes.clone();
        async move {
            let object = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Volume",
                "metadata": {"name": format!("v{n}")}, "spec": {"size": "1Gi"}});
            let object: DynamicObject = serde_json::from_value(object)?;
            volumes.create(&Default::default(), &object).await?;
            anyhow::Ok(())
        }
    };
    for batch in (0..510).collect::<Vec<u32>>().chunks(30) {
        futures::future::try_join_all(batch.iter().map(|n| make(*n))).await?;
    }
    let names = good("get volumes -n many -o name", "").await?.stdout;
    assert_eq!(names.lines().count(), 510);
    Ok(())
}

#[tokio::test]
async fn a_ready_of_an_earlier_change_is_not_waited_for_in_vain() -> Result<()> {
    let file = format!("{}{}", namespace("stale"), instance("www", "web"));
    good("apply -n stale -f -", &file).await?;
    let instances = api(&client().await?, "Instance", "stale");
    set_ready(&instances, "www", 1, json!({"status": "True"})).await?;
    good("wait instance/www -n stale --timeout=0", "").await?;
    good(
        "apply -n stale -f -",
        &file.replace("debian-12\"", "debian-12\",\"cpu\":2"),
    )
    .await?;
    let early = bbctl("wait instance/www -n stale --timeout=400ms", "").await?;
    assert_eq!(early.code, Some(6), "{early:?}");
    assert!(early.stderr.contains("generation 2, seen 1"), "{early:?}");
    let waits = begin(cluster().await?.kubeconfig(), "wait instance/www -n stale")?;
    set_ready(
        &instances,
        "www",
        2,
        json!({"status": "False", "reason": "Pending"}),
    )
    .await?;
    set_ready(&instances, "www", 2, json!({"status": "True"})).await?;
    let ran = end(waits, "").await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "instance/www ready\n"),
        "{ran:?}"
    );
    Ok(())
}

#[tokio::test]
async fn wait_tells_why_it_was_in_vain() -> Result<()> {
    let file = format!(
        "{}{}{}",
        namespace("vain"),
        instance("good", "web"),
        instance("bad", "web")
    );
    good("apply -n vain -f -", &file).await?;
    let instances = api(&client().await?, "Instance", "vain");
    set_ready(&instances, "good", 1, json!({"status": "True"})).await?;
    let bad =
        json!({"status": "False", "reason": "Exhausted", "message": "no address is left in web"});
    set_ready(&instances, "bad", 1, bad).await?;
    let ran = bbctl("wait instances --all -n vain --timeout=300ms", "").await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(6), "instance/good ready\n")
    );
    assert!(
        ran.stderr.contains("instance/bad is not ready after 0.3 s"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("Exhausted: no address is left in web"),
        "{ran:?}"
    );
    let falls = good("wait instance/bad -n vain --for=condition=Ready=False", "").await?;
    assert_eq!(falls.stdout, "instance/bad has Ready=False\n");
    let gone = bbctl("wait instance/none -n vain", "").await?;
    assert_eq!(gone.code, Some(3), "{gone:?}");
    Ok(())
}

#[tokio::test]
async fn delete_waits_until_finalizers_have_done_their_work() -> Result<()> {
    let file = format!("{}{}", namespace("held"), instance("www", "web"));
    good("apply -n held -f -", &file).await?;
    let instances = api(&client().await?, "Instance", "held");
    let hold = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        let instances = instances.clone();
        async move {
            instances
                .patch("www", &PatchParams::default(), &Patch::Merge(&patch))
                .await
        }
    };
    hold(json!(["test/hold"])).await?;
    let ran = good("delete instance www -n held --yes", "").await?;
    assert_eq!(ran.stdout, "instance/www deleting\n");
    assert!(
        ran.stderr
            .contains("next: bbctl wait instance/www -n held --for=delete"),
        "{ran:?}"
    );
    let late = bbctl("wait instance/www -n held --for=delete --timeout=300ms", "").await?;
    assert_eq!(late.code, Some(6));
    assert!(late.stderr.contains("test/hold"), "{late:?}");
    let mut child = begin(
        cluster().await?.kubeconfig(),
        "delete instance www -n held --yes --wait",
    )?;
    let mut stdout = BufReader::new(child.stdout.take().context("stdout is a pipe")?);
    let mut told = String::new();
    stdout.read_line(&mut told).await?;
    assert_eq!(told, "instance/www deleting\n");
    hold(Value::Null).await?;
    let ran = end(child, "").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    told.clear();
    stdout.read_line(&mut told).await?;
    assert_eq!(told, "instance/www deleted\n");
    good("wait instance/www -n held --for=delete", "").await?;
    assert_eq!(
        bbctl("delete instance www -n held --yes", "").await?.code,
        Some(3)
    );
    good("delete instance www -n held --yes --ignore-not-found", "").await?;
    Ok(())
}

#[tokio::test]
async fn without_a_terminal_delete_names_the_flags_and_deletes_nothing() -> Result<()> {
    let tenant = ours("Tenant", "grave", &json!({}));
    let volume = ours("Volume", "data", &json!({"size": "1Gi"}));
    let file = format!(
        "{}{tenant}{}{}{volume}",
        namespace("grave"),
        network("web", "10.0.0.0/24"),
        instance("www", "web")
    );
    good("apply -n grave -f -", &file).await?;
    let table = [
        ("delete instance www", "--yes", "its root disk is destroyed"),
        ("delete volume data", "--yes", "its data is destroyed"),
        (
            "delete network web",
            "--confirm=web",
            "instances are in it: www",
        ),
        (
            "delete network web --yes",
            "--confirm=web",
            "instances are in it: www",
        ),
        (
            "delete tenant grave --yes",
            "--confirm=grave",
            "1 network, 1 instance, 1 volume go with it",
        ),
        ("delete network/web instance/www", "--yes", ""),
        (
            "delete -f -",
            "--yes --confirm=grave",
            "everything in the namespace goes with it",
        ),
    ];
    for (words, flags, meaning) in table {
        let ran = bbctl(&format!("{words} -n grave"), &file).await?;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{words}: {ran:?}"
        );
        assert!(
            ran.stderr.contains(&format!("confirm it with {flags}")),
            "{words}: {ran:?}"
        );
        assert!(ran.stderr.contains(meaning), "{words}: {ran:?}");
    }
    good(
        "get network/web instance/www volume/data tenant/grave -n grave",
        "",
    )
    .await?;
    let ran = good("delete network web -n grave --confirm=web", "").await?;
    assert_eq!(ran.stdout, "network/web deleted\n");
    let rest = good(
        "delete -f - -n grave --yes --confirm=grave --ignore-not-found --wait",
        &file,
    )
    .await?;
    assert!(rest.stdout.contains("namespace/grave deleted"), "{rest:?}");
    Ok(())
}

/// Runs it on a terminal of its own, and types one line.
async fn typed(words: &str, line: &str) -> Result<Ran> {
    let program = paths::binary("bbctl")?;
    let child = Command::new("script")
        .args([
            "-qec",
            &format!("{} {words}", program.display()),
            "/dev/null",
        ])
        .env("KUBECONFIG", cluster().await?.kubeconfig())
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run script, of util-linux")?;
    end(child, &format!("{line}\n")).await
}

#[tokio::test]
async fn on_a_terminal_delete_asks_and_obeys_the_answer() -> Result<()> {
    let tenant = ours("Tenant", "asked", &json!({}));
    let volume = ours("Volume", "data", &json!({"size": "1Gi"}));
    let file = format!("{}{tenant}{volume}", namespace("asked"));
    good("apply -n asked -f -", &file).await?;
    for (words, line) in [
        ("delete volume data -n asked", "n"),
        ("delete volume data -n asked", ""),
        ("delete volume data -n asked", "maybe"),
        ("delete tenant asked", "y"),
        ("delete tenant asked --yes", "Asked"),
    ] {
        let ran = typed(words, line).await?;
        assert_eq!(ran.code, Some(1), "{words} {line}: {ran:?}");
        assert!(
            ran.stdout.contains("nothing was deleted"),
            "{words} {line}: {ran:?}"
        );
    }
    let ran = typed("delete volume data -n asked --no-input", "y").await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let ran = typed("delete volume data -n asked", "y").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("its data is destroyed"), "{ran:?}");
    assert!(ran.stdout.contains("Delete volume/data? [y/N]"), "{ran:?}");
    let ran = typed("delete tenant asked", "asked").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(bbctl("get tenant asked", "").await?.code, Some(3));
    Ok(())
}

#[tokio::test]
async fn every_command_that_reads_writes_one_document_and_nothing_else() -> Result<()> {
    let file = format!("{}{}", namespace("machine"), network("web", "10.0.0.0/24"));
    good("apply -n machine -f -", &file).await?;
    set_ready(
        &api(&client().await?, "Network", "machine"),
        "web",
        1,
        json!({"status": "True"}),
    )
    .await?;
    for words in [
        "get networks",
        "get network web",
        "get all",
        "describe network web",
        "describe networks",
        "status",
        "version",
        "wait network/web",
        "wait networks --all",
        "apply -f -",
        "delete network web --dry-run",
    ] {
        let whole = format!("{words} -n machine -o json");
        let ran = good(&whole, &file).await?;
        assert!(ran.json()?.is_object(), "{whole}");
        assert_eq!(ran.stderr, "", "{whole}");
        let synonym = good(&format!("{words} -n machine --json"), &file).await?;
        assert!(synonym.json()?.is_object(), "{words} --json");
        let ran = good(&format!("{words} -n machine -o yaml"), &file).await?;
        let document: Value = serde_saphyr::from_str(&ran.stdout)?;
        assert!(document.is_object(), "{words} -o yaml");
        for format in ["name", "wide", "table"] {
            let ran = good(&format!("{words} -n machine -o {format}"), &file).await?;
            assert!(!ran.stdout.contains('\u{1b}'), "{words} -o {format}");
        }
    }
    Ok(())
}

/// Gives `tenant-member` one of the chart's roles in a namespace.
async fn bind(role: &str, namespace: &str) -> Result<()> {
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tenant-member"}]});
    good("apply -f -", &binding.to_string()).await.map(drop)
}

#[tokio::test]
async fn a_member_sees_and_changes_what_is_the_tenants_and_nothing_else() -> Result<()> {
    let file = format!("{}{}", namespace("member"), network("web", "10.0.0.0/24"));
    good("apply -n member -f -", &file).await?;
    bind("bitbuilder-view", "member").await?;
    let kubeconfig = cluster().await?.kubeconfig_for("tenant-member")?;
    let member = |words: &'static str, stdin: String| {
        let child = begin(&kubeconfig, words);
        async move { end(child?, &stdin).await }
    };
    let ran = member("get networks -n member", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = member("get all -n member", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr
            .contains("you may not list regions, providers, tenants"),
        "{ran:?}"
    );
    let ran = member("status -n member", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("member     -      0/1"), "{ran:?}");
    let ran = member("describe network web -n member", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for words in [
        "get providers",
        "get networks -n default",
        "status",
        "describe tenant x",
    ] {
        let ran = member(words, String::new()).await?;
        assert_eq!(ran.code, Some(4), "{words}: {ran:?}");
        assert!(ran.stderr.contains("hint: "), "{words}: {ran:?}");
    }
    let other = network("db", "10.1.0.0/24");
    let ran = member("apply -n member -f -", other.clone()).await?;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    bind("bitbuilder-edit", "member").await?;
    let ran = member("apply -n member -f -", other).await?;
    assert_eq!(ran.stdout, "network/db created\n", "{ran:?}");
    let ran = member("delete network db -n member --yes --wait", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn an_error_can_be_found_in_the_audit_log_by_its_id() -> Result<()> {
    let ran = bbctl("get instance none -n default -o json", "").await?;
    let line: Value = serde_json::from_str(ran.stderr.trim())?;
    assert_eq!((ran.code, &line["code"]), (Some(3), &json!("NotFound")));
    let id = line["requestId"].as_str().context("an id")?;
    let Some(log) = cluster().await?.audit_log() else {
        println!("skipped: the cluster is not ours and its audit log elsewhere");
        return Ok(());
    };
    let until = Instant::now() + Duration::from_secs(10);
    while !std::fs::read_to_string(&log)?.contains(id) {
        ensure!(Instant::now() < until, "{id} is not in {}", log.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn status_counts_what_is_ready_and_says_why_the_rest_is_not() -> Result<()> {
    let tenant = ours("Tenant", "counted", &json!({}));
    let file = format!(
        "{}{tenant}{}{}",
        namespace("counted"),
        instance("good", "web"),
        instance("bad", "web")
    );
    good("apply -n counted -f -", &file).await?;
    let client = client().await?;
    set_ready(
        &api(&client, "Tenant", ""),
        "counted",
        1,
        json!({"status": "True"}),
    )
    .await?;
    let instances = api(&client, "Instance", "counted");
    set_ready(&instances, "good", 1, json!({"status": "True"})).await?;
    let bad = json!({"status": "False", "reason": "Refused", "message": "the cluster has no image debian-12"});
    set_ready(&instances, "bad", 1, bad).await?;
    let report = good("status counted -o json", "").await?.json()?;
    let share = &report["tenants"][0];
    assert_eq!(
        share["instances"],
        json!({"total": 2, "ready": 1}),
        "{report}"
    );
    assert_eq!(share["tenant"], "counted");
    assert_eq!(
        report["notReady"].as_array().map(Vec::len),
        Some(1),
        "{report}"
    );
    let told = good("status counted", "").await?;
    assert!(told.stdout.contains("instance/bad"), "{told:?}");
    assert!(told.stdout.contains("Refused"), "{told:?}");
    assert!(
        told.stderr
            .contains("next: bbctl describe instance/bad -n counted"),
        "{told:?}"
    );
    let lines = told.stdout.lines().map(|line| line.chars().count()).max();
    assert!(lines <= Some(80), "{told:?}");
    assert_eq!(bbctl("status nobody", "").await?.code, Some(3));
    Ok(())
}

#[tokio::test]
async fn describe_begins_with_why_it_is_not_ready() -> Result<()> {
    let file = format!(
        "{}{}{}",
        namespace("told"),
        network("web", "10.0.0.0/24"),
        instance("www", "web")
    );
    good("apply -n told -f -", &file).await?;
    let client = client().await?;
    let net = json!({"status": "False", "reason": "Unreachable", "message": "r1 does not answer"});
    set_ready(&api(&client, "Network", "told"), "web", 1, net).await?;
    let www = json!({"status": "False", "reason": "Waiting", "message": "for Network web"});
    set_ready(&api(&client, "Instance", "told"), "www", 1, www).await?;
    let told = good("describe instance www -n told", "").await?.stdout;
    let top: Vec<&str> = told.lines().take(3).collect();
    assert_eq!(top[0], "instance www in namespace told");
    assert!(
        top[1].starts_with("Not ready for ") && top[1].ends_with(": Waiting: for Network web"),
        "{told}"
    );
    assert_eq!(
        top[2],
        "  because network web: Unreachable: r1 does not answer"
    );
    let told = good("describe instance www -n told -o json", "")
        .await?
        .json()?;
    assert_eq!(
        told["causes"],
        json!(["network web: Unreachable: r1 does not answer"])
    );
    assert_eq!(told["object"]["metadata"]["name"], "www");
    let fresh = good("describe network web -n told", "").await?.stdout;
    assert!(fresh.contains("www"), "the instances of a network: {fresh}");
    Ok(())
}

#[tokio::test]
async fn version_names_both_ends_and_what_is_served() -> Result<()> {
    let facts = good("version -o json", "").await?.json()?;
    assert_eq!(facts["served"], json!(["v1alpha1"]));
    assert_eq!(facts["skew"], false);
    assert!(
        facts["server"]
            .as_str()
            .is_some_and(|version| version.starts_with('v')),
        "{facts}"
    );
    Ok(())
}

#[tokio::test]
async fn a_router_is_tested_by_provider_and_by_address() -> Result<()> {
    let seed = paths::root().join("examples/lab/r1.seed.json");
    let mut config = bb_lab_vyos::Config::new("r1", "the-key");
    config.seed = serde_json::from_slice(&std::fs::read(seed)?)?;
    let router = VyosLab::start(config).await?;
    let provider = |secret: &str, sha: &str| {
        ours(
            "Provider",
            &format!("router-{secret}"),
            &json!({"region": "tested", "vyos": {
            "endpoint": router.api, "credentials": {"secret": secret}, "tls": {"sha256": [sha]},
            "routerId": "10.255.0.1"}}),
        )
    };
    let secret = |name: &str, key: &str| {
        format!(
            "{}\n---\n",
            json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"key": key},
            "metadata": {"name": name, "namespace": "routers"}})
        )
    };
    let region = json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999"});
    let file = [
        namespace("routers"),
        ours("Region", "tested", &region),
        secret("right", "the-key"),
        secret("wrong", "another"),
        provider("right", &router.sha256),
        provider("wrong", &router.sha256),
    ];
    good("apply -f -", &file.concat()).await?;
    let ran = good("test-vyos router-right --secrets=routers", "").await?;
    assert_eq!(ran.stdout.matches("PASS").count(), 6, "{ran:?}");
    let ran = bbctl("test-vyos router-wrong --secrets=routers -o json", "").await?;
    assert_eq!(ran.code, Some(1));
    let checks = &ran.json()?["checks"];
    assert_eq!(checks["tls"]["status"], "pass", "{checks}");
    assert_eq!(checks["key"]["status"], "fail", "{checks}");
    assert!(checks["key"]["remedy"].is_string(), "{checks}");
    assert_eq!(checks["underlay"]["status"], "skip", "{checks}");
    let words = format!("test-vyos --endpoint {} --key-file - --sha256", router.api);
    let ran = good(&format!("{words} {}", router.sha256), "the-key\n").await?;
    assert!(ran.stdout.contains("PASS  underlay"), "{ran:?}");
    let ran = bbctl(&format!("{words} {}", "AA".repeat(32)), "the-key\n").await?;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("FAIL  tls"), "{ran:?}");
    // Broken over lines or not, the fingerprint that it shows stands in one piece.
    assert!(ran.stdout.contains(&router.sha256), "{ran:?}");
    assert!(!ran.stdout.contains("the-key") && !ran.stderr.contains("the-key"));
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_a_wait_at_once_and_a_closed_pipe_ends_it_quietly() -> Result<()> {
    let file = format!("{}{}", namespace("ended"), instance("www", "web"));
    good("apply -n ended -f -", &file).await?;
    let kubeconfig = cluster().await?.kubeconfig();
    let mut child = begin(kubeconfig, "wait instance/www -n ended")?;
    // It has told how the object stands: from here on it waits.
    let mut stderr = BufReader::new(child.stderr.take().context("stderr is a pipe")?);
    let mut line = String::new();
    stderr.read_line(&mut line).await?;
    assert!(line.starts_with("instance/www: "), "{line}");
    let pid = child.id().context("it runs")?.to_string();
    let began = Instant::now();
    ensure!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .await?
            .success()
    );
    let status = tokio::time::timeout(BOUND, child.wait()).await??;
    assert_eq!(status.code(), Some(130));
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );

    let mut child = begin(kubeconfig, "get instances -A")?;
    drop(child.stdout.take());
    let ran = end(child, "").await?;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    Ok(())
}

#[tokio::test]
async fn a_wait_outlives_an_api_server_that_is_killed_and_comes_back() -> Result<()> {
    let dir = tempfile::tempdir_in(paths::scratch()?)?;
    let mut options = Options::new(dir.path().join("k8s"));
    options.manifests = vec![paths::root().join("charts/bitbuilder/crds")];
    let own = Cluster::start(options).await?;
    let run = |words: &'static str, stdin: String| {
        let child = begin(own.kubeconfig(), words);
        async move { end(child?, &stdin).await }
    };
    let ran = run(
        "apply -f -",
        format!("{}{}", namespace("default"), instance("www", "web")),
    )
    .await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut child = begin(own.kubeconfig(), "wait instance/www")?;
    let mut stderr = BufReader::new(child.stderr.take().context("stderr is a pipe")?);
    let mut line = String::new();
    stderr.read_line(&mut line).await?;
    own.restart(Part::ApiServer).await?;
    let instances = api(&client_of(own.kubeconfig()).await?, "Instance", "default");
    set_ready(&instances, "www", 1, json!({"status": "True"})).await?;
    let ran = end(child, "").await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "instance/www ready\n"),
        "{ran:?}"
    );
    own.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lives_from_apply_to_delete_by_bbctl_alone() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let before = site.outside();
    let run = |words: String| {
        let child = begin(site.cluster.kubeconfig(), &words);
        async move {
            let ran = end(child?, "").await?;
            ensure!(ran.code == Some(0), "bbctl {words}: {ran:?}");
            Ok(ran)
        }
    };
    let folder = paths::root().join("examples/acme");
    let ran = run(format!("apply -f {} --wait", folder.display())).await?;
    assert!(ran.stdout.ends_with(" ready\n"), "{ran:?}");
    let ran = run("status".to_owned()).await?;
    assert!(ran.stdout.contains("everything is ready"), "{ran:?}");
    run("test-vyos r1".to_owned()).await?;
    let ran = run("describe instance pg -n acme".to_owned()).await?;
    assert!(
        ran.stdout.contains("pgdata") && ran.stdout.contains("Ready for"),
        "{ran:?}"
    );
    run("delete tenant acme --confirm=acme --wait".to_owned()).await?;
    assert_eq!(site.outside(), before);
    site.stop().await
}
