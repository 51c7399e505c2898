//! Turns Regions and Providers into what they mean for everything else.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bb_crds::ids::Vmid;
use bb_crds::provider::{CloneMode, Image, ManagementPolicy, Proxmox};
use bb_crds::{ConditionType, Provider, Reason, Region};
use kube::ResourceExt;

use super::{Id, Problem, Resolved, TrunkKey, in_force};
use crate::world::{World, deleting};

/// A Region, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionR {
    /// The AS number.
    pub asn: u32,
    /// The VNIs to give out.
    pub vnis: (u32, u32),
    /// The VRF tables to give out.
    pub tables: (u32, u32),
    /// The MTU of the underlay, in bytes.
    pub mtu: u16,
    /// The ways from clusters to routers that hold together.
    pub attachments: Vec<AttachmentR>,
}

/// A way from a cluster to a router, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentR {
    /// The cluster's Provider.
    pub cluster: String,
    /// The cluster's zone.
    pub zone: String,
    /// Router and interface.
    pub trunk: TrunkKey,
    /// The bridge on the cluster's nodes.
    pub bridge: String,
    /// The VLANs to give out.
    pub vlans: (u32, u32),
}

/// A router, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterR {
    /// The Region that it belongs to.
    pub region: String,
    /// Where its API listens, in lower case and without the usual port.
    pub endpoint: String,
    /// BGP router ID and VTEP address.
    pub router_id: Ipv4Addr,
    /// The tenants that may use it; empty means all.
    pub tenants: Vec<String>,
}

/// A cluster, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterR {
    /// The Region that it belongs to.
    pub region: String,
    /// The zone that it stands in.
    pub zone: String,
    /// The VMIDs to give out.
    pub vmids: (u32, u32),
    /// The pool of every guest.
    pub pool: String,
    /// The guest under whose name volumes are allocated.
    pub holder: Option<Vmid>,
    /// Storages by class, in the order in which they were given.
    pub storage: Vec<(String, String)>,
    /// Images by name.
    pub images: BTreeMap<String, ImageR>,
    /// Clones at once.
    pub clones: usize,
    /// Tasks at once.
    pub tasks: usize,
    /// Nothing is written to it.
    pub observe_only: bool,
    /// It is being deleted: what is on it stays, and nothing new is put there.
    pub leaving: bool,
    /// The tenants that may use it; empty means all.
    pub tenants: Vec<String>,
    /// The VMIDs of guests that a tenant may take over.
    pub adoptable: BTreeMap<String, Vec<(u32, u32)>>,
}

/// An image, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageR {
    /// Its name.
    pub name: String,
    /// A template or an archive.
    pub kind: ImageKind,
    /// How a template is cloned.
    pub clone: CloneMode,
    /// The storage of a full copy or of a container's root.
    pub storage: Option<String>,
}

/// What an image is in Proxmox VE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// A template guest.
    Template(Vmid),
    /// A container archive by volume id.
    Archive(String),
}

impl ClusterR {
    /// Whether a tenant may take a guest over.
    #[must_use]
    pub fn may_adopt(&self, tenant: &str, vmid: Vmid) -> bool {
        let ranges = self.adoptable.get(tenant).into_iter().flatten();
        ranges
            .into_iter()
            .any(|(first, last)| (*first..=*last).contains(&vmid.get()))
    }

    /// The storage of a class; of the first class where none is named.
    #[must_use]
    pub fn storage(&self, class: Option<&str>) -> Option<&str> {
        let mut classes = self.storage.iter();
        let found = match class {
            Some(class) => classes.find(|(name, _)| name == class),
            None => classes.next(),
        };
        found.map(|(_, storage)| storage.as_str())
    }
}

pub(super) fn resolve(world: &World, resolved: &mut Resolved) {
    // As for networks: of two that cannot both be, the one in force has the right of way.
    let mut by_age: Vec<(&String, &Arc<Provider>)> = world.providers.iter().collect();
    by_age.sort_by_key(|(name, p)| {
        let conditions = p.status.as_ref().map(|s| &s.conditions);
        let created = p.creation_timestamp().map(|t| t.0);
        let in_force = in_force(p.metadata.generation, conditions);
        (!in_force, created, *name)
    });
    for (name, provider) in by_age {
        if let Err(problem) = provider_of(world, name, provider, resolved) {
            resolved
                .problems
                .insert(Id::Provider(name.clone()), problem);
        }
    }
    for (name, region) in &world.regions {
        match region_of(region, resolved) {
            Ok((region, problem)) => {
                resolved.regions.insert(name.clone(), region);
                if let Some(problem) = problem {
                    resolved.problems.insert(Id::Region(name.clone()), problem);
                }
            }
            Err(problem) => {
                resolved.problems.insert(Id::Region(name.clone()), problem);
            }
        }
    }
}

