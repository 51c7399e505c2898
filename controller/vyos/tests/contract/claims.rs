//! Turns numbers into what tenants and networks ask of a router, as the controller renders it.

use std::time::Duration;

use bb_core::outcome::ClaimState;
use bb_core::vyos::lines::words;
use bb_core::vyos::plan::mark;
use bb_core::vyos::refusals::Pauses;
use bb_core::vyos::{Claim, Desired, Lines, Root, Want};
use bb_vyos::{Driver, Moment, Next, Pass, Router, RouterError};

pub(crate) const HERE: &str = "inst";

/// The first refusal waits ten seconds of the test's own time.
pub(crate) const PAUSES: Pauses = Pauses {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(160),
};

fn claim(owner: String, tenant: usize, nodes: &[(String, Vec<String>)]) -> Claim {
    let mut lines = Lines::default();
    let mut roots = Vec::new();
    for (root, below) in nodes {
        let root = words(root);
        let mut description = root.clone();
        description.extend(["description".to_owned(), mark(HERE, &owner, &owner)]);
        lines.insert(description);
        for line in below {
            let mut whole = root.clone();
            whole.extend(words(line));
            lines.insert(whole);
        }
        roots.push(Root(root));
    }
    Claim {
        label: owner.clone(),
        owner,
        tenant: format!("t{tenant}"),
        want: Want::Present { roots, lines },
        observe: false,
    }
}

/// Where tunnels begin.
pub(crate) const SOURCE: &str = "source-address 10.255.0.1";

fn vxlan(vni: usize, more: &[&str]) -> (String, Vec<String>) {
    let mut below = vec![format!("vni {vni}"), "parameters nolearning".to_owned()];
    below.extend(more.iter().map(|line| (*line).to_owned()));
    (format!("interfaces vxlan vxlan{vni}"), below)
}

/// A tenant: a VRF with BGP, and the bridge and VXLAN interface of its L3VNI.
pub(crate) fn tenant(t: usize) -> Claim {
    let (vni, bgp) = (9000 + t, "protocols bgp address-family l2vpn-evpn");
    let vrf = vec![
        format!("table {}", 1000 + t),
        format!("vni {vni}"),
        "protocols bgp system-as 65000".to_owned(),
        "protocols bgp parameters router-id 10.255.0.1".to_owned(),
        "protocols bgp address-family ipv4-unicast redistribute connected".to_owned(),
        format!("{bgp} advertise ipv4 unicast"),
        format!("{bgp} rd 10.255.0.1:{}", 1000 + t),
        format!("{bgp} route-target import 65000:{vni}"),
        format!("{bgp} route-target export 65000:{vni}"),
    ];
    let bridge = vec![
        format!("member interface vxlan{vni}"),
        format!("vrf bb{}", 1000 + t),
    ];
    let nodes = [
        (format!("vrf name bb{}", 1000 + t), vrf),
        vxlan(vni, &[SOURCE]),
        (format!("interfaces bridge br{vni}"), bridge),
    ];
    claim(format!("t{t:04}"), t, &nodes)
}

/// The UID of a network.
pub(crate) fn uid(n: usize) -> String {
    format!("n{n:04}")
}

/// A network on one trunk: a VLAN with the gateway's address.
pub(crate) fn plain(n: usize, tenant: usize) -> Claim {
    let below = vec![address(n), format!("vrf bb{}", 1000 + tenant)];
    let root = format!("interfaces ethernet eth2 vif {}", 100 + n);
    claim(uid(n), tenant, &[(root, below)])
}

/// A network that is stretched to other routers: VLAN, bridge and VXLAN interface.
pub(crate) fn stretched(n: usize, tenant: usize) -> Claim {
    stretched_with(n, tenant, &[SOURCE, "parameters neighbor-suppress"])
}

