//! The pass over a router: wait until what arrives is there, then let the driver do its work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bb_core::drift::{follow, recorded_on};
use bb_core::outcome::Contact;
use bb_core::outside::InUse;
use bb_core::rehearse::RouterLook;
use bb_core::vyos::arrivals::Arrivals;
use bb_core::vyos::plan::missing_underlay;
use bb_core::vyos::refusals::Pauses;
use bb_core::vyos::{Desired, Lines};
use bb_crds::Provider;
use bb_crds::provider::{ManagementPolicy, Vyos};
use bb_vyos::{Driver, Moment, Next, Request, Router, RouterError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::debts;
use crate::looks::Seen;
use crate::measures::Over;
use crate::metrics::Kind;
use crate::pass::{After, PassFailed, rate, settled};
use crate::secrets;
use crate::shared::Shared;

/// What was refused waits so many times as long as after a failure.
const ASIDE: u32 = 15;
/// And no longer than this, however often it was refused.
const LONGEST_ASIDE: Duration = Duration::from_secs(1800);

/// What is kept of a router between passes.
pub(crate) struct RouterSession {
    connected: Option<(Vyos, Router)>,
    /// The spec that the driver knows the router by.
    known_by: Option<Vyos>,
    driver: Option<Driver>,
    arrivals: Arrivals,
    /// What was asked when the last pass began.
    asked: Option<Arc<Desired>>,
    began: Instant,
    /// Requests that were counted of those that the client sent.
    counted: u64,
}

impl Default for RouterSession {
    fn default() -> Self {
        Self {
            connected: None,
            known_by: None,
            driver: None,
            arrivals: Arrivals::default(),
            asked: None,
            began: Instant::now(),
            counted: 0,
        }
    }
}

/// One pass. Says when the next is due.
pub(crate) async fn pass(
    shared: &Shared,
    name: &str,
    provider: &Provider,
    spec: &Vyos,
    session: &mut RouterSession,
) -> Result<After, PassFailed> {
    let Some(desired) = shared.asked_of_router(name) else {
        return Ok(After::Settled(settled(shared)));
    };
    if let Some(wait) = session.arriving(&desired) {
        return Ok(After::Soon(wait));
    }
    let router = match session.connect(shared, name, spec).await {
        Ok(router) => router,
        Err(contact) => return Err(no_contact(shared, name, contact)),
    };
    let limits = spec.limits;
    router.pace(rate(limits.requests_per_second, limits.request_burst));
    let at = Moment {
        now: session.began.elapsed(),
        random: rand::random(),
    };
    let may_write = provider.spec.management_policy == ManagementPolicy::Manage;
    let asked = shared.looks.take(name);
    let driver = session.driver(shared, spec);
    let passed = match driver.pass(&router, &desired, may_write, at).await {
        Ok(passed) => passed,
        Err(error) => {
            session.connected = None;
            return Err(no_contact(shared, name, contact_of(&error)));
        }
    };
    shared.breakers.closed(name);
    let mut outcome = passed.outcome;
    outcome.underlay = underlay(shared, provider, &passed.running);
    outcome.in_use = InUse::of(&passed.running);
    let differs = passed.differs;
    let recorded = if differs.is_empty() {
        BTreeMap::new()
    } else {
        recorded_on(&shared.stores.world(), name)
    };
    shared.found(|outcomes| {
        let before = outcomes.routers.remove(name).unwrap_or_default();
        let found = before.drifted(&desired, differs, &recorded);
        let settled = outcome.settled();
        let (drift, news) = follow(&before.drift, found, &settled, &Time(Timestamp::now()));
        outcome.drift = drift;
        outcome.forget_strangers();
        for claim in desired.claims.iter().filter(|c| news.contains(&c.owner)) {
            let tenant = claim.label.starts_with("tenant ");
            let kind = if tenant { Kind::Tenant } else { Kind::Network };
            shared.metrics.drifted(name, kind);
        }
        shared.metrics.orphans(name, outcome.orphans.len());
        outcomes.routers.insert(name.to_owned(), outcome.into());
    });
    // Once what was found is on the board.
    if !asked.is_empty()
        && let Some((running, refusals)) = driver.seen()
    {
        let look = RouterLook {
            read: Time(Timestamp::now()),
            running: Arc::new(running.clone()),
            refusals: refusals.clone(),
            at: at.now,
        };
        for tell in asked {
            // Who does not wait any more needs no answer.
            let _ = tell.send(Seen::Router(Box::new(look.clone())));
        }
    }
    if let Err(error) = passed.ended {
        tracing::warn!(
            router = name,
            error = &error as &dyn std::error::Error,
            "the pass ended early"
        );
        return Err(PassFailed::not_taken(name));
    }
    Ok(match passed.next {
        Next::Now => After::Soon(Duration::ZERO),
        Next::In(wait) => After::Soon(settled(shared).min(wait + Duration::from_millis(10))),
        Next::Settled => After::Settled(settled(shared)),
    })
}

fn no_contact(shared: &Shared, name: &str, contact: Contact) -> PassFailed {
    PassFailed::no_contact(shared, name, contact, |outcomes, contact, left_alone| {
        outcomes.router_lost(name, contact, left_alone);
    })
}

fn contact_of(error: &RouterError) -> Contact {
    match error {
        RouterError::Unauthorized
        | RouterError::Untrusted { .. }
        | RouterError::Endpoint { .. } => Contact::Unauthorized(error.to_string()),
        _ => Contact::Unreachable(error.to_string()),
    }
}

impl RouterSession {
    /// The requests since the last time that this was asked.
    pub(crate) fn requests(&mut self) -> u64 {
        let sent = self
            .connected
            .as_ref()
            .map_or(0, |(_, r)| r.requests().all());
        // A client that was made anew counts from zero.
        let fresh = sent.checked_sub(self.counted).unwrap_or(sent);
        self.counted = sent;
        fresh
    }

    /// Has the next pass read the credentials anew.
    pub(crate) fn forget(&mut self) {
        self.connected = None;
    }

    /// How long to wait for what else is asked in the same breath. Without anything new, not
    /// at all: a pass by the timer has nothing to wait for.
    fn arriving(&mut self, desired: &Arc<Desired>) -> Option<Duration> {
        let now = self.began.elapsed();
        if self.asked.as_ref() != Some(desired) {
            self.asked = Some(Arc::clone(desired));
            self.arrivals.came(now);
        }
        if !self.arrivals.is_empty() {
            let expected = self.driver.as_ref().map_or(0.0, |d| d.expected(desired));
            let wait = self
                .arrivals
                .wait(now, !desired.coming.is_empty(), expected);
            if wait.is_some() {
                return wait;
            }
        }
        self.arrivals.seen();
        None
    }

    fn driver(&mut self, shared: &Shared, spec: &Vyos) -> &mut Driver {
        let known = self.known_by.as_ref() == Some(spec);
        self.known_by = Some(spec.clone());
        let first = Duration::from_millis(shared.args.backoff) * ASIDE;
        let driver = self.driver.get_or_insert_with(|| {
            Driver::new(Pauses {
                first,
                longest: LONGEST_ASIDE.max(first),
            })
        });
        if !known {
            driver.reconnected();
        }
        driver
    }

    async fn connect(
        &mut self,
        shared: &Shared,
        name: &str,
        spec: &Vyos,
    ) -> Result<Router, Contact> {
        if let Some((made_of, router)) = &self.connected
            && made_of == spec
        {
            return Ok(router.clone());
        }
        let endpoint = secrets::router(shared, name, spec)
            .await
            .map_err(|error| Contact::Unauthorized(error.to_string()))?;
        let router = Router::under(endpoint, shared.clients.mandate.clone())
            .map_err(|error| contact_of(&error))?;
        let (metrics, named) = (Arc::clone(&shared.metrics), name.to_owned());
        let router = router.observed(Arc::new(move |request: &Request| {
            metrics.measures.requested(&named, Over::router, request);
        }));
        let router = debts::keeping(shared, name, router);
        self.connected = Some((spec.clone(), router.clone()));
        Ok(router)
    }
}

/// Says what a router lacks to carry tenants to other routers, where its Region has several.
fn underlay(shared: &Shared, provider: &Provider, running: &Lines) -> Option<String> {
    let world = shared.stores.world();
    let region = &provider.spec.region;
    let routers = world.providers.values();
    let several = routers
        .filter(|p| p.spec.region == *region && p.spec.vyos.is_some())
        .count()
        > 1;
    let asn = world.regions.get(region)?.spec.asn;
    missing_underlay(running, asn).filter(|_| several)
}
