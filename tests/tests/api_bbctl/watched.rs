//! get --watch: what changes on the server, line by line.

use anyhow::{Context as _, Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::around::{
    BOUND, api, begin, client, cluster, good, instance, namespace, network, set_ready,
};

/// What it writes, a line at a time.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    async fn begin(words: &str) -> Result<Self> {
        let mut child = begin(cluster().await?.kubeconfig(), words)?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
        })
    }

    async fn line(&mut self) -> Result<String> {
        let line = tokio::time::timeout(BOUND, self.lines.next_line()).await;
        line.context("no line comes")??.context("it has ended")
    }

    async fn begins(&mut self, with: &str) -> Result<()> {
        let line = self.line().await?;
        ensure!(line.starts_with(with), "{line:?} is not {with:?}");
        Ok(())
    }
}

#[tokio::test]
async fn a_watch_writes_each_change_as_it_comes() -> Result<()> {
    let file = format!("{}{}", namespace("watched"), network("web", "10.0.0.0/24"));
    good("apply -n watched -f -", &file).await?;
    let mut table = Watch::begin("networks list -w -n watched").await?;
    table.begins("NAME  READY    REASON  PREFIX").await?;
    table.begins("web   Unknown  Unseen  10.0.0.0/24").await?;
    let mut events = Watch::begin("get networks --watch -o json -n watched").await?;
    let first: Value = serde_json::from_str(&events.line().await?)?;
    assert_eq!(first["type"], "ADDED");

    good("apply -n watched -f -", &network("db", "10.1.0.0/24")).await?;
    table.begins("db    Unknown  Unseen  10.1.0.0/24").await?;
    let networks = api(&client().await?, "Network", "watched");
    let mark = json!({"metadata": {"annotations": {"a": "b"}}});
    networks
        .patch("db", &PatchParams::default(), &Patch::Merge(&mark))
        .await?;
    let ready = json!({"status": "False", "reason": "Waiting"});
    set_ready(&networks, "db", 1, ready).await?;
    table.begins("db    False    Waiting  10.1.0.0/24").await?;
    networks.delete("db", &DeleteParams::default()).await?;
    table.begins("db    -        Deleted  10.1.0.0/24").await?;

    let mut told = Vec::new();
    for _ in 0..4 {
        let event: Value = serde_json::from_str(&events.line().await?)?;
        assert_eq!(event["object"]["kind"], "Network");
        assert_eq!(event["object"]["metadata"].get("managedFields"), None);
        told.push((
            event["type"].clone(),
            event["object"]["metadata"]["name"].clone(),
        ));
    }
    let event = |what: &str| (Value::from(what), Value::from("db"));
    let [added, modified, deleted] = ["ADDED", "MODIFIED", "DELETED"].map(event);
    assert_eq!(told, [added, modified.clone(), modified, deleted]);

    for mut watch in [table, events] {
        let pid = watch.child.id().context("it runs")?.to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().await?;
        ensure!(sent.success());
        let status = tokio::time::timeout(BOUND, watch.child.wait()).await??;
        assert_eq!(status.code(), Some(130));
        assert_eq!(watch.lines.next_line().await?, None);
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_sees_what_labels_and_names_choose_everywhere() -> Result<()> {
    let file = format!(
        "{}{}{}",
        namespace("chosen"),
        instance("www", "web"),
        instance("db", "web")
    );
    good("apply -n chosen -f -", &file).await?;
    let instances = api(&client().await?, "Instance", "chosen");
    let label = async |value: Value| {
        let labels = json!({"metadata": {"labels": {"watched": value}}});
        instances
            .patch("www", &PatchParams::default(), &Patch::Merge(&labels))
            .await
    };
    label(json!("yes")).await?;
    let mut named = Watch::begin("get instance www -w -n chosen -o name").await?;
    named.begins("instance.bitbuilder.cloud/www").await?;
    let mut chosen = Watch::begin("get instances -A -l watched=yes --watch").await?;
    chosen.begins("NAMESPACE  NAME  READY ").await?;
    chosen.begins("chosen     www   Unknown ").await?;
    label(Value::Null).await?;
    chosen.begins("chosen     www   -        Deleted ").await?;
    named.begins("instance.bitbuilder.cloud/www").await
}
