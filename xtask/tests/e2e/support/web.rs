//! Servers of many names, each at several ports: HTTP/1.1 and HTTP/2 with and without TLS, HTTP/3. All write into one ledger.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio_rustls::LazyConfigAcceptor;
use xtask::lab::names::SITES;
use xtask::lab::{Directory, Namespace};

use super::ledger::{Ledger, Over, Step};

/// The ports that one expects, and others.
pub const HTTP: [u16; 2] = [80, 7080];
pub const HTTPS: [u16; 2] = [443, 7443];
pub const QUIC: [u16; 2] = [443, 7443];

/// What every page says.
pub const PAGE: &str = "<!doctype html><title>edge lab</title><p id=reached>the page was reached</p>\n";

/// Starts them at all of the sites' addresses.
pub fn start(runtime: &Runtime, namespace: &Namespace, directory: &Directory, ledger: &Ledger) {
    let file = directory.path().join("server.pem");
    let tls = Arc::new(tls(&file, &[b"h2", b"http/1.1"]));
    let quic = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls_of_quic(&file)).unwrap()));
    let _inside = runtime.enter();
    for address in SITES.iter().flat_map(|site| site.addresses()) {
        for port in HTTP {
            runtime.spawn(accept(listen(namespace, address, port), None, ledger.clone()));
        }
        for port in HTTPS {
            runtime.spawn(accept(listen(namespace, address, port), Some(Arc::clone(&tls)), ledger.clone()));
        }
        for port in QUIC {
            let socket = namespace.run(|| Ok(UdpSocket::bind((address, port))?)).unwrap();
            let endpoint =
                quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(quic.clone()), socket, Arc::new(quinn::TokioRuntime)).unwrap();
            runtime.spawn(accept_quic(endpoint, ledger.clone()));
        }
    }
}

fn listen(namespace: &Namespace, address: IpAddr, port: u16) -> tokio::net::TcpListener {
    let listener = namespace.run(|| {
        let listener = TcpListener::bind((address, port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    tokio::net::TcpListener::from_std(listener.unwrap()).unwrap()
}

/// The lab's certificate, which is good for all names.
fn tls(file: &Path, protocols: &[&[u8]]) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(file).unwrap();
    let key = PrivateKeyDer::from_pem_file(file).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

fn tls_of_quic(file: &Path) -> ServerConfig {
    tls(file, &[b"h3"])
}

async fn accept(listener: tokio::net::TcpListener, tls: Option<Arc<ServerConfig>>, ledger: Ledger) {
    while let Ok((stream, from)) = listener.accept().await {
        let (tls, ledger) = (tls.clone(), ledger.clone());
        // A client that goes, or is cut off, is what the tests are about and no error of the server's.
        tokio::spawn(async move {
            let Some(tls) = tls else {
                serve(stream, from, Over::Http, ledger).await;
                return Ok(());
            };
            let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
            let name = start.client_hello().server_name().unwrap_or_default().to_owned();
            ledger.write(from.ip(), Over::Tls, Step::Hello, &name);
            let stream = start.into_stream(tls).await?;
            ledger.write(from.ip(), Over::Tls, Step::Handshake, &name);
            serve(stream, from, Over::Tls, ledger).await;
            Ok::<_, io::Error>(())
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, from: SocketAddr, over: Over, ledger: Ledger) {
    let answer = service_fn(|request: Request<Incoming>| {
        // HTTP/2 has the name in the request's own address, HTTP/1.1 in a header.
        let named = request.headers().get("host").and_then(|host| host.to_str().ok());
        let name = request.uri().host().or(named).unwrap_or_default();
        ledger.write(from.ip(), over, Step::Request, name.split(':').next().unwrap_or_default());
        async { Ok::<_, Infallible>(Response::builder().header("content-type", "text/html").body(Full::new(Bytes::from(PAGE))).unwrap()) }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

async fn accept_quic(endpoint: quinn::Endpoint, ledger: Ledger) {
    while let Some(incoming) = endpoint.accept().await {
        let (from, ledger) = (incoming.remote_address().ip(), ledger.clone());
        tokio::spawn(async move {
            let mut connecting = incoming.accept()?;
            let hello = connecting.handshake_data().await?.downcast::<HandshakeData>();
            let name = hello.ok().and_then(|hello| hello.server_name).unwrap_or_default();
            ledger.write(from, Over::Quic, Step::Hello, &name);
            let connection = connecting.await?;
            ledger.write(from, Over::Quic, Step::Handshake, &name);
            // HTTP/3 errors are a client that has gone.
            let _ = serve_http3(connection, from, &ledger).await;
            Ok::<_, quinn::ConnectionError>(())
        });
    }
}

async fn serve_http3(connection: quinn::Connection, from: IpAddr, ledger: &Ledger) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut connection = h3::server::Connection::<_, Bytes>::new(h3_quinn::Connection::new(connection)).await?;
    while let Some(resolver) = connection.accept().await? {
        let (request, mut stream) = resolver.resolve_request().await?;
        ledger.write(from, Over::Quic, Step::Request, request.uri().host().unwrap_or_default());
        // To its end: a stream that is dropped before would tell the client to stop.
        while stream.recv_data().await?.is_some() {}
        stream.send_response(Response::builder().header("content-type", "text/html").body(())?).await?;
        stream.send_data(Bytes::from(PAGE)).await?;
        stream.finish().await?;
    }
    Ok(())
}
