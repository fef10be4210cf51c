//! [`Stream`]: a byte stream of a runtime as `redis` reads and writes it.
//!
//! Not a buffer. A read takes at most [`READ_MAX`] bytes: room that is offered has to be zeroed
//! first, and the room of a connection that once carried a large value is large for good, so that
//! every small read after it would cost as much as the large one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead as _, AsyncWrite as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::notes::Notes;
use crate::runtime::BoxedStream;
#[cfg(feature = "tls")]
use crate::tls::{explained, is_fault};

/// Most bytes of one read.
const READ_MAX: usize = 64 * 1024;

/// A byte stream.
pub(super) struct Stream {
    inner: BoxedStream,
    notes: Arc<Notes>,
}

impl Stream {
    pub(super) const fn new(inner: BoxedStream, notes: Arc<Notes>) -> Self {
        Self { inner, notes }
    }

    /// Notes an error of TLS.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Some(error) = result.as_ref().err().filter(|error| is_fault(error)) {
            self.notes.fail(explained(&error.to_string()));
        }
        result
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.initialize_unfilled_to(buffer.remaining().min(READ_MAX));
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, room));
        let read = self.note(read)?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes));
        Poll::Ready(self.note(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(not(feature = "tls"))]
fn explained(fault: &str) -> String {
    fault.to_owned()
}

/// Without TLS nothing is wrong with it.
#[cfg(not(feature = "tls"))]
const fn is_fault(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::io::Cursor;

    #[test]
    fn a_read_touches_no_more_room_than_it_may_take() {
        let mut room = vec![0xff_u8; 10 * READ_MAX];
        let mut uninit = std::mem::take(&mut room)
            .into_iter()
            .map(std::mem::MaybeUninit::new)
            .collect::<Vec<_>>();
        let mut buffer = ReadBuf::uninit(&mut uninit);
        let mut stream = Stream::new(Box::new(Cursor::new(vec![7_u8; 3])), Arc::default());
        let mut cx = Context::from_waker(futures_util::task::noop_waker_ref());
        let polled = Pin::new(&mut stream).poll_read(&mut cx, &mut buffer);
        assert!(matches!(polled, Poll::Ready(Ok(()))));
        assert_eq!(buffer.filled(), [7, 7, 7]);
        assert_eq!(buffer.initialized().len(), READ_MAX);
    }
}
