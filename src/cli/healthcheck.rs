//! `redprobe healthcheck`: asks a running daemon, for container runtimes that know no HTTP.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Exit, HealthcheckArgs};
use crate::config::{Mistakes, Overrides, Plan};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Enough for the status line.
const READ_AT_MOST: u64 = 1_024;

pub(super) async fn run(args: &HealthcheckArgs) -> anyhow::Result<Exit> {
    let overrides = Overrides { listen: args.listen.clone(), ..Overrides::default() };
    let plan = Plan::load(args.config.config.as_deref(), &overrides).map_err(Mistakes)?;
    let address = reachable(plan.http.listen);
    let status = tokio::time::timeout(TIMEOUT, ask(address))
        .await
        .with_context(|| format!("{address} did not answer within {} s", TIMEOUT.as_secs_f64()))?
        .with_context(|| format!("{address} does not answer"))?;
    if status != 200 {
        bail!("{address} answered with status {status}");
    }
    super::print("healthy\n")?;
    Ok(Exit::Ok)
}

/// Where a daemon that listens on every address can be reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        let loopback =
            if listen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    address
}

/// The status of `GET /-/healthy`.
async fn ask(address: SocketAddr) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /-/healthy HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(READ_AT_MOST).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    status.and_then(|status| status.trim().parse().ok()).context("that is no HTTP answer")
}
