//! The BPF program: maps, constants and entry points. What decides is in the library.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod program {
    pub mod answers;
    pub mod atomic;
    pub mod buckets;
    pub mod clock;
    pub mod constants;
    pub mod copies;
    pub mod count;
    pub mod devices;
    pub mod facts;
    pub mod frame;
    pub mod hellos;
    pub mod in_hand;
    pub mod inspect;
    pub mod learned;
    pub mod maps;
    pub mod names;
    pub mod observer;
    pub mod report;
    pub mod secret;
    pub mod tables;
    pub mod teach;
    pub mod xdp;
}

/// The kernel gives GPL-only helpers to programs that say so.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Nothing here panics (the verifier would refuse the loop); the language wants the handler.
    loop {}
}
