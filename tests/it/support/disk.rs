//! A disk that is soon full: a tmpfs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::cluster::is_root;

/// The file that takes the room, until it is removed.
const BALLAST: &str = "ballast";

/// A file system of a few MiB; unmounted when it is dropped.
pub struct SmallDisk {
    path: PathBuf,
}

/// Whether one can be made: only root mounts. With `AUDIT_LOGS_TEST_DISK=required` it must be
/// possible.
pub fn can_mount() -> bool {
    let required = env::var("AUDIT_LOGS_TEST_DISK").is_ok_and(|value| value == "required");
    assert!(!required || is_root(), "a full disk is required, but only root can mount one");
    if !is_root() {
        eprintln!("only root can mount a small disk: the test of a full one is skipped");
    }
    is_root()
}

impl SmallDisk {
    /// Mounts one of `mebibytes` over the directory `path`. Fails the test where that cannot be.
    pub fn mount(path: &Path, mebibytes: u32) -> Self {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=700"), "tmpfs"])
            .arg(path)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "a tmpfs cannot be mounted: {complaint}");
        Self { path: path.to_owned() }
    }

    /// Leaves only so many bytes of room.
    pub fn fill_up_to(&self, room: u64) {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.path).output();
        let told = String::from_utf8(output.unwrap().stdout).unwrap();
        let free: u64 = told.lines().last().unwrap().trim().parse().unwrap();
        let ballast = vec![1; usize::try_from(free.saturating_sub(room)).unwrap()];
        fs::write(self.path.join(BALLAST), ballast).unwrap();
    }

    /// Gives the room back.
    pub fn free(&self) {
        fs::remove_file(self.path.join(BALLAST)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open keeps it until then.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}
