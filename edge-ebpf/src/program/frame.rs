//! The XDP context as the library sees it: a frame to read, and one to answer with.

use aya_ebpf::{bindings::xdp_md, helpers, programs::XdpContext};
use edge_ebpf::{
    packet::access::{Frame, FrameMut},
    reject::Buffer,
};

/// `LINEAR`: the kernel has each frame in one buffer, and no call for the length of several (before 5.18).
pub struct Context<const LINEAR: bool>(XdpContext);

impl<const LINEAR: bool> Context<LINEAR> {
    #[inline(always)]
    pub fn new(context: XdpContext) -> Self {
        Self(context)
    }

    #[inline(always)]
    pub fn raw(&self) -> *mut xdp_md {
        self.0.ctx
    }

    /// What the log macros want.
    #[inline(always)]
    pub fn log(&self) -> &XdpContext {
        &self.0
    }

    #[inline(always)]
    pub fn interface(&self) -> u32 {
        // SAFETY: the kernel's context is readable.
        unsafe { (*self.raw()).ingress_ifindex }
    }

    /// Bytes in the frame's first buffer.
    #[inline(always)]
    pub fn linear_length(&self) -> u32 {
        (self.0.data_end() - self.0.data()) as u32
    }

    #[inline(always)]
    pub fn frame(&self) -> Frame<'_> {
        // SAFETY: the kernel gives these as the bounds of the linear part; nothing resizes it while the frame is borrowed.
        unsafe { Frame::from_raw(self.0.data(), self.0.data_end()) }
    }
}

impl<const LINEAR: bool> Buffer for Context<LINEAR> {
    #[inline(always)]
    fn frame(&mut self) -> FrameMut<'_> {
        // SAFETY: as in `Context::frame`, and XDP frames are writable.
        unsafe { FrameMut::from_raw(self.0.data(), self.0.data_end()) }
    }

    #[inline(always)]
    fn grow_head(&mut self, bytes: usize) -> bool {
        // SAFETY: the context is the kernel's; on failure nothing changes.
        unsafe { helpers::generated::bpf_xdp_adjust_head(self.raw(), -(bytes as i32)) == 0 }
    }

    #[inline(always)]
    fn shrink_head(&mut self, bytes: usize) -> bool {
        // SAFETY: as in `grow_head`.
        unsafe { helpers::generated::bpf_xdp_adjust_head(self.raw(), bytes as i32) == 0 }
    }

    /// Of all buffers of the frame.
    #[inline(always)]
    fn length(&self) -> usize {
        if LINEAR {
            return self.linear_length() as usize;
        }
        // SAFETY: the context is the kernel's.
        unsafe { helpers::generated::bpf_xdp_get_buff_len(self.raw()) as usize }
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> bool {
        let delta = len as i32 - self.length() as i32;
        // SAFETY: the context is the kernel's; on failure nothing changes.
        delta > 0 || unsafe { helpers::generated::bpf_xdp_adjust_tail(self.raw(), delta) == 0 }
    }

    /// The kernel fills what is new with zeros.
    #[inline(always)]
    fn resize(&mut self, len: usize) -> bool {
        let delta = len as i32 - self.length() as i32;
        // SAFETY: as in `truncate`.
        unsafe { helpers::generated::bpf_xdp_adjust_tail(self.raw(), delta) == 0 }
    }
}
