//! Map calls that aya does not make: thousands of values in one (`BPF_MAP_UPDATE_BATCH`, `BPF_MAP_LOOKUP_BATCH`, Linux 5.6), and values whose
//! size only the map knows.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::MapData;

use super::pod::Plain;

/// `enum bpf_cmd` of `linux/bpf.h`.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_long = 26;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
/// Values of one call: the kernel reads one after the other, so more would save nothing.
const CHUNK: usize = 4096;

/// `union bpf_attr` of `linux/bpf.h`, its member `batch`.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Writes `values` to the places 0, 1, … of an array whose values are `V`s: `map` must be one that [`super::object::Object::array`] gives
/// as such.
///
/// # Errors
/// If the kernel has no batches, or refuses a value; some of them may be written then.
pub fn update<V: Plain>(map: BorrowedFd<'_>, values: &[V]) -> io::Result<()> {
    let keys: Vec<u32> = (0..values.len() as u32).collect();
    for (keys, values) in keys.chunks(CHUNK).zip(values.chunks(CHUNK)) {
        let mut batch = Batch {
            in_batch: 0,
            out_batch: 0,
            keys: keys.as_ptr() as u64,
            values: values.as_ptr() as u64,
            count: keys.len() as u32,
            map_fd: map.as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel reads `count` keys of four bytes and `count` values of the map's value size, which is `V`'s, and writes only
        // `count`; all of it outlives the call.
        let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_BATCH, std::ptr::from_mut(&mut batch), size_of::<Batch>()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Reads the values of an array at the places from `first` on.
///
/// # Errors
/// If the kernel has no batches, the array's values are of another size, or it ends before.
pub fn look_up<V: Plain>(array: &MapData, first: u32, values: &mut [V]) -> io::Result<()> {
    let size = array.info().map_err(io::Error::other)?.value_size();
    if size as usize != size_of::<V>() {
        return Err(io::Error::other(format!("its values have {size} bytes")));
    }
    let mut keys = vec![0u32; values.len()];
    // The kernel goes on behind this key, and says where to go on next.
    let (before, mut next) = (first.wrapping_sub(1), 0u32);
    let mut batch = Batch {
        in_batch: if first == 0 { 0 } else { std::ptr::from_ref(&before) as u64 },
        out_batch: std::ptr::from_mut(&mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: keys.len() as u32,
        map_fd: array.fd().as_fd().as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads a key of four bytes, and writes one, `count`, and at most `count` keys of four bytes and values of the map's
    // value size, which was compared; any bytes are a `V`; all of it outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, std::ptr::from_mut(&mut batch), size_of::<Batch>()) };
    match result {
        0 if batch.count as usize == values.len() => Ok(()),
        0 => Err(io::Error::other(format!("it has {} values from {first} on, not {}", batch.count, values.len()))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads all values of an array of `entries`, whose values are `V`s.
///
/// # Errors
/// As [`look_up`].
pub fn read<V: Plain + Default>(array: &MapData, entries: u32) -> io::Result<Vec<V>> {
    let mut all = vec![V::default(); entries as usize];
    for (first, values) in (0..entries).step_by(CHUNK).zip(all.chunks_mut(CHUNK)) {
        look_up(array, first, values)?;
    }
    Ok(all)
}

/// `union bpf_attr` of `linux/bpf.h`, its member for single elements.
#[repr(C)]
struct Element {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Writes the value at `index` of an array whose values are as large as `value`.
///
/// # Errors
/// If the kernel refuses it, or the array's values are of another size.
pub fn set(array: &MapData, index: u32, value: &[u16]) -> io::Result<()> {
    let size = array.info().map_err(io::Error::other)?.value_size();
    if size as usize != size_of_val(value) {
        return Err(io::Error::other(format!("its values have {size} bytes")));
    }
    let mut element = Element {
        map_fd: array.fd().as_fd().as_raw_fd() as u32,
        reserved: 0,
        key: std::ptr::from_ref(&index) as u64,
        value: value.as_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads a key of four bytes and a value of the map's value size, which was compared; both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_ELEM, std::ptr::from_mut(&mut element), size_of::<Element>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
