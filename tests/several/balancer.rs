//! What stands before the servers, as haproxy or nginx would: each connection goes to the next server that takes it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::spawn;
use std::time::Duration;

/// Listens on a port of its own; gives its address. Goes on until the process ends.
pub fn start(servers: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (servers, next) = (Arc::new(servers), Arc::new(AtomicUsize::new(0)));
    spawn(move || {
        for client in listener.incoming() {
            let (servers, next) = (servers.clone(), next.clone());
            spawn(move || {
                let client = client.unwrap();
                let first = next.fetch_add(1, Ordering::Relaxed);
                let taken = (0..servers.len()).find_map(|turn| {
                    let server = servers[(first + turn) % servers.len()];
                    TcpStream::connect_timeout(&server, Duration::from_secs(1)).ok()
                });
                // With no server there, the connection ends.
                if let Some(server) = taken {
                    let (up, down) = (pair(&client, &server), pair(&server, &client));
                    let up = spawn(move || pass(up));
                    pass(down);
                    up.join().unwrap();
                }
            });
        }
    });
    address
}

fn pair(from: &TcpStream, to: &TcpStream) -> (TcpStream, TcpStream) {
    (from.try_clone().unwrap(), to.try_clone().unwrap())
}

fn pass((mut from, mut to): (TcpStream, TcpStream)) {
    // However it ends, the other side hears of it.
    let ended = io::copy(&mut from, &mut to);
    let how = if ended.is_ok() { Shutdown::Write } else { Shutdown::Both };
    let _ = to.shutdown(how);
}
