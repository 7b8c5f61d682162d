//! What is being waited for, said on a terminal while it takes long.

use std::{
    io::{self, IsTerminal, Write},
    pin::pin,
    time::Duration,
};

use tokio::time::sleep;

/// How long nothing need be said.
const PATIENCE: Duration = Duration::from_millis(500);

/// Waits for `work`, and says what it is doing if that takes long; it is gone from the screen once that is over.
pub(crate) async fn waiting<T>(words: impl FnOnce() -> String, work: impl Future<Output = T>) -> T {
    let errors = io::stderr();
    waiting_at(errors.is_terminal().then_some(errors), words, work).await
}

async fn waiting_at<T>(
    terminal: Option<impl Write>,
    words: impl FnOnce() -> String,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let Some(mut terminal) = terminal else {
        return work.await;
    };
    tokio::select! {
        done = &mut work => return done,
        () = sleep(PATIENCE) => {}
    }
    let words = format!("{} …", words());
    // There is no better place to say that standard error is closed.
    let _ = write!(terminal, "{words}").and_then(|()| terminal.flush());
    let done = work.await;
    let nothing = " ".repeat(words.chars().count());
    // As above. What has no colours may have no other codes either, so the line is written over.
    let _ = write!(terminal, "\r{nothing}\r").and_then(|()| terminal.flush());
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_told_and_taken_back() {
        let shown = async |takes: Duration| {
            let mut terminal = Vec::new();
            let words = || "waiting for nodes of `shop`".to_owned();
            waiting_at(Some(&mut terminal), words, sleep(takes)).await;
            String::from_utf8(terminal).unwrap()
        };
        assert_eq!(shown(PATIENCE / 2).await, "");
        let (words, nothing) = ("waiting for nodes of `shop` …", " ".repeat(29));
        assert_eq!(shown(PATIENCE * 2).await, format!("{words}\r{nothing}\r"));
    }
}
