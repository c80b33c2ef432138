//! Raw commit objects, put together by hand.

use jiff::Timestamp;

/// What a commit is made of.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Lines between the parents and the author, and after the committer.
    pub parents: usize,
    pub more_headers: String,
    pub message: String,
    /// Seconds since 1970.
    pub committed_at: i64,
}

impl Draft {
    pub fn new(message: &str, date: &str) -> Draft {
        Draft {
            parents: 1,
            more_headers: String::new(),
            message: message.to_owned(),
            committed_at: seconds(date),
        }
    }

    /// Returns the object without a signature.
    pub fn payload(&self) -> String {
        let parents: String =
            (0..self.parents).map(|n| format!("parent {}\n", n.to_string().repeat(40))).collect();
        let at = self.committed_at;
        format!(
            "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n{parents}author A <a@b> {at} +0000\n\
             committer C <c@d> {at} +0100\n{}\n{}",
            self.more_headers, self.message
        )
    }
}

/// Returns the seconds since 1970 of `2024-01-01T00:00:00Z`.
pub fn seconds(date: &str) -> i64 {
    date.parse::<Timestamp>().unwrap().as_second()
}

/// Returns what gpg calls a time.
pub fn for_gpg(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap().strftime("%Y%m%dT%H%M%S").to_string()
}

/// Puts a header with a signature behind those that are there.
pub fn signed_in(payload: &str, header: &str, signature: &[u8]) -> Vec<u8> {
    let (headers, message) = payload.split_once("\n\n").unwrap();
    let text = String::from_utf8(signature.to_vec()).unwrap();
    let lines = text.strip_suffix('\n').unwrap_or(&text).replace('\n', "\n ");
    format!("{headers}\n{header} {lines}\n\n{message}").into_bytes()
}

pub fn signed(payload: &str, signature: &[u8]) -> Vec<u8> {
    signed_in(payload, "gpgsig", signature)
}
