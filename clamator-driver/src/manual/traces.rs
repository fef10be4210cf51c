//! Traces: how the spans of a caller and of its handler become one trace.
//!
//! Not the making of spans, nor a dependency on a library that makes them: the text is taken from the
//! one that the program uses, and given to it.
//!
//! A request carries a [W3C `traceparent`](https://www.w3.org/TR/trace-context/#traceparent-header)
//! from its caller to its handler: see [`Call::traceparent`](crate::Call::traceparent) and
//! [`Context::traceparent`](crate::Context::traceparent). Peers in Python and TypeScript ignore it and
//! send none. There is no feature to be switched on, since a request that carries none costs nothing,
//! and one that does 66 bytes.
//!
//! ```
//! # use clamator_tokio::{Client, Context, MemoryBus, Server, Service};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let target = MemoryBus::new();
//! # let client = Client::connect("app", &target).await?;
//! let stock = Service::new("stock").request("reserve", async |(): (), context: Context| {
//!     Ok(context.traceparent().map(str::to_owned))
//! });
//! // What a handler calls within its context belongs to the trace of its own request.
//! let inner = client.clone();
//! let shop = Service::new("shop").request("buy", move |(): (), context: Context| {
//!     let reserve = inner.call("stock.reserve", ()).within(&context);
//!     async move { Ok::<Option<String>, _>(reserve.await?) }
//! });
//! # let server = Server::builder("app").service(stock).service(shop).start(&target).await?;
//!
//! let span = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
//! let seen: Option<String> = client.call("shop.buy", ()).traceparent(span).await?;
//! assert_eq!(seen.as_deref(), Some(span));
//! # drop(server);
//! # Ok(())
//! # }
//! ```
//!
//! With [`tracing-opentelemetry`](https://docs.rs/tracing-opentelemetry), for example, the text of
//! the current span is what a propagator injects, and a handler's span has as its parent what it
//! extracts:
//!
//! ```text
//! let mut carrier = HashMap::new();
//! let propagator = TraceContextPropagator::new();
//! propagator.inject_context(&Span::current().context(), &mut carrier);
//! let call = client.call("shop.buy", order);
//! let call = call.traceparent(carrier.get("traceparent").map(String::as_str));
//!
//! let text = context.traceparent().unwrap_or_default().to_owned();
//! let carrier = HashMap::from([("traceparent".to_owned(), text)]);
//! let span = info_span!("shop.buy");
//! span.set_parent(TraceContextPropagator::new().extract(&carrier));
//! handle(order).instrument(span).await
//! ```
