//! Turns "a save is owed" into the status of a router's Provider, where the next controller finds it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bb_core::resolve::Id;
use bb_vyos::{Ledger, Router};
use serde_json::json;

use crate::api::{self, Place};
use crate::shared::Shared;
use crate::stores::Readers;

/// The record of one router.
struct Record {
    client: kube::Client,
    stores: Readers,
    id: Id,
}

/// A client that has its debts recorded in the Provider of that name.
pub(crate) fn keeping(shared: &Shared, name: &str, router: Router) -> Router {
    let recorded = shared.stores.provider(name);
    let owed = recorded.is_some_and(|p| p.status.as_ref().is_some_and(|s| s.unsaved));
    let record = Record {
        client: shared.clients.request.clone(),
        stores: shared.stores.clone(),
        id: Id::Provider(name.to_owned()),
    };
    router.keeping(Arc::new(record), owed)
}

impl Ledger for Record {
    fn record(&self, owed: bool) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        // Absent means no: a settled Provider shows nothing of it.
        let status = json!({ "unsaved": owed.then_some(true) });
        Box::pin(async move {
            let place = Place::of(&self.id);
            match api::merge_status(&self.client, &place, &status).await {
                Ok(object) => {
                    self.stores.wrote(&self.id, &object);
                    Ok(())
                }
                // Nobody will ask whether a router is saved that is no longer ours.
                Err(error) if error.not_found() => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}
