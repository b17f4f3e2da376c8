//! The shared types as aya's map values: the one place where the agent vouches for their bytes.

use aya::Pod;
use edge_ebpf::abi;
use edge_ebpf::inspect::{flow::FlowEntry, learned::LearnedEntry};
use edge_ebpf::name::table::NameEntry;

/// A type that may be written to and read from a map as it lies in memory.
///
/// # Safety
/// It has no padding, and every pattern of bytes is a valid value of it.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: `repr(C)` or `repr(transparent)` of integers and arrays of them, without padding: `abi` asserts the sizes.
        unsafe impl Plain for $type {}
    )*};
}
plain!(u8, u16, u32, u64);
plain!(
    abi::Link,
    abi::Counter,
    abi::RuleEntry,
    abi::RateEntry,
    abi::Clock,
    abi::FragmentKey,
    abi::FragmentVerdict,
    abi::ReportBudget,
    abi::ReportState,
    abi::Stamp,
    abi::NameRules,
    abi::SignatureEntry,
    abi::identity::DeviceState,
    abi::identity::FactState,
    abi::identity::HelloKey,
    abi::identity::MacFacts,
    abi::beside::CopyHeader,
    abi::beside::CopyState,
    abi::beside::LessonRecord,
    NameEntry,
    FlowEntry,
    LearnedEntry,
);
// SAFETY: an array adds nothing to its elements.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Makes a [`Plain`] type a map value: neither the trait nor the types are this crate's.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Value<T>(pub T);

// SAFETY: `T` is plain, and `Value<T>` is laid out as `T`.
unsafe impl<T: Plain> Pod for Value<T> {}

impl<T: Plain> Value<T> {
    /// The same bytes, seen as a map value: root tables are too big to be copied onto the stack.
    pub fn of(value: &T) -> &Self {
        // SAFETY: `Value<T>` is `repr(transparent)` over `T`.
        unsafe { &*std::ptr::from_ref(value).cast() }
    }
}

/// The bytes of a value.
pub fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a plain type has no padding, so each of its bytes is written.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}
