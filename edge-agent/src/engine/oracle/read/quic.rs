//! Whether a datagram begins a QUIC connection (RFC 8999 section 5.1, RFC 9000 section 17.2.2, RFC 9369 section 3).

/// It does, or may, in a version that is not known.
pub fn begins(datagram: &[u8]) -> bool {
    // Flags, version, and the lengths of two connection IDs.
    let [flags, a, b, c, d, _, _, ..] = *datagram else { return false };
    if flags >> 6 != 3 {
        return false;
    }
    let kind = flags >> 4 & 3;
    match u32::from_be_bytes([a, b, c, d]) {
        // A server's answer to a version that it does not speak.
        0 => false,
        1 => kind == 0,
        0x6b33_43cf => kind == 1,
        0xff00_0000..=0xff00_00ff | 0xface_b000..=0xface_b00f => kind == 0,
        // Reserved, to hear what a server speaks (RFC 9000 section 15).
        version if version.to_be_bytes().iter().all(|byte| byte & 15 == 10) => kind == 0,
        _ => true,
    }
}
