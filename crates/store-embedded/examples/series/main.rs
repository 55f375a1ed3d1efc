//! Measures the series of the embedded store, alone and beside other engines on the same data.
//!
//! ```text
//! series alone   <folder> <series> <each>            durable ingest beside compaction, size, queries, memory
//! series kills   <folder> <series> <each> <kills>    the same data, then kill -9 in compaction, over and over
//! series compare <folder> <series> <each>            SQLite rows, VictoriaMetrics, InfluxDB 1 and the store in turn
//! ```
//! `cargo xtask bench series` runs `alone` and `compare`. The folder is emptied.

mod embedded;
mod field;
mod line;
mod peers;
mod report;

use std::path::PathBuf;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize| -> Outcome<u64> { Ok(arguments.get(n).ok_or("a number is missing")?.parse()?) };
    let folder = PathBuf::from(arguments.get(1).ok_or("name a part and a folder")?);
    match arguments[0].as_str() {
        "alone" => embedded::alone(&folder, number(2)? as u32, number(3)?),
        "kills" => embedded::kills(&folder, number(2)? as u32, number(3)?, number(4)?),
        "compact" => embedded::compact(&folder),
        "compare" => peers::compare(&folder, number(2)? as u32, number(3)?),
        other => Err(format!("there is no part {other}").into()),
    }
}
