//! Turns files and a few words into an OCI image layout in a tar archive, the same bytes each time.
//!
//! Formats: the OCI image layout and image specification 1.1. Beside them `manifest.json`, by
//! which a Docker without the containerd store reads the same blobs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A file of an image. It belongs to root and was last changed in 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is, without a leading slash.
    pub path: String,
    /// Its permission bits, such as `0o555`.
    pub mode: u32,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// An image of one layer from scratch.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its whole name, with registry and tag: `ghcr.io/somebody/something:1.0`.
    pub name: String,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The numbers of the user and the group that it runs as.
    pub user: (u32, u32),
    /// Annotations of the manifest, and labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Everything that is in it. Folders above a file come by themselves.
    pub files: Vec<File>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The digest by which a cluster can name the image: `sha256:...`.
    pub manifest: String,
    /// The digest of its configuration, the id that Docker shows.
    pub config: String,
}

impl Image {
    /// Writes the archive.
    ///
    /// # Errors
    /// When a path does not fit an archive, or `out` fails.
    pub fn write(&self, out: &mut impl Write) -> io::Result<Written> {
        let layer = self.layer()?;
        let layer_digest = digest(&layer);
        let config = render(&self.config(&layer_digest));
        let config_digest = digest(&config);
        let manifest = render(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
            "annotations": self.labels,
        }));
        let written = Written {
            manifest: digest(&manifest),
            config: config_digest.clone(),
        };
        let mut named = descriptor(MANIFEST, &manifest);
        // The first is what the specification knows, the second what containerd imports it as.
        named["annotations"] = json!({
            "org.opencontainers.image.ref.name": self.name,
            "io.containerd.image.name": self.name,
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [named],
        });
        let docker = json!([{
            "Config": blob(&config_digest),
            "RepoTags": [self.name],
            "Layers": [blob(&layer_digest)],
        }]);
        let mut files = BTreeMap::from([
            ("index.json".to_owned(), render(&index)),
            ("manifest.json".to_owned(), render(&docker)),
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
        ]);
        for bytes in [layer, config, manifest] {
            files.insert(blob(&digest(&bytes)), bytes);
        }
        let files = files
            .iter()
            .map(|(path, bytes)| (path.as_str(), 0o644, bytes.as_slice()));
        archive(files, out)?;
        Ok(written)
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let sorted: BTreeMap<&str, &File> = self
            .files
            .iter()
            .map(|file| (file.path.as_str(), file))
            .collect();
        let files = sorted
            .values()
            .map(|file| (file.path.as_str(), file.mode, file.bytes.as_slice()));
        let mut bytes = Vec::new();
        archive(files, &mut bytes)?;
        Ok(bytes)
    }

    fn config(&self, layer: &str) -> Value {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "User": format!("{}:{}", self.user.0, self.user.1),
                "Entrypoint": self.entrypoint,
                "WorkingDir": "/",
                "Labels": self.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [layer]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "bb-image"}],
        })
    }
}

/// Writes sorted files, and the folders above each before it, with nothing of this machine or hour.
fn archive<'a>(
    files: impl Iterator<Item = (&'a str, u32, &'a [u8])>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    let mut folders: Vec<String> = Vec::new();
    for (path, mode, bytes) in files {
        for (at, _) in path.match_indices('/') {
            let folder = path[..=at].to_owned();
            if !folders.contains(&folder) {
                let mut header = header(tar::EntryType::Directory, 0o755, 0);
                archive.append_data(&mut header, &folder, io::empty())?;
                folders.push(folder);
            }
        }
        let size = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut header = header(tar::EntryType::Regular, mode, size);
        archive.append_data(&mut header, path, bytes)?;
    }
    archive.into_inner()?.flush()
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()})
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// Keys are sorted: `serde_json` keeps objects in a `BTreeMap`.
fn render(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn image() -> Image {
        let file = |path: &str, mode, bytes: &[u8]| File {
            path: path.to_owned(),
            mode,
            bytes: bytes.to_vec(),
        };
        Image {
            name: "example.com/one:1".to_owned(),
            entrypoint: vec!["/one".to_owned()],
            user: (65532, 65532),
            labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            files: vec![
                file("one", 0o555, b"program"),
                file("etc/passwd", 0o444, b"x"),
            ],
        }
    }

    fn written() -> (Written, BTreeMap<String, Vec<u8>>) {
        let mut bytes = Vec::new();
        let written = image().write(&mut bytes).unwrap();
        (written, unpacked(&bytes))
    }

    fn unpacked(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(bytes).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            assert_eq!(entry.header().uid().unwrap(), 0);
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(path, content);
        }
        files
    }

    fn read(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Vec<u8> {
        let wanted = descriptor["digest"].as_str().unwrap();
        let bytes = files[&blob(wanted)].clone();
        assert_eq!(digest(&bytes), wanted);
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    }

    #[test]
    fn every_digest_leads_from_the_index_to_the_bytes_it_is_of() {
        let (written, files) = written();
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let named = &index["manifests"][0];
        assert_eq!(named["digest"], written.manifest);
        assert_eq!(
            named["annotations"]["io.containerd.image.name"],
            "example.com/one:1"
        );
        let manifest: Value = serde_json::from_slice(&read(&files, named)).unwrap();
        let config: Value = serde_json::from_slice(&read(&files, &manifest["config"])).unwrap();
        assert_eq!(manifest["config"]["digest"], written.config);
        let layer = read(&files, &manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&layer)]));
        let inside = unpacked(&layer);
        assert_eq!(inside["one"], b"program");
        assert_eq!(
            inside.keys().collect::<Vec<_>>(),
            ["etc/", "etc/passwd", "one"]
        );
    }

    #[test]
    fn the_image_runs_its_program_and_not_as_root() {
        let (written, files) = written();
        let config: Value = serde_json::from_slice(&files[&blob(&written.config)]).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/one"]));
    }

    #[test]
    fn the_same_files_in_another_order_give_the_same_bytes() {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        image().write(&mut one).unwrap();
        let mut other = image();
        other.files.reverse();
        other.write(&mut two).unwrap();
        assert_eq!(one, two);
    }

    #[test]
    fn docker_finds_the_same_blobs() {
        let (written, files) = written();
        let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(docker[0]["RepoTags"], json!(["example.com/one:1"]));
        assert_eq!(docker[0]["Config"], blob(&written.config));
        assert!(files.contains_key(docker[0]["Layers"][0].as_str().unwrap()));
    }
}
