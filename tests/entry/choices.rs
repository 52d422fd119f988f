//! Choices from bytes.

/// The bytes that are left.
pub struct Choices<'a>(pub std::slice::Iter<'a, u8>);

impl Choices<'_> {
    /// A number below `count` (at most 256); 0 where there are no bytes left.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.next().map_or(0, |&byte| usize::from(byte) % count)
    }
}
