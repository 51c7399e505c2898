//! Turns a folder into a container image in a file, and a crate into its bill of materials.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use bb_lab_image::{Bill, File, Image, Part};
use clap::{Parser, Subcommand};

/// Writes container images and bills of materials without a registry, a daemon or root.
#[derive(Parser)]
#[command(name = "bb-image", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Writes an OCI image layout in a tar archive and prints the digest of its manifest.
    Pack {
        /// The folder that becomes the only layer.
        #[arg(long)]
        from: PathBuf,
        /// The image's whole name, with registry and tag.
        #[arg(long)]
        name: String,
        /// The program, as a path in the image.
        #[arg(long)]
        entrypoint: String,
        /// An annotation as KEY=VALUE.
        #[arg(long = "label", value_parser = pair)]
        labels: Vec<(String, String)>,
        /// The archive to write.
        #[arg(long)]
        to: PathBuf,
    },
    /// Writes what a crate's program is made of, as CycloneDX.
    Bill {
        /// The crate.
        #[arg(long = "crate")]
        root: String,
        /// What the program is built for, as rustc calls it.
        #[arg(long)]
        target: String,
        /// Something that cargo does not know of, as NAME,VERSION,LICENCE,PACKAGE-URL.
        #[arg(long = "with", value_parser = part)]
        others: Vec<Part>,
        /// The file to write.
        #[arg(long)]
        to: PathBuf,
    },
}

/// The user that an image runs as: nobody in particular, by a number that distroless made common.
const USER: u32 = 65532;

fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Pack {
            from,
            name,
            entrypoint,
            labels,
            to,
        } => {
            let mut files = Vec::new();
            collect(&from, "", &mut files)?;
            let image = Image {
                name,
                entrypoint: vec![entrypoint],
                user: (USER, USER),
                labels: labels.into_iter().collect::<BTreeMap<_, _>>(),
                files,
            };
            let write = || -> std::io::Result<_> {
                let mut out = BufWriter::new(fs::File::create(&to)?);
                let written = image.write(&mut out)?;
                out.flush()?;
                Ok(written)
            };
            let written = write().with_context(|| format!("cannot write {}", to.display()))?;
            writeln!(std::io::stdout().lock(), "{}", written.manifest)?;
        }
        Verb::Bill {
            root,
            target,
            others,
            to,
        } => {
            let metadata = cargo(&[
                "metadata",
                "--locked",
                "--format-version",
                "1",
                "--filter-platform",
                &target,
            ])?;
            let tree = cargo(&[
                "tree",
                "--locked",
                "--package",
                &root,
                "--edges",
                "normal",
                "--target",
                &target,
                "--prefix",
                "none",
                "--format",
                "{p}",
            ])?;
            let metadata: serde_json::Value =
                serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
            let workspace = metadata["workspace_root"]
                .as_str()
                .context("cargo names no workspace")?;
            let lock = Path::new(workspace).join("Cargo.lock");
            let lock = fs::read_to_string(&lock)
                .with_context(|| format!("cannot read {}", lock.display()))?;
            let bill = Bill {
                root,
                metadata,
                lock,
                tree,
                others,
            }
            .render()?;
            let text = serde_json::to_string_pretty(&bill).context("cannot render the bill")?;
            fs::write(&to, text + "\n")
                .with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(())
}

/// Reads a folder with all below it. Anyone may read what is in an image; what somebody may run
/// here, anyone may run there.
fn collect(folder: &Path, above: &str, files: &mut Vec<File>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot list {}", folder.display()))?
            .path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is no name for an image", path.display()))?;
        let inside = format!("{above}{name}");
        if path.is_dir() {
            collect(&path, &format!("{inside}/"), files)?;
            continue;
        }
        let read = || {
            Ok::<_, std::io::Error>((fs::metadata(&path)?.permissions().mode(), fs::read(&path)?))
        };
        let (mode, bytes) = read().with_context(|| format!("cannot read {}", path.display()))?;
        let mode = if mode & 0o111 == 0 { 0o444 } else { 0o555 };
        files.push(File {
            path: inside,
            mode,
            bytes,
        });
    }
    Ok(())
}

fn cargo(args: &[&str]) -> Result<String> {
    let output = Command::new("cargo")
        .args(args)
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!(
            "cargo {} failed: {}",
            args[0],
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("cargo did not write text")
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn part(text: &str) -> Result<Part, String> {
    let words: Vec<&str> = text.splitn(4, ',').collect();
    let [name, version, license, purl] = words[..] else {
        return Err("NAME,VERSION,LICENCE,PACKAGE-URL is wanted".to_owned());
    };
    let [name, version, license, purl] = [name, version, license, purl].map(str::to_owned);
    Ok(Part {
        name,
        version,
        license,
        purl,
    })
}
