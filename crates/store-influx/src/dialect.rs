//! What differs from engine to engine: how it is asked, what it keeps, and when what was written is on its disk. Writing,
//! slicing, paging and putting rows together are the same for all of them.

use std::fmt::Debug;
use std::ops::Range;

use sitian_series::Window;

use crate::fault::EngineError;
use crate::names::Choice;
use crate::rows::Moments;

/// The questions that one kind of engine understands. Moments are Unix milliseconds, `from..to` without its end.
pub(crate) trait Dialect: Debug + Send + Sync {
    /// The moments that the engine takes and keeps, by this clock.
    fn keeps(&self, now_ms: i64) -> Range<i64>;

    /// The moments that it can be asked about, by this clock.
    fn answers(&self, now_ms: i64) -> Range<i64>;

    /// Moments about which it tells its rows, and answers nothing else.
    fn blind(&self) -> Range<i64>;

    /// Returns when everything that was written before is on the engine's disk.
    fn settle(&self) -> Result<(), EngineError>;

    /// Bytes that are free on its disk; `None` if it does not tell.
    fn room(&self) -> Result<Option<u64>, EngineError>;

    /// The first and the last moment of these points.
    fn ends(&self, choice: &Choice<'_>, span: Range<i64>) -> Result<Option<(i64, i64)>, EngineError>;

    /// All fields of these points, oldest first at least as far as `most` moments reach; more may be told.
    fn fields(
        &self,
        choice: &Choice<'_>,
        span: Range<i64>,
        most: Option<usize>,
        found: &mut Moments<'_>,
    ) -> Result<(), EngineError>;

    /// The last number of each field of each series of these points.
    fn newest(
        &self,
        choice: &Choice<'_>,
        span: Range<i64>,
        found: &mut Moments<'_>,
    ) -> Result<(), EngineError>;

    /// True if it can work out windows of this length.
    fn measures(&self, window_ms: i64) -> bool;

    /// Gives windows of one length and one point, without holes between them, their numbers. False if it cannot, and the
    /// rows have to be counted.
    fn windows(
        &self,
        choice: &Choice<'_>,
        window_ms: i64,
        windows: &mut [Window],
    ) -> Result<bool, EngineError>;
}
