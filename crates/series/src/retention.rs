//! How long what is kept: single readings, and what remains of them afterwards, by the hour and by the day. It does not
//! know how an engine forgets.

use sitian_model::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// How finely the past is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Every reading.
    Raw,
    /// Count, mean, extremes and ends of every hour.
    Hourly,
    /// The same of every day.
    Daily,
}

impl Class {
    /// From fine to coarse.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Hourly, Self::Daily];

    /// A stable snake_case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
        }
    }
}

/// How many days each class is kept, counted from the time of the reading; `None` is for ever. The default keeps
/// everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Days of [`Class::Raw`].
    pub raw_days: Option<u32>,
    /// Days of [`Class::Hourly`].
    pub hourly_days: Option<u32>,
    /// Days of [`Class::Daily`].
    pub daily_days: Option<u32>,
    /// Where days of the daily class begin: milliseconds behind midnight UTC. China Standard Time: −28 800 000.
    pub day_offset_ms: i64,
}

/// A coarser class would be forgotten before a finer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("keep {} {coarse_days} days, less than {}", coarse.word(), fine.word())]
pub struct RetentionFault {
    /// The class that is kept too short.
    pub coarse: Class,
    /// How long.
    pub coarse_days: u32,
    /// The class that it must outlast.
    pub fine: Class,
}

impl Retention {
    /// Days of a class.
    pub fn days(&self, class: Class) -> Option<u32> {
        match class {
            Class::Raw => self.raw_days,
            Class::Hourly => self.hourly_days,
            Class::Daily => self.daily_days,
        }
    }

    /// Checks that coarser classes outlast finer ones.
    ///
    /// # Errors
    /// One does not.
    pub fn check(&self) -> Result<(), RetentionFault> {
        for (fine, coarse) in [(Class::Raw, Class::Hourly), (Class::Hourly, Class::Daily)] {
            let longest = self.days(fine);
            if let Some(coarse_days) = self.days(coarse)
                && longest.is_none_or(|fine_days| fine_days > coarse_days)
            {
                return Err(RetentionFault { coarse, coarse_days, fine });
            }
        }
        Ok(())
    }

    /// What is older than this is no longer kept in a class; `None` if everything is.
    pub fn cutoff(&self, class: Class, now: Timestamp) -> Option<Timestamp> {
        self.days(class).map(|days| now.plus_ms(-i64::from(days) * DAY_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarser_classes_must_outlast_finer_ones() {
        for (raw_days, hourly_days, daily_days, coarse) in [
            (None, None, None, None),
            (Some(90), None, None, None),
            (Some(90), Some(730), None, None),
            (Some(90), Some(730), Some(3_650), None),
            (Some(90), Some(90), Some(90), None),
            (Some(90), Some(89), None, Some(Class::Hourly)),
            (None, Some(90), None, Some(Class::Hourly)),
            (Some(90), None, Some(400), Some(Class::Daily)),
        ] {
            let retention = Retention { raw_days, hourly_days, daily_days, day_offset_ms: 0 };
            assert_eq!(retention.check().err().map(|fault| fault.coarse), coarse, "{retention:?}");
        }
        let retention = Retention { raw_days: Some(2), ..Retention::default() };
        assert_eq!(retention.cutoff(Class::Raw, Timestamp(3 * DAY_MS)), Some(Timestamp(DAY_MS)));
        assert_eq!(retention.cutoff(Class::Daily, Timestamp(0)), None);
    }
}
