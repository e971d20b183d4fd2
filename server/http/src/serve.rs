//! The accept loop: connections in, requests to the router, an orderly end.
//!
//! hyper serves HTTP/1.1 and HTTP/2 on one port, by what the client speaks, with TLS in front when files are given.
//! HTTP/2 does not carry WebSockets here; browsers then open an HTTP/1.1 connection for them by themselves.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use futures::future::{Either, select};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::face::{Face, Shared};
use crate::metrics::OpenGuard;
use crate::peer::Connection;
use crate::{limits, routes, tls};

/// A server that is bound and will serve.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    connections: usize,
}

/// A connection's place among those that may be open at once. Every request carries it, and a WebSocket keeps it: the
/// connection's own task ends where the WebSocket begins.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    _held: Arc<(OwnedSemaphorePermit, OpenGuard)>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("tcp", &self.tcp).field("tls", &self.tls.is_some()).finish()
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every request was answered and every WebSocket was told.
    Drained,
    /// The time was up before; what was still open was cut.
    Cut,
}

/// What to do about an address that is not to be had.
fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; something else has it, choose another with --listen, such as 127.0.0.1:0 for any"
        }
        io::ErrorKind::AddrNotAvailable => "; no network of this machine has this address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root",
        _ => "",
    };
    format!("cannot listen on {address}: {error}{remedy}")
}

impl Listener {
    /// Reads the TLS files, if any, and binds the address.
    ///
    /// # Errors
    ///
    /// The file or the address that cannot be used, and why.
    pub async fn bind(address: SocketAddr, face: &Face) -> io::Result<Self> {
        let tls = face.0.settings.tls.as_ref().map(tls::acceptor).transpose()?;
        let tcp = TcpListener::bind(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), cannot_listen(address, &error)))?;
        Ok(Self { tcp, tls, connections: limits::CONNECTIONS })
    }

    /// Lets fewer connections be open at once.
    pub fn with_connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// The address, with the port that was picked if port 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `stop`; then accepts no more, tells WebSockets, and gives open requests `drain` to end.
    pub async fn serve(self, face: Face, stop: CancellationToken, drain: Duration) -> Ended {
        let shared = face.0.clone();
        let server = Server {
            router: routes::router(&face),
            face: shared.clone(),
            tls: self.tls,
            graceful: GracefulShutdown::new(),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
        };
        server.accept_until(&self.tcp, self.connections, &stop).await;
        drop(self.tcp);
        shared.stopping.cancel();
        shared.sockets.close();
        server.drain(drain).await
    }
}

struct Server {
    router: Router,
    face: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    graceful: GracefulShutdown,
    tasks: TaskTracker,
    /// Cancelled when the time to drain is up.
    cut: CancellationToken,
}

impl Server {
    async fn accept_until(&self, listener: &TcpListener, connections: usize, stop: &CancellationToken) {
        let permits = Arc::new(Semaphore::new(connections));
        loop {
            // Beyond the limit connections wait in the system's queue.
            let permit = tokio::select! {
                permit = permits.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
                () = stop.cancelled() => return,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let open = OpenGuard::new(self.face.metrics.connections.clone());
                    self.begin(stream, remote, Place { _held: Arc::new((permit, open)) });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections, trying again");
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection on a task of its own.
    fn begin(&self, stream: TcpStream, remote: SocketAddr, place: Place) {
        let Ok(local) = stream.local_addr() else { return };
        // Acknowledgements are small and wanted at once.
        let _ = stream.set_nodelay(true);
        let connection = Connection { remote, local, encrypted: self.tls.is_some() };
        let (router, tls) = (self.router.clone(), self.tls.clone());
        let (watcher, cut) = (self.graceful.watcher(), self.cut.clone());
        self.tasks.spawn(async move {
            let serving = async {
                let Some(tls) = tls else {
                    return serve_stream(stream, connection, place, router, watcher).await;
                };
                match tokio::time::timeout(limits::FIRST_REQUEST_TIME, tls.accept(stream)).await {
                    Ok(Ok(stream)) => serve_stream(stream, connection, place, router, watcher).await,
                    Ok(Err(error)) => tracing::debug!(peer = %remote, %error, "TLS handshake given up"),
                    Err(_) => tracing::debug!(peer = %remote, "TLS handshake took too long"),
                }
            };
            tokio::select! {
                () = serving => {}
                () = cut.cancelled() => {}
            }
        });
    }

    async fn drain(self, time: Duration) -> Ended {
        self.tasks.close();
        let all = async {
            self.graceful.shutdown().await;
            self.tasks.wait().await;
            self.face.sockets.wait().await;
        };
        if tokio::time::timeout(time, all).await.is_ok() {
            return Ended::Drained;
        }
        self.cut.cancel();
        Ended::Cut
    }
}

/// The peer went away between the system's accept and ours; the next one is another's.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn serve_stream<S>(
    stream: S,
    connection: Connection,
    place: Place,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let flag = asked.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        flag.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(connection);
        request.extensions_mut().insert(place.clone());
        let router = router.clone();
        async move {
            let answer: Result<Response<Body>, Infallible> = router.oneshot(request.map(Body::new)).await;
            answer
        }
    });
    let builder = protocol();
    let serving =
        watcher.watch(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned());
    let unasked = async {
        tokio::time::sleep(limits::FIRST_REQUEST_TIME).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    // hyper bounds the time of a request's head once it knows the protocol; until then this does.
    tokio::pin!(serving, unasked);
    match select(serving, unasked).await {
        Either::Left((Ok(()), _)) => {}
        Either::Left((Err(error), _)) => {
            tracing::debug!(peer = %connection.remote, %error, "connection ended")
        }
        Either::Right(_) => tracing::debug!(peer = %connection.remote, "no request came, connection closed"),
    }
}

fn protocol() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME)
        .max_buf_size(limits::HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::HTTP2_STREAMS)
        .max_header_list_size(limits::HEAD_BYTES as u32)
        .keep_alive_interval(limits::PING_EVERY)
        .keep_alive_timeout(limits::DEAD_AFTER);
    builder
}
