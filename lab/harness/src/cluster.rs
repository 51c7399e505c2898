//! Turns one executable into a running Kubernetes control plane whose parts can be killed,
//! stopped and restarted alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::comings::Comings;
use crate::parts::{self, Layout};
use crate::pki::{Pki, random_word, write_private};
use crate::process::{Life, MARK};
use crate::progress::Progress;
use crate::roster::{Roster, write_whole};
use crate::{external, kubeconfig, node, paths, ports};

mod upset;

/// How long a part may take to become ready. It takes 4 s on two idle cores; the rest is for
/// machines that build something else at the same time.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How often a state that we wait for is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often a start is tried again because another process took a port first.
const STARTS: u32 = 3;

/// A part of the control plane: a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Keeps the objects.
    Etcd,
    /// Serves the API.
    ApiServer,
    /// Garbage collection, namespaces, quota, service accounts, deployments.
    Controllers,
}

impl Part {
    /// All parts, in the order in which they start.
    pub const ALL: [Self; 3] = [Self::Etcd, Self::ApiServer, Self::Controllers];

    /// The program's name, which is also the process's name in the roster.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Controllers => "kube-controller-manager",
        }
    }
}

/// Someone who may talk to the API, and the groups he is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's name, as RBAC sees it.
    pub name: String,
    /// The user's groups.
    pub groups: Vec<String>,
}

impl User {
    /// Names a user.
    #[must_use]
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self {
            name: name.to_owned(),
            groups,
        }
    }
}

/// What a control plane is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Holds everything: data, keys, logs, kubeconfigs. Made where it is missing.
    pub dir: PathBuf,
    /// Whether the processes end with us.
    pub life: Life,
    /// Who gets a token, besides `admin` (in `system:masters`).
    pub users: Vec<User>,
    /// Files or folders applied before the controllers start. The garbage collector looks for
    /// new kinds every 30 s only: CRDs given here it knows from the beginning.
    pub manifests: Vec<PathBuf>,
    /// More flags for kube-apiserver, for faults: `--goaway-chance=0.02` and such.
    pub apiserver_flags: Vec<String>,
    /// Kubernetes' own controllers that do not run: a test does their work, `namespace-controller`
    /// say.
    pub left_out: Vec<String>,
    /// Whether the control plane is made for a [`Node`](crate::Node) of ours, to be started after it.
    pub node: bool,
    /// Variables for each part, beside our own: `GOGC=400` spends memory to spare CPU time.
    pub env: BTreeMap<String, String>,
    /// The kubeconfig of a cluster to use instead of starting one.
    pub existing: Option<PathBuf>,
    /// Tells how far the start is.
    pub progress: Progress,
}

impl Options {
    /// A cluster in `dir` that ends with us, with the roles that our tests use: the controller
    /// and a tenant's member, neither with any right yet. Where `BB_KUBECONFIG` is set, the
    /// cluster that it names; a test that breaks parts sets `existing` back to none.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            life: Life::Tied,
            users: vec![
                User::new("bitbuilder-controller", &["bitbuilder:controllers"]),
                User::new("tenant-member", &[]),
            ],
            manifests: Vec::new(),
            apiserver_flags: Vec::new(),
            left_out: Vec::new(),
            node: false,
            env: BTreeMap::new(),
            existing: external::named(),
            progress: Progress::silent(),
        }
    }
}

/// Where the parts of a cluster listen; kept, so that a restarted part is found where it was.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) etcd: u16,
    pub(crate) peer: u16,
}

/// A running control plane: ours, or the existing one that `BB_KUBECONFIG` names.
///
/// Dropping one whose life is [`Life::Tied`] kills everything that runs in its folder.
#[derive(Debug)]
pub struct Cluster {
    roster: Arc<Roster>,
    life: Life,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    users: Vec<User>,
    progress: Progress,
    /// None for an existing cluster, which we neither start nor stop.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    layout: Layout,
    admin_token: String,
    server: String,
    comings: Comings,
}

impl Cluster {
    /// Starts a control plane, or what is missing of it, and waits until it serves.
    ///
    /// # Errors
    /// When the executable is not built, a part ends early or is not ready within two minutes;
    /// the message carries the end of its log.
    pub async fn start(options: Options) -> Result<Self> {
        let roster = Arc::new(Roster::open(&options.dir, options.life)?);
        Self::start_on(roster, options).await
    }

