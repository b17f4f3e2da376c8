//! Bits of a word. The instruction set counts none, and what a compiler makes of that is a dozen instructions.

/// The lowest set bit, alone.
#[inline(always)]
pub const fn lowest(bits: u64) -> u64 {
    bits & bits.wrapping_neg()
}

/// Number of the lowest set bit; 0 where there is none.
#[inline(always)]
pub fn lowest_number(bits: u64) -> u32 {
    u32::from(NUMBERS[(lowest(bits).wrapping_mul(DE_BRUIJN) >> 58) as usize])
}

/// Its six highest bits differ for each shift (Leiserson, Prokop, Randall 1998).
const DE_BRUIJN: u64 = 0x03f7_9d71_b4cb_0a89;

static NUMBERS: [u8; 64] = {
    let mut numbers = [0; 64];
    let mut bit = 0;
    while bit < 64 {
        numbers[((1u64 << bit).wrapping_mul(DE_BRUIJN) >> 58) as usize] = bit;
        bit += 1;
    }
    numbers
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_has_its_number_whatever_stands_above_it() {
        for bit in 0..64 {
            assert_eq!(lowest_number(1 << bit), bit);
            assert_eq!(lowest_number(u64::MAX << bit), bit);
        }
    }
}
