//! What is due for devices from time to time: what the kernel knows of them is taken over, and all of it is written down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Agent;
use super::state::{SharedDataplane, lock};
use crate::dataplane::clock;
use crate::dataplane::error::Error;
use crate::identity::devices::Devices;
use crate::identity::report::DeviceSource;

/// Between two times that devices are written down, at the least; longer where that takes long.
const PERSIST: Duration = Duration::from_secs(60);
const SHARE: u32 = 20;
/// How often the kernel tells of facts that it has told of before, so that devices which show nothing new count as seen.
const TELL_AGAIN: Duration = Duration::from_secs(3600);
const SECOND: i64 = 1_000_000_000;

pub(super) struct Upkeep {
    persisted: Instant,
    pause: Duration,
    told_again: Instant,
    /// Gives how long it took.
    writing: Option<JoinHandle<Duration>>,
}

impl Default for Upkeep {
    fn default() -> Self {
        let now = Instant::now();
        Self { persisted: now, pause: PERSIST, told_again: now, writing: None }
    }
}

impl Agent {
    pub(super) async fn look_after_devices(&mut self) {
        if let Some(writing) = self.upkeep.writing.take_if(|writing| writing.is_finished()) {
            self.upkeep.pause = writing.await.map_or(PERSIST, |took| PERSIST.max(took * SHARE));
            self.upkeep.persisted = Instant::now();
            self.follow_owners().await;
        }
        if self.upkeep.writing.is_none() && self.upkeep.persisted.elapsed() >= self.upkeep.pause {
            let (devices, dataplane, directory) =
                (Arc::clone(&self.devices), Arc::clone(&self.dataplane), self.config.state_directory.clone());
            self.upkeep.writing = Some(tokio::task::spawn_blocking(move || {
                let start = Instant::now();
                if let Err(error) = take_from_kernel(&devices, &dataplane) {
                    tracing::warn!(%error, "what the kernel knows of devices was not looked at");
                }
                devices.persist(&directory);
                start.elapsed()
            }));
        }
        if self.upkeep.told_again.elapsed() >= TELL_AGAIN {
            self.upkeep.told_again = Instant::now();
            if let Err(error) = lock(&self.dataplane).tell_again() {
                tracing::warn!(%error, "devices that show nothing new do not count as seen");
            }
        }
    }

    /// The inventory names addresses, and one may be another device's by now.
    async fn follow_owners(&mut self) {
        if self.devices.owners_changed() {
            drop(self.load("an address of the inventory is another device's").await);
        }
    }
}

/// Takes over what the kernel knows of devices.
pub(super) fn take_from_kernel(devices: &Devices, dataplane: &SharedDataplane) -> Result<(), Error> {
    // Held to the end: the numbers of signals are others after a swap.
    let dataplane = lock(dataplane);
    devices.take_from_kernel(dataplane.devices()?, clock::now().unix_offset / SECOND);
    drop(dataplane);
    Ok(())
}

/// Tells of devices as they are now.
pub(super) fn source(devices: &Arc<Devices>, dataplane: &SharedDataplane) -> DeviceSource {
    let (devices, dataplane) = (Arc::clone(devices), Arc::clone(dataplane));
    Arc::new(move |is_first| {
        // Once for all parts of an answer.
        if is_first && let Err(error) = take_from_kernel(&devices, &dataplane) {
            tracing::warn!(%error, "what the kernel knows of devices was not looked at");
        }
        Arc::clone(&devices)
    })
}
