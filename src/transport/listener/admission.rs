//! How many connections there may be, altogether and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

use crate::domain::source::source_of;

/// How often the log says that connections are refused.
const TELL: Duration = Duration::from_secs(10);

/// Counts connections.
pub struct Admission {
    most: u32,
    most_per_address: u32,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
    told: Option<Instant>,
}

/// The place of one connection; free again when it is dropped.
pub struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    /// At most `most`, and at most `most_per_address` from one address.
    pub fn new(most: u32, most_per_address: u32) -> Self {
        Self { most, most_per_address, present: Mutex::default() }
    }

    /// A place for a connection from there, if there is one. An IPv6 network of 64 bits is one address.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = source_of(address);
        let mut present = self.present();
        let here = present.by_address.get(&address).copied().unwrap_or_default();
        if present.all >= self.most || here >= self.most_per_address {
            if present.told.is_none_or(|told| told.elapsed() >= TELL) {
                present.told = Some(Instant::now());
                warn!(%address, here, all = present.all, "too many connections: some are refused");
            }
            return None;
        }
        present.all += 1;
        present.by_address.insert(address, here + 1);
        Some(Place { admission: self.clone(), address })
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.admission.present();
        present.all = present.all.saturating_sub(1);
        if let Some(here) = present.by_address.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                present.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let admission = Arc::new(Admission::new(3, 2));
        let [here, there] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let first = admission.admit(here).unwrap();
        let _second = admission.admit(here).unwrap();
        assert!(admission.admit(here).is_none(), "two from one address");
        let _third = admission.admit(there).unwrap();
        assert!(admission.admit(there).is_none(), "three altogether");
        drop(first);
        let _fourth = admission.admit(there).unwrap();
        assert_eq!(admission.present().by_address.len(), 2);
    }
}
