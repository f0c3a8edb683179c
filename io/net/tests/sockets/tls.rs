//! Who is let in by the TLS profile, and who is not.

use std::sync::Arc;

use crate::common::{bridge, dialer, host, key, serve, tls};
use model::crypto::{Secret, SigningKey};
use model::units::BridgeId;
use net::{
    BindError, Call, CallError, ConnectError, ConnectInfo, Endpoint, Listener, Router, Security,
    ServeLimits,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn hello() -> Router {
    async fn peer(ConnectInfo(addr): ConnectInfo<std::net::SocketAddr>) -> String {
        format!("hello {}", addr.ip())
    }
    Router::new().route("/", axum::routing::get(peer))
}

async fn text(endpoint: &Endpoint) -> Result<String, CallError> {
    let mut reply = dialer().send(endpoint, &Call::get("/")).await?;
    let body = reply.collect_limited(100).await?;
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_right_key_is_served() {
    let served = serve(tls(1), ServeLimits::default(), hello());
    assert_eq!(
        text(&host(1, served.addr)).await.unwrap(),
        "hello 127.0.0.1"
    );
    let url = format!("https://{}@{}", BridgeId(key(1).public()), served.addr);
    assert_eq!(text(&bridge(&url)).await.unwrap(), "hello 127.0.0.1");
}

#[tokio::test]
async fn another_key_is_refused() {
    let served = serve(tls(1), ServeLimits::default(), hello());
    let error = text(&host(2, served.addr)).await.unwrap_err();
    let CallError::Connect {
        source: ConnectError::WrongKey,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
}

#[tokio::test]
async fn sessions_are_resumed_with_the_same_key_only() {
    let served = serve(tls(1), ServeLimits::default(), hello());
    let limits = net::DialerLimits {
        idle_max: 0,
        ..net::DialerLimits::default()
    };
    let dialer = net::Dialer::new(limits).unwrap();
    for _ in 0..3 {
        dialer
            .send(&host(1, served.addr), &Call::get("/"))
            .await
            .unwrap();
    }
    let error = dialer
        .send(&host(2, served.addr), &Call::get("/"))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        CallError::Connect {
            source: ConnectError::WrongKey,
            ..
        }
    ));
}

#[tokio::test]
async fn the_public_web_does_not_vouch_for_a_key() {
    let served = serve(tls(1), ServeLimits::default(), hello());
    let url = format!("https://localhost:{}", served.addr.port());
    let error = text(&bridge(&url)).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Connect {
                source: ConnectError::Tls(_),
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn nobody_answers() {
    let served = serve(tls(1), ServeLimits::default(), hello());
    served.stop.cancel();
    served.task.await.unwrap();
    let error = text(&host(1, served.addr)).await.unwrap_err();
    assert!(matches!(
        error,
        CallError::Connect {
            source: ConnectError::Tcp { tried: 1, .. },
            ..
        }
    ));
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let gone = serve(tls(1), ServeLimits::default(), hello());
    gone.stop.cancel();
    gone.task.await.unwrap();
    let served = serve(tls(1), ServeLimits::default(), hello());
    let id = model::units::HostId(key(1).public());
    let endpoint = Endpoint::Host {
        id,
        addrs: vec![gone.addr, served.addr],
    };
    assert_eq!(text(&endpoint).await.unwrap(), "hello 127.0.0.1");
}

#[test]
fn plain_http_beyond_loopback_is_not_served() {
    let addr = "0.0.0.0:0".parse().unwrap();
    let error = Listener::bind(addr, Security::PlainLoopback, ServeLimits::default()).unwrap_err();
    assert!(matches!(error, BindError::PlainBeyondLoopback { .. }));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let served = serve(Security::PlainLoopback, ServeLimits::default(), hello());
    let error =
        Listener::bind(served.addr, Security::PlainLoopback, ServeLimits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}", served.addr)
    );
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let served = serve(tls(1), ServeLimits::default(), hello());
    for (version, accepted) in [
        (&rustls::version::TLS12, false),
        (&rustls::version::TLS13, true),
    ] {
        let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(served.addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let shaken = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await;
        assert_eq!(shaken.is_ok(), accepted, "{version:?}: {shaken:?}");
    }
}

/// A server that shows another node's certificate cannot sign the handshake with its key.
#[tokio::test]
async fn a_copied_certificate_is_refused() {
    let (victim, thief) = (key(1), SigningKey::from_seed(&Secret::new([9; 32])));
    let served = serve(tls(1), ServeLimits::default(), hello());
    let certificate = certificate_of(served.addr).await;
    let der = [
        &hex(b"302e020100300506032b657004220420")[..],
        thief.seed().expose(),
    ]
    .concat();
    let signer = aws_lc_rs::sign::any_eddsa_type(&der.into()).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![certificate], signer);
    let config = rustls::ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    let tcp = tokio::net::TcpListener::bind(crate::common::loopback())
        .await
        .unwrap();
    let addr = tcp.local_addr().unwrap();
    let thief = tokio::spawn(async move {
        let (tcp, _) = tcp.accept().await.unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
            .accept(tcp)
            .await
            .is_ok()
    });
    let id = model::units::HostId(victim.public());
    let error = text(&Endpoint::Host {
        id,
        addrs: vec![addr],
    })
    .await
    .unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Connect {
                source: ConnectError::Tls(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!thief.await.unwrap());
}

async fn certificate_of(addr: std::net::SocketAddr) -> CertificateDer<'static> {
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let tcp = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

fn hex(digits: &[u8]) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(digits).unwrap()
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
