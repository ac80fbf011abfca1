//! The connection pool and the one place where requests are sent, answers judged and calls repeated.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use reqwest::{RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;
use usine_model::token::hash_of;
use usine_protocol::problem::{self, Problem};
use usine_protocol::{SCOPE_HEADER, TOKEN_HEADER};

use crate::config::ServerConfig;
use crate::{Error, USER_AGENT};

/// Largest answer that is read into memory, in bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Most redirects followed.
pub(crate) const MAX_REDIRECTS: usize = 5;

/// How long the peer may leave our bytes unacknowledged before the connection counts as broken.
const DEAD_PEER: Duration = Duration::from_secs(60);

/// Unused connections are kept for so long: less than a server waits before it closes them, so that it does not do so just when we
/// use one again.
const IDLE: Duration = Duration::from_secs(30);

/// Seconds to wait for the server. In text: `read` or `connect,read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection.
    pub connect: Duration,
    /// For each answer, and for each further piece of it.
    pub read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), read: Duration::from_secs(30) }
    }
}

impl FromStr for Timeouts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = |text: &str| {
            let seconds = text.trim().parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            seconds.filter(|duration| !duration.is_zero())
        };
        let both = match text.split_once(',') {
            Some((connect, read)) => seconds(connect).zip(seconds(read)),
            None => seconds(text).map(|both| (both, both)),
        };
        let (connect, read) = both.ok_or_else(|| {
            format!("http-timeout {text:?} is not valid: expected seconds, or 'connect,read' such as 5,30")
        })?;
        Ok(Self { connect, read })
    }
}

impl fmt::Display for Timeouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.connect.as_secs_f64(), self.read.as_secs_f64())
    }
}

/// How often and how fast calls are repeated, and how files are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Tries of a call in all, when it may be repeated.
    pub tries: u32,
    /// Wait before the first repetition; doubled each time.
    pub wait: Duration,
    /// Tries of a piece of a file that brings no progress.
    pub transfer_tries: u32,
    /// Wait before a broken transfer is resumed.
    pub transfer_wait: Duration,
    /// Largest piece of a file in one request, in bytes.
    pub chunk: u64,
}

impl Default for Pace {
    /// As Debian's client: 4 repetitions from 0.1 s; 6 tries 5 s apart; 50 MiB.
    fn default() -> Self {
        Self {
            tries: 5,
            wait: Duration::from_millis(100),
            transfer_tries: 6,
            transfer_wait: Duration::from_secs(5),
            chunk: 50 * 1024 * 1024,
        }
    }
}

/// What a [`Client`] is made of.
#[derive(Clone)]
pub struct Options {
    /// Such as `https://debusine.example.org/api`.
    pub api_url: String,
    /// Name of the scope; the server's default one if missing.
    pub scope: Option<String>,
    /// Key of the token.
    pub token: Option<String>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try.
    pub pace: Pace,
}

impl Options {
    /// Anonymous, in the default scope, with the usual time limits.
    pub fn new(api_url: impl Into<String>) -> Self {
        Self { api_url: api_url.into(), scope: None, token: None, timeouts: Timeouts::default(), pace: Pace::default() }
    }
}

impl From<&ServerConfig> for Options {
    fn from(config: &ServerConfig) -> Self {
        Self {
            scope: Some(config.scope.clone()),
            token: Some(config.token.clone()),
            timeouts: config.http_timeout,
            ..Self::new(&config.api_url)
        }
    }
}

/// A client of one server, with one token in one scope. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Without a limit on the time until the answer begins: uploads and people take as long as they take.
    patient: reqwest::Client,
    pub(crate) api_url: Arc<Url>,
    scope: Option<HeaderValue>,
    pub(crate) token: Option<HeaderValue>,
    pub(crate) timeouts: Timeouts,
    pub(crate) pace: Pace,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("api_url", &self.api_url.as_str())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Whether a call may be sent twice without doing something twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Yes.
    Safe,
    /// Only when the server certainly did not see it, or asked for it (429, 503).
    OnlyUnseen,
}

