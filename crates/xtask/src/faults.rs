//! The tally of the fault tests: each leaves a row as JSON (`tests/system/src/tally.rs`); here they become one table.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const README: &str = "tests/README.md";
const BEGIN: &str = "<!-- faults: written by `cargo xtask test --record` -->\n";
const END: &str = "<!-- faults: end -->";

/// What to do with the rows that the tests have left.
#[derive(clap::Args)]
pub struct Options {
    /// Write the table into tests/README.md.
    #[arg(long)]
    record: bool,
}

/// Forgets the rows of earlier runs.
pub fn forget() -> Result<()> {
    match std::fs::remove_dir_all(folder()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove the rows of the last run")
        }
        _ => Ok(()),
    }
}

/// Prints the table, keeps it as `target/faults.md` and, if asked to, in tests/README.md.
pub fn run(options: &Options) -> Result<()> {
    tell(options.record, "the commands of the rows")
}

/// As [`run`]; `command` is what ran the tests.
pub fn tell(record: bool, command: &str) -> Result<()> {
    let rows = rows()?;
    let table = table(&rows);
    let skipped: Vec<String> = rows.iter().filter(|row| row.get("skipped").is_some()).map(told).collect();
    println!("\n== faults, and what came of them\n{table}");
    println!("{} rows, {} skipped{}", rows.len(), skipped.len(), list(&skipped));
    let text = format!("{}\n\n{table}", headline(command, rows.len(), &skipped)?);
    std::fs::write(folder().with_extension("md"), &text).context("write target/faults.md")?;
    if record { write_into_readme(&text) } else { Ok(()) }
}

fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    target.join("faults")
}

/// Every row, by number and title.
fn rows() -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(folder()).into_iter().flatten().flatten() {
        let path = entry.path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        rows.push(serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))?);
    }
    rows.sort_by_key(|row: &Value| {
        let number = word(row, "fault").trim_start_matches('F').parse().unwrap_or(u32::MAX);
        (number, word(row, "title").to_owned())
    });
    Ok(rows)
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn told(row: &Value) -> String {
    format!("{} {} ({})", word(row, "fault"), word(row, "title"), word(row, "skipped"))
}

fn list(skipped: &[String]) -> String {
    if skipped.is_empty() { String::new() } else { format!(": {}", skipped.join("; ")) }
}

fn headline(command: &str, rows: usize, skipped: &[String]) -> Result<String> {
    let date = Command::new("date").arg("+%Y-%m-%d").output().context("ask for the date")?;
    let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(format!(
        "Last recorded {date} on {cores} cores by {command}: {rows} rows, {} skipped{}.",
        skipped.len(),
        list(skipped)
    ))
}

fn table(rows: &[Value]) -> String {
    let mut table = String::from(
        "| Fault | Injected by | How many (tier) | Lost / doubled / wrong | Command |\n|---|---|---|---|---|\n",
    );
    for row in rows {
        let number = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
        let (many, came_to) = if row.get("skipped").is_some() {
            (format!("skipped: {}", word(row, "skipped")), "–".to_owned())
        } else {
            let note = word(row, "note");
            let note = if note.is_empty() { String::new() } else { format!("; {note}") };
            let harm = format!("{} / {} / {}{note}", number("lost"), number("doubled"), number("wrong"));
            (format!("{} ({})", word(row, "many"), word(row, "tier")), harm)
        };
        let cells = [
            &format!("{} {}", word(row, "fault"), word(row, "title")),
            word(row, "injected"),
            &many,
            &came_to,
            &format!("`{}`", word(row, "command")),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

fn write_into_readme(text: &str) -> Result<()> {
    let readme = std::fs::read_to_string(README).with_context(|| format!("read {README}"))?;
    let Some(new) = between(&readme, text) else {
        bail!("find the place of the table: no {BEGIN:?} in {README}")
    };
    std::fs::write(Path::new(README), new).with_context(|| format!("write {README}"))
}

/// `readme` with `text` between the two marks.
fn between(readme: &str, text: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{text}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_a_table_and_a_skipped_one_says_why() {
        let rows = [
            r#"{"fault":"F3","title":"cut","injected":"ioctl","tier":"P","command":"c","many":"4 cuts","lost":0,"doubled":1,"wrong":2,"note":"a|b"}"#,
            r#"{"fault":"F7","title":"full","injected":"tmpfs","tier":"P","command":"c","skipped":"no root"}"#,
        ];
        let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect();
        let table = table(&rows);
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| F3 cut | ioctl | 4 cuts (P) | 0 / 1 / 2; a\\|b | `c` |",
                "| F7 full | tmpfs | skipped: no root | – | `c` |",
            ]
        );
        assert_eq!(told(&rows[1]), "F7 full (no root)");
    }

    #[test]
    fn the_table_replaces_what_stood_between_the_marks() {
        let readme = format!("above\n{BEGIN}old\n{END}\nbelow\n");
        assert_eq!(between(&readme, "new\n"), Some(format!("above\n{BEGIN}new\n{END}\nbelow\n")));
        assert_eq!(between("nothing", "new"), None);
    }
}
