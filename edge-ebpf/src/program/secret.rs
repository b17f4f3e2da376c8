//! The secrets of the tables that outlive generations.

use edge_ebpf::inspect::secret::Secrets;

use super::constants;

/// Those of the program's constants.
pub struct Secret;

impl Secrets for Secret {
    #[inline(always)]
    fn secret(&self, place: usize) -> u64 {
        constants::secret(place)
    }
}
