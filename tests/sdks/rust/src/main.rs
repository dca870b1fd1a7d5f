//! The official Rust crate as a program that obeys its standard input (the language is told in kit/sdk_program.py).

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use ngrok::{
    config::{ForwarderBuilder, HttpTunnelBuilder, OauthOptions, OidcOptions},
    prelude::*,
    Error as NgrokError, Session,
};
use serde_json::{json, Value};
use tokio::io::{AsyncBufReadExt, BufReader};
use url::Url;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Closing<'a> = Pin<Box<dyn Future<Output = Fallible<()>> + Send + 'a>>;

/// A listener of any kind; dropping it ends it.
trait Listener: Send {
    fn url(&self) -> String;
    fn close(&mut self) -> Closing<'_>;
}

impl<T: TunnelCloser + EndpointInfo + Send> Listener for T {
    fn url(&self) -> String {
        EndpointInfo::url(self).to_string()
    }

    fn close(&mut self) -> Closing<'_> {
        Box::pin(async move { Ok(TunnelCloser::close(self).await?) })
    }
}

/// A labelled tunnel has no URL of its own.
struct Labelled<T>(T);

impl<T: TunnelCloser + Send> Listener for Labelled<T> {
    fn url(&self) -> String {
        String::new()
    }

    fn close(&mut self) -> Closing<'_> {
        Box::pin(async move { Ok(TunnelCloser::close(&mut self.0).await?) })
    }
}

fn text<'a>(options: &'a Value, name: &str) -> Option<&'a str> {
    options[name].as_str()
}

/// Options that every kind of endpoint has.
macro_rules! common {
    ($builder:ident, $options:ident) => {
        match text($options, "proxy_proto") {
            Some("1") => drop($builder.proxy_proto(ProxyProto::V1)),
            Some("2") => drop($builder.proxy_proto(ProxyProto::V2)),
            _ => (),
        }
        if let Some(pooling) = $options["pooling"].as_bool() {
            $builder.pooling_enabled(pooling);
        }
        if let Some(verify) = $options["verify_upstream_tls"].as_bool() {
            $builder.verify_upstream_tls(verify);
        }
        if let Some(policy) = text($options, "traffic_policy") {
            $builder.traffic_policy(policy);
        }
    };
}

/// Options of endpoints that carry bytes.
macro_rules! addresses {
    ($builder:ident, $options:ident) => {
        for call in $options["calls"].as_array().into_iter().flatten() {
            let listed = call[1].as_str().unwrap_or_default();
            match call[0].as_str() {
                Some("allow_cidr") => drop($builder.allow_cidr(listed)),
                Some("deny_cidr") => drop($builder.deny_cidr(listed)),
                _ => return Err("the builder has no such method".into()),
            }
        }
    };
}