fn provider_of(
    world: &World,
    name: &str,
    provider: &Provider,
    resolved: &mut Resolved,
) -> Result<(), Problem> {
    let spec = &provider.spec;
    if !world.regions.contains_key(&spec.region) {
        return Err(Problem::not_found(format!(
            "spec.region: there is no Region `{}`; create it, or name one of: {}",
            spec.region,
            names(world.regions.keys())
        )));
    }
    if let Some(vyos) = &spec.vyos {
        let router_id = vyos.router_id.parse().map_err(|_| {
            Problem::invalid(format!(
                "spec.vyos.routerId: `{}` is not an address; write the router's loopback address",
                vyos.router_id
            ))
        })?;
        let region = spec.region.clone();
        let tenants = spec.tenants.clone();
        let endpoint = vyos.endpoint.trim_end_matches(":443").to_lowercase();
        one_router_once(resolved, &endpoint, &region, router_id)?;
        resolved.routers.insert(
            name.to_owned(),
            RouterR {
                region,
                endpoint,
                router_id,
                tenants,
            },
        );
    } else if let Some(proxmox) = &spec.proxmox {
        let (cluster, problem) = cluster_of(provider, proxmox)?;
        resolved.clusters.insert(name.to_owned(), cluster);
        if let Some(problem) = problem {
            return Err(problem);
        }
    }
    Ok(())
}

/// Refuses a second Provider for one router: each would take off what the other puts on.
fn one_router_once(
    resolved: &Resolved,
    endpoint: &str,
    region: &str,
    router_id: Ipv4Addr,
) -> Result<(), Problem> {
    let conflict = |message: String| {
        Err(Problem {
            on: ConditionType::Accepted,
            reason: Reason::Conflict,
            message,
        })
    };
    for (other, router) in &resolved.routers {
        if router.endpoint == endpoint {
            return conflict(format!(
                "spec.vyos.endpoint: Provider {other} drives {endpoint} already; a router has one Provider, so delete one of them"
            ));
        }
        if router.region == region && router.router_id == router_id {
            return conflict(format!(
                "spec.vyos.routerId: Provider {other} has {router_id} already; a router has one Provider, and each router of a Region an ID of its own"
            ));
        }
    }
    Ok(())
}

/// A cluster, and what is wrong with it: an image that cannot be is left out, and takes neither
/// the other images nor the cluster's networks with it.
fn cluster_of(
    provider: &Provider,
    proxmox: &Proxmox,
) -> Result<(ClusterR, Option<Problem>), Problem> {
    let spec = &provider.spec;
    let vmids = proxmox
        .vmids
        .bounds()
        .map_err(|error| Problem::invalid(format!("spec.proxmox.vmids: {error}")))?;
    let storage: Vec<(String, String)> = proxmox
        .storage
        .iter()
        .map(|s| (s.name.clone(), s.storage.clone()))
        .collect();
    let mut images = BTreeMap::new();
    let mut problem = None;
    for image in &proxmox.images {
        match image_of(image, &storage) {
            Ok(Some(image)) => drop(images.insert(image.name.clone(), image)),
            Ok(None) => {}
            Err(found) => problem = problem.or(Some(found)),
        }
    }
    let cluster = ClusterR {
        region: spec.region.clone(),
        zone: spec.zone.clone(),
        vmids,
        pool: proxmox.pool.clone(),
        holder: proxmox
            .holder
            .map(|vmid| vmid_of("holder", vmid))
            .transpose()?,
        storage,
        images,
        clones: usize::try_from(proxmox.limits.clones).unwrap_or(1),
        tasks: usize::try_from(proxmox.limits.tasks).unwrap_or(1),
        observe_only: spec.management_policy == ManagementPolicy::Observe,
        leaving: deleting(provider),
        tenants: spec.tenants.clone(),
        adoptable: proxmox
            .adoptable
            .iter()
            .map(|grant| (grant.tenant.clone(), ranges(&grant.vmids)))
            .collect(),
    };
    Ok((cluster, problem))
}

/// Numbers and ranges of numbers; what is neither lets nobody take anything over.
fn ranges(texts: &[String]) -> Vec<(u32, u32)> {
    let range = |text: &String| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    texts.iter().filter_map(range).collect()
}

