//! Turns a life of the example tenant into figures beside their goals; fails when a goal is missed.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_controller::Args;
use bb_lab_harness::{Cluster, Options, lab, paths};
use bb_lab_kit::journal::Entry;
use bb_tests::{Site, SiteOptions};
use clap::Parser as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use bb_tests::figures::{self, About, COUNTS, Commands, VARYING, Values};

/// Longer than a phase takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);
/// How long nothing may be sent until all is taken to be at rest.
const REST: Duration = Duration::from_secs(3);
/// Settled passes that are looked at.
const PASSES: usize = 10;
/// Milliseconds; settled targets are looked at once a second.
const BETWEEN_PASSES: i64 = 500;
const TENANT: &str = "acme";
/// A network of the tenant in one zone, and one in both.
const PLAIN: &str = "network acme/db";
const STRETCHED: &str = "network acme/web";

/// The controller, in this process.
struct Controller {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Controller {
    fn start(site: &Site, flags: &[&str]) -> Result<Self> {
        let kubeconfig = site.cluster.kubeconfig_for(lab::CONTROLLER_USER)?;
        let kubeconfig = kubeconfig.display().to_string();
        let line = ["bb-controller", "--kubeconfig", &kubeconfig];
        let args = Args::try_parse_from(line.iter().chain(flags))?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(bb_controller::run(args, stop.clone()));
        Ok(Self { stop, task })
    }

    async fn end(self) -> Result<()> {
        self.stop.cancel();
        self.task.await.context("the controller panicked")?
    }
}

/// What was sent since the last [`Seen::begin`].
struct Seen<'a> {
    site: &'a Site,
    /// Lines of the audit log before.
    audited: usize,
    /// The most calls at once on a router so far.
    in_flight: u64,
}

impl<'a> Seen<'a> {
    fn of(site: &'a Site) -> Result<Self> {
        let mut seen = Self {
            site,
            audited: 0,
            in_flight: 0,
        };
        seen.begin()?;
        Ok(seen)
    }

    /// Forgets what was sent so far.
    fn begin(&mut self) -> Result<()> {
        for router in self.site.routers.values() {
            self.in_flight = self.in_flight.max(router.counters.get("in_flight_max"));
            router.journal.clear_memory();
        }
        for cluster in self.site.clusters.values() {
            cluster.clear_journal();
        }
        self.audited = self.audit_lines()?.len();
        Ok(())
    }