/// `[method, argument, …]` on an HTTP endpoint's builder.
fn module(builder: &mut HttpTunnelBuilder, call: &Value) -> Fallible<()> {
    let given = |number: usize| call[number].as_str().unwrap_or_default();
    match given(0) {
        "basic_auth" => builder.basic_auth(given(1), given(2)),
        "request_header" => builder.request_header(given(1), given(2)),
        "remove_request_header" => builder.remove_request_header(given(1)),
        "response_header" => builder.response_header(given(1), given(2)),
        "remove_response_header" => builder.remove_response_header(given(1)),
        "compression" => builder.compression(),
        "circuit_breaker" => builder.circuit_breaker(call[1].as_f64().unwrap_or_default()),
        "allow_user_agent" => builder.allow_user_agent(given(1)),
        "deny_user_agent" => builder.deny_user_agent(given(1)),
        "allow_cidr" => builder.allow_cidr(given(1)),
        "deny_cidr" => builder.deny_cidr(given(1)),
        "webhook_verification" => builder.webhook_verification(given(1), given(2)),
        "oauth" => builder.oauth(oauth(call)),
        "oidc" => builder.oidc(oidc(call)),
        "websocket_tcp_conversion" => builder.websocket_tcp_conversion(),
        other => return Err(format!("the builder has no {other}").into()),
    };
    Ok(())
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn oauth(call: &Value) -> OauthOptions {
    let mut options = OauthOptions::new(call[1].as_str().unwrap_or_default());
    texts(&call[2]).for_each(|one| drop(options.allow_email(one)));
    texts(&call[3]).for_each(|one| drop(options.allow_domain(one)));
    texts(&call[4]).for_each(|one| drop(options.scope(one)));
    options.client_id(call[5].as_str().unwrap_or_default());
    options.client_secret(call[6].as_str().unwrap_or_default());
    options
}

fn oidc(call: &Value) -> OidcOptions {
    let given = |number: usize| call[number].as_str().unwrap_or_default();
    let mut options = OidcOptions::new(given(1), given(2), given(3));
    texts(&call[4]).for_each(|one| drop(options.allow_email(one)));
    texts(&call[5]).for_each(|one| drop(options.allow_domain(one)));
    texts(&call[6]).for_each(|one| drop(options.scope(one)));
    options
}

async fn http(session: &Session, options: &Value, to: Url) -> Fallible<Box<dyn Listener>> {
    let mut builder = session.http_endpoint();
    common!(builder, options);
    if let Some(domain) = text(options, "domain") {
        builder.domain(domain);
    }
    if text(options, "scheme") == Some("HTTP") {
        builder.scheme(Scheme::HTTP);
    }
    if let Some(protocol) = text(options, "app_protocol") {
        builder.app_protocol(protocol);
    }
    if let Some(host) = text(options, "host_header") {
        builder.request_header("host", host);
    }
    for call in options["calls"].as_array().into_iter().flatten() {
        module(&mut builder, call)?;
    }
    if let Some(authorities) = text(options, "mutual_tls_cas") {
        builder.mutual_tlsca(authorities.to_string().into());
    }
    Ok(Box::new(builder.listen_and_forward(to).await?))
}

async fn tls(session: &Session, options: &Value, to: Url) -> Fallible<Box<dyn Listener>> {
    let mut builder = session.tls_endpoint();
    common!(builder, options);
    addresses!(builder, options);
    if let Some(domain) = text(options, "domain") {
        builder.domain(domain);
    }
    if let (Some(certificate), Some(key)) = (text(options, "crt"), text(options, "key")) {
        builder.termination(certificate.to_string().into(), key.to_string().into());
    }
    if options["automatic"] == true {
        builder.termination(Default::default(), Default::default());
    }
    if let Some(authorities) = text(options, "mutual_tls_cas") {
        builder.mutual_tlsca(authorities.to_string().into());
    }
    Ok(Box::new(builder.listen_and_forward(to).await?))
}

async fn tcp(session: &Session, options: &Value, to: Url) -> Fallible<Box<dyn Listener>> {
    let mut builder = session.tcp_endpoint();
    common!(builder, options);
    addresses!(builder, options);
    if let Some(address) = text(options, "address") {
        builder.remote_addr(address);
    }
    Ok(Box::new(builder.listen_and_forward(to).await?))
}

async fn labelled(session: &Session, options: &Value, to: Url) -> Fallible<Box<dyn Listener>> {
    let mut builder = session.labeled_tunnel();
    for (name, value) in options["labels"].as_object().into_iter().flatten() {
        builder.label(name, value.as_str().unwrap_or_default());
    }
    Ok(Box::new(Labelled(builder.listen_and_forward(to).await?)))
}

struct Program {
    target: Value,
    session: Option<Session>,
    listeners: Vec<Box<dyn Listener>>,
    commands: Arc<Mutex<Vec<String>>>,
}

impl Program {
    async fn connect(&self) -> Fallible<Session> {
        let note = |name: &'static str| {
            let commands = self.commands.clone();
            move || commands.lock().unwrap().push(name.to_string())
        };
        let (stop, restart, update) = (note("stop"), note("restart"), note("update"));
        let session = Session::builder()
            .authtoken(self.target["authtoken"].as_str().unwrap_or_default())
            .server_addr(self.target["server"].as_str().unwrap_or_default())?
            .root_cas(self.target["ca"].as_str().unwrap_or_default())?
            .handle_stop_command(move |_| {
                stop();
                async { Ok(()) }
            })
            .handle_restart_command(move |_| {
                restart();
                async { Ok(()) }
            })
            .handle_update_command(move |_| {
                update();
                async { Ok(()) }
            })
            .connect()
            .await?;
        Ok(session)
    }

    async fn forward(&mut self, options: &Value) -> Fallible<Value> {
        if self.session.is_none() {
            self.session = Some(self.connect().await?);
        }
        let session = self.session.as_ref().ok_or("no session")?;
        let to = Url::parse(text(options, "to").unwrap_or_default())?;
        let listener = match text(options, "proto") {
            Some("tcp") => tcp(session, options, to).await?,
            Some("labeled") => labelled(session, options, to).await?,
            Some("tls") => tls(session, options, to).await?,
            _ => http(session, options, to).await?,
        };
        let url = listener.url();
        self.listeners.push(listener);
        Ok(json!([self.listeners.len() - 1, url]))
    }

    async fn obey(&mut self, line: &str) -> Fallible<Value> {
        let command: Value = serde_json::from_str(line)?;
        match command[0].as_str() {
            Some("forward") => self.forward(&command[1]).await,
            Some("close") => {
                let number = command[1].as_u64().unwrap_or_default() as usize;
                self.listeners[number].close().await?;
                Ok(Value::Null)
            }
            Some("commands") => Ok(json!(*self.commands.lock().unwrap())),
            _ => Err("unknown verb".into()),
        }
    }
}

/// The code that the crate's errors tell.
fn code(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let session = error
        .downcast_ref::<ngrok::session::ConnectError>()
        .and_then(|known| known.error_code());
    let request = error
        .downcast_ref::<ngrok::session::RpcError>()
        .and_then(|known| known.error_code());
    session.or(request).unwrap_or_default().to_string()
}

#[tokio::main]
async fn main() -> Fallible<()> {
    let target = serde_json::from_str(&std::env::args().nth(1).ok_or("no target")?)?;
    let mut program = Program {
        target,
        session: None,
        listeners: Vec::new(),
        commands: Arc::default(),
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match program.obey(&line).await {
            Ok(result) => json!({ "result": result }),
            Err(error) => json!({ "error": error.to_string(), "code": code(error.as_ref()) }),
        };
        println!("{answer}");
    }
    Ok(())
}