/// An image; `None` where it says neither what to clone nor what to unpack.
fn image_of(image: &Image, storage: &[(String, String)]) -> Result<Option<ImageR>, Problem> {
    let named = image.class.as_ref().map(|class| {
        storage
            .iter()
            .find(|(name, _)| name == class)
            .map(|(_, s)| s.clone())
            .ok_or_else(|| {
                Problem::invalid(format!(
                    "spec.proxmox.images[{}].class: no storage is called `{class}`; it has: {}",
                    image.name,
                    names(storage.iter().map(|(name, _)| name))
                ))
            })
    });
    let kind = match (&image.template, &image.archive) {
        (Some(vmid), _) => {
            let field = format!("images[{}].template", image.name);
            ImageKind::Template(vmid_of(&field, *vmid)?)
        }
        (None, Some(archive)) => ImageKind::Archive(archive.clone()),
        (None, None) => return Ok(None),
    };
    Ok(Some(ImageR {
        name: image.name.clone(),
        kind,
        clone: image.clone,
        storage: named.transpose()?,
    }))
}

fn vmid_of(field: &str, raw: i32) -> Result<Vmid, Problem> {
    u32::try_from(raw)
        .ok()
        .and_then(|raw| Vmid::try_from(raw).ok())
        .ok_or_else(|| {
            Problem::invalid(format!(
                "spec.proxmox.{field}: {raw} is not a VMID; write one from {} to {}",
                Vmid::MIN,
                Vmid::MAX
            ))
        })
}

fn region_of(region: &Region, resolved: &Resolved) -> Result<(RegionR, Option<Problem>), Problem> {
    let spec = &region.spec;
    let bounds = |field: &str, range: &bb_crds::NumberRange| {
        range
            .bounds()
            .map_err(|error| Problem::invalid(format!("spec.{field}: {error}")))
    };
    let mut understood = RegionR {
        asn: u32::try_from(spec.asn)
            .map_err(|_| Problem::invalid(format!("spec.asn: {} is no AS number", spec.asn)))?,
        vnis: bounds("vnis", &spec.vnis)?,
        tables: bounds("tables", &spec.tables)?,
        mtu: u16::try_from(spec.mtu).unwrap_or(1500),
        attachments: Vec::new(),
    };
    let name = region.metadata.name.as_deref().unwrap_or_default();
    let mut problem = None;
    for attachment in &spec.attachments {
        match attachment_of(name, attachment, &understood, resolved) {
            Ok(attachment) => understood.attachments.push(attachment),
            Err(found) => problem = problem.or(Some(found)),
        }
    }
    Ok((understood, problem))
}

fn attachment_of(
    region: &str,
    attachment: &bb_crds::region::Attachment,
    before: &RegionR,
    resolved: &Resolved,
) -> Result<AttachmentR, Problem> {
    let field = format!("spec.attachments[{}]", attachment.name);
    let Some(vlan) = &attachment.vlan else {
        return Err(Problem::invalid(format!("{field}: give `vlan`")));
    };
    let cluster = resolved
        .clusters
        .get(&attachment.cluster)
        .filter(|c| c.region == region)
        .ok_or_else(|| {
            Problem::not_found(format!(
                "{field}.cluster: this Region has no Proxmox Provider `{}`; it has: {}",
                attachment.cluster,
                names(
                    resolved
                        .clusters
                        .iter()
                        .filter(|c| c.1.region == region)
                        .map(|c| c.0)
                )
            ))
        })?;
    if resolved
        .routers
        .get(&vlan.router)
        .is_none_or(|r| r.region != region)
    {
        return Err(Problem::not_found(format!(
            "{field}.vlan.router: this Region has no VyOS Provider `{}`; it has: {}",
            vlan.router,
            names(
                resolved
                    .routers
                    .iter()
                    .filter(|r| r.1.region == region)
                    .map(|r| r.0)
            )
        )));
    }
    let looped = before.attachments.iter().find(|other| {
        other.cluster == attachment.cluster
            && other.bridge == vlan.bridge
            && (other.trunk.router != vlan.router || other.trunk.interface != vlan.interface)
    });
    if let Some(other) = looped {
        return Err(Problem::invalid(format!(
            "{field}.vlan: {} on {} already hangs on router {} {}; two ends of one trunk make a loop and mix VLANs, so give the second a trunk of its own",
            vlan.bridge, attachment.cluster, other.trunk.router, other.trunk.interface
        )));
    }
    Ok(AttachmentR {
        cluster: attachment.cluster.clone(),
        zone: cluster.zone.clone(),
        trunk: TrunkKey {
            router: vlan.router.clone(),
            interface: vlan.interface.clone(),
        },
        bridge: vlan.bridge.clone(),
        vlans: vlan
            .vlans
            .bounds()
            .map_err(|error| Problem::invalid(format!("{field}.vlan.vlans: {error}")))?,
    })
}

/// Names for a message, or a word that there are none.
pub(super) fn names<'a>(all: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<&str> = all.map(String::as_str).collect();
    if all.is_empty() {
        "(none)".to_owned()
    } else {
        all.join(", ")
    }
}
