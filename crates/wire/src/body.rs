//! The sealed body of a message: compressed when that is smaller, decoded into a fixed budget.

use std::io::Read;

use crate::fault::{DecodeError, malformed};

/// No message is longer on the wire, in bytes.
pub const WIRE_BYTES_MAX: usize = 64 * 1024;

/// No body is longer once decoded, in bytes.
pub const DECODED_BYTES_MAX: usize = 256 * 1024;

/// 2^18 bytes: a decoder never needs a larger window than the largest body.
const WINDOW_LOG_MAX: u32 = 18;

/// Below this many bytes a zstd frame's own header eats the gain.
const COMPRESS_BYTES_MIN: usize = 64;

const LEVEL: i32 = 3;

/// A body in one of its two forms.
pub(crate) enum Packed {
    Plain(Vec<u8>),
    Zstd(Vec<u8>),
}

/// Compresses `body` if that makes it smaller.
pub(crate) fn pack(body: Vec<u8>) -> Packed {
    match compress(&body) {
        Some(small) if small.len() < body.len() => Packed::Zstd(small),
        _ => Packed::Plain(body),
    }
}

fn compress(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < COMPRESS_BYTES_MIN {
        return None;
    }
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).ok()?;
    compressor.set_parameter(zstd::zstd_safe::CParameter::WindowLog(WINDOW_LOG_MAX)).ok()?;
    compressor.compress(body).ok()
}

/// The plain form, whose length must be what was declared.
pub(crate) fn unpack(packed: Packed, declared_bytes: u32) -> Result<Vec<u8>, DecodeError> {
    let body = match packed {
        Packed::Plain(body) if body.len() > DECODED_BYTES_MAX => return Err(over_budget()),
        Packed::Plain(body) => body,
        Packed::Zstd(bytes) => decompress(&bytes)?,
    };
    if body.len() == declared_bytes as usize {
        Ok(body)
    } else {
        Err(malformed(format!("body has {} bytes, but body_bytes says {declared_bytes}", body.len())))
    }
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let broken = |e: std::io::Error| malformed(format!("body is no zstd frame: {e}"));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(broken)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
    let mut body = Vec::new();
    // One byte more than allowed shows that there would be more.
    (&mut decoder).take(DECODED_BYTES_MAX as u64 + 1).read_to_end(&mut body).map_err(broken)?;
    if body.len() > DECODED_BYTES_MAX {
        return Err(over_budget());
    }
    let rest = decoder.finish().len();
    if rest == 0 { Ok(body) } else { Err(malformed(format!("{rest} bytes follow the zstd frame"))) }
}

fn over_budget() -> DecodeError {
    malformed(format!("body decodes to more than {DECODED_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_whole_in_either_form() {
        for body in [vec![], vec![7; 10], vec![7; 1000], (0..=255).cycle().take(DECODED_BYTES_MAX).collect()]
        {
            let length = body.len() as u32;
            assert_eq!(unpack(pack(body.clone()), length), Ok(body));
        }
    }

    #[test]
    fn bombs_and_liars_are_refused_within_the_budget() {
        let gigabyte = zstd::stream::encode_all(std::io::repeat(0).take(1 << 30), 1).unwrap();
        assert!(gigabyte.len() < WIRE_BYTES_MAX);
        let honest = zstd::bulk::compress(&[1; 500], 3).unwrap();
        let truncated = honest[..honest.len() - 1].to_vec();
        let trailing = [&honest[..], b"x"].concat();
        let twice = [&honest[..], &honest[..]].concat();
        let nested = zstd::bulk::compress(&gigabyte, 3).unwrap();
        let wide = {
            let mut c = zstd::bulk::Compressor::new(3).unwrap();
            c.set_parameter(zstd::zstd_safe::CParameter::WindowLog(22)).unwrap();
            c.set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(false)).unwrap();
            c.compress(&vec![3; 1 << 22]).unwrap()
        };
        for (name, packed, declared, ok) in [
            ("honest", Packed::Zstd(honest), 500, true),
            ("gigabyte", Packed::Zstd(gigabyte.clone()), 1 << 30, false),
            ("gigabyte that says it is small", Packed::Zstd(gigabyte), 100, false),
            ("nested", Packed::Zstd(nested), 100, false),
            ("truncated", Packed::Zstd(truncated), 500, false),
            ("trailing byte", Packed::Zstd(trailing), 500, false),
            ("two frames", Packed::Zstd(twice), 1000, false),
            ("window of 4 MiB", Packed::Zstd(wide), 1 << 22, false),
            ("no frame", Packed::Zstd(b"hello".to_vec()), 5, false),
            ("empty frame bytes", Packed::Zstd(vec![]), 0, false),
            ("plain with another length", Packed::Plain(vec![1, 2]), 3, false),
        ] {
            assert_eq!(unpack(packed, declared).is_ok(), ok, "{name}");
        }
    }
}
