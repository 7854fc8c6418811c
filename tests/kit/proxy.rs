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
    /// How often what was open was lost.
    losses: Arc<watch::Sender<usize>>,
}

impl Proxy {
    /// Between a new port and 127.0.0.1:`target`.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listen");
        let port = listener.local_addr().expect("own address").port();
        let (weather, watched) = watch::channel(Weather::Latency(Duration::ZERO));
        let losses = Arc::new(watch::channel(0).0);
        let lost = losses.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connection(near, target, watched.clone(), lost.subscribe()));
            }
        });
        Self { port, weather: Arc::new(weather), losses }
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

    /// Packets of the connections that are open are dropped from now on: nothing passes, and neither end is told, not even when the
    /// other one goes. New connections are as the weather is.
    pub fn lose(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }

    pub fn heal(&self) {
        self.latency(Duration::ZERO);
    }
}

async fn connection(
    mut near: TcpStream,
    target: u16,
    weather: watch::Receiver<Weather>,
    mut losses: watch::Receiver<usize>,
) {
    if *weather.borrow() == Weather::Cut {
        return;
    }
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    let mut storm = weather.clone();
    let (out, back) = (losses.clone(), losses.clone());
    let lost = tokio::select! {
        biased;
        Ok(()) = losses.changed() => true,
        _ = pump(near_read, far_write, weather.clone(), out) => false,
        _ = pump(far_read, near_write, weather, back) => false,
        _ = storm.wait_for(|weather| *weather == Weather::Cut) => false,
    };
    if lost {
        // Both sockets stay open.
        std::future::pending().await
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut weather: watch::Receiver<Weather>,
    losses: watch::Receiver<usize>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let Ok(now) = weather.wait_for(|weather| *weather != Weather::Stalled).await.map(|weather| *weather) else {
            return;
        };
        // What comes once it is cut has not come.
        if now == Weather::Cut {
            return;
        }
        if let Weather::Latency(delay) = now
            && !delay.is_zero()
        {
            tokio::time::sleep(delay).await;
        }
        if losses.has_changed().unwrap_or(true) {
            return std::future::pending().await;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
