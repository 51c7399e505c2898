//! Turns flags and a kubeconfig into a connection, and requests into objects or failures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use kube::api::{Api, ApiResource};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::object::Object;
use crate::pages::Pages;
use crate::pin;

/// How long an answer may take unless a flag says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the flags say about where to connect to.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The kubeconfig; else `KUBECONFIG`, else `~/.kube/config`, else that of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; else the current one.
    pub context: Option<String>,
    /// The namespace; else the context's.
    pub namespace: Option<String>,
    /// How long an answer may take.
    pub patience: Option<Duration>,
}

/// Where objects are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In one namespace, and among those of the whole cluster.
    Namespace(String),
    /// In all namespaces.
    Everywhere,
}

/// A connection to one API server.
#[derive(Clone)]
pub struct Session {
    client: Client,
    server: String,
    namespace: String,
    patience: Duration,
    request_id: String,
}

impl Session {
    /// Reads the kubeconfig and prepares the connection. Nothing is sent yet.
    ///
    /// # Errors
    /// When no kubeconfig is found, or it does not say how to reach a server.
    pub async fn open(
        connection: &Connection,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let mut config = config(connection, env).await?;
        let request_id = uuid::Uuid::new_v4().to_string();
        // The server writes this name into its audit log beside each request.
        let id = HeaderValue::from_str(&request_id).expect("a UUID is a header value");
        config
            .headers
            .push((HeaderName::from_static("audit-id"), id));
        let patience = connection
            .patience
            .filter(|time| !time.is_zero())
            .unwrap_or(PATIENCE);
        config.connect_timeout = Some(patience);
        let server = config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned();
        let namespace = connection
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = crate::connect::client(config).map_err(|error| {
            Failure::new(Exit::Failure, format!("cannot use the kubeconfig: {error}"))
        })?;
        Ok(Self {
            client,
            server,
            namespace,
            patience,
            request_id,
        })
    }

    /// The client, for what has no shorter way here.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The server's address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The namespace that is meant where none is named.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How long an answer may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Under which name our requests stand in the server's audit log.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The objects of a kind; `namespace` is that of the object, if it has one.
    #[must_use]
    pub fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<Object> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, resource),
            None => Api::all_with(self.client(), resource),
        }
    }

    /// Waits for an answer, as long as it may take.
    ///
    /// # Errors
    /// When it is a refusal, or none comes.
    pub async fn ask<T>(
        &self,
        doing: &str,
        answer: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::api(doing, &self.server, &error)),
            Err(_) => Err(Failure::no_answer(
                doing,
                &self.server,
                self.patience.as_secs_f64(),
            )),
        }
    }

    /// Reads one object.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub async fn get(&self, kind: &Kind, name: &str) -> Result<Object, Failure> {
        let namespace = kind.namespaced.then_some(self.namespace());
        let doing = format!("get {}{}", phrase(kind.singular, name), within(namespace));
        let api = self.api(&kind.resource(), namespace);
        let object = self.ask(&doing, api.get(name)).await;
        object.map_err(|failure| match (failure.exit, &failure.hint) {
            (Exit::NotFound, None) => failure.hint(format!("see `bbctl get {}`", kind.plural)),
            _ => failure,
        })
    }

    /// Reads all objects of a kind, page by page.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn list(
        &self,
        kind: &Kind,
        scope: &Scope,
        selector: Option<&str>,
    ) -> Result<Vec<Object>, Failure> {
        Pages::new(self, kind, scope, selector).all().await
    }
}

/// What an object of the kind says that it is.
#[must_use]
pub fn types(resource: &ApiResource) -> kube::core::TypeMeta {
    kube::core::TypeMeta {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
    }
}

fn phrase(kind: &str, name: &str) -> String {
    format!("{kind} {name}")
}

/// ` in namespace N`, or nothing.
#[must_use]
pub fn within(namespace: Option<&str>) -> String {
    namespace
        .map(|n| format!(" in namespace {n}"))
        .unwrap_or_default()
}

