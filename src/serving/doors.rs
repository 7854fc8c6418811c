//! Who is let in. Connections that have not logged in yet are few and cheap: when there are too many, the one that has waited longest
//! gives up its place, so that nobody is locked out by those who never say who they are. Sessions have seats.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How many are let in. Each costs a file descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Logged in.
    pub sessions: usize,
    /// Not logged in yet.
    pub waiting: usize,
}

pub struct Doors {
    room: Room,
    waiting: Mutex<Queue>,
    seats: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    /// Who waits longest comes first.
    all: BTreeMap<u64, Arc<Notify>>,
}

impl Doors {
    pub fn new(room: Room) -> Self {
        Self { room, waiting: Mutex::default(), seats: Arc::new(Semaphore::new(room.sessions)) }
    }

    /// A place to log in from.
    pub fn enter(self: &Arc<Self>) -> Waiting {
        let out = Arc::new(Notify::new());
        let mut queue = self.waiting.lock().expect("waiting lock");
        let number = queue.next;
        queue.next += 1;
        queue.all.insert(number, out.clone());
        if queue.all.len() > self.room.waiting
            && let Some((_, longest)) = queue.all.pop_first()
        {
            longest.notify_one();
        }
        Waiting { number, out, doors: self.clone() }
    }

    /// A session's seat; `None`: all are taken.
    pub fn seat(&self) -> Option<OwnedSemaphorePermit> {
        self.seats.clone().try_acquire_owned().ok()
    }
}

/// The place of a connection that has not logged in yet.
pub struct Waiting {
    number: u64,
    out: Arc<Notify>,
    doors: Arc<Doors>,
}

impl Waiting {
    /// Ends when others need the place.
    pub async fn turned_out(&self) {
        self.out.notified().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.doors.waiting.lock().expect("waiting lock").all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_longest_makes_room() {
        let doors = Arc::new(Doors::new(Room { sessions: 1, waiting: 2 }));
        let (first, second) = (doors.enter(), doors.enter());
        assert!(futures::poll!(std::pin::pin!(first.turned_out())).is_pending());
        let third = doors.enter();
        assert!(futures::poll!(std::pin::pin!(first.turned_out())).is_ready());
        drop(second);
        let _fourth = doors.enter();
        assert!(futures::poll!(std::pin::pin!(third.turned_out())).is_pending());
    }

    #[test]
    fn seats_come_back() {
        let doors = Doors::new(Room { sessions: 1, waiting: 1 });
        let seat = doors.seat();
        assert!(seat.is_some() && doors.seat().is_none());
        drop(seat);
        assert!(doors.seat().is_some());
    }
}
