//! Turns the places of a node into the settings of containerd, kubelet, kube-proxy and CNI.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bb_lab_image::{File, Image};
use bb_lab_kit::tls::NODE_ADDRESS;
use serde_json::{Value, json};

use crate::cluster::User;
use crate::pki::write_private;
use crate::{cgroup, kubeconfig};

/// The addresses of pods.
const PODS: &str = "10.88.1.0/24";
/// The image of the container that holds a pod's addresses.
const PAUSE: &str = "localhost/bb-lab-pause:1";

/// What the programs of a node need to reach the API: where it is for them, and who they are.
pub(crate) struct Reach<'a> {
    pub(crate) server: String,
    pub(crate) ca: &'a Path,
    /// The tokens of [`users`], by user.
    pub(crate) tokens: &'a [(String, String)],
}

/// Who the programs of the node `name` are to the API, with the files of their kubeconfigs.
pub(crate) fn users(name: &str) -> [(User, &'static str); 3] {
    let kubelet = format!("system:node:{name}");
    [
        (User::new(&kubelet, &["system:nodes"]), "kubelet.kubeconfig"),
        (User::new("system:kube-proxy", &[]), "proxy.kubeconfig"),
        (
            User::new("system:kube-scheduler", &[]),
            "scheduler.kubeconfig",
        ),
    ]
}

/// Writes everything that `lab/node/init.sh` looks for in `dir`, the node's folder in `lab`.
pub(crate) fn write(
    lab: &Path,
    dir: &Path,
    name: &str,
    programs: &Path,
    reach: &Reach<'_>,
) -> Result<()> {
    let cni = dir.join("cni");
    fs::create_dir_all(&cni).with_context(|| format!("cannot make {}", cni.display()))?;
    for (user, file) in users(name) {
        let token = reach.tokens.iter().find(|(name, _)| *name == user.name);
        let (_, token) = token.with_context(|| format!("{} has no token", user.name))?;
        kubeconfig::write(&dir.join(file), &reach.server, reach.ca, &user.name, token)?;
    }
    for (file, settings) in [
        ("kubelet.yaml", kubelet(lab, dir)),
        ("proxy.yaml", proxy(dir)),
        ("cni/10-lab.conflist", network()),
    ] {
        write_private(&dir.join(file), &format!("{settings:#}\n"))?;
    }
    write_private(&dir.join("containerd.toml"), &containerd(dir, programs))?;
    pause(&programs.join("pause"), &dir.join("pause.tar"))
}

fn kubelet(lab: &Path, dir: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        // Only the API server has a way to it, and pods, which are ours.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "readOnlyPort": 0,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cgroup::name(lab)),
        // Version 1 of control groups goes on working; the kubelet only would not start by itself.
        "failCgroupV1": false,
        "failSwapOn": false,
        // A full disk of this machine is no reason to throw pods out.
        "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%", "memory.available": "50Mi"},
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": false,
        // What else it would ask of a machine that is not its own.
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "makeIPTablesUtilChains": false,
        "protectKernelDefaults": false,
        "resolvConf": "",
        "volumePluginDir": dir.join("volume-plugins"),
    })
}

fn proxy(dir: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": dir.join("proxy.kubeconfig")},
        // The table of connections has one size for the whole machine: it is left alone.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "oomScoreAdj": 0,
    })
}

/// A pair of interfaces for each pod, and addresses from one range: no bridge, no masquerade.
fn network() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "lab",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

fn containerd(dir: &Path, programs: &Path) -> String {
    let cni = dir.join("cni");
    let bin = programs.join("usr/lib/cni");
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Without the right to lower it, runc fails when it is asked to.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{}"
conf_dir = "{}"
"#,
        bin.display(),
        cni.display()
    )
}

fn pause(program: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let image = Image {
        name: PAUSE.to_owned(),
        entrypoint: vec!["/pause".to_owned()],
        user: (65535, 65535),
        labels: std::collections::BTreeMap::new(),
        files: vec![File {
            path: "pause".to_owned(),
            mode: 0o555,
            bytes,
        }],
    };
    let write = || image.write(&mut fs::File::create(to)?);
    write().with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

/// Returns the variables of `lab/node/init.sh`.
pub(crate) fn variables(
    dir: &Path,
    name: &str,
    programs: &Path,
    binary: &Path,
    port: u16,
) -> std::collections::BTreeMap<String, String> {
    [
        ("BB_NODE_DIR", dir.display().to_string()),
        ("BB_NODE_NAME", name.to_owned()),
        ("BB_NODE_PROGRAMS", programs.display().to_string()),
        ("BB_NODE_ADDRESS", NODE_ADDRESS.to_owned()),
        ("BB_NODE_SERVICES", crate::parts::SERVICES.to_owned()),
        ("BB_NODE_API_PORT", port.to_string()),
        ("BB_CLUSTER", binary.display().to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
