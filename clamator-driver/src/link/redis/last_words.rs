//! [`LastWords`]: a byte stream that is read to its end although writing to it has failed.
//!
//! Not a remedy: the connection is over. But a server that hangs up says why before it does (too
//! many clients, a certificate that it wanted), and whoever was writing at that moment would give
//! up without having read it. So a failed write looks like one that went well, and what it failed
//! with is told by the reading side, once there is nothing more to read. What moves is noted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::notes::Notes;
use crate::runtime::BoxedStream;

/// A byte stream that is read to its end although writing to it has failed.
pub(super) struct LastWords {
    stream: BoxedStream,
    notes: Arc<Notes>,
    /// What writing failed with.
    failed: Option<io::Error>,
    /// Whether the last write had to wait.
    waited: bool,
}

impl LastWords {
    pub(super) const fn new(stream: BoxedStream, notes: Arc<Notes>) -> Self {
        Self { stream, notes, failed: None, waited: false }
    }

    /// Keeps the error of a write; what was to be written counts as written.
    fn written<T>(&mut self, written: io::Result<T>, as_if: T) -> io::Result<T> {
        written.or_else(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return Err(error);
            }
            self.failed.get_or_insert(error);
            Ok(as_if)
        })
    }
}

impl AsyncRead for LastWords {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, room));
        Poll::Ready(match (read, self.failed.take()) {
            (Ok(0) | Err(_), Some(failed)) if !room.is_empty() => Err(failed),
            (read, failed) => {
                self.failed = failed;
                self.notes.add_moved(*read.as_ref().unwrap_or(&0));
                read
            }
        })
    }
}

impl AsyncWrite for LastWords {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.failed.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        let waited = std::mem::replace(&mut self.waited, written.is_pending());
        let written = ready!(written);
        if let (true, Ok(bytes)) = (waited, &written) {
            self.notes.add_moved(*bytes);
        }
        Poll::Ready(self.written(written, bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.failed.is_some() {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.written(flushed, ()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what it has to say, and takes nothing.
    struct Dying(&'static [u8]);

    impl AsyncRead for Dying {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            room: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let (now, later) = self.0.split_at(self.0.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.0 = later;
            Poll::Ready(Ok(now.len()))
        }
    }

    impl AsyncWrite for Dying {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn read(stream: &mut LastWords) -> io::Result<Vec<u8>> {
        let mut room = [0; 4];
        let mut cx = Context::from_waker(futures_util::task::noop_waker_ref());
        match Pin::new(stream).poll_read(&mut cx, &mut room) {
            Poll::Ready(read) => read.map(|read| room[..read].to_vec()),
            Poll::Pending => panic!("there is something to read, or the end"),
        }
    }

    #[test]
    fn what_was_said_is_read_before_a_failed_write_is_told() {
        let mut stream = LastWords::new(Box::new(Dying(b"denied")), Arc::default());
        let mut cx = Context::from_waker(futures_util::task::noop_waker_ref());
        for _ in 0..2 {
            let written = Pin::new(&mut stream).poll_write(&mut cx, b"PING");
            assert!(matches!(written, Poll::Ready(Ok(4))), "{written:?}");
            let flushed = Pin::new(&mut stream).poll_flush(&mut cx);
            assert!(matches!(flushed, Poll::Ready(Ok(()))), "{flushed:?}");
        }
        assert_eq!(read(&mut stream).unwrap(), b"deni");
        assert_eq!(read(&mut stream).unwrap(), b"ed");
        let end = read(&mut stream).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_end_of_a_stream_that_takes_everything_is_an_end() {
        let mut stream = LastWords::new(Box::new(Dying(b"bye")), Arc::default());
        assert_eq!(read(&mut stream).unwrap(), b"bye");
        assert_eq!(read(&mut stream).unwrap(), b"");
    }

    /// Takes two bytes at most, and makes every other write wait.
    #[derive(Default)]
    struct Slow {
        waits: bool,
    }

    impl AsyncRead for Slow {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Slow {
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
        let notes = Arc::<Notes>::default();
        let mut stream = LastWords::new(Box::new(Slow::default()), Arc::clone(&notes));
        let moved: Vec<usize> = (0..4)
            .map(|_| {
                let _ = Pin::new(&mut stream).poll_write(&mut cx, b"abcd");
                notes.take_moved()
            })
            .collect();
        assert_eq!(moved, [0, 0, 2, 0]);
        let mut stream = LastWords::new(Box::new(Dying(b"abc")), Arc::clone(&notes));
        assert_eq!(read(&mut stream).unwrap(), b"abc");
        assert_eq!((notes.take_moved(), notes.take_moved()), (3, 0));
    }
}