    /// Starts a control plane whose processes are written to a roster that exists already.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_on(roster: Arc<Roster>, options: Options) -> Result<Self> {
        let binary = paths::cluster_binary()?;
        if let Some(path) = &options.existing {
            let kubeconfig = path
                .canonicalize()
                .with_context(|| format!("there is no kubeconfig {}", path.display()))?;
            options
                .progress
                .say(&format!("using the cluster of {}", kubeconfig.display()));
            let cluster = Self {
                roster,
                life: options.life,
                kubeconfig,
                kubectl: binary,
                users: options.users,
                progress: options.progress,
                own: None,
            };
            cluster.apply(&options.manifests)?;
            return Ok(cluster);
        }
        for _ in 1..STARTS {
            match Self::try_start(Arc::clone(&roster), &binary, &options).await {
                Err(error) if error.to_string().contains("address already in use") => {
                    roster.end_strays()?;
                    let _ = fs::remove_file(Layout::ports_file(roster.dir()));
                }
                outcome => return outcome,
            }
        }
        Self::try_start(roster, &binary, &options).await
    }

    async fn try_start(roster: Arc<Roster>, binary: &Path, options: &Options) -> Result<Self> {
        let dir = roster.dir().to_path_buf();
        let layout = Layout {
            binary: binary.to_path_buf(),
            ports: ports_of(&dir)?,
            pki: Pki::ensure(&dir.join("pki"))?,
            apiserver_flags: options.apiserver_flags.clone(),
            left_out: options.left_out.clone(),
            node: options.node,
            env: options.env.clone(),
            dir: dir.clone(),
        };
        layout.prepare()?;
        let server = format!("https://127.0.0.1:{}", layout.ports.api);
        let mut users = options.users.clone();
        if options.node {
            users.extend(node::users());
        }
        let tokens = write_tokens(&layout.tokens(), &users)?;
        for (name, token) in &tokens {
            kubeconfig::write(
                &kubeconfig_path(&dir, name),
                &server,
                &layout.pki.ca,
                name,
                token,
            )?;
        }
        let admin_token = tokens
            .get("admin")
            .cloned()
            .context("the token file has no admin")?;
        let cluster = Self {
            kubeconfig: kubeconfig_path(&dir, "admin"),
            life: options.life,
            kubectl: binary.to_path_buf(),
            users: options.users.clone(),
            progress: options.progress,
            roster,
            own: Some(Own {
                layout,
                admin_token,
                server,
                comings: Comings::default(),
            }),
        };
        cluster.ensure(Part::Etcd).await?;
        cluster.ensure(Part::ApiServer).await?;
        cluster.apply(&options.manifests)?;
        cluster.ensure(Part::Controllers).await?;
        Ok(cluster)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubeconfig of one of the users that the cluster was started with.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn kubeconfig_for(&self, name: &str) -> Result<PathBuf> {
        let Some(user) = self.users.iter().find(|user| user.name == name) else {
            bail!("the cluster was started without a user {name}");
        };
        let path = kubeconfig_path(self.roster.dir(), name);
        if self.own.is_none() {
            external::impersonate(&self.kubectl, &self.kubeconfig, user, &path)?;
        }
        Ok(path)
    }

    /// A kubeconfig of one of those users that reaches the API through a proxy at `server`, which
    /// shows the certificate `ca_pem`. `way` names it: a word for file names.
    ///
    /// # Errors
    /// When there is no such user, or the file cannot be written.
    pub fn kubeconfig_through(
        &self,
        name: &str,
        way: &str,
        server: &str,
        ca_pem: &str,
    ) -> Result<PathBuf> {
        let from = self.kubeconfig_for(name)?;
        let to = self.roster.dir().join(format!("kubeconfig-{name}-{way}"));
        let ca = self.roster.dir().join(format!("ca-{way}.pem"));
        write_private(&ca, ca_pem)?;
        kubeconfig::detour(&from, &to, server, &ca)?;
        Ok(to)
    }

    /// A kubeconfig of a ServiceAccount, with a token of a day.
    ///
    /// # Errors
    /// When there is no such account, or the cluster is not ours.
    pub fn kubeconfig_of_account(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let own = self.own(Part::ApiServer)?;
        let token = [
            "create",
            "token",
            account,
            "-n",
            namespace,
            "--duration=24h",
        ];
        let token = self.kubectl(&token)?;
        let path = kubeconfig_path(self.roster.dir(), &format!("{namespace}-{account}"));
        kubeconfig::write(
            &path,
            &own.server,
            &own.layout.pki.ca,
            account,
            token.trim(),
        )?;
        Ok(path)
    }

    /// Where the API is served, as `https://127.0.0.1:PORT`. None for an existing cluster.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.own.as_ref().map(|own| own.server.as_str())
    }

    /// The layout of a cluster that was started for a node, and the way to the node.
    pub(crate) fn for_node(&self) -> Result<(&Layout, Ports)> {
        match &self.own {
            Some(own) if own.layout.node => Ok((&own.layout, own.layout.ports)),
            _ => bail!("the cluster was not started for a node"),
        }
    }

    /// The folder that holds everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.roster.dir()
    }

    /// The processes that run here; stand-ins can join them.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
    }

    /// The audit log: one JSON line per request, without bodies. None for an existing cluster.
    #[must_use]
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.own.as_ref().map(|own| own.layout.audit_log())
    }

    /// The process id of a part, if it runs and is ours.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<i32> {
        self.roster.running(part.program()).map(|record| record.pid)
    }

    /// Runs kubectl as the administrator and returns what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.kubectl)
            .arg("kubectl")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(args)
            .env(MARK, self.roster.dir())
            // Else it keeps what it learns about each server in the home folder, for ever.
            .env("KUBECACHEDIR", self.kubectl_cache())
            .output()
            .context("cannot run kubectl")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {} failed: {}", args.join(" "), words.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where kubectl keeps what it learns about the server.
    pub(crate) fn kubectl_cache(&self) -> PathBuf {
        self.roster.dir().join("kubectl-cache")
    }

    /// Applies files or folders on the server's side, taking over fields from others.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn apply(&self, manifests: &[PathBuf]) -> Result<()> {
        if manifests.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = manifests
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        let mut args = vec!["apply", "--server-side", "--force-conflicts", "-R"];
        args.extend(names.iter().flat_map(|name| ["-f", name]));
        self.kubectl(&args)?;
        self.progress.say(&format!("applied {}", names.join(", ")));
        Ok(())
    }

    /// Ends every process of the folder, stand-ins included. The files stay. An existing
    /// cluster is left running.
    ///
    /// # Errors
    /// When a process does not end.
    pub fn stop(self) -> Result<()> {
        self.roster.end_strays()?;
        Ok(())
    }

    fn own(&self, part: Part) -> Result<&Own> {
        let program = part.program();
        self.own.as_ref().with_context(|| {
            format!(
                "cannot touch {program}: the cluster is an existing one and not ours; \
                 unset BB_KUBECONFIG to use one that is"
            )
        })
    }

    /// Starts a part unless it runs, and waits until it is ready.
    async fn ensure(&self, part: Part) -> Result<()> {
        let own = self.own(part)?;
        let program = part.program();
        if self.roster.running(program).is_none() {
            self.roster.start(program, &own.layout.spec(part))?;
        }
        let client = Client::new(&own.server, &own.layout.pki.ca, &own.admin_token)?;
        let until = Instant::now() + READY_WITHIN;
        while !parts::is_ready(part, own.layout.ports, &client).await {
            if self.roster.running(program).is_none() {
                bail!(
                    "{program} ended before it was ready; {}",
                    self.roster.tail(program)
                );
            }
            if Instant::now() >= until {
                let bound = READY_WITHIN.as_secs();
                bail!(
                    "{program} is not ready after {bound} s; {}",
                    self.roster.tail(program)
                );
            }
            tokio::time::sleep(LOOK).await;
        }
        if part == Part::ApiServer {
            own.comings.ready();
        }
        self.progress.say(&format!("{program} ready"));
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.life == Life::Tied {
            // The kernel ends them at the latest when we end.
            let _ = self.roster.end_strays();
        }
    }
}

