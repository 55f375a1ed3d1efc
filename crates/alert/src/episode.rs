//! What comes out of the engine: episodes and the changes they go through.

pub use sitian_model::Severity;
use sitian_model::{BaseId, GatewayId, PointId, PointNo, Timestamp};

/// Where an episode stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The condition holds, but not yet for as long as the rule asks.
    Pending,
    /// The condition has held for long enough. Acknowledged or not, it fires until it clears.
    Firing,
    /// Over.
    Resolved,
}

impl Phase {
    /// Every phase, in order of life.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Firing, Self::Resolved];

    /// A stable lower-case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    /// The phase of this word, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.word() == word)
    }
}

/// What an episode is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One point, by registry number and by name.
    Point(PointNo, PointId),
    /// One gateway.
    Gateway(GatewayId),
}

impl Subject {
    /// The gateway concerned: the subject itself or the one that reads the point.
    pub fn gateway(&self) -> &GatewayId {
        match self {
            Self::Point(_, id) => &id.gateway,
            Self::Gateway(gateway) => gateway,
        }
    }
}

/// Who has taken note of an episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The person, as they name themselves; 1 to 100 characters.
    pub by: String,
    /// When, by the ingestor's clock.
    pub at: Timestamp,
    /// What they want to say; may be empty; at most 1000 characters.
    pub note: String,
    /// How severe the episode was then. Noting a yellow episode says nothing about the red one it grew into.
    pub severity: Severity,
}

/// One exceedance of one rule by one subject, from its first reading to its last. A rule with several levels has one
/// episode whose severity rises and falls, not one per level.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// Counts up from 1 over the life of the store; never reused.
    pub id: u64,
    /// Id of the rule.
    pub rule: String,
    /// The worst level reached and not yet cleared; after the end the last one before it.
    pub severity: Severity,
    /// The worst level of the whole episode.
    pub severity_worst: Severity,
    /// What it is about.
    pub subject: Subject,
    /// Where the subject stands, if that is known.
    pub base: Option<BaseId>,
    /// Where the episode stands.
    pub phase: Phase,
    /// Sample time of the reading that began it; for silence the last sign of life.
    pub started_at: Timestamp,
    /// When the condition had held for long enough (sample time; for silence the moment the patience ran out).
    pub fired_at: Option<Timestamp>,
    /// Sample time of the reading that ended it.
    pub resolved_at: Option<Timestamp>,
    /// Who has taken note last.
    pub acknowledged: Option<Acknowledgement>,
    /// The latest value, in the point's unit; `None` for silence.
    pub value: Option<f64>,
    /// The threshold of the present severity, in the point's unit; for silence in milliseconds.
    pub threshold: Option<f64>,
    /// The value farthest beyond the threshold so far; `None` for silence.
    pub peak: Option<f64>,
    /// True if it was found in readings that came late: history, entered whole when it was over, never paged.
    pub late: bool,
}

impl Episode {
    /// True while it is pending or firing.
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Resolved
    }

    /// True if a person has taken note at the present severity or a worse one.
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged.as_ref().is_some_and(|a| a.severity >= self.severity)
    }

    /// Notes that a person knows. Returns false, changing nothing, if it is acknowledged already.
    /// The engine does this for open episodes; for a resolved one the owner of the log may do it directly.
    ///
    /// # Errors
    /// An empty or overlong name, an overlong note.
    pub fn acknowledge(&mut self, by: &str, note: &str, at: Timestamp) -> Result<bool, AcknowledgeError> {
        let (by, note) = (by.trim(), note.trim());
        if by.is_empty() || by.chars().count() > NAME_CHARS_MAX {
            return Err(AcknowledgeError::Name);
        }
        if note.chars().count() > NOTE_CHARS_MAX {
            return Err(AcknowledgeError::Note);
        }
        if self.is_acknowledged() {
            return Ok(false);
        }
        let (by, note) = (by.to_owned(), note.to_owned());
        self.acknowledged = Some(Acknowledgement { by, at, note, severity: self.severity });
        Ok(true)
    }
}

/// Longest name of an acknowledging person, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Longest note of an acknowledging person, in characters.
pub const NOTE_CHARS_MAX: usize = 1000;

/// Why an episode was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    /// No such episode is pending or firing: it never existed or is over.
    #[error("acknowledge the episode: no open episode has this number")]
    NotOpen,
    /// Nobody signs.
    #[error("acknowledge the episode: the name must have 1 to {NAME_CHARS_MAX} characters")]
    Name,
    /// Too much to say.
    #[error("acknowledge the episode: the note must have at most {NOTE_CHARS_MAX} characters")]
    Note,
}

/// What happened to an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The condition began to hold.
    Pending,
    /// It has held for long enough (or the rule asks for no duration).
    Fired,
    /// A worse level was reached while firing.
    Escalated,
    /// The worst level cleared, a milder one still fires.
    Eased,
    /// It is over. With `late` set: a whole historical episode, told once.
    Resolved,
    /// A person has taken note.
    Acknowledged,
    /// A pending episode ended before it fired, or its rule or point is gone: it is over and deserves no attention.
    Dropped,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Fired,
        Self::Escalated,
        Self::Eased,
        Self::Resolved,
        Self::Acknowledged,
        Self::Dropped,
    ];

    /// A stable lower-case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Fired => "fired",
            Self::Escalated => "escalated",
            Self::Eased => "eased",
            Self::Resolved => "resolved",
            Self::Acknowledged => "acknowledged",
            Self::Dropped => "dropped",
        }
    }

    /// The kind of this word, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.word() == word)
    }
}

/// One step of an episode's life, for the alert log.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The episode as it is afterwards.
    pub episode: Episode,
}
