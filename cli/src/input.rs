//! The messages of a call, as typed or as they come in on standard input.

use std::{
    future::pending,
    io::{self, BufRead, Read},
    pin::Pin,
    thread,
};

use futures_util::Stream;
use micro_dynamic::from_json;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::failure::{Failure, Result};

/// The longest JSON of one message in bytes: four times what a message may have by default.
const MESSAGE_LENGTH_MAX: u64 = 16 * 1024 * 1024;
/// How many lines may wait to be sent.
const QUEUE_LENGTH: usize = 16;

/// What the method is sent, and what may turn out to be wrong with it while it is being sent.
pub(crate) struct Input {
    messages: Pin<Box<dyn Stream<Item = DynamicMessage> + Send>>,
    mistake: oneshot::Receiver<Failure>,
    _parser: JoinSet<()>,
}

impl Input {
    /// The messages in `text`, or those of standard input when it is `-`: one for a method that takes one, and else
    /// one a line.
    pub(crate) async fn of(text: &str, method: &MethodDescriptor) -> Result<Self> {
        let descriptor = method.input();
        match (text, method.is_client_streaming()) {
            ("-", true) => Self::lines(stdin_lines()?, descriptor),
            ("-", false) => Self::whole(&stdin().await?, &descriptor),
            (text, true) => {
                let messages = text
                    .lines()
                    .enumerate()
                    .filter(|(_, line)| !line.trim().is_empty());
                let messages: Result<Vec<_>> = messages
                    .map(|(index, line)| message(&descriptor, index + 1, line))
                    .collect();
                Ok(Self::known(messages?))
            }
            (text, false) => Self::whole(text, &descriptor),
        }
    }

    fn whole(text: &str, descriptor: &MessageDescriptor) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Failure::usage(format!(
                "nothing was given to send; the shortest JSON of a `{}` is {{}}",
                descriptor.full_name()
            )));
        }
        let message = from_json(descriptor, text).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self::known(vec![message]))
    }

    fn known(messages: Vec<DynamicMessage>) -> Self {
        Self {
            messages: Box::pin(tokio_stream::iter(messages)),
            mistake: oneshot::channel().1,
            _parser: JoinSet::new(),
        }
    }

    fn lines(mut lines: mpsc::Receiver<io::Result<String>>, descriptor: MessageDescriptor) -> Result<Self> {
        let (sender, messages) = mpsc::channel(1);
        let (made, mistake) = oneshot::channel();
        let mut parser = JoinSet::new();
        parser.spawn(async move {
            let mut number = 0;
            while let Some(line) = lines.recv().await {
                number += 1;
                let parsed = match line {
                    Ok(line) if line.trim().is_empty() => continue,
                    Ok(line) => message(&descriptor, number, &line),
                    Err(error) => Err(Failure::because("read standard input", &error)),
                };
                match parsed {
                    Ok(message) => {
                        if sender.send(message).await.is_err() {
                            // The call has ended, whatever else is typed.
                            return;
                        }
                    }
                    Err(failure) => {
                        // Nobody cares any more when the call has ended.
                        let _ = made.send(failure);
                        // The end of the messages would look like success to the server.
                        return sender.closed().await;
                    }
                }
            }
        });
        Ok(Self {
            messages: Box::pin(ReceiverStream::new(messages)),
            mistake,
            _parser: parser,
        })
    }

    /// The messages to send, and a future that answers as soon as one cannot be sent for what is wrong with it.
    pub(crate) fn into_parts(
        self,
    ) -> (
        impl Stream<Item = DynamicMessage> + Send + 'static,
        impl Future<Output = Failure>,
    ) {
        let Self {
            messages,
            mistake,
            _parser,
        } = self;
        let mistake = async move {
            let _parser = _parser;
            match mistake.await {
                Ok(failure) => failure,
                Err(_) => pending().await,
            }
        };
        (messages, mistake)
    }
}

fn message(descriptor: &MessageDescriptor, number: usize, line: &str) -> Result<DynamicMessage> {
    from_json(descriptor, line).map_err(|error| Failure::usage(format!("line {number}: {error}")))
}

/// What was typed, or all of standard input when it is `-`.
pub(crate) async fn text(typed: &str) -> Result<String> {
    match typed {
        "-" => stdin().await,
        typed => Ok(typed.to_owned()),
    }
}

/// All of standard input.
async fn stdin() -> Result<String> {
    let (sender, text) = oneshot::channel();
    read_apart(move || {
        let mut text = String::new();
        let read = io::stdin()
            .lock()
            .take(MESSAGE_LENGTH_MAX + 1)
            .read_to_string(&mut text);
        // The command is ending when nobody waits for it.
        let _ = sender.send(read.and_then(|_| within_limit(text)));
    })?;
    let read = text
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::UnexpectedEof.into()));
    read.map_err(|error| Failure::because("read standard input", &error))
}

fn stdin_lines() -> Result<mpsc::Receiver<io::Result<String>>> {
    let (sender, lines) = mpsc::channel(QUEUE_LENGTH);
    read_apart(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = String::new();
            let read = input.by_ref().take(MESSAGE_LENGTH_MAX + 1).read_line(&mut line);
            let line = match read {
                Ok(0) => return,
                read => read.and_then(|_| within_limit(line)),
            };
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(lines)
}

fn within_limit(text: String) -> io::Result<String> {
    if text.len() as u64 > MESSAGE_LENGTH_MAX {
        let reason = format!("a message has more than {MESSAGE_LENGTH_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(text)
}

/// Reads on a thread that nobody waits for: a terminal may never answer, and the command ends without it.
fn read_apart(read: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new()
        .name("micro-stdin".into())
        .spawn(read)
        .map(drop)
        .map_err(|error| Failure::because("start the thread that reads standard input", &error))
}
