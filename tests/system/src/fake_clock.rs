//! A board without a clock battery: a wall clock that lies to one program, and a boot that only that program sees.

use std::path::{Path, PathBuf};

/// A time server's mark; where it exists the machine's own clock is believed, however it is faked.
const VOUCHED: &str = "/run/systemd/timesync/synchronized";

/// A wall clock that the test moves, under a program. Monotonic time stays what it is.
#[derive(Debug)]
pub struct FakeClock {
    library: PathBuf,
    /// Holds the offset in seconds; read anew at each question.
    file: PathBuf,
}

impl FakeClock {
    /// In this folder.
    ///
    /// # Errors
    /// Why that does not work here.
    pub fn find(folder: &Path) -> Result<Self, String> {
        if Path::new(VOUCHED).exists() {
            return Err(format!("{VOUCHED} exists: the gateway believes this machine"));
        }
        let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let mut found = libraries.map(|one| one.path().join("faketime/libfaketimeMT.so.1"));
        let library =
            found.find(|path| path.exists()).ok_or("libfaketime (Debian: faketime) is not installed")?;
        Ok(Self { library, file: folder.join("clock") })
    }

    /// From now on the clock is off by so many seconds.
    pub fn set(&self, offset_s: i64) {
        std::fs::write(&self.file, format!("{offset_s:+}")).expect("a writable folder");
    }

    /// What a program has to run under.
    pub fn under(&self) -> Vec<String> {
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ]
    }
}

/// The same, borrowed.
pub fn words(under: &[String]) -> Vec<&str> {
    under.iter().map(String::as_str).collect()
}

/// What a program has to run under so that it sees another boot of this machine.
///
/// # Errors
/// Why that does not work here.
pub fn another_boot(folder: &Path) -> Result<Vec<String>, String> {
    let id = folder.join("boot_id");
    std::fs::write(&id, "0badb007-0bad-4b00-8bad-0badb0070bad\n").expect("a writable folder");
    // The kernel's name of this boot is another one, for this program alone.
    let boot = format!("mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$@\"", id.display());
    let under: Vec<String> =
        ["unshare", "-m", "--propagation", "slave", "sh", "-c", &boot, "sh"].map(str::to_owned).to_vec();
    let status = std::process::Command::new("unshare").args(&under[1..]).arg("true").status();
    if status.is_ok_and(|status| status.success()) {
        Ok(under)
    } else {
        Err("no right to unshare and mount".into())
    }
}
