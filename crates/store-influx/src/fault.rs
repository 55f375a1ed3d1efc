//! What can go wrong with an engine, split by what is done about it.

/// Why an engine did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers, or the connection broke.
    #[error("reach the engine at {url}: start it, or correct storage.url")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What happened.
        #[source]
        source: Box<ureq::Error>,
    },
    /// It answers, but does not do this now.
    #[error("use the engine at {url}: it says {status} {text}")]
    Busy {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
        /// Its words.
        text: String,
    },
    /// It has more to say than is listened to: ask it about less.
    #[error("read what the engine at {url} says: it is longer than {bytes_max} bytes")]
    TooLong {
        /// Where.
        url: String,
        /// So much is listened to.
        bytes_max: u64,
    },
    /// It will never do this as it is set up.
    #[error("use the engine at {url}: {what}; {remedy}")]
    Unfit {
        /// Where.
        url: String,
        /// What is wrong.
        what: String,
        /// What a person has to do.
        remedy: &'static str,
    },
    /// It said something that nobody understands.
    #[error("understand the engine at {url}: {what}")]
    Answer {
        /// Where.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// What somebody else was told who asked for the same.
    #[error(transparent)]
    Shared(std::sync::Arc<EngineError>),
}

impl From<EngineError> for sitian_series::SeriesError {
    fn from(error: EngineError) -> Self {
        Self::Engine(Box::new(error))
    }
}
