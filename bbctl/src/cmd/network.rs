//! Turns a Network and the Instances in it into who has which of its addresses.

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::object::{self, Object, list, text};
use crate::out::{Format, Out};
use crate::session::{Scope, Session};
use crate::table::{ALWAYS, Table};

/// What `addresses` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl networks addresses web
  bbctl networks addresses web -o json")]
pub struct AddressesArgs {
    /// The network
    #[arg(value_name = "NETWORK")]
    pub network: String,
}

/// An address or a range that is not free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The address, or `FIRST-LAST`.
    pub address: String,
    /// `Gateway`, `Reserved`, `Pool` or `Instance`.
    pub by: &'static str,
    /// The instance that has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// The instance's card.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub card: String,
    /// Its MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
}

impl Taken {
    fn plain(address: String, by: &'static str) -> Self {
        Self {
            address,
            by,
            instance: String::new(),
            card: String::new(),
            mac: String::new(),
        }
    }

    /// Where it stands among the others: by its first address.
    fn order(&self) -> (Option<std::net::Ipv4Addr>, &str) {
        let first = self.address.split('-').next().unwrap_or_default();
        (first.trim().parse().ok(), &self.address)
    }
}

/// What of a network's addresses is not free, in the order of the addresses.
#[must_use]
pub fn taken(network: &Object, instances: &[Object]) -> Vec<Taken> {
    let mut all = Vec::new();
    let gateway = match text(network, "/status/gateway") {
        none if none.is_empty() => text(network, "/spec/ipv4/gateway"),
        gateway => gateway,
    };
    if !gateway.is_empty() {
        all.push(Taken::plain(gateway, "Gateway"));
    }
    for range in list(network, "/spec/ipv4/reserved") {
        all.push(Taken::plain(object::word(range), "Reserved"));
    }
    let from = text(network, "/spec/ipv4/dhcp/from");
    if !from.is_empty() {
        let to = text(network, "/spec/ipv4/dhcp/to");
        all.push(Taken::plain(format!("{from}-{to}"), "Pool"));
    }
    let name = object::name(network);
    for instance in instances {
        let cards = list(instance, "/status/addresses").iter();
        for card in cards.filter(|card| card["network"].as_str() == Some(name)) {
            let field = |field: &str| object::word(&card[field]);
            all.push(Taken {
                address: field("address"),
                by: "Instance",
                instance: object::name(instance).to_owned(),
                card: field("name"),
                mac: field("mac"),
            });
        }
    }
    all.sort_by(|one, other| one.order().cmp(&other.order()));
    all
}

/// Shows who has which address.
///
/// # Errors
/// When the network or the instances cannot be read.
pub async fn addresses(
    args: &AddressesArgs,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let scope = Scope::Namespace(session.namespace().to_owned());
    let (network, instances) = futures::try_join!(
        session.get(Kind::called("Network"), &args.network),
        session.list(Kind::called("Instance"), &scope, None),
    )?;
    let all = taken(&network, &instances);
    match out.format() {
        Format::Json | Format::Yaml => out.document(&json!({
            "network": args.network,
            "prefix": object::at(&network, "/spec/ipv4/prefix").unwrap_or(&Value::Null),
            "used": object::at(&network, "/status/addresses/used").unwrap_or(&Value::Null),
            "total": object::at(&network, "/status/addresses/total").unwrap_or(&Value::Null),
            "addresses": all,
        }))?,
        Format::Name => {
            for one in &all {
                out.line(&one.address)?;
            }
        }
        Format::Table | Format::Wide => {
            let heads = [("address", ALWAYS), ("by", ALWAYS), ("instance", ALWAYS)];
            let more = [("card", 40), ("mac", 30)];
            let mut table = Table::new(heads.into_iter().chain(more));
            for one in all {
                let cells = [
                    one.address.as_str(),
                    one.by,
                    &one.instance,
                    &one.card,
                    &one.mac,
                ];
                table.push(cells.map(Into::into).to_vec());
            }
            out.table(&table)?;
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_their_order_with_who_has_them() {
        let object = |value: Value| -> Object { serde_json::from_value(value).unwrap() };
        let network = object(json!({"metadata": {"name": "web"},
            "spec": {"ipv4": {"reserved": ["10.0.0.9"], "dhcp": {"from": "10.0.0.100", "to": "10.0.0.109"}}},
            "status": {"gateway": "10.0.0.1"}}));
        let card = |network, address| json!({"name": "a", "network": network, "address": address, "mac": "m"});
        let www = object(json!({"metadata": {"name": "www"}, "status": {"addresses":
            [card("web", "10.0.0.20"), card("db", "10.0.0.3")]}}));
        let all: Vec<String> = taken(&network, &[www])
            .into_iter()
            .map(|one| format!("{} {}{}", one.address, one.by, one.instance))
            .collect();
        assert_eq!(
            all,
            [
                "10.0.0.1 Gateway",
                "10.0.0.9 Reserved",
                "10.0.0.20 Instancewww",
                "10.0.0.100-10.0.0.109 Pool"
            ]
        );
    }
}
