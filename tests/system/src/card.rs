//! An SD card: a real ext4 in a loop image whose power can be cut, or a tmpfs that fills up. Needs root; where something
//! is missing, making one says why, and the test reports itself as skipped.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// A mounted file system of its own. It is unmounted when dropped.
#[derive(Debug)]
pub struct Card {
    mounted: PathBuf,
    device: Option<String>,
    power: Option<Power>,
    /// Holds image and mount point; goes last.
    folder: TempDir,
}

/// The process that cuts.
#[derive(Debug)]
struct Power {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Card {
    /// A fresh ext4 of so many MiB, mounted.
    ///
    /// # Errors
    /// Says what this machine lacks.
    pub fn ext4(mib: u32) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = folder.path().join("card.img");
        let made = std::fs::File::create(&image).and_then(|file| file.set_len(u64::from(mib) << 20));
        made.map_err(|error| format!("no room for a card: {error}"))?;
        let image = image.to_string_lossy().into_owned();
        said("mkfs.ext4", &["-q", "-F", "-O", "^orphan_file", &image])
            .or_else(|_| said("mkfs.ext4", &["-q", "-F", &image]))?;
        let device = said("losetup", &["-f", "--show", &image])?.trim().to_owned();
        let mounted = folder.path().join("card");
        std::fs::create_dir_all(&mounted).map_err(|error| error.to_string())?;
        let mut card = Self { mounted, device: Some(device), power: None, folder };
        card.share()?;
        card.mount()?;
        card.power = Some(Power::start()?);
        Ok(card)
    }

    /// A fresh tmpfs with these mount options, such as `size=8m`.
    ///
    /// # Errors
    /// Says what this machine lacks.
    pub fn tmpfs(options: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mounted = folder.path().join("card");
        std::fs::create_dir_all(&mounted).map_err(|error| error.to_string())?;
        said("mount", &["-t", "tmpfs", "-o", options, "sitian-card", &mounted.to_string_lossy()])?;
        Ok(Self { mounted, device: None, power: None, folder })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// Its block device; none for a tmpfs.
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Cuts the power under a running process and kills it; what was not on the card is gone.
    pub fn cut(&mut self, process: u32) {
        self.cut_with(&process.to_string());
    }

    /// Cuts the power when the program that worked on it is dead already.
    pub fn cut_alone(&mut self) {
        self.cut_with("");
    }

    fn cut_with(&mut self, process: &str) {
        let power = self.power.as_mut().expect("an ext4 card");
        writeln!(power.asks, "cut {} {process}", self.mounted.display()).expect("a listening power.py");
        let mut answer = String::new();
        power.answers.read_line(&mut answer).expect("an answer of power.py");
        assert_eq!(answer.trim(), "cut");
    }

    /// Power is back: the journal is replayed, nothing is repaired by hand.
    pub fn power_on(&mut self) {
        self.unmount();
        // Whoever else still holds it, in a mount namespace that does not follow ours, keeps it without power.
        crate::wait_for("a card that mounts without a person", 180, || {
            self.mount().expect("a card that mounts");
            let works = std::fs::create_dir(self.mounted.join("power")).is_ok();
            if works {
                std::fs::remove_dir(self.mounted.join("power")).expect("a card with power");
            } else {
                self.unmount();
            }
            works.then_some(())
        });
    }

    /// The kernel meets an error on the card and turns it read-only, as it does with a dying one.
    ///
    /// # Errors
    /// Says what this machine lacks.
    pub fn fail(&self) -> Result<(), String> {
        let device =
            self.device.as_deref().and_then(|device| device.strip_prefix("/dev/")).unwrap_or_default();
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(&trigger, "1").map_err(|error| format!("{trigger}: {error}"))
    }

    /// Other tests live in mount namespaces of their own: a card taken out here has to be taken out there, or it would stay
    /// in use and not come back from a power cut.
    fn share(&self) -> Result<(), String> {
        let folder = self.folder.path().to_string_lossy();
        said("mount", &["--bind", &folder, &folder])?;
        said("mount", &["--make-shared", &folder]).map(drop)
    }

    fn mount(&self) -> Result<(), String> {
        let device = self.device.as_deref().unwrap_or_default();
        let folder = self.mounted.to_string_lossy();
        said("mount", &["-t", "ext4", "-o", "errors=remount-ro", device, &folder]).map(drop)
    }

    fn unmount(&self) {
        let folder = self.mounted.to_string_lossy();
        // Whoever was killed may hold a file for another moment.
        crate::wait_for("the card coming out", 10, || said("umount", &[&folder]).ok());
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        self.folder.disable_cleanup(crate::tally::night() && std::thread::panicking());
        let _ = said("umount", &["-l", &self.mounted.to_string_lossy()]);
        if let Some(device) = &self.device {
            let _ = said("losetup", &["-d", device]);
            let _ = said("umount", &["-l", &self.folder.path().to_string_lossy()]);
        }
        if let Some(power) = &mut self.power {
            let _ = power.child.kill();
            let _ = power.child.wait();
        }
    }
}

impl Power {
    fn start() -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/power.py");
        let mut command = Command::new("python3");
        let child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("no python3: {error}"))?;
        let asks = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Ok(Self { child, asks, answers })
    }
}

/// What a system program printed, or why it did not do what it was asked to.
pub fn said(program: &str, arguments: &[&str]) -> Result<String, String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("no {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
