//! Bodies on their way in: small ones are taken whole before their request gets a place, large ones must make progress.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

/// Most bytes of a body that is small.
pub(super) const SMALL: u64 = 64 << 10;

/// A small body must have come within this time, and no pause within a large one may be longer. Shorter than a client's own
/// patience with a file that is busy.
const SILENCE: Duration = Duration::from_secs(20);

/// The least bytes per second of a large body, after the first [`SILENCE`]. Our client gives up at four times that.
const SLOWEST: u64 = 16 << 10;

/// A body that has been looked at.
pub(super) enum Gathered {
    /// All of it is here, or it broke off.
    Small(Body),
    /// It is still coming.
    Large(Body),
}

/// Reads a small body whole.
pub(super) async fn gather(body: Body) -> Gathered {
    if body.is_end_stream() {
        return Gathered::Small(body);
    }
    let begin = Instant::now();
    if body.size_hint().lower() > SMALL {
        return Gathered::Large(Body::from_stream(paced(Vec::new(), body.into_data_stream())));
    }
    let mut body = body.into_data_stream();
    let (mut pieces, mut count) = (Vec::new(), 0);
    loop {
        let piece = timeout_at(begin + SILENCE, body.next()).await.unwrap_or_else(|_| Some(Err(silent())));
        match piece {
            Some(Ok(piece)) => {
                count += piece.len() as u64;
                pieces.push(Ok(piece));
                if count > SMALL {
                    return Gathered::Large(Body::from_stream(paced(pieces, body)));
                }
            }
            // What has come is for the handler to look at; then the fault.
            Some(Err(error)) => {
                pieces.push(Err(error));
                return Gathered::Small(Body::from_stream(stream::iter(pieces)));
            }
            None => return Gathered::Small(whole(pieces)),
        }
    }
}

/// One piece, as nearly all are, or all together.
fn whole(mut pieces: Vec<Result<Bytes, axum::Error>>) -> Body {
    match (pieces.pop(), pieces.is_empty()) {
        (Some(Ok(only)), true) => Body::from(only),
        (Some(last), _) => {
            pieces.push(last);
            Body::from_stream(stream::iter(pieces))
        }
        (None, _) => Body::empty(),
    }
}

/// What has come, and what comes, as long as its sender neither falls silent nor is too slow. Only time that is spent waiting for
/// the sender counts.
fn paced(
    begun: Vec<Result<Bytes, axum::Error>>,
    body: BodyDataStream,
) -> impl futures::Stream<Item = Result<Bytes, axum::Error>> {
    let rest = stream::unfold(Some((body, 0, Duration::ZERO)), |state| async move {
        let (mut body, mut count, mut waited) = state?;
        let begin = Instant::now();
        let piece = timeout_at(begin + SILENCE, body.next()).await.unwrap_or_else(|_| Some(Err(silent())));
        match piece? {
            Ok(piece) => {
                count += piece.len() as u64;
                waited += begin.elapsed();
                let too_slow = waited > SILENCE && count < SLOWEST * waited.as_secs();
                if too_slow { Some((Err(silent()), None)) } else { Some((Ok(piece), Some((body, count, waited)))) }
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    // An answer may look for more after the end.
    stream::iter(begun).chain(rest).fuse()
}

fn silent() -> axum::Error {
    axum::Error::new(Error::new(ErrorKind::TimedOut, "the sender fell silent, or is too slow"))
}
