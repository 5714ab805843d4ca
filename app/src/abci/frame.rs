//! Frames of the ABCI socket protocol: a protobuf message with its length, as a varint, before it.

use std::io::{self, Read};

use prost::Message as _;
use tendermint_proto::v0_38::abci::{Request, Response};

/// Largest frame that is read. The genesis file and a whole block travel in one frame each.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest varint of a 64-bit length.
const LENGTH_BYTES_MAX: usize = 10;
/// How much is read at once: many pipelined transactions.
const READ_BYTES: usize = 128 * 1024;

/// Why a connection's bytes are not requests.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Connection(#[from] io::Error),
    /// The connection ended inside a frame.
    #[error("the connection ended inside a frame")]
    Truncated,
    /// The length is not a varint, or is more than [`FRAME_BYTES_MAX`].
    #[error("the frame's length is not valid, or more than {FRAME_BYTES_MAX} bytes")]
    Length,
    /// The frame holds no request of ABCI 2.0.
    #[error("the frame holds no request that ABCI 2.0 knows")]
    Request,
}

/// Reads requests and knows whether another one is already here.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    /// Room for bytes; those from `start` to `end` were read and not yet used.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> FrameReader<R> {
    /// Reads from `stream`.
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: vec![0; READ_BYTES], start: 0, end: 0 }
    }

    /// The next request; `None` where the other side closed between two frames.
    pub fn next_request(&mut self) -> Result<Option<Request>, FrameError> {
        loop {
            if let Some((from, to)) = self.frame()? {
                let request = Request::decode(&self.buffer[from..to]).map_err(|_| FrameError::Request)?;
                self.start = to;
                return Ok(Some(request));
            }
            if !self.fill()? {
                let between_frames = self.start == self.end;
                return if between_frames { Ok(None) } else { Err(FrameError::Truncated) };
            }
        }
    }

    /// Whether the next request can be read without waiting for the other side.
    pub fn has_request(&self) -> bool {
        // A length that is not valid is an answer that needs no waiting either.
        !matches!(self.frame(), Ok(None))
    }

    /// Where the next whole frame lies in the buffer.
    fn frame(&self) -> Result<Option<(usize, usize)>, FrameError> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(last) = bytes.iter().take(LENGTH_BYTES_MAX).position(|byte| byte & 0x80 == 0) else {
            return if bytes.len() < LENGTH_BYTES_MAX { Ok(None) } else { Err(FrameError::Length) };
        };
        let length = prost::decode_length_delimiter(&bytes[..=last]).map_err(|_| FrameError::Length)?;
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::Length);
        }
        let from = self.start + last + 1;
        Ok((self.end - from >= length).then_some((from, from + length)))
    }

    /// Reads what is there; false at the end of the stream. The buffer is cleared only when it
    /// grows, and doubles then, so that a large frame in small pieces costs no more than its bytes.
    fn fill(&mut self) -> Result<bool, FrameError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.end, 0);
        }
        let read = loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += read;
        Ok(read > 0)
    }
}

/// Appends a response as a frame.
pub fn write_response(response: &Response, out: &mut Vec<u8>) {
    response.encode_length_delimited(out).expect("a vector grows as needed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tendermint_proto::v0_38::abci::{RequestCheckTx, RequestEcho, request::Value};

    /// Gives out at most `step` bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn echo(text: &str) -> Request {
        Request { value: Some(Value::Echo(RequestEcho { message: text.to_owned() })) }
    }

    fn check_tx(bytes: usize) -> Request {
        Request { value: Some(Value::CheckTx(RequestCheckTx { tx: vec![7; bytes].into(), r#type: 0 })) }
    }

    #[test]
    fn requests_arrive_whole_however_the_bytes_come() {
        let requests = [echo("a"), check_tx(500_000), echo(""), check_tx(1)];
        let bytes: Vec<u8> = requests.iter().flat_map(prost::Message::encode_length_delimited_to_vec).collect();
        for step in [1, 2, 7, 1000, bytes.len()] {
            let mut reader = FrameReader::new(Slow(&bytes, step));
            for expected in &requests {
                assert_eq!(reader.next_request().unwrap().as_ref(), Some(expected), "steps of {step}");
            }
            assert!(reader.next_request().unwrap().is_none());
        }
    }

    #[test]
    fn a_request_that_is_here_is_seen_without_reading() {
        let bytes: Vec<u8> = [echo("a"), echo("b")].iter().flat_map(|r| r.encode_length_delimited_to_vec()).collect();
        let mut reader = FrameReader::new(bytes.as_slice());
        assert!(!reader.has_request());
        reader.next_request().unwrap();
        assert!(reader.has_request());
        reader.next_request().unwrap();
        assert!(!reader.has_request());
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let mut oversize = Vec::new();
        prost::encode_length_delimiter(FRAME_BYTES_MAX + 1, &mut oversize).unwrap();
        let cases: [(&str, Vec<u8>); 5] = [
            ("oversize", oversize),
            ("endless varint", vec![0xff; 11]),
            ("truncated", echo("hello").encode_length_delimited_to_vec()[..4].to_vec()),
            ("not protobuf", vec![2, 0xff, 0xff]),
            ("length without frame", vec![5]),
        ];
        for (name, bytes) in cases {
            assert!(FrameReader::new(bytes.as_slice()).next_request().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), step in 1usize..40) {
            let mut reader = FrameReader::new(Slow(&bytes, step));
            while let Ok(Some(_)) = reader.next_request() {
                reader.has_request();
            }
        }
    }
}
