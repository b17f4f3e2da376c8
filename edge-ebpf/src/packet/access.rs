//! Bounds-checked access to a frame's bytes: the only module of the library with unsafe code.
//!
//! A [`View`] is N bytes that were checked once; its getters take their place as a constant and are checked by the compiler. In the kernel
//! the same check is what the verifier looks for, so the loads go through the very pointer that was compared: an optimiser that recomputes
//! it, splits it or moves the load loses the proof, hence the inline assembly.
#![expect(unsafe_code, reason = "the one place that turns checked offsets into loads and stores")]

use core::marker::PhantomData;

use crate::turns::{Going, Turn};

/// Largest offset that can be asked for: the verifier wants it bounded, no header starts beyond it, and it is far below the 64 KiB that a
/// packet pointer may move.
const MAX_OFFSET: usize = 0x3fff;

/// Hides a value's origin from the optimiser, so that it neither recomputes a checked pointer nor drops a mask that only the verifier needs.
#[inline(always)]
pub fn opaque(value: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: a register move; no memory, no flags, no stack.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}

/// The same value, about which the verifier knows nothing any more: `noise` is XORed in and out. It follows each path with the constants
/// that the path found, so what comes after a parser is checked once for every way through it, unless they are made to look alike.
///
/// `noise` must itself be unknown in all bits that `value` may have, such as an address out of the frame.
#[inline(always)]
pub(crate) fn forget(value: usize, noise: u64) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: two register operations; no memory, no flags, no stack.
        unsafe {
            core::arch::asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) value, in(reg) noise, options(pure, nomem, nostack, preserves_flags))
        };
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = noise;
        value
    }
}

/// All ones for 0, else 0, to select by: without a branch, as in [`at_most_8`]. `value` has less than 64 bits.
///
/// The bit that such a mask stands for is [`one`]: where it meets a constant by AND, the verifier of 6.18 follows both ways.
#[inline(always)]
pub(crate) fn if_zero(value: usize) -> usize {
    if_less(value, 1)
}

/// All ones where `value` is less than `limit`, else 0; as [`if_zero`].
#[inline(always)]
pub(crate) fn if_less(value: usize, limit: usize) -> usize {
    opaque(((value.wrapping_sub(limit) as isize) >> (isize::BITS - 1)) as usize)
}

/// 1 for all ones, 0 for 0.
#[inline(always)]
pub(crate) fn one(mask: usize) -> usize {
    mask.wrapping_neg()
}

/// Calls [`Going::go_on`] up to `calls` times, until there is nothing to go on with.
#[inline(always)]
pub(crate) fn repeat<T: Turn>(calls: usize, going: &mut Going<T>) {
    #[cfg(target_arch = "bpf")]
    {
        use core::ffi::c_void;
        type Call = extern "C" fn(u64, *mut c_void) -> u64;
        extern "C" fn call<T: Turn>(_: u64, going: *mut c_void) -> u64 {
            // SAFETY: what `repeat` was called with, which nothing else uses meanwhile.
            unsafe { (*going.cast::<Going<T>>()).go_on() }.into()
        }
        // SAFETY: `bpf_loop` (Linux 5.17) by its number in `linux/bpf.h`; it calls with the counter and the pointer that it is given here.
        unsafe {
            let bpf_loop: unsafe extern "C" fn(u32, Call, *mut c_void, u64) -> i64 = core::mem::transmute(181usize);
            bpf_loop(calls as u32, call::<T>, core::ptr::from_mut(going).cast(), 0);
        }
    }
    #[cfg(not(target_arch = "bpf"))]
    for _ in 0..calls {
        if going.go_on() {
            return;
        }
    }
}

/// A frame from its first byte to its last one that is in linear memory.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    start: usize,
    end: usize,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> Frame<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let range = bytes.as_ptr_range();
        // Addresses come back as pointers in a view's getters; exposing says so to the memory model.
        Self { start: range.start.expose_provenance(), end: range.end.addr(), bytes: PhantomData }
    }

    /// # Safety
    /// `start..end` must be readable for `'a`; in the kernel, an XDP context's `data` and `data_end`.
    #[inline(always)]
    pub unsafe fn from_raw(start: usize, end: usize) -> Self {
        Self { start, end, bytes: PhantomData }
    }

    #[inline(always)]
    pub fn length(&self) -> usize {
        self.end - self.start
    }

    /// The `N` bytes at `offset`, or `None` where the frame ends before them.
    #[inline(always)]
    pub fn view<const N: usize>(&self, offset: usize) -> Option<View<'a, N>> {
        let at = checked::<N>(self.start, self.end, offset)?;
        Some(View { at, bytes: PhantomData })
    }
}

