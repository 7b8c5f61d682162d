//! A server at an address that its certificate is not for.

use crate::{Result, Shim};

/// The certificates of servers are for `localhost` and 127.0.0.1; all of 127.0.0.0/8 is this host.
const ADDRESSES: [(&str, bool); 2] = [("127.0.0.1:0", true), ("127.0.0.2:0", false)];

/// Has `ask` ask the server at `target`, `host:port`, once at an address that its certificate is for, and once at another: there it
/// has to fail, and to say `refusal`.
///
/// # Errors
///
/// When nothing can listen at these addresses.
///
/// # Panics
///
/// When it fails at the right address, or does not at the other.
pub async fn ask_elsewhere(
    target: &str,
    refusal: &str,
    ask: impl AsyncFn(String) -> Result<(), String>,
) -> Result<()> {
    for (listen, is_its_own) in ADDRESSES {
        let listen = listen.parse().expect("an address");
        let shim = Shim::listen(listen, target).await?;
        match ask(shim.address()).await {
            Ok(()) => assert!(is_its_own, "it was asked at {}", shim.address()),
            Err(shown) => assert!(!is_its_own && shown.contains(refusal), "{shown}"),
        }
    }
    Ok(())
}
