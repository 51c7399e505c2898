//! Turns the harness's promises into tests: parts that come back with their data, and no leftovers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bb_lab_harness::{Cluster, Options, Part, paths, shared};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ObjectMeta;
use kube::{Client, Config, Resource};

/// A cluster of our own, whatever `BB_KUBECONFIG` says: these tests break it.
fn own(dir: &Path) -> Options {
    Options {
        existing: None,
        ..Options::new(dir)
    }
}

/// Connects as a user of a kubeconfig does.
async fn client(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("cannot make a client")
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("colour".to_owned(), "blue".to_owned())])),
        ..ConfigMap::default()
    }
}

/// Returns the kernel's letter for what a process does, none when there is no such process.
fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Says whether a process runs; one that has ended and waits to be reaped does not.
fn runs(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Waits for a state, and fails when it is not reached in time.
async fn within<F: Future<Output = bool>>(bound: Duration, reached: impl Fn() -> F) {
    let until = Instant::now() + bound;
    while !reached().await {
        assert!(Instant::now() < until, "not reached within {bound:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn pids(cluster: &Cluster) -> Vec<i32> {
    Part::ALL
        .into_iter()
        .map(|part| cluster.pid(part).expect("every part runs"))
        .collect()
}

/// Finds the processes that name a folder in their command line.
fn processes_of(dir: &Path) -> Vec<PathBuf> {
    let dir = dir.display().to_string();
    std::fs::read_dir("/proc")
        .expect("the kernel lists processes")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            std::fs::read(path.join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&dir))
        })
        .collect()
}

#[tokio::test]
async fn objects_outlive_a_killed_api_server_and_a_killed_etcd() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = Cluster::start(own(dir.path())).await?;
    let before = pids(&cluster);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(cluster.kubeconfig()).await?);
    let made = maps
        .create(&PostParams::default(), &config_map("kept"))
        .await?;

    for part in [Part::ApiServer, Part::Etcd] {
        cluster.kill(part)?;
        assert_eq!(cluster.pid(part), None);
        if part == Part::ApiServer {
            maps.get("kept")
                .await
                .expect_err("nobody serves the API now");
        }
        cluster.restart(part).await?;
        // The client was made before: server, certificate and tokens are as they were.
        let found = maps.get("kept").await?;
        assert_eq!(found.metadata.uid, made.metadata.uid);
        assert_eq!(found.data, made.data);
    }

    let after = pids(&cluster);
    assert_ne!(before[..2], after[..2]);
    cluster.stop()?;
    for pid in before.into_iter().chain(after) {
        assert!(!runs(pid), "process {pid} still runs");
    }
    assert_eq!(processes_of(dir.path()), Vec::<PathBuf>::new());
    dir.close().context("the folder can be removed")
}

#[tokio::test]
async fn a_paused_api_server_answers_again_when_it_goes_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = Cluster::start(own(dir.path())).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(cluster.kubeconfig()).await?);
    let pid = cluster.pid(Part::ApiServer);

    cluster.pause(Part::ApiServer)?;
    let asked = tokio::spawn({
        let maps = maps.clone();
        async move {
            maps.create(&PostParams::default(), &config_map("late"))
                .await
        }
    });
    within(Duration::from_secs(5), || async {
        state(pid.unwrap()) == Some('T')
    })
    .await;
    assert!(!asked.is_finished(), "a stopped server cannot answer");
    cluster.resume(Part::ApiServer)?;

    asked.await??;
    assert_eq!(cluster.pid(Part::ApiServer), pid, "it is the same process");
    cluster.stop()
}

#[tokio::test]
async fn the_roles_under_test_start_without_rights_and_the_audit_log_names_them() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = Cluster::start(own(dir.path())).await?;
    for user in ["bitbuilder-controller", "tenant-member"] {
        let maps: Api<ConfigMap> =
            Api::default_namespaced(client(&cluster.kubeconfig_for(user)?).await?);
        let error = maps
            .create(&PostParams::default(), &config_map("no"))
            .await
            .unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("forbidden") && words.contains(user),
            "{words}"
        );
    }
    let log = cluster.audit_log().expect("the cluster is ours");
    within(Duration::from_secs(5), || async {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains("\"bitbuilder:controllers\"") && text.contains("\"tenant-member\"")
    })
    .await;
    assert!(
        !std::fs::read_to_string(&log)?.contains("requestObject"),
        "bodies stay out of it"
    );
    assert!(cluster.kubeconfig_for("stranger").is_err());
    cluster.stop()
}

