//! Starts a simulated Treeherder with a faulty endpoint, requests it over plain TCP, and prints the arrivals.
//!
//! ```text
//! cargo run --example faulty_server
//! ```

#![expect(clippy::print_stdout, reason = "the output of an example")]

use std::error::Error;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use treeherder_sim::{Behaviour, Simulator, SimulatorConfig, SimulatorHandle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let behaviour = Behaviour { faults: vec!["502@summary=1".parse()?], ..Behaviour::default() };
    let simulator = Simulator::start(SimulatorConfig { behaviour, ..SimulatorConfig::default() }).await?;
    println!("serving on {}", simulator.url());

    for path in [
        "/api/performance/framework/",
        "/api/performance/summary/?repository=autoland&signature=5400001&interval=99999999&all_data=True",
    ] {
        let reply = get(&simulator, path).await?;
        println!("{}: {path}", reply.lines().next().unwrap_or_default());
    }

    println!("\narrivals:");
    for arrival in simulator.arrivals() {
        println!("{:?} {} {} {}", arrival.at, arrival.endpoint, arrival.outcome, arrival.path_and_query);
    }
    println!("\n{}", simulator.shutdown().await?);
    Ok(())
}

async fn get(simulator: &SimulatorHandle, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(simulator.addr()).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", simulator.addr());
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    Ok(reply)
}
