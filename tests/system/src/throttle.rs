//! A slow disk: a control group whose processes write to one block device at so many bytes per second, and no faster. Needs
//! root and the kernel's I/O controller, of version 1 or 2; where one is missing, making one says so.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The group. It goes when it is dropped, once its processes are gone.
#[derive(Debug)]
pub struct Throttle(PathBuf);

impl Throttle {
    /// For this block device.
    ///
    /// # Errors
    /// Says what this machine lacks.
    pub fn new(device: &str, bytes_per_s: u64) -> Result<Self, String> {
        let number = std::fs::metadata(device).map_err(|error| format!("{device}: {error}"))?.rdev();
        let (major, minor) = ((number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xF_FF00));
        let old = Path::new("/sys/fs/cgroup/blkio");
        let (root, file, limit) = if old.exists() {
            (old, "blkio.throttle.write_bps_device", format!("{major}:{minor} {bytes_per_s}"))
        } else {
            (Path::new("/sys/fs/cgroup"), "io.max", format!("{major}:{minor} wbps={bytes_per_s}"))
        };
        // The second version hands a controller down only when it is told to; the first knows no such file.
        let _ = std::fs::write(root.join("cgroup.subtree_control"), "+io");
        let group = Self(root.join(format!("sitian-slow-{}", std::process::id())));
        let set = std::fs::create_dir(&group.0).and_then(|()| std::fs::write(group.0.join(file), limit));
        set.map(|()| group).map_err(|error| format!("no I/O control group: {error}"))
    }

    /// What a program has to run under.
    pub fn under(&self) -> Vec<String> {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        ["sh", "-c", &enter, "sh"].map(str::to_owned).into()
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // Its processes have been killed; the kernel takes a moment to see that.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}
