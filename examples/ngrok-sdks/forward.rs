//! Give http://localhost:8080 a public URL on your own edge, with ngrok's Rust crate.

use std::env::var;

use ngrok::{config::ForwarderBuilder, prelude::*, Session};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let session = Session::builder()
        .authtoken(var("PORTICO_AUTHTOKEN")?)
        .server_addr(var("PORTICO_CONNECT_URL")?)?
        .root_cas(var("PORTICO_CONNECT_CAS")?)?
        .connect()
        .await?;
    let upstream = var("UPSTREAM").unwrap_or("localhost:8080".into());
    let mut forwarder = session
        .http_endpoint()
        .listen_and_forward(format!("http://{upstream}").parse()?)
        .await?;
    println!("{}", forwarder.url());
    forwarder.join().await??;
    Ok(())
}
