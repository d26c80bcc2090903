//! The ceiling: what one thread gets out of a server when it does nothing but epoll, write and count reply bytes.
//!
//! It checks nothing and times nothing, so no honest client can be faster: `ceiling ADDRESS CONNECTIONS PIPELINE
//! OPERATIONS`.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::fd::AsFd,
};

use anyhow::bail;
use measure::{clock, resp};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::client::KEY;

pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let [address, connections, pipeline, operations] = words else {
        bail!("ceiling ADDRESS CONNECTIONS PIPELINE OPERATIONS");
    };
    let (connections, pipeline): (usize, usize) = (connections.parse()?, pipeline.parse()?);
    let operations: usize = operations.parse()?;
    let request = resp::encode(&[b"GET", KEY]);
    let batch = request.repeat(pipeline);
    let mut streams = Vec::new();
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let reply = reply_length(address, &request)? * pipeline;
    for index in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, stream.as_fd(), EventData::new_u64(index as u64), EventFlags::IN)?;
        streams.push((stream, 0_usize));
    }
    let started = clock::now();
    for (stream, _) in &mut streams {
        stream.write_all(&batch)?;
    }
    let mut done = 0;
    let mut events = Vec::with_capacity(connections);
    let mut buffer = vec![0; 64 * 1024];
    while done < operations {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let (stream, received) = &mut streams[usize::try_from(event.data.u64())?];
            *received += stream.read(&mut buffer)?;
            if *received >= reply {
                *received -= reply;
                done += pipeline;
                stream.write_all(&batch)?;
            }
        }
    }
    println!("{} 0", done as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

fn reply_length(address: &str, request: &[u8]) -> anyhow::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request)?;
    let mut buffer = [0; 256];
    Ok(stream.read(&mut buffer)?)
}
