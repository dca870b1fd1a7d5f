//! The Rust functions of ngrok's pages on TLS termination and mutual TLS: `snippets CASE`.
//!
//! Only what is one's own differs from the pages: the edge, the domain and the files. What arrives goes to UPSTREAM.

use std::{env, error::Error, fs};

use bytes::Bytes;
use futures::TryStreamExt;
use ngrok::{prelude::*, tunnel::TlsTunnel, Session};
use tokio::{io::copy_bidirectional, net::TcpStream};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn load_bytes(name: &str) -> Fallible<Bytes> {
    Ok(fs::read(variable(name))?.into())
}

async fn connect() -> Fallible<Session> {
    let sess = Session::builder()
        .authtoken_from_env()
        .server_addr(variable("PORTICO_CONNECT_URL"))?
        .root_cas(variable("PORTICO_CONNECT_CAS"))?
        .connect()
        .await?;
    Ok(sess)
}

async fn at_upstream() -> Fallible<TlsTunnel> {
    let sess = connect().await?;
    let tun = sess
        .tls_endpoint()
        .domain(variable("DOMAIN"))
        .listen()
        .await?;
    Ok(tun)
}

async fn at_edge() -> Fallible<TlsTunnel> {
    let sess = connect().await?;
    let tun = sess
        .tls_endpoint()
        .termination(Bytes::new(), Bytes::new())
        .listen()
        .await?;
    Ok(tun)
}

async fn own_certificate() -> Fallible<TlsTunnel> {
    let (cert, key) = (load_bytes("CRT")?, load_bytes("KEY")?);
    let sess = connect().await?;
    let tun = sess
        .tls_endpoint()
        .domain(variable("DOMAIN"))
        .termination(cert, key)
        .listen()
        .await?;
    Ok(tun)
}

async fn mutual_tls() -> Fallible<TlsTunnel> {
    let (cert, key) = (load_bytes("CRT")?, load_bytes("KEY")?);
    let ca_cert = load_bytes("CAS")?;
    let sess = connect().await?;
    let tun = sess
        .tls_endpoint()
        .domain(variable("DOMAIN"))
        .termination(cert, key)
        .mutual_tlsca(ca_cert)
        .listen()
        .await?;
    Ok(tun)
}

#[tokio::main]
async fn main() -> Fallible<()> {
    let mut tun = match env::args().nth(1).as_deref() {
        Some("upstream") => at_upstream().await?,
        Some("edge") => at_edge().await?,
        Some("own-certificate") => own_certificate().await?,
        Some("mutual-tls") => mutual_tls().await?,
        _ => return Err("name a case".into()),
    };
    println!("Ingress established at: {}", tun.url());
    while let Some(mut conn) = tun.try_next().await? {
        tokio::spawn(async move {
            let mut upstream = TcpStream::connect(variable("UPSTREAM")).await?;
            copy_bidirectional(&mut conn, &mut upstream).await
        });
    }
    Ok(())
}