#[tokio::test]
async fn owned_objects_go_with_their_owner_and_a_namespace_with_its_content() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = Cluster::start(own(dir.path())).await?;
    let client = client(cluster.kubeconfig()).await?;
    let spaces: Api<Namespace> = Api::all(client.clone());
    let space = serde_json::from_value(serde_json::json!({"metadata": {"name": "site"}}))?;
    spaces.create(&PostParams::default(), &space).await?;
    let maps: Api<ConfigMap> = Api::namespaced(client, "site");
    let owner = maps
        .create(&PostParams::default(), &config_map("owner"))
        .await?;
    let mut owned = config_map("owned");
    owned.metadata.owner_references = owner.owner_ref(&()).map(|owner| vec![owner]);
    maps.create(&PostParams::default(), &owned).await?;

    maps.delete("owner", &DeleteParams::default()).await?;
    within(Duration::from_secs(60), || async {
        maps.get_opt("owned")
            .await
            .is_ok_and(|found| found.is_none())
    })
    .await;
    spaces.delete("site", &DeleteParams::default()).await?;
    within(Duration::from_secs(60), || async {
        spaces
            .get_opt("site")
            .await
            .is_ok_and(|found| found.is_none())
    })
    .await;
    cluster.stop()
}

#[tokio::test]
async fn an_existing_cluster_is_used_as_any_user_and_never_broken() -> Result<()> {
    let (dir, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let owner = Cluster::start(own(dir.path())).await?;
    let existing = Some(owner.kubeconfig().to_path_buf());
    let guest = Cluster::start(Options {
        existing,
        ..own(second.path())
    })
    .await?;

    let maps: Api<ConfigMap> = Api::default_namespaced(client(guest.kubeconfig()).await?);
    maps.create(&PostParams::default(), &config_map("ours"))
        .await?;
    let member = client(&guest.kubeconfig_for("tenant-member")?).await?;
    let refused = Api::<ConfigMap>::default_namespaced(member)
        .get("ours")
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("tenant-member"), "{refused}");

    let error = guest.kill(Part::ApiServer).unwrap_err().to_string();
    assert!(
        error.contains("not ours") && error.contains("BB_KUBECONFIG"),
        "{error}"
    );
    assert!(guest.restart(Part::Etcd).await.is_err());
    guest.stop()?;
    maps.get("ours")
        .await
        .context("the owner's cluster goes on")?;
    owner.stop()
}

#[tokio::test]
async fn a_lab_whose_start_was_killed_half_way_goes_without_a_trace() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let dir = parent.path().canonicalize()?.join("lab");
    let lab = paths::binary("bb-lab")?;
    let mut up = Command::new(&lab)
        .args(["--dir", &dir.display().to_string(), "up"])
        .env_remove("BB_KUBECONFIG")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let server_log = dir.join("log/kube-apiserver.log");
    within(Duration::from_secs(60), || async { server_log.is_file() }).await;
    up.kill()?;
    up.wait()?;
    assert!(
        !processes_of(&dir).is_empty(),
        "what was started outlives the one that started it"
    );

    let down = Command::new(&lab)
        .args(["--dir", &dir.display().to_string(), "down"])
        .env_remove("BB_KUBECONFIG")
        .output()?;
    assert!(
        down.status.success(),
        "{}",
        String::from_utf8_lossy(&down.stderr)
    );
    assert_eq!(processes_of(&dir), Vec::<PathBuf>::new());
    assert!(!dir.exists());
    parent.close().context("nothing keeps the folder")
}

#[tokio::test]
async fn a_folder_with_something_else_in_it_is_neither_used_nor_removed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let precious = dir.path().join("thesis.txt");
    std::fs::write(&precious, "all of it")?;
    for verb in ["up", "down"] {
        let run = Command::new(paths::binary("bb-lab")?)
            .args(["--dir", &dir.path().display().to_string(), verb])
            .output()?;
        assert!(!run.status.success());
        let words = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(words.contains(&dir.path().display().to_string()), "{words}");
    }
    assert_eq!(std::fs::read_to_string(&precious)?, "all of it");
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn tests_of_one_binary_share_a_cluster_across_runtimes() -> Result<()> {
    let first = shared(Vec::new()).await?;
    let apart = std::thread::spawn(|| -> Result<Option<i32>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(shared(Vec::new()))?.pid(Part::ApiServer))
    });
    assert_eq!(
        apart.join().expect("the thread does not panic")?,
        first.pid(Part::ApiServer)
    );
    assert!(first.kubectl(&["get", "--raw", "/readyz"])?.contains("ok"));
    Ok(())
}