    fn audit_lines(&self) -> Result<Vec<String>> {
        let log = self.site.cluster.audit_log();
        let log = log.context("a cluster of one's own is needed: unset BB_KUBECONFIG")?;
        let text = std::fs::read_to_string(&log)
            .with_context(|| format!("cannot read {}", log.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn api_writes(&self) -> Result<BTreeMap<(String, String), usize>> {
        let lines = self.audit_lines()?;
        let new = lines.get(self.audited..).unwrap_or_default();
        Ok(figures::api_writes(new, lab::CONTROLLER_USER))
    }

    fn routers(&self) -> Vec<Vec<Entry>> {
        let routers = self.site.routers.values();
        routers.map(|r| r.journal.entries()).collect()
    }

    fn clusters(&self) -> Vec<Vec<Entry>> {
        let clusters = self.site.clusters.values();
        clusters.map(bb_lab_proxmox::Running::journal).collect()
    }

    fn writes(&self) -> Result<usize> {
        let routers = self.routers().concat();
        let clusters = self.clusters().concat();
        let api: usize = self.api_writes()?.values().sum();
        Ok(api
            + routers
                .iter()
                .filter(|e| figures::changes_router(e))
                .count()
            + clusters.iter().filter(|e| e.method != "GET").count())
    }

    /// Waits until nothing was sent for a while: to targets with `reads`, else nothing written.
    async fn rest(&self, reads: bool) -> Result<()> {
        let calls = || {
            let all = self.routers().concat().len() + self.clusters().concat().len();
            Ok::<_, anyhow::Error>((self.writes()?, if reads { all } else { 0 }))
        };
        let until = Instant::now() + BOUND;
        let (mut last, mut since) = (calls()?, Instant::now());
        while since.elapsed() < REST {
            if Instant::now() > until {
                bail!("something is sent all the time");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = calls()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}

fn commits(entries: &[Entry]) -> f64 {
    entries.iter().filter(|e| e.method == "COMMIT").count() as f64
}

/// The most calls about one guest of a sort.
fn most_about(entries: &[Entry], sort: impl Fn(&About) -> bool) -> f64 {
    let counts = figures::by_subject(entries).into_iter();
    let most = counts
        .filter(|(about, _)| sort(about))
        .map(|(_, n)| n)
        .max();
    most.unwrap_or(0) as f64
}

fn machine(about: &About) -> bool {
    matches!(about, About::Machine(..))
}

fn container(about: &About) -> bool {
    matches!(about, About::Container(..))
}

/// How many objects of a kind the tenant has.
async fn count(site: &Site, kind: &str) -> Result<f64> {
    let objects = site.ours(kind, Some(TENANT));
    let objects = objects.list(&kube::api::ListParams::default()).await?;
    Ok(objects.items.len().max(1) as f64)
}

/// From nothing until all is Ready and at rest.
async fn until_ready(site: &Site, seen: &mut Seen<'_>, values: &mut Values) -> Result<()> {
    seen.begin()?;
    let began = Instant::now();
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    values.insert("apply_to_all_ready", began.elapsed().as_secs_f64());
    seen.rest(true).await?;
    let clusters = seen.clusters().concat();
    let writes: Vec<Entry> = clusters
        .iter()
        .filter(|e| e.method != "GET")
        .cloned()
        .collect();
    let subjects = figures::by_subject(&clusters);
    let of_volumes = figures::by_subject(&writes).get(&About::Volume).copied();
    values.extend([
        ("proxmox_requests_per_vm", most_about(&clusters, machine)),
        ("proxmox_writes_per_vm", most_about(&writes, machine)),
        (
            "proxmox_requests_per_container",
            most_about(&clusters, container),
        ),
        (
            "proxmox_writes_per_container",
            most_about(&writes, container),
        ),
        (
            "proxmox_writes_per_volume",
            of_volumes.unwrap_or(0) as f64 / count(site, "Volume").await?,
        ),
        (
            "proxmox_list_calls_until_ready",
            subjects.get(&About::All).copied().unwrap_or(0) as f64,
        ),
    ]);
    let routers = seen.routers().concat();
    let reads = routers.iter().filter(|e| figures::reads_router(e)).count();
    let changes = routers
        .iter()
        .filter(|e| figures::changes_router(e))
        .count();
    values.extend([
        ("router_commits_until_ready", commits(&routers)),
        (
            "router_commits_per_network",
            commits(&routers) / count(site, "Network").await?,
        ),
        ("router_writes_until_ready", changes as f64),
        ("router_reads_until_ready", reads as f64),
    ]);
    commands(&seen.routers(), values);
    let api = seen.api_writes()?;
    values.extend([
        ("api_writes_until_ready", api.values().sum::<usize>() as f64),
        (
            "api_writes_per_tenant_until_ready",
            figures::most_of(&api, "tenants")?,
        ),
        (
            "api_writes_per_network_until_ready",
            figures::most_of(&api, "networks")?,
        ),
        (
            "api_writes_per_volume_until_ready",
            figures::most_of(&api, "volumes")?,
        ),
        (
            "api_writes_per_instance_until_ready",
            figures::most_of(&api, "instances")?,
        ),
    ]);
    Ok(())
}

/// What was sent to routers by owner: the most on one router.
fn commands(routers: &[Vec<Entry>], values: &mut Values) {
    let by_router: Vec<BTreeMap<String, Commands>> = routers
        .iter()
        .map(|journal| figures::commands_by_owner(journal))
        .collect();
    let most = |is: &dyn Fn(&str) -> bool, part: fn(&Commands) -> usize| {
        let of = by_router.iter().flatten().filter(|(owner, _)| is(owner));
        of.map(|(_, c)| part(c)).max().unwrap_or(0) as f64
    };
    let own: fn(&Commands) -> usize = |c| c.own;
    let all: fn(&Commands) -> usize = |c| c.own + c.pool;
    let other = |owner: &str| {
        let known = owner.starts_with("tenant ") || owner.starts_with("network ");
        !known && !owner.is_empty()
    };
    values.extend([
        (
            "router_commands_per_tenant",
            most(&|o| o.starts_with("tenant "), all),
        ),
        (
            "router_commands_per_plain_network",
            most(&|o| o == PLAIN, all),
        ),
        (
            "router_commands_per_stretched_network",
            most(&|o| o == STRETCHED, own),
        ),
        (
            "router_commands_per_dhcp_pool",
            most(&|o| o == STRETCHED, |c| c.pool),
        ),
        ("router_commands_without_owner", most(&str::is_empty, all)),
        ("router_commands_per_instance", most(&other, all)),
    ]);
}

/// Ten passes over each target in which nothing changes.
async fn settled(seen: &mut Seen<'_>, values: &mut Values) -> Result<()> {
    // The first passes of a controller look at more.
    seen.rest(false).await?;
    seen.begin()?;
    let until = Instant::now() + BOUND;
    let passes = |journals: &[Vec<Entry>]| -> Result<Vec<Vec<usize>>> {
        let each = journals.iter();
        each.map(|j| figures::passes(j, BETWEEN_PASSES)).collect()
    };
    let enough = |passes: &[Vec<usize>]| passes.iter().all(|p| p.len() >= PASSES);
    while !enough(&passes(&seen.clusters())?) || !enough(&passes(&seen.routers())?) {
        if Instant::now() > until {
            bail!("fewer than {PASSES} passes within {BOUND:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let most = |journals: &[Vec<Entry>]| -> Result<f64> {
        Ok(passes(journals)?.concat().into_iter().max().unwrap_or(0) as f64)
    };
    let (routers, clusters) = (seen.routers(), seen.clusters());
    let changes = routers.concat();
    let changes = changes.iter().filter(|e| figures::changes_router(e));
    let writes = clusters.concat();
    let writes = writes.iter().filter(|e| e.method != "GET");
    values.extend([
        (
            "api_writes_settled",
            seen.api_writes()?.values().sum::<usize>() as f64,
        ),
        ("router_writes_settled", changes.count() as f64),
        ("cluster_writes_settled", writes.count() as f64),
        ("cluster_calls_per_settled_pass", most(&clusters)?),
        ("router_reads_per_settled_pass", most(&routers)?),
    ]);
    Ok(())
}

/// From the tenant's deletion until it is gone.
async fn until_gone(site: &Site, seen: &mut Seen<'_>, values: &mut Values) -> Result<()> {
    seen.begin()?;
    let began = Instant::now();
    site.delete("Tenant", None, TENANT, BOUND).await?;
    values.insert("delete_to_gone", began.elapsed().as_secs_f64());
    seen.rest(false).await?;
    let clusters = seen.clusters().concat();
    values.extend([
        (
            "router_commits_until_gone",
            commits(&seen.routers().concat()),
        ),
        (
            "proxmox_requests_per_vm_until_gone",
            most_about(&clusters, machine),
        ),
        (
            "api_writes_per_instance_until_gone",
            figures::most_of(&seen.api_writes()?, "instances")?,
        ),
    ]);
    Ok(())
}

/// One life of the tenant.
struct Life {
    /// A share of the time that the real ones take.
    time_scale: f64,
    /// Flags of the controller while objects come and go.
    flags: &'static [&'static str],
    /// Whether settled passes are looked at in between, by a controller that starts anew.
    settled: bool,
}

impl Life {
    const WITHOUT_DELAY: Self = Self {
        time_scale: 0.0,
        flags: &["--active-poll", "100", "--backoff", "200", "--poll", "3600"],
        settled: true,
    };
    /// With the controller as it is without flags.
    const AT_REAL_PACE: Self = Self {
        time_scale: 1.0,
        flags: &[],
        settled: false,
    };

    async fn lived(&self) -> Result<Values> {
        let mut values = Values::new();
        let began = Instant::now();
        let site = Site::start(SiteOptions {
            time_scale: self.time_scale,
            controller: false,
            ..SiteOptions::default()
        })
        .await?;
        let before = site.outside();
        let mut controller = Controller::start(&site, self.flags)?;
        site.all_ready(BOUND).await?;
        values.insert("site_start", began.elapsed().as_secs_f64());
        let mut seen = Seen::of(&site)?;
        seen.rest(true).await?;
        until_ready(&site, &mut seen, &mut values).await?;
        if self.settled {
            controller.end().await?;
            controller = Controller::start(&site, &["--poll", "1"])?;
            settled(&mut seen, &mut values).await?;
            controller.end().await?;
            controller = Controller::start(&site, self.flags)?;
            seen.rest(true).await?;
        }
        until_gone(&site, &mut seen, &mut values).await?;
        controller.end().await?;
        seen.begin()?;
        values.insert("max_in_flight_per_router", seen.in_flight as f64);
        let after = site.outside();
        let changed = before
            .iter()
            .filter(|(name, was)| after.get(*name) != Some(was));
        values.insert("differences_left_behind", changed.count() as f64);
        site.stop().await?;
        Ok(values)
    }
}

/// The time of a control plane alone.
async fn cluster_start() -> Result<f64> {
    let dir = tempfile::tempdir_in(paths::scratch()?)?;
    let mut options = Options::new(dir.path().join("k8s"));
    options.manifests = bb_lab_harness::chart::manifests()?;
    let began = Instant::now();
    let cluster = Cluster::start(options).await?;
    let took = began.elapsed().as_secs_f64();
    cluster.stop()?;
    Ok(took)
}

/// Both lives: counts are the higher of the two, what varies is that at real pace.
async fn measured() -> Result<Values> {
    say("1 of 2: a tenant's life without delays, to count calls (under a minute)")?;
    let mut values = Life::WITHOUT_DELAY.lived().await?;
    say("2 of 2: the same at the pace of real products, to take the time (about a minute)")?;
    let real = Life::AT_REAL_PACE.lived().await?;
    values.retain(|name, _| VARYING.iter().all(|f| f.name != *name));
    for (name, value) in real {
        let higher = values.get(name).map_or(value, |v| v.max(value));
        values.insert(name, higher);
    }
    values.insert("cluster_start", cluster_start().await?);
    Ok(values)
}

fn say(words: impl Display) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{words}").context("cannot write")
}

/// Writes the file and the page.
fn keep(values: &Values, varying: &str) -> Result<()> {
    let all = [COUNTS.as_slice(), VARYING.as_slice()].concat();
    let text = serde_json::to_string_pretty(&figures::document(&all, values))?;
    let target = paths::root().join("target");
    std::fs::create_dir_all(&target)?;
    std::fs::write(target.join("figures.json"), text + "\n").context("cannot write the figures")?;
    let path = paths::root().join("docs/figures.md");
    let page = std::fs::read_to_string(&path).context("cannot read docs/figures.md")?;
    let mut new = figures::replaced(&page, "counts", &figures::table(&COUNTS, values))?;
    if std::env::var("BENCH_RECORD").is_ok_and(|v| v == "1") {
        new = figures::replaced(&new, "varying", varying)?;
    }
    if new != page {
        std::fs::write(&path, new).context("cannot write docs/figures.md")?;
    }
    Ok(())
}

async fn run() -> Result<Vec<String>> {
    std::fs::create_dir_all(paths::root().join("target/journal"))?;
    std::fs::create_dir_all(paths::scratch()?)?;
    let values = measured().await?;
    let varying = format!(
        "Measured on a machine with {}.\n\n{}",
        figures::this_machine(),
        figures::table(&VARYING, &values)
    );
    say(format!("\n{}\n{varying}", figures::table(&COUNTS, &values)))?;
    keep(&values, &varying)?;
    let all = [COUNTS.as_slice(), VARYING.as_slice()].concat();
    Ok(figures::missed(&all, &values))
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let missed = run().await?;
    for words in &missed {
        say(format!("missed: {words}"))?;
    }
    if missed.is_empty() {
        say("every goal is met; target/figures.json has the figures")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_name_of_its_own_and_a_line_on_the_page() {
        let page = std::fs::read_to_string(paths::root().join("docs/figures.md")).unwrap();
        let mut names = Vec::new();
        for figure in COUNTS.iter().chain(&VARYING) {
            assert!(!names.contains(&figure.name), "{} twice", figure.name);
            names.push(figure.name);
            let line = format!("* `{}`: ", figure.name);
            assert!(page.contains(&line), "docs/figures.md lacks {line}");
        }
        for name in ["counts", "varying"] {
            assert!(figures::replaced(&page, name, "").is_ok());
        }
    }

    #[test]
    fn the_page_has_each_count_beside_the_goal_that_is_kept() {
        let page = std::fs::read_to_string(paths::root().join("docs/figures.md")).unwrap();
        for figure in &COUNTS {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", figure.name)));
            let row = row.unwrap_or_else(|| panic!("{} has no row", figure.name));
            let goal = format!(" | at most {}", figure.goal.unwrap());
            assert!(row.contains(&goal), "{row}");
            assert!(row.ends_with(&format!(" | {} |", figure.how)), "{row}");
        }
    }
}
