//! Turns a folder and ports into the command line of each part of a control plane, and a part
//! into the answer whether it is ready.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::Client;
use crate::cluster::{Part, Ports};
use crate::pki::Pki;
use crate::process::Spec;

/// Every request once, when it is answered, without bodies: bodies carry Secrets.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// What of the controller manager runs: what the API promises to any client, and enough to run
/// a chart's Deployment as an object. There are no nodes, so nothing that serves pods.
const CONTROLLERS: &[&str] = &[
    "namespace-controller",
    "garbage-collector-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "replicaset-controller",
];

/// What a control plane runs from and where it keeps things.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    pub(crate) binary: PathBuf,
    pub(crate) ports: Ports,
    pub(crate) pki: Pki,
    pub(crate) apiserver_flags: Vec<String>,
    pub(crate) left_out: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

impl Layout {
    pub(crate) fn ports_file(dir: &Path) -> PathBuf {
        dir.join("ports.json")
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens.csv")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.jsonl")
    }

    pub(crate) fn etcd_data(&self) -> PathBuf {
        self.dir.join("etcd")
    }

    fn audit_policy(&self) -> PathBuf {
        self.dir.join("audit-policy.yaml")
    }

    /// Makes the folders and the files that do not change.
    pub(crate) fn prepare(&self) -> Result<()> {
        let logs = self.dir.join("log");
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let policy = self.audit_policy();
        fs::write(&policy, AUDIT_POLICY)
            .with_context(|| format!("cannot write {}", policy.display()))
    }

    pub(crate) fn spec(&self, part: Part) -> Spec {
        let mut args = vec![part.program().to_owned()];
        args.extend(match part {
            Part::Etcd => self.etcd(),
            Part::ApiServer => self.apiserver(),
            Part::Controllers => self.controllers(),
        });
        Spec {
            program: self.binary.clone(),
            args,
            env: self.env.clone(),
            log: self.dir.join("log").join(format!("{}.log", part.program())),
        }
    }

    fn etcd(&self) -> Vec<String> {
        vec![
            flag("data-dir", &self.etcd_data()),
            format!("--listen-client-url={}", self.etcd_url()),
            format!("--listen-peer-url=http://127.0.0.1:{}", self.ports.peer),
        ]
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.etcd)
    }

    fn apiserver(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--etcd-servers={}", self.etcd_url()),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.ports.api),
            flag("cert-dir", &self.dir.join("pki")),
            flag("tls-cert-file", &self.pki.cert),
            flag("tls-private-key-file", &self.pki.key),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--anonymous-auth=false".to_owned(),
            flag("token-auth-file", &self.tokens()),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            flag("service-account-signing-key-file", &self.pki.accounts),
            flag("service-account-key-file", &self.pki.accounts_public),
            // One server on a loopback address: there is no endpoint to keep for others.
            "--endpoint-reconciler-type=none".to_owned(),
            flag("audit-policy-file", &self.audit_policy()),
            flag("audit-log-path", &self.audit_log()),
            "--audit-log-format=json".to_owned(),
        ];
        flags.extend(self.apiserver_flags.iter().cloned());
        flags
    }

    fn controllers(&self) -> Vec<String> {
        let run = CONTROLLERS.iter().copied();
        let run: Vec<&str> = run
            .filter(|name| !self.left_out.iter().any(|out| out == name))
            .collect();
        vec![
            flag("kubeconfig", &self.dir.join("kubeconfig")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--use-service-account-credentials=false".to_owned(),
            flag("service-account-private-key-file", &self.pki.accounts),
            flag("root-ca-file", &self.pki.ca),
            format!("--controllers={}", run.join(",")),
        ]
    }
}

/// Tells whether a part does its work: etcd listens, the API server says so, and the
/// controllers have made the first service account.
pub(crate) async fn is_ready(part: Part, ports: Ports, client: &Client) -> bool {
    match part {
        Part::Etcd => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.etcd));
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
        }
        Part::ApiServer => client.is_there("/readyz").await,
        Part::Controllers => {
            client
                .is_there("/api/v1/namespaces/default/serviceaccounts/default")
                .await
        }
    }
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
