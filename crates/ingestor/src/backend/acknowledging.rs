//! A person takes note of an alert: the admission that keeps it is asked, here or at another ingestor.

use sitian_api::BackendError;
use sitian_api::view::Alert;
use tokio::sync::oneshot;

use super::{Centre, unavailable};
use crate::admit::Ask;

impl Centre {
    /// Returns the alert as it is stored then.
    pub fn take_note(&self, alert: u64, by: &str, note: &str) -> Result<Alert, BackendError> {
        let asks = match &self.others {
            None => Some(self.asks.clone()),
            Some(others) => others.pass_on(alert, by, note)?,
        };
        if let Some(asks) = asks {
            let (reply, outcome) = oneshot::channel();
            let ask = Ask::Acknowledge { alert, by: by.to_owned(), note: note.to_owned(), reply };
            let busy = || BackendError::Unavailable("the store does not answer, try again".to_owned());
            asks.blocking_send(ask).map_err(|_| busy())?;
            match outcome.blocking_recv().map_err(|_| busy())? {
                Ok(()) => {}
                Err(sitian_alert::AcknowledgeError::NotOpen) => return Err(BackendError::NotFound("alert")),
                Err(error) => return Err(BackendError::Invalid(error.to_string())),
            }
        }
        let episode = self.reader.episode(alert).map_err(unavailable)?;
        Ok(self.alert_view(&episode.ok_or(BackendError::NotFound("alert"))?))
    }
}
