//! Local commands: whoever may write to the gateway's spool folder may command its outputs. One connection to the socket
//! there is one order and its outcome, a line of JSON each.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::{Order, Outcome};

/// An order takes a few hundred bytes.
const LINE_BYTES_MAX: u64 = 4_096;
/// Settling, reading back and repeats take less than this.
const PATIENCE: Duration = Duration::from_secs(60);

fn path(spool: &Path) -> PathBuf {
    spool.join("control.sock")
}

/// Takes orders for ever. That this is impossible is told once and is no reason to stop polling.
pub async fn serve(spool: PathBuf, orders: mpsc::Sender<(Order, oneshot::Sender<Outcome>)>) {
    let path = path(&spool);
    // What an earlier process left behind; the spool's lock says that there is no other one now.
    let _ = std::fs::remove_file(&path);
    let bound = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    let listener = match bound {
        Ok(listener) => listener,
        Err(error) => {
            warn!(path = %path.display(), %error, "no local commands to this gateway");
            return std::future::pending().await;
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let orders = orders.clone();
                tokio::spawn(async move {
                    let talk = tokio::time::timeout(PATIENCE, converse(stream, orders)).await;
                    if let Ok(Err(error)) = talk {
                        warn!(%error, "a local command was not understood");
                    }
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn converse(
    mut stream: tokio::net::UnixStream,
    orders: mpsc::Sender<(Order, oneshot::Sender<Outcome>)>,
) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    tokio::io::BufReader::new(reader.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let mut order: Order = serde_json::from_str(&line).map_err(invalid)?;
    // Whatever it says: it came from here.
    order.centre = false;
    order.by = format!("local user {user}: {}", order.by);
    let (reply, outcome) = oneshot::channel();
    if orders.send((order, reply)).await.is_ok()
        && let Ok(outcome) = outcome.await
    {
        let mut line = serde_json::to_vec(&outcome)?;
        line.push(b'\n');
        writer.write_all(&line).await?;
    }
    Ok(())
}

/// Hands an order to the running gateway and waits for its outcome.
pub fn ask(spool: &Path, order: &Order) -> io::Result<Outcome> {
    let mut stream = UnixStream::connect(path(spool))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(invalid)
}

fn invalid(error: serde_json::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