/// Bytes to parse, wherever they lie.
pub trait Bytes: Copy {
    /// The `N` bytes at `offset`, or `None` where the bytes end before them.
    fn view<const N: usize>(&self, offset: usize) -> Option<View<'_, N>>;
}

impl Bytes for Frame<'_> {
    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<View<'_, N>> {
        Frame::view(self, offset)
    }
}

/// The same value, which is at most `MAX`, one less than a power of two: said in a way that no optimiser drops before the verifier sees it.
#[inline(always)]
pub fn bounded<const MAX: usize>(value: usize) -> usize {
    const { assert!((MAX + 1).is_power_of_two(), "a mask bounds it") };
    opaque(value) & MAX
}

/// At most eight of `rest`, without a branch: the verifier would follow both ways.
#[inline(always)]
pub(crate) fn at_most_8(rest: usize) -> usize {
    let over = rest.wrapping_sub(8);
    (over & if_less(rest, 8)).wrapping_add(8)
}

/// The first bytes of the lower half of a buffer of fixed size, such as a map value. The upper half is there so that a mask bounds offsets.
#[derive(Clone, Copy)]
pub struct Held<'a, const SIZE: usize> {
    start: usize,
    length: usize,
    bytes: PhantomData<&'a [u8; SIZE]>,
}

impl<'a, const SIZE: usize> Held<'a, SIZE> {
    /// The buffer's first `length` bytes, which are in its lower half.
    #[inline(always)]
    pub fn new(buffer: &'a [u8; SIZE], length: usize) -> Self {
        const { assert!(SIZE.is_power_of_two(), "offsets are masked") };
        let start = core::ptr::from_ref(buffer).expose_provenance();
        Self { start, length, bytes: PhantomData }
    }
}

impl<const SIZE: usize> Bytes for Held<'_, SIZE> {
    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<View<'_, N>> {
        const { assert!(N <= SIZE / 2, "a view larger than what is held") };
        // As in `checked`.
        #[cfg(not(target_arch = "bpf"))]
        if offset > SIZE / 2 {
            return None;
        }
        let offset = opaque(offset) & (SIZE / 2 - 1);
        if offset + N > self.length {
            return None;
        }
        Some(View { at: opaque(self.start + offset), bytes: PhantomData })
    }
}

/// A buffer as [`Held`] reads it, to be written.
pub struct HeldMut<'a, const SIZE: usize> {
    start: usize,
    bytes: PhantomData<&'a mut [u8; SIZE]>,
}

impl<'a, const SIZE: usize> HeldMut<'a, SIZE> {
    #[inline(always)]
    pub fn new(buffer: &'a mut [u8; SIZE]) -> Self {
        const { assert!(SIZE >= 16 && SIZE.is_power_of_two(), "offsets are masked") };
        Self { start: core::ptr::from_mut(buffer).expose_provenance(), bytes: PhantomData }
    }

    /// Its first four bytes as a big-endian number.
    #[inline(always)]
    pub fn header(&self) -> u32 {
        View::<4> { at: opaque(self.start), bytes: PhantomData }.u32::<0>()
    }

    /// Writes eight bytes, the lowest one first, at `offset`, which is in the lower half.
    #[inline(always)]
    pub fn set_text(&mut self, offset: usize, word: u64) {
        let offset = opaque(offset) & (SIZE / 2 - 1);
        ViewMut::<8> { at: opaque(self.start + offset), bytes: PhantomData }.set_u64::<0>(word.swap_bytes());
    }
}

/// A frame that can be written.
pub struct FrameMut<'a> {
    start: usize,
    end: usize,
    bytes: PhantomData<&'a mut [u8]>,
}

impl<'a> FrameMut<'a> {
    pub fn new(bytes: &'a mut [u8]) -> Self {
        let range = bytes.as_mut_ptr_range();
        Self { start: range.start.expose_provenance(), end: range.end.addr(), bytes: PhantomData }
    }

    /// # Safety
    /// As for [`Frame::from_raw`], and writable.
    #[inline(always)]
    pub unsafe fn from_raw(start: usize, end: usize) -> Self {
        Self { start, end, bytes: PhantomData }
    }

    #[inline(always)]
    pub fn frame(&self) -> Frame<'_> {
        Frame { start: self.start, end: self.end, bytes: PhantomData }
    }

    /// The `N` bytes at `offset`, to be written.
    #[inline(always)]
    pub fn view_mut<const N: usize>(&mut self, offset: usize) -> Option<ViewMut<'_, N>> {
        let at = checked::<N>(self.start, self.end, offset)?;
        Some(ViewMut { at, bytes: PhantomData })
    }
}

