//! A TCP proxy that can be slow, stall, and cut every connection.

use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Each chunk takes so long.
    Latency(Duration),
    /// Nothing passes; connections stay open.
    Stalled,
    /// Connections are closed, new ones too.
    Cut,
}

pub struct Proxy {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
}

impl Proxy {
    /// Between a new port and 127.0.0.1:`target`.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listen");
        let port = listener.local_addr().expect("own address").port();
        let (weather, watched) = watch::channel(Weather::Latency(Duration::ZERO));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connection(near, target, watched.clone()));
            }
        });
        Self { port, weather: Arc::new(weather) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn latency(&self, delay: Duration) {
        self.weather.send_replace(Weather::Latency(delay));
    }

    pub fn stall(&self) {
        self.weather.send_replace(Weather::Stalled);
    }

    /// Closes what is open and refuses what comes, until [`Self::heal`].
    pub fn cut(&self) {
        self.weather.send_replace(Weather::Cut);
    }

    pub fn heal(&self) {
        self.latency(Duration::ZERO);
    }
}

async fn connection(near: TcpStream, target: u16, weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let mut storm = weather.clone();
    tokio::select! {
        _ = pump(near_read, far_write, weather.clone()) => {}
        _ = pump(far_read, near_write, weather) => {}
        _ = storm.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let Ok(now) = weather.wait_for(|weather| *weather != Weather::Stalled).await.map(|weather| *weather) else {
            return;
        };
        if let Weather::Latency(delay) = now
            && !delay.is_zero()
        {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
