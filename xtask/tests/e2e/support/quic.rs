//! Pages fetched by HTTP/3.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use quinn::crypto::rustls::QuicClientConfig;
use xtask::lab::Host;

use super::hello;
use super::town::Town;
use super::web;

/// Less would take a slow machine for a blocked one.
const PATIENCE: Duration = Duration::from_secs(2);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Whether the page of a name was had from an address in time.
pub fn is_reached(town: &Town, host: &Host, name: &str, to: SocketAddr) -> bool {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = host.namespace.run(|| Ok(UdpSocket::bind((any, 0))?)).unwrap();
    let mut tls = hello::config(&town.lab.directory, 0);
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    town.runtime.block_on(async {
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime).unwrap();
        match tokio::time::timeout(PATIENCE, fetch(&endpoint, config, name, to)).await {
            Ok(page) => {
                assert_eq!(page.unwrap(), web::PAGE, "{name} from {to}");
                true
            }
            Err(_) => false,
        }
    })
}

async fn fetch(endpoint: &quinn::Endpoint, config: quinn::ClientConfig, name: &str, to: SocketAddr) -> Result<String, Failure> {
    let connection = endpoint.connect_with(config, to, name)?.await?;
    let (mut driver, mut requests) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let page = async {
        let request = hyper::Request::get(format!("https://{name}/")).body(())?;
        let mut stream = requests.send_request(request).await?;
        stream.finish().await?;
        let status = stream.recv_response().await?.status();
        let mut page = Vec::new();
        while let Some(mut data) = stream.recv_data().await? {
            page.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        if status == 200 { Ok(String::from_utf8(page)?) } else { Err(Failure::from(format!("status {status}"))) }
    };
    // The connection is at work only while it is asked.
    tokio::select! {
        page = page => page,
        error = driver.wait_idle() => Err(error.into()),
    }
}