impl Client {
    /// Checks the options and sets up the pools; connects to nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        install_crypto();
        let invalid = |message: String| Error::InvalidUrl { url: options.api_url.clone(), message };
        let mut api_url = Url::parse(&options.api_url).map_err(|error| invalid(error.to_string()))?;
        if !matches!(api_url.scheme(), "http" | "https") {
            return Err(invalid("the scheme must be http or https".to_owned()));
        }
        let path = api_url.path().trim_end_matches('/').to_owned();
        api_url.set_path(&path);
        let builder = || {
            reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .connect_timeout(options.timeouts.connect)
                .tcp_keepalive(DEAD_PEER / 2)
                .tcp_user_timeout(DEAD_PEER)
                .pool_idle_timeout(IDLE)
                .redirect(reqwest::redirect::Policy::none())
        };
        let setup = |error: reqwest::Error| Error::Setup(error.to_string());
        let client = Self {
            http: builder().read_timeout(options.timeouts.read).build().map_err(setup)?,
            patient: builder().build().map_err(setup)?,
            api_url: Arc::new(api_url),
            scope: None,
            token: None,
            timeouts: options.timeouts,
            pace: options.pace,
        };
        client.acting_as(options.token.as_deref(), options.scope.as_deref())
    }

    /// The same server with another token and scope.
    pub fn acting_as(&self, token: Option<&str>, scope: Option<&str>) -> Result<Self, Error> {
        let header = |text: Option<&str>, what| {
            let value =
                text.map(|text| HeaderValue::from_str(text).map_err(|_| Error::InvalidHeader(what))).transpose()?;
            Ok::<_, Error>(value)
        };
        let mut token = header(token, "token")?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Ok(Self { token, scope: header(scope, "scope")?, ..self.clone() })
    }

    /// The address that it was made with, without a slash at the end.
    pub fn api_url(&self) -> &Url {
        &self.api_url
    }

    /// `path` below `<api-url>/1.0/`; the segments are encoded.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        self.join("1.0", segments)
    }

    /// `path` below `<api-url>/usine/1.0/`.
    pub(crate) fn own_url(&self, segments: &[&str]) -> Url {
        self.join("usine/1.0", segments)
    }

    fn join(&self, base: &str, segments: &[&str]) -> Url {
        let mut url = self.api_url.as_ref().clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(base.split('/')).extend(segments).push("");
        }
        url
    }

    /// A request with our headers. The token goes to the server of `api-url` and nowhere else.
    pub(crate) fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        self.with_headers(self.http.request(method, url.clone()), url)
    }

    /// As [`Self::request`], where the body is long or the answer slow: `limit` is for the whole exchange.
    pub(crate) fn patient_request(&self, method: Method, url: &Url, limit: Duration) -> RequestBuilder {
        self.with_headers(self.patient.request(method, url.clone()).timeout(limit), url)
    }

    fn with_headers(&self, mut request: RequestBuilder, url: &Url) -> RequestBuilder {
        if url.origin() == self.api_url.origin() {
            if let Some(token) = &self.token {
                request = request.header(TOKEN_HEADER, token.clone());
            }
            if let Some(scope) = &self.scope {
                request = request.header(SCOPE_HEADER, scope.clone());
            }
        }
        request
    }

    /// Sends, judges the answer (in the order of all releases of the client), and repeats if that may help.
    pub(crate) async fn send(
        &self,
        url: &Url,
        repeat: Repeat,
        expected: &[u16],
        build: impl Fn() -> RequestBuilder,
    ) -> Result<Response, Error> {
        let mut wait = self.pace.wait;
        for attempt in 1.. {
            let error = match self.send_once(url, expected, build()).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let may_repeat = match repeat {
                Repeat::Safe => error.is_transient(),
                Repeat::OnlyUnseen => was_unseen(&error) || matches!(error.status(), Some(429 | 503)),
            };
            if !may_repeat || attempt >= self.pace.tries {
                return Err(error);
            }
            tracing::debug!(%url, attempt, %error, "call failed, trying again");
            tokio::time::sleep(error.retry_after().unwrap_or(wait).min(self.timeouts.read)).await;
            wait *= 2;
        }
        unreachable!("the loop has no end but its returns")
    }

    /// Sends once and judges the answer.
    pub(crate) async fn send_once(
        &self,
        url: &Url,
        expected: &[u16],
        request: RequestBuilder,
    ) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| Error::from_reqwest(url.as_str(), error))?;
        self.judge(url, expected, response).await
    }

    async fn judge(&self, url: &Url, expected: &[u16], response: Response) -> Result<Response, Error> {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        if response.headers().get(CONTENT_TYPE).is_some_and(|value| value == problem::CONTENT_TYPE) {
            let body = body(url, response).await?;
            let problem: Box<Problem> =
                serde_json::from_slice(&body).map_err(|error| Error::invalid_body(url.as_str(), error))?;
            return Err(Error::Problem { status: status.as_u16(), problem, retry_after });
        }
        if expected.contains(&status.as_u16()) {
            return Ok(response);
        }
        let url_text = url.to_string();
        Err(match status {
            StatusCode::NOT_FOUND => Error::NotFound { url: url_text, body: plain_text(url, response).await },
            StatusCode::FORBIDDEN => {
                let token = self.token.as_ref().and_then(|token| token.to_str().ok()).map(hash_of);
                Error::Forbidden { url: url_text, token, body: plain_text(url, response).await }
            }
            other => Error::UnexpectedStatus { status: other.as_u16(), url: url_text, retry_after },
        })
    }

    /// GET of a JSON object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, Error> {
        json(url, self.send(url, Repeat::Safe, &[200], || self.request(Method::GET, url)).await?).await
    }

    /// A call with a JSON body; the answer is not read yet.
    pub(crate) async fn call(
        &self,
        method: Method,
        url: &Url,
        repeat: Repeat,
        expected: &[u16],
        body: &impl Serialize,
    ) -> Result<Response, Error> {
        self.send(url, repeat, expected, || self.request(method.clone(), url).json(body)).await
    }

    /// A call with a JSON body and a JSON answer.
    pub(crate) async fn call_json<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &Url,
        expected: &[u16],
        body: &impl Serialize,
    ) -> Result<T, Error> {
        json(url, self.call(method, url, Repeat::OnlyUnseen, expected, body).await?).await
    }
}

