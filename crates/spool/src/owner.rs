//! Whose records an epoch holds, in a word that outlives them.

/// The most bytes of the word.
pub(crate) const OWNER_BYTES_MAX: usize = 32;

/// A word of 1 to 32 bytes without NUL, opaque to the spool, that the caller gives an epoch. It is kept beside what is
/// remembered of an epoch without segments, whose manifest is gone with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner([u8; OWNER_BYTES_MAX]);

impl Owner {
    /// `None` if the word is empty, too long or holds a NUL.
    pub fn new(word: &str) -> Option<Self> {
        let fits = !word.is_empty() && word.len() <= OWNER_BYTES_MAX && !word.contains('\0');
        fits.then(|| Self::from_bytes(word.as_bytes()))
    }

    /// What a mark holds; cut to what fits.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut word = [0; OWNER_BYTES_MAX];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self(word)
    }

    /// Without the padding; empty if nobody has said.
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(OWNER_BYTES_MAX);
        &self.0[..len]
    }

    /// The word; empty if nobody has said.
    pub fn word(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}
