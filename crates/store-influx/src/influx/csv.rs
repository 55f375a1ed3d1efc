//! Reads the CSV in which InfluxDB 2 answers queries.
//!
//! ```text
//!  #datatype,string,long,…                  annotations, if asked for: passed over
//!  ,result,table,_time,_value               the columns of the next tables
//!  ,first,0,2024-10-04T00:00:00.5Z,7
//!                                           an empty line: other columns follow
//!  ,error,reference                         it failed on the way; what came before is not all
//!  ,"engine: out of memory",
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use crate::moment::milliseconds;

/// One line of a table.
pub(super) struct Record<'a> {
    columns: &'a HashMap<String, usize>,
    cells: &'a [Cow<'a, str>],
}

impl Record<'_> {
    /// What stands in a column; `None` without such a column.
    pub(super) fn get(&self, column: &str) -> Option<&str> {
        Some(self.cells.get(*self.columns.get(column)?)?.as_ref())
    }

    /// `_time` in Unix milliseconds.
    pub(super) fn time(&self) -> Option<i64> {
        milliseconds(self.get("_time")?)
    }

    /// `_value` as a number.
    pub(super) fn number(&self) -> Option<f64> {
        self.get("_value")?.parse().ok()
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.cells)
    }
}

/// Hands every line of every table to `each`.
///
/// # Errors
/// What the server says went wrong on the way, or what `each` or nobody understands.
pub(super) fn records(
    text: &str,
    mut each: impl FnMut(&Record<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let (mut rest, mut columns) = (text, None::<HashMap<String, usize>>);
    while !rest.is_empty() {
        let cells = line(&mut rest)?;
        let annotation = cells[0].starts_with('#');
        if let [empty] = &cells[..]
            && empty.is_empty()
        {
            columns = None;
        } else if let Some(columns) = columns.as_ref().filter(|_| !annotation) {
            if columns.contains_key("error") && columns.contains_key("reference") {
                return Err(format!("it failed on the way: {}", cells.get(1).map_or("", AsRef::as_ref)));
            }
            if cells.len() != columns.len() {
                return Err(format!("{cells:?} has not the {} columns of its table", columns.len()));
            }
            each(&Record { columns, cells: &cells })?;
        } else if !annotation {
            columns = Some(cells.iter().enumerate().map(|(place, name)| (name.to_string(), place)).collect());
        }
    }
    Ok(())
}

/// The cells of the next line; quoted ones may hold separators, quotes and line ends.
fn line<'a>(rest: &mut &'a str) -> Result<Vec<Cow<'a, str>>, String> {
    let mut cells = Vec::new();
    loop {
        let cell = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut end = 0;
                loop {
                    end += quoted[end..].find('"').ok_or("a quote is never closed")?;
                    match quoted[end..].strip_prefix("\"\"") {
                        Some(_) => end += 2,
                        None => break,
                    }
                }
                *rest = &quoted[end + 1..];
                Cow::Owned(quoted[..end].replace("\"\"", "\""))
            }
            None => {
                let end = rest.find([',', '\r', '\n']).unwrap_or(rest.len());
                let cell = &rest[..end];
                *rest = &rest[end..];
                Cow::Borrowed(cell)
            }
        };
        cells.push(cell);
        if let Some(more) = rest.strip_prefix(',') {
            *rest = more;
            continue;
        }
        *rest = rest.strip_prefix('\r').unwrap_or(rest);
        return match rest.strip_prefix('\n') {
            Some(more) => {
                *rest = more;
                Ok(cells)
            }
            None if rest.is_empty() => Ok(cells),
            None => Err("something follows a closing quote".to_owned()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Result, moment, number.
    type Seen = (String, Option<i64>, Option<f64>);

    fn read(text: &str) -> Result<Vec<Seen>, String> {
        let mut found = Vec::new();
        let each = |record: &Record<'_>| {
            found.push((record.get("result").unwrap_or("-").to_owned(), record.time(), record.number()));
            Ok(())
        };
        records(text, each).map(|()| found)
    }

    #[test]
    fn tables_of_several_results_with_other_columns_are_read_one_after_the_other() {
        let text = ",result,table,_time,_value\r\n,first,0,2024-10-04T00:00:00Z,7\r\n,first,1,2024-10-04T00:00:00.25Z,-0\r\n\
                    \r\n\r\n#datatype,string,long,double\r\n,result,table,_value,\"odd, \"\"name\"\"\"\r\n,last,0,1.5,\"a,\nb\"\r\n\r\n";
        let day = 20_000 * 86_400_000;
        let found = read(text).unwrap();
        let expected = [
            ("first".to_owned(), Some(day), Some(7.0)),
            ("first".to_owned(), Some(day + 250), Some(-0.0)),
            ("last".to_owned(), None, Some(1.5)),
        ];
        assert_eq!(found, expected);
        assert!(found[1].2.is_some_and(f64::is_sign_negative), "the sign of nothing stays");
        assert_eq!(read(""), Ok(Vec::new()));
        assert_eq!(read("\r\n"), Ok(Vec::new()));
    }

    #[test]
    fn an_answer_that_failed_on_the_way_or_is_torn_is_no_answer() {
        let begun = ",result,table,_time,_value\r\n,,0,2024-10-04T00:00:00Z,7\r\n";
        for (rest, why) in [
            (
                "\r\n,error,reference\r\n,\"out of \"\"memory\"\"\",897\r\n",
                "failed on the way: out of \"memory\"",
            ),
            (
                "\r\n#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n,stopped,\r\n",
                "failed on the way: stopped",
            ),
            (",,0,2024-10", "columns"),
            (",,0,2024-10-04T00:00:00Z,\"7", "quote"),
            (",,0,2024-10-04T00:00:00Z,\"7\"8\r\n", "quote"),
        ] {
            let found = read(&format!("{begun}{rest}"));
            assert!(found.as_ref().is_err_and(|found| found.contains(why)), "{rest}: {found:?}");
        }
    }
}
