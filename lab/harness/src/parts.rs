//! Turns a folder and ports into the command line of each part of a control plane, and a part
//! into the answer whether it is ready.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use bb_lab_kit::tls::NODE_ADDRESS;

use crate::client::Client;
use crate::cluster::{Part, Ports};
use crate::pki::Pki;
use crate::process::Spec;
use crate::roster::write_whole;

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

/// What runs beside them where there is a node.
const NODE_CONTROLLERS: &[&str] = &[
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "endpointslice-controller",
    "disruption-controller",
    "job-controller",
];
/// The socket, in the lab's folder, at which the API server asks for a way into the node.
pub(crate) const INTO_NODE: &str = "into-node.sock";
/// The addresses of Services.
pub(crate) const SERVICES: &str = "10.0.0.0/24";

/// What a control plane runs from and where it keeps things.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    pub(crate) binary: PathBuf,
    pub(crate) ports: Ports,
    pub(crate) pki: Pki,
    pub(crate) apiserver_flags: Vec<String>,
    pub(crate) left_out: Vec<String>,
    /// Whether a node of ours runs pods.
    pub(crate) node: bool,
    pub(crate) env: BTreeMap<String, String>,
}

impl Layout {
    pub(crate) fn ports_file(dir: &Path) -> PathBuf {
        dir.join("ports.json")
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens.csv")
    }

    /// Who has which token: users with theirs, as the API server reads them.
    pub(crate) fn tokens_by_user(&self) -> Result<Vec<(String, String)>> {
        let file = self.tokens();
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let pair = |line: &str| {
            let mut fields = line.split(',');
            let token = fields.next()?.to_owned();
            Some((fields.next()?.to_owned(), token))
        };
        Ok(text.lines().filter_map(pair).collect())
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
            .with_context(|| format!("cannot write {}", policy.display()))?;
        if self.node {
            write_whole(&self.egress_file(), Self::egress().to_string().as_bytes())?;
        }
        Ok(())
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
            format!("--secure-port={}", self.ports.api),
            flag("cert-dir", &self.dir.join("pki")),
            flag("tls-cert-file", &self.pki.cert),
            flag("tls-private-key-file", &self.pki.key),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--anonymous-auth=false".to_owned(),
            flag("token-auth-file", &self.tokens()),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            flag("service-account-signing-key-file", &self.pki.accounts),
            flag("service-account-key-file", &self.pki.accounts_public),
            flag("audit-policy-file", &self.audit_policy()),
            flag("audit-log-path", &self.audit_log()),
            "--audit-log-format=json".to_owned(),
        ];
        let for_pods: &[String] = if self.node {
            &[
                // What pods find behind the Service `kubernetes`; the node carries it to us.
                format!("--advertise-address={NODE_ADDRESS}"),
                "--endpoint-reconciler-type=lease".to_owned(),
                "--authorization-mode=Node,RBAC".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                flag("egress-selector-config-file", &self.egress_file()),
            ]
        } else {
            &[
                "--advertise-address=127.0.0.1".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                // One server on a loopback address: there is no endpoint to keep for others.
                "--endpoint-reconciler-type=none".to_owned(),
            ]
        };
        flags.extend(for_pods.iter().chain(&self.apiserver_flags).cloned());
        flags
    }

    fn egress_file(&self) -> PathBuf {
        self.dir.join("egress.yaml")
    }

    /// The way from the API server to kubelets, pods and Services: into the node's namespace.
    fn egress() -> serde_json::Value {
        serde_json::json!({
            "apiVersion": "apiserver.k8s.io/v1beta1", "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": {
                "proxyProtocol": "HTTPConnect",
                // In the folder that every process of a lab works in: whole paths of sockets may be
                // too long. (TCP would do, but then the API server crashes unless it is TLS.)
                "transport": {"uds": {"udsName": INTO_NODE}},
            }}],
        })
    }

    fn controllers(&self) -> Vec<String> {
        let for_pods: &[&str] = if self.node { NODE_CONTROLLERS } else { &[] };
        let run = CONTROLLERS.iter().chain(for_pods).copied();
        let run: Vec<&str> = run
            .filter(|name| !self.left_out.iter().any(|out| out == name))
            .collect();
        vec![
            flag("kubeconfig", &self.dir.join("kubeconfig")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--use-service-account-credentials=false".to_owned(),
            // Else a Deployment waits seconds for its turn.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
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
