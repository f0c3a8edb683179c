//! Arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d), and the tables
//! that kernels multiply by. Normative text: `docs/spec/erasure.md`.

/// Multiplies two field elements.
pub(crate) const fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        0
    } else {
        power(log(a) + log(b))
    }
}

/// Divides `a` by `b`. Nothing is divisible by zero: callers never ask, and get zero.
pub(crate) const fn div(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        0
    } else {
        power(log(a) + 255 - log(b))
    }
}

/// Multiplies by x.
pub(crate) const fn double(a: u8) -> u8 {
    (a << 1) ^ (if a & 0x80 == 0 { 0 } else { 0x1d })
}

const fn power(exponent: usize) -> u8 {
    POWERS[exponent % 255]
}

const fn log(a: u8) -> usize {
    LOGS[a as usize] as usize
}

/// Powers of x, which generates every element but zero.
const POWERS: [u8; 255] = {
    let (mut powers, mut exponent) = ([1; 255], 1);
    while exponent < 255 {
        powers[exponent] = double(powers[exponent - 1]);
        exponent += 1;
    }
    powers
};

/// The exponent of x that yields each element; zero has none.
const LOGS: [u8; 256] = {
    let (mut logs, mut exponent) = ([0; 256], 0_u8);
    while exponent < 255 {
        logs[POWERS[exponent as usize] as usize] = exponent;
        exponent += 1;
    }
    logs
};

/// `AFFINE[c]` is the 8×8 bit matrix of "times c" as `gf2p8affineqb` wants it: byte 7−i holds
/// the row that yields bit i of the product.
#[cfg(target_arch = "x86_64")]
pub(crate) static AFFINE: [u64; 256] = {
    let mut matrices = [0; 256];
    let mut c: u8 = 0;
    loop {
        let mut column = 0;
        while column < 8 {
            let product = mul(c, 1 << column);
            let mut bit = 0;
            while bit < 8 {
                if product >> bit & 1 == 1 {
                    matrices[c as usize] |= 1 << ((7 - bit) * 8 + column);
                }
                bit += 1;
            }
            column += 1;
        }
        if c == 255 {
            break matrices;
        }
        c += 1;
    }
};

/// `NIBBLES[c]` holds the products of c with 0..16, then with 0, 16, …, 240: two 16-byte tables
/// for a byte shuffle.
#[cfg(target_arch = "x86_64")]
pub(crate) static NIBBLES: [[u8; 32]; 256] = {
    let mut tables = [[0; 32]; 256];
    let mut c: u8 = 0;
    loop {
        let mut nibble: u8 = 0;
        while nibble < 16 {
            tables[c as usize][nibble as usize] = mul(c, nibble);
            tables[c as usize][nibble as usize + 16] = mul(c, nibble << 4);
            nibble += 1;
        }
        if c == 255 {
            break tables;
        }
        c += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplication as the specification words it: shift, add and reduce.
    fn long_mul(a: u8, b: u8) -> u8 {
        let (mut product, mut multiple) = (0, a);
        for bit in 0..8 {
            product ^= if b >> bit & 1 == 1 { multiple } else { 0 };
            multiple = double(multiple);
        }
        product
    }

    #[test]
    fn logarithms_multiply_and_divide() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), long_mul(a, b), "{a} · {b}");
                assert_eq!(
                    div(mul(a, b), b),
                    if b == 0 { 0 } else { a },
                    "{a} · {b} / {b}"
                );
            }
        }
    }
}
