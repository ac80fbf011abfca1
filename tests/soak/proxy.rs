//! What is between the server and PostgreSQL: passes bytes on, late, not at all, or breaks connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::Runtime;
use url::Url;

/// How the network is at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Weather {
    /// Bytes go through.
    Fine,
    /// Each piece takes up to a fifth of a second.
    Slow,
    /// Nothing goes through, nothing breaks: bytes wait.
    Stalled,
    /// All connections break, and new ones as well.
    Down,
    /// Each piece may be the last of its connection.
    Brittle,
}

impl Weather {
    pub const ALL: [Self; 5] = [Self::Fine, Self::Slow, Self::Stalled, Self::Down, Self::Brittle];
}

/// A proxy, for as long as its runtime lives.
pub struct Proxy {
    weather: Arc<AtomicU8>,
    broken: Arc<AtomicUsize>,
    /// The same database through the proxy.
    pub url: String,
    _runtime: Runtime,
}

impl Proxy {
    /// In front of the database with this address, which names a directory with a socket.
    pub fn before(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut through: Url = url.parse().unwrap();
        let host =
            percent_encoding::percent_decode_str(through.host_str().unwrap()).decode_utf8().unwrap().into_owned();
        let socket = PathBuf::from(host).join(".s.PGSQL.5432");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        through.set_host(Some("127.0.0.1")).unwrap();
        through.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let weather = Arc::new(AtomicU8::new(Weather::Fine as u8));
        let broken = Arc::new(AtomicUsize::new(0));
        let (shown, count) = (weather.clone(), broken.clone());
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (socket, weather, count) = (socket.clone(), shown.clone(), count.clone());
                tokio::spawn(async move {
                    if weather.load(Ordering::Relaxed) == Weather::Down as u8 {
                        count.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    let Ok(far) = UnixStream::connect(socket).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    // When one direction ends, both do.
                    tokio::select! {
                        () = pass(near_in, far_out, &weather, 3) => {}
                        () = pass(far_in, near_out, &weather, 7) => {}
                    }
                    let fine = weather.load(Ordering::Relaxed) == Weather::Fine as u8;
                    count.fetch_add(usize::from(!fine), Ordering::Relaxed);
                });
            }
        });
        Self { weather, broken, url: through.into(), _runtime: runtime }
    }

    /// Connections that the weather has ended.
    pub fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }

    pub fn be(&self, weather: Weather) {
        self.weather.store(weather as u8, Ordering::Relaxed);
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, weather: &AtomicU8, salt: u64) {
    let tick = Duration::from_millis(20);
    let mut buffer = vec![0; 16 * 1024];
    let mut pieces = salt;
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = is(weather, Weather::Down) => return,
        };
        let Ok(length @ 1..) = read else { return };
        pieces = pieces.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(salt);
        let chance = (pieces >> 33) % 200;
        while weather.load(Ordering::Relaxed) == Weather::Stalled as u8 {
            tokio::time::sleep(tick).await;
        }
        match weather.load(Ordering::Relaxed) {
            slow if slow == Weather::Slow as u8 => tokio::time::sleep(Duration::from_millis(chance)).await,
            // Sometimes after half of a message.
            brittle if brittle == Weather::Brittle as u8 && chance < 4 => {
                let _ = to.write_all(&buffer[..length / 2]).await;
                return;
            }
            down if down == Weather::Down as u8 => return,
            _ => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn is(weather: &AtomicU8, wanted: Weather) {
    while weather.load(Ordering::Relaxed) != wanted as u8 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
