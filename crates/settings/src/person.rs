//! What a program's command line shares with every other: overrides as flags, faults as an error, the listing of `config`.

use std::process::ExitCode;

use sitian_model::ConfigFault;

use crate::Loaded;

/// All faults of a configuration, as one error. Its text is every fault at its place, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<ConfigFault>);

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(n, fault)| write!(f, "{}{fault}", if n == 0 { "" } else { "\n" }))
    }
}

impl std::error::Error for Faults {}

/// Reads `mqtt.host=192.168.1.2`, for use as a flag's value parser.
pub fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The process's environment, as far as it is text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

/// Every value in force and its origin, one a line.
pub fn listing<T>(loaded: &Loaded<T>) -> String {
    let settings = loaded.effective().into_iter().map(|v| (format!("{} = {}", v.key, v.value), v.origin));
    let settings: Vec<_> = settings.collect();
    let width = settings.iter().map(|(setting, _)| setting.chars().count()).max().unwrap_or(0).min(60);
    settings.iter().map(|(setting, origin)| format!("{setting:<width$}   # {origin}\n")).collect()
}

/// How a program ends: 0, 2 for a faulty configuration, 1 for anything else, told on standard error. An error's text
/// completes "failed to".
pub fn exit_code<E: std::fmt::Display>(outcome: Result<(), E>, faults: impl Fn(&E) -> bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if faults(&error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("failed to {error:#}");
            ExitCode::FAILURE
        }
    }
}