/// A stretched network with a pool that the router serves.
pub(crate) fn with_dhcp(n: usize, tenant: usize) -> Claim {
    let mut claim = stretched(n, tenant);
    let (a, b) = (n / 256, n % 256);
    let subnet = format!("subnet 10.{a}.{b}.0/24");
    let lines = [
        "authoritative".to_owned(),
        format!("{subnet} subnet-id {}", 20_000 + n),
        format!("{subnet} lease 3600"),
        format!("{subnet} option default-router 10.{a}.{b}.1"),
        format!("{subnet} range pool start 10.{a}.{b}.200"),
        format!("{subnet} range pool stop 10.{a}.{b}.220"),
    ];
    let root = format!("service dhcp-server shared-network-name bb{}", 20_000 + n);
    let pool = self::claim(uid(n), tenant, &[(root, lines.to_vec())]);
    if let (
        Want::Present { roots, lines },
        Want::Present {
            roots: more,
            lines: below,
        },
    ) = (&mut claim.want, pool.want)
    {
        roots.extend(more);
        lines.extend(&below);
    }
    claim
}

/// The same with other lines below its VXLAN interface.
pub(crate) fn stretched_with(n: usize, tenant: usize, more: &[&str]) -> Claim {
    let (vni, vlan) = (20_000 + n, 100 + n);
    let bridge = vec![
        address(n),
        format!("mac 02:bb:00:00:{:02x}:{:02x}", n / 256, n % 256),
        format!("vrf bb{}", 1000 + tenant),
        "ip enable-arp-accept".to_owned(),
        format!("member interface eth2.{vlan}"),
        format!("member interface vxlan{vni}"),
    ];
    let nodes = [
        (format!("interfaces ethernet eth2 vif {vlan}"), Vec::new()),
        vxlan(vni, more),
        (format!("interfaces bridge br{vni}"), bridge),
    ];
    claim(uid(n), tenant, &nodes)
}

fn address(n: usize) -> String {
    format!("address 10.{}.{}.1/24", n / 256, n % 256)
}

pub(crate) fn absent(claim: &Claim) -> Claim {
    Claim {
        want: Want::Absent,
        ..claim.clone()
    }
}

pub(crate) fn desired(claims: impl IntoIterator<Item = Claim>) -> Desired {
    Desired {
        installation: HERE.to_owned(),
        claims: claims.into_iter().collect(),
        ..Desired::default()
    }
}

/// Tenants, and networks that they have in turn.
pub(crate) fn fabric(
    tenants: usize,
    networks: std::ops::Range<usize>,
    of: impl Fn(usize, usize) -> Claim,
) -> Vec<Claim> {
    let networks = networks.map(|n| of(n, n % tenants));
    (0..tenants).map(tenant).chain(networks).collect()
}

/// A driver, its router and a clock that only tests move.
pub(crate) struct Bench {
    pub(crate) driver: Driver,
    pub(crate) router: Router,
    pub(crate) now: Duration,
}

impl Bench {
    pub(crate) fn new(router: Router) -> Self {
        Self {
            driver: Driver::new(PAUSES),
            router,
            now: Duration::ZERO,
        }
    }

    pub(crate) async fn pass(&mut self, desired: &Desired) -> Result<Pass, RouterError> {
        let at = Moment {
            now: self.now,
            random: 0.0,
        };
        self.driver.pass(&self.router, desired, true, at).await
    }

    /// Passes until there is nothing more to send, and what is known then.
    pub(crate) async fn settle(&mut self, desired: &Desired) -> Pass {
        for _ in 0..100 {
            let pass = self.pass(desired).await.unwrap();
            assert_eq!(pass.ended, Ok(()));
            if pass.next != Next::Now {
                return pass;
            }
        }
        panic!("a hundred passes were not enough");
    }
}

/// Objects that are not as asked, and what is said of them.
pub(crate) fn open(pass: &Pass) -> Vec<(String, ClaimState)> {
    let claims = pass.outcome.claims.iter();
    let open = claims
        .filter(|(_, (_, state))| !matches!(state, ClaimState::Programmed | ClaimState::Absent));
    open.map(|(owner, (_, state))| (owner.clone(), state.clone()))
        .collect()
}
