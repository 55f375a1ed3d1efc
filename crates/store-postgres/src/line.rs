//! One line of an answer, read column by column. What cannot be is a damaged database, never a panic.

use sitian_model::{Epoch, GatewayId, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::fault::DatabaseError;

/// A value as it stands.
pub(crate) fn value<'a, T: FromSql<'a>>(line: &'a Row, column: usize) -> Result<T, DatabaseError> {
    line.try_get(column).map_err(|error| DatabaseError::Damaged(error.to_string()))
}

/// A whole number of fewer bits.
pub(crate) fn small<T: TryFrom<i64>>(line: &Row, column: usize) -> Result<T, DatabaseError> {
    let number: i64 = value(line, column)?;
    let damaged = || DatabaseError::Damaged(format!("{number} is too large for what it counts"));
    T::try_from(number).map_err(|_| damaged())
}

/// A number without a sign.
pub(crate) fn count(line: &Row, column: usize) -> Result<u64, DatabaseError> {
    Ok(value::<i64>(line, column)?.cast_unsigned())
}

/// The same, where there is one.
pub(crate) fn count_if(line: &Row, column: usize) -> Result<Option<u64>, DatabaseError> {
    Ok(value::<Option<i64>>(line, column)?.map(i64::cast_unsigned))
}

/// A moment.
pub(crate) fn at(line: &Row, column: usize) -> Result<Timestamp, DatabaseError> {
    Ok(Timestamp(value(line, column)?))
}

/// The same, where there is one.
pub(crate) fn at_if(line: &Row, column: usize) -> Result<Option<Timestamp>, DatabaseError> {
    Ok(value::<Option<i64>>(line, column)?.map(Timestamp))
}

/// A gateway's id.
pub(crate) fn gateway(line: &Row, column: usize) -> Result<GatewayId, DatabaseError> {
    GatewayId::new(value(line, column)?).map_err(|error| DatabaseError::Damaged(error.to_string()))
}

/// The label of an epoch, where there is one.
pub(crate) fn label_if(line: &Row, column: usize) -> Result<Option<Epoch>, DatabaseError> {
    let Some(bytes) = value::<Option<&[u8]>>(line, column)? else { return Ok(None) };
    let label = bytes.try_into().map_err(|_| DatabaseError::Damaged("an epoch has no label".to_owned()))?;
    Ok(Some(Epoch(label)))
}

/// The label of an epoch.
pub(crate) fn label(line: &Row, column: usize) -> Result<Epoch, DatabaseError> {
    label_if(line, column)?.ok_or_else(|| DatabaseError::Damaged("an epoch has no label".to_owned()))
}
