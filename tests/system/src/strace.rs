//! System calls that fail, lie, dawdle or kill: strace between a program and the kernel.

use std::path::Path;

use crate::card::said;

/// What to start a program under, so that these injections meet its system calls from its start on. A rule is what
/// strace takes, such as `fdatasync:error=EIO:when=3`. The program stays our own child; what was injected is noted in
/// `folder`.
pub fn inject(folder: &Path, rules: &[&str]) -> Vec<String> {
    let calls: Vec<&str> = rules.iter().filter_map(|rule| rule.split(':').next()).collect();
    let log = folder.join("strace.log").to_string_lossy().into_owned();
    let mut under: Vec<String> = ["strace", "-D", "-f", "-qq", "-A", "-o", &log].map(str::to_owned).into();
    under.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
    rules.iter().for_each(|rule| under.extend(["-e".to_owned(), format!("inject={rule}")]));
    under
}

/// What to start a program under, so that these calls of it are noted in `folder` in their order, with the paths of what
/// they work on, and nothing is tampered with.
pub fn watch(folder: &Path, calls: &[&str]) -> Vec<String> {
    let log = folder.join("strace.log").to_string_lossy().into_owned();
    let mut under: Vec<String> =
        ["strace", "-D", "-f", "-qq", "-y", "-A", "-o", &log].map(str::to_owned).into();
    under.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
    under
}

/// What these notes say.
pub fn noted(folder: &Path) -> String {
    let log = std::fs::read(folder.join("strace.log")).unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
}

/// Whether injections work on this machine.
///
/// # Errors
/// Says what it lacks.
pub fn works() -> Result<(), String> {
    let options = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=read", "-e"];
    said("strace", &[&options[..], &["inject=read:delay_exit=1", "cat", "/dev/null"]].concat())?;
    match said("strace", &[&options[..], &["inject=read:error=EIO", "cat", "/dev/null"]].concat()) {
        Ok(_) => Err("strace injects nothing here".to_owned()),
        Err(_) => Ok(()),
    }
}

/// How many calls were tampered with so far; a kill is one.
pub fn injected(folder: &Path) -> usize {
    noted(folder)
        .lines()
        .filter(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)") || line.ends_with("= ?"))
        .count()
}
