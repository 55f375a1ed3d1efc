//! Cuts a stream of bytes into lines of text, whatever ends them, and never keeps more than one line.

/// Longer lines than this are no sensor's: they are thrown away whole.
pub const LINE_BYTES_MAX: usize = 1_024;

/// The line that is being received.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    overlong: bool,
}

impl Lines {
    /// Takes what arrived and returns the lines that are complete, without their ends and without empty ones. Carriage
    /// return, line feed or both end a line; other control characters are dropped.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.bytes);
                    if !std::mem::take(&mut self.overlong) && !line.is_empty() {
                        lines.push(String::from_utf8_lossy(&line).into_owned());
                    }
                }
                0..=0x1F if *byte != b'\t' => {}
                _ if self.bytes.len() >= LINE_BYTES_MAX => {
                    self.overlong = true;
                    self.bytes.clear();
                    self.bytes.push(*byte);
                }
                _ => self.bytes.push(*byte),
            }
        }
        lines
    }

    /// What has come of a line that is not complete.
    pub fn partial(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_arrive_and_overlong_ones_never() {
        let long = "x".repeat(3 * LINE_BYTES_MAX);
        let text = format!("\0a\r\nb\n\n{long}\rc\r\n d");
        for piece in [1, 2, 7, text.len()] {
            let mut lines = Lines::default();
            let got: Vec<String> =
                text.as_bytes().chunks(piece).flat_map(|chunk| lines.push(chunk)).collect();
            assert_eq!(got, ["a", "b", "c"], "pieces of {piece}");
            assert_eq!(lines.partial(), b" d");
        }
    }
}