async fn config(
    connection: &Connection,
    env: &BTreeMap<String, String>,
) -> Result<Config, Failure> {
    let Some(kubeconfig) = kubeconfig(connection, env)? else {
        if env.contains_key("KUBERNETES_SERVICE_HOST") && connection.context.is_none() {
            return Config::incluster().map_err(|error| {
                Failure::new(
                    Exit::Failure,
                    format!("cannot use the pod's account: {error}"),
                )
            });
        }
        return Err(Failure::new(Exit::Failure, "there is no kubeconfig")
            .hint("name one with --kubeconfig or KUBECONFIG, or put it at ~/.kube/config"));
    };
    let contexts: Vec<String> = kubeconfig.contexts.iter().map(|c| c.name.clone()).collect();
    let options = KubeConfigOptions {
        context: connection.context.clone(),
        ..Default::default()
    };
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| unusable(&error, &contexts))
}

/// The current context of the kubeconfig that is meant, and all of its contexts.
///
/// # Errors
/// When it cannot be read.
pub fn contexts(
    connection: &Connection,
    env: &BTreeMap<String, String>,
) -> Result<(Option<String>, Vec<String>), Failure> {
    let Some(kubeconfig) = kubeconfig(connection, env)? else {
        return Ok((None, Vec::new()));
    };
    let names = kubeconfig.contexts.into_iter().map(|context| context.name);
    Ok((kubeconfig.current_context, names.collect()))
}

/// Reads the kubeconfig that is meant; none where the pod's account is.
fn kubeconfig(
    connection: &Connection,
    env: &BTreeMap<String, String>,
) -> Result<Option<Kubeconfig>, Failure> {
    let files = files(connection, env);
    let Some((first, others)) = files.split_first() else {
        return Ok(None);
    };
    let mut merged = read(first)?;
    for path in others {
        let next = read(path)?;
        merged = merged.merge(next).map_err(|error| unusable(&error, &[]))?;
    }
    Ok(Some(merged))
}

/// The files of the kubeconfig that is meant: the flag's, those of `KUBECONFIG`, or the usual one;
/// none where the pod's account is meant.
pub(crate) fn files(connection: &Connection, env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    if let Some(path) = &connection.kubeconfig {
        return vec![path.clone()];
    }
    let named: Vec<PathBuf> = env
        .get("KUBECONFIG")
        .map(|value| {
            std::env::split_paths(value)
                .filter(|p| !p.as_os_str().is_empty())
                .collect()
        })
        .unwrap_or_default();
    // As in kubectl, a file of the list may be missing, though not all of them.
    let there: Vec<&PathBuf> = named.iter().filter(|path| path.exists()).collect();
    match (named.first(), there.as_slice()) {
        (None, _) if pin::is_pod(env) => Vec::new(),
        (None, _) => {
            let home = env.get("HOME").or_else(|| env.get("USERPROFILE"));
            let usual = home.map(|home| Path::new(home).join(".kube").join("config"));
            usual.filter(|path| path.exists()).into_iter().collect()
        }
        // That it is not there is told by whoever reads it.
        (Some(first), []) => vec![first.clone()],
        (Some(_), paths) => paths.iter().map(|path| (*path).clone()).collect(),
    }
}

fn read(path: &Path) -> Result<Kubeconfig, Failure> {
    Kubeconfig::read_from(path).map_err(|error| {
        let words = match &error {
            KubeconfigError::ReadConfig(cause, _) => cause.to_string(),
            other => other.to_string(),
        };
        Failure::new(
            Exit::Failure,
            format!("cannot read kubeconfig {}: {words}", path.display()),
        )
        .hint("name another with --kubeconfig or KUBECONFIG")
    })
}

fn unusable(error: &KubeconfigError, contexts: &[String]) -> Failure {
    let choose = match contexts {
        [] => "the kubeconfig has no contexts".to_owned(),
        some => format!("choose one with --context: {}", some.join(", ")),
    };
    match error {
        KubeconfigError::CurrentContextNotSet => {
            Failure::usage("the kubeconfig names no current context").hint(choose)
        }
        KubeconfigError::LoadContext(name) => {
            Failure::usage(format!("the kubeconfig has no context `{name}`")).hint(choose)
        }
        other => Failure::new(Exit::Failure, format!("cannot use the kubeconfig: {other}")),
    }
}
