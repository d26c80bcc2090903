//! A request's JSON: read, or refused with a sentence that shows what to send.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;

use super::error::Error;

/// What the body says; `example` is shown to who sends something else.
///
/// # Errors
/// 415 for another content type, 400 for a body that is not understood.
pub(super) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8], example: &str) -> Result<T, Error> {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        let sentence = "send JSON, with the header: Content-Type: application/json";
        return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    }
    serde_json::from_slice(body)
        .map_err(|error| Error::bad_request(format!("the body is not understood: {error}; send {example}")))
}

/// As [`json`]; nothing at all means the default.
///
/// # Errors
/// As [`json`].
pub(super) fn json_or_nothing<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: &[u8],
    example: &str,
) -> Result<T, Error> {
    if body.is_empty() { Ok(T::default()) } else { json(headers, body, example) }
}
