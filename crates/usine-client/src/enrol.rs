//! Enrolment: a token without copy and paste. The user opens a page of the server, compares some words and confirms; the
//! answer to our one call waits until then.

mod words;

use std::time::Duration;

use http::Method;
use url::Url;
use usine_model::entropy::Entropy;
use usine_protocol::enrolment::{Decision, Enrolment, Outcome};

use crate::client::json as read_json;
use crate::{Client, Error};
use words::WORDS;

/// How long the user may take. The server sends blank lines meanwhile.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How many words the user compares: 28 bits, of which nobody else can guess the right ones in one try.
const WORDS_SHOWN: usize = 4;

/// A new request, with a name and words of its own. `scope` and `hostname` are for the user to recognise it by.
pub fn enrolment(scope: &str, hostname: &str, entropy: &dyn Entropy) -> Enrolment {
    let chosen = entropy.bytes32();
    let words = chosen.iter().take(WORDS_SHOWN).map(|byte| WORDS[usize::from(*byte) % WORDS.len()]);
    Enrolment {
        nonce: hex::encode(entropy.bytes32()),
        challenge: words.collect::<Vec<_>>().join(" "),
        scope: scope.to_owned(),
        hostname: hostname.to_owned(),
    }
}

impl Client {
    /// The page on which the user decides.
    pub fn enrolment_page(&self, enrolment: &Enrolment) -> Url {
        let mut page = self.api_url().clone();
        page.set_path(&format!("/-/enroll/confirm/{}/", enrolment.nonce));
        page
    }

    /// Asks for a token and waits, at most an hour, until the user has decided; `None` if they want none.
    pub async fn enrol(&self, enrolment: &Enrolment) -> Result<Option<String>, Error> {
        let mut url = self.api_url().clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["enroll", ""]);
        }
        let request = self.patient_request(Method::POST, &url, PATIENCE).json(enrolment);
        let decision: Decision = read_json(&url, self.send_once(&url, &[200], request).await?).await?;
        match (decision.outcome, decision.token) {
            (Outcome::Cancel, _) => Ok(None),
            (Outcome::Confirm, Some(token)) if is_token(&token) => Ok(Some(token)),
            (Outcome::Confirm, _) => {
                Err(Error::invalid_body(url.as_str(), "it has no token of 8 to 64 letters and digits"))
            }
        }
    }
}

fn is_token(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use usine_model::entropy::CountingEntropy;

    use super::*;
    use crate::Options;

    #[test]
    fn words_can_be_told_apart_and_each_is_as_likely() {
        // 256 values of a byte share evenly in a power of two.
        assert_eq!((WORDS.len(), WORDS.iter().collect::<HashSet<_>>().len()), (128, 128));
        for word in WORDS {
            assert!((4..=10).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn requests_are_as_the_protocol_wants_them() {
        let entropy = CountingEntropy::default();
        let (one, two) = (enrolment("debusine", "laptop", &entropy), enrolment("debusine", "laptop", &entropy));
        assert_ne!(one.nonce, two.nonce);
        assert_ne!(one.challenge, two.challenge);
        assert_eq!((one.nonce.len(), one.challenge.split(' ').count()), (64, 4));
        let client = Client::new(Options::new("https://h.example.org:81/api/")).unwrap();
        let page = format!("https://h.example.org:81/-/enroll/confirm/{}/", one.nonce);
        assert_eq!(client.enrolment_page(&one).as_str(), page);
    }

    #[test]
    fn tokens() {
        assert!(is_token("abcdEFG1") && is_token(&"0".repeat(64)));
        assert!(!is_token("abcdEFG") && !is_token(&"0".repeat(65)) && !is_token("abcd efgh") && !is_token(""));
    }
}
