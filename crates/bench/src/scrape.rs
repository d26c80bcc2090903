//! `/metrics`: how long a scrape takes and how much memory the daemon needs, beside prometheus-redis-exporter on the
//! same server.
//!
//! The two differ in kind: the exporter asks Redis during the scrape, redprobe answers from memory what its probes
//! found. That is why redprobe's can be the faster; the comparison shows what a scraper waits for.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use measure::{clock, latency::Recorder};
use testkit::RedisServer;
use tokio::net::TcpStream;

use crate::{
    process::{exists, resident},
    table::{machine, median, ratio},
};

const SCRAPES: usize = 2_000;
const EXPORTER: &str = "prometheus-redis-exporter";

/// A running exporter, ended when dropped.
struct Exporter {
    child: Child,
    address: String,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Samples {
    p50: Vec<f64>,
    p99: Vec<f64>,
    started: Vec<f64>,
    after: Vec<f64>,
}

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    if !exists(EXPORTER) {
        bail!("{EXPORTER} is not on PATH; install it (Debian: apt install {EXPORTER}) to compare scrapes");
    }
    let redprobe = std::env::current_exe()?.with_file_name("redprobe");
    if !redprobe.is_file() {
        bail!("{} is not built; `make bench` builds it", redprobe.display());
    }
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for round in 0..rounds {
        eprintln!("scrapes: round {} of {rounds}", round + 1);
        runtime.block_on(measure_one(&start_redprobe(&redprobe, &server)?, &mut ours))?;
        runtime.block_on(measure_one(&start_exporter(&server)?, &mut theirs))?;
    }
    println!("\nScrapes of `/metrics`, {SCRAPES} in a row, medians of {rounds} interleaved rounds.");
    println!("{}\n", machine());
    println!("| | redprobe | {EXPORTER} | ratio |\n|---|---:|---:|---:|");
    print_row("scrape p50, ms", &ours.p50, &theirs.p50, 1e3);
    print_row("scrape p99, ms", &ours.p99, &theirs.p99, 1e3);
    print_row("resident when started, MB", &ours.started, &theirs.started, 1e-6);
    print_row(&format!("resident after {SCRAPES} scrapes, MB"), &ours.after, &theirs.after, 1e-6);
    Ok(())
}

fn print_row(name: &str, ours: &[f64], theirs: &[f64], scale: f64) {
    let (a, b) = (median(ours) * scale, median(theirs) * scale);
    println!("| {name} | {a:.2} | {b:.2} | {:.2} |", ratio(ours, theirs));
}

fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn start_redprobe(binary: &Path, server: &RedisServer) -> anyhow::Result<Exporter> {
    let address = free_address()?;
    let folder = tempfile::tempdir()?.keep();
    let config = folder.join("redprobe.toml");
    let text = format!(
        "state_dir = {folder:?}\n[http]\nlisten = \"{address}\"\n[targets.bench]\nurl = \"{}\"\n\
         [jobs.info]\nprobe = \"server_info\"\ntargets = [\"bench\"]\nschedule = \"every 5s\"\ntimeout = \"4s\"\n",
        server.url(),
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(binary);
    command.args(["serve", "--config"]).arg(&config);
    Ok(Exporter { child: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?, address })
}

fn start_exporter(server: &RedisServer) -> anyhow::Result<Exporter> {
    let address = free_address()?;
    let mut command = Command::new(EXPORTER);
    command.args(["-redis.addr", &server.url(), "-web.listen-address", &address]);
    Ok(Exporter { child: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?, address })
}

async fn measure_one(exporter: &Exporter, samples: &mut Samples) -> anyhow::Result<()> {
    let deadline = clock::now() + Duration::from_secs(30);
    // Started means: it has something to say about Redis.
    let tells =
        |text: &str| text.contains("redprobe_server_info_") || text.contains("redis_memory_used_bytes");
    while !scrape_once(&exporter.address).await.is_ok_and(|text| tells(&text)) {
        if clock::now() > deadline {
            bail!("{} said nothing about Redis within 30 s", exporter.address);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    samples.started.push(resident(exporter.child.id())?);
    let stream = TcpStream::connect(&exporter.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut recorder = Recorder::default();
    for _ in 0..SCRAPES {
        let begun = clock::now();
        let request =
            Request::get("/metrics").header("host", &exporter.address).body(Empty::<Bytes>::new())?;
        sender.ready().await?;
        let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        recorder.record(begun.elapsed());
        if body.is_empty() {
            bail!("{} answered with nothing", exporter.address);
        }
    }
    driver.abort();
    samples.p50.push(recorder.quantile(0.5).context("enough scrapes")?.as_secs_f64());
    samples.p99.push(recorder.quantile(0.99).context("enough scrapes")?.as_secs_f64());
    samples.after.push(resident(exporter.child.id())?);
    Ok(())
}

async fn scrape_once(address: &str) -> anyhow::Result<String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/metrics").header("host", address).body(Empty::<Bytes>::new())?;
    let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok(String::from_utf8_lossy(&body).into_owned())
}
