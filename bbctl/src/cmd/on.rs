//! Turns a verb of one noun alone into the connection that it needs and what it does.

use super::create::{self, Draft};
use super::instance::{self, Power};
use super::noun::{Instances, Networks, Regions, Tenants, Volumes};
use super::{Timeout, connect, connect_for, network, of_kind, rebuild, remote, tenant, volume};
use crate::change::DryRun;
use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::out::Out;

/// Makes an object of what flags say. What is only to be shown asks no server.
async fn make<D: Draft>(draft: &D, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    let flags = draft.flags();
    if flags.writing.dry_run == Some(DryRun::Client) {
        return create::show(draft, globals.asked(), out).await;
    }
    let session = connect_for(Timeout::of(flags.wait), globals, out).await?;
    create::run(draft, globals.timeout, &session, out).await
}

/// Carries out a verb on tenants.
pub(super) async fn tenants(
    verb: Tenants,
    globals: &Globals,
    out: &mut Out,
) -> Result<Exit, Failure> {
    match verb {
        Tenants::Common(verb) => of_kind(verb, "Tenant", globals, out).await,
        Tenants::Create(draft) => make(&draft, globals, out).await,
        Tenants::Members(args) => tenant::members(&args, &connect(globals, out).await?, out).await,
        Tenants::AddMember(args) => tenant::add(&args, &connect(globals, out).await?, out).await,
        Tenants::RemoveMember(args) => {
            tenant::remove(&args, &connect(globals, out).await?, out).await
        }
        Tenants::Use(args) => {
            let session = connect(globals, out).await?;
            tenant::use_it(&args, globals, &session, out).await
        }
    }
}

/// Carries out a verb on networks.
pub(super) async fn networks(
    verb: Networks,
    globals: &Globals,
    out: &mut Out,
) -> Result<Exit, Failure> {
    match verb {
        Networks::Common(verb) => of_kind(verb, "Network", globals, out).await,
        Networks::Create(draft) => make(&draft, globals, out).await,
        Networks::Addresses(args) => {
            network::addresses(&args, &connect(globals, out).await?, out).await
        }
    }
}

/// Carries out a verb on instances.
pub(super) async fn instances(
    verb: Instances,
    globals: &Globals,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let timeout = globals.timeout;
    match verb {
        Instances::Common(verb) => of_kind(verb, "Instance", globals, out).await,
        Instances::Create(draft) => make(&draft, globals, out).await,
        Instances::Start(args) => {
            let session = connect_for(Timeout::of(args.wait), globals, out).await?;
            instance::switch(&args, Power::Running, timeout, &session, out).await
        }
        Instances::Stop(args) => {
            let session = connect_for(Timeout::of(args.wait), globals, out).await?;
            instance::switch(&args, Power::Stopped, timeout, &session, out).await
        }
        Instances::Restart(args) => {
            // It waits in any case: first for the stop.
            let session = connect_for(Timeout::State, globals, out).await?;
            instance::restart(&args, timeout, &session, out).await
        }
        Instances::Rebuild(args) => {
            // It waits in any case: first until the old one is gone.
            let session = connect_for(Timeout::State, globals, out).await?;
            rebuild::run(&args, timeout, &session, out).await
        }
        Instances::Ssh(args) => remote::ssh(&args, &connect(globals, out).await?, out).await,
        Instances::Exec(args) => remote::exec(&args, &connect(globals, out).await?, out).await,
        Instances::Console(args) => {
            remote::console(&args, &connect(globals, out).await?, out).await
        }
        Instances::Resize(args) => {
            let session = connect_for(Timeout::of(args.wait), globals, out).await?;
            instance::resize(&args, timeout, &session, out).await
        }
    }
}

/// Carries out a verb on volumes.
pub(super) async fn volumes(
    verb: Volumes,
    globals: &Globals,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let timeout = globals.timeout;
    match verb {
        Volumes::Common(verb) => of_kind(verb, "Volume", globals, out).await,
        Volumes::Create(draft) => make(&draft, globals, out).await,
        Volumes::Attach(args) => {
            let session = connect_for(Timeout::of(args.wait), globals, out).await?;
            volume::attach(&args, timeout, &session, out).await
        }
        Volumes::Detach(args) => {
            let session = connect_for(Timeout::of(args.wait), globals, out).await?;
            volume::detach(&args, timeout, &session, out).await
        }
        Volumes::Resize(args) => {
            let session = connect_for(Timeout::of(args.wait), globals, out).await?;
            volume::resize(&args, timeout, &session, out).await
        }
    }
}

/// Carries out a verb on Regions.
pub(super) async fn regions(
    verb: Regions,
    globals: &Globals,
    out: &mut Out,
) -> Result<Exit, Failure> {
    match verb {
        Regions::Common(verb) => of_kind(verb, "Region", globals, out).await,
        Regions::Create(draft) => make(&draft, globals, out).await,
    }
}
