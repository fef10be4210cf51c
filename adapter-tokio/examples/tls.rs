//! A server and a client that meet at a Redis through TLS.
//!
//! `cargo run -p clamator-tokio --features tls --example tls -- URL [CA [CERTIFICATE KEY]]`: a
//! `rediss://` URL; the file of the authority to trust instead of the system's; and, for a Redis
//! that asks for one, the files of a certificate and its key. All files are PEM.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::fs;

use clamator_tokio::{Client, Context, Server, Service, Target, Tls};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, tls) = match &*arguments {
        [url] => (url, Tls::new()),
        [url, authority] => (url, Tls::trusting(&fs::read(authority)?)?),
        [url, authority, certificate, key] => {
            let tls = Tls::trusting(&fs::read(authority)?)?;
            (url, tls.identity(&fs::read(certificate)?, &fs::read(key)?)?)
        }
        _ => return Err("usage: tls URL [CA [CERTIFICATE KEY]]".into()),
    };
    let target = Target::url(url)?.tls(tls)?;

    let echo = Service::new("echo").request("say", async |text: String, _: Context| Ok(text));
    let server = Server::builder("tls").service(echo).start(&target).await?;
    let client = Client::connect("tls", &target).await?;
    let said: String = client.call("echo.say", "hello").await?;
    println!("{said:?} came back through {target}");

    client.stop().await;
    server.shutdown().await;
    Ok(())
}
