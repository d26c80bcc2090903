//! The one error of the HTTP server: a status and a sentence for people.
//!
//! Routes return it; it becomes JSON below `/api/` and text elsewhere, in one place, when the answer is written.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    sentence: String,
    /// What a 401 asks for.
    challenge: &'static str,
}

/// Carried by a response until its body is written.
#[derive(Debug, Clone)]
struct Sentence(String);

impl Error {
    /// With this status.
    pub(super) fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into(), challenge: "Bearer" }
    }

    /// 400: the request says something that cannot be.
    pub(super) fn bad_request(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    /// 401: a token is needed, or this is not it.
    pub(super) fn unauthorized(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, sentence)
    }

    /// 401: a name and a password are needed, or these are not right.
    pub(super) fn login(sentence: impl Into<String>) -> Self {
        Self { challenge: "Basic", ..Self::unauthorized(sentence) }
    }

    /// 403: not allowed, whoever asks.
    pub(super) fn forbidden(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, sentence)
    }

    /// 404: nothing of this name.
    pub(super) fn not_found(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, sentence)
    }

    /// 503: not now.
    pub(super) fn unavailable(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, sentence)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
        }
        response.extensions_mut().insert(Sentence(self.sentence));
        response
    }
}

/// Writes the sentence of an error into its body; other responses stay as they are.
pub(super) fn write_sentence(response: &mut Response, json: bool) {
    let Some(Sentence(sentence)) = response.extensions_mut().remove() else { return };
    let (kind, body) = if json {
        ("application/json", serde_json::json!({ "error": sentence }).to_string())
    } else {
        ("text/plain; charset=utf-8", format!("{sentence}\n"))
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
}
