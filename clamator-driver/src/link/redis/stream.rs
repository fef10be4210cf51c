//! [`Stream`]: a byte stream of a runtime as `redis` reads and writes it.
//!
//! Not a buffer. What `redis` keeps to itself is noted in [`Notes`]: that large values are on their
//! way, and what was wrong with the connection's TLS. A read takes at most [`READ_MAX`] bytes: room that
//! is offered has to be zeroed first, and the room of a connection that once carried a large value
//! is large for good, so that every small read after it would cost as much as the large one.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead as _, AsyncWrite as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::runtime::BoxedStream;
#[cfg(feature = "tls")]
use crate::tls::is_fault;

/// Most bytes of one read.
const READ_MAX: usize = 64 * 1024;

/// A byte stream.
pub(super) struct Stream {
    inner: BoxedStream,
    notes: Arc<Notes>,
    /// Whether the last write had to wait.
    waited: bool,
}

/// What was noted of a connection.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// What was wrong with its TLS; not set when it is not that.
    pub(super) fault: OnceLock<String>,
    /// How many bytes came in, or were taken after they had to wait. Bytes that are taken at once
    /// go no further than this host's buffers, and tell nothing of the other side.
    moved: AtomicUsize,
}

impl Notes {
    /// Takes how many bytes moved since the last time.
    pub(super) fn take_moved(&self) -> usize {
        self.moved.swap(0, Ordering::Relaxed)
    }
}

impl Stream {
    pub(super) fn new(inner: BoxedStream) -> (Self, Arc<Notes>) {
        let notes = Arc::<Notes>::default();
        (Self { inner, notes: Arc::clone(&notes), waited: false }, notes)
    }

    /// Notes an error of TLS.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Some(error) = result.as_ref().err().filter(|error| is_fault(error)) {
            // The first one is the reason of those that follow.
            let _ = self.notes.fault.set(error.to_string());
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
        self.notes.moved.fetch_add(read, Ordering::Relaxed);
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
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        let waited = std::mem::replace(&mut self.waited, written.is_pending());
        let written = self.note(ready!(written))?;
        if waited {
            self.notes.moved.fetch_add(written, Ordering::Relaxed);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
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

    /// Takes two bytes at most, and makes every other write wait.
    #[derive(Default)]
    struct Slow {
        waits: bool,
    }

    impl futures_io::AsyncRead for Slow {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    impl futures_io::AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.waits = !self.waits;
            if self.waits { Poll::Ready(Ok(bytes.len().min(2))) } else { Poll::Pending }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn bytes_that_come_in_or_had_to_wait_are_noted_and_those_that_are_taken_at_once_are_not() {
        let mut cx = Context::from_waker(futures_util::task::noop_waker_ref());
        let (mut stream, notes) = Stream::new(Box::new(Slow::default()));
        let moved: Vec<usize> = (0..4)
            .map(|_| {
                let _ = Pin::new(&mut stream).poll_write(&mut cx, b"abcd");
                notes.take_moved()
            })
            .collect();
        assert_eq!(moved, [0, 0, 2, 0]);
        let (mut stream, notes) = Stream::new(Box::new(Cursor::new(vec![7_u8; 3])));
        let mut room = [0; 8];
        let _ = Pin::new(&mut stream).poll_read(&mut cx, &mut ReadBuf::new(&mut room));
        assert_eq!((notes.take_moved(), notes.take_moved()), (3, 0));
    }

    #[test]
    fn a_read_touches_no_more_room_than_it_may_take() {
        let mut room = vec![0xff_u8; 10 * READ_MAX];
        let mut uninit = std::mem::take(&mut room)
            .into_iter()
            .map(std::mem::MaybeUninit::new)
            .collect::<Vec<_>>();
        let mut buffer = ReadBuf::uninit(&mut uninit);
        let (mut stream, _) = Stream::new(Box::new(Cursor::new(vec![7_u8; 3])));
        let mut cx = Context::from_waker(futures_util::task::noop_waker_ref());
        let polled = Pin::new(&mut stream).poll_read(&mut cx, &mut buffer);
        assert!(matches!(polled, Poll::Ready(Ok(()))));
        assert_eq!(buffer.filled(), [7, 7, 7]);
        assert_eq!(buffer.initialized().len(), READ_MAX);
    }
}
