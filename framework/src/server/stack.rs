//! What a request passes on its way to a handler, in that order.

use micro_registry::ServiceName;
use tower::ServiceBuilder;

use super::{
    Settings,
    layers::{
        admit::{Admit, AdmitLayer},
        call::{Call, CallLayer},
        catch_panic::{CatchPanic, CatchPanicLayer},
        go_micro::{GoMicro, GoMicroLayer},
        handlers::Handlers,
        measure::{Measure, MeasureLayer},
        messages::{Messages, MessagesLayer},
        probe::{Probe, ProbeLayer},
        refuse::{Refuse, RefuseLayer},
        route::{Route, RouteLayer},
    },
    route::Routes,
};

/// All layers around the handlers.
pub(super) type Stack = Probe<Route<Measure<Refuse<GoMicro<Admit<CatchPanic<Call<Messages<Handlers>>>>>>>>>;

/// Puts the layers around the handlers.
pub(super) fn stack(
    name: ServiceName,
    settings: &Settings,
    probe: ProbeLayer,
    routes: Routes,
    handlers: Handlers,
) -> Stack {
    ServiceBuilder::new()
        // Outermost: a probe is no call, and nothing that is wrong with calls may change its answer. What else is not gRPC
        // leaves here for the web service, as nothing further in is made for it.
        .layer(probe)
        // All layers further in know the method, and see its full name. From here a request can be answered before it is
        // read: what is late of it is let in.
        .layer(RouteLayer::new(routes))
        // Whatever is answered from here on was a call, and is seen with its code and its time.
        .layer(MeasureLayer)
        // Before all that costs something or counts: the call is not for this service, its caller goes elsewhere.
        // From here it also sees every answer, so nothing further in can claim to have refused.
        .layer(RefuseLayer::new(name.clone()))
        // Around everything else that answers, so that every error reads as its caller expects; and before the deadline
        // is read, of which there may be two.
        .layer(GoMicroLayer::new(name))
        // Before any code of the user's runs: what is too much costs no more than this.
        .layer(AdmitLayer)
        // Around all that runs code of the user's: what it catches is an answer to everybody outside.
        .layer(CatchPanicLayer)
        // The caller's deadline counts all waiting further in. The user's layers and handlers run in its context.
        .layer(CallLayer::new(settings.propagation.clone()))
        // Before the user's layers: a message that is too large is kept by nobody.
        .layer(MessagesLayer::new(settings.message_size_lowered()))
        // The user's own layers, if any, then the routes.
        .service(handlers)
}