/// The address of `offset`, if `N` bytes are there.
#[inline(always)]
fn checked<const N: usize>(start: usize, end: usize, offset: usize) -> Option<usize> {
    // Beyond the largest offset the frame counts as ended on the host; in the kernel the mask says the same to the verifier, and no caller
    // gets there, since parsing bounds what it adds up.
    #[cfg(not(target_arch = "bpf"))]
    if offset > MAX_OFFSET {
        return None;
    }
    let at = opaque(start + (opaque(offset) & MAX_OFFSET));
    if at + N > end { None } else { Some(at) }
}

/// `N` bytes of a frame, checked to be there.
#[derive(Clone, Copy)]
pub struct View<'a, const N: usize> {
    at: usize,
    bytes: PhantomData<&'a [u8]>,
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $order:ident, $instruction:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<const AT: usize>(self) -> $type {
            const { assert!(AT + size_of::<$type>() <= N, "reads beyond the view") };
            #[cfg(target_arch = "bpf")]
            {
                let value: u64;
                // SAFETY: `checked` found N bytes at `at`, and AT + the size of the value is at most N.
                unsafe {
                    core::arch::asm!($instruction, out(reg) value, in(reg) self.at, const AT,
                        options(pure, readonly, nostack, preserves_flags))
                };
                <$type>::$order(value as $type)
            }
            #[cfg(not(target_arch = "bpf"))]
            {
                let pointer = core::ptr::with_exposed_provenance::<$type>(self.at + AT);
                // SAFETY: `checked` found N bytes at `at`, and AT + the size of the value is at most N.
                <$type>::$order(unsafe { pointer.read_unaligned() })
            }
        }
    )*};
}

impl<const N: usize> View<'_, N> {
    getters! {
        u8: u8, from_be, "{0} = *(u8 *)({1} + {2})";
        /// Big-endian, as are all the wider ones.
        u16: u16, from_be, "{0} = *(u16 *)({1} + {2})";
        u32: u32, from_be, "{0} = *(u32 *)({1} + {2})";
        u64: u64, from_be, "{0} = *(u64 *)({1} + {2})";
        /// Little-endian: the first byte is the lowest one, as work on eight characters at once wants it.
        text: u64, from_le, "{0} = *(u64 *)({1} + {2})";
    }
}

/// `N` bytes of a frame, checked to be there, to be written.
pub struct ViewMut<'a, const N: usize> {
    at: usize,
    bytes: PhantomData<&'a mut [u8]>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $instruction:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<const AT: usize>(&mut self, value: $type) {
            const { assert!(AT + size_of::<$type>() <= N, "writes beyond the view") };
            #[cfg(target_arch = "bpf")]
            {
                let value = value.to_be() as u64;
                // SAFETY: `checked` found N bytes at `at`, and AT + the size of the value is at most N.
                unsafe {
                    core::arch::asm!($instruction, in(reg) value, in(reg) self.at, const AT, options(nostack, preserves_flags))
                };
            }
            #[cfg(not(target_arch = "bpf"))]
            {
                let pointer = core::ptr::with_exposed_provenance_mut::<$type>(self.at + AT);
                // SAFETY: `checked` found N bytes at `at`, and AT + the size of the value is at most N.
                unsafe { pointer.write_unaligned(value.to_be()) }
            }
        }
    )*};
}

impl<const N: usize> ViewMut<'_, N> {
    setters! {
        set_u8: u8, "*(u8 *)({1} + {2}) = {0}";
        /// Big-endian, as are all the wider ones.
        set_u16: u16, "*(u16 *)({1} + {2}) = {0}";
        set_u32: u32, "*(u32 *)({1} + {2}) = {0}";
        set_u64: u64, "*(u64 *)({1} + {2}) = {0}";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_ends_with_the_frame() {
        let bytes = [1u8, 2, 3, 4, 5, 6, 7, 8];
        let frame = Frame::new(&bytes);
        assert_eq!(frame.view::<4>(4).map(|view| (view.u8::<0>(), view.u16::<2>())), Some((5, 0x0708)));
        assert_eq!(frame.view::<8>(0).map(|view| view.u64::<0>()), Some(0x0102_0304_0506_0708));
        assert!(frame.view::<4>(5).is_none());
        assert!(frame.view::<1>(8).is_none());
        assert!(frame.view::<1>(MAX_OFFSET + 1).is_none());
        assert!(frame.view::<1>(usize::MAX).is_none());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = [0u8; 6];
        let mut frame = FrameMut::new(&mut bytes);
        frame.view_mut::<4>(1).expect("four bytes").set_u32::<0>(0x0a0b_0c0d);
        assert!(frame.view_mut::<4>(3).is_none());
        assert_eq!(bytes, [0, 0x0a, 0x0b, 0x0c, 0x0d, 0]);
    }
}
