//! The checksums of the dialects.

/// Eight steps of the reflected CRC-16 with the polynomial 0xA001.
fn step(register: u16) -> u16 {
    (0..8).fold(register, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
}

/// CRC-16/MODBUS: what some HJ 212 stations send instead of the standard's own.
pub fn modbus(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| step(crc ^ u16::from(*byte)))
}

/// CRC-16/ARC, as SDI-12 uses it.
pub fn arc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| step(crc ^ u16::from(*byte)))
}

/// The "ANSI CRC16" of HJ 212. Each step keeps only the high byte of the register: the result is one of 256 values, and
/// about one random change of two digits in a hundred passes it. Values need their plausible range all the more.
pub fn hj212(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| step((crc >> 8) ^ u16::from(*byte)))
}

/// Sum of all bytes modulo 256 (DL/T 645).
pub fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Exclusive or of all bytes (NMEA 0183).
pub fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}