fn kubeconfig_path(dir: &Path, user: &str) -> PathBuf {
    match user {
        "admin" => dir.join("kubeconfig"),
        name => dir.join(format!("kubeconfig-{name}")),
    }
}

/// Returns the ports that the folder's cluster had, or fresh ones, which are then kept.
fn ports_of(dir: &Path) -> Result<Ports> {
    let file = Layout::ports_file(dir);
    if let Some(ports) = fs::read(&file)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
    {
        return Ok(ports);
    }
    let ports = Ports {
        api: ports::free()?,
        etcd: ports::free()?,
        peer: ports::free()?,
    };
    write_whole(
        &file,
        &serde_json::to_vec(&ports).context("cannot render ports")?,
    )?;
    Ok(ports)
}

/// Makes a token for each user that has none yet and returns all of them by user.
fn write_tokens(file: &Path, users: &[User]) -> Result<BTreeMap<String, String>> {
    let old = fs::read_to_string(file).unwrap_or_default();
    let known: BTreeMap<&str, &str> = old
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(',');
            let token = fields.next()?;
            Some((fields.next()?, token))
        })
        .collect();
    let admin = User::new("admin", &["system:masters"]);
    let mut text = String::new();
    let mut tokens = BTreeMap::new();
    for user in std::iter::once(&admin).chain(users) {
        let token = match known.get(user.name.as_str()) {
            Some(token) => (*token).to_owned(),
            None => random_word()?,
        };
        let groups = user.groups.join(",");
        text.push_str(&format!("{token},{0},{0},\"{groups}\"\n", user.name));
        tokens.insert(user.name.clone(), token);
    }
    write_private(file, &text)?;
    Ok(tokens)
}
