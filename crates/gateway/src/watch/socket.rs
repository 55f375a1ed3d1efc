//! A running gateway shows its board to whoever connects to a socket in its spool folder: one line of JSON, then the end.
//! The socket has the rights of that folder; what is shown changes nothing.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tracing::warn;

use crate::board::{Board, BusRow};
use crate::clock::mono_ms;

/// Who does not take the line within this time does not get it.
const PATIENCE: Duration = Duration::from_secs(1);
/// A board of thousands of points has less than this.
const BYTES_MAX: u64 = 16 << 20;

/// Where the socket of a gateway is.
pub fn path(spool: &Path) -> PathBuf {
    spool.join("watch.sock")
}

/// Shows the board to whoever asks, for ever. That this is impossible is told once and is no reason to stop polling.
pub async fn serve(spool: PathBuf, board: Board) {
    let path = path(&spool);
    // What an earlier process left behind; the spool's lock says that there is no other one now.
    let _ = std::fs::remove_file(&path);
    let listener = match UnixListener::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(path = %path.display(), %error, "watch cannot attach to this gateway");
            return std::future::pending().await;
        }
    };
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let line = serde_json::to_vec(&board.look(mono_ms())).unwrap_or_default();
                let _ = tokio::time::timeout(PATIENCE, stream.write_all(&line)).await;
            }
            Err(_) => tokio::time::sleep(PATIENCE).await,
        }
    }
}

/// Asks a running gateway for its board. `NotFound` and `ConnectionRefused`: there is none.
pub fn ask(spool: &Path) -> io::Result<Vec<BusRow>> {
    let stream = UnixStream::connect(path(spool))?;
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    let mut text = String::new();
    stream.take(BYTES_MAX).read_to_string(&mut text)?;
    serde_json::from_str(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
