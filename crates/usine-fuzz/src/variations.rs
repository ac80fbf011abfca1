//! Variations of a corpus, the same ones for the same seed: what is quick enough for every run of the tests.

/// Longest variation, in bytes: what grows faster than its input shows.
const LONGEST: usize = 128 << 10;

/// What readers stumble over.
const WORDS: &[&[u8]] = &[
    b"",
    b"\0",
    b"\n",
    b"\r\n",
    b"\n\n",
    b" ",
    b"\t",
    b"\xff\xfe",
    b"\xf0\x9f\x92\xa9",
    b"..",
    b"../",
    b"/",
    b"//etc/passwd",
    b"\\",
    b"\"",
    b"'",
    b"<script>",
    b"&",
    b"%00",
    b"%",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"=",
    b"-",
    b"~",
    b"0",
    b"-1",
    b"1e309",
    b"255",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"99999999999999999999999999",
    b"null",
    b"true",
    b"\x1b[31m",
    b"-----BEGIN PGP SIGNED MESSAGE-----\n",
    b"-----BEGIN PGP SIGNATURE-----\n",
    b"`\n",
];

/// Makes one variation after the other.
pub struct Variations<'a> {
    corpus: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Variations<'a> {
    /// Of these files; `seed` says which.
    pub fn new(corpus: &'a [Vec<u8>], seed: u64) -> Self {
        Self { corpus, state: seed.wrapping_mul(2).wrapping_add(1) }
    }

    /// A number below `end`, which is not 0 (xorshift64*).
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16;
        usize::try_from(number % end.max(1) as u64).unwrap_or_default()
    }

    /// A part of something of this length.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let end = start + self.below((length - start).min(64) + 1);
        start..end
    }

    fn file(&mut self) -> &'a [u8] {
        let index = self.below(self.corpus.len());
        self.corpus.get(index).map(Vec::as_slice).unwrap_or_default()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let place = self.below(bytes.len() + 1);
        match self.below(9) {
            0 => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                let word = WORDS[self.below(WORDS.len())];
                bytes.splice(place..place, word.iter().copied());
            }
            2 => {
                let word = WORDS[self.below(WORDS.len())];
                let part = self.part(bytes.len());
                bytes.splice(part, word.iter().copied());
            }
            3 => {
                let part = self.part(bytes.len());
                bytes.drain(part);
            }
            4 => {
                let part = bytes[self.part(bytes.len())].to_vec();
                bytes.splice(place..place, part);
            }
            5 => bytes.truncate(place),
            6 => {
                let other = self.file();
                let part = &other[self.part(other.len())];
                bytes.splice(place..place, part.iter().copied());
            }
            7 => {
                // A digit, so that numbers change.
                if let Some(digit) = bytes.iter().skip(place).position(u8::is_ascii_digit) {
                    bytes[place + digit] = b'0' + u8::try_from(self.below(10)).unwrap_or_default();
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = u8::try_from(self.below(256)).unwrap_or_default();
                }
            }
        }
    }

    /// Much of the same: what nests or lists without an end.
    fn repeat(&mut self, bytes: &mut Vec<u8>) {
        let part = self.part(bytes.len());
        let piece = bytes[part.clone()].to_vec();
        if !piece.is_empty() {
            let most = (LONGEST - bytes.len().min(LONGEST)) / piece.len();
            let times = 1 + self.below(most.max(1));
            bytes.splice(part.end..part.end, piece.repeat(times));
        }
    }
}

impl Iterator for Variations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.file().to_vec();
        bytes.truncate(LONGEST);
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        if self.below(16) == 0 {
            self.repeat(&mut bytes);
        }
        Some(bytes)
    }
}