/// The process needs one implementation of cryptography for TLS; the first caller chooses it.
fn install_crypto() {
    // An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Whether the request did not reach the server.
fn was_unseen(error: &Error) -> bool {
    match error {
        Error::Connect { source, .. } => {
            source.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
        }
        _ => false,
    }
}

/// How long the server asks us to stay away; an hour at most, whatever it says.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// The answer as a JSON object.
pub(crate) async fn json<T: DeserializeOwned>(url: &Url, response: Response) -> Result<T, Error> {
    let body = body(url, response).await?;
    serde_json::from_slice(&body).map_err(|error| Error::invalid_body(url.as_str(), error))
}

async fn body(url: &Url, mut response: Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| Error::from_reqwest(url.as_str(), error))? {
        if body.len() + piece.len() > MAX_BODY {
            return Err(Error::invalid_body(url.as_str(), format!("it has more than {MAX_BODY} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The first line of a plain-text answer, cut to 200 characters.
async fn plain_text(url: &Url, response: Response) -> String {
    let is_text = response.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    match body(url, response).await {
        Ok(body) if is_text => {
            String::from_utf8_lossy(&body).lines().next().unwrap_or_default().chars().take(200).collect()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for api_url in ["http://h:8000/api", "http://h:8000/api/", "http://h:8000/api//"] {
            let client = Client::new(Options::new(api_url)).unwrap();
            assert_eq!(
                client.url(&["artifact", "System x", "7"]).as_str(),
                "http://h:8000/api/1.0/artifact/System%20x/7/"
            );
            assert_eq!(client.own_url(&["artifact"]).as_str(), "http://h:8000/api/usine/1.0/artifact/");
        }
        assert!(matches!(Client::new(Options::new("ftp://h/api")), Err(Error::InvalidUrl { .. })));
        assert!(matches!(Client::new(Options::new("h/api")), Err(Error::InvalidUrl { .. })));
        let bad = Options { token: Some("a\nb".to_owned()), ..Options::new("http://h/api") };
        assert!(matches!(Client::new(bad), Err(Error::InvalidHeader("token"))));
    }

    #[test]
    fn timeouts() {
        assert_eq!("7".parse::<Timeouts>().unwrap().to_string(), "7,7");
        assert_eq!(Timeouts::default().to_string(), "5,30");
        for bad in ["", "0", "x", "1,", "1,2,3", "-1"] {
            assert!(bad.parse::<Timeouts>().is_err(), "{bad}");
        }
    }
}
