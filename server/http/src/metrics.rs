//! Counters for `/metrics`: of this face, kept as requests pass, and of the engine, read when asked.
//!
//! `prometheus-client` rather than a recorder behind the `metrics` macros: a registry is a value, so two servers in one
//! process (every test) do not share counters, labels are types, and what the engine counts is read, not mirrored.

use std::fmt;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use neptune_engine::{Engine, Stats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Media type of the exposition.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, Buckets>,
    /// Connections open now.
    pub(crate) connections: Gauge,
    sockets: Family<SocketLabels, Gauge>,
    /// Bytes of frames taken from WebSockets.
    pub(crate) frame_bytes: Counter,
    /// Messages refused on WebSockets.
    pub(crate) refused_messages: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SocketLabels {
    kind: &'static str,
}

#[derive(Debug, Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        // 100 us to 10 s: the targets for queries are 0.3 to 15 ms.
        Histogram::new([0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])
    }
}

impl Metrics {
    pub(crate) fn new(engine: Engine, version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("neptune");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let durations = Family::<RouteLabels, Histogram, Buckets>::new_with_constructor(Buckets);
        registry.register_with_unit(
            "http_request_duration",
            "From a request's head to the end of its answer",
            Unit::Seconds,
            durations.clone(),
        );
        let connections = Gauge::default();
        registry.register("http_connections", "Connections open now", connections.clone());
        let sockets = Family::<SocketLabels, Gauge>::default();
        registry.register("websockets", "WebSockets open now", sockets.clone());
        let frame_bytes = Counter::default();
        registry.register(
            "websocket_frame_bytes",
            "Bytes of frames taken from WebSockets",
            frame_bytes.clone(),
        );
        let refused_messages = Counter::default();
        registry.register(
            "websocket_refused_messages",
            "WebSocket messages answered with a problem",
            refused_messages.clone(),
        );
        registry.register("build", "The server's version", Info::new([("version", version)]));
        registry.register_collector(Box::new(EngineStats(engine)));
        Self { registry, requests, durations, connections, sockets, frame_bytes, refused_messages }
    }

    pub(crate) fn record_request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let route = route.to_owned();
        let labels =
            RequestLabels { method: method_label(method), route: route.clone(), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64());
    }

    /// Counts a WebSocket as open until the guard is dropped.
    pub(crate) fn open_socket(&self, kind: &'static str) -> OpenGuard {
        OpenGuard::new(self.sockets.get_or_create(&SocketLabels { kind }).clone())
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn exposition(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A label for the methods there are; anything a stranger invents is one label.
fn method_label(method: &Method) -> &'static str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let names = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    known.iter().position(|known| known == method).map_or("other", |index| names[index])
}

/// Raises a gauge by one for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard(Gauge);

impl OpenGuard {
    pub(crate) fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug)]
struct EngineStats(Engine);

impl Collector for EngineStats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Stats {
            jobs,
            live_jobs,
            channels,
            points,
            frames,
            commits,
            dropped_points,
            refused_frames,
            open_points,
            jobs_without_metrics,
            unsealed_bytes,
            subscriptions,
            deleted_jobs,
            removed_jobs,
            removed_blobs,
            freed_bytes,
            projects_passed_over,
            read_only,
            failed,
        } = self.0.stats();
        let gauges = [
            ("jobs", "Jobs in the store", jobs),
            ("live_jobs", "Jobs whose attempt is live", live_jobs),
            ("channels", "Channels held in memory", channels),
            ("open_points", "Points held in memory, as they are not sealed yet", open_points),
            (
                "jobs_without_metrics",
                "Jobs whose metrics lists of jobs lack, as they are not read yet or cannot be",
                jobs_without_metrics,
            ),
            ("unsealed_bytes", "Bytes of frames that are not sealed yet", unsealed_bytes),
            ("subscriptions", "Live subscriptions now", subscriptions),
            ("deleted_jobs", "Jobs that are deleted and can be restored", deleted_jobs),
            (
                "projects_passed_over",
                "Projects that keep all their files, as the collector cannot read what they need",
                projects_passed_over,
            ),
            ("read_only", "1 while the disk is full and nothing is written", read_only.into()),
            ("failed", "1 once nothing is written until the next start, after a fault", failed.into()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            ("points", "Points stored since start", points),
            ("frames", "Frames stored since start", frames),
            ("commits", "Commits (syncs) since start", commits),
            ("dropped_points", "Points dropped since start, by anyone", dropped_points),
            ("refused_frames", "Frames refused since start", refused_frames),
            ("removed_jobs", "Jobs removed for good since start", removed_jobs),
            ("removed_blobs", "Files of blobs removed since start, as no job names them", removed_blobs),
            ("freed_bytes", "Bytes of those files", freed_bytes),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
