//! Unix sockets of the host that are granted: bytes alone are carried, no descriptors and no credentials.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::relay::Bounds;
use crate::{Gateway, relay};

/// Takes connections to one of them.
pub(crate) async fn serve(path: PathBuf, listener: OwnedFd, gateway: Rc<Gateway>, room: Arc<Semaphore>) {
    let Ok(listener) = UnixListener::from_std(StdListener::from(listener)) else { return };
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (path, gateway) = (path.clone(), Rc::clone(&gateway));
                tokio::task::spawn_local(async move {
                    match UnixStream::connect(&path).await {
                        Ok(up) => {
                            let _ = relay::both(&gateway.buffer, &stream, &up, &Bounds::NONE).await;
                        }
                        // The task's connection ends.
                        Err(error) => gateway.refusals.unreached(&path, error.to_string()).await,
                    }
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
